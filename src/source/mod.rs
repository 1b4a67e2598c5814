//! Owns the sockets that messages come from: opens endpoints, receives whole messages, and keeps connections alive.
//! Knows neither topics nor clients.
//!
//! Each endpoint has a socket of its own, so that its monitor's events are unambiguous. It is one of libzmq's, or for
//! `udp://` a plain one.
//!
//! # Order
//!
//! Messages of one connection arrive in the order in which they were sent. A connected endpoint also keeps the order over
//! a reconnect: libzmq has one queue for all its connections. A bound endpoint has a queue for each, and libzmq
//! takes turns between them, so that the order breaks when a publisher reconnects before its old queue is read.
//!
//! # The calling rule
//!
//! Both descriptors of libzmq's sources are **edge-triggered, and they lie**: they do not signal again for
//! what was already there, and they may signal when nothing is there. So, for each source of any kind:
//!
//! 1. While [`Source::needs_drain`] is true, do not wait: call [`Source::drain`] in this turn or the
//!    next. It is true after [`Source::open`] (a socket never drained may never signal), after a
//!    drain that was cut short, and after any other call that let libzmq process commands, since
//!    that may have swallowed the signal.
//! 2. When [`Source::fd`] is readable, call [`Source::drain`].
//! 3. When [`Source::monitor_fd`], where there is one, is readable, call [`Source::handle_monitor`].
//! 4. After [`Drained::Dead`], stop to wait for both descriptors, then call [`Source::end`].
//! 5. When [`Source::next_deadline`] has passed, call [`Source::handle_timeout`]. The deadline may
//!    change with every call above, and may have passed from the start.

mod connection;
mod datagrams;
mod ended;
mod endpoint;
mod ffi;
mod incoming;
mod ipc_file;
mod journal;
mod link;
mod monitor;
mod open;
mod prefixes;
mod radio;
mod security;
#[cfg(test)]
mod tests;
mod udp;
mod zeromq;

use std::os::fd::BorrowedFd;
use std::str::FromStr;
use std::time::{Duration, Instant};

use self::ended::Ended;
use self::endpoint::Transport;
pub(crate) use self::endpoint::{Attach, Endpoint};
use self::radio::Radio;
pub(crate) use self::security::{
    PublicKey, Secret, SecretKey, Security, Unsecured, has_curve, needs_system_libzmq,
};
use self::zeromq::ZeroMq;
use crate::error::{DropReason, Error, ParseError};
use crate::message::Part;

/// The ZeroMQ socket type of the sources (`--socket`).
///
/// # Examples
///
/// ```
/// use zmq2ws::{Gateway, SocketKind};
///
/// // Producers that PUSH, and wait rather than lose a message.
/// let gateway =
///     Gateway::builder().bind("tcp://127.0.0.1:*").socket(SocketKind::Pull).build()?;
/// assert_eq!("sub".parse(), Ok(SocketKind::Sub));
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SocketKind {
    /// Receives what it subscribed to, from PUB and XPUB sockets.
    #[default]
    Sub,
    /// Receives its share of what PUSH sockets distribute.
    Pull,
}

impl FromStr for SocketKind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "sub" => Ok(Self::Sub),
            "pull" => Ok(Self::Pull),
            _ => Err(ParseError::new("expected 'sub' or 'pull'")),
        }
    }
}

/// What all sources of a gateway have in common.
#[derive(Debug, Clone)]
pub(crate) struct SourceConfig {
    pub(crate) socket: SocketKind,
    /// The prefixes to ask publishers for from the start; the empty one is everything. PULL sockets ask for nothing.
    pub(crate) subscribe: Vec<Vec<u8>>,
    /// How many messages may wait in libzmq for each publisher; 0 means any number.
    pub(crate) rcvhwm: i32,
    /// How often the kernel probes a silent publisher's host; after three probes without an answer the connection ends.
    /// Zero turns it off.
    pub(crate) heartbeat: Duration,
    /// Larger messages, all parts together, are dropped.
    pub(crate) message_bytes_max: usize,
    /// Who may connect, and what this end shows. Of use to the endpoints that it was [checked](Security::check) with.
    pub(crate) security: Security,
}

/// How much one call of [`Source::drain`] may take in. The message that exceeds it is still taken
/// whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) messages: usize,
    /// Bytes of all parts.
    pub(crate) bytes: usize,
}

/// Why [`Source::drain`] stopped.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Nothing was left: the descriptor will signal the next message.
    Empty,
    /// The budget was used up: the descriptor will **not** signal what is left.
    More,
    /// Nothing will come any more, since its context was terminated: whoever does so waits for [`Source::end`], and until
    /// then the descriptors are readable.
    Dead,
}

/// A message as it came in.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    /// At least one; gone when the next message is received.
    pub(crate) parts: &'a [Part],
    /// Whether messages are known to be lost between this one and the last that was handed on. Of which topics, nobody
    /// knows.
    pub(crate) follows_loss: bool,
}

