//! Reads what libzmq says about the connections of one socket. Knows not what follows from it.

use std::ffi::CString;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use super::ffi::{Errno, Socket};

/// Something that happened to a connection of the monitored socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A connection with this descriptor was established or accepted; its ZeroMQ handshake follows.
    Up(RawFd),
    /// A connection ended.
    Down,
    /// libzmq is connecting, or will after a pause: the endpoint is alive.
    Trying,
    /// There will be no connection: this end or the other refused it in the handshake.
    Refused(Refusal),
}

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The peer is not ZeroMQ, or of a socket type that does not fit.
    Protocol,
    /// The peer has another security mechanism: NULL, PLAIN or CURVE.
    Mechanism,
    /// What came is not encrypted with the keys that are known here.
    Key,
    /// The peer does not let in the key, or the user and password, of this end.
    Denied,
    /// The peer ended the connection without a word: the answer of a CURVE server to a wrong server key.
    HungUp,
}

impl Refusal {
    /// Every one, in the order of declaration: `ALL[refusal as usize] == refusal`.
    pub(super) const ALL: [Self; 5] =
        [Self::Protocol, Self::Mechanism, Self::Key, Self::Denied, Self::HungUp];
}

/// How many events wait in libzmq before its I/O thread waits for the reader. It would wait while
/// it holds a lock that stopping the monitor takes, so the limit is one that only a stalled process
/// reaches: about 15 MB.
const EVENTS_WAITING_MAX: i32 = 100_000;

/// The events that [`Event`] is made of. Not ACCEPT_FAILED: it repeats at full speed while
/// descriptors are short.
const EVENTS: u32 = zmq_sys::ZMQ_EVENT_CONNECTED
    | zmq_sys::ZMQ_EVENT_ACCEPTED
    | zmq_sys::ZMQ_EVENT_DISCONNECTED
    | zmq_sys::ZMQ_EVENT_CONNECT_DELAYED
    | zmq_sys::ZMQ_EVENT_CONNECT_RETRIED
    | zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;

/// The receiving end of a socket's monitor.
pub(super) struct Monitor {
    pair: Socket,
    frame: zmq::Message,
}

impl Monitor {
    /// Starts to monitor `socket`. Must come before the socket binds or connects: libzmq blocks on
    /// an event that nobody is there to take.
    pub(super) fn start(context: &zmq::Context, socket: &mut Socket) -> Result<Self, Errno> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = CString::new(format!("inproc://zmq2ws-monitor-{number}"))
            .expect("the name contains no NUL");
        let mut pair = Socket::new(context, zmq::PAIR)?;
        pair.zmq().set_rcvhwm(EVENTS_WAITING_MAX)?;
        socket.start_monitor(&name, EVENTS as u16)?;
        pair.connect(&name)?;
        Ok(Self { pair, frame: zmq::Message::new() })
    }

    /// Readable when there may be events. Edge-triggered: read until `None`.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.pair.fd()
    }

    /// The next event; `None` when none is waiting.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        loop {
            self.receive()?;
            // The first frame is a u16 event number and a u32 value, the second the address. Both
            // come at once.
            let number = self.frame.first_chunk().copied().map(u16::from_ne_bytes);
            let value = self.frame.last_chunk().copied().map_or(0, u32::from_ne_bytes);
            while self.frame.get_more() {
                self.receive()?;
            }
            if let Some(event) = number.and_then(|number| event(number, value)) {
                return Some(event);
            }
        }
    }

    /// Receives one frame; `None` when there is none, also because the context is being terminated.
    fn receive(&mut self) -> Option<()> {
        loop {
            match self.pair.zmq().recv(&mut self.frame, zmq::DONTWAIT) {
                Ok(()) => return Some(()),
                Err(zmq::Error::EINTR) => {}
                Err(_) => return None,
            }
        }
    }
}

fn event(number: u16, value: u32) -> Option<Event> {
    match u32::from(number) {
        zmq_sys::ZMQ_EVENT_CONNECTED | zmq_sys::ZMQ_EVENT_ACCEPTED => {
            Some(Event::Up(value.cast_signed()))
        }
        zmq_sys::ZMQ_EVENT_DISCONNECTED => Some(Event::Down),
        zmq_sys::ZMQ_EVENT_CONNECT_DELAYED | zmq_sys::ZMQ_EVENT_CONNECT_RETRIED => {
            Some(Event::Trying)
        }
        zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL => Some(Event::Refused(match value {
            zmq_sys::ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH => Refusal::Mechanism,
            zmq_sys::ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC => Refusal::Key,
            _ => Refusal::Protocol,
        })),
        zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_AUTH => Some(Event::Refused(Refusal::Denied)),
        zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL => Some(Event::Refused(Refusal::HungUp)),
        _ => None,
    }
}
