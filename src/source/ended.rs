//! What is left of a source of which nothing comes any more: its name and what it has counted. Holds no socket.

use std::time::Instant;

use super::{Arrival, Budget, Drained, SourceCounts};

/// A source that was let go of.
pub(crate) struct Ended {
    address: String,
    counts: SourceCounts,
}

impl Ended {
    pub(super) fn new(address: &str, counts: &SourceCounts) -> Self {
        let counts = SourceCounts { connections: 0, subscriptions: 0, ..*counts };
        Self { address: address.to_owned(), counts }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.address
    }

    /// It was ready before it ended.
    pub(super) fn note_ready(&self) {}

    pub(super) fn needs_drain(&self) -> bool {
        false
    }

    pub(super) fn counts(&self) -> &SourceCounts {
        &self.counts
    }

    pub(super) fn drain(&self, _: Budget, _: &mut dyn FnMut(Arrival<'_>) -> bool) -> Drained {
        Drained::Empty
    }

    pub(super) fn subscribe(&self, _prefix: &[u8]) {}

    pub(super) fn unsubscribe(&self, _prefix: &[u8]) {}

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        None
    }

    pub(super) fn handle_timeout(&self, _now: Instant) {}
}
