//! What subscribers may cost: numbers, and what follows from them.

use super::{LagPolicy, pool};
use crate::history;

/// How far behind a subscriber may be, what happens then, and what is kept for those who come back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) lag_bytes_max: usize,
    pub(crate) lag_policy: LagPolicy,
    pub(crate) history: history::Limits,
    /// Whether a new client gets the last message of each topic first.
    pub(crate) last_value: bool,
}

impl Limits {
    /// What a log may hold: an eighth less, for the unused end of its last chunk, so that memory stays within the limit.
    pub(super) fn held_bytes_max(&self) -> usize {
        self.lag_bytes_max - self.lag_bytes_max / 8
    }

    /// What is let go of at once when somebody lags too much: a chunk, so it is a small part of what is held.
    pub(super) fn chunk_bytes_max(&self) -> usize {
        pool::largest_size_within(self.lag_bytes_max / 8)
    }
}
