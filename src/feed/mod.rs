//! One feed: the encoded bytes of one filter and wire format, and a cursor into them for each subscriber.
//! Owns the lag policy. Knows neither sockets nor sessions: a subscriber is a cursor and an owner's number.

mod arrears;
#[cfg(test)]
mod deflate_tests;
mod encoder;
mod lagged;
mod limits;
#[cfg(test)]
mod limits_tests;
mod log;
mod pool;
mod registry;
mod replay;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod resubscribe_tests;
#[cfg(test)]
mod tests;

pub(crate) use limits::Limits;
pub(crate) use registry::{
    Answer, Answering, Changed, Feeds, News, Subscription, TURN_TOPICS_MAX, Wish,
};

use std::rc::Rc;
use std::str::FromStr;

use slab::Slab;

use crate::error::ParseError;
use crate::message::Seq;
use crate::wire::WireFormat;
use arrears::{Arrears, Due};
use lagged::Lagged;
use log::{Frame, FrameCopies, FrameRest, Log, SharedFrame};
use pool::ChunkPool;
use registry::FeedKey;
use replay::Replayer;

/// What happens to a client that lags more than `--max-lag` (`--slow-client`).
///
/// # Examples
///
/// ```
/// use zmq2ws::{Gateway, LagPolicy};
///
/// let gateway = Gateway::builder().slow_client(LagPolicy::Disconnect).max_lag(64 << 10).build()?;
/// assert_eq!("conflate".parse(), Ok(LagPolicy::Conflate));
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LagPolicy {
    /// It goes on with the newest message, and is told how many it missed where its format can say so.
    Skip,
    /// When it can take more it gets the last message of each topic that it missed, and is told of the others where
    /// its format can say so.
    Conflate,
    /// It is closed, with code 1013.
    Disconnect,
}

impl FromStr for LagPolicy {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "skip" => Ok(Self::Skip),
            "conflate" => Ok(Self::Conflate),
            "disconnect" => Ok(Self::Disconnect),
            _ => Err(ParseError::new("expected 'skip', 'conflate' or 'disconnect'")),
        }
    }
}

/// Who a cursor belongs to: a number that means something to the caller only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Owner(pub(crate) u64);

/// What a subscriber is to be sent next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pending<'a> {
    /// These bytes, of which there is at least one.
    Bytes(&'a [u8]),
    /// Something, but others come first: the owner is to come back by itself.
    Later,
    /// Nothing: it has got everything.
    Nothing,
}

/// A cursor into a feed.
///
/// ```text
///   log   │▒▒▒▒│▒▒▒▒▒▒│▒▒▒▒▒│▒▒▒│        frames that somebody still needs
///         ▲        ▲            ▲
///       start    cursor        end        a cursor at the end has got everything
/// ```
///
/// A cursor that the log's start overtakes goes to the end; what it leaves behind, the rest of a frame that is partly
/// sent and the frames that it missed, becomes its arrears and is made up for before anything else.
#[derive(Debug)]
struct Subscriber {
    owner: Owner,
    cursor: u64,
    /// It gets nothing from this offset on: its owner wants something else since. Otherwise [`NEVER`].
    until: u64,
    arrears: Option<Box<Arrears>>,
    /// The owner's socket takes nothing at the moment: passes leave it out, the owner comes back by itself.
    is_blocked: bool,
    /// It missed messages and has not got one since: what it misses now is part of the same gap.
    is_in_gap: bool,
    /// It was named to be disconnected, once.
    is_overrun: bool,
}

/// An offset that no log reaches.
const NEVER: u64 = u64::MAX;

impl Subscriber {
    fn is_behind(&self, log: &Log) -> bool {
        self.cursor < self.end(log) || self.arrears.is_some()
    }

    /// Up to where it is owed what the log has.
    fn end(&self, log: &Log) -> u64 {
        self.until.min(log.end())
    }

    /// What is left of a frame of its arrears.
    fn rest(&self) -> &[u8] {
        let rest = self.arrears.as_ref().and_then(|arrears| arrears.rest.as_ref());
        rest.map_or(&[], FrameRest::bytes)
    }

    /// Whether its feed's passes have to see to it: neither its socket nor a replay keeps it busy.
    fn is_in_passes(&self) -> bool {
        !self.is_blocked && !self.arrears.as_ref().is_some_and(|own| own.is_served_apart())
    }
}

