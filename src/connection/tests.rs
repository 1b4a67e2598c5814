//! Connections with simulated streams: what one client may cost the others.

use std::cell::RefMut;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::in_memory::{self, MemoryStream, Peer};
use super::*;
use crate::feed::{self, LagPolicy};
use crate::history;
use crate::message::{Epoch, Message, Part, Seq, TopicFrom};

const EPOCH_SEED: u64 = 7;

pub(super) struct Rig {
    pub(super) connections: Connections<MemoryStream>,
    pub(super) now: Instant,
    pub(super) scratch: Vec<u8>,
    pub(super) seq: u64,
    pub(super) clients: Vec<(ConnectionKey, MemoryStream)>,
}

impl Rig {
    pub(super) fn new(lag_bytes_max: usize, memory_bytes_max: usize) -> Self {
        Self::with_policy(lag_bytes_max, memory_bytes_max, LagPolicy::Skip)
    }

    pub(super) fn with_policy(
        lag_bytes_max: usize,
        memory_bytes_max: usize,
        lag_policy: LagPolicy,
    ) -> Self {
        let limits = feed::Limits {
            lag_bytes_max,
            lag_policy,
            history: Default::default(),
            last_value: false,
        };
        Self::with_limits(limits, memory_bytes_max)
    }

    /// A gateway that keeps what was published.
    pub(super) fn with_history() -> Self {
        let history = history::Limits { messages_max: 100_000, topics_max: 0, bytes_max: 1 << 26 };
        let lag_policy = LagPolicy::Skip;
        let limits =
            feed::Limits { lag_bytes_max: 1 << 20, lag_policy, history, last_value: false };
        Self::with_limits(limits, 512 << 20)
    }

    pub(super) fn with_limits(feed_limits: feed::Limits, memory_bytes_max: usize) -> Self {
        let context = in_memory::context(EPOCH_SEED, feed_limits, memory_bytes_max);
        Self {
            connections: Connections::new(context),
            now: Instant::now(),
            scratch: vec![0; 16 << 10],
            seq: 0,
            clients: Vec::new(),
        }
    }

    pub(super) fn coalescing(coalesce: Duration) -> Self {
        let rig = Self::new(10_000, 512 << 20);
        let context = Context { coalesce, ..rig.connections.context };
        Self { connections: Connections::new(context), ..rig }
    }

    pub(super) fn connect(&mut self, input: &[u8]) -> usize {
        let sim = MemoryStream::with_input(input);
        let ip = Some(IpAddr::from([127, 0, 0, 1]));
        let key = self.connections.accept(self.now, sim.clone(), ip, Role::All).unwrap();
        self.clients.push((key, sim));
        self.clients.len() - 1
    }

    pub(super) fn websocket(&mut self) -> usize {
        let client = self.connect(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        self.turn();
        assert!(self.take_output(client).starts_with(b"HTTP/1.1 101"));
        client
    }

    /// A client that wants everything after the message numbered `since`, whose request waits to be read.
    pub(super) fn resuming(&mut self, path: &str, since: u64) -> usize {
        let epoch = Epoch::from_seed(EPOCH_SEED);
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let request = format!(
            "GET {path}?topic=t&since={}-{since} HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n\r\n",
            epoch.as_str()
        );
        self.connect(request.as_bytes())
    }

    pub(super) fn peer(&self, client: usize) -> RefMut<'_, Peer> {
        self.clients[client].1.0.borrow_mut()
    }

    pub(super) fn take_output(&self, client: usize) -> Vec<u8> {
        std::mem::take(&mut self.peer(client).output)
    }

    pub(super) fn publish(&mut self, bytes: usize) {
        self.publish_of("t", bytes);
    }

    pub(super) fn publish_of(&mut self, topic: &str, bytes: usize) {
        self.seq += 1;
        let body = vec![b'x'; bytes];
        let parts = [Part::from(topic), Part::from(&body[..])];
        let message = Message::from_parts(Seq(self.seq), &parts, TopicFrom::Part);
        self.connections.context.feeds.publish(&message);
    }

