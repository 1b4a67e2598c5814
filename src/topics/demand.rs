//! What publishers are asked for where that is what clients want (`--on-demand`): the union of all feeds' filters.
//! Knows neither clients nor sockets, and no clock.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Filter;
use crate::memory::{Charge, Memory};
use crate::message::Seq;
use crate::timers::Timers;

/// How long a prefix that nobody wants any more is still asked for. A page that is loaded again is back within a second,
/// a client whose connection was cut within a few; meanwhile nothing that it wants is missed.
const LINGER: Duration = Duration::from_secs(5);

/// Prefixes that are given up by one call of [`Demand::advance`]: well below 1 ms.
const EXPIRIES_MAX: usize = 256;

/// Changes that may wait to be said, beside two for each prefix that is wanted: with the longest topics 3 MB. Somebody who
/// comes and goes with new topics each time makes them faster than publishers are told.
const CHANGES_MAX: usize = 10_000;

/// About what one prefix costs: here, and in libzmq for each source, which keeps a node for each byte. Measured with
/// libzmq 4.3.4: 390 bytes in all for words of 21 bytes, 8.3 KiB for 255 random ones, 1.1 KiB for the most hostile of 9.
const WANT_BYTES: usize = 256;
const SOURCE_BYTES: usize = 128;
const SOURCE_BYTES_PER_BYTE: usize = 40;

/// What is to be said to publishers. In order: whatever is asked for more narrowly or more broadly than before is never
/// not asked for in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Subscribe(Rc<[u8]>),
    Unsubscribe(Rc<[u8]>),
}

/// Counts who wants which prefix, and says what publishers are to be asked for.
///
/// ```text
///   wanted    "" ×1    news. ×2    news.oslo ×40    weather. ×3
///   asked     ""                                                   while somebody wants everything
///   asked              news.                        weather.       without that one
/// ```
///
/// A prefix that is covered by a shorter one is not asked for, so publishers have little to look through.
pub(crate) struct Demand {
    /// What may be asked for (`--subscribe`): sorted; none starts with another.
    bounds: Box<[Box<[u8]>]>,
    sources: usize,
    memory: Memory,
    /// What feeds want, or wanted a moment ago.
    wants: BTreeMap<Rc<[u8]>, Want>,
    /// The wants that start with no other.
    asked: BTreeSet<Rc<[u8]>>,
    changes: VecDeque<Change>,
    /// Wants that their last feed has left since the last [`Self::advance`].
    left: Vec<Rc<[u8]>>,
    /// One entry at most for each want.
    timers: Timers<Rc<[u8]>>,
    /// How many wants no feed has.
    idle: usize,
}

struct Want {
    feeds: usize,
    /// When it is given up; `None` while a feed has it, or until the time is known.
    until: Option<Instant>,
    has_timer: bool,
    /// What came after this message, and starts with the prefix, was asked for without a pause.
    since: Seq,
    /// Whether somebody for whom it was asked for was told to go on behind that very message.
    is_handed_out: bool,
    _charge: Charge,
}

impl Demand {
    /// Asks for what starts with one of `bounds` at most, of so many `sources`. `memory` is what filters count on.
    pub(crate) fn new(bounds: Vec<Vec<u8>>, sources: usize, memory: Memory) -> Self {
        Self {
            bounds: Filter::new(bounds, Vec::new()).prefixes,
            sources,
            memory,
            wants: BTreeMap::new(),
            asked: BTreeSet::new(),
            changes: VecDeque::new(),
            left: Vec::new(),
            timers: Timers::new(),
            idle: 0,
        }
    }

    /// A feed for `filter` begins after the message `last_seq`.
    pub(crate) fn add(&mut self, filter: &Filter, last_seq: Seq) {
        let Self { bounds, wants, idle, asked, changes, memory, sources, .. } = self;
        for prefix in within(bounds, filter) {
            if let Some(want) = wants.get_mut(prefix) {
                *idle -= usize::from(want.feeds == 0);
                want.feeds += 1;
                want.until = None;
                continue;
            }
            let key: Rc<[u8]> = prefix.into();
            let since = match cover(asked, prefix) {
                Some(cover) => wants.get(cover).map_or(last_seq, |want| want.since),
                None => {
                    ask(asked, changes, &key);
                    last_seq
                }
            };
            let per_source = SOURCE_BYTES + SOURCE_BYTES_PER_BYTE * prefix.len();
            let charge = memory.charge(WANT_BYTES + prefix.len() + *sources * per_source);
            let want = Want {
                feeds: 1,
                until: None,
                has_timer: false,
                since,
                is_handed_out: false,
                _charge: charge,
            };
            wants.insert(key, want);
        }
    }

    /// The feed for `filter` is no more.
    pub(crate) fn remove(&mut self, filter: &Filter) {
        let Self { bounds, wants, left, idle, .. } = self;
        for prefix in within(bounds, filter) {
            let this = (Bound::Included(prefix), Bound::Included(prefix));
            let (key, want) =
                wants.range_mut::<[u8], _>(this).next().expect("a feed that ends was added");
            want.feeds -= 1;
            if want.feeds == 0 {
                left.push(Rc::clone(key));
                *idle += 1;
            }
        }
    }

    /// Whether all that `filter` matches after the message `seq` was asked for, so that nothing of it was missed.
    pub(crate) fn covers(&self, filter: &Filter, seq: Seq) -> bool {
        within(&self.bounds, filter).into_iter().all(|prefix| {
            let wanted = self.wants.get(prefix);
            let want = wanted.or_else(|| self.wants.get(cover(&self.asked, prefix)?));
            // What began to be asked for after that very message may have been missed before it was asked for, but not
            // by who waited meanwhile: without an end it would be told so, and come back with the same message.
            want.is_some_and(|want| want.since < seq || (want.since == seq && want.is_handed_out))
        })
    }

