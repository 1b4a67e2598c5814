//! A connection that carries an Engine.IO session: for the time of one answer, or as its WebSocket. Knows no socket and no
//! clock.

use std::time::Instant;

use super::sessions::{SessionKey, Wake};
use super::{EnginePoll, EngineSessions, EngineSocket};
use crate::error::CloseReason;
use crate::feed::{Feeds, Owner};
use crate::http::Date;
use crate::memory::Memory;
use crate::session::http::HeldRequest;
use crate::session::{Http, Output, Session, Shared, Timing};

/// A connection that is to carry a session.
#[derive(Debug)]
pub(crate) enum EngineOpening {
    Poll(SessionKey, HeldRequest),
    /// It carries the session from the first moment where that `begins`, and is probed otherwise.
    Socket {
        session: SessionKey,
        begins: bool,
    },
}

impl EngineOpening {
    /// Has the connection `owner` carry the session; a WebSocket's upgrade is answered by `head`.
    pub(crate) fn open(
        self,
        now: Instant,
        owner: Owner,
        head: Vec<u8>,
        timing: &Timing,
        Shared { feeds, engine }: Shared<'_>,
    ) -> Session {
        let carrier = match self {
            Self::Poll(session, held) => {
                engine.hold(now, session, owner, feeds);
                EngineCarrier::Poll(Box::new(EnginePoll::new(session, owner, held)))
            }
            Self::Socket { session, begins } => {
                if begins {
                    engine.begin_with(session, owner);
                }
                let is_taken = begins || engine.attach(now, session, owner, timing);
                let socket = EngineSocket::new(session, owner, head, is_taken);
                EngineCarrier::Socket(Box::new(socket))
            }
        };
        Session::EngineIo(carrier)
    }
}

/// A connection that carries a session, or is probed for that.
#[derive(Debug)]
pub(crate) enum EngineCarrier {
    Poll(Box<EnginePoll>),
    Socket(Box<EngineSocket>),
}

impl EngineCarrier {
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
