//! What a session asks of its cursor that outlives its connections, as one of Engine.IO does: the answer to a poll, behind
//! which the cursor goes on; where it stops for a while; and whether a client that comes back missed anything.

use super::answers::{ANSWER_BYTES, Answering, Content, Recent};
use super::{Feeds, Subscription};
use crate::feed::log::SharedFrame;
use crate::feed::{Feed, Owner, Pending};
use crate::message::Id;
use crate::topics::Filter;
use crate::wire::engine_io;

/// As [`ANSWER_BYTES`], for an answer that no other one follows.
const LAST_ANSWER_BYTES: usize = 1 << 20;

impl Feeds {
    /// The packets for a session that polls, as much as goes into an answer, to leave by the connection `keeper`; no other
    /// answer may follow one that `is_last`. The subscription is one for [`crate::wire::WireFormat::SocketIo`], and its
    /// cursor goes behind them.
    pub(crate) fn packets(
        &mut self,
        subscription: &Subscription,
        keeper: Owner,
        is_last: bool,
    ) -> Answering {
        let bytes_max = if is_last { LAST_ANSWER_BYTES } else { ANSWER_BYTES };
        // A cursor goes on alone through what is not in the log.
        let question = self
            .question(subscription)
            .filter(|question| !is_last && question.gap.is_none() && question.replay.is_none());
        let known =
            self.answers.recent.iter().find(|recent| Some(&recent.question) == question.as_ref());
        if let Some(Recent { content, messages, taken, .. }) = known {
            let (content, messages, taken) = (content.clone(), *messages, *taken);
            self.advance(subscription, taken);
            return Answering::Ready(self.give(keeper, content, messages));
        }
        let mut payload = engine_io::Payload::default();
        let (mut messages, mut taken) = (0, 0);
        loop {
            let bytes = match self.pending(subscription) {
                Pending::Bytes(frames) => payload.take(frames, bytes_max),
                Pending::Later if is_last => continue,
                Pending::Later if payload.is_empty() => return Answering::Later,
                Pending::Later | Pending::Nothing => 0,
            };
            if bytes == 0 {
                break;
            }
            messages += self.advance(subscription, bytes);
            taken += bytes;
        }
        if payload.is_empty() {
            return Answering::Waiting;
        }
        let own = SharedFrame::new(payload.finish(), &self.memory);
        let content = Content { own, large: None };
        if let Some(question) = question {
            let content = content.clone();
            self.keep(Recent { question, content, messages, is_empty: false, taken });
        }
        Answering::Ready(self.give(keeper, content, messages))
    }

    /// Counts that somebody wants what `filter` says, and will not want it any more, among the changes of this turn.
    pub(crate) fn count_change(&mut self, filter: &Filter) {
        self.count_topics(2 * filter.len());
    }

    /// Ends the cursor as soon as the frame is complete that is under way: from then on [`Self::has_ended`].
    pub(crate) fn cut(&mut self, subscription: &Subscription) {
        let Feed { log, subscribers, .. } = &mut self.feeds[subscription.feed].feed;
        let subscriber = &mut subscribers[subscription.slot as usize];
        subscriber.until = log.boundary(subscriber.cursor);
        if let Some(arrears) = &mut subscriber.arrears {
            arrears.forget_all_but_rest();
        }
        subscriber.arrears.take_if(|arrears| arrears.is_empty());
    }

    /// Has the subscriber stop where what is kept for it ends and what is new begins; says whether there is anything
    /// before.
    pub(crate) fn mark_seam(&mut self, subscription: &Subscription) -> bool {
        let arrears = &mut self.subscriber_mut(subscription).arrears;
        arrears.iter_mut().for_each(|arrears| arrears.mark_seam());
        arrears.is_some()
    }

    /// Whether the subscriber has stopped there; it goes on then.
    pub(crate) fn pass_seam(&mut self, subscription: &Subscription) -> bool {
        match &self.subscriber_mut(subscription).arrears {
            Some(arrears) if arrears.has_seam() && !arrears.is_put_off() => {}
            Some(_) | None => return false,
        }
        // That it is reached may turn out only when there is nothing before it any more.
        let _ = self.pending(subscription);
        let arrears = &mut self.subscriber_mut(subscription).arrears;
        let is_passed = arrears.as_mut().is_some_and(|arrears| arrears.pass_seam());
        arrears.take_if(|arrears| arrears.is_empty());
        is_passed
    }

    /// The id behind which the subscriber goes on.
    pub(crate) fn position(&self, subscription: &Subscription) -> Id {
        let last_seq = self.replayer.last_seq();
        let feed = &self.feeds[subscription.feed].feed;
        let seq = feed.position(subscription.slot as usize, last_seq);
        Id { epoch: Some(self.replayer.epoch()), seq }
    }

    /// Whether a client that resumes after `since` gets everything that matches `filter`.
    pub(crate) fn can_resume(&self, filter: &Filter, since: Id) -> bool {
        let is_covered = self.demand.as_ref().is_none_or(|it| it.covers(filter, since.seq));
        self.replayer.gap_since(since, filter, is_covered).is_none()
    }

    /// Whether `id` is one of this run.
    pub(crate) fn is_own(&self, id: Id) -> bool {
        id.epoch == Some(self.replayer.epoch())
    }
}
