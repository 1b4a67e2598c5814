//! What one connection was sent against what it was owed: each message once, in order, or within a told gap.

use super::client::Published;
use crate::message::Lost;

/// What a client read, frame by frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// The message, counted over all runs of the gateway from 1.
    Message(usize),
    /// How many are missing, where that is known, and whether because the client lagged.
    Gap(Option<usize>, bool),
    /// A gap before it, of unknown length, stands for all that is missing up to this message.
    ToldUpTo(usize),
    /// What was lost before it reached the gateway.
    Upstream(Lost),
    Ping,
    Pong,
    Close(u16),
}

impl Seen {
    /// The message's number, where it is one.
    pub(super) fn number(&self) -> Option<usize> {
        if let Self::Message(number) = self { Some(*number) } else { None }
    }
}

/// What a client was owed.
pub(super) struct Account<'a> {
    pub(super) published: &'a [Published],
    /// Whether a message was wanted when it was published, by its number.
    pub(super) wants: &'a dyn Fn(usize) -> bool,
    /// How many messages there were when it became a client: what comes later is owed.
    pub(super) joined: usize,
    /// The message after which it wanted to go on.
    pub(super) since: Option<usize>,
    /// The first message of this run.
    pub(super) first: usize,
    /// Whether it gets last values, where it begins or begins anew.
    pub(super) has_values: bool,
    /// Whether its format tells of gaps.
    pub(super) is_told: bool,
    /// Whether it may miss messages without a word.
    pub(super) may_miss: bool,
}

/// What may be missing without having been told yet, or with.
#[derive(Default)]
struct Missing {
    /// Passed over since the last gap; the next one has to tell of them.
    untold: i64,
    /// Messages up to here may be missing, a gap said so: all but last values, or those before the first that comes.
    until: usize,
    /// As that, whichever message comes next.
    until_next: bool,
    /// As that, whatever comes before it.
    up_to: usize,
    /// It is not known which of the missing messages a gap tells of, or told of: from then on only sums are right.
    is_vague: bool,
}

impl Missing {
    /// The message `number` did not come.
    fn pass(&mut self, number: usize) {
        let is_told = self.until_next || number <= self.until.max(self.up_to);
        self.untold += i64::from(!is_told);
    }

    /// A gap told of `missed`; `next` would be the next message that is owed. Returns how many come behind the gap.
    fn tell(&mut self, missed: usize, next: Option<&usize>) -> usize {
        self.is_vague |= self.until_next || next.is_some_and(|&next| next <= self.until);
        self.untold -= missed as i64;
        if self.is_vague {
            return 0;
        }
        let behind = -std::mem::take(&mut self.untold);
        usize::try_from(behind).expect("no more is missing than was told")
    }
}

impl Account<'_> {
    /// Fails when something is missing or too much; returns the close code that ended it.
    pub(super) fn check(&self, seen: &[Seen], is_alive: bool) -> Option<u16> {
        self.check_upstream(seen, is_alive);
        let greeting = self.greeting_len(seen);
        let begins_at = self.since.unwrap_or(self.joined);
        let is_owed = |number: &usize| (self.wants)(*number);
        let mut owed = (begins_at + 1..=self.published.len()).filter(is_owed).peekable();
        let mut missing = Missing::default();
        if begins_at + 1 < self.first {
            // The first thing that it hears is a gap, and what is kept begins anywhere in this run.
            let begins = seen.iter().find(|it| matches!(it, Seen::Message(_) | Seen::Gap(..)));
            let is_right = !self.is_told || begins.is_none_or(|it| *it == Seen::Gap(None, false));
            assert!(is_right, "a client of an earlier run is told: {begins:?}");
        }
        let mut closed_with = None;
        for item in &seen[greeting..] {
            assert_eq!(closed_with, None, "nothing follows a close: {item:?}");
            match item {
                Seen::Message(number) => {
                    while let Some(passed) = owed.next_if(|next| next < number) {
                        missing.pass(passed);
                    }
                    missing.until_next = false;
                    if !self.has_values {
                        missing.until = 0;
                    }
                    assert_eq!(owed.next(), Some(*number), "in order, and owed");
                }
                Seen::Gap(Some(missed), _) => {
                    assert!(*missed > 0);
                    // Before it there may be last values of what it tells of.
                    let behind = missing.tell(*missed, owed.peek());
                    assert_eq!(owed.by_ref().take(behind).count(), behind, "told, and owed");
                }
                Seen::Gap(None, is_lag) => {
                    missing.until_next = *is_lag;
                    missing.is_vague |= is_lag;
                    missing.until = if *is_lag { missing.until } else { self.joined };
                }
                Seen::ToldUpTo(number) => missing.up_to = *number,
                Seen::Upstream(_) | Seen::Ping | Seen::Pong => {}
                Seen::Close(code) => closed_with = Some(*code),
            }
        }
        if is_alive && !self.may_miss {
            owed.for_each(|number| missing.pass(number));
            let is_told = missing.untold == 0 || (missing.is_vague && missing.untold < 0);
            assert!(is_told, "{} neither delivered nor told", missing.untold);
        }
        if is_alive && greeting > 0 && !self.may_miss {
            self.check_values(&seen[..greeting], seen);
        }
        closed_with
    }

    /// What was lost upstream is told right before the message behind it, whenever that comes, and never otherwise.
    fn check_upstream(&self, seen: &[Seen], is_alive: bool) {
        let mut told = None;
        for item in seen {
            let is_behind = told.take();
            match item {
                Seen::Upstream(lost) => told = Some(*lost),
                Seen::Message(number) => {
                    let lost = self.published[*number - 1].lost.filter(|_| self.is_told);
                    // Who is greeted with a value was not there when it was live, and missed nothing before it.
                    let may_be_greeting = self.has_values && *number <= self.joined;
                    let is_right = is_behind == lost || (may_be_greeting && is_behind.is_none());
                    assert!(is_right, "lost upstream before {number}: {is_behind:?}, not {lost:?}");
                }
                other => assert_eq!(is_behind, None, "{other:?} came in between"),
            }
        }
        assert!(told.is_none() || !is_alive, "nothing came behind {told:?}");
    }

    /// How many of the first items are last values of a new client.
    fn greeting_len(&self, seen: &[Seen]) -> usize {
        if !self.has_values || self.since.is_some() {
            return 0;
        }
        let is_value = |it: &Seen| matches!(it, Seen::Message(number) if *number <= self.joined);
        seen.iter().rposition(is_value).map_or(0, |last| last + 1)
    }

    /// Last values are the latest of their topics, in order, and there is one of each topic or a later message.
    fn check_values(&self, greeting: &[Seen], seen: &[Seen]) {
        let values: Vec<_> = greeting.iter().filter_map(Seen::number).collect();
        assert!(values.is_sorted_by(|a, b| a < b), "each once, in order: {values:?}");
        let topic = |number: usize| self.published[number - 1].topic.as_str();
        for &value in &values {
            let is_last = (value + 1..=self.joined).all(|later| topic(later) != topic(value));
            assert!(value >= self.first && (self.wants)(value) && is_last, "{value}");
        }
        for owed in (self.first..=self.joined).filter(|&number| (self.wants)(number)) {
            let is_made_up_for = |later| topic(later) == topic(owed) && later >= owed;
            let came = seen.iter().filter_map(Seen::number).any(is_made_up_for);
            let later = (self.joined + 1..=self.published.len()).any(is_made_up_for);
            assert!(came || later, "no value for the topic of {owed}");
        }
    }
}
