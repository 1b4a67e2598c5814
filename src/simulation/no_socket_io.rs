//! In place of `socket_io` where the feature `socket-io` is left out: no page is ever opened.
#![allow(dead_code, reason = "what a page would get nobody looks at")]

use super::client::{Published, Run};
use super::pipe::SharedPipe;
use crate::test_random::Random;

pub(super) struct Terms {
    pub(super) has_values: bool,
    pub(super) tells_in_place: bool,
    pub(super) is_lenient: bool,
}

pub(super) struct Surroundings<'a> {
    pub(super) published: &'a [Published],
    pub(super) accept: &'a mut dyn FnMut(&mut Random) -> SharedPipe,
}

/// What there is none of.
#[derive(Debug)]
pub(super) enum Page {}

impl Page {
    pub(super) fn open(_: &mut Random, _: Run, _: Terms) -> Option<Self> {
        None
    }

    pub(super) fn step(&mut self, _: &mut Random, _: &mut Surroundings<'_>) {
        match *self {}
    }

    pub(super) fn act(&mut self, _: &mut Random, _: &[Published], _misbehaves: bool) {
        match *self {}
    }

    pub(super) fn check(&self, _: &[Published], _is_alive: bool) {
        match *self {}
    }

    pub(super) fn is_quiet(&mut self) -> bool {
        match *self {}
    }

    pub(super) fn recover(&mut self) {
        match *self {}
    }

    pub(super) fn excuse(&mut self) {
        match *self {}
    }

    pub(super) fn abandon(&mut self, _: &[Published], _: Run) {
        match *self {}
    }

    pub(super) fn begin_stop(&mut self) -> bool {
        match *self {}
    }

    pub(super) fn is_stopping(&self) -> bool {
        match *self {}
    }

    pub(super) fn follow_ends(&mut self) {
        match *self {}
    }

    pub(super) fn was_said_goodbye(&self) -> bool {
        match *self {}
    }
}
