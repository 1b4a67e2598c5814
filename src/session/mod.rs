//! Protocol identities as sans-IO state machines. Bytes and time go in through `handle_*`, bytes come out of `output`;
//! after any `handle_*`, take output until it is [`Output::Idle`] or [`Output::Finished`]. No socket, no clock.

pub(crate) mod engine_io;
mod held;
pub(crate) mod http;
mod long_poll;
mod outbox;
pub(crate) mod sse;
mod stream;
pub(crate) mod websocket;
pub(crate) mod zws;

use std::time::{Duration, Instant};

use crate::error::CloseReason;
use crate::feed::Feeds;
use crate::http::Date;
use crate::memory::Memory;
use crate::metrics::Transport;
use engine_io::EngineCarrier;

pub(crate) use engine_io::EngineSessions;
pub(crate) use http::Http;
pub(crate) use long_poll::LongPoll;
pub(crate) use sse::Sse;
pub(crate) use websocket::WebSocket;
pub(crate) use zws::{Topics, Zws};

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) handshake_timeout: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
}

/// What sessions share.
pub(crate) struct Shared<'a> {
    pub(crate) feeds: &'a mut Feeds,
    /// Those sessions that outlive their connections.
    pub(crate) engine: &'a mut EngineSessions,
}

/// What a session wants written now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output<'a> {
    /// These bytes, as far as the socket takes them.
    Bytes(&'a [u8]),
    /// Something, but others come first.
    Later,
    /// Nothing at the moment.
    Idle,
    /// Nothing ever again: everything was written, the sending side can be shut down.
    Finished(CloseReason),
    /// Everything was written, and the connection goes on with HTTP.
    NextRequest,
}

/// A client that gets messages, or a connection that carries one for a while.
#[derive(Debug)]
pub(crate) enum Session {
    WebSocket(WebSocket),
    Sse(Sse),
    Zws(Box<Zws>),
    LongPoll(Box<LongPoll>),
    EngineIo(EngineCarrier),
}

impl Session {
    /// The metric label.
    pub(crate) fn transport(&self) -> Transport {
        match self {
            Self::WebSocket(_) => Transport::WebSocket,
            Self::Sse(_) => Transport::Sse,
            Self::Zws(_) => Transport::Zws,
            Self::LongPoll(_) => Transport::Poll,
            Self::EngineIo(_) => Transport::SocketIo,
        }
    }

    /// What its connection counts as among clients: an Engine.IO session counts itself.
    pub(crate) fn counts_as(&self) -> Transport {
        match self {
            Self::EngineIo(_) => Transport::Http,
            _ => self.transport(),
        }
    }

    /// Whether it belongs to an Engine.IO session, which says itself when it ends.
    pub(crate) fn is_carrier(&self) -> bool {
        matches!(self, Self::EngineIo(_))
    }

    /// Whether the connection will be one for requests again.
    pub(crate) fn is_held_request(&self) -> bool {
        match self {
            Self::WebSocket(_) | Self::Sse(_) | Self::Zws(_) => false,
            Self::LongPoll(_) => true,
            Self::EngineIo(carrier) => carrier.is_held_request(),
        }
    }

    /// The connection goes on with HTTP, where it does.
    pub(crate) fn into_http(self, now: Instant, timing: &Timing) -> Result<Box<Http>, Self> {
        match self {
            Self::LongPoll(poll) => Ok(poll.into_http(now, timing)),
            Self::EngineIo(it) => it.into_http(now, timing).map_err(Self::EngineIo),
            other => Err(other),
        }
    }

    /// Takes what the client sent, in messages of at most `message_bytes_max`. The bytes are changed while they are read.
    pub(crate) fn handle_input(
        &mut self,
        now: Instant,
        input: &mut [u8],
        timing: &Timing,
        message_bytes_max: usize,
        shared: Shared<'_>,
    ) {
        match self {
            Self::WebSocket(session) => {
                session.handle_input(now, input, timing, message_bytes_max);
            }
            Self::Sse(session) => session.handle_input(input, message_bytes_max),
            Self::Zws(session) => session.handle_input(now, input, timing, message_bytes_max),
            Self::LongPoll(session) => session.handle_input(input),
            Self::EngineIo(carrier) => {
                carrier.handle_input(now, input, timing, message_bytes_max, shared);
            }
        }
    }

    /// Counts input that has to be kept against `memory`. Returns whether that is too much.
    pub(crate) fn charge_input(&mut self, memory: &Memory) -> bool {
        match self {
            Self::WebSocket(_) | Self::Sse(_) | Self::Zws(_) => false,
            Self::LongPoll(session) => session.charge_input(memory),
            Self::EngineIo(carrier) => carrier.charge_input(memory),
        }
    }

    /// Whether the client is to be listened to now.
    pub(crate) fn wants_input(&self) -> bool {
        match self {
            Self::WebSocket(_) | Self::Sse(_) | Self::Zws(_) => true,
            Self::LongPoll(session) => session.wants_input(),
            Self::EngineIo(carrier) => carrier.wants_input(),
        }
    }

