//! Answers to polls: what a subscriber is to be sent by now, put together once for all who wait for the same. A poll at
//! `/poll` is over with its answer, so its cursor ends where that begins to leave; one of Engine.IO is a session's, whose
//! cursor goes on. Knows no session.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use slab::Slab;

use super::{Entry, FeedKey, Feeds, Subscription};
use crate::error::CloseReason;
use crate::feed::arrears::{Arrears, Gap, Replay};
use crate::feed::log::SharedFrame;
use crate::feed::{Owner, Pending};
use crate::wire::poll::{self, OBJECTS_AT};

/// An answer takes no more messages with so many bytes, unless it is one message that is larger: the rest has its turn
/// with the next poll, which is answered at once.
pub(super) const ANSWER_BYTES: usize = 64 << 10;

/// A message with so many bytes has an answer of its own, so that it need not be copied: polls that want different things
/// may be told of the same one.
const LARGE_BYTES: usize = ANSWER_BYTES / 4;

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

/// What became of a poll.
#[derive(Debug)]
pub(crate) enum Answering {
    /// This is its answer; a subscription of `/poll` has ended.
    Ready(Answer),
    /// There may be something, but others come first: the owner is to come back by itself.
    Later,
    /// There is nothing yet.
    Waiting,
}

/// An answer, and the frame with the object of its message where that is not a part of it; or why there is none.
type PutTogether = Result<(poll::Answer, Option<(Rc<SharedFrame>, Range<usize>)>), Answering>;

/// Every answer that is leaving.
#[derive(Default)]
pub(super) struct Answers {
    leaving: Slab<Leaving>,
    pub(super) recent: VecDeque<Recent>,
    /// What [`Feeds::answer_behind`] returned last.
    joined: Vec<u8>,
}

struct Leaving {
    owner: Owner,
    content: Content,
    is_blocked: bool,
}

/// What an answer is made of.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) own: Rc<SharedFrame>,
    /// The frame of a large message, and where in it the object is that stands among what is `own`.
    pub(super) large: Option<(Rc<SharedFrame>, Range<usize>)>,
}

impl Content {
    fn len(&self) -> usize {
        self.own.len() + self.large.as_ref().map_or(0, |(_, object)| object.len())
    }

    /// The longest contiguous piece from `offset` on; empty at the end.
    fn piece(&self, offset: usize) -> &[u8] {
        let own = self.own.as_bytes();
        let Some((frame, object)) = &self.large else { return &own[offset..] };
        match offset.checked_sub(OBJECTS_AT) {
            None => &own[offset..OBJECTS_AT],
            Some(within) if within < object.len() => &frame.as_bytes()[object.clone()][within..],
            Some(_) => &own[offset - object.len()..],
        }
    }

    /// What takes memory.
    fn frame(&self) -> &Rc<SharedFrame> {
        self.large.as_ref().map_or(&self.own, |(frame, _)| frame)
    }
}

/// An answer and the question that it is for.
pub(super) struct Recent {
    pub(super) question: Question,
    pub(super) content: Content,
    pub(super) messages: u64,
    /// It is only for those who wait no longer.
    pub(super) is_empty: bool,
    /// How far it leads in the log; 0 where its cursor ends.
    pub(super) taken: usize,
}

/// Where a subscriber is, and so what it is to be told.
#[derive(PartialEq, Eq)]
pub(super) struct Question {
    feed: FeedKey,
    cursor: u64,
    end: u64,
    pub(super) gap: Option<Gap>,
    pub(super) replay: Option<Replay>,
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
        meant.map(|leaving| (leaving.content.frame(), leaving.owner))
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
        let known = self.answers.recent.iter().find(|recent| {
            Some(&recent.question) == question.as_ref() && (is_due || !recent.is_empty)
        });
        let (content, messages) = match known {
            Some(recent) => (recent.content.clone(), recent.messages),
            None => match self.put_together(subscription, is_due) {
                Ok((answer, large)) => {
                    let (messages, is_empty) = (answer.messages(), answer.is_empty());
                    let content = Content { own: self.finish(subscription, answer), large };
                    if let Some(question) = question {
                        let content = content.clone();
                        self.keep(Recent { question, content, messages, is_empty, taken: 0 });
                    }
                    (content, messages)
                }
                Err(answering) => return answering,
            },
        };
        self.unsubscribe(subscription);
        Answering::Ready(self.give(owner, content, messages))
    }

    pub(super) fn give(&mut self, owner: Owner, content: Content, messages: u64) -> Answer {
        let slot = self.answers.leaving.insert(Leaving { owner, content, is_blocked: false });
        if self.memory.is_exceeded() {
            self.relieve_memory();
            self.settle_overrun(CloseReason::Memory);
        }
        Answer { slot, messages }
    }

    /// How many bytes an answer has.
    pub(crate) fn answer_len(&self, answer: &Answer) -> usize {
        self.answers.leaving[answer.slot].content.len()
    }

    /// The bytes of an answer from `offset` on, as far as they are contiguous.
    pub(crate) fn answer_piece(&self, answer: &Answer, offset: usize) -> &[u8] {
        self.answers.leaving[answer.slot].content.piece(offset)
    }

    /// How an answer begins, behind its head, so that both go out in one write. What does not leave at once is not kept
    /// twice.
    pub(crate) fn answer_behind(&mut self, head: &[u8], answer: &Answer) -> &[u8] {
        let Answers { leaving, joined, .. } = &mut self.answers;
        joined.clear();
        joined.extend_from_slice(head);
        joined.extend_from_slice(leaving[answer.slot].content.piece(0));
        joined
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
    pub(super) fn question(&self, subscription: &Subscription) -> Option<Question> {
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

    pub(super) fn keep(&mut self, recent: Recent) {
        let known = &mut self.answers.recent;
        if known.len() == RECENT_MAX {
            known.pop_front();
        }
        known.push_back(recent);
    }

    /// Takes what the subscriber is to be sent, as much as goes into an answer, and the frame with the object of a message
    /// that is not copied.
    fn put_together(&mut self, subscription: &Subscription, is_due: bool) -> PutTogether {
        let (key, slot) = (subscription.feed, subscription.slot as usize);
        let Self { feeds, replayer, pool, .. } = self;
        let Entry { feed, wish, .. } = &mut feeds[key];
        let mut answer = poll::Answer::default();
        let mut large = None;
        while large.is_none() {
            let has_room = |len, answer: &poll::Answer| {
                answer.messages() == 0 || answer.len() + len <= ANSWER_BYTES
            };
            let taken = match feed.pending(slot, key, wish, replayer) {
                Pending::Bytes(lines) if !has_room(lines.len(), &answer) => 0,
                Pending::Bytes(lines) if lines.len() < LARGE_BYTES => answer.take(lines),
                Pending::Bytes(lines) => {
                    let len = lines.len();
                    match feed.pending_frame(slot, replayer) {
                        Some(frame) if answer.messages() == 0 => {
                            let object = answer.take_without_object(frame.as_bytes());
                            large = object.map(|object| (frame, object));
                            if large.is_some() { len } else { 0 }
                        }
                        Some(_) => 0,
                        None => match feed.pending(slot, key, wish, replayer) {
                            Pending::Bytes(lines) => answer.take(lines),
                            Pending::Later | Pending::Nothing => 0,
                        },
                    }
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
        Ok((answer, large))
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
