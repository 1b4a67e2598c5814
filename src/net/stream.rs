//! One accepted socket, TCP or Unix: reads and writes that never block and never raise a signal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{RecvFlags, SendFlags, Shutdown};

/// What a connection needs of its socket; tests put a simulated one in its place.
pub(crate) trait ByteStream {
    /// Reads what is there, without waiting: `WouldBlock` when nothing is, 0 at the end of the stream.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes as much as there is room for, without waiting: `WouldBlock` when there is none.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Says that nothing more will be written.
    fn shutdown_write(&mut self) -> io::Result<()>;
}

/// A connected, non-blocking socket.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: OwnedFd,
}

impl Stream {
    /// Takes a connected socket that does not block.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl ByteStream for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(&self.socket, buffer, RecvFlags::empty())?.0)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // NOSIGNAL: a host program may not ignore SIGPIPE as Rust's own start-up code does.
        Ok(rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL)?)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.socket, Shutdown::Write)?)
    }
}
