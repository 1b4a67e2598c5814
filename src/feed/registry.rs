//! All feeds: who wants what, which feeds a message goes to, and which subscribers are to be served next.

mod answers;
mod change;
#[cfg(test)]
mod checks;
mod news;
mod sessions;

pub(crate) use answers::{Answer, Answering};
pub(crate) use change::{Changed, TURN_TOPICS_MAX};
pub(crate) use news::News;

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use slotmap::{SlotMap, new_key_type};

use super::arrears::Arrears;
use super::encoder::Encoder;
use super::limits::Limits;
use super::pool::ChunkPool;
use super::replay::Replayer;
use super::{Feed, LagRule, Next, Overrun, Owner, Pending};
use crate::error::{CloseReason, GapReason};
use crate::memory::{Charge, Memory};
use crate::message::{Id, Message};
use crate::topics::{Demand, Filter, TopicIndex};
use crate::wire::{DeflateCounts, Encoding, WireFormat};
use answers::Answers;

/// Subscribers of one feed that are served before another feed has its turn: small, so that a feed with few
/// subscribers does not wait for one with thousands.
const FEED_QUANTUM: usize = 32;

/// Deflating so many bytes takes as long as appending a small message.
const DEFLATED_BYTES_PER_APPEND: usize = 12;

new_key_type! { pub(super) struct FeedKey; }

/// What makes a feed: every distinct one that some client wants has one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Wish {
    pub(crate) filter: Filter,
    pub(crate) wire: WireFormat,
}

/// A cursor's place. It belongs to one session, which hands it back with [`Feeds::unsubscribe`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    feed: FeedKey,
    slot: u32,
}

/// What the feeds count.
#[derive(Debug, Default, Clone)]
pub(crate) struct FeedCounts {
    /// Gaps by [`GapReason`].
    pub(crate) gaps: [u64; GapReason::ALL.len()],
    /// Messages in history.
    pub(crate) history_messages: usize,
    /// Bytes of history and last values.
    pub(crate) history_bytes: usize,
    /// Messages that were deflated, live and again.
    pub(crate) deflated: DeflateCounts,
}

struct Entry {
    feed: Feed,
    wish: Rc<Wish>,
    is_queued: bool,
    is_congested: bool,
    /// Counts what the wish and the feed itself take; what the feed holds is counted on its own.
    _charge: Charge,
}

/// Every feed of a gateway.
pub(crate) struct Feeds {
    feeds: SlotMap<FeedKey, Entry>,
    by_wish: HashMap<Rc<Wish>, FeedKey>,
    index: TopicIndex<FeedKey>,
    /// What publishers are asked for, where that is what clients want.
    demand: Option<Demand>,
    encoder: Encoder,
    pool: ChunkPool,
    memory: Memory,
    /// What was used when last nobody was left to be served: it is held for those who take nothing.
    settled_bytes: usize,
    wish_memory: Memory,
    limits: Limits,
    replayer: Replayer,
    answers: Answers,
    /// Feeds whose subscribers are to be served, in turn.
    queue: VecDeque<FeedKey>,
    /// Feeds that grew and wait for [`Feeds::release`]; a feed is at most once in the two.
    fresh: VecDeque<FeedKey>,
    /// Subscribers served of the feed at the front.
    quantum_used: usize,
    /// How many feeds are congested.
    congested: usize,
    matches: Vec<FeedKey>,
    overrun: Overrun,
    /// Who wants something else since, where somebody wants to know.
    changes: Option<VecDeque<(Owner, Option<Rc<Wish>>)>>,
    /// Owners to be closed, with the reason.
    expelled: Vec<(Owner, CloseReason)>,
    /// How many of them are to free memory.
    memory_expulsions: usize,
    counts: FeedCounts,
    /// How many topics subscribers may change in a turn, and how many they still may in this one.
    turn_topics_max: usize,
    turn_topics_left: usize,
}

