//! Streams in memory, and what connections over them share: for tests and benches, never a part of the program.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::{Admission, Budget, Context, Limits, Pages, Site};
use crate::access::OriginPolicy;
use crate::feed::{self, Feeds};
use crate::hooks::Hooks;
use crate::http::Date;
use crate::http::assets::BuiltIn;
use crate::memory::Memory;
use crate::message::Epoch;
use crate::metrics::Metrics;
use crate::net::ByteStream;
use crate::session::{EngineSessions, Timing};
use crate::wire::{Deflater, Encoding, Payload};

/// The far end of a stream.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    pub(crate) input: Vec<u8>,
    pub(crate) input_ended: bool,
    pub(crate) output: Vec<u8>,
    /// Bytes that the socket still takes.
    pub(crate) room: usize,
    pub(crate) is_shut: bool,
    /// What the stream says that it keeps for itself, until it is shut.
    pub(crate) held_bytes: usize,
    /// Whether the stream says that its handshake goes on.
    pub(crate) is_greeting: bool,
}

/// A connection's end of a stream that does exactly what it is told.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryStream(pub(crate) Rc<RefCell<Peer>>);

impl MemoryStream {
    /// A stream whose peer has sent `input` and takes everything.
    pub(crate) fn with_input(input: &[u8]) -> Self {
        let peer = Peer { input: input.to_vec(), room: usize::MAX, ..Peer::default() };
        Self(Rc::new(RefCell::new(peer)))
    }
}

impl ByteStream for MemoryStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut peer = self.0.borrow_mut();
        let count = peer.input.len().min(buffer.len());
        if count == 0 && !peer.input_ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        buffer[..count].copy_from_slice(&peer.input[..count]);
        peer.input.drain(..count);
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut peer = self.0.borrow_mut();
        let count = bytes.len().min(peer.room);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        peer.room -= count;
        peer.output.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut peer = self.0.borrow_mut();
        (peer.is_shut, peer.held_bytes) = (true, 0);
        Ok(())
    }

    fn is_greeting(&self) -> bool {
        self.0.borrow().is_greeting
    }

    fn held_bytes(&self) -> usize {
        self.0.borrow().held_bytes
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Shorter messages are not deflated: so that many of the tests are.
pub(crate) const COMPRESS_MIN: usize = 100;

/// What connections share, with the times and limits that the program has unless it is told otherwise. `seed` decides
/// the epoch.
pub(crate) fn context(seed: u64, feed_limits: feed::Limits, memory_bytes_max: usize) -> Context {
    let memory = Memory::with_limit(memory_bytes_max);
    let mut encoding = Encoding::new(Epoch::from_seed(seed), Payload::Auto);
    // Only who offers it has messages deflated.
    encoding.deflater = Deflater::new(COMPRESS_MIN);
    Context {
        feeds: Feeds::new(feed_limits, encoding, &memory, Memory::with_limit(64 << 20)),
        metrics: Metrics::default(),
        engine: EngineSessions::new([seed as u8; 32], false, 0),
        memory,
        request_memory: Memory::with_limit(memory_bytes_max / 8),
        timing: Timing {
            handshake_timeout: 10 * SECOND,
            keepalive_timeout: 60 * SECOND,
            ping_interval: 25 * SECOND,
            ping_timeout: 20 * SECOND,
        },
        limits: Limits {
            http: crate::http::Limits::default(),
            topics_max: 128,
            inbound_bytes_max: 4096,
            write_timeout: 30 * SECOND,
        },
        budget: Budget::default(),
        coalesce: Duration::ZERO,
        format: None,
        admission: Admission::with_limits(100_000, 0),
        site: Site {
            pages: Pages::BuiltIn(BuiltIn::page()),
            client: BuiltIn::client(),
            path_prefix: Box::default(),
            origin: OriginPolicy::default(),
            has_lost_source: false,
            started: None,
        },
        date: Date::from_system_time(SystemTime::UNIX_EPOCH),
        hooks: Hooks::default(),
    }
}
