//! Where a subscriber stops before the log, for a session that has something to say there, or wants nothing more.

use super::{Arrears, Seam, Turn};

impl Arrears {
    /// Has the subscriber stop before the log.
    pub(in crate::feed) fn mark_seam(&mut self) {
        self.seam = Seam::Ahead;
    }

    /// Whether the subscriber has stopped there. It goes on.
    pub(in crate::feed) fn pass_seam(&mut self) -> bool {
        let is_reached = self.seam == Seam::Reached;
        if is_reached {
            self.seam = Seam::Unmarked;
        }
        is_reached
    }

    /// Whether others come before what is due.
    pub(in crate::feed) fn is_put_off(&self) -> bool {
        self.is_replaying() && self.turn == Turn::Over
    }

    /// The owner wants nothing any more; a frame that has begun is finished all the same.
    pub(in crate::feed) fn forget_all_but_rest(&mut self) {
        let rest = self.rest.take().filter(|rest| rest.sent > 0);
        *self = Self { rest, ..Self::default() };
    }
}
