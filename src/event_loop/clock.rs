//! The loop's time: monotonic, and standing still while the whole process did.
//!
//! What is done in a turn is done at the time when it began, which is the only clock read that deadlines are compared with.
//! Where the host maps messages, the clock is read once more for each of them, to end that in time.

use std::time::{Duration, Instant, SystemTime};

/// A turn that takes so much longer than it should was not slow: the process was stopped, or its machine suspended. Unless
/// that happens again before the loop was on time for as long: then something in it is slow, and would stop the clock.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// How long the host may map messages in one turn: what everything else in one may take.
const TURN_MAPPING_MAX: Duration = Duration::from_millis(5);

/// Gives the time of a turn. After a pause of the process everything that had a deadline still has the time it had left
/// when the wait began, instead of everyone being found dead at once.
#[derive(Debug)]
pub(super) struct Clock {
    /// When the last turn began, in real time.
    last: Instant,
    /// How long the process was paused in all.
    paused: Duration,
    /// When the last turn began that was late, in real time.
    late_at: Option<Instant>,
    /// Whether the log has been told that turns are late again and again.
    is_slowness_told: bool,
    /// When the time of day was last asked for.
    told: Instant,
}

impl Clock {
    pub(super) fn new(now: Instant) -> Self {
        let paused = Duration::ZERO;
        Self { last: now, paused, late_at: None, is_slowness_told: false, told: now }
    }

    /// A turn begins, which was to begin within `due` of the last one. The only clock read that deadlines are compared with.
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
                self.turn_is_late(real_now, excess);
            }
        }
        self.last = real_now;
        self.now()
    }

    fn turn_is_late(&mut self, real_now: Instant, excess: Duration) {
        let on_time = self.late_at.map(|late_at| self.last.saturating_duration_since(late_at));
        self.late_at = Some(real_now);
        if on_time.is_none_or(|on_time| on_time >= PAUSE_MIN) {
            log::info!("the loop stood still for {excess:.1?}; all deadlines are moved");
            // All of the wait: what was due at its end had no chance, since nothing was read meanwhile.
            self.paused += real_now - self.last;
        } else if !std::mem::replace(&mut self.is_slowness_told, true) {
            log::warn!(
                "turns of the loop are late again and again, this one by {excess:.1?}: clients may be closed for that (a hook \
                 takes long, or the host's loop does)"
            );
        }
    }

    /// How long messages may be taken in from now on; without a limit where that `is_mapping` none.
    pub(super) fn allowance(&self, is_mapping: bool) -> Allowance {
        Allowance { until: is_mapping.then(|| Instant::now() + TURN_MAPPING_MAX) }
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

/// The time that mapping messages may take of a turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    until: Option<Instant>,
}

impl Allowance {
    pub(super) fn is_used_up(self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
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

    #[test]
    fn a_host_that_is_late_each_time_does_not_stop_the_clock() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let due = Some(Duration::ZERO);
        for period in [1_001, 1_400, 3_000] {
            let mut clock = Clock::new(start);
            for turn in 1..=10 {
                // The first time may have been a pause.
                assert_eq!(clock.turn_begins(at(period * turn), due), at(period * (turn - 1)));
            }
            // Nor does one that turns twice each time.
            let mut clock = Clock::new(start);
            for turn in 1..=10 {
                clock.turn_begins(at(period * turn), due);
                clock.turn_begins(at(period * turn + 5), due);
            }
            assert_eq!(clock.now(), at(period * 9 + 5));
        }
    }

    #[test]
    fn a_pause_counts_again_after_a_while_without_one() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let due = Some(Duration::from_millis(500));
        let mut clock = Clock::new(start);
        assert_eq!(clock.turn_begins(at(60_000), due), at(0));
        assert_eq!(clock.turn_begins(at(60_500), due), at(500));
        assert_eq!(clock.turn_begins(at(61_000), due), at(1_000));
        assert_eq!(clock.turn_begins(at(121_000), due), at(1_000));
    }
}
