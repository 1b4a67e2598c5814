//! Has the kernel find dead hosts: TCP keepalive on the connections that libzmq opens. Knows no ZeroMQ.
//!
//! ZMTP has pings of its own, but libzmq aborts the process with them: a receiver whose queue is full does not read, so the
//! pongs stay unread, the timer ends the connection, and a late wake-up meets the next one (`Assertion failed:
//! _input_stopped`, in 4.3.4 and 4.3.5). They also cut publishers that know no pings (ZMTP 3.0 and before).

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::net::{getpeername, getsockname, ipproto, sockopt};

use super::endpoint::Attach;

/// Probes without an answer that end a connection.
const PROBES: u32 = 3;

/// How a dead host is found.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeepAlive {
    interval: Duration,
    attach: Attach,
}

impl KeepAlive {
    /// Probes a silent host each `interval` (the kernel counts in seconds, at least 1), on connections that belong to an
    /// endpoint that is bound or connected. Zero turns probes off.
    pub(super) fn every(interval: Duration, attach: Attach) -> Self {
        Self { interval, attach }
    }

    /// Sets the options of one connection of the endpoint with this `port`.
    ///
    /// libzmq may have closed the connection meanwhile, and the descriptor may be another one's: only a TCP socket with
    /// the endpoint's port is touched.
    ///
    /// # Errors
    ///
    /// The descriptor is closed, or the kernel refuses an option.
    pub(super) fn apply(self, socket: BorrowedFd<'_>, port: u16) -> io::Result<bool> {
        if self.interval.is_zero() || sockopt::socket_protocol(socket)? != Some(ipproto::TCP) {
            return Ok(false);
        }
        let address = match self.attach {
            Attach::Bind => Some(getsockname(socket)?),
            Attach::Connect => getpeername(socket)?,
        };
        let address = address.and_then(|address| SocketAddr::try_from(address).ok());
        let is_own = address.is_some_and(|address| address.port() == port);
        if !is_own {
            return Ok(false);
        }
        let interval = self.interval.max(Duration::from_secs(1));
        let until_lost = interval.saturating_mul(PROBES).as_millis();
        sockopt::set_tcp_keepidle(socket, interval)?;
        sockopt::set_tcp_keepintvl(socket, interval)?;
        sockopt::set_tcp_keepcnt(socket, PROBES)?;
        // Also for what is sent, such as subscriptions.
        sockopt::set_tcp_user_timeout(socket, u32::try_from(until_lost).unwrap_or(u32::MAX))?;
        sockopt::set_socket_keepalive(socket, true)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn only_the_endpoints_own_tcp_connections_get_the_options() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = listener.accept().unwrap().0;
        let every = |seconds, attach| KeepAlive::every(Duration::from_secs(seconds), attach);
        assert!(!every(5, Attach::Connect).apply(near.as_fd(), port ^ 1).unwrap());
        assert!(!every(5, Attach::Bind).apply(near.as_fd(), port).unwrap());
        assert!(!every(0, Attach::Connect).apply(near.as_fd(), port).unwrap());
        let [unix, _other] = <[_; 2]>::from(UnixStream::pair().unwrap());
        assert!(!every(5, Attach::Connect).apply(unix.as_fd(), port).unwrap());
        assert!(!sockopt::socket_keepalive(&near).unwrap());
        for (attach, socket) in [(Attach::Connect, &near), (Attach::Bind, &far)] {
            assert!(every(5, attach).apply(socket.as_fd(), port).unwrap());
            assert!(sockopt::socket_keepalive(socket).unwrap());
            assert_eq!(sockopt::tcp_keepidle(socket).unwrap(), Duration::from_secs(5));
            assert_eq!(sockopt::tcp_keepintvl(socket).unwrap(), Duration::from_secs(5));
            assert_eq!(sockopt::tcp_keepcnt(socket).unwrap(), 3);
            assert_eq!(sockopt::tcp_user_timeout(socket).unwrap(), 15_000);
        }
        let short = KeepAlive::every(Duration::from_millis(10), Attach::Connect);
        assert!(short.apply(near.as_fd(), port).unwrap());
        assert_eq!(sockopt::tcp_user_timeout(&near).unwrap(), 3_000);
    }
}
