//! The libzmq calls that the `zmq` crate answers with a panic or does not have. Knows no policy.
//!
//! The crate turns an errno into its own closed enum and panics on any other; what users type can cause
//! EPERM, ENOTDIR, ELOOP or EAFNOSUPPORT.

#![allow(unsafe_code)] // C functions

use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr;

/// Keeps OpenPGM, which `epgm://` is in libzmq, from printing warnings where a program prints what it got.
///
/// To be called before there is a second thread.
pub fn silence_openpgm() {
    const LEVEL: &str = "PGM_MIN_LOG_LEVEL";
    if std::env::var_os(LEVEL).is_none() {
        // SAFETY: nothing reads the environment meanwhile, as no other thread is there.
        unsafe { std::env::set_var(LEVEL, "ERROR") };
    }
}

/// Binds, or says why not.
///
/// # Errors
///
/// libzmq's own words.
pub fn bind(socket: &mut zmq::Socket, endpoint: &str) -> Result<(), String> {
    // SAFETY: the socket is open while it is borrowed; libzmq copies the text, which ends with NUL.
    call_with(socket, endpoint, |socket, text| unsafe { zmq_sys::zmq_bind(socket, text) })
}

/// Connects, or says why not.
///
/// # Errors
///
/// libzmq's own words.
pub fn connect(socket: &mut zmq::Socket, endpoint: &str) -> Result<(), String> {
    // SAFETY: as in `bind`.
    call_with(socket, endpoint, |socket, text| unsafe { zmq_sys::zmq_connect(socket, text) })
}

/// ZMQ_XPUB_NODROP: with it, sending fails with EAGAIN while the queue of some subscriber that wants
/// the message is full; without it, that subscriber misses the message.
///
/// # Errors
///
/// The socket is no XPUB socket.
pub fn set_nodrop(socket: &mut zmq::Socket, is_nodrop: bool) -> Result<(), String> {
    set_option(socket, zmq_sys::ZMQ_XPUB_NODROP, is_nodrop)
}

fn set_option(socket: &mut zmq::Socket, option: u32, value: bool) -> Result<(), String> {
    let value = c_int::from(value);
    let bytes: *const c_int = ptr::from_ref(&value);
    // SAFETY: as in `bind`; libzmq copies as many bytes as a C int has.
    let result = unsafe {
        let socket = socket.as_mut_ptr();
        zmq_sys::zmq_setsockopt(socket, option as c_int, bytes.cast(), size_of::<c_int>())
    };
    if result == 0 { Ok(()) } else { Err(reason()) }
}

fn call_with(
    socket: &mut zmq::Socket,
    endpoint: &str,
    function: impl Fn(*mut c_void, *const std::ffi::c_char) -> c_int,
) -> Result<(), String> {
    let text = CString::new(endpoint).map_err(|_| "contains a NUL")?;
    let result = function(socket.as_mut_ptr(), text.as_ptr());
    if result == 0 { Ok(()) } else { Err(reason()) }
}

/// Why this thread's last call failed.
fn reason() -> String {
    // SAFETY: zmq_strerror takes any number and returns a NUL-terminated string that is copied
    // before this thread's next call.
    let text = unsafe { CStr::from_ptr(zmq_sys::zmq_strerror(zmq_sys::zmq_errno())) };
    text.to_string_lossy().into_owned()
}
