//! A gateway inside a host's loop: the descriptor, in pollers of both kinds, the deadline, and turns that do not wait.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use zmq2ws::{Builder, Gateway};

/// How the gateway's descriptor is waited for: as poll, calloop and `polling` do, and as mio does.
const KINDS: [(&str, epoll::EventFlags); 2] = [
    ("level-triggered", epoll::EventFlags::IN),
    ("edge-triggered", epoll::EventFlags::IN.union(epoll::EventFlags::ET)),
];
/// Longer than anything that is waited for takes, shorter than what would hide that it was not done.
const PATIENCE: Duration = Duration::from_secs(8);

/// A loop with a poller of its own, that turns its gateway when it is told to and at no other time.
struct Host {
    gateway: Gateway,
    poller: OwnedFd,
    turns: usize,
}

impl Host {
    fn new(builder: Builder, flags: epoll::EventFlags) -> Self {
        let gateway = builder.listen(([127, 0, 0, 1], 0)).build().unwrap();
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        epoll::add(&poller, gateway.as_fd(), epoll::EventData::new_u64(1), flags).unwrap();
        Self { gateway, poller, turns: 0 }
    }

    fn connect(&self) -> TcpStream {
        let address = self.gateway.listen_addresses()[0].replace("http://", "");
        let client = TcpStream::connect(address).unwrap();
        client.set_nonblocking(true).unwrap();
        client
    }

    /// Waits until the descriptor is readable or the deadline has come, then turns.
    fn step(&mut self) {
        let wait = self.gateway.next_deadline().map_or(PATIENCE, |deadline| {
            // Up to the next whole millisecond and a little more, as any host does.
            let wait = deadline.saturating_duration_since(Instant::now());
            if wait.is_zero() { wait } else { wait + Duration::from_millis(1) }
        });
        let wait = Timespec::try_from(wait.min(PATIENCE)).unwrap();
        let mut events = Vec::with_capacity(8);
        epoll::wait(&self.poller, rustix::buffer::spare_capacity(&mut events), Some(&wait))
            .unwrap();
        self.gateway.turn(Some(Duration::ZERO)).unwrap();
        self.turns += 1;
    }

    /// Goes on until `client` was sent what ends with `end`, or with nothing more, where that is empty.
    #[track_caller]
    fn run_until_sent(&mut self, client: &mut TcpStream, end: &[u8]) {
        let begun = Instant::now();
        let mut seen = Vec::new();
        loop {
            let mut piece = [0; 4_096];
            match client.read(&mut piece) {
                Ok(0) => return assert!(end.is_empty(), "closed"),
                Ok(len) => seen.extend_from_slice(&piece[..len]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            if !end.is_empty() && seen.ends_with(end) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "not served after {} turns", self.turns);
            self.step();
        }
    }

    fn websocket(&mut self) -> TcpStream {
        let mut client = self.connect();
        let request = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        client.write_all(request.as_bytes()).unwrap();
        self.run_until_sent(&mut client, b"\r\n\r\n");
        client
    }
}

#[test]
fn a_host_that_waits_for_the_descriptor_and_the_deadline_neither_spins_nor_stops_the_clock() {
    for (kind, flags) in KINDS {
        let builder = Gateway::builder()
            .bind("tcp://127.0.0.1:*")
            .handshake_timeout(Duration::from_secs(2))
            .ping_interval(Duration::from_millis(500));
        let mut host = Host::new(builder, flags);
        let begun = Instant::now();
        let mut silent = host.connect();
        let mut client = host.websocket();
        host.run_until_sent(&mut client, b"\x89\0");
        client.write_all(b"\x8a\x80\0\0\0\0").unwrap();
        host.run_until_sent(&mut client, b"\x89\0");
        // Says nothing, so it is closed after two seconds.
        host.run_until_sent(&mut silent, b"");
        let (taken, turns) = (begun.elapsed(), host.turns);
        assert!(taken < Duration::from_secs(4) && turns < 100, "{kind}: {turns} in {taken:?}");
    }
}

/// One turn reads a part of it, and what is left nothing tells of that only tells of changes.
#[test]
fn a_client_that_says_more_than_a_turn_reads_is_served_in_an_edge_triggered_poller() {
    for (kind, flags) in KINDS {
        let hour = Duration::from_secs(3_600);
        let mut host = Host::new(Gateway::builder().ping_interval(hour), flags);
        let mut client = host.websocket();
        // Frames that mean nothing, and a ping.
        let frame = [&b"\x81\xb2\0\0\0\0"[..], &[b'x'; 50]].concat();
        let said = [frame.repeat(3_000), b"\x89\x83\0\0\0\0end".to_vec()].concat();
        client.write_all(&said).unwrap();
        let turns_before = host.turns;
        host.run_until_sent(&mut client, b"\x8a\x03end");
        let turns = host.turns - turns_before;
        assert!(turns < 50, "{kind}: {turns} turns");
    }
}
