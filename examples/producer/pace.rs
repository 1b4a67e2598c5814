//! How fast, and how many: threads ask here before each message. Knows no messages.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use zmq2ws_examples::process::ATTENTION;

/// After a pause of the process, or a silence of the files: no burst to catch up.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// The same for datagrams, whose reader may keep 200 kB: 62 kB at the default rate. Longer than a
/// sleep is late on a system with something to do, or the rate would never be reached.
pub(crate) const CATCH_UP_MAX_OF_DATAGRAMS: Duration = Duration::from_millis(5);

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
        let schedule = (rate > 0).then(|| Mutex::new(Schedule::new(f64::from(rate), CATCH_UP_MAX)));
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
    catch_up_max: Duration,
    origin: Option<Instant>,
    /// Since `origin`: delays do not add up.
    given: u64,
}

impl Schedule {
    /// What is late by more than `catch_up_max` is not caught up with.
    pub(crate) fn new(per_second: f64, catch_up_max: Duration) -> Self {
        Self { per_second, catch_up_max, origin: None, given: 0 }
    }

    /// When the next one is due, and takes up `size` places.
    pub(crate) fn due(&mut self, now: Instant, size: u64) -> Instant {
        let origin = *self.origin.get_or_insert(now);
        let mut due = origin + Duration::from_secs_f64(self.given as f64 / self.per_second);
        if now.saturating_duration_since(due) > self.catch_up_max {
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
        let mut schedule = Schedule::new(10.0, CATCH_UP_MAX);
        assert_eq!(schedule.due(start, 1), start);
        assert_eq!(schedule.due(after(50), 1), after(100));
        assert_eq!(schedule.due(after(250), 2), after(200));
        assert_eq!(schedule.due(after(250), 1), after(400));
        assert_eq!(schedule.due(after(5000), 1), after(5000));
        assert_eq!(schedule.due(after(5000), 1), after(5100));
    }

    #[test]
    fn a_silence_is_no_credit_for_a_burst_of_datagrams() {
        const BITS_PER_SECOND: u64 = 8_000_000;
        let mut now = Instant::now();
        let mut schedule = Schedule::new(BITS_PER_SECOND as f64, CATCH_UP_MAX_OF_DATAGRAMS);
        for silence_ms in [0, 4, 6, 900, 1500] {
            now += Duration::from_millis(silence_ms);
            let start = now;
            let mut bits_sent = 0;
            for bits in [1000, 65_000].iter().cycle().take(100) {
                let due = schedule.due(now, *bits);
                now = now.max(due);
                let allowed = now - start + CATCH_UP_MAX_OF_DATAGRAMS;
                let allowed = allowed.as_secs_f64() * BITS_PER_SECOND as f64;
                assert!(bits_sent as f64 <= allowed + 65_000.0, "{silence_ms} ms: {bits_sent}");
                bits_sent += bits;
            }
            assert!(now - start >= Duration::from_millis(390), "{:?}", now - start);
        }
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