impl Feeds {
    /// `memory` counts what feeds hold, `wish_memory` the feeds and filters themselves: an account of its own, so that
    /// filters take nothing from messages.
    pub(crate) fn new(
        limits: Limits,
        encoding: Encoding,
        memory: &Memory,
        wish_memory: Memory,
    ) -> Self {
        Self {
            feeds: SlotMap::with_key(),
            by_wish: HashMap::new(),
            index: TopicIndex::default(),
            demand: None,
            encoder: Encoder::new(memory.clone()),
            pool: ChunkPool::new(memory.clone()),
            memory: memory.clone(),
            settled_bytes: 0,
            wish_memory,
            limits,
            replayer: Replayer::new(limits.history, limits.last_value, encoding, memory.clone()),
            answers: Answers::default(),
            queue: VecDeque::new(),
            fresh: VecDeque::new(),
            quantum_used: 0,
            congested: 0,
            matches: Vec::new(),
            overrun: Overrun::default(),
            changes: None,
            expelled: Vec::new(),
            memory_expulsions: 0,
            counts: FeedCounts::default(),
            turn_topics_max: TURN_TOPICS_MAX,
            turn_topics_left: TURN_TOPICS_MAX,
        }
    }

    /// Has `demand`, which counts on the same memory as filters, follow what feeds want.
    pub(crate) fn on_demand(self, demand: Demand) -> Self {
        Self { demand: Some(demand), ..self }
    }

    /// What publishers are to be asked for, unless that is always the same.
    pub(crate) fn demand(&self) -> Option<&Demand> {
        self.demand.as_ref()
    }

    pub(crate) fn demand_mut(&mut self) -> Option<&mut Demand> {
        self.demand.as_mut()
    }

    /// Whether one more client may come with a filter of its own.
    pub(crate) fn has_room_for_wishes(&mut self) -> bool {
        if self.wish_memory.is_exceeded()
            && let Some(demand) = &mut self.demand
        {
            demand.give_up_idle();
        }
        !self.wish_memory.is_exceeded() && !self.demand.as_ref().is_some_and(Demand::is_behind)
    }

    /// How many feeds there are.
    pub(crate) fn len(&self) -> usize {
        self.feeds.len()
    }

    /// How many subscribers have not got everything, and how many bytes the last of them is behind. Looks at all.
    pub(crate) fn lag(&self) -> (usize, u64) {
        let lags = self.feeds.values().flat_map(|entry| {
            let Feed { subscribers, log, .. } = &entry.feed;
            let behind = subscribers.iter().filter(|(_, subscriber)| subscriber.is_behind(log));
            behind.map(|(_, subscriber)| subscriber.end(log).saturating_sub(subscriber.cursor))
        });
        lags.fold((0, 0), |(count, most), lag| (count + 1, most.max(lag)))
    }

    pub(crate) fn counts(&self) -> FeedCounts {
        let mut counts = self.counts.clone();
        counts.gaps[GapReason::Lag as usize] += self.replayer.lag_gaps();
        (counts.history_messages, counts.history_bytes) = self.replayer.held();
        counts.deflated = self.replayer.deflate_counts();
        counts
    }

    /// Starts a cursor at the end of the feed for `wish`. A client that wants to go on after `since` gets what is kept of
    /// that first, and is told of the rest.
    pub(crate) fn subscribe(
        &mut self,
        wish: Wish,
        owner: Owner,
        since: Option<Id>,
    ) -> Subscription {
        // Where publishers were not asked all the time, what is kept is not all there was.
        let is_covered =
            |id: Id| self.demand.as_ref().is_none_or(|demand| demand.covers(&wish.filter, id.seq));
        let prologue = self.replayer.prologue(&wish.filter, since, since.is_none_or(is_covered));
        if let Some(gap) = &prologue.gap {
            self.counts.gaps[gap.reason as usize] += 1;
        }
        self.add_subscriber(wish, owner, prologue)
    }

