//! A client on WebSocket (RFC 6455): frames of its feed out, pings and closes answered, everything else dropped.
//! Knows no socket and no clock.
//!
//! ```text
//!            close frame, violation, lag, memory
//!   Open ────────────────────────────────────────▶ Closing ──frame boundary──▶ Closed
//!     └──────▶ Draining ──everything owed is sent──────┘        close frame
//! ```

use std::time::Instant;

use super::outbox::Outbox;
use super::{Output, Timing};
use crate::error::CloseReason;
use crate::feed::{Feeds, Pending, Subscription};
use crate::wire::websocket::{self, ControlPayload, Decoder, Event};

/// One client. What an idle one does not need is in boxes: there may be hundreds of thousands.
#[derive(Debug)]
pub(crate) struct WebSocket {
    /// Set while a frame or a message of the client has begun and not ended.
    decoder: Option<Box<Decoder>>,
    pub(super) subscription: Option<Subscription>,
    phase: Phase,
    heartbeat: Heartbeat,
    /// The latest ping that was not answered; an earlier one need not be (section 5.5.3).
    ping: Option<Box<ControlPayload>>,
    /// Set while there are bytes of this client alone, the answer to its upgrade first.
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
    /// To be closed where the next frame begins.
    Closing {
        code: Option<u16>,
        reason: CloseReason,
    },
    /// The close frame is in the outbox or gone; nothing may follow it (section 5.5.1).
    Closed {
        reason: CloseReason,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heartbeat {
    Quiet {
        ping_at: Instant,
    },
    /// A ping is to be sent where the next frame begins.
    Due,
    /// The ping is in the outbox. Its time runs when it has left, so that a backlog is not held against the client.
    Leaving,
    Awaiting {
        until: Instant,
    },
}

impl WebSocket {
    /// A client whose upgrade is answered by `response`, if not by somebody else, to be pinged for the first time at `ping_at`.
    pub(crate) fn new(
        ping_at: Instant,
        response: Vec<u8>,
        subscription: Option<Subscription>,
    ) -> Self {
        Self {
            decoder: None,
            subscription,
            phase: Phase::Open,
            heartbeat: Heartbeat::Quiet { ping_at },
            ping: None,
            outbox: (!response.is_empty()).then(|| Outbox::new(response)),
        }
    }

    /// Takes what the client sent; a message of more than `message_bytes_max` is too much.
    pub(super) fn handle_input(
        &mut self,
        now: Instant,
        input: &mut [u8],
        timing: &Timing,
        message_bytes_max: usize,
    ) {
        let decoder = Decoder::with_limit(message_bytes_max);
        self.handle_messages(now, input, timing, decoder, |_| Ok(()));
    }

    /// As [`Self::handle_input`], for who wants to know what the client says: `on_message` gets what the decoder keeps of
    /// each message, and may close. `fresh` is the decoder for what begins here.
    pub(super) fn handle_messages(
        &mut self,
        now: Instant,
        mut input: &mut [u8],
        timing: &Timing,
        mut fresh: Decoder,
        mut on_message: impl FnMut(&[u8]) -> Result<(), CloseReason>,
    ) {
        let mut kept = self.decoder.take();
        let decoder = kept.as_deref_mut().unwrap_or(&mut fresh);
        while matches!(self.phase, Phase::Open | Phase::Draining { .. }) {
            let Some(event) = decoder.next(&mut input) else { break };
            self.note_alive(now, timing);
            match event {
                Event::Message => {
                    if let Err(reason) = on_message(decoder.kept()) {
                        self.close(reason);
                    }
                }
                Event::Pong => {}
                Event::Ping(payload) => self.ping = Some(payload),
                Event::Close(code) => {
                    self.phase = Phase::Closing { code, reason: CloseReason::Client };
                }
                Event::Violation(reason) => self.close(reason),
            }
        }
        if !decoder.is_at_rest() {
            self.decoder = kept.or_else(|| Some(Box::new(fresh)));
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Any sign of life answers a ping: what matters is that somebody is there.
    pub(super) fn note_alive(&mut self, now: Instant, timing: &Timing) {
        if let Heartbeat::Awaiting { .. } = self.heartbeat {
            self.heartbeat = Heartbeat::Quiet { ping_at: now + timing.ping_interval };
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), CloseReason> {
        match self.heartbeat {
            Heartbeat::Quiet { ping_at } if ping_at <= now => self.heartbeat = Heartbeat::Due,
            Heartbeat::Awaiting { until } if until <= now => return Err(CloseReason::PingTimeout),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.heartbeat {
            Heartbeat::Quiet { ping_at } => Some(ping_at),
            Heartbeat::Awaiting { until } => Some(until),
            Heartbeat::Due | Heartbeat::Leaving => None,
        }
    }

    pub(super) fn output<'a>(&'a mut self, feeds: &'a mut Feeds) -> Output<'a> {
        let mut bytes_max = usize::MAX;
        self.end_drain(feeds);
        if self.outbox.is_none() && self.has_own_frames() {
            match self.frame_rest_bytes(feeds) {
                0 => self.write_own_frames(feeds),
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

    /// How many bytes have to be sent before a frame of this client's own may be.
    pub(super) fn frame_rest_bytes(&self, feeds: &Feeds) -> usize {
        self.subscription.as_ref().map_or(0, |own| feeds.frame_rest_bytes(own))
    }

    /// Whether frames wait that are this client's own: answers, pings, a close.
    fn has_own_frames(&self) -> bool {
        match self.phase {
            Phase::Closed { .. } => false,
            Phase::Closing { .. } => true,
            Phase::Open | Phase::Draining { .. } => {
                self.ping.is_some() || self.heartbeat == Heartbeat::Due
            }
        }
    }

    fn write_own_frames(&mut self, feeds: &mut Feeds) {
        let mut bytes = Vec::new();
        if let Some(ping) = self.ping.take() {
            websocket::write_frame(&mut bytes, websocket::PONG, ping.as_bytes());
        }
        if let Phase::Closing { code, reason } = self.phase {
            websocket::write_close(&mut bytes, code);
            self.phase = Phase::Closed { reason };
            self.end(feeds);
        } else if self.heartbeat == Heartbeat::Due {
            websocket::write_frame(&mut bytes, websocket::PING, b"");
            self.heartbeat = Heartbeat::Leaving;
        }
        self.outbox = Some(Outbox::new(bytes));
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
            if self.heartbeat == Heartbeat::Leaving {
                self.heartbeat = Heartbeat::Awaiting { until: now + timing.ping_timeout };
            }
        }
        0
    }

    pub(super) fn close(&mut self, reason: CloseReason) {
        if matches!(self.phase, Phase::Open | Phase::Draining { .. }) {
            self.phase = Phase::Closing { code: reason.close_code(), reason };
        }
    }

    /// As [`Self::close`], with a close code of the host program's own.
    pub(super) fn disconnect(&mut self, code: u16) {
        if matches!(self.phase, Phase::Open | Phase::Draining { .. }) {
            self.phase = Phase::Closing { code: Some(code), reason: CloseReason::Host };
        }
    }

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

    pub(super) fn end(&mut self, feeds: &mut Feeds) {
        if let Some(subscription) = self.subscription.take() {
            feeds.unsubscribe(&subscription);
        }
    }
}
