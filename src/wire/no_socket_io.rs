//! In place of `socket_io` where the feature `socket-io` is left out: there are no events, so nobody gets any.

use crate::error::GapReason;
use crate::message::{Epoch, Message};

/// What there is none of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Arguments {}

impl Arguments {
    pub(super) const ALL: [Self; 0] = [];

    pub(super) fn index(self) -> usize {
        match self {}
    }

    pub(super) fn write_message(self, _out: &mut Vec<u8>, _epoch: &Epoch, _message: &Message<'_>) {
        match self {}
    }

    pub(super) fn write_gap(self, _out: &mut Vec<u8>, _missed: Option<u64>, _reason: GapReason) {
        match self {}
    }
}
