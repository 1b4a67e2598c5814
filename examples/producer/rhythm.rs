//! When a file is looked at: the longer it has been quiet, the less often. Knows no files.

use std::time::{Duration, Instant};

/// A file that was quiet for a while is looked at after so much of that while: what comes then is late by no
/// more than an eighth of the time that it let everybody wait.
const QUIET_SHARE: u32 = 8;

/// But no later than this: of 10,000 quiet files, a tenth is looked at at each interval of 100 ms.
const WAIT_MAX: Duration = Duration::from_secs(1);

pub(crate) struct Rhythm {
    interval: Duration,
    changed: Instant,
    due: Instant,
}

impl Rhythm {
    /// For a file that is to be looked at once, and then no more often than at every `interval`.
    pub(crate) fn new(now: Instant, interval: Duration) -> Self {
        Self { interval, changed: now, due: now }
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// It was looked at, and had something new or not.
    pub(crate) fn looked(&mut self, now: Instant, has_changed: bool) {
        if has_changed {
            self.changed = now;
        }
        let quiet = now.saturating_duration_since(self.changed);
        self.due = now + (quiet / QUIET_SHARE).clamp(self.interval.min(WAIT_MAX), WAIT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_file_is_looked_at_less_often_and_a_lively_one_is_not() {
        let interval = Duration::from_millis(100);
        let mut now = Instant::now();
        let mut rhythm = Rhythm::new(now, interval);
        let mut looks = |seconds: u32, has_changed: bool| {
            let mut looks = 0;
            for _ in 0..seconds * 10 {
                if rhythm.is_due(now) {
                    rhythm.looked(now, has_changed);
                    looks += 1;
                }
                now += interval;
            }
            looks
        };
        assert_eq!(looks(10, true), 100);
        assert!((15..40).contains(&looks(10, false)));
        let quiet = looks(100, false);
        assert!((95..=105).contains(&quiet), "{quiet}");
        assert!(looks(10, true) >= 90);
    }
}
