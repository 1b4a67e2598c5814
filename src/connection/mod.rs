//! One accepted socket from its first byte to its last: requests, then a session, then a goodbye that arrives.
//! Moves bytes between the stream and the state machines. Knows no poller.
//!
//! ```text
//!   Http ──asks for messages──▶ Session ──last frame sent──▶ Lingering ──▶ Closed
//!     └───────── last answer sent ──────────────────────────────▲            ▲
//!     └───────── reset, timeout, nothing to say ─────────────────────────────┘
//! ```

mod admission;
mod authorization;
mod budget;
mod context;
mod engine_io;
mod flushing;
mod gathering;
#[cfg(any(test, feature = "bench-internals"))]
pub(crate) mod in_memory;
#[cfg(test)]
mod poll_tests;
mod shutdown;
mod site;
mod stream_buffers;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod turn_tests;
mod waiting_room;

pub(crate) use admission::{Admission, Phase};
pub(crate) use budget::Budget;
pub(crate) use context::{Context, Limits};
pub(crate) use site::{Pages, Site};
pub(crate) use table::{ConnectionKey, Connections, Newcomer, Upgraded};

use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::error::CloseReason;
use crate::feed::Owner;
use crate::hooks::Happened;
use crate::http::{Outcome, Request, Role};
use crate::metrics::Transport;
use crate::net::ByteStream;
use crate::session::http::Answer;
use crate::session::{Http, Session};
use context::Peer;
use waiting_room::Occupant;

/// Pipelined requests that one visit answers.
const VISIT_REQUESTS_MAX: usize = 16;

/// Bytes that a visit writes which a client or a deadline caused: one answer, or what a send of one call's price can take.
/// There may be a hundred such visits in a turn; what is left goes on within the turn's budget.
const UNPLANNED_BYTES_MAX: usize = 16 << 10;

/// How long a connection that was said goodbye waits for the client's end, so that what was sent last is read before
/// a reset could destroy it.
const LINGER: Duration = Duration::from_secs(5);

/// Input that is discarded while lingering: what a client may have under way that sends before it reads. Who sends more
/// is not listening.
const LINGER_BYTES_MAX: usize = 32 << 20;

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// What a step of a connection came to.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    bytes_sent: usize,
    /// There is more to do, but others come first. Otherwise nothing can be done before something happens.
    is_cut: bool,
}

impl Step {
    /// Nothing was sent, and nothing more can be done now.
    const IDLE: Self = Self { bytes_sent: 0, is_cut: false };
}

/// One client's connection.
#[derive(Debug)]
struct Connection<S> {
    stream: S,
    /// What the feeds and the host call it.
    owner: Owner,
    state: State,
    ip: Option<IpAddr>,
    role: Role,
    /// Set while the socket takes nothing: when the client is given up.
    stalled_until: Option<Instant>,
    /// The earliest deadline that is queued for this connection.
    scheduled: Option<Instant>,
    /// What the poller was told.
    registered: Interest,
    /// Whether the table means to come back after a visit that was cut.
    is_queued: bool,
    /// Whether the table means to read without being told that there is something.
    is_unread: bool,
    /// Whether the table counts what the stream holds.
    is_holding: bool,
}

#[derive(Debug)]
enum State {
    Http(Box<Http>),
    Session(Session),
    /// Everything was said; what still comes is discarded until the client ends its side.
    Lingering {
        until: Instant,
        bytes_left: usize,
    },
    Closed,
}

impl<S: ByteStream> Connection<S> {
    fn new(
        now: Instant,
        owner: Owner,
        stream: S,
        ip: Option<IpAddr>,
        role: Role,
        context: &mut Context,
    ) -> Self {
        context.metrics.client_opened(Transport::Http);
        Self {
            stream,
            owner,
            state: State::Http(Box::new(Http::new(now, &context.timing))),
            ip,
            role,
            stalled_until: None,
            scheduled: None,
            registered: Interest { readable: true, writable: false },
            is_queued: false,
            is_unread: false,
            is_holding: false,
        }
    }

    fn peer(&self, now: Instant) -> Peer {
        Peer { now, connection: self.owner.0, ip: self.ip, role: self.role }
    }

    /// What the connection waits for now. The only place that decides it.
    fn interest(&self) -> Interest {
        let readable = match &self.state {
            // Neither more requests nor their end while some are left to answer.
            State::Http(http) => http.wants_input() && !http.has_unread_input(),
            State::Session(session) => session.wants_input(),
            State::Lingering { .. } => true,
            State::Closed => false,
        };
        // A queued connection gets its step without the poller.
        Interest { readable, writable: self.stalled_until.is_some() && !self.is_queued }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let own = match &self.state {
            State::Http(http) => http.next_deadline(),
            State::Session(session) => session.next_deadline(),
            State::Lingering { until, .. } => Some(*until),
            State::Closed => None,
        };
        [own, self.stalled_until].into_iter().flatten().min()
    }

