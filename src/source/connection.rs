//! The TCP connections of libzmq, found by the descriptors that its monitor names: asks the kernel to probe the peers'
//! hosts, and ends handshakes that stall. Knows no messages.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::net::{Shutdown, getpeername, getsockname, ipproto, shutdown, sockopt};

use super::endpoint::Attach;
use super::ffi;

/// Probes without an answer after which a host counts as dead.
const PROBES: u32 = 3;

/// Handshakes that are watched at once; of more, the oldest are left alone.
const HANDSHAKES_MAX: usize = 10_000;

/// Bytes of a ZMTP 3 greeting, and of the shortest READY command that a publisher answers with.
const GREETING_BYTES: u64 = 64;
const READY_BYTES_MIN: u64 = 27;

/// A connection, held for a moment by a duplicate of its descriptor: libzmq may close its own at any time, and the
/// system gives the number to another file.
pub(super) struct Connection {
    fd: OwnedFd,
}

impl Connection {
    /// The connection at `fd`. `None` where `fd` is closed or is not a TCP connection with the endpoint's `port`.
    pub(super) fn find(fd: RawFd, attach: Attach, port: u16) -> Option<Self> {
        let fd = ffi::duplicate(fd)?;
        if sockopt::socket_protocol(&fd).ok()? != Some(ipproto::TCP) {
            return None;
        }
        let address = match attach {
            Attach::Bind => getsockname(&fd).ok()?,
            Attach::Connect => getpeername(&fd).ok()??,
        };
        let address = SocketAddr::try_from(address).ok()?;
        (address.port() == port).then_some(Self { fd })
    }

    #[cfg(test)]
    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Lets the kernel end the connection after three probes of the peer's host, one each `interval`, remain without an
    /// answer. The same time ends a connection that the host does not acknowledge bytes on. Zero changes nothing.
    ///
    /// The bundled libzmq ignores its own options for this.
    pub(super) fn probe_peer(&self, interval: Duration) {
        if interval.is_zero() {
            return;
        }
        // The kernel takes whole seconds for probes.
        let seconds = Duration::from_secs(interval.as_millis().div_ceil(1000) as u64);
        let silence_ms = interval.as_millis().saturating_mul(PROBES.into());
        let silence_ms = u32::try_from(silence_ms).unwrap_or(u32::MAX);
        let outcome = sockopt::set_tcp_keepidle(&self.fd, seconds)
            .and_then(|()| sockopt::set_tcp_keepintvl(&self.fd, seconds))
            .and_then(|()| sockopt::set_tcp_keepcnt(&self.fd, PROBES))
            .and_then(|()| sockopt::set_tcp_user_timeout(&self.fd, silence_ms))
            .and_then(|()| sockopt::set_socket_keepalive(&self.fd, true));
        if let Err(error) = outcome {
            log::debug!("a connection to a publisher is not probed: {error}");
        }
    }
}

/// Connections whose handshakes are to be finished within a time.
///
/// libzmq 4.3.4 has a timer for that, which also ends connections of ZMTP 1 and 2: their handshake never counts as
/// finished there.
pub(super) struct Handshakes {
    timeout: Duration,
    /// The earliest first.
    watched: VecDeque<Watched>,
}

/// A connection, whose descriptor may belong to another one when its time comes: the cookie tells.
struct Watched {
    until: Instant,
    fd: RawFd,
    cookie: u64,
}

impl Handshakes {
    pub(super) fn with_timeout(timeout: Duration) -> Self {
        Self { timeout, watched: VecDeque::new() }
    }

    /// `connection` at `fd` begins its handshake.
    pub(super) fn watch(&mut self, now: Instant, fd: RawFd, connection: &Connection) {
        let Ok(cookie) = sockopt::socket_cookie(&connection.fd) else { return };
        if self.watched.len() == HANDSHAKES_MAX {
            self.watched.pop_front();
        }
        self.watched.push_back(Watched { until: now + self.timeout, fd, cookie });
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.watched.front().map(|watched| watched.until)
    }

    /// Ends the connections, found by `find`, whose handshake has stalled at `now`. libzmq then reports their end, and
    /// connects again where it had connected.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        find: impl Fn(RawFd) -> Option<Connection>,
    ) {
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            let Some(Watched { fd, cookie, .. }) = self.watched.pop_front() else { return };
            let Some(Connection { fd }) = find(fd) else { continue };
            let is_same = sockopt::socket_cookie(&fd) == Ok(cookie);
            if is_same && ffi::tcp_traffic(&fd).is_some_and(is_stalled) {
                // Fails where the connection has ended by itself.
                let _ = shutdown(&fd, Shutdown::Both);
            }
        }
    }
}

/// Whether a handshake without security has stopped half-way, from the bytes that this end has sent and received.
///
/// libzmq reports the end of a ZMTP 3 handshake without its connection, and that of ZMTP 1 and 2 not at all. But each step
/// of the peer makes libzmq send a fixed number of bytes. With ZMTP 1 it sends 10 bytes and subscriptions, with ZMTP 2
/// at least 14. It sends 11 or 12 to a half signature, 64 to a half greeting, and READY, 27 or 28 more, to a whole one.
fn is_stalled((sent, received): (u64, u64)) -> bool {
    match received {
        0 => true,
        _ if received < GREETING_BYTES => matches!(sent, 11 | 12 | GREETING_BYTES),
        _ => {
            let is_ready_sent = (READY_BYTES_MIN..=READY_BYTES_MIN + 1)
                .contains(&sent.saturating_sub(GREETING_BYTES));
            is_ready_sent && received < GREETING_BYTES + READY_BYTES_MIN
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_stalls_at_each_of_its_steps() {
        for stalled in [(10, 0), (11, 10), (12, 11), (64, 20), (64, 63), (91, 64), (92, 80)] {
            assert!(is_stalled(stalled), "{stalled:?}");
        }
        // ZMTP 1 with PULL and SUB, ZMTP 2 likewise, ZMTP 3 likewise.
        for finished in [(10, 2), (13, 2), (14, 14), (17, 14), (92, 92), (95, 91), (17, 9_000)] {
            assert!(!is_stalled(finished), "{finished:?}");
        }
    }
}