    fn add_subscriber(&mut self, wish: Wish, owner: Owner, prologue: Arrears) -> Subscription {
        let key = match self.by_wish.get(&wish) {
            Some(&key) => key,
            None => self.add_feed(wish),
        };
        let slot = self.feeds[key].feed.subscribe(owner, prologue);
        Subscription { feed: key, slot: slot.try_into().expect("fewer than 2^32 subscribers") }
    }

    fn add_feed(&mut self, wish: Wish) -> FeedKey {
        let bytes = size_of::<Entry>() + size_of::<Wish>() + wish.filter.heap_bytes();
        let wish = Rc::new(wish);
        let key = self.feeds.insert(Entry {
            feed: Feed::new(wish.wire),
            wish: Rc::clone(&wish),
            is_queued: false,
            is_congested: false,
            _charge: self.wish_memory.charge(bytes),
        });
        self.index.insert(&wish.filter, key);
        if let Some(demand) = &mut self.demand {
            demand.add(&wish.filter, self.replayer.last_seq());
        }
        self.by_wish.insert(wish, key);
        key
    }

    /// Ends a cursor, and its feed with the last one.
    pub(crate) fn unsubscribe(&mut self, subscription: &Subscription) {
        let key = subscription.feed;
        let entry = &mut self.feeds[key];
        entry.feed.unsubscribe(subscription.slot as usize, &mut self.pool);
        if entry.feed.subscribers.is_empty() {
            self.congested -= usize::from(entry.is_congested);
            self.index.remove(&entry.wish.filter, key);
            if let Some(demand) = &mut self.demand {
                demand.remove(&entry.wish.filter);
            }
            self.by_wish.remove(&entry.wish);
            self.feeds.remove(key);
        }
    }

    /// A message that told of a loss upstream is told to nobody.
    pub(crate) fn note_untold_loss(&mut self) {
        self.counts.gaps[GapReason::Upstream as usize] += 1;
    }

    /// Appends `message` to every feed that wants it, and returns how many appends that was worth.
    pub(crate) fn publish(&mut self, message: &Message<'_>) -> usize {
        // Once, whether nobody wants the message or thousands do: what was lost is the publisher's.
        self.counts.gaps[GapReason::Upstream as usize] +=
            u64::from(message.lost_upstream.is_some());
        let rule = self.lag_rule();
        let mut matches = std::mem::take(&mut self.matches);
        self.index.matches(message.matched(), &mut matches);
        let count = matches.len();
        let worked_before = self.replayer.deflate_counts().work_bytes;
        for key in matches.drain(..) {
            let Entry { feed, is_queued, is_congested, .. } = &mut self.feeds[key];
            let frame = self.encoder.frame(feed.wire, self.replayer.encoding(), message);
            let Self { limits, pool, overrun, .. } = self;
            feed.append(frame, message.seq, limits, rule, pool, overrun);
            if !std::mem::replace(is_queued, true) {
                self.fresh.push_back(key);
            }
            let is_full = feed.log.held_bytes() > self.limits.held_bytes_max();
            if !*is_congested && (is_full || feed.is_congested(&self.limits)) {
                *is_congested = true;
                self.congested += 1;
            }
        }
        self.encoder.forget();
        self.matches = matches;
        self.replayer.record(message);
        self.settle_overrun(CloseReason::Lag);
        self.keep_within_memory();
        let worked = self.replayer.deflate_counts().work_bytes - worked_before;
        count + worked / DEFLATED_BYTES_PER_APPEND
    }

    /// Whether messages are deflated for clients that agree on that.
    pub(crate) fn deflates(&self) -> bool {
        self.replayer.deflates()
    }

    /// Frees memory if too much is used: by messages, or by what is under way to those who replay.
    pub(crate) fn keep_within_memory(&mut self) {
        if self.memory.is_exceeded() {
            self.relieve_memory();
            self.settle_overrun(CloseReason::Memory);
        }
    }