    /// What the event loop does, with a poller that tells everything that is so.
    pub(super) fn turn(&mut self) {
        for index in 0..self.clients.len() {
            let (key, sim) = self.clients[index].clone();
            let Some(connection) = self.connections.get(key) else { continue };
            let interest = connection.registered;
            let peer = sim.0.borrow();
            let readable = !peer.input.is_empty() || peer.input_ended;
            let writable = peer.room > 0;
            drop(peer);
            if readable && interest.readable {
                self.connections.handle_readable(self.now, key, &mut self.scratch);
            }
            if writable && interest.writable {
                self.connections.handle_writable(key);
            }
        }
        self.connections.fire_timers(self.now);
        self.connections.flush(self.now);
        while self.connections.pop_changed().is_some() {}
        while self.connections.pop_closed().is_some() {}
    }

    pub(super) fn turns(&mut self, count: usize) {
        (0..count).for_each(|_| self.turn());
    }
}

pub(super) const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

pub(super) fn answers(output: &[u8]) -> usize {
    output.windows(15).filter(|window| *window == b"HTTP/1.1 200 OK").count()
}

#[test]
fn a_client_that_pipelines_is_read_no_faster_than_it_is_answered() {
    let mut rig = Rig::new(1 << 20, 512 << 20);
    let client = rig.connect(&REQUEST.repeat(200_000));
    let (mut used_max, mut answers_max) = (0, 0);
    for _ in 0..100 {
        rig.turn();
        used_max = used_max.max(rig.connections.context.memory.used_bytes());
        answers_max = answers_max.max(answers(&rig.take_output(client)));
    }
    assert!(
        answers_max <= 2 * VISIT_REQUESTS_MAX && used_max <= 64 << 10,
        "{answers_max} answers in one turn, {used_max} bytes of requests held for one client"
    );
}

#[test]
fn pipelined_requests_before_a_half_close_are_all_answered() {
    let mut rig = Rig::new(1 << 20, 512 << 20);
    let client = rig.connect(&REQUEST.repeat(40));
    rig.peer(client).input_ended = true;
    rig.turns(20);
    assert_eq!(answers(&rig.take_output(client)), 40);
}

#[test]
fn what_one_turn_writes_does_not_grow_from_turn_to_turn() {
    let mut rig = Rig::new(1 << 20, 4 << 30);
    let count = 20;
    let clients: Vec<_> = (0..count).map(|_| rig.websocket()).collect();
    rig.publish(16 << 20);
    let mut written = Vec::new();
    for _ in 0..200 {
        rig.turn();
        let bytes: usize = clients.iter().map(|&client| rig.take_output(client).len()).sum();
        if bytes == 0 {
            break;
        }
        written.push(bytes >> 20);
    }
    let most = *written.iter().max().unwrap();
    assert!(most <= 8, "MiB in each turn, 4 are allowed: {written:?}");
}

/// Default format: raw, which cannot tell of a gap.
#[test]
fn a_raw_client_with_a_gap_is_said_goodbye_when_it_has_got_the_rest() {
    let mut rig = Rig::new(1_000, 512 << 20);
    let client = rig.websocket();
    rig.peer(client).room = 10;
    rig.publish(500);
    rig.turn();
    // Stalls inside the frame, and is left behind by one that is larger than the lag allowed.
    rig.publish(100_000);
    rig.turn();
    // The feed holds the large frame for it: let it be left behind once more, by relief.
    rig.connections.context.feeds.leave_everyone_behind();
    let until = rig.now + Duration::from_secs(5);
    rig.connections.stop_serving();
    rig.connections.begin_shutdown(rig.now, until);
    rig.turn();
    rig.peer(client).room = usize::MAX;
    rig.turns(5);
    let output = rig.take_output(client);
    assert!(output.len() >= 504, "the frame is complete: {}", output.len());
    assert!(output.ends_with(b"\x88\x02\x03\xe9"), "no 1001 in what the client got");
}

#[test]
fn pings_that_are_due_together_are_spread_over_turns() {
    let mut rig = Rig::new(1_000, 512 << 20);
    let clients: Vec<_> = (0..5_000).map(|_| rig.websocket_fast()).collect();
    rig.turn();
    for &client in &clients {
        rig.take_output(client);
    }
    rig.now += Duration::from_secs(26);
    rig.turn();
    let pinged = clients.iter().filter(|&&client| !rig.peer(client).output.is_empty()).count();
    assert!(pinged <= 1_000, "{pinged} pings in one turn");
}

