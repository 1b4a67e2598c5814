//! In place of `engine_io` where the feature `socket-io` is left out: there are no sessions, and no connection carries one.

use std::net::IpAddr;
use std::time::Instant;

use super::http::HeldRequest;
use super::{Http, Output, Session, Shared, Timing};
use crate::error::CloseReason;
use crate::feed::{Feeds, Owner};
use crate::http::Date;
use crate::memory::Memory;

/// What there is none of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SessionKey {}

/// None, and everybody who is there is a connection.
pub(crate) struct EngineSessions;

impl EngineSessions {
    pub(crate) fn new(_seed: [u8; 32], _has_recovery: bool, _per_ip_max: usize) -> Self {
        Self
    }

    pub(crate) fn owners(&self) -> impl Iterator<Item = Owner> {
        std::iter::empty()
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = (Owner, Option<IpAddr>)> {
        std::iter::empty()
    }

    pub(crate) fn server_of(&self, owner: Owner) -> Option<Owner> {
        Some(owner)
    }

    pub(crate) fn begin_leaving(&mut self, owner: Owner, _feeds: &mut Feeds) -> Option<Owner> {
        Some(owner)
    }

    pub(crate) fn disconnect(
        &mut self,
        _owner: Owner,
        _code: u16,
        _may_return: bool,
        _feeds: &mut Feeds,
    ) -> bool {
        false
    }

    pub(crate) fn end_unserved(&mut self, _owner: Owner, _reason: CloseReason, _feeds: &mut Feeds) {
    }

    pub(crate) fn stop(&mut self) {}

    pub(crate) fn has_news(&self) -> bool {
        false
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        None
    }

    pub(crate) fn fire_timer(&mut self, _: Instant, _: &mut Feeds, _: &Timing) -> bool {
        false
    }
}

/// What there is none of.
#[derive(Debug)]
pub(crate) enum EngineOpening {}

impl EngineOpening {
    pub(super) fn held_request(&mut self) -> Option<&mut HeldRequest> {
        match *self {}
    }

    pub(super) fn is_upgrade(&self) -> bool {
        match *self {}
    }

    pub(crate) fn open(
        self,
        _now: Instant,
        _owner: Owner,
        _head: Vec<u8>,
        _timing: &Timing,
        _shared: Shared<'_>,
    ) -> Session {
        match self {}
    }
}

/// What there is none of.
#[derive(Debug)]
pub(crate) enum EngineCarrier {}

impl EngineCarrier {
    pub(super) fn is_held_request(&self) -> bool {
        match *self {}
    }

    pub(super) fn into_http(self, _: Instant, _: Date, _: &Timing) -> Result<Box<Http>, Self> {
        match self {}
    }

    pub(super) fn handle_input(
        &mut self,
        _now: Instant,
        _input: &mut [u8],
        _timing: &Timing,
        _message_bytes_max: usize,
        _shared: Shared<'_>,
    ) {
        match *self {}
    }

    pub(super) fn charge_input(&mut self, _memory: &Memory) -> bool {
        match *self {}
    }

    pub(super) fn wants_input(&self) -> bool {
        match *self {}
    }

    pub(super) fn output<'a>(&'a mut self, _shared: Shared<'a>, _date: Date) -> Output<'a> {
        match *self {}
    }

    pub(super) fn advance(&mut self, _: Instant, _: &mut Feeds, _: usize, _: &Timing) -> u64 {
        match *self {}
    }

    pub(super) fn note_progress(&mut self, _: Instant, _: &Timing, _: &mut EngineSessions) {
        match *self {}
    }

    pub(super) fn close(&mut self, _reason: CloseReason) {
        match *self {}
    }

    pub(super) fn close_when_drained(&mut self, _feeds: &Feeds, _reason: CloseReason) {
        match *self {}
    }

    pub(super) fn set_blocked(&mut self, _feeds: &mut Feeds, _is_blocked: bool) {
        match *self {}
    }

    pub(super) fn end(&mut self, _reason: CloseReason, _shared: Shared<'_>) {
        match *self {}
    }
}
