//! A connection as the host hands it over. Knows nothing of what is spoken on it.

use std::fmt;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use crate::net::HostStream;

/// A connection that a host's server accepted, for [`Handle::adopt`](crate::Handle::adopt) and
/// [`Handle::adopt_websocket`](crate::Handle::adopt_websocket): made [`From`] whatever is a socket, such as
/// [`TcpStream`](std::net::TcpStream), [`UnixStream`](std::os::unix::net::UnixStream) or [`OwnedFd`], or
/// [wrapped](Self::wrapped).
///
/// # Examples
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use zmq2ws::ClientStream;
///
/// # let running = zmq2ws::Gateway::builder().spawn()?;
/// # let handle = running.handle();
/// let (host, client) = UnixStream::pair()?;
/// handle.adopt(host, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")?; // it is one as it stands
/// # drop(client);
/// let (host, client) = UnixStream::pair()?;
/// // In place of the socket itself: what a TLS library made of it.
/// handle.adopt(ClientStream::wrapped(host), [])?;
/// # drop(client);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ClientStream(pub(super) HostStream);

impl ClientStream {
    /// A stream that is more than its socket, such as TLS that was accepted with any library: `read` and `write` are called
    /// on the loop's thread and must not block, but fail with [`WouldBlock`](std::io::ErrorKind::WouldBlock). The socket
    /// below it is made non-blocking.
    ///
    /// What it has read ahead is read, although the descriptor says nothing. What it holds back is flushed. Where it takes
    /// nothing, it is offered the same bytes again, as TLS libraries want it. What it does when it is dropped is up to it: by
    /// then the socket's sending side has been shut down.
    ///
    /// It takes two descriptors, its own and one for the gateway. A stream that panics is a connection that fails; it may
    /// when it is dropped, too.
    pub fn wrapped(stream: impl Read + Write + AsFd + Send + 'static) -> Self {
        Self(HostStream::Duplex(Box::new(stream)))
    }
}

impl<S: Into<OwnedFd>> From<S> for ClientStream {
    fn from(socket: S) -> Self {
        Self(HostStream::Socket(socket.into()))
    }
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            HostStream::Socket(socket) => f.debug_tuple("ClientStream").field(socket).finish(),
            HostStream::Duplex(_) => f.debug_tuple("ClientStream").finish_non_exhaustive(),
        }
    }
}
