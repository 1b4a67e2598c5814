//! What a client is sent on a stream that lasts: the frames of its feed, and between them bytes of its own, until a
//! goodbye. Knows neither how these are written nor when they are due.
//!
//! ```text
//!            goodbye, lag, memory
//!   Open ────────────────────────────▶ Closing ──frame boundary──▶ Closed
//!     └──▶ Draining ──everything owed is sent──┘     goodbye
//! ```

use super::Output;
use super::outbox::Outbox;
use crate::error::CloseReason;
use crate::feed::{Feeds, Pending, Subscription};

/// One client's stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// The cursor that is served, if there is one.
    pub(super) subscription: Option<Subscription>,
    phase: Phase,
    /// Set while there are bytes of this client alone, the head of its answer first.
    pub(super) outbox: Option<Box<Outbox>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// To be closed when everything before the offset is sent.
    Draining {
        until: u64,
        reason: CloseReason,
    },
    /// To be closed where the next frame begins.
    Closing {
        reason: CloseReason,
    },
    /// The goodbye is in the outbox or gone; nothing may follow it.
    Closed {
        reason: CloseReason,
    },
}

impl Stream {
    /// A stream that begins with `head`, where there is one.
    pub(super) fn new(head: Vec<u8>, subscription: Option<Subscription>) -> Self {
        let outbox = (!head.is_empty()).then(|| Outbox::new(head));
        Self { subscription, phase: Phase::Open, outbox }
    }

    /// What is to be sent now. Where a frame begins, `write` appends what is the client's own: what waits, if
    /// `has_own_bytes`, or with a reason the goodbye, which may be no bytes at all.
    pub(super) fn output<'a>(
        &'a mut self,
        feeds: &'a mut Feeds,
        has_own_bytes: bool,
        write: impl FnOnce(&mut Vec<u8>, Option<CloseReason>),
    ) -> Output<'a> {
        let mut bytes_max = usize::MAX;
        self.end_drain(feeds);
        if self.outbox.is_none() && self.wants_to_write(has_own_bytes) {
            match self.frame_rest_bytes(feeds) {
                0 => self.write_own_bytes(feeds, write),
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

    fn wants_to_write(&self, has_own_bytes: bool) -> bool {
        match self.phase {
            Phase::Closed { .. } => false,
            Phase::Closing { .. } => true,
            Phase::Open | Phase::Draining { .. } => has_own_bytes,
        }
    }

    fn write_own_bytes(
        &mut self,
        feeds: &mut Feeds,
        write: impl FnOnce(&mut Vec<u8>, Option<CloseReason>),
    ) {
        let mut bytes = Vec::new();
        if let Phase::Closing { reason } = self.phase {
            write(&mut bytes, Some(reason));
            self.phase = Phase::Closed { reason };
            self.end(feeds);
        } else {
            write(&mut bytes, None);
        }
        self.outbox = (!bytes.is_empty()).then(|| Outbox::new(bytes));
    }

    /// Notes that `sent` bytes of the output left, and returns how many messages began with them.
    pub(super) fn advance(&mut self, feeds: &mut Feeds, sent: usize) -> u64 {
        let Some(outbox) = &mut self.outbox else {
            return self.subscription.as_ref().map_or(0, |own| feeds.advance(own, sent));
        };
        if outbox.advance(sent) {
            self.outbox = None;
        }
        0
    }

    /// Whether bytes of the client's own are on their way.
    pub(super) fn has_own_bytes_under_way(&self) -> bool {
        self.outbox.is_some()
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether nothing counts any more that the client says.
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. } | Phase::Closed { .. })
    }

    /// How many bytes have to be sent before anything of this client's own may be.
    pub(super) fn frame_rest_bytes(&self, feeds: &Feeds) -> usize {
        self.subscription.as_ref().map_or(0, |own| feeds.frame_rest_bytes(own))
    }

    /// Says goodbye where the next frame begins.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if !self.is_closing() {
            self.phase = Phase::Closing { reason };
        }
    }

    /// Says goodbye behind what is owed now.
    pub(super) fn close_when_drained(&mut self, feeds: &Feeds, reason: CloseReason) {
        match (self.phase, &self.subscription) {
            (Phase::Open, Some(subscription)) => {
                self.phase = Phase::Draining { until: feeds.end(subscription), reason };
            }
            (Phase::Open, None) => self.close(reason),
            _ => {}
        }
    }

    pub(super) fn set_blocked(&self, feeds: &mut Feeds, is_blocked: bool) {
        if let Some(subscription) = &self.subscription {
            feeds.set_blocked(subscription, is_blocked);
        }
    }

    /// Gives the cursor back.
    pub(super) fn end(&mut self, feeds: &mut Feeds) {
        if let Some(subscription) = self.subscription.take() {
            feeds.unsubscribe(&subscription);
        }
    }
}
