//! One ZeroMQ socket through raw libzmq calls, for what the `zmq` crate answers with a panic. Knows
//! no policy.
//!
//! The crate turns an errno into its own closed enum and panics on any other. A user who types an
//! endpoint can cause EPERM, ENOTDIR, ELOOP or EAFNOSUPPORT, so binding, connecting, disconnecting
//! and monitoring go around it. What is left to the crate fails only with errors it knows:
//! `zmq_msg_recv` on these sockets with EAGAIN, EINTR or ETERM, options with EINVAL or ETERM.

#![allow(unsafe_code)] // C functions; a descriptor lent out for as long as its socket lives

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// What libzmq or the operating system answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Errno(pub(super) i32);

impl Errno {
    /// The operating system's kind of error; `Uncategorized` for libzmq's own.
    pub(super) fn kind(self) -> io::ErrorKind {
        io::Error::from_raw_os_error(self.0).kind()
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: zmq_strerror takes any number and returns a NUL-terminated string that stays
        // valid until this thread's next call; it is copied out before that.
        let text = unsafe { CStr::from_ptr(zmq_sys::zmq_strerror(self.0)) };
        f.write_str(&text.to_string_lossy())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({self})", self.0)
    }
}

impl From<zmq::Error> for Errno {
    fn from(error: zmq::Error) -> Self {
        Self(error.to_raw())
    }
}

unsafe extern "C" {
    // Not among the functions that zmq-sys exports; in libzmq since 4.2, with CURVE or without.
    fn zmq_curve_public(public_key: *mut c_char, secret_key: *const c_char) -> c_int;
}

/// The public key, in Z85, that belongs to the secret one, in Z85 of 32 bytes.
pub(super) fn curve_public_key(secret_key: &str) -> Result<String, Errno> {
    const KEY_CHARS: usize = 40;
    let mut secret = [0u8; KEY_CHARS + 1];
    let mut public = [0u8; KEY_CHARS + 1];
    if secret_key.len() != KEY_CHARS {
        return Err(Errno(zmq_sys::errno::EINVAL));
    }
    secret[..KEY_CHARS].copy_from_slice(secret_key.as_bytes());
    // SAFETY: `secret` is NUL-terminated, and in `public` there is room for 40 characters and a NUL, which is what libzmq
    // writes for 32 bytes; of another number it reads none.
    let status = unsafe { zmq_curve_public(public.as_mut_ptr().cast(), secret.as_ptr().cast()) };
    secret.fill(0);
    std::hint::black_box(&secret);
    if status != 0 {
        // SAFETY: reads this thread's error number.
        return Err(Errno(unsafe { zmq_sys::zmq_errno() }));
    }
    Ok(public[..KEY_CHARS].iter().copied().map(char::from).collect())
}

/// A duplicate of `fd`; `None` where no such descriptor is open.
pub(super) fn duplicate(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: fcntl takes any number.
    let duplicate = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    // SAFETY: the descriptor is new, and nothing else owns it.
    (duplicate >= 0).then(|| unsafe { OwnedFd::from_raw_fd(duplicate) })
}

/// Bytes that this end of a TCP connection has sent and received; `None` where the system does not tell.
pub(super) fn tcp_traffic(fd: &OwnedFd) -> Option<(u64, u64)> {
    // Positions in `struct tcp_info` (linux/tcp.h), in units of 8 bytes.
    const BYTES_RECEIVED: usize = 128 / 8;
    const BYTES_SENT: usize = 200 / 8;
    const BYTES_SENT_AGAIN: usize = 208 / 8;
    let mut info = [0_u64; BYTES_SENT_AGAIN + 1];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the descriptor is open while `fd` lives; the kernel writes at most `len` bytes to `info`.
    let outcome = unsafe {
        let value = info.as_mut_ptr().cast();
        libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, value, &raw mut len)
    };
    let is_told = outcome == 0 && len as usize == size_of_val(&info);
    let sent = info[BYTES_SENT].saturating_sub(info[BYTES_SENT_AGAIN]);
    is_told.then_some((sent, info[BYTES_RECEIVED]))
}

