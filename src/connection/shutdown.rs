//! Schedules close frames during shutdown, spread out so that clients do not all reconnect at once. Knows only owners and
//! time.

use std::time::{Duration, Instant};

use crate::feed::Owner;

/// Goodbyes per second if there is time: a few clients are let go of at once.
const GOODBYES_PER_SECOND: u32 = 2_000;

/// How often goodbyes are said.
const STEP: Duration = Duration::from_millis(10);

/// The time of stopping.
#[derive(Debug)]
pub(super) struct ShutdownSchedule {
    begun: Instant,
    /// Over how long goodbyes are spread.
    spread: Duration,
    /// When whoever is still there is cut off.
    until: Instant,
    /// Who is still to be said goodbye, the next one last.
    waiting: Vec<Owner>,
    count: usize,
    next_step: Instant,
    has_ended: bool,
}

impl ShutdownSchedule {
    /// Spreads goodbyes over half of the time at most: the rest is for clients to take what they are owed.
    pub(super) fn new(begun: Instant, until: Instant, clients: Vec<Owner>) -> Self {
        let count = clients.len();
        let unhurried =
            Duration::from_secs(1) * u32::try_from(count).unwrap_or(u32::MAX) / GOODBYES_PER_SECOND;
        let spread = unhurried.min(until.saturating_duration_since(begun) / 2);
        Self { begun, spread, until, waiting: clients, count, next_step: begun, has_ended: false }
    }

    /// There is less time than it seemed.
    pub(super) fn hurry(&mut self, until: Instant) {
        self.until = self.until.min(until);
        self.spread = self.spread.min(self.until.saturating_duration_since(self.begun) / 2);
        self.next_step = self.begun;
    }

    /// Takes one client whose time has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Owner> {
        let elapsed = now.saturating_duration_since(self.begun);
        let said = self.count - self.waiting.len();
        let is_due = match self.spread.as_nanos() {
            0 => true,
            spread => said as u128 * spread <= elapsed.as_nanos() * self.count as u128,
        };
        if is_due && let Some(owner) = self.waiting.pop() {
            return Some(owner);
        }
        self.next_step = now + STEP;
        None
    }

    pub(super) fn next_deadline(&self) -> Instant {
        if self.waiting.is_empty() { self.until } else { self.next_step.min(self.until) }
    }

    /// Whether the time is over; says so once.
    pub(super) fn ends(&mut self, now: Instant) -> bool {
        now >= self.until && !std::mem::replace(&mut self.has_ended, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goodbyes_are_spread_and_a_few_are_not_kept_waiting() {
        let many = |count| (0..count).map(Owner).collect::<Vec<_>>();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let taken = |drain: &mut ShutdownSchedule, millis| {
            std::iter::from_fn(|| drain.pop_due(at(millis))).count()
        };

        let mut drain = ShutdownSchedule::new(start, at(5_000), many(2_000));
        assert_eq!(taken(&mut drain, 0), 1);
        let half = taken(&mut drain, 500);
        assert!((900..1100).contains(&half), "{half}");
        assert_eq!(drain.next_deadline(), at(510));
        taken(&mut drain, 1_000);
        assert_eq!(drain.next_deadline(), at(5_000));

        let mut hurried = ShutdownSchedule::new(start, at(200), many(2_000));
        assert_eq!(taken(&mut hurried, 100), 2_000);
        assert!(!hurried.ends(at(199)) && hurried.ends(at(200)) && !hurried.ends(at(201)));

        let mut at_once = ShutdownSchedule::new(start, start, many(3));
        assert_eq!(taken(&mut at_once, 0), 3);
    }
}