/// What a source has seen. Everything but `connections` and `subscriptions` only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SourceCounts {
    /// Messages handed on, and their bytes.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Messages dropped, by [`DropReason`].
    pub(crate) dropped: [u64; DropReason::ALL.len()],
    /// What was read and not handed on: messages that were dropped, and datagrams that nobody wanted.
    pub(crate) passed_over: u64,
    /// Connections open now. There are none of inproc, multicast and datagrams, or none that are told of.
    pub(crate) connections: u64,
    /// Prefixes that publishers are asked for now.
    pub(crate) subscriptions: u64,
    /// Connections that ended.
    pub(crate) disconnects: u64,
    /// Handshakes that failed, refused by this end or by the other.
    pub(crate) refused: u64,
    /// Times this source connected anew because libzmq had given the endpoint up.
    pub(crate) revived: u64,
}

/// One endpoint. See the [calling rule](self).
pub(crate) enum Source {
    /// A socket of libzmq.
    ZeroMq(Box<ZeroMq>),
    /// Datagrams of RADIO sockets.
    Radio(Box<Radio>),
    /// Nothing any more.
    Ended(Box<Ended>),
}

/// Does the same with a source of any kind.
macro_rules! with {
    ($source:expr, $inner:ident => $what:expr) => {
        match $source {
            Source::ZeroMq($inner) => $what,
            Source::Radio($inner) => $what,
            Source::Ended($inner) => $what,
        }
    };
}

impl Source {
    /// Opens `endpoint`. It needs to be drained before it is waited for.
    ///
    /// Blocks only to look up a host name. An inproc name that nobody has bound yet is waited for; a
    /// source that is closed meanwhile holds its ZeroMQ socket until the context ends, and inproc is
    /// not connected anew when the publisher goes: ZeroMQ tells nobody.
    ///
    /// # Errors
    ///
    /// [`Error::Endpoint`] when it cannot be bound, or cannot exist. A publisher that is not there
    /// is no error.
    pub(crate) fn open(
        context: &zmq::Context,
        endpoint: &Endpoint,
        config: &SourceConfig,
    ) -> Result<Self, Error> {
        match endpoint.transport() {
            Transport::Udp(address) => {
                Radio::open(endpoint, address, config).map(|radio| Self::Radio(Box::new(radio)))
            }
            _ => ZeroMq::open(context, endpoint, config).map(|it| Self::ZeroMq(Box::new(it))),
        }
    }

    /// Where it is bound, with the port that `*` or 0 came to; the endpoint as typed where it is
    /// connected.
    pub(crate) fn endpoint(&self) -> &str {
        with!(self, it => it.endpoint())
    }

    /// Readable when there may be messages, unless it has ended. Edge-triggered, unless it is a plain socket.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::ZeroMq(it) => Some(it.fd()),
            Self::Radio(it) => Some(it.fd()),
            Self::Ended(_) => None,
        }
    }

    /// Readable when there may be news about connections, where there are any. Edge-triggered.
    pub(crate) fn monitor_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::ZeroMq(it) => Some(it.monitor_fd()),
            Self::Radio(_) | Self::Ended(_) => None,
        }
    }

    /// [`Self::fd`] was readable: there may be messages, and it will not say so again.
    pub(crate) fn note_ready(&mut self) {
        with!(self, it => it.note_ready());
    }

    /// True while there may be messages that [`Self::fd`] will not signal.
    pub(crate) fn needs_drain(&self) -> bool {
        with!(self, it => it.needs_drain())
    }

    /// What has happened so far.
    pub(crate) fn counts(&self) -> &SourceCounts {
        with!(self, it => it.counts())
    }

    /// Receives messages until none is left or `budget` is used up, and hands each on to `on_message`, which says whether
    /// to go on.
    pub(crate) fn drain(
        &mut self,
        budget: Budget,
        on_message: &mut dyn FnMut(Arrival<'_>) -> bool,
    ) -> Drained {
        with!(self, it => it.drain(budget, on_message))
    }

    /// Closes it, and keeps what it has counted.
    pub(crate) fn end(&mut self) {
        *self = Self::Ended(Box::new(Ended::new(self.endpoint(), self.counts())));
    }

    /// Asks publishers for what starts with `prefix`, which must not be asked for already. It takes a while until they
    /// know.
    pub(crate) fn subscribe(&mut self, prefix: &[u8]) {
        with!(self, it => it.subscribe(prefix));
    }

    /// Does not ask for `prefix` any more, which must be asked for.
    pub(crate) fn unsubscribe(&mut self, prefix: &[u8]) {
        with!(self, it => it.unsubscribe(prefix));
    }

    /// Reads what libzmq says about connections.
    pub(crate) fn handle_monitor(&mut self, now: Instant) {
        if let Self::ZeroMq(it) = self {
            it.handle_monitor(now);
        }
    }

    /// When [`Self::handle_timeout`] is to be called; in the past where at once.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        with!(self, it => it.next_deadline())
    }

    /// Does what is due at `now`: connects a dead endpoint anew, reads the rest of the monitor,
    /// reports to the log.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        with!(self, it => it.handle_timeout(now));
    }
}
