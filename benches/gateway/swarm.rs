//! The clients: thousands of connections in one thread, each of which wants every message once and in order. Allocates
//! nothing while messages pass.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fs::Timespec;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::Result;
use crate::frames::{Found, Frames};
use crate::progress::Arrivals;
use crate::transport::Transport;

/// Clients read from between two looks at the publisher: few enough that a message that is due waits for less than 0.2 ms.
const EVENTS: usize = 64;

/// The one buffer that everything is read into. No client can have more than the publisher's window waiting.
const READ_BYTES: usize = 256 << 10;

/// Handshakes under way at once: below any server's backlog.
const HANDSHAKES: usize = 100;

/// Clients that share a source address: below the number of ports that an address has.
const CLIENTS_PER_ADDRESS: usize = 20_000;

/// A pong without payload, masked with zeros.
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

const END_OF_HEAD: [u8; 4] = *b"\r\n\r\n";

/// What the poller says when it is not a client that is ready.
const TIMER: u64 = u64::MAX;

enum Stage {
    /// How much of the end of the response's head has come.
    Upgrading {
        matched: usize,
    },
    Open(Frames),
}

struct Client {
    stream: TcpStream,
    stage: Stage,
    /// Messages that it has got.
    got: u64,
    /// Messages numbered 0: they show that it is served.
    probes: u64,
}

/// All clients of one server.
pub(crate) struct Swarm {
    epoll: OwnedFd,
    transport: Transport,
    clients: Vec<Client>,
    stalled: usize,
    open: usize,
    probed: usize,
    buffer: Box<[u8]>,
    /// From a number's start to the end of its message.
    from_end: usize,
    /// Messages that each client had got before it connected.
    got_before: u64,
    pub(crate) bytes: u64,
    pub(crate) reads: u64,
}

impl Swarm {
    /// A message ends with a body of `body_bytes`, `suffix_bytes` of its format, and what the transport has behind that.
    pub(crate) fn new(
        transport: Transport,
        body_bytes: usize,
        suffix_bytes: usize,
    ) -> Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            transport,
            clients: Vec::new(),
            stalled: 0,
            open: 0,
            probed: 0,
            buffer: vec![0; READ_BYTES].into(),
            from_end: body_bytes + suffix_bytes + transport.suffix_bytes(),
            got_before: 0,
            bytes: 0,
            reads: 0,
        })
    }

    /// Others, still to connect, who want the same messages from the one after `number` on.
    pub(crate) fn of_later_messages(&self, number: u64) -> Result<Self> {
        let Self { transport, from_end, .. } = *self;
        Ok(Self { got_before: number, from_end, ..Self::new(transport, 0, 0)? })
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// All but those who stall.
    pub(crate) fn readers(&self) -> usize {
        self.clients.len() - self.stalled
    }

    /// From now on the last `count` clients do not read.
    pub(crate) fn stall(&mut self, count: usize) -> Result<()> {
        let len = self.clients.len();
        self.stalled = count;
        (len - count..len).try_for_each(|index| self.read_no_more(index))
    }

    /// From now on this client reads only by [`Self::read`].
    pub(crate) fn read_no_more(&mut self, index: usize) -> Result<()> {
        Ok(epoll::delete(&self.epoll, &self.clients[index].stream)?)
    }

    /// What each client has got.
    pub(crate) fn got(&self, index: usize) -> u64 {
        self.clients[index].got
    }

    /// Whether the client has been served a message numbered 0.
    pub(crate) fn is_probed(&self, index: usize) -> bool {
        self.clients[index].probes > 0
    }

    /// How many have been served a message numbered 0.
    pub(crate) fn probed(&self) -> usize {
        self.probed
    }

    /// Connects clients until there are `count`, each with what `query` says of it, and waits for their first answers.
    pub(crate) fn connect(
        &mut self,
        server: SocketAddr,
        count: usize,
        patience: Duration,
        query: impl Fn(usize) -> String,
        arrivals: &mut impl Arrivals,
        mut on_open: impl FnMut(usize),
    ) -> Result<()> {
        self.clients.reserve_exact(count - self.clients.len());
        while self.open < count {
            while self.clients.len() < count && self.clients.len() - self.open < HANDSHAKES {
                let request = self.transport.request(server, &query(self.clients.len()));
                self.add(server, &request)?;
            }
            if !self.wait(Some(patience), arrivals)? {
                return Err(format!("only {} of {count} clients were let in", self.open).into());
            }
            on_open(self.open);
        }
        Ok(())
    }

    fn add(&mut self, server: SocketAddr, request: &[u8]) -> Result<()> {
        let index = self.clients.len();
        let mut stream = connect(server, index / CLIENTS_PER_ADDRESS)?;
        stream.write_all(request)?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
        let stage = Stage::Upgrading { matched: 0 };
        self.clients.push(Client { stream, stage, got: self.got_before, probes: 0 });
        Ok(())
    }

    /// Also ends a wait when `timer` is readable.
    pub(crate) fn add_timer(&self, timer: impl AsFd) -> Result<()> {
        Ok(epoll::add(&self.epoll, timer, EventData::new_u64(TIMER), EventFlags::IN)?)
    }

    /// Waits until something comes, and reads some of it. Returns whether anything came before `timeout`.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        arrivals: &mut impl Arrivals,
    ) -> Result<bool> {
        let timeout = timeout.map(Timespec::try_from).transpose()?;
        let mut events = [MaybeUninit::<Event>::uninit(); EVENTS];
        let ready = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok((ready, _)) => ready,
            Err(rustix::io::Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        for event in ready.iter() {
            let key = event.data.u64();
            if key != TIMER {
                self.read(key as usize, READ_BYTES, arrivals)?;
            }
        }
        Ok(!ready.is_empty())
    }

    /// Reads at most `bytes_max` of what has come for one client.
    pub(crate) fn read(
        &mut self,
        index: usize,
        bytes_max: usize,
        arrivals: &mut impl Arrivals,
    ) -> Result<()> {
        let client = &mut self.clients[index];
        let len = match client.stream.read(&mut self.buffer[..bytes_max]) {
            Ok(0) => return Err(format!("client {index} was disconnected").into()),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(format!("client {index}: {error}").into()),
        };
        self.reads += 1;
        self.bytes += len as u64;
        let (before, probes_before) = (client.got, client.probes);
        let was_open = matches!(client.stage, Stage::Open(_));
        let result = client.take(&self.buffer[..len], self.transport, self.from_end);
        result.map_err(|fault| {
            format!("client {index}, which has got {} messages, got {fault}", client.got)
        })?;
        self.open += usize::from(!was_open && matches!(client.stage, Stage::Open(_)));
        self.probed += usize::from(probes_before == 0 && client.probes > 0);
        arrivals.advance(before, client.got, Instant::now());
        Ok(())
    }
}