/// A ZeroMQ socket together with the descriptor that signals it.
pub(super) struct Socket {
    socket: zmq::Socket,
    /// ZMQ_FD of `socket`: open until `zmq_close`, which only dropping `socket` calls.
    fd: RawFd,
}

impl Socket {
    pub(super) fn new(context: &zmq::Context, kind: zmq::SocketType) -> Result<Self, Errno> {
        let socket = context.socket(kind)?;
        // Nothing that waits here is worth delaying the end of the process.
        socket.set_linger(0)?;
        let fd = socket.get_fd()?;
        Ok(Self { socket, fd })
    }

    /// The socket for options and for receiving.
    pub(super) fn zmq(&self) -> &zmq::Socket {
        &self.socket
    }

    /// The descriptor that signals this socket, edge-triggered.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: `fd` belongs to `self.socket` and is closed only after `self` is dropped, which
        // the borrow prevents.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }

    pub(super) fn bind(&mut self, endpoint: &CStr) -> Result<(), Errno> {
        // SAFETY: the socket is open while `self` lives; `endpoint` is NUL-terminated and copied by
        // libzmq.
        self.call(|socket| unsafe { zmq_sys::zmq_bind(socket, endpoint.as_ptr()) })
    }

    pub(super) fn connect(&mut self, endpoint: &CStr) -> Result<(), Errno> {
        // SAFETY: as in `bind`.
        self.call(|socket| unsafe { zmq_sys::zmq_connect(socket, endpoint.as_ptr()) })
    }

    /// Ends the session with `endpoint`, where there is one, and begins another.
    pub(super) fn disconnect_and_connect(&mut self, endpoint: &CStr) -> Result<(), Errno> {
        // SAFETY: as in `bind`.
        let disconnected =
            self.call(|socket| unsafe { zmq_sys::zmq_disconnect(socket, endpoint.as_ptr()) });
        match disconnected {
            // Left behind by an earlier call that could disconnect but not connect.
            Ok(()) | Err(Errno(zmq_sys::errno::ENOENT)) => self.connect(endpoint),
            Err(errno) => Err(errno),
        }
    }

    /// Asks publishers for what starts with `prefix`, or no more.
    pub(super) fn set_subscribed(&mut self, prefix: &[u8], is_wanted: bool) -> Result<(), Errno> {
        let option = if is_wanted { zmq_sys::ZMQ_SUBSCRIBE } else { zmq_sys::ZMQ_UNSUBSCRIBE };
        // SAFETY: as in `bind`; libzmq copies as many bytes as `prefix` has.
        self.call(|socket| unsafe {
            let bytes = prefix.as_ptr().cast();
            zmq_sys::zmq_setsockopt(socket, option as c_int, bytes, prefix.len())
        })
    }

    /// Sends `events` of this socket to a PAIR socket bound to `endpoint` inside libzmq.
    pub(super) fn start_monitor(&mut self, endpoint: &CStr, events: u16) -> Result<(), Errno> {
        // SAFETY: as in `bind`.
        self.call(|socket| unsafe {
            zmq_sys::zmq_socket_monitor(socket, endpoint.as_ptr(), c_int::from(events))
        })
    }

    /// Ends what `start_monitor` began.
    pub(super) fn stop_monitor(&mut self) -> Result<(), Errno> {
        // SAFETY: the socket is open while `self` lives; a null endpoint is the documented way to
        // stop.
        self.call(|socket| unsafe { zmq_sys::zmq_socket_monitor(socket, ptr::null(), 0) })
    }

    /// Calls libzmq, again where a signal interrupted it.
    fn call(&mut self, function: impl Fn(*mut c_void) -> c_int) -> Result<(), Errno> {
        let socket = self.socket.as_mut_ptr();
        loop {
            if function(socket) == 0 {
                return Ok(());
            }
            // SAFETY: reads this thread's error number.
            let errno = Errno(unsafe { zmq_sys::zmq_errno() });
            if errno.0 != zmq_sys::errno::EINTR {
                return Err(errno);
            }
        }
    }
}
