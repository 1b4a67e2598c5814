//! One accepted socket, TCP or Unix: reads and writes that never block and never raise a signal.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketType, sockopt};

use super::tls::Tls;
use super::wrapped::{Duplex, Wrapped};

/// What a connection needs of its socket; tests put a simulated one in its place.
pub(crate) trait ByteStream {
    /// Reads what is there, without waiting: `WouldBlock` when nothing is, 0 at the end of the stream.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes as much as there is room for, without waiting: `WouldBlock` when there is none.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Whether something that was written waits for [`Self::flush`].
    fn needs_flush(&self) -> bool {
        false
    }

    /// Has everything that was written leave: `WouldBlock` while something waits for room.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether there may be something to read that the descriptor does not tell of.
    fn may_hold_input(&self) -> bool {
        false
    }

    /// Whether reading may be a step of a handshake, which takes long.
    fn is_greeting(&self) -> bool {
        false
    }

    /// Bytes that it keeps for itself: what came and is not whole, and what was written and has not left.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Says goodbye as far as that can be done at once, where the stream has more to say than that it ends.
    fn say_goodbye(&mut self) {}

    /// Says that nothing more will be written: `WouldBlock` while that waits for room, and is then to be asked for again.
    fn shutdown_write(&mut self) -> io::Result<()>;
}

/// A connected, non-blocking socket, or what we or the host put around one.
#[derive(Debug)]
pub(crate) enum Stream {
    Socket(OwnedFd),
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "nobody speaks it then"))]
    Tls(Box<Tls>),
    Wrapped(Box<Wrapped>),
}

impl Stream {
    /// Takes a connected socket that does not block.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self::Socket(socket)
    }

    /// Takes what the host accepted and makes a client's connection of it. Returns the peer's address, too.
    ///
    /// # Errors
    ///
    /// It is no connected stream socket, or the system refuses.
    pub(crate) fn adopted(
        stream: HostStream,
        user_timeout: Duration,
    ) -> io::Result<(Self, Option<IpAddr>)> {
        let socket = match &stream {
            HostStream::Socket(socket) | HostStream::Duplex(socket, _) => socket.as_fd(),
        };
        if sockopt::socket_type(socket)? != SocketType::STREAM {
            return Err(Errno::PROTOTYPE.into());
        }
        // It has one where it is connected.
        let peer = SocketAddr::try_from(rustix::net::getpeername(socket)?.ok_or(Errno::NOTCONN)?);
        rustix::io::ioctl_fionbio(socket, true)?;
        if peer.is_ok() {
            set_client_options(socket, user_timeout)?;
        }
        let ip = peer.ok().map(|address| address.ip().to_canonical());
        let stream = match stream {
            HostStream::Socket(socket) => Self::Socket(socket),
            HostStream::Duplex(socket, duplex) => {
                Self::Wrapped(Box::new(Wrapped::new(socket, duplex)))
            }
        };
        Ok((stream, ip))
    }
}

/// A connection as the host has it.
pub(crate) enum HostStream {
    Socket(OwnedFd),
    /// A descriptor of the socket below, and the stream.
    Duplex(OwnedFd, Box<dyn Duplex>),
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(socket) => socket.as_fd(),
            Self::Tls(tls) => tls.as_fd(),
            Self::Wrapped(wrapped) => wrapped.as_fd(),
        }
    }
}

impl ByteStream for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => Ok(rustix::net::recv(socket, buffer, RecvFlags::empty())?.0),
            Self::Tls(tls) => tls.read(buffer),
            Self::Wrapped(wrapped) => wrapped.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            // NOSIGNAL: a host program may not ignore SIGPIPE as Rust's own start-up code does.
            Self::Socket(socket) => Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?),
            Self::Tls(tls) => tls.write(bytes),
            Self::Wrapped(wrapped) => wrapped.write(bytes),
        }
    }

    fn needs_flush(&self) -> bool {
        match self {
            Self::Socket(_) => false,
            Self::Tls(tls) => tls.needs_flush(),
            Self::Wrapped(wrapped) => wrapped.needs_flush(),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
            Self::Wrapped(wrapped) => wrapped.flush(),
        }
    }

    fn may_hold_input(&self) -> bool {
        match self {
            Self::Socket(_) => false,
            Self::Tls(tls) => tls.may_hold_input(),
            Self::Wrapped(wrapped) => wrapped.may_hold_input(),
        }
    }

    fn is_greeting(&self) -> bool {
        match self {
            Self::Tls(tls) => tls.is_greeting(),
            Self::Socket(_) | Self::Wrapped(_) => false,
        }
    }

    fn held_bytes(&self) -> usize {
        match self {
            Self::Socket(_) => 0,
            Self::Tls(tls) => tls.held_bytes(),
            Self::Wrapped(wrapped) => wrapped.held_bytes(),
        }
    }

    fn say_goodbye(&mut self) {
        match self {
            Self::Socket(_) => {}
            Self::Tls(tls) => tls.say_goodbye(),
            Self::Wrapped(wrapped) => wrapped.say_goodbye(),
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(socket) => Ok(rustix::net::shutdown(socket, Shutdown::Write)?),
            Self::Tls(tls) => tls.shutdown_write(),
            Self::Wrapped(wrapped) => wrapped.shutdown_write(),
        }
    }
}

/// What a client's socket is to be like; accepted ones inherit it from their listener, so that accepting costs one call.
pub(super) fn set_client_options(socket: impl AsFd, user_timeout: Duration) -> Result<(), Errno> {
    let socket = socket.as_fd();
    // A turn's bytes go out as they are: there is nothing to wait for.
    sockopt::set_tcp_nodelay(socket, true)?;
    let millis = u32::try_from(user_timeout.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(socket, millis)
}
