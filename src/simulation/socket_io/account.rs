//! What a page was sent over all connections of one session against what it was owed: each message once, in order, or
//! within a told gap, wherever it came from polling or the WebSocket.

use crate::simulation::account::Seen;
use crate::simulation::client::Published;

/// What one session was owed.
pub(super) struct Account<'a> {
    pub(super) published: &'a [Published],
    pub(super) wants: &'a dyn Fn(usize) -> bool,
    /// It became a client when there were at least so many messages.
    pub(super) joined_min: usize,
    /// And at most so many.
    pub(super) joined_max: usize,
    /// Whether it gets last values first.
    pub(super) has_values: bool,
    /// Whether a gap is told where it is: the latest values come before the gap that they do not fill.
    pub(super) tells_in_place: bool,
}

impl Account<'_> {
    /// Fails when something came twice, out of order, unasked for, or was lost in silence. `is_alive` is whether
    /// everything must have come.
    pub(super) fn check(&self, seen: &[Seen], is_alive: bool) {
        self.check_upstream(seen, is_alive);
        let free_until = if self.has_values { self.joined_max } else { self.joined_min };
        let mut last = 0;
        let mut slack = self.owed(free_until, self.joined_max);
        // A gap may tell of messages that came before the last values did, too.
        let mut surplus = self.owed(self.joined_min, free_until);
        let (mut untold, mut is_vague) = (0_i64, false);
        for item in seen {
            match item {
                Seen::Message(number) => {
                    assert!(*number > last && (self.wants)(*number), "{number} after {last}");
                    assert!(self.has_values || *number > self.joined_min, "{number} is too old");
                    untold += self.owed(last.max(free_until), number - 1);
                    last = *number;
                    if *number <= free_until {
                        continue;
                    }
                    if self.tells_in_place {
                        let is_right = is_vague || (-surplus..=slack).contains(&untold);
                        assert!(is_right, "{untold} untold before {number}, not {slack} at most");
                        (untold, is_vague) = (0, false);
                        (slack, surplus) = (0, 0);
                    }
                }
                Seen::Gap(Some(missed), _) => {
                    assert!(*missed > 0);
                    untold -= *missed as i64;
                }
                Seen::Gap(None, _) => is_vague = true,
                Seen::Upstream(_) => {}
                other => panic!("no such thing is said on Socket.IO: {other:?}"),
            }
        }
        if is_alive {
            untold += self.owed(last.max(free_until), self.published.len());
            let is_right = is_vague || (-surplus..=slack).contains(&untold);
            assert!(is_right, "{untold} neither delivered nor told, {slack} at most");
        }
    }

    /// How many messages are wanted behind `after`, until `until`.
    fn owed(&self, after: usize, until: usize) -> i64 {
        (after + 1..=until).filter(|&number| (self.wants)(number)).count() as i64
    }

    /// What was lost upstream is told right before the message behind it.
    fn check_upstream(&self, seen: &[Seen], is_alive: bool) {
        let mut told = None;
        for item in seen {
            let is_behind = told.take();
            match item {
                Seen::Upstream(lost) => told = Some(*lost),
                Seen::Message(number) => {
                    let lost = self.published[*number - 1].lost;
                    let may_be_value = self.has_values && *number <= self.joined_max;
                    let is_right = is_behind == lost || (may_be_value && is_behind.is_none());
                    assert!(is_right, "lost upstream before {number}: {is_behind:?}, not {lost:?}");
                }
                other => assert_eq!(is_behind, None, "{other:?} came in between"),
            }
        }
        assert!(told.is_none() || !is_alive, "nothing came behind {told:?}");
    }
}