    /// Does what is due. Fails when the client has been silent for too long: there is nobody left to tell.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), CloseReason> {
        match self {
            Self::WebSocket(session) => session.handle_timeout(now),
            Self::Sse(session) => {
                session.handle_timeout(now);
                Ok(())
            }
            Self::Zws(session) => session.handle_timeout(now),
            Self::LongPoll(session) => {
                session.handle_timeout(now);
                Ok(())
            }
            // Its session has deadlines of its own.
            Self::EngineIo(_) => Ok(()),
        }
    }

    /// When [`Self::handle_timeout`] is to be called at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self {
            Self::WebSocket(session) => session.next_deadline(),
            Self::Sse(session) => session.next_deadline(),
            Self::Zws(session) => session.next_deadline(),
            Self::LongPoll(session) => session.next_deadline(),
            Self::EngineIo(_) => None,
        }
    }

    /// What is to be written; an answer that begins here is of this `date`.
    pub(crate) fn output<'a>(&'a mut self, shared: Shared<'a>, date: Date) -> Output<'a> {
        match self {
            Self::WebSocket(session) => session.output(shared.feeds),
            Self::Sse(session) => session.output(shared.feeds),
            Self::Zws(session) => session.output(shared.feeds),
            Self::LongPoll(session) => session.output(shared.feeds, date),
            Self::EngineIo(carrier) => carrier.output(shared, date),
        }
    }

    /// Notes that `sent` bytes of the output left, and returns how many messages began with them.
    pub(crate) fn advance(
        &mut self,
        now: Instant,
        feeds: &mut Feeds,
        sent: usize,
        timing: &Timing,
    ) -> u64 {
        match self {
            Self::WebSocket(session) => session.advance(now, feeds, sent, timing),
            Self::Sse(session) => session.advance(now, feeds, sent, timing),
            Self::Zws(session) => session.advance(now, feeds, sent, timing),
            Self::LongPoll(session) => session.advance(feeds, sent),
            Self::EngineIo(carrier) => carrier.advance(now, feeds, sent, timing),
        }
    }

    /// The peer's TCP takes bytes again after a time in which it did not: it lives.
    pub(crate) fn note_progress(
        &mut self,
        now: Instant,
        timing: &Timing,
        Shared { engine, .. }: Shared<'_>,
    ) {
        match self {
            Self::WebSocket(session) => session.note_alive(now, timing),
            Self::Zws(session) => session.note_alive(now, timing),
            Self::EngineIo(carrier) => carrier.note_progress(now, timing, engine),
            Self::Sse(_) | Self::LongPoll(_) => {}
        }
    }

    /// Says goodbye as soon as the frame that is under way is complete.
    pub(crate) fn close(&mut self, reason: CloseReason) {
        match self {
            Self::WebSocket(session) => session.stream.close(reason),
            Self::Sse(session) => session.stream.close(reason),
            Self::Zws(session) => session.close(reason),
            Self::LongPoll(session) => session.close(reason),
            Self::EngineIo(carrier) => carrier.close(reason),
        }
    }

    /// As [`Self::close`], for the host program, with the close code that a WebSocket is told.
    pub(crate) fn disconnect(&mut self, code: u16) {
        match self {
            Self::WebSocket(session) => session.disconnect(code),
            Self::Zws(session) => session.disconnect(code),
            Self::Sse(session) => session.stream.close(CloseReason::Host),
            Self::LongPoll(session) => session.close(CloseReason::Host),
            // Its session is told, and wakes it.
            Self::EngineIo(_) => {}
        }
    }

    /// Says goodbye as soon as everything is sent that the client is owed now.
    pub(crate) fn close_when_drained(&mut self, feeds: &Feeds, reason: CloseReason) {
        match self {
            Self::WebSocket(session) => session.stream.close_when_drained(feeds, reason),
            Self::Sse(session) => session.stream.close_when_drained(feeds, reason),
            Self::Zws(session) => session.close_when_drained(feeds, reason),
            // Its answer has everything that it is owed.
            Self::LongPoll(session) => session.close(reason),
            Self::EngineIo(carrier) => carrier.close_when_drained(feeds, reason),
        }
    }

    /// Whether the socket takes bytes at the moment.
    pub(crate) fn set_blocked(&mut self, feeds: &mut Feeds, is_blocked: bool) {
        match self {
            Self::WebSocket(session) => session.stream.set_blocked(feeds, is_blocked),
            Self::Sse(session) => session.stream.set_blocked(feeds, is_blocked),
            Self::Zws(session) => session.set_blocked(feeds, is_blocked),
            Self::LongPoll(session) => session.set_blocked(feeds, is_blocked),
            Self::EngineIo(carrier) => carrier.set_blocked(feeds, is_blocked),
        }
    }

    /// Gives the cursor back, since the connection ends for `reason`. The session is of no use afterwards.
    pub(crate) fn end(&mut self, reason: CloseReason, shared: Shared<'_>) {
        match self {
            Self::WebSocket(session) => session.stream.end(shared.feeds),
            Self::Sse(session) => session.stream.end(shared.feeds),
            Self::Zws(session) => session.end(shared.feeds),
            Self::LongPoll(session) => session.end(shared.feeds),
            Self::EngineIo(carrier) => carrier.end(reason, shared),
        }
    }
}
