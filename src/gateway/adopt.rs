//! A connection as the host hands it over. Knows nothing of what is spoken on it.

use std::fmt;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use crate::net::{Ending, HostStream};

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
/// handle.adopt(ClientStream::wrapped(host.try_clone()?, host), [])?;
/// # drop(client);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ClientStream(pub(super) HostStream);

impl ClientStream {
    /// A stream that is more than its socket, such as TLS that was accepted with any library: `read` and `write` are called
    /// on the loop's thread and must not block, but fail with [`WouldBlock`](std::io::ErrorKind::WouldBlock). `socket` is the
    /// one below it, by another descriptor, from `try_clone`; it is made non-blocking.
    ///
    /// What it has read ahead is read, although the descriptor says nothing. What it holds back is flushed. Where it takes
    /// nothing, it is offered the same bytes again, as TLS libraries want it. A stream that panics is a connection that
    /// fails; it may when it is dropped, too, which is when the socket's sending side has been shut down.
    pub fn wrapped(socket: impl Into<OwnedFd>, stream: impl Read + Write + Send + 'static) -> Self {
        Self::wrapped_with_end(socket, stream, |_| {})
    }

    /// As [`Self::wrapped`], for a stream that has a word for its end, such as `close_notify` of TLS: `end` is called when
    /// nothing more will be written, and what it leaves in the stream is flushed before the socket's sending side is shut
    /// down. Where the connection has failed it may not be called.
    ///
    /// # Examples
    ///
    /// With rustls, after its handshake:
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use rustls::{ServerConnection, StreamOwned};
    /// use zmq2ws::{AdoptError, ClientStream, Handle};
    ///
    /// fn hand_over(
    ///     tls: StreamOwned<ServerConnection, TcpStream>,
    ///     request: Vec<u8>,
    ///     gateway: &Handle,
    /// ) -> Result<(), AdoptError> {
    ///     let socket = tls.sock.try_clone().map_err(AdoptError::Stream)?;
    ///     let stream = ClientStream::wrapped_with_end(socket, tls, |tls| tls.conn.send_close_notify());
    ///     gateway.adopt(stream, request)
    /// }
    /// ```
    pub fn wrapped_with_end<S: Read + Write + Send + 'static>(
        socket: impl Into<OwnedFd>,
        stream: S,
        end: impl FnOnce(&mut S) + Send + 'static,
    ) -> Self {
        Self(HostStream::Duplex(socket.into(), Box::new(Ending::new(stream, end))))
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
            HostStream::Duplex(socket, _) => {
                f.debug_tuple("ClientStream").field(socket).finish_non_exhaustive()
            }
        }
    }
}
