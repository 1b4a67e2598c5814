//! Decides when an endpoint must be connected anew, from its monitor's events. Knows no sockets and
//! no clock.

use std::time::{Duration, Instant};

use super::endpoint::Attach;
use super::monitor::Event;

/// The life of one endpoint.
///
/// libzmq connects again by itself after a connection was closed, reset or timed out, and says so
/// at once. After a protocol error (garbage, a part above ZMQ_MAXMSGSIZE) it says only that the
/// connection is gone, and never connects again (libzmq issue 4196). So: an end that no attempt
/// follows within a grace is a death, and the caller is told to disconnect and connect.
pub(super) struct Link {
    attach: Attach,
    /// Ups less downs. Signed: with several I/O threads a down may be told before its up.
    open: i64,
    /// When the silence after a connection's end has lasted too long.
    revive_at: Option<Instant>,
    /// How long that silence is; doubled by every revival, back at `pause_min` once a message has
    /// come.
    pause: Duration,
    pause_min: Duration,
    pause_max: Duration,
}

impl Link {
    pub(super) fn new(attach: Attach, pause_min: Duration, pause_max: Duration) -> Self {
        Self { attach, open: 0, revive_at: None, pause: pause_min, pause_min, pause_max }
    }

    /// How many connections are open; at most one where the endpoint is connected to.
    pub(super) fn open(&self) -> u64 {
        let open = u64::try_from(self.open).unwrap_or(0);
        match self.attach {
            Attach::Connect => open.min(1),
            Attach::Bind => open,
        }
    }

    pub(super) fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Up(_) => self.open = self.open.saturating_add(1),
            Event::Down => self.open = self.open.saturating_sub(1),
            Event::Trying | Event::Refused(_) => {}
        }
        if self.attach == Attach::Bind {
            return; // who connects to us comes back by themselves
        }
        match event {
            Event::Up(_) if self.open > 0 => self.revive_at = None,
            // Not above zero after an up: its own down was told before it.
            Event::Up(_) | Event::Down => self.revive_at = Some(now + self.pause),
            Event::Trying => self.revive_at = None,
            Event::Refused(_) => {}
        }
    }

    /// A message came: whatever was wrong before is over.
    pub(super) fn handle_message(&mut self) {
        self.pause = self.pause_min;
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.revive_at
    }

    /// True when the endpoint is dead and is to be connected anew now. The next deadline then
    /// watches over that attempt.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.revive_at.is_none_or(|revive_at| revive_at > now) {
            return false;
        }
        self.pause = (self.pause * 2).min(self.pause_max);
        self.revive_at = Some(now + self.pause);
        self.open = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::monitor::Refusal;
    use super::*;

    const MIN: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(10);

    fn link(attach: Attach) -> (Link, Instant) {
        (Link::new(attach, MIN, MAX), Instant::now())
    }

    #[test]
    fn libzmq_reconnecting_by_itself_is_left_alone() {
        let (mut link, now) = link(Attach::Connect);
        for sign in [Event::Trying, Event::Up(-1)] {
            link.handle_event(now, Event::Up(-1));
            link.handle_event(now, Event::Down);
            assert_eq!(link.next_deadline(), Some(now + MIN));
            link.handle_event(now, sign);
            assert_eq!(link.next_deadline(), None);
            assert!(!link.handle_timeout(now + MAX));
            link.open = 0;
        }
    }

    #[test]
    fn silence_after_the_end_is_a_death() {
        let (mut link, mut now) = link(Attach::Connect);
        link.handle_event(now, Event::Up(-1));
        link.handle_event(now, Event::Refused(Refusal::Protocol));
        link.handle_event(now, Event::Down);
        assert!(!link.handle_timeout(now + MIN - Duration::from_nanos(1)));
        now += MIN;
        assert!(link.handle_timeout(now));
        assert!(!link.handle_timeout(now), "once for each death");
        assert_eq!(link.next_deadline(), Some(now + 2 * MIN));
    }

    #[test]
    fn pauses_grow_until_a_message_comes() {
        let (mut link, mut now) = link(Attach::Connect);
        let mut die = |link: &mut Link| {
            link.handle_event(now, Event::Up(-1));
            link.handle_event(now, Event::Down);
            let pause = link.next_deadline().unwrap() - now;
            now += pause;
            assert!(link.handle_timeout(now));
            pause
        };
        let pauses: Vec<_> = (0..7).map(|_| die(&mut link).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        link.handle_message();
        assert_eq!(die(&mut link), MIN);
    }

    #[test]
    fn a_bound_endpoint_only_counts() {
        let (mut link, now) = link(Attach::Bind);
        link.handle_event(now, Event::Up(-1));
        link.handle_event(now, Event::Up(-1));
        link.handle_event(now, Event::Down);
        assert_eq!((link.open(), link.next_deadline()), (1, None));
    }

    #[test]
    fn the_count_is_never_negative() {
        for attach in [Attach::Connect, Attach::Bind] {
            let (mut link, now) = link(attach);
            link.handle_event(now, Event::Down);
            assert_eq!(link.open(), 0);
            link.handle_event(now, Event::Up(-1));
            assert_eq!(link.open(), 0);
            assert_eq!(link.next_deadline().is_some(), attach == Attach::Connect);
        }
    }
}