/// Memory that requests hold is taken from who holds it, and others are told.
#[test]
fn heads_that_never_end_do_not_lock_out_others() {
    let mut rig = Rig::new(1 << 20, 1 << 20);
    let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    for (bytes, count) in [(8_000, 200), (500, 10), (60, 30), (9, 50)] {
        head.resize(8_000, b'x');
        for _ in 0..count {
            rig.connect(&head[..bytes]);
        }
    }
    rig.turn();
    let innocent = rig.connect(REQUEST);
    rig.turns(3);
    let output = rig.take_output(innocent);
    assert!(output.starts_with(b"HTTP/1.1 "), "the innocent got {} bytes", output.len());
}

/// A feed's relief must not be paid by those who lag while it is requests that hold the memory.
#[test]
fn heads_that_never_end_take_nothing_from_subscribers() {
    let mut rig = Rig::new(1 << 20, 1 << 20);
    let client = rig.websocket();
    rig.peer(client).room = 0;
    rig.publish(10_000);
    rig.turn();
    let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    head.resize(8_000, b'x');
    for _ in 0..200 {
        rig.connect(&head);
    }
    rig.turn();
    rig.publish(10);
    let gaps: u64 = rig.connections.context.feeds.counts().gaps.iter().sum();
    assert_eq!(gaps, 0);
}