/// One walk over the subscribers of a feed, which may be spread over many turns.
#[derive(Debug)]
struct Pass {
    /// The slot that was looked at last.
    slot: Option<usize>,
    /// The feed's end when the walk began: who was visited has been offered everything up to there.
    end: u64,
    /// Somebody could have taken more but had used up what a visit may send.
    is_unfinished: bool,
}

/// What follows a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Everyone with room has got everything.
    Nothing,
    /// Another pass: somebody with room was served only in part.
    Pass,
    /// The feed grew meanwhile.
    Fresh,
}

/// What is to be done with subscribers that a growing feed leaves behind.
#[derive(Debug, Clone, Copy)]
struct LagRule {
    policy: LagPolicy,
    /// The first message that can be replayed.
    first_seq: Seq,
    /// The last message that was appended wherever it belongs.
    last_seq: Seq,
}

/// What became of the subscribers that a growing feed left behind.
#[derive(Debug, Default)]
struct Overrun {
    /// Gaps that began.
    gaps: u64,
    /// Who is to be disconnected.
    owners: Vec<Owner>,
    /// Whose gaps these are, where somebody wants to know.
    news: Option<Lagged>,
}

#[derive(Debug)]
struct Feed {
    wire: WireFormat,
    log: Log,
    subscribers: Slab<Subscriber>,
    /// Behind the last slot that is taken.
    slots_end: usize,
    /// Subscribers whose cursor is at the end.
    caught_up: usize,
    pass: Option<Pass>,
    /// Everything before was offered to every subscriber whose socket takes bytes.
    settled: u64,
}

impl Feed {
    fn new(wire: WireFormat) -> Self {
        Self {
            wire,
            log: Log::default(),
            // Of many feeds most have one.
            subscribers: Slab::with_capacity(1),
            slots_end: 0,
            caught_up: 0,
            pass: None,
            settled: 0,
        }
    }

    /// Starts a cursor at the end; the subscriber gets its `prologue` first.
    fn subscribe(&mut self, owner: Owner, prologue: Arrears) -> usize {
        self.caught_up += 1;
        let arrears = Some(prologue).filter(|arrears| !arrears.is_empty()).map(Box::new);
        let cursor = self.log.end();
        let subscriber = Subscriber {
            owner,
            cursor,
            until: NEVER,
            arrears,
            is_blocked: false,
            is_in_gap: false,
            is_overrun: false,
        };
        let slot = self.subscribers.insert(subscriber);
        self.slots_end = self.slots_end.max(slot + 1);
        slot
    }

    fn unsubscribe(&mut self, slot: usize, pool: &mut ChunkPool) {
        let subscriber = self.subscribers.remove(slot);
        self.caught_up -= usize::from(subscriber.cursor == self.log.end());
        // A pass looks at every slot: it should cost what there is, not what there once was.
        while self.slots_end > 0 && !self.subscribers.contains(self.slots_end - 1) {
            self.slots_end -= 1;
        }
        if self.subscribers.capacity() > 4 * self.slots_end + 64 {
            self.subscribers.shrink_to_fit();
        }
        self.release(pool);
    }

    /// Adds a frame. Who would then lag by more than `limits` allow, and takes nothing at the moment, is left behind
    /// first, so that what is held stays within the limit, or is one frame that is larger. Who takes bytes but was not
    /// served yet is waited for ([`Self::is_congested`]): the gateway's own slowness is nobody's lag.
    fn append(
        &mut self,
        frame: &Frame,
        seq: Seq,
        limits: &Limits,
        rule: LagRule,
        pool: &mut ChunkPool,
        overrun: &mut Overrun,
    ) {
        let room = limits.held_bytes_max().saturating_sub(frame.as_bytes().len());
        if self.log.held_bytes() > room {
            let start = self.log.start_within(room, self.first_not_blocked());
            self.leave_behind(start, rule, pool, overrun);
            self.log.release_before(start, pool);
        }
        self.log.append(frame, seq, limits.chunk_bytes_max(), pool);
        self.caught_up = 0;
    }

    /// The first cursor of somebody who takes bytes from the log.
    fn first_not_blocked(&self) -> u64 {
        let cursors = self.subscribers.iter().filter(|(_, subscriber)| subscriber.is_in_passes());
        cursors.map(|(_, subscriber)| subscriber.cursor).min().unwrap_or(self.log.end())
    }