    /// Whether publishing should pause until everyone with room was served ([`Self::release`], [`Self::next_owner`]).
    pub(crate) fn is_congested(&self) -> bool {
        // What grew since everyone with room was served, against what there was left for that.
        let grown = self.memory.used_bytes().saturating_sub(self.settled_bytes);
        let left = self.memory.bytes_max().saturating_sub(self.settled_bytes);
        let is_filling_up = (self.has_work() || self.has_fresh()) && grown > left / 2;
        self.congested > 0 || is_filling_up || self.memory_expulsions > 0
    }

    /// Whether [`Self::next_owner`] has somebody to serve.
    pub(crate) fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether feeds grew that are not being served.
    pub(crate) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Has [`Self::next_owner`] serve all feeds that grew.
    pub(crate) fn release(&mut self) {
        self.queue.append(&mut self.fresh);
    }

    /// The owner that is to be served next; feeds take turns. Whoever is still behind and not blocked after being
    /// served is returned again later.
    pub(crate) fn next_owner(&mut self) -> Option<Owner> {
        while let Some(&key) = self.queue.front() {
            let Some(entry) = self.feeds.get_mut(key) else {
                self.leave_front(Next::Nothing);
                continue;
            };
            if self.quantum_used < FEED_QUANTUM {
                if let Some(owner) = entry.feed.next_in_pass() {
                    self.quantum_used += 1;
                    return Some(owner);
                }
                let next = entry.feed.end_pass();
                let is_congested = entry.feed.is_congested(&self.limits);
                self.congested -= usize::from(entry.is_congested);
                self.congested += usize::from(is_congested);
                entry.is_congested = is_congested;
                entry.is_queued = next != Next::Nothing;
                self.leave_front(next);
            } else {
                self.leave_front(Next::Pass);
            }
        }
        self.replayer.forget_large();
        self.answers.forget();
        if !self.has_fresh() {
            self.settled_bytes = self.memory.used_bytes();
        }
        None
    }

    fn leave_front(&mut self, next: Next) {
        self.quantum_used = 0;
        let Some(key) = self.queue.pop_front() else { return };
        match next {
            Next::Nothing => {}
            Next::Pass => self.queue.push_back(key),
            Next::Fresh => self.fresh.push_back(key),
        }
    }