impl Rig {
    fn websocket_fast(&mut self) -> usize {
        let client = self.connect(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        let key = self.clients[client].0;
        self.connections.handle_readable(self.now, key, &mut self.scratch);
        client
    }
}

/// The socket has room for the four bytes of a goodbye.
#[test]
fn who_is_closed_for_memory_is_told_1013() {
    let mut rig = Rig::with_policy(16 << 20, 1 << 20, LagPolicy::Disconnect);
    let client = rig.websocket();
    rig.publish(700_000);
    rig.publish(700_000);
    rig.turns(3);
    let output = rig.take_output(client);
    assert!(output.ends_with(b"\x88\x02\x03\xf5"), "{} bytes and no 1013", output.len());
}

#[test]
fn who_watches_the_gateway_is_not_one_of_an_addresses_clients() {
    let mut rig = Rig::new(1 << 20, 512 << 20);
    rig.connections = {
        let mut context = Rig::new(1 << 20, 512 << 20).connections.context;
        context.admission = Admission::with_limits(100_000, 1);
        Connections::new(context)
    };
    rig.connect(REQUEST);
    let sim = MemoryStream::with_input(b"");
    let ip = Some(IpAddr::from([127, 0, 0, 1]));
    assert!(rig.connections.accept(rig.now, sim.clone(), ip, Role::All).is_none());
    assert!(sim.0.borrow().output.starts_with(b"HTTP/1.1 503"), "it is told");
    assert!(rig.connections.accept(rig.now, sim, ip, Role::Operation).is_some());
}

#[test]
fn who_only_waits_makes_room_for_newcomers_and_clients_do_not() {
    let mut rig = Rig::new(1 << 20, 512 << 20);
    let client = rig.websocket();
    let first = rig.connect(b"GET / HTT");
    let second = rig.connect(b"");
    rig.turn();
    assert!(rig.connections.evict());
    rig.turn();
    let is_open = |rig: &Rig, client: usize| rig.connections.get(rig.clients[client].0).is_some();
    assert!(!is_open(&rig, first) && is_open(&rig, second) && is_open(&rig, client));
    assert!(rig.connections.evict() && !rig.connections.evict());
    rig.publish(10);
    rig.turn();
    assert_eq!(rig.take_output(client).len(), 12);
}

impl Rig {
    /// Requests that never end hold more than they may, all together.
    fn exceed_request_memory(&mut self) {
        let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
        head.resize(8_000, b'x');
        for _ in 0..40 {
            self.connect(&head);
        }
        // Given up, they are told so; they do not read it, so that what they hold stays held.
        let from = self.clients.len() - 40;
        (from..self.clients.len()).for_each(|client| self.peer(client).room = 0);
        self.turn();
        assert!(self.connections.context.request_memory.is_exceeded());
    }
}

/// Half of an answer has left: nothing but its other half may follow.
#[test]
fn an_answer_under_way_is_not_replaced_by_a_refusal() {
    let whole = {
        let mut rig = Rig::new(1 << 20, 1 << 20);
        let client = rig.connect(REQUEST);
        rig.turn();
        rig.take_output(client)
    };
    let mut rig = Rig::new(1 << 20, 1 << 20);
    let client = rig.connect(REQUEST);
    rig.peer(client).room = 60;
    rig.turn();
    rig.exceed_request_memory();
    rig.peer(client).room = usize::MAX;
    rig.turns(3);
    let output = rig.take_output(client);
    assert_eq!(String::from_utf8_lossy(&output), String::from_utf8_lossy(&whole));
}

/// "Requests that come in one piece are never kept", so they cannot be too many.
#[test]
fn a_request_in_one_piece_is_answered_whatever_others_hold() {
    let mut rig = Rig::new(1 << 20, 1 << 20);
    rig.exceed_request_memory();
    let innocent = rig.connect(REQUEST);
    rig.turns(3);
    let output = rig.take_output(innocent);
    assert_eq!(answers(&output), 1, "{}", String::from_utf8_lossy(&output));
}

/// The bound is the visit's, not that of each of its 16 requests.
#[test]
fn one_visit_sends_no_more_than_a_visit_may() {
    let mut rig = Rig::new(1 << 20, 512 << 20);
    rig.connections.context.budget.visit_bytes_max = 1_000;
    let client = rig.connect(&REQUEST.repeat(40));
    let key = rig.clients[client].0;
    rig.connections.handle_readable(rig.now, key, &mut rig.scratch);
    let sent = rig.take_output(client).len();
    assert!(sent <= 1_000, "{sent} bytes in one visit");
}

/// As `what_one_turn_writes_does_not_grow_from_turn_to_turn`, with sockets that were full.
#[test]
fn sockets_that_become_writable_together_share_what_one_turn_writes() {
    let mut rig = Rig::new(1 << 20, 4 << 30);
    let clients: Vec<_> = (0..200).map(|_| rig.websocket()).collect();
    clients.iter().for_each(|&client| rig.peer(client).room = 1_000);
    rig.publish(16 << 20);
    rig.turns(3);
    clients.iter().for_each(|&client| {
        rig.take_output(client);
        rig.peer(client).room = usize::MAX;
    });
    rig.turn();
    let bytes: usize = clients.iter().map(|&client| rig.take_output(client).len()).sum();
    assert!(bytes <= 8 << 20, "{} MiB in one turn, 4 are allowed", bytes >> 20);
}

/// Its answer waits for the end of its body: it is not idle.
#[test]
fn a_request_whose_body_is_under_way_is_answered_while_draining() {
    let mut rig = Rig::new(1 << 20, 512 << 20);
    let client =
        rig.connect(b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    rig.turn();
    rig.connections.stop_serving();
    rig.connections.begin_shutdown(rig.now, rig.now + Duration::from_secs(5));
    rig.peer(client).input.extend_from_slice(b"67890");
    rig.turns(2);
    assert_eq!(answers(&rig.take_output(client)), 1);
}

/// Who has just been let in has had no chance to say anything.
#[test]
fn a_newcomer_is_not_turned_out_before_it_was_listened_to() {
    let mut rig = Rig::new(1 << 20, 512 << 20);
    let _session = rig.websocket();
    let newcomer = rig.connect(REQUEST);
    // What `EventLoop::accept` does next where that was the last place, also when nobody waits outside.
    rig.connections.evict();
    rig.turn();
    assert_eq!(answers(&rig.take_output(newcomer)), 1);
}

#[test]
fn the_public_figures_obey_the_rules_of_messages() {
    let mut rig = Rig::new(1 << 20, 1 << 20);
    rig.connections.context.site.started = Some(rig.now);
    rig.now += Duration::from_secs(7);
    rig.connections.context.metrics.upstream.received_messages = 5;
    rig.connections.context.metrics.upstream.connections = 2;
    let ask = |rig: &mut Rig, fields: &str| {
        let client =
            rig.connect(format!("GET /status HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
        rig.turn();
        String::from_utf8(rig.take_output(client)).unwrap()
    };
    let figures = format!(
        r#"{{"version":"{}","uptime_seconds":7,"upstream_connections":2,"messages_received":5,"clients":0}}"#,
        env!("CARGO_PKG_VERSION")
    );
    let answer = ask(&mut rig, "");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.trim_end().ends_with(&figures),
        "{answer}"
    );
    let foreign = ask(&mut rig, "Origin: http://evil.example\r\n");
    assert!(foreign.starts_with("HTTP/1.1 403"), "{foreign}");
    rig.connections.context.site.pages = Pages::None;
    assert!(ask(&mut rig, "").starts_with("HTTP/1.1 404"));
}
