//! A client that polls: one request waits for the next message, is answered, and the connection goes on with HTTP. What
//! comes behind the request is kept for then. Knows no socket and no clock.
//!
//! ```text
//!            messages, a gap, timeout, goodbye
//!   Waiting ───────────────────────────────────▶ Answering ──everything sent──▶ Over
//! ```

use std::time::Instant;

use super::http::HeldRequest;
use super::{Http, Output, Timing};
use crate::error::CloseReason;
use crate::feed::{Answer, Answering, Feeds, Subscription};
use crate::http::{Date, Exchange, write_poll_head};
use crate::memory::{Charge, Memory};

/// Pipelined requests are read up to here while a poll waits. With more the client is not listened to before it has its
/// answer.
const HELD_BYTES_MAX: usize = 4 << 10;

/// How an answer begins goes out in one write with its head up to this size: copying it costs less than a second write.
const JOINED_BYTES_MAX: usize = 4 << 10;

/// One request that waits or is answered. What a waiting one does not need is in boxes: there may be many thousands.
#[derive(Debug)]
pub(crate) struct LongPoll {
    exchange: Exchange,
    /// The page's origin, for the answer's head.
    origin: Option<Box<[u8]>>,
    /// What came behind the request, if anything did.
    held: Option<Box<Held>>,
    phase: Phase,
    /// Set where the connection ends with the answer.
    end: Option<CloseReason>,
}

#[derive(Debug)]
enum Phase {
    Waiting {
        subscription: Subscription,
        until: Instant,
        /// To be answered, with or without messages.
        is_due: bool,
    },
    Answering {
        head: Vec<u8>,
        answer: Answer,
        sent: usize,
        /// How many messages it has, until it begins to leave.
        messages: u64,
    },
    Over,
}

/// Input that is looked at later.
#[derive(Debug, Default)]
struct Held {
    /// Never empty.
    input: Vec<u8>,
    /// Counts it against `--max-memory`.
    charge: Option<Charge>,
}

impl LongPoll {
    /// A poll that waits, with the `input` that came behind it.
    pub(crate) fn new(
        now: Instant,
        request: HeldRequest,
        input: &[u8],
        subscription: Subscription,
    ) -> Self {
        let HeldRequest { timeout, exchange, origin } = request;
        let phase = Phase::Waiting { subscription, until: now + timeout, is_due: false };
        let mut poll = Self { exchange, origin, held: None, phase, end: None };
        poll.handle_input(input);
        poll
    }

    pub(super) fn handle_input(&mut self, input: &[u8]) {
        if !input.is_empty() {
            self.held.get_or_insert_default().input.extend_from_slice(input);
        }
    }

    /// Counts what is kept against `memory`. Returns whether that is too much.
    pub(super) fn charge_input(&mut self, memory: &Memory) -> bool {
        let Some(held) = &mut self.held else { return false };
        let bytes = held.input.capacity();
        held.charge.get_or_insert_with(|| memory.charge(0)).resize(bytes);
        memory.is_exceeded()
    }

    /// Whether the client is to be listened to: it may give up waiting, but not what is under way.
    pub(super) fn wants_input(&self) -> bool {
        let held_bytes = self.held.as_ref().map_or(0, |held| held.input.len());
        self.is_waiting() && held_bytes < HELD_BYTES_MAX
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.answer_now();
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { until, is_due: false, .. } => Some(until),
            _ => None,
        }
    }

    pub(super) fn output<'a>(&'a mut self, feeds: &'a mut Feeds, date: Date) -> Output<'a> {
        if let Phase::Waiting { subscription, is_due, .. } = &self.phase {
            match feeds.answer(subscription, *is_due) {
                Answering::Ready(answer) => self.begin_answer(feeds, answer, date),
                Answering::Later => return Output::Later,
                Answering::Waiting => return Output::Idle,
            }
        }
        match &self.phase {
            Phase::Answering { head, answer, sent: 0, .. }
                if feeds.answer_piece(answer, 0).len() <= JOINED_BYTES_MAX =>
            {
                Output::Bytes(feeds.answer_behind(head, answer))
            }
            Phase::Answering { head, sent, .. } if *sent < head.len() => {
                Output::Bytes(&head[*sent..])
            }
            Phase::Answering { head, answer, sent, .. } => {
                Output::Bytes(feeds.answer_piece(answer, sent - head.len()))
            }
            Phase::Waiting { .. } | Phase::Over => match self.end {
                Some(reason) => Output::Finished(reason),
                None if self.exchange.keep_alive => Output::NextRequest,
                None => Output::Finished(CloseReason::Done),
            },
        }
    }

    fn begin_answer(&mut self, feeds: &Feeds, answer: Answer, date: Date) {
        let content_len = feeds.answer_len(&answer);
        let mut head = Vec::new();
        let exchange = Exchange {
            keep_alive: self.exchange.keep_alive && self.end.is_none(),
            ..self.exchange
        };
        write_poll_head(&mut head, exchange, content_len, self.origin.as_deref());
        date.stamp(&mut head);
        let messages = answer.messages;
        self.phase = Phase::Answering { head, answer, sent: 0, messages };
    }

    pub(super) fn advance(&mut self, feeds: &mut Feeds, bytes: usize) -> u64 {
        let Phase::Answering { head, answer, sent, messages } = &mut self.phase else { return 0 };
        *sent += bytes;
        let begun = std::mem::take(messages);
        if *sent == head.len() + feeds.answer_len(answer) {
            self.end(feeds);
        }
        begun
    }

    /// Ends the connection with the answer, which does not wait any longer.
    pub(super) fn close(&mut self, reason: CloseReason) {
        self.end.get_or_insert(reason);
        self.answer_now();
    }

    fn answer_now(&mut self) {
        if let Phase::Waiting { is_due, .. } = &mut self.phase {
            *is_due = true;
        }
    }

    /// Whether it can be answered still.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting { .. })
    }

    pub(super) fn set_blocked(&self, feeds: &mut Feeds, is_blocked: bool) {
        if let Phase::Answering { answer, .. } = &self.phase {
            feeds.set_answer_blocked(answer, is_blocked);
        }
    }

    pub(super) fn end(&mut self, feeds: &mut Feeds) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Waiting { subscription, .. } => feeds.unsubscribe(&subscription),
            Phase::Answering { answer, .. } => feeds.end_answer(&answer),
            Phase::Over => {}
        }
    }

    /// The connection goes on with the next request, or waits for one.
    pub(crate) fn into_http(self, now: Instant, date: Date, timing: &Timing) -> Box<Http> {
        let input = self.held.map_or_else(Vec::new, |held| held.input);
        Box::new(Http::behind_answer(now, date, timing, input))
    }
}