    /// What the subscriber is to be sent next, in one piece.
    pub(crate) fn pending(&mut self, subscription: &Subscription) -> Pending<'_> {
        let key = subscription.feed;
        let Entry { feed, wish, .. } = &mut self.feeds[key];
        feed.pending(subscription.slot as usize, key, wish, &mut self.replayer)
    }

    /// How many bytes are left of the frame that the subscriber got a part of; 0 where a frame begins, which is where
    /// frames of the session's own may be sent.
    pub(crate) fn frame_rest_bytes(&self, subscription: &Subscription) -> usize {
        self.feeds[subscription.feed].feed.frame_rest_bytes(subscription.slot as usize)
    }

    /// Notes that `sent` bytes of [`Self::pending`] left, and returns how many messages began with them.
    pub(crate) fn advance(&mut self, subscription: &Subscription, sent: usize) -> u64 {
        let feed = &mut self.feeds[subscription.feed].feed;
        feed.advance(subscription.slot as usize, sent, &mut self.pool, &mut self.replayer)
    }

    /// Takes the subscriber out of the passes while its socket takes nothing, and in again.
    pub(crate) fn set_blocked(&mut self, subscription: &Subscription, is_blocked: bool) {
        self.subscriber_mut(subscription).is_blocked = is_blocked;
    }

    /// Whether somebody is to be closed.
    pub(crate) fn has_expelled(&self) -> bool {
        !self.expelled.is_empty()
    }

    /// Takes one owner that is to be closed.
    pub(crate) fn pop_expelled(&mut self) -> Option<(Owner, CloseReason)> {
        let (owner, reason) = self.expelled.pop()?;
        self.memory_expulsions -= usize::from(reason == CloseReason::Memory);
        Some((owner, reason))
    }

    /// Frees memory, from who lags most: the feeds that hold most let go of what they hold for those who take nothing; if
    /// that is not enough, those are closed who keep what is left of the largest frames; and only if that is not enough
    /// either, the feeds let go of everything.
    fn relieve_memory(&mut self) {
        self.replayer.forget_large();
        self.answers.forget();
        let rule = self.lag_rule();
        let Self { feeds, pool, memory, overrun, .. } = self;
        let target = memory.relief_bytes();
        let mut by_size: Vec<_> = feeds
            .iter()
            .map(|(key, entry)| (entry.feed.log.held_bytes(), key))
            .filter(|(held, _)| *held > 0)
            .collect();
        by_size.sort_unstable_by_key(|&(held, _)| Reverse(held));
        for (_, key) in &by_size {
            if memory.used_bytes() <= target {
                return;
            }
            feeds[*key].feed.leave_blocked_behind(rule, pool, overrun);
        }
        if self.memory_expulsions > 0 {
            return;
        }
        let mut will_be_freed = self.expel_who_keep_most(true);
        let Self { feeds, pool, memory, overrun, .. } = self;
        for (_, key) in &by_size {
            if memory.used_bytes() - will_be_freed <= memory.bytes_max() {
                return;
            }
            feeds[*key].feed.leave_all_behind(rule, pool, overrun);
        }
        if self.memory.used_bytes() - will_be_freed > self.memory.bytes_max() {
            will_be_freed += self.expel_who_keep_most(false);
        }
        debug_assert!(will_be_freed <= self.memory.used_bytes());
    }

    /// Gives up those who keep an answer or the rest of a frame that nobody else holds, the largest first, as many as it
    /// takes: of those who are blocked, or of the others. Returns how many bytes that will free.
    fn expel_who_keep_most(&mut self, is_blocked: bool) -> usize {
        let mut keepers: Vec<_> = self
            .feeds
            .values()
            .flat_map(|entry| entry.feed.subscribers.iter())
            .filter(|(_, subscriber)| subscriber.is_blocked == is_blocked)
            .filter_map(|(_, subscriber)| {
                let rest = subscriber.arrears.as_ref()?.rest.as_ref()?;
                Some((&rest.frame, subscriber.owner))
            })
            .chain(self.answers.keepers(is_blocked))
            .collect();
        keepers.sort_by_key(|(frame, _)| Rc::as_ptr(frame));
        let mut by_frame: Vec<_> = keepers.chunk_by(|a, b| Rc::ptr_eq(a.0, b.0)).collect();
        // By the first owner among equals: addresses must not decide who goes.
        by_frame.sort_by_key(|keepers| (Reverse(keepers[0].0.len()), keepers[0].1.0));
        let excess = self.memory.used_bytes().saturating_sub(self.memory.relief_bytes());
        let mut freed = 0;
        for keepers in by_frame {
            if freed >= excess {
                break;
            }
            let frame = keepers[0].0;
            if Rc::strong_count(frame) == keepers.len() {
                freed += frame.len();
                self.memory_expulsions += keepers.len();
                let owners = keepers.iter().map(|&(_, owner)| (owner, CloseReason::Memory));
                self.expelled.extend(owners);
            }
        }
        freed
    }

    fn lag_rule(&self) -> LagRule {
        let (first_seq, last_seq) = (self.replayer.first_seq(), self.replayer.last_seq());
        LagRule { policy: self.limits.lag_policy, first_seq, last_seq }
    }

    fn settle_overrun(&mut self, reason: CloseReason) {
        self.counts.gaps[GapReason::Lag as usize] += std::mem::take(&mut self.overrun.gaps);
        if reason == CloseReason::Memory {
            self.memory_expulsions += self.overrun.owners.len();
        }
        self.expelled.extend(self.overrun.owners.drain(..).map(|owner| (owner, reason)));
    }
}
