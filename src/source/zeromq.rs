//! One endpoint of libzmq: receives its messages, and keeps its connection alive. Knows neither topics nor clients.

use std::os::fd::{BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use super::connection::{Connection, Handshakes};
use super::endpoint::{Attach, Endpoint, Transport};
use super::ffi::Socket;
use super::incoming::{Incoming, Received};
use super::ipc_file::IpcFile;
use super::journal::Journal;
use super::link::Link;
use super::monitor::{Event, Monitor};
use super::{Arrival, Budget, Drained, SourceCounts, open};

/// A ZeroMQ socket with one endpoint, bound or connected. See the [calling rule](super).
pub(crate) struct ZeroMq {
    pub(super) socket: Socket,
    pub(super) monitor: Monitor,
    pub(super) endpoint: Endpoint,
    /// What is really bound, or the endpoint as typed.
    pub(super) address: String,
    /// Set where a file was bound.
    pub(super) ipc_file: Option<IpcFile>,
    pub(super) heartbeat: Duration,
    /// `None` where libzmq times them.
    pub(super) handshakes: Option<Handshakes>,
    pub(super) incoming: Incoming,
    /// Subscriptions and their ends since there was news of a connection: without one they wait in libzmq.
    pub(super) unsent_changes: u64,
    pub(super) link: Link,
    pub(super) journal: Journal,
    pub(super) counts: SourceCounts,
    pub(super) needs_drain: bool,
    /// Set to a time that has passed while the monitor may hold events that its descriptor will not
    /// signal: at first, and when reading it was cut short.
    pub(super) monitor_unread_since: Option<Instant>,
}

/// Monitor events read in one turn. One costs 0.1 µs, so a flood of connections holds up the clients
/// for 0.1 ms.
const MONITOR_EVENTS_PER_TURN: usize = 1000;

/// Changes to the subscription that may wait for a publisher that is not there, beside one for each subscription: about
/// 1 MB, and rarely enough reached.
pub(super) const UNSENT_CHANGES_MAX: u64 = 10_000;

impl ZeroMq {
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

    /// See [`super::Source::drain`]. What was lost on the way, ZeroMQ tells nobody.
    pub(crate) fn drain(
        &mut self,
        budget: Budget,
        on_message: &mut dyn FnMut(Arrival<'_>) -> bool,
    ) -> Drained {
        let Budget { mut messages, mut bytes } = budget;
        self.needs_drain = true;
        while messages > 0 && bytes > 0 {
            let bytes_used = match self.incoming.receive(self.socket.zmq()) {
                Received::Message { bytes } => {
                    self.counts.messages += 1;
                    self.counts.bytes += bytes as u64;
                    self.link.handle_message();
                    let parts = self.incoming.parts();
                    let goes_on = on_message(Arrival { parts, follows_loss: false });
                    self.incoming.clear();
                    if !goes_on {
                        return Drained::More;
                    }
                    bytes
                }
                Received::Dropped { reason, message_bytes, bytes } => {
                    self.counts.dropped[reason as usize] += 1;
                    self.counts.passed_over += 1;
                    self.journal.note_dropped(reason, 1, message_bytes);
                    bytes
                }
                Received::Skipped { bytes } => {
                    self.counts.passed_over += 1;
                    bytes
                }
                Received::Nothing => {
                    self.needs_drain = false;
                    return Drained::Empty;
                }
                Received::Dead(error) => {
                    let (address, why) = (self.address.escape_debug(), error.message());
                    log::error!("source {address}: nothing comes from it any more: {why}");
                    self.needs_drain = false;
                    return Drained::Dead;
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
                Event::Up(fd) => {
                    self.unsent_changes = 0;
                    if let Some(connection) = self.connection_at(fd) {
                        connection.probe_peer(self.heartbeat);
                        if let Some(handshakes) = &mut self.handshakes {
                            handshakes.watch(now, fd, &connection);
                        }
                    }
                }
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

    /// The TCP connection with the descriptor `fd`, unless it has ended meanwhile.
    pub(super) fn connection_at(&self, fd: RawFd) -> Option<Connection> {
        let port = self.address.rsplit(':').next()?.parse().ok()?;
        Connection::find(fd, self.endpoint.attach(), port)
    }

    /// When [`Self::handle_timeout`] is to be called; in the past where at once.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let handshake = self.handshakes.as_ref().and_then(Handshakes::next_deadline);
        let link = self.link.next_deadline();
        [self.monitor_unread_since, handshake, link, self.journal.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due at `now`: connects a dead endpoint anew, reads the rest of the monitor,
    /// reports to the log.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        // A sign of life that waits unread is still one.
        self.handle_monitor(now);
        if let Some(mut handshakes) = self.handshakes.take() {
            handshakes.handle_timeout(now, |fd| self.connection_at(fd));
            self.handshakes = Some(handshakes);
        }
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

impl Drop for ZeroMq {
    /// libzmq's I/O thread blocks on an event that nobody takes, so the monitor stops before its
    /// reader goes.
    fn drop(&mut self) {
        while self.monitor.next_event().is_some() {}
        // Fails only when the context is being terminated, which stops it too.
        let _ = self.socket.stop_monitor();
    }
}