    /// Moves every cursor before `start` to the end.
    fn leave_behind(&mut self, start: u64, rule: LagRule, pool: &ChunkPool, overrun: &mut Overrun) {
        let mut copies = FrameCopies::new();
        for (_, subscriber) in &mut self.subscribers {
            let cursor = subscriber.cursor;
            if cursor >= start {
                continue;
            }
            // A frame that is partly sent began before the cursor.
            let end = subscriber.end(&self.log).max(cursor);
            let missed = self.log.frames_before(end) - self.log.frames_before(cursor);
            let rest = self.log.frame_rest(cursor, &mut copies, pool.memory());
            let first_missed = self.log.seq_from(cursor).filter(|_| missed > 0);
            let last_seq = self.log.seq_from(end).map_or(rule.last_seq, |next| Seq(next.0 - 1));
            subscriber.cursor = self.log.end();
            self.caught_up += 1;
            let arrears = subscriber.arrears.get_or_insert_default();
            arrears.rest = rest.or(arrears.rest.take());
            if let Some(first_missed) = first_missed
                && !arrears.extend_replay(rule.first_seq, last_seq)
            {
                let is_new = !std::mem::replace(&mut subscriber.is_in_gap, true);
                if let Some(news) = overrun.news.as_mut().filter(|_| is_new) {
                    news.push(subscriber.owner);
                }
                match rule.policy {
                    LagPolicy::Conflate => {
                        arrears.conflate_missed(missed, first_missed, last_seq);
                    }
                    LagPolicy::Skip | LagPolicy::Disconnect => {
                        overrun.gaps += u64::from(is_new);
                        if self.wire.tells_gaps() {
                            arrears.tell_missed(missed);
                        }
                    }
                }
                let is_to_go = rule.policy == LagPolicy::Disconnect;
                if is_to_go && !std::mem::replace(&mut subscriber.is_overrun, true) {
                    overrun.owners.push(subscriber.owner);
                }
            }
            subscriber.arrears.take_if(|arrears| arrears.is_empty());
        }
    }

    /// Lets go of what is held only for those who take nothing at the moment.
    fn leave_blocked_behind(&mut self, rule: LagRule, pool: &mut ChunkPool, overrun: &mut Overrun) {
        let start = self.log.start_within(0, self.first_not_blocked());
        self.leave_behind(start, rule, pool, overrun);
        self.log.release_before(start, pool);
    }

    /// Leaves everyone behind who has not got everything.
    fn leave_all_behind(&mut self, rule: LagRule, pool: &mut ChunkPool, overrun: &mut Overrun) {
        self.leave_behind(self.log.end(), rule, pool, overrun);
        self.release(pool);
    }

