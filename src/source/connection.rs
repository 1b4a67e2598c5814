//! One TCP connection of libzmq's, found by the descriptor that its monitor names: asks the kernel to probe the peer's
//! host. Knows no messages.

use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use rustix::net::{getpeername, getsockname, ipproto, sockopt};

use super::endpoint::Attach;
use super::ffi;

/// Probes without an answer after which a host counts as dead.
const PROBES: u32 = 3;

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
