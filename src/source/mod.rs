//! Owns the ZeroMQ sockets: opens endpoints, receives whole messages, and keeps connections alive.
//! Knows neither topics nor clients.
//!
//! Each endpoint has a socket of its own, so that its monitor's events are unambiguous.
//!
//! # The calling rule
//!
//! Both descriptors of a source are **edge-triggered, and they lie**: they do not signal again for
//! what was already there, and they may signal when nothing is there. So, for each source:
//!
//! 1. While [`Source::needs_drain`] is true, do not wait: call [`Source::drain`] in this turn or the
//!    next. It is true after [`Source::open`] (a socket never drained may never signal), after a
//!    drain that was cut short, and after any other call that let libzmq process commands, since
//!    that may have swallowed the signal.
//! 2. When [`Source::fd`] is readable, call [`Source::drain`].
//! 3. When [`Source::monitor_fd`] is readable, call [`Source::handle_monitor`].
//! 4. When [`Source::next_deadline`] has passed, call [`Source::handle_timeout`]. The deadline may
//!    change with every call above, and may have passed from the start.

mod endpoint;
mod ffi;
mod incoming;
mod ipc_file;
mod journal;
mod link;
mod monitor;
mod open;
mod security;
#[cfg(test)]
mod tests;

use std::os::fd::BorrowedFd;
use std::str::FromStr;
use std::time::{Duration, Instant};

use self::endpoint::Transport;
pub use self::endpoint::{Attach, Endpoint};
use self::ffi::Socket;
use self::incoming::{Incoming, Received};
use self::journal::Journal;
use self::link::Link;
use self::monitor::{Event, Monitor};
pub use self::security::Security;
pub(crate) use self::security::{PublicKey, Secret, SecretKey, has_curve, needs_system_libzmq};
use crate::error::DropReason;
use crate::message::Part;

/// The ZeroMQ socket type of the sources (`--socket`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SocketKind {
    /// Receives what it subscribed to, from PUB and XPUB sockets.
    #[default]
    Sub,
    /// Receives its share of what PUSH sockets distribute.
    Pull,
}

impl FromStr for SocketKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sub" => Ok(Self::Sub),
            "pull" => Ok(Self::Pull),
            _ => Err("expected 'sub' or 'pull'".into()),
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
    /// How often a publisher is asked for a sign of life; after three without one it is
    /// disconnected. Zero turns it off.
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
}

/// What a source has seen. Everything but `connections` and `subscriptions` only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SourceCounts {
    /// Messages handed on, and their bytes.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Messages dropped, by [`DropReason`].
    pub(crate) dropped: [u64; DropReason::ALL.len()],
    /// Connections open now. ZeroMQ reports none for inproc and multicast.
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

/// One endpoint, bound or connected. See the [calling rule](self).
pub(crate) struct Source {
    socket: Socket,
    monitor: Monitor,
    endpoint: Endpoint,
    /// What is really bound, or the endpoint as typed.
    address: String,
    incoming: Incoming,
    /// Subscriptions and their ends since there was news of a connection: without one they wait in libzmq.
    unsent_changes: u64,
    link: Link,
    journal: Journal,
    counts: SourceCounts,
    needs_drain: bool,
    /// Set to a time that has passed while the monitor may hold events that its descriptor will not
    /// signal: at first, and when reading it was cut short.
    monitor_unread_since: Option<Instant>,
}

/// Monitor events read in one turn. One costs 0.1 µs, so a flood of connections holds up the clients
/// for 0.1 ms.
const MONITOR_EVENTS_PER_TURN: usize = 1000;

/// Changes to the subscription that may wait for a publisher that is not there, beside one for each subscription: about
/// 1 MB, and rarely enough reached.
const UNSENT_CHANGES_MAX: u64 = 10_000;

impl Source {
    /// Where it is bound, with the port that `*` or 0 came to; the endpoint as typed where it is
    /// connected.
    pub(crate) fn endpoint(&self) -> &str {
        &self.address
    }

    /// Readable when there may be messages. Edge-triggered.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }

    /// Readable when there may be news about connections. Edge-triggered.
    pub(crate) fn monitor_fd(&self) -> BorrowedFd<'_> {
        self.monitor.fd()
    }

    /// [`Self::fd`] was readable: there may be messages, and it will not say so again.
    pub(crate) fn note_ready(&mut self) {
        self.needs_drain = true;
    }

    /// True while there may be messages that [`Self::fd`] will not signal.
    pub(crate) fn needs_drain(&self) -> bool {
        self.needs_drain
    }

    /// What has happened so far.
    pub(crate) fn counts(&self) -> &SourceCounts {
        &self.counts
    }

    /// Receives messages until none is left or `budget` is used up, and hands the parts of each on.
    /// There is always at least one part; the parts are gone when `on_message` returns, which says whether to go on.
    pub(crate) fn drain(
        &mut self,
        budget: Budget,
        on_message: &mut dyn FnMut(&[Part]) -> bool,
    ) -> Drained {
        let Budget { mut messages, mut bytes } = budget;
        self.needs_drain = true;
        while messages > 0 && bytes > 0 {
            let bytes_used = match self.incoming.receive(self.socket.zmq()) {
                Received::Message { bytes } => {
                    self.counts.messages += 1;
                    self.counts.bytes += bytes as u64;
                    self.link.handle_message();
                    let goes_on = on_message(self.incoming.parts());
                    self.incoming.clear();
                    if !goes_on {
                        return Drained::More;
                    }
                    bytes
                }
                Received::Dropped { reason, message_bytes, bytes } => {
                    self.counts.dropped[reason as usize] += 1;
                    self.journal.note_dropped(reason, message_bytes);
                    bytes
                }
                Received::Skipped { bytes } => bytes,
                Received::Nothing => {
                    self.needs_drain = false;
                    return Drained::Empty;
                }
                Received::Dead(error) => {
                    log::debug!("source {}: {}", self.address.escape_debug(), error.message());
                    self.needs_drain = false;
                    return Drained::Empty;
                }
            };
            messages -= 1;
            bytes = bytes.saturating_sub(bytes_used);
        }
        Drained::More
    }

    /// Asks publishers for what starts with `prefix`, which must not be asked for already. It takes a while until they
    /// know.
    pub(crate) fn subscribe(&mut self, prefix: &[u8]) {
        if self.set_subscribed(prefix, true) {
            self.counts.subscriptions += 1;
        }
    }

    /// Does not ask for `prefix` any more, which must be asked for.
    pub(crate) fn unsubscribe(&mut self, prefix: &[u8]) {
        if self.set_subscribed(prefix, false) {
            self.counts.subscriptions -= 1;
        }
    }

    fn set_subscribed(&mut self, prefix: &[u8], is_wanted: bool) -> bool {
        // Fails only when the context is being terminated.
        let outcome = self.socket.set_subscribed(prefix, is_wanted);
        if let Err(errno) = outcome {
            log::debug!("source {}: cannot subscribe: {errno}", self.address.escape_debug());
            return false;
        }
        self.needs_drain = true;
        self.unsent_changes += 1;
        self.forget_unsent_changes();
        true
    }

    /// While an endpoint is down, every change waits in libzmq for its connection, without a limit. A new one begins with
    /// what is asked for now instead.
    fn forget_unsent_changes(&mut self) {
        let is_many = self.unsent_changes > UNSENT_CHANGES_MAX + self.counts.subscriptions;
        // Of other transports ZeroMQ does not tell whether they are down.
        let is_told = matches!(self.endpoint.transport(), Transport::Tcp(_) | Transport::Ipc)
            && self.endpoint.attach() == Attach::Connect;
        let is_down = is_told && self.link.open() == 0 && !self.incoming.is_partial();
        if is_many && is_down && self.connect_anew() {
            self.unsent_changes = 0;
        }
    }

    /// Reads what libzmq says about connections.
    pub(crate) fn handle_monitor(&mut self, now: Instant) {
        self.monitor_unread_since = Some(now);
        for _ in 0..MONITOR_EVENTS_PER_TURN {
            let Some(event) = self.monitor.next_event() else {
                self.monitor_unread_since = None;
                break;
            };
            self.link.handle_event(now, event);
            match event {
                Event::Up => self.unsent_changes = 0,
                Event::Trying => {}
                Event::Down => {
                    self.unsent_changes = 0;
                    self.counts.disconnects += 1;
                    self.journal.note_disconnect();
                }
                Event::Refused(why) => {
                    self.counts.refused += 1;
                    self.journal.note_refused(why);
                }
            }
            self.counts.connections = self.link.open();
            self.journal.note_open(self.counts.connections);
        }
        self.journal.handle_timeout(now, &self.address);
    }

    /// When [`Self::handle_timeout`] is to be called; in the past where at once.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.monitor_unread_since, self.link.next_deadline(), self.journal.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due at `now`: connects a dead endpoint anew, reads the rest of the monitor,
    /// reports to the log.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        // A sign of life that waits unread is still one.
        self.handle_monitor(now);
        if self.monitor_unread_since.is_none() && !self.incoming.is_partial() {
            self.revive_when_due(now);
        }
        self.journal.handle_timeout(now, &self.address);
    }

    /// Disconnects and connects an endpoint that libzmq has given up.
    ///
    /// Never a second connection: the old session is dead; were it alive, disconnecting would end
    /// it, and what it had received would not be read any more.
    fn revive_when_due(&mut self, now: Instant) {
        if !self.link.handle_timeout(now) {
            return;
        }
        self.counts.revived += 1;
        self.counts.connections = self.link.open();
        self.journal.note_revived();
        self.journal.note_open(self.counts.connections);
        // Whatever fails here is tried again after the next, longer pause, which the link has set.
        self.connect_anew();
    }

    fn connect_anew(&mut self) -> bool {
        self.needs_drain = true;
        let connected = self.socket.disconnect_and_connect(&open::c_string(&self.endpoint));
        if let Err(errno) = connected {
            log::debug!("source {}: cannot connect anew: {errno}", self.address.escape_debug());
        }
        connected.is_ok()
    }
}

impl Drop for Source {
    /// libzmq's I/O thread blocks on an event that nobody takes, so the monitor stops before its
    /// reader goes.
    fn drop(&mut self) {
        while self.monitor.next_event().is_some() {}
        // Fails only when the context is being terminated, which stops it too.
        let _ = self.socket.stop_monitor();
    }
}
