//! A connection between a simulated client and the gateway: two queues of bytes with the manners of TCP.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::rc::Rc;

use crate::net::ByteStream;
use crate::test_random::Random;

/// Both ends' view of one connection.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) to_server: VecDeque<u8>,
    pub(super) to_client: VecDeque<u8>,
    /// What fits between the gateway and the client.
    pub(super) room_bytes: usize,
    /// The client ended its side.
    pub(super) client_ended: bool,
    /// The gateway ended its side.
    pub(super) server_ended: bool,
    pub(super) is_reset: bool,
    /// The gateway has dropped its end.
    pub(super) is_dropped: bool,
    /// How many messages were published when the gateway took the client in: what comes later is owed.
    pub(super) upgraded_at: Option<usize>,
    random: Random,
}

pub(super) type SharedPipe = Rc<RefCell<Pipe>>;

impl Pipe {
    pub(super) fn new(room_bytes: usize, seed: u64) -> SharedPipe {
        Rc::new(RefCell::new(Self {
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            room_bytes,
            client_ended: false,
            server_ended: false,
            is_reset: false,
            is_dropped: false,
            upgraded_at: None,
            random: Random::new(seed),
        }))
    }

    pub(super) fn is_readable(&self) -> bool {
        !self.to_server.is_empty() || self.client_ended || self.is_reset
    }

    pub(super) fn is_writable(&self) -> bool {
        self.to_client.len() < self.room_bytes || self.is_reset
    }
}

/// The gateway's end.
#[derive(Debug)]
pub(super) struct SimStream(pub(super) SharedPipe);

impl ByteStream for SimStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let pipe = &mut *self.0.borrow_mut();
        if pipe.is_reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if pipe.to_server.is_empty() {
            return if pipe.client_ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let max = if pipe.random.chance(3) { 1 } else { buffer.len() };
        let len = pipe.to_server.len().min(max);
        for (slot, byte) in buffer.iter_mut().zip(pipe.to_server.drain(..len)) {
            *slot = byte;
        }
        Ok(len)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let pipe = &mut *self.0.borrow_mut();
        assert!(!pipe.server_ended, "nothing is written after the end");
        assert!(!bytes.is_empty(), "an empty write means nothing");
        if pipe.is_reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let room = pipe.room_bytes.saturating_sub(pipe.to_client.len());
        if room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        if pipe.random.chance(50) {
            return Err(ErrorKind::Interrupted.into());
        }
        let len = room.min(bytes.len());
        pipe.to_client.extend(&bytes[..len]);
        Ok(len)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let pipe = &mut *self.0.borrow_mut();
        pipe.server_ended = true;
        if pipe.is_reset { Err(ErrorKind::NotConnected.into()) } else { Ok(()) }
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let mut pipe = self.0.borrow_mut();
        pipe.server_ended = true;
        pipe.is_dropped = true;
    }
}
