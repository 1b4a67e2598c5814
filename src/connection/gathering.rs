//! When subscribers are sent what was published: at once, or a little later and with what comes meanwhile (`--coalesce`).
//! Knows no clock.

use std::time::{Duration, Instant};

/// A wait for more messages. It begins when there is something to send, and does not begin again while it lasts, so that
/// it is all that a message waits.
#[derive(Debug)]
pub(super) struct Gathering {
    wait: Duration,
    /// `None` while there is nothing to send.
    until: Option<Instant>,
}

impl Gathering {
    pub(super) fn new(wait: Duration) -> Self {
        Self { wait, until: None }
    }

    /// Whether what there is to send, if anything, is to be sent at `now`; then the wait is over.
    pub(super) fn is_over(&mut self, now: Instant, has_something: bool, is_urgent: bool) -> bool {
        if !has_something {
            self.until = None;
            return false;
        }
        let until = *self.until.get_or_insert(now + self.wait);
        let is_over = until <= now || is_urgent;
        if is_over {
            self.until = None;
        }
        is_over
    }

    /// When [`Self::is_over`] is to be asked at the latest.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(5);

    #[test]
    fn the_first_message_of_several_decides_how_long_they_wait() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut gathering = Gathering::new(WAIT);
        assert!(!gathering.is_over(at(0), false, false));
        assert_eq!(gathering.next_deadline(), None);
        assert!(!gathering.is_over(at(1), true, false));
        assert!(!gathering.is_over(at(5), true, false));
        assert_eq!(gathering.next_deadline(), Some(at(6)));
        assert!(gathering.is_over(at(6), true, false));
        assert!(!gathering.is_over(at(6), true, false), "what comes next waits anew");
        assert_eq!(gathering.next_deadline(), Some(at(11)));
    }

    #[test]
    fn what_is_urgent_does_not_wait_and_nothing_waits_for_nothing() {
        let now = Instant::now();
        let mut gathering = Gathering::new(WAIT);
        assert!(!gathering.is_over(now, true, false));
        assert!(gathering.is_over(now, true, true));
        assert!(!gathering.is_over(now, false, true));
        assert_eq!(gathering.next_deadline(), None);
        assert!(Gathering::new(Duration::ZERO).is_over(now, true, false));
    }
}
