//! In place of `inflate` where the feature `compress` is left out: nothing is inflated, which a configuration does not ask
//! for either.

use super::{Decode, Outcome};
use crate::message::{Message, PartLen};

/// What there is none of.
pub(in crate::intake) enum Decoder {}

impl Decoder {
    /// `None`: this build cannot inflate.
    pub(in crate::intake) fn new(_: Decode, _: Option<usize>, _: usize) -> Option<Self> {
        None
    }

    pub(in crate::intake) fn bytes(&self) -> &[u8] {
        match *self {}
    }

    pub(in crate::intake) fn lens(&self) -> &[PartLen] {
        match *self {}
    }

    pub(in crate::intake) fn decode(&mut self, _: &Message<'_>) -> Outcome {
        match *self {}
    }
}
