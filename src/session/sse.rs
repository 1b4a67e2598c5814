//! A client of Server-Sent Events: its feed's events out, a comment now and then, nothing in. The shortest whole
//! transport, the one to copy. Knows no socket and no clock.
//!
//! ```text
//!            too much input, lag, memory
//!   Open ────────────────────────────────────────▶ Closing ──event boundary──▶ Closed
//!     └──────▶ Draining ──everything owed is sent──────┘
//! ```

use std::time::Instant;

use super::outbox::Outbox;
use super::{Output, Timing};
use crate::error::CloseReason;
use crate::feed::{Feeds, Pending, Subscription};
use crate::wire::sse::{self, Framing};

/// One client.
#[derive(Debug)]
pub(crate) struct Sse {
    framing: Framing,
    subscription: Option<Subscription>,
    phase: Phase,
    comment: Comment,
    /// What the client has sent: it has nothing to say.
    input_bytes: usize,
    /// Set while there are bytes of this client alone, the head of its answer first.
    outbox: Option<Box<Outbox>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// To be closed when everything before the offset is sent.
    Draining {
        until: u64,
        reason: CloseReason,
    },
    /// To be closed where the next event begins.
    Closing {
        reason: CloseReason,
    },
    /// The end of the stream is in the outbox or gone; nothing may follow it.
    Closed {
        reason: CloseReason,
    },
}

/// What keeps proxies from closing a stream on which nothing happens, and shows when the client is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comment {
    At(Instant),
    /// To be sent where the next event begins.
    Due,
    /// In the outbox. The time to the next one runs when it has left.
    Leaving,
}

impl Sse {
    /// A client whose request is answered by `head`, to get its first comment at `comment_at`. Should the stream end, it
    /// is to come back after `retry_millis`.
    pub(crate) fn new(
        comment_at: Instant,
        head: Vec<u8>,
        retry_millis: u32,
        framing: Framing,
        subscription: Subscription,
    ) -> Self {
        let mut bytes = head;
        framing.write_with(&mut bytes, |out| sse::write_prologue(out, retry_millis));
        Self {
            framing,
            subscription: Some(subscription),
            phase: Phase::Open,
            comment: Comment::At(comment_at),
            input_bytes: 0,
            outbox: Some(Outbox::new(bytes)),
        }
    }

    /// What comes behind the request is nothing that anybody asked for: `bytes_max` of it are overlooked.
    pub(super) fn handle_input(&mut self, input: &[u8], bytes_max: usize) {
        self.input_bytes = self.input_bytes.saturating_add(input.len());
        if self.input_bytes > bytes_max {
            self.close(CloseReason::TooLarge);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.comment = Comment::Due;
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.comment {
            Comment::At(deadline) => Some(deadline),
            Comment::Due | Comment::Leaving => None,
        }
    }

    pub(super) fn output<'a>(&'a mut self, feeds: &'a mut Feeds) -> Output<'a> {
        let mut bytes_max = usize::MAX;
        self.end_drain(feeds);
        if self.outbox.is_none() && self.has_own_bytes() {
            match self.event_rest_bytes(feeds) {
                0 => self.write_own_bytes(feeds),
                rest => bytes_max = rest,
            }
        }
        if let Some(outbox) = &self.outbox {
            return Output::Bytes(outbox.rest());
        }
        if let Phase::Closed { reason } = self.phase {
            return Output::Finished(reason);
        }
        match self.subscription.as_ref().map(|own| feeds.pending(own)) {
            Some(Pending::Bytes(bytes)) => Output::Bytes(&bytes[..bytes.len().min(bytes_max)]),
            Some(Pending::Later) => Output::Later,
            // It has just turned out that nothing more is owed: the next visit says goodbye.
            Some(Pending::Nothing) if matches!(self.phase, Phase::Draining { .. }) => Output::Later,
            Some(Pending::Nothing) | None => Output::Idle,
        }
    }

    /// Closes once everything is sent that was owed.
    fn end_drain(&mut self, feeds: &mut Feeds) {
        if let (Phase::Draining { until, reason }, Some(subscription)) =
            (self.phase, &self.subscription)
            && feeds.has_reached(subscription, until)
        {
            self.close(reason);
        }
    }

    /// How many bytes have to be sent before anything of this client's own may be.
    pub(super) fn event_rest_bytes(&self, feeds: &Feeds) -> usize {
        self.subscription.as_ref().map_or(0, |own| feeds.frame_rest_bytes(own))
    }

    /// Whether a comment or the end waits.
    fn has_own_bytes(&self) -> bool {
        match self.phase {
            Phase::Closed { .. } => false,
            Phase::Closing { .. } => true,
            Phase::Open | Phase::Draining { .. } => self.comment == Comment::Due,
        }
    }

    fn write_own_bytes(&mut self, feeds: &mut Feeds) {
        let mut bytes = Vec::new();
        if let Phase::Closing { reason } = self.phase {
            self.framing.write_end(&mut bytes);
            self.phase = Phase::Closed { reason };
            self.end(feeds);
        } else {
            self.framing.write_with(&mut bytes, sse::write_comment);
            self.comment = Comment::Leaving;
        }
        // The end of a plain stream is the connection's.
        self.outbox = (!bytes.is_empty()).then(|| Outbox::new(bytes));
    }

    pub(super) fn advance(
        &mut self,
        now: Instant,
        feeds: &mut Feeds,
        sent: usize,
        timing: &Timing,
    ) -> u64 {
        let Some(outbox) = &mut self.outbox else {
            return self.subscription.as_ref().map_or(0, |own| feeds.advance(own, sent));
        };
        if outbox.advance(sent) {
            self.outbox = None;
            if self.comment == Comment::Leaving {
                self.comment = Comment::At(now + timing.ping_interval);
            }
        }
        0
    }

    pub(super) fn close(&mut self, reason: CloseReason) {
        if matches!(self.phase, Phase::Open | Phase::Draining { .. }) {
            self.phase = Phase::Closing { reason };
        }
    }

    pub(super) fn close_when_drained(&mut self, feeds: &Feeds, reason: CloseReason) {
        if let (Phase::Open, Some(subscription)) = (self.phase, &self.subscription) {
            self.phase = Phase::Draining { until: feeds.end(subscription), reason };
        }
    }

    pub(super) fn set_blocked(&self, feeds: &mut Feeds, is_blocked: bool) {
        if let Some(subscription) = &self.subscription {
            feeds.set_blocked(subscription, is_blocked);
        }
    }

    pub(super) fn end(&mut self, feeds: &mut Feeds) {
        if let Some(subscription) = self.subscription.take() {
            feeds.unsubscribe(&subscription);
        }
    }
}
