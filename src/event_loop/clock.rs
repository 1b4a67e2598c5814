//! The loop's time: monotonic, and standing still while the whole process did.

use std::time::{Duration, Instant};

/// A turn that takes so much longer than it should was not slow: the process was stopped, or its machine suspended.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Gives the time of a turn. After a pause of the process everything that had a deadline still has the time it had left,
/// instead of everyone being found dead at once.
#[derive(Debug)]
pub(super) struct Clock {
    /// When the last turn began, in real time.
    last: Instant,
    /// How long the process was paused in all.
    paused: Duration,
}

impl Clock {
    pub(super) fn new(now: Instant) -> Self {
        Self { last: now, paused: Duration::ZERO }
    }

    /// A turn begins, after a wait of at most `timeout`. The only clock read that anything is decided by.
    pub(super) fn begin_turn(&mut self, timeout: Option<Duration>) {
        self.turn_begins(Instant::now(), timeout);
    }

    /// How long the turn has taken so far, seconds.
    pub(super) fn since_turn_began(&self) -> f64 {
        self.last.elapsed().as_secs_f64()
    }

    /// The time of a turn that begins at `real_now`, after a wait of at most `timeout`; without a timeout there was no
    /// deadline that a pause could have passed.
    fn turn_begins(&mut self, real_now: Instant, timeout: Option<Duration>) -> Instant {
        if let Some(timeout) = timeout {
            let excess = real_now.saturating_duration_since(self.last).saturating_sub(timeout);
            if excess >= PAUSE_MIN {
                log::info!("the process was paused for {excess:.1?}; all deadlines are moved");
                self.paused += excess;
            }
        }
        self.last = real_now;
        self.now()
    }

    /// The time of the current turn.
    pub(super) fn now(&self) -> Instant {
        self.last - self.paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_does_not_count() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut clock = Clock::new(start);
        assert_eq!(clock.turn_begins(at(900), Some(Duration::ZERO)), at(900));
        assert_eq!(clock.turn_begins(at(5_900), Some(Duration::from_secs(5))), at(5_900));
        assert_eq!(clock.turn_begins(at(65_900), Some(Duration::from_secs(10))), at(15_900));
        assert_eq!(clock.turn_begins(at(66_000), None), at(16_000));
    }

    /// A host that waits in its own loop calls `turn` with a timeout of zero: its waiting is no pause.
    #[test]
    fn review_the_time_that_a_host_waits_is_time() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut clock = Clock::new(start);
        assert_eq!(clock.turn_begins(at(25_000), Some(Duration::ZERO)), at(25_000));
    }
}
