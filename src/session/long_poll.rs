//! A client that polls: one request waits for the next message, is answered, and the connection goes on with HTTP. Knows
//! no socket and no clock.
//!
//! ```text
//!            messages, a gap, timeout, goodbye
//!   Waiting ───────────────────────────────────▶ leaving ──everything sent──▶ over
//! ```

use std::time::Instant;

use super::held::{Content, Held};
use super::{Http, Output, Timing};
use crate::error::CloseReason;
use crate::feed::{Answering, Feeds, Subscription};
use crate::http::{Date, HeldRequest};
use crate::memory::Memory;

/// One request that waits or is answered.
#[derive(Debug)]
pub(crate) struct LongPoll {
    held: Held,
    /// `None` once it is answered.
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    subscription: Subscription,
    until: Instant,
    /// To be answered, with or without messages.
    is_due: bool,
}

impl LongPoll {
    /// A poll that waits until `until`, with the `input` that came behind it.
    pub(crate) fn new(
        until: Instant,
        request: HeldRequest,
        input: &[u8],
        subscription: Subscription,
    ) -> Self {
        let waiting = Some(Waiting { subscription, until, is_due: false });
        Self { held: Held::new(request, input), waiting }
    }

    pub(super) fn handle_input(&mut self, input: &[u8]) {
        self.held.handle_input(input);
    }

    pub(super) fn charge_input(&mut self, memory: &Memory) -> bool {
        self.held.charge_input(memory)
    }

    pub(super) fn wants_input(&self) -> bool {
        self.held.wants_input()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.answer_now();
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.as_ref().filter(|waiting| !waiting.is_due).map(|waiting| waiting.until)
    }

    pub(super) fn output<'a>(&'a mut self, feeds: &'a mut Feeds, date: Date) -> Output<'a> {
        if let Some(Waiting { subscription, is_due, .. }) = &self.waiting {
            match feeds.answer(subscription, *is_due) {
                Answering::Ready(answer) => {
                    self.waiting = None;
                    let content = Content {
                        content_type: "application/json",
                        answer: Some(answer),
                        ..Content::default()
                    };
                    self.held.give(feeds, date, content);
                }
                Answering::Later => return Output::Later,
                Answering::Waiting => return Output::Idle,
            }
        }
        self.held.output(feeds)
    }

    pub(super) fn advance(&mut self, feeds: &mut Feeds, sent: usize) -> u64 {
        self.held.advance(feeds, sent)
    }

    /// Ends the connection with the answer, which does not wait any longer.
    pub(super) fn close(&mut self, reason: CloseReason) {
        self.held.end_with(reason);
        self.answer_now();
    }

    fn answer_now(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.is_due = true;
        }
    }

    pub(super) fn set_blocked(&self, feeds: &mut Feeds, is_blocked: bool) {
        self.held.set_blocked(feeds, is_blocked);
    }

    pub(super) fn end(&mut self, feeds: &mut Feeds) {
        if let Some(Waiting { subscription, .. }) = self.waiting.take() {
            feeds.unsubscribe(&subscription);
        }
        self.held.end(feeds);
    }

    pub(super) fn into_http(self, now: Instant, timing: &Timing) -> Box<Http> {
        self.held.into_http(now, timing)
    }
}
