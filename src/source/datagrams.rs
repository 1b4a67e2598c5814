//! A UDP socket that knows what the kernel dropped, through raw calls: no crate has them. Knows not what datagrams hold.

#![allow(unsafe_code)] // recvmsg with its control messages, and two options of Linux

use std::ffi::c_int;
use std::io;
use std::mem::{offset_of, size_of};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use socket2::Socket;

/// No UDP datagram is larger.
pub(super) const DATAGRAM_BYTES_MAX: usize = 1 << 16;

/// Numbers that SO_MEMINFO gives, and which of them counts drops (linux/sock_diag.h).
const MEMINFO_VARS: usize = 9;
const MEMINFO_DROPS: usize = 8;

/// Room for one control message with a number of 4 bytes, and more than that.
const CONTROL_BYTES: usize = 64;

/// Control messages begin at addresses like that of their header.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// What was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Datagram {
    pub(super) len: usize,
    /// Datagrams that the kernel dropped from when the socket was opened until this one arrived; it wraps around.
    pub(super) dropped_before: Option<u32>,
}

/// A socket that never blocks.
pub(super) struct Datagrams {
    socket: Socket,
}

impl Datagrams {
    /// Takes a socket that is bound.
    pub(super) fn new(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let on: c_int = 1;
        // SAFETY: the descriptor is open while `socket` lives; the kernel copies as many bytes as `on` has.
        let outcome = unsafe {
            let value = ptr::from_ref(&on).cast();
            let len = size_of::<c_int>() as libc::socklen_t;
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, value, len)
        };
        if outcome == 0 { Ok(Self { socket }) } else { Err(io::Error::last_os_error()) }
    }

    /// The socket for options.
    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Where it is bound.
    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?;
        address.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The next datagram; `None` where none waits.
    pub(super) fn receive(
        &self,
        buffer: &mut [u8; DATAGRAM_BYTES_MAX],
    ) -> io::Result<Option<Datagram>> {
        let mut control = Control([0; CONTROL_BYTES]);
        let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: a msghdr is numbers and pointers, for which all zeros is a value.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut slice;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_BYTES;
        loop {
            // SAFETY: the descriptor is open while `self` lives; `buffer`, `slice` and `control` outlive the call, and the
            // header says how long they are.
            let received = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, 0) };
            if let Ok(len) = usize::try_from(received) {
                let control = &control.0[..header.msg_controllen.min(CONTROL_BYTES)];
                return Ok(Some(Datagram { len, dropped_before: drop_count(control) }));
            }
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                error => return Err(error),
            }
        }
    }

    /// Datagrams that the kernel dropped since the socket was opened; it wraps around. `None` where the system does not say.
    pub(super) fn dropped(&self) -> Option<u32> {
        let mut numbers = [0_u32; MEMINFO_VARS];
        let mut len = size_of_val(&numbers) as libc::socklen_t;
        // SAFETY: the descriptor is open while `self` lives; the kernel writes at most `len` bytes to `numbers`.
        let outcome = unsafe {
            let value = numbers.as_mut_ptr().cast();
            let fd = self.socket.as_raw_fd();
            libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, value, &raw mut len)
        };
        let is_told = outcome == 0 && len as usize == size_of_val(&numbers);
        is_told.then_some(numbers[MEMINFO_DROPS])
    }
}

/// The number in the first of `control`'s messages, which is the only one that was asked for.
fn drop_count(control: &[u8]) -> Option<u32> {
    let int_at = |at: usize| Some(c_int::from_ne_bytes(*control.get(at..)?.first_chunk()?));
    let is_count = int_at(offset_of!(libc::cmsghdr, cmsg_level))? == libc::SOL_SOCKET
        && int_at(offset_of!(libc::cmsghdr, cmsg_type))? == libc::SO_RXQ_OVFL;
    // CMSG_DATA: right behind the header, whose size is a multiple of its alignment.
    let number = control.get(size_of::<libc::cmsghdr>()..)?.first_chunk()?;
    is_count.then(|| u32::from_ne_bytes(*number))
}
