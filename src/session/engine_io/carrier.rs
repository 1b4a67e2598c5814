//! A connection that carries an Engine.IO session: for the time of one answer, or as its WebSocket. Knows no socket and no
//! clock.

use std::time::Instant;

use super::sessions::{SessionKey, Wake};
use super::{EnginePoll, EngineSessions, EngineSocket};
use crate::error::CloseReason;
use crate::feed::{Feeds, Owner};
use crate::http::{Date, HeldRequest};
use crate::memory::Memory;
use crate::session::{Http, Output, Shared, Timing};

/// A connection that carries a session, or is probed for that.
#[derive(Debug)]
pub(crate) enum EngineCarrier {
    Poll(Box<EnginePoll>),
    Socket(Box<EngineSocket>),
}

impl EngineCarrier {
    /// The connection `owner`, whose `request` waits for packets of a session.
    pub(crate) fn poll(
        now: Instant,
        session: SessionKey,
        owner: Owner,
        request: HeldRequest,
        Shared { feeds, engine }: Shared<'_>,
    ) -> Self {
        engine.hold(now, session, owner, feeds);
        Self::Poll(Box::new(EnginePoll::new(session, owner, request)))
    }

    /// The connection `owner` as the WebSocket of a session that begins with it. Its upgrade is answered by `head`.
    pub(crate) fn begin(
        session: SessionKey,
        owner: Owner,
        head: Vec<u8>,
        engine: &mut EngineSessions,
    ) -> Self {
        engine.begin_with(session, owner);
        Self::Socket(Box::new(EngineSocket::new(session, owner, head, true)))
    }

    /// The connection `owner` as a WebSocket that a session is to go on by, once it is probed.
    pub(crate) fn probe(
        now: Instant,
        session: SessionKey,
        owner: Owner,
        head: Vec<u8>,
        timing: &Timing,
        engine: &mut EngineSessions,
    ) -> Self {
        let is_taken = engine.attach(now, session, owner, timing);
        Self::Socket(Box::new(EngineSocket::new(session, owner, head, is_taken)))
    }

    pub(in crate::session) fn is_held_request(&self) -> bool {
        matches!(self, Self::Poll(_))
    }

    pub(in crate::session) fn into_http(
        self,
        now: Instant,
        timing: &Timing,
    ) -> Result<Box<Http>, Self> {
        match self {
            Self::Poll(poll) => Ok(poll.into_http(now, timing)),
            Self::Socket(_) => Err(self),
        }
    }

    /// Acts for the session.
    pub(crate) fn wake(&mut self, wake: Wake) {
        match (self, wake) {
            (Self::Poll(poll), Wake::Answer(session, word)) => poll.end_with_word(session, word),
            (Self::Socket(socket), Wake::Close(reason)) => socket.close(reason),
            (Self::Socket(socket), Wake::Disconnect { code, last_word }) => {
                socket.disconnect(code, last_word);
            }
            _ => {}
        }
    }

    pub(in crate::session) fn handle_input(
        &mut self,
        now: Instant,
        input: &mut [u8],
        timing: &Timing,
        message_bytes_max: usize,
        shared: Shared<'_>,
    ) {
        match self {
            Self::Poll(poll) => poll.handle_input(input),
            Self::Socket(socket) => {
                socket.handle_input(now, input, timing, message_bytes_max, shared);
            }
        }
    }

    pub(in crate::session) fn charge_input(&mut self, memory: &Memory) -> bool {
        match self {
            Self::Poll(poll) => poll.charge_input(memory),
            Self::Socket(socket) => socket.charge_input(memory),
        }
    }

    pub(in crate::session) fn wants_input(&self) -> bool {
        match self {
            Self::Poll(poll) => poll.wants_input(),
            Self::Socket(_) => true,
        }
    }

    pub(in crate::session) fn output<'a>(
        &'a mut self,
        shared: Shared<'a>,
        date: Date,
    ) -> Output<'a> {
        match self {
            Self::Poll(poll) => poll.output(shared, date),
            Self::Socket(socket) => socket.output(shared),
        }
    }

    pub(in crate::session) fn advance(
        &mut self,
        now: Instant,
        feeds: &mut Feeds,
        sent: usize,
        timing: &Timing,
    ) -> u64 {
        match self {
            Self::Poll(poll) => poll.advance(feeds, sent),
            Self::Socket(socket) => socket.advance(now, feeds, sent, timing),
        }
    }

    pub(in crate::session) fn note_progress(
        &mut self,
        now: Instant,
        timing: &Timing,
        engine: &mut EngineSessions,
    ) {
        match self {
            Self::Poll(_) => {}
            Self::Socket(socket) => socket.note_progress(now, timing, engine),
        }
    }

    pub(in crate::session) fn close(&mut self, reason: CloseReason) {
        match self {
            Self::Poll(poll) => poll.close(reason),
            Self::Socket(socket) => socket.close(reason),
        }
    }

    pub(in crate::session) fn close_when_drained(&mut self, feeds: &Feeds, reason: CloseReason) {
        match self {
            // Its session knows that it is leaving.
            Self::Poll(_) => {}
            Self::Socket(socket) => socket.close_when_drained(feeds, reason),
        }
    }

    pub(in crate::session) fn set_blocked(&mut self, feeds: &mut Feeds, is_blocked: bool) {
        match self {
            Self::Poll(poll) => poll.set_blocked(feeds, is_blocked),
            Self::Socket(socket) => socket.set_blocked(feeds, is_blocked),
        }
    }

    pub(in crate::session) fn end(
        &mut self,
        reason: CloseReason,
        Shared { feeds, engine }: Shared<'_>,
    ) {
        match self {
            Self::Poll(poll) => poll.end(reason, feeds, engine),
            Self::Socket(socket) => socket.end(reason, feeds, engine),
        }
    }
}