    /// What the subscriber is to be sent next, in one piece. The feed has the key `key` and is for `wish`.
    fn pending<'a>(
        &'a mut self,
        slot: usize,
        key: FeedKey,
        wish: &Wish,
        replayer: &'a mut Replayer,
    ) -> Pending<'a> {
        let subscriber = &mut self.subscribers[slot];
        let gaps = replayer.lag_gaps();
        let due =
            subscriber.arrears.as_mut().map_or(Due::Nothing, |it| it.due(key, wish, replayer));
        if replayer.lag_gaps() > gaps {
            replayer.note_lag_of(subscriber.owner);
        }
        let bytes = match due {
            Due::Later => return Pending::Later,
            Due::Piece(span) => replayer.piece(span),
            Due::Rest => subscriber.rest(),
            Due::Nothing => {
                if subscriber.arrears.as_mut().is_some_and(|arrears| arrears.stops_at_seam()) {
                    return Pending::Nothing;
                }
                subscriber.arrears = None;
                let piece = self.log.piece(subscriber.cursor);
                let owed = subscriber.end(&self.log).saturating_sub(subscriber.cursor);
                &piece[..piece.len().min(owed as usize)]
            }
        };
        if bytes.is_empty() { Pending::Nothing } else { Pending::Bytes(bytes) }
    }

    /// What [`Self::pending`] has just returned, where that is a frame that is shared.
    fn pending_frame(&self, slot: usize, replayer: &Replayer) -> Option<Rc<SharedFrame>> {
        let Subscriber { cursor, arrears, .. } = &self.subscribers[slot];
        let frame = match arrears {
            None => self.log.shared_frame(*cursor),
            Some(own) if own.rest.is_none() && own.replay().is_some() => replayer.shared_frame(),
            Some(_) => None,
        };
        frame.cloned()
    }

    /// How many bytes are left of the frame that the subscriber got a part of; 0 where a frame begins.
    fn frame_rest_bytes(&self, slot: usize) -> usize {
        let subscriber = &self.subscribers[slot];
        match subscriber.rest() {
            [] => (self.log.boundary(subscriber.cursor) - subscriber.cursor) as usize,
            rest => rest.len(),
        }
    }

    /// Notes that `sent` bytes of [`Self::pending`] left, and returns how many frames began with them.
    fn advance(
        &mut self,
        slot: usize,
        sent: usize,
        pool: &mut ChunkPool,
        replayer: &mut Replayer,
    ) -> u64 {
        let subscriber = &mut self.subscribers[slot];
        if let Some(arrears) = &mut subscriber.arrears {
            let messages = arrears.advance(sent, self.wire, replayer);
            subscriber.arrears.take_if(|arrears| arrears.is_empty());
            return messages;
        }
        let before = self.log.frames_before(subscriber.cursor);
        subscriber.cursor += sent as u64;
        subscriber.is_in_gap &= sent == 0;
        let frames = self.log.frames_before(subscriber.cursor) - before;
        if sent > 0 && subscriber.cursor == self.log.end() {
            self.caught_up += 1;
            self.release(pool);
        }
        frames
    }

    fn release(&mut self, pool: &mut ChunkPool) {
        if self.caught_up == self.subscribers.len() {
            self.log.release_all(pool);
        }
    }

    /// The next subscriber of the pass that has something to get and a socket that takes it; `None` ends the pass.
    fn next_in_pass(&mut self) -> Option<Owner> {
        let Self { pass, log, subscribers, slots_end, .. } = self;
        let end = log.end();
        let pass = pass.get_or_insert(Pass { slot: None, end, is_unfinished: false });
        if let Some(visited) = pass.slot.and_then(|slot| subscribers.get(slot)) {
            let end = pass.end.min(visited.until);
            pass.is_unfinished |= visited.is_in_passes() && visited.cursor < end;
        }
        let takes_more =
            |subscriber: &&Subscriber| subscriber.is_behind(log) && subscriber.is_in_passes();
        let next = pass.slot.map_or(0, |slot| slot + 1);
        for slot in next..*slots_end {
            if let Some(subscriber) = subscribers.get(slot).filter(takes_more) {
                pass.slot = Some(slot);
                return Some(subscriber.owner);
            }
        }
        None
    }

    /// Ends the pass, and says what has to follow.
    fn end_pass(&mut self) -> Next {
        let Some(pass) = self.pass.take() else { return Next::Nothing };
        if pass.is_unfinished {
            return Next::Pass;
        }
        self.settled = pass.end;
        if self.log.end() > pass.end { Next::Fresh } else { Next::Nothing }
    }

    /// Whether so much waits to be offered to subscribers with room that the feed should not grow before it was:
    /// without this the gateway's own slowness could leave a fast client behind.
    fn is_congested(&self, limits: &Limits) -> bool {
        self.log.end() - self.settled > limits.lag_bytes_max as u64 / 2
    }

    /// The last message that the subscriber need not look at again.
    fn position(&self, slot: usize, last_seq: Seq) -> Seq {
        let subscriber = &self.subscribers[slot];
        let replay = subscriber.arrears.as_ref().and_then(|arrears| arrears.replay());
        let next =
            replay.map(|replay| replay.from).or_else(|| self.log.seq_from(subscriber.cursor));
        next.map_or(last_seq, |next| Seq(next.0 - 1))
    }

    #[cfg(test)]
    fn check_invariants(&self) {
        let at_end = |(_, subscriber): &(usize, &Subscriber)| subscriber.cursor == self.log.end();
        assert_eq!(self.caught_up, self.subscribers.iter().filter(at_end).count());
        for (_, subscriber) in &self.subscribers {
            assert!(
                (self.log.start()..=self.log.end()).contains(&subscriber.cursor),
                "a cursor is inside the log"
            );
        }
        if self.caught_up == self.subscribers.len() {
            assert_eq!(self.log.held_bytes(), 0, "nothing is held that nobody needs");
        }
    }
}
