//! The table of connections with clients in memory and time that is passed in: the whole gateway but its system calls.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Upstream;
use crate::connection::in_memory::{self, MemoryStream};
use crate::connection::{ConnectionKey, Connections};
use crate::feed::{self, LagPolicy};
use crate::history;
use crate::http::Role;
use crate::message::Seq;

/// A client's answer to a ping, masked as all that clients send.
const PONG: [u8; 6] = [0x8a, 0x80, 1, 2, 3, 4];

/// WebSocket clients of one gateway.
pub struct Sessions {
    connections: Connections<MemoryStream>,
    /// The clients' ends, made before anybody connects.
    streams: Vec<MemoryStream>,
    keys: Vec<ConnectionKey>,
    /// Clients that have answered a ping, to be read.
    ready: Vec<usize>,
    scratch: Vec<u8>,
    now: Instant,
    seq: Seq,
}

impl Sessions {
    /// A gateway at `now` without clients. What the ends of `clients_max` clients take is allocated here, so that all
    /// that is allocated later is the gateway's.
    pub fn with_room(now: Instant, clients_max: usize) -> Self {
        let limits = feed::Limits {
            lag_bytes_max: 1 << 20,
            lag_policy: LagPolicy::Skip,
            history: history::Limits { messages_max: 1_000, topics_max: 0, bytes_max: 8 << 20 },
            last_value: false,
        };
        let mut context = in_memory::context(1, limits, 512 << 20);
        context.admission.clients_max = usize::MAX;
        Self {
            connections: Connections::new(context),
            streams: (0..clients_max).map(|_| MemoryStream::with_input(b"")).collect(),
            keys: Vec::with_capacity(clients_max),
            ready: Vec::with_capacity(clients_max),
            scratch: vec![0; 16 << 10],
            now,
            seq: Seq(0),
        }
    }

    /// Connects one more client, whose request is `request`. Its end keeps nothing of what was said.
    ///
    /// # Panics
    ///
    /// When it is not upgraded, or there are more than was made room for.
    pub fn connect(&mut self, request: &[u8]) {
        let stream = self.streams[self.keys.len()].clone();
        stream.0.borrow_mut().input = request.to_vec();
        let ip = Some(IpAddr::from([127, 0, 0, 1]));
        let key = self.connections.accept(self.now, stream, ip, Role::All);
        let key = key.expect("there is no limit for an address");
        self.connections.handle_readable(self.now, key, &mut self.scratch);
        self.settle();
        let mut peer = self.streams[self.keys.len()].0.borrow_mut();
        assert!(peer.output.starts_with(b"HTTP/1.1 101"), "the client is let in");
        (peer.input, peer.output) = (Vec::new(), Vec::new());
        drop(peer);
        self.keys.push(key);
    }

    /// How many clients are connected.
    pub fn count(&self) -> usize {
        self.connections.len()
    }

    /// How many feeds there are.
    pub fn feeds(&self) -> usize {
        self.connections.context.feeds.len()
    }

    /// Publishes a message and delivers it. Returns how many feeds wanted it.
    pub fn publish(&mut self, upstream: &Upstream) -> usize {
        self.seq.0 += 1;
        let feeds = self.connections.context.feeds.publish(&upstream.message(self.seq));
        self.settle();
        feeds
    }

    /// Lets the clients forget what they received, and returns how many bytes that was.
    pub fn forget_output(&mut self) -> usize {
        self.streams.iter().map(MemoryStream::forget_output).sum()
    }

    /// As [`Self::forget_output`], for the client that was the `index`th to connect.
    pub fn forget_output_of(&mut self, index: usize) -> usize {
        self.streams[index].forget_output()
    }

    /// Gives back what the clients' ends took since [`Self::with_room`].
    pub fn drop_buffers(&mut self) {
        for stream in &self.streams {
            let mut peer = stream.0.borrow_mut();
            (peer.input, peer.output) = (Vec::new(), Vec::new());
        }
    }

    /// Lets time pass and does what is due: pings leave.
    pub fn pass_time(&mut self, time: Duration) {
        self.now += time;
        while self.connections.next_deadline().is_some_and(|deadline| deadline <= self.now) {
            self.connections.fire_timers(self.now);
            self.settle();
        }
    }

    /// Lets each client answer that received something, and returns how many did. The answers wait to be read.
    pub fn answer_pings(&mut self) -> usize {
        self.ready.clear();
        for (index, stream) in self.streams.iter().enumerate() {
            if stream.forget_output() > 0 {
                stream.0.borrow_mut().input.extend_from_slice(&PONG);
                self.ready.push(index);
            }
        }
        self.ready.len()
    }

    /// Reads the answers.
    pub fn read_answers(&mut self) {
        for &index in &self.ready {
            self.connections.handle_readable(self.now, self.keys[index], &mut self.scratch);
        }
        self.settle();
    }

    /// Turns, as the event loop does, until there is nothing more to do.
    fn settle(&mut self) {
        loop {
            self.connections.flush(self.now);
            while self.connections.pop_changed().is_some() {}
            while self.connections.pop_closed().is_some() {}
            if !self.connections.has_work() {
                return;
            }
        }
    }
}

impl MemoryStream {
    fn forget_output(&self) -> usize {
        let mut peer = self.0.borrow_mut();
        let bytes = peer.output.len();
        peer.output.clear();
        bytes
    }
}
