//! Answers to polls: what a subscriber is to be sent by now, put together once for all who wait for the same. A poll at
//! `/poll` is over with its answer, so its cursor ends where that begins to leave; one of Engine.IO is a session's, whose
//! cursor goes on. Knows no session.

use std::collections::VecDeque;
use std::rc::Rc;

use slab::Slab;

use super::{Entry, FeedKey, Feeds, Subscription};
use crate::error::CloseReason;
use crate::feed::arrears::{Arrears, Gap, Replay};
use crate::feed::log::SharedFrame;
use crate::feed::{Owner, Pending};
use crate::wire::{engine_io, poll};

/// An answer takes no more messages with so many bytes, unless it is one message that is larger: the rest has its turn
/// with the next poll, which is answered at once.
const ANSWER_BYTES: usize = 64 << 10;

/// The same for an answer that no other one follows.
const LAST_ANSWER_BYTES: usize = 1 << 20;

/// Answers that are kept for others who wait for the same, until everyone had a turn: feeds take turns, and so few of
/// them are asked for at a time.
const RECENT_MAX: usize = 8;

/// A place among the answers that are leaving. It belongs to one session, which hands it back with
/// [`Feeds::end_answer`].
#[derive(Debug)]
pub(crate) struct Answer {
    slot: usize,
    /// How many messages it has.
    pub(crate) messages: u64,
}

/// What a session that polls is to be sent.
#[derive(Debug)]
pub(crate) enum Packets {
    Some(Answer),
    /// There may be something, but others come first.
    Later,
    None,
}

/// What became of a poll.
#[derive(Debug)]
pub(crate) enum Answering {
    /// This is its answer; its subscription has ended.
    Ready(Answer),
    /// There may be something, but others come first: the owner is to come back by itself.
    Later,
    /// There is nothing yet.
    Waiting,
}

/// Every answer that is leaving.
#[derive(Default)]
pub(super) struct Answers {
    leaving: Slab<Leaving>,
    recent: VecDeque<Recent>,
}

struct Leaving {
    owner: Owner,
    frame: Rc<SharedFrame>,
    is_blocked: bool,
}

/// An answer and the question that it is for.
struct Recent {
    question: Question,
    frame: Rc<SharedFrame>,
    messages: u64,
    /// How far it leads in the log; 0 where its cursor ends.
    taken: usize,
}

/// Where a subscriber is, and so what it is to be told.
#[derive(PartialEq, Eq)]
struct Question {
    feed: FeedKey,
    cursor: u64,
    end: u64,
    gap: Option<Gap>,
    replay: Option<Replay>,
}

impl Answers {
    /// Lets go of what was kept for others.
    pub(super) fn forget(&mut self) {
        self.recent.clear();
    }

    /// Who keeps which answer, of those who are blocked or of the others.
    pub(super) fn keepers(
        &self,
        is_blocked: bool,
    ) -> impl Iterator<Item = (&Rc<SharedFrame>, Owner)> {
        let leaving = self.leaving.iter().map(|(_, leaving)| leaving);
        let meant = leaving.filter(move |leaving| leaving.is_blocked == is_blocked);
        meant.map(|leaving| (&leaving.frame, leaving.owner))
    }
}

impl Feeds {
    /// Answers a poll with everything that is there for its subscriber by now, if there is something or if it `is_due`
    /// to be answered. The subscription is one for [`crate::wire::WireFormat::Poll`].
    pub(crate) fn answer(&mut self, subscription: &Subscription, is_due: bool) -> Answering {
        let subscriber =
            &self.feeds[subscription.feed].feed.subscribers[subscription.slot as usize];
        let owner = subscriber.owner;
        let question = self.question(subscription);
        let known =
            self.answers.recent.iter().find(|recent| Some(&recent.question) == question.as_ref());
        let (frame, messages) = match known {
            Some(recent) => (Rc::clone(&recent.frame), recent.messages),
            None => match self.put_together(subscription, is_due) {
                Ok(answer) => {
                    let messages = answer.messages();
                    let frame = self.finish(subscription, answer);
                    self.keep(question, &frame, messages, 0);
                    (frame, messages)
                }
                Err(answering) => return answering,
            },
        };
        self.unsubscribe(subscription);
        Answering::Ready(self.give(owner, frame, messages))
    }

