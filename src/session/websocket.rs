//! A client on WebSocket (RFC 6455): frames of its feed out, pings and closes answered, everything else dropped.
//! Knows no socket and no clock.

use std::time::Instant;

use super::stream::Stream;
use super::{Output, Timing};
use crate::error::CloseReason;
use crate::feed::{Feeds, Subscription};
use crate::wire::websocket::{self, ControlPayload, Decoder, Event, Said};

/// One client. What an idle one does not need is in boxes: there may be hundreds of thousands.
#[derive(Debug)]
pub(crate) struct WebSocket {
    pub(super) stream: Stream,
    /// Set while a frame or a message of the client has begun and not ended.
    pub(super) decoder: Option<Box<Decoder>>,
    heartbeat: Heartbeat,
    /// The latest ping that was not answered; an earlier one need not be (section 5.5.3).
    ping: Option<Box<ControlPayload>>,
    /// What the goodbye says that is not ours to say: what the client closed with, which it gets back, or what the host
    /// program gave.
    given_code: Option<u16>,
    /// Whether the client may deflate what it says.
    takes_deflated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heartbeat {
    /// Without a time it is somebody else's, who writes frames of their own where one begins.
    Quiet {
        ping_at: Option<Instant>,
    },
    /// A ping is to be sent where the next frame begins.
    Due,
    /// The ping is on its way. Its time runs when it has left, so that a backlog is not held against the client.
    Leaving,
    Awaiting {
        until: Instant,
    },
}

impl WebSocket {
    /// A client whose upgrade is answered by `response`, if not by somebody else, to be pinged for the first time at
    /// `ping_at`, if not by somebody else either.
    pub(crate) fn new(
        ping_at: Option<Instant>,
        response: Vec<u8>,
        subscription: Option<Subscription>,
    ) -> Self {
        Self {
            stream: Stream::new(response, subscription),
            decoder: None,
            heartbeat: Heartbeat::Quiet { ping_at },
            ping: None,
            given_code: None,
            takes_deflated: false,
        }
    }

    /// The same client, which has agreed on deflating, or not.
    pub(crate) fn taking_deflated(self, takes_deflated: bool) -> Self {
        Self { takes_deflated, ..self }
    }

    /// Takes what the client sent; a message of more than `message_bytes_max` is too much.
    pub(super) fn handle_input(
        &mut self,
        now: Instant,
        input: &mut [u8],
        timing: &Timing,
        message_bytes_max: usize,
    ) {
        let decoder = Decoder::with_limit(message_bytes_max).taking_deflated(self.takes_deflated);
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
        mut on_message: impl FnMut(Said<'_>) -> Result<(), CloseReason>,
    ) {
        let mut kept = self.decoder.take();
        let decoder = kept.as_deref_mut().unwrap_or(&mut fresh);
        while !self.stream.is_closing() {
            let Some(event) = decoder.next(&mut input) else { break };
            self.note_alive(now, timing);
            match event {
                Event::Message => {
                    if let Err(reason) = on_message(decoder.said()) {
                        self.stream.close(reason);
                    }
                }
                Event::Pong => {}
                Event::Ping(payload) => self.ping = Some(payload),
                Event::Close(code) => {
                    self.given_code = code;
                    self.stream.close(CloseReason::Client);
                }
                Event::Violation(reason) => self.stream.close(reason),
            }
        }
        if !decoder.is_at_rest() {
            self.decoder = kept.or_else(|| Some(Box::new(fresh)));
        }
    }

    /// Any sign of life answers a ping: what matters is that somebody is there.
    pub(super) fn note_alive(&mut self, now: Instant, timing: &Timing) {
        if let Heartbeat::Awaiting { .. } = self.heartbeat {
            let ping_at = Some(now + timing.ping_interval);
            self.heartbeat = Heartbeat::Quiet { ping_at };
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), CloseReason> {
        match self.heartbeat {
            Heartbeat::Quiet { ping_at: Some(ping_at) } if ping_at <= now => {
                self.heartbeat = Heartbeat::Due;
            }
            Heartbeat::Awaiting { until } if until <= now => return Err(CloseReason::PingTimeout),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.heartbeat {
            Heartbeat::Quiet { ping_at } => ping_at,
            Heartbeat::Awaiting { until } => Some(until),
            Heartbeat::Due | Heartbeat::Leaving => None,
        }
    }

    /// Closes for the host program, with a code of its own.
    pub(super) fn disconnect(&mut self, code: u16) {
        if !self.stream.is_closing() {
            self.given_code = Some(code);
            self.stream.close(CloseReason::Host);
        }
    }

    pub(super) fn output<'a>(&'a mut self, feeds: &'a mut Feeds) -> Output<'a> {
        self.output_with(feeds, false, b"")
    }

    /// As [`Self::output`]; stops where a frame begins where somebody else `has_frames` to put there. `last_word` is the last
    /// text before the goodbye, if it is not empty.
    pub(super) fn output_with<'a>(
        &'a mut self,
        feeds: &'a mut Feeds,
        has_frames: bool,
        last_word: &[u8],
    ) -> Output<'a> {
        let Self { stream, heartbeat, ping, given_code, .. } = self;
        let has_own_frames = has_frames || ping.is_some() || *heartbeat == Heartbeat::Due;
        stream.output(feeds, has_own_frames, |out, goodbye| {
            if let Some(ping) = ping.take() {
                websocket::write_frame(out, websocket::PONG, ping.as_bytes());
            }
            if goodbye.is_some() && !last_word.is_empty() {
                websocket::write_frame(out, websocket::TEXT, last_word);
            }
            match goodbye {
                Some(CloseReason::Client | CloseReason::Host) => {
                    websocket::write_close(out, *given_code);
                }
                Some(reason) => websocket::write_close(out, reason.close_code()),
                None if *heartbeat == Heartbeat::Due => {
                    websocket::write_frame(out, websocket::PING, b"");
                    *heartbeat = Heartbeat::Leaving;
                }
                None => {}
            }
        })
    }

    pub(super) fn advance(
        &mut self,
        now: Instant,
        feeds: &mut Feeds,
        sent: usize,
        timing: &Timing,
    ) -> u64 {
        let messages = self.stream.advance(feeds, sent);
        if self.heartbeat == Heartbeat::Leaving && !self.stream.has_own_bytes_under_way() {
            self.heartbeat = Heartbeat::Awaiting { until: now + timing.ping_timeout };
        }
        messages
    }
}