impl Client {
    fn take(
        &mut self,
        mut bytes: &[u8],
        transport: Transport,
        from_end: usize,
    ) -> std::result::Result<(), &'static str> {
        let Self { stream, stage, got, probes } = self;
        if let Stage::Upgrading { matched } = stage {
            let Some(rest) = after_head(bytes, matched)? else { return Ok(()) };
            bytes = rest;
            *stage = Stage::Open(Frames::of(transport));
        }
        let Stage::Open(frames) = stage else { return Ok(()) };
        frames.feed(bytes, from_end, |found| match found {
            Found::Number(0) => {
                *probes += 1;
                Ok(())
            }
            Found::Number(number) if number == *got + 1 => {
                *got = number;
                Ok(())
            }
            Found::Number(number) if number <= *got => Err("a message twice, or out of order"),
            Found::Number(_) => Err("a later message: one was lost"),
            Found::Comment => Ok(()),
            Found::Ping => stream.write_all(&PONG).map_err(|_| "a ping that cannot be answered"),
        })
    }
}

/// What follows the head of a response, once all of the head has come.
fn after_head<'a>(
    bytes: &'a [u8],
    matched: &mut usize,
) -> std::result::Result<Option<&'a [u8]>, &'static str> {
    let is_let_in = bytes.starts_with(b"HTTP/1.1 101 ") || bytes.starts_with(b"HTTP/1.1 200 ");
    if *matched == 0 && bytes.starts_with(b"HTTP/") && !is_let_in {
        return Err("a refusal");
    }
    for (index, &byte) in bytes.iter().enumerate() {
        *matched =
            if byte == END_OF_HEAD[*matched] { *matched + 1 } else { usize::from(byte == b'\r') };
        if *matched == END_OF_HEAD.len() {
            return Ok(Some(&bytes[index + 1..]));
        }
    }
    Ok(None)
}

/// Connects from the system's choice of port; groups above the first from addresses of their own.
fn connect(server: SocketAddr, group: usize) -> Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    if group > 0 {
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(group + 1)?);
        rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
    }
    rustix::net::connect(&socket, &server)?;
    // Closed by a reset: nothing lingers that a later run would find in its way.
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(TcpStream::from(socket))
}