    /// Somebody who was waiting for `filter` goes on behind the message `seq`.
    pub(crate) fn hand_out(&mut self, filter: &Filter, seq: Seq) {
        let Self { bounds, wants, .. } = self;
        for prefix in within(bounds, filter) {
            if let Some(want) = wants.get_mut(prefix).filter(|want| want.since == seq) {
                want.is_handed_out = true;
            }
        }
    }

    /// When [`Self::advance`] is to be called at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// Whether there is something to do that does not wait for anything.
    pub(crate) fn has_work(&self) -> bool {
        !self.left.is_empty() || !self.changes.is_empty()
    }

    /// Whether so much waits to be said that nobody new should ask for anything before.
    pub(crate) fn is_behind(&self) -> bool {
        self.changes.len() > CHANGES_MAX + 2 * self.wants.len()
    }

    /// Gives up what nobody has wanted for some time.
    pub(crate) fn advance(&mut self, now: Instant) {
        for key in std::mem::take(&mut self.left) {
            if let Some(want) = self.wants.get_mut(&key).filter(|want| want.feeds == 0) {
                want.until = Some(now + LINGER);
                if !std::mem::replace(&mut want.has_timer, true) {
                    self.timers.schedule(now + LINGER, key);
                }
            }
        }
        for _ in 0..EXPIRIES_MAX {
            let Some((_, key)) = self.timers.pop_due(now) else { break };
            let Some(want) = self.wants.get_mut(&key) else { continue };
            want.has_timer = false;
            match want.until {
                None => {}
                Some(until) if until > now => {
                    want.has_timer = true;
                    self.timers.schedule(until, key);
                }
                Some(_) => self.give_up(&key),
            }
        }
    }

    /// Gives up at once whatever nobody wants, to make room for somebody who wants something else.
    pub(crate) fn give_up_idle(&mut self) {
        if self.idle == 0 {
            return;
        }
        let idle = self.wants.iter().filter(|(_, want)| want.feeds == 0);
        let keys: Vec<_> = idle.map(|(key, _)| Rc::clone(key)).collect();
        for key in keys {
            self.give_up(&key);
        }
        self.left.clear();
        let wants = &mut self.wants;
        self.timers.retain(|_, key| wants.contains_key(key));
    }

    /// Takes the next of what is to be said to publishers.
    pub(crate) fn pop_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Forgets an idle prefix, and asks for what only it covered.
    fn give_up(&mut self, prefix: &Rc<[u8]>) {
        self.wants.remove(prefix);
        self.idle -= 1;
        if !self.asked.remove(prefix) {
            return;
        }
        let narrower = self.wants.range::<[u8], _>((Bound::Excluded(&**prefix), Bound::Unbounded));
        let mut last: Option<&Rc<[u8]>> = None;
        for (key, _) in narrower.take_while(|(key, _)| key.starts_with(prefix)) {
            if last.is_none_or(|last| !key.starts_with(last)) {
                self.asked.insert(Rc::clone(key));
                self.changes.push_back(Change::Subscribe(Rc::clone(key)));
                last = Some(key);
            }
        }
        self.changes.push_back(Change::Unsubscribe(Rc::clone(prefix)));
    }

    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        let outermost =
            |key: &&Rc<[u8]>| (0..key.len()).all(|len| !self.wants.contains_key(&key[..len]));
        assert!(self.wants.keys().filter(outermost).eq(&self.asked));
        assert_eq!(self.idle, self.wants.values().filter(|want| want.feeds == 0).count());
        let timers = self.wants.values().filter(|want| want.has_timer).count();
        assert_eq!(self.timers.len(), timers, "an entry for each that has one");
    }
}

/// Asks for `prefix`, and from then on for nothing that it covers.
fn ask(asked: &mut BTreeSet<Rc<[u8]>>, changes: &mut VecDeque<Change>, prefix: &Rc<[u8]>) {
    changes.push_back(Change::Subscribe(Rc::clone(prefix)));
    let narrower = asked.range::<[u8], _>((Bound::Excluded(&**prefix), Bound::Unbounded));
    let narrower: Vec<_> =
        narrower.take_while(|key| key.starts_with(prefix)).map(Rc::clone).collect();
    for key in narrower {
        asked.remove(&key);
        changes.push_back(Change::Unsubscribe(key));
    }
    asked.insert(Rc::clone(prefix));
}

/// What is asked for that `prefix` starts with. Since none of them starts with another, it is the last one before.
fn cover<'a>(asked: &'a BTreeSet<Rc<[u8]>>, prefix: &[u8]) -> Option<&'a Rc<[u8]>> {
    let before = asked.range::<[u8], _>((Bound::Unbounded, Bound::Included(prefix))).next_back();
    before.filter(|key| prefix.starts_with(key))
}

/// The prefixes of what `filter` matches and `bounds` allow, each once.
fn within<'a>(bounds: &'a [Box<[u8]>], filter: &'a Filter) -> Vec<&'a [u8]> {
    let mut prefixes: Vec<&[u8]> = Vec::new();
    for (topics, is_exact) in [(&filter.prefixes, false), (&filter.exact, true)] {
        for topic in topics {
            let after = bounds.partition_point(|bound| **bound <= **topic);
            if bounds[..after].last().is_some_and(|bound| topic.starts_with(bound)) {
                prefixes.push(topic);
            } else if !is_exact {
                let narrower = bounds[after..].iter().take_while(|it| it.starts_with(topic));
                prefixes.extend(narrower.map(|bound| &**bound));
            }
        }
    }
    prefixes
}
