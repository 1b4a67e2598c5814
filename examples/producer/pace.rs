//! How fast, and how many: threads ask here before each message. Knows no messages.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use zmq2ws_examples::process::ATTENTION;

/// After a pause of the process, or a silence of the files: no burst to catch up.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// Shared by all threads.
pub(crate) struct Pace {
    stop: Arc<AtomicBool>,
    /// 0 for no end.
    count: u64,
    given: AtomicU64,
    schedule: Option<Mutex<Schedule>>,
}

impl Pace {
    /// `rate` messages a second, and `count` in all; 0 for as fast as possible, and without end.
    pub(crate) fn new(rate: u32, count: u64, stop: Arc<AtomicBool>) -> Self {
        let schedule = (rate > 0).then(|| Mutex::new(Schedule::new(f64::from(rate))));
        Self { stop, count, given: AtomicU64::new(0), schedule }
    }

    /// Waits until the next message is due, and returns its number; `None` when there is to be none.
    pub(crate) fn next(&self) -> Option<u64> {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        if self.count > 0 && number >= self.count {
            return None;
        }
        if let Some(schedule) = &self.schedule {
            let due =
                schedule.lock().unwrap_or_else(PoisonError::into_inner).due(Instant::now(), 1);
            wait_until(due, &self.stop);
        }
        (!self.stop.load(Ordering::Relaxed)).then_some(number)
    }

    /// Whether as many were asked for as there are to be.
    pub(crate) fn is_over(&self) -> bool {
        self.count > 0 && self.given.load(Ordering::Relaxed) >= self.count
    }
}

/// When things are due that come at a rate.
pub(crate) struct Schedule {
    per_second: f64,
    origin: Option<Instant>,
    /// Since `origin`: delays do not add up.
    given: u64,
}

impl Schedule {
    pub(crate) fn new(per_second: f64) -> Self {
        Self { per_second, origin: None, given: 0 }
    }

    /// When the next one is due, and takes up `size` places.
    pub(crate) fn due(&mut self, now: Instant, size: u64) -> Instant {
        let origin = *self.origin.get_or_insert(now);
        let mut due = origin + Duration::from_secs_f64(self.given as f64 / self.per_second);
        if now.saturating_duration_since(due) > CATCH_UP_MAX {
            (self.origin, self.given, due) = (Some(now), 0, now);
        }
        self.given += size;
        due
    }
}

/// Sleeps, but not through a signal.
pub(crate) fn wait_until(due: Instant, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match due.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => thread::sleep(left.min(ATTENTION)),
            _ => break,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_do_not_add_up_and_a_long_one_is_no_debt() {
        let start = Instant::now();
        let after = |ms: u64| start + Duration::from_millis(ms);
        let mut schedule = Schedule::new(10.0);
        assert_eq!(schedule.due(start, 1), start);
        assert_eq!(schedule.due(after(50), 1), after(100));
        assert_eq!(schedule.due(after(250), 2), after(200));
        assert_eq!(schedule.due(after(250), 1), after(400));
        assert_eq!(schedule.due(after(5000), 1), after(5000));
        assert_eq!(schedule.due(after(5000), 1), after(5100));
    }

    #[test]
    fn no_more_are_given_than_there_are() {
        let pace = Pace::new(0, 2, Arc::default());
        assert_eq!([pace.next(), pace.next(), pace.next()], [Some(0), Some(1), None]);
        assert!(pace.is_over());
        let stop = Arc::new(AtomicBool::new(true));
        assert_eq!(Pace::new(1, 0, stop).next(), None);
    }
}