    /// Whether it could make room for a newcomer.
    fn occupant(&self) -> Occupant {
        match &self.state {
            State::Http(http) if http.wants_input() => Occupant::Waiting,
            State::Http(_) => Occupant::Busy,
            State::Lingering { .. } => Occupant::Leaving,
            State::Session(session) if session.is_held_request() => Occupant::Busy,
            State::Session(_) | State::Closed => Occupant::Gone,
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Reads once: who sends more is read again next turn, after the others.
    fn handle_readable(&mut self, now: Instant, scratch: &mut [u8], context: &mut Context) -> Step {
        match self.stream.read(scratch) {
            Ok(0) => {
                self.handle_end_of_input(context);
                Step::IDLE
            }
            Ok(len) => self.handle_input(now, &mut scratch[..len], context),
            // A stream may have something to say for itself.
            Err(error) if is_transient(error.kind()) && self.stream.needs_flush() => {
                self.process_input(now, context)
            }
            Err(error) if is_transient(error.kind()) => Step::IDLE,
            Err(error) => {
                self.handle_failure(now, error.kind(), context);
                Step::IDLE
            }
        }
    }

    /// What came cannot be read. Who can be told why by the stream is: what else it sends does not matter.
    fn handle_failure(&mut self, now: Instant, kind: ErrorKind, context: &mut Context) {
        match self.state {
            State::Http(_) | State::Session(_) if kind == ErrorKind::InvalidData => {
                self.say_goodbye(now, CloseReason::Tls, context);
            }
            _ => self.close(reason_of(kind), context),
        }
    }

    /// Takes what the client sent.
    fn handle_input(&mut self, now: Instant, input: &mut [u8], context: &mut Context) -> Step {
        match &mut self.state {
            State::Http(http) => http.handle_input(now, input, &context.timing),
            State::Session(session) => {
                let message_bytes_max = context.limits.inbound_bytes_max;
                let (timing, shared) = (context.timing, context.shared());
                session.handle_input(now, input, &timing, message_bytes_max, shared);
                context.charge_input(session);
            }
            State::Lingering { bytes_left, .. } => {
                *bytes_left = bytes_left.saturating_sub(input.len());
                if *bytes_left == 0 {
                    self.state = State::Closed;
                }
            }
            State::Closed => {}
        }
        self.process_input(now, context)
    }

    fn handle_end_of_input(&mut self, context: &mut Context) {
        match &mut self.state {
            // A client may end its side once it has asked: it gets its answer.
            State::Http(http) if !http.wants_input() => http.close_after_answer(),
            State::Session(session) if !session.wants_input() => session.close(CloseReason::Client),
            State::Http(_) | State::Session(_) => self.close(CloseReason::Client, context),
            State::Lingering { .. } | State::Closed => self.state = State::Closed,
        }
    }

    fn handle_timeout(&mut self, now: Instant, context: &mut Context) -> Step {
        if self.stalled_until.is_some_and(|until| until <= now) {
            self.close(CloseReason::WriteTimeout, context);
            return Step::IDLE;
        }
        match &mut self.state {
            State::Http(http) => {
                let collected_for = http.collects_for().map(Box::<[u8]>::from);
                if let Err(reason) = http.handle_timeout(now, context.date) {
                    self.close(reason, context);
                } else if http.collects_for().is_none() {
                    context.give_up_body(collected_for.as_deref(), CloseReason::HandshakeTimeout);
                }
            }
            State::Session(session) => {
                if let Err(reason) = session.handle_timeout(now) {
                    self.close(reason, context);
                }
            }
            State::Lingering { until, .. } => {
                if *until <= now {
                    self.state = State::Closed;
                }
            }
            State::Closed => {}
        }
        self.process_input(now, context)
    }

    /// Answers requests and writes their answers, in turn, as far as one step goes.
    fn work(&mut self, now: Instant, context: &mut Context) -> Step {
        let bytes_max = context.budget.visit_bytes_max;
        self.process(now, context, VISIT_REQUESTS_MAX, bytes_max)
    }

    /// As [`Self::work`], for a step that the turn's budget does not count.
    fn process_input(&mut self, now: Instant, context: &mut Context) -> Step {
        let bytes_max = context.budget.visit_bytes_max.min(UNPLANNED_BYTES_MAX);
        self.process(now, context, 1, bytes_max)
    }

    fn process(
        &mut self,
        now: Instant,
        context: &mut Context,
        requests_max: usize,
        bytes_max: usize,
    ) -> Step {
        let mut bytes_sent = 0;
        for _ in 0..requests_max {
            self.serve(now, context);
            let visit = self.flush_within(now, context, bytes_max - bytes_sent);
            bytes_sent += visit.bytes_sent;
            if visit.is_cut {
                break;
            }
            if !matches!(&self.state, State::Http(http) if http.has_unread_input()) {
                return Step { bytes_sent, is_cut: false };
            }
        }
        Step { bytes_sent, is_cut: true }
    }

    fn serve(&mut self, now: Instant, context: &mut Context) {
        let peer = self.peer(now);
        let State::Http(http) = &mut self.state else { return };
        let (limits, date) = (context.limits.http, context.date);
        let mut serve =
            |request: &Request<'_>, answer: &mut Answer| context.serve(&peer, request, answer);
        match http.proceed(&limits, date, &mut serve) {
            None => {
                // A client that keeps the gateway waiting with half a request holds the memory.
                if http.charge_input(&context.request_memory) && http.wants_input() {
                    context.give_up_body(http.collects_for(), CloseReason::Memory);
                    http.give_up(&context.turn_down("too many unfinished requests"), date);
                }
            }
            Some(Outcome::EngineBody { post, content }) => {
                http.answer_collected(&post.request, date, |out, exchange| {
                    context.take_payload(now, &post.sid, content, out, exchange)
                });
            }
            Some(outcome) => {
                if let State::Http(http) = std::mem::replace(&mut self.state, State::Closed) {
                    self.state = State::Session(context.open_session(&peer, outcome, *http));
                }
            }
        }
    }

    /// Makes a WebSocket of a new connection whose handshake the host has answered. A client that may not come in is told why.
    pub(super) fn open_adopted(&mut self, peer: &Peer, upgraded: Upgraded, context: &mut Context) {
        let State::Http(http) = std::mem::replace(&mut self.state, State::Closed) else { return };
        let Upgraded { target, subscribe } = upgraded;
        self.state = State::Session(match context.authorize_adopted(peer, &target, subscribe) {
            Ok(outcome) => context.open_session(peer, outcome, *http),
            Err(reason) => context.open_refused(peer.now, reason),
        });
    }

    /// Tells the host that the client has left. A panic of the hook makes no difference to it.
    pub(super) fn announce_end(
        &self,
        transport: Transport,
        reason: CloseReason,
        context: &mut Context,
    ) {
        if transport != Transport::Http {
            let closed = Happened::Closed(reason);
            let _ = context.hooks.tell(self.owner.0, transport, self.ip, closed);
        }
    }

    /// Everything is written: ends our side, and waits a moment for the client's end. FIN, not RST, so that the client
    /// reads what was said last even if its own input was not read. A stream that says goodbye itself may wait for room.
    fn say_goodbye(&mut self, now: Instant, reason: CloseReason, context: &mut Context) {
        let ended = self.stream.shutdown_write();
        if ended.as_ref().is_err_and(|error| is_transient(error.kind())) {
            if self.stalled_until.is_none() {
                self.stall(now, context);
            }
            return;
        }
        self.leave(reason, context);
        self.state = match ended {
            Ok(()) => State::Lingering { until: now + LINGER, bytes_left: LINGER_BYTES_MAX },
            Err(_) => State::Closed,
        };
    }

    /// Ends the connection where it is: there is nobody to tell, or no way to.
    fn close(&mut self, reason: CloseReason, context: &mut Context) {
        self.stream.say_goodbye();
        self.leave(reason, context);
        self.state = State::Closed;
    }

    /// Gives the client up to free what is held for it. It is told where that can be done at once.
    fn expel(&mut self, now: Instant, context: &mut Context) -> Step {
        let reason = CloseReason::Memory;
        if let State::Session(session) = &mut self.state {
            // Nothing is begun any more, which would take memory again.
            session.close(reason);
        }
        let visit = self.flush(now, context);
        if matches!(self.state, State::Session(_)) {
            self.close(reason, context);
        }
        visit
    }

    /// Gives back what the client held and counts its end, once.
    fn leave(&mut self, reason: CloseReason, context: &mut Context) {
        let transport = match &mut self.state {
            State::Http(http) => {
                context.give_up_body(http.collects_for(), reason);
                Transport::Http
            }
            State::Session(session) => {
                session.end(reason, context.shared());
                session.counts_as()
            }
            State::Lingering { .. } | State::Closed => return,
        };
        self.stalled_until = None;
        context.metrics.client_closed(transport, reason);
        self.announce_end(transport, reason, context);
        log::debug!("{} client closed: {reason}", transport.label());
    }
}

/// Why a connection failed. The kernel, too, gives up who takes nothing for the write timeout, by TCP_USER_TIMEOUT.
fn reason_of(kind: ErrorKind) -> CloseReason {
    match kind {
        ErrorKind::TimedOut => CloseReason::WriteTimeout,
        _ => CloseReason::Reset,
    }
}

fn is_transient(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