    /// The packets for a session that polls, as much as goes into an answer, to leave by the connection `keeper`; no other
    /// answer may follow one that `is_last`. The subscription is one for [`crate::wire::WireFormat::SocketIo`], and its
    /// cursor goes behind them.
    pub(crate) fn packets(
        &mut self,
        subscription: &Subscription,
        keeper: Owner,
        is_last: bool,
    ) -> Packets {
        let bytes_max = if is_last { LAST_ANSWER_BYTES } else { ANSWER_BYTES };
        // A cursor goes on alone through what is not in the log.
        let question = self
            .question(subscription)
            .filter(|question| !is_last && question.gap.is_none() && question.replay.is_none());
        let known =
            self.answers.recent.iter().find(|recent| Some(&recent.question) == question.as_ref());
        if let Some(Recent { frame, messages, taken, .. }) = known {
            let (frame, messages, taken) = (Rc::clone(frame), *messages, *taken);
            self.advance(subscription, taken);
            return Packets::Some(self.give(keeper, frame, messages));
        }
        let mut payload = engine_io::Payload::default();
        let (mut messages, mut taken) = (0, 0);
        loop {
            let bytes = match self.pending(subscription) {
                Pending::Bytes(frames) => payload.take(frames, bytes_max),
                Pending::Later if is_last => continue,
                Pending::Later if payload.is_empty() => return Packets::Later,
                Pending::Later | Pending::Nothing => 0,
            };
            if bytes == 0 {
                break;
            }
            messages += self.advance(subscription, bytes);
            taken += bytes;
        }
        if payload.is_empty() {
            return Packets::None;
        }
        let frame = SharedFrame::new(payload.finish(), &self.memory);
        self.keep(question, &frame, messages, taken);
        Packets::Some(self.give(keeper, frame, messages))
    }

    fn give(&mut self, owner: Owner, frame: Rc<SharedFrame>, messages: u64) -> Answer {
        let slot = self.answers.leaving.insert(Leaving { owner, frame, is_blocked: false });
        if self.memory.is_exceeded() {
            self.relieve_memory();
            self.settle_overrun(CloseReason::Memory);
        }
        Answer { slot, messages }
    }

    /// The bytes of an answer.
    pub(crate) fn answer_bytes(&self, answer: &Answer) -> &[u8] {
        self.answers.leaving[answer.slot].frame.as_bytes()
    }

    /// Notes whether the socket takes bytes that the answer goes to.
    pub(crate) fn set_answer_blocked(&mut self, answer: &Answer, is_blocked: bool) {
        self.answers.leaving[answer.slot].is_blocked = is_blocked;
    }

    /// The answer has left, or never will.
    pub(crate) fn end_answer(&mut self, answer: &Answer) {
        self.answers.leaving.remove(answer.slot);
        // Thousands leave together, and then for a long time none.
        if self.answers.leaving.is_empty() {
            self.answers.leaving = Slab::new();
        }
    }

    /// What others may ask, too: not who has missed something of the log.
    fn question(&self, subscription: &Subscription) -> Option<Question> {
        let feed = &self.feeds[subscription.feed].feed;
        let subscriber = &feed.subscribers[subscription.slot as usize];
        let (gap, replay) = match &subscriber.arrears {
            Some(arrears) if arrears.has_missed() || arrears.has_seam() => return None,
            Some(arrears) => (arrears.gap, arrears.replay()),
            None => (None, None),
        };
        let (cursor, end) = (subscriber.cursor, feed.log.end());
        Some(Question { feed: subscription.feed, cursor, end, gap, replay })
    }

    fn keep(
        &mut self,
        question: Option<Question>,
        frame: &Rc<SharedFrame>,
        messages: u64,
        taken: usize,
    ) {
        let Some(question) = question else { return };
        let recent = Recent { question, frame: Rc::clone(frame), messages, taken };
        let known = &mut self.answers.recent;
        if known.len() == RECENT_MAX {
            known.pop_front();
        }
        known.push_back(recent);
    }

    /// Takes what the subscriber is to be sent, as much as goes into an answer.
    fn put_together(
        &mut self,
        subscription: &Subscription,
        is_due: bool,
    ) -> Result<poll::Answer, Answering> {
        let (key, slot) = (subscription.feed, subscription.slot as usize);
        let Self { feeds, replayer, pool, .. } = self;
        let Entry { feed, wish, .. } = &mut feeds[key];
        let mut answer = poll::Answer::default();
        loop {
            let taken = match feed.pending(slot, key, wish, replayer) {
                Pending::Bytes(lines) => {
                    let has_room =
                        answer.messages() == 0 || answer.len() + lines.len() <= ANSWER_BYTES;
                    if has_room { answer.take(lines) } else { 0 }
                }
                Pending::Later if answer.is_empty() && !is_due => return Err(Answering::Later),
                Pending::Nothing if answer.is_empty() && !is_due => return Err(Answering::Waiting),
                Pending::Later | Pending::Nothing => 0,
            };
            if taken == 0 {
                break;
            }
            feed.advance(slot, taken, pool, replayer);
        }
        if feed.subscribers[slot].arrears.as_deref().is_some_and(Arrears::owes_gap) {
            answer.note_lag();
        }
        Ok(answer)
    }

    fn finish(&mut self, subscription: &Subscription, answer: poll::Answer) -> Rc<SharedFrame> {
        let Entry { feed, wish, .. } = &self.feeds[subscription.feed];
        let next = feed.position(subscription.slot as usize, self.replayer.last_seq());
        if let Some(demand) = &mut self.demand {
            demand.hand_out(&wish.filter, next);
        }
        SharedFrame::new(answer.finish(&self.replayer.epoch(), next), &self.memory)
    }
}
