//! The loop's time: monotonic, and standing still while the whole process did.

use std::time::{Duration, Instant, SystemTime};

/// A turn that takes so much longer than it should was not slow: the process was stopped, or its machine suspended.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Gives the time of a turn. After a pause of the process everything that had a deadline still has the time it had left
/// when the wait began, instead of everyone being found dead at once.
#[derive(Debug)]
pub(super) struct Clock {
    /// When the last turn began, in real time.
    last: Instant,
    /// How long the process was paused in all.
    paused: Duration,
    /// When the time of day was last asked for.
    told: Instant,
}

impl Clock {
    pub(super) fn new(now: Instant) -> Self {
        Self { last: now, paused: Duration::ZERO, told: now }
    }

    /// A turn begins, which was to begin within `due` of the last one. The only clock read that anything is decided by.
    pub(super) fn begin_turn(&mut self, due: Option<Duration>) {
        self.turn_begins(Instant::now(), due);
    }

    /// The time of day, once a second: for people to read, never for deadlines, since it may jump.
    pub(super) fn new_second(&mut self) -> Option<SystemTime> {
        let is_due = self.last.saturating_duration_since(self.told) >= Duration::from_secs(1);
        is_due.then(|| {
            self.told = self.last;
            SystemTime::now()
        })
    }

    /// How long the turn has taken so far, seconds.
    pub(super) fn since_turn_began(&self) -> f64 {
        self.last.elapsed().as_secs_f64()
    }

    /// The time of a turn that begins at `real_now`; without `due` there was no deadline that a pause could have passed.
    fn turn_begins(&mut self, real_now: Instant, due: Option<Duration>) -> Instant {
        if let Some(due) = due {
            let excess = real_now.saturating_duration_since(self.last).saturating_sub(due);
            if excess >= PAUSE_MIN {
                log::info!("the loop stood still for {excess:.1?}; all deadlines are moved");
                // All of the wait: what was due at its end had no chance, since nothing was read meanwhile.
                self.paused += real_now - self.last;
            }
        }
        self.last = real_now;
        self.now()
    }

    /// When a time of the loop is in real time, if nothing pauses the process until then.
    pub(super) fn to_real(&self, time: Instant) -> Instant {
        time + self.paused
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
        assert_eq!(clock.turn_begins(at(65_900), Some(Duration::from_secs(10))), at(5_900));
        assert_eq!(clock.turn_begins(at(66_000), None), at(6_000));
    }
}
