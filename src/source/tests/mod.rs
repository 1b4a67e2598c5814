//! Sources against real ZeroMQ sockets and against raw peers that break every rule.

mod endpoints;
mod hostile;
mod radio;
mod shapes;
mod subscriptions;

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::monitor::Event;
use super::open::Patience;
use super::zeromq::UNSENT_CHANGES_MAX;
use super::*;

/// Far longer than anything here takes.
const PATIENCE_OF_TESTS: Duration = Duration::from_secs(20);

/// As [`Patience::NORMAL`], ten times faster.
const HURRY: Patience = Patience {
    reconnect_min: Duration::from_millis(10),
    reconnect_max: Duration::from_millis(200),
    connect: Duration::from_secs(1),
    handshake: Duration::from_millis(300),
    revive_min: Duration::from_millis(50),
    revive_max: Duration::from_millis(400),
};

const BUDGET: Budget = Budget { messages: 1000, bytes: 1 << 20 };

fn config(socket: SocketKind) -> SourceConfig {
    SourceConfig {
        socket,
        subscribe: vec![Vec::new()],
        rcvhwm: 10_000,
        heartbeat: Duration::ZERO,
        message_bytes_max: 1 << 20,
        security: Security::default(),
    }
}

fn endpoint(text: &str, attach: Attach) -> Endpoint {
    Endpoint::parse(text, attach).unwrap_or_else(|reason| panic!("{text}: {reason}"))
}

fn open(context: &zmq::Context, text: &str, attach: Attach, config: &SourceConfig) -> ZeroMq {
    ZeroMq::open_with(context, &endpoint(text, attach), config, HURRY)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn why_not(text: &str, attach: Attach, config: &SourceConfig) -> String {
    match ZeroMq::open(&zmq::Context::new(), &endpoint(text, attach), config) {
        Ok(source) => panic!("{} was opened", source.endpoint()),
        Err(error) => error.to_string(),
    }
}

/// A ZeroMQ socket that sends any number of messages without waiting.
fn sender(context: &zmq::Context, kind: zmq::SocketType) -> zmq::Socket {
    let socket = context.socket(kind).unwrap();
    socket.set_sndhwm(0).unwrap();
    socket.set_linger(0).unwrap();
    socket
}

/// Drives `source` as the event loop does, by the calling rule alone, until `done` says so. `step`
/// runs once a turn.
fn drive(
    source: &mut ZeroMq,
    on_message: &mut dyn FnMut(&[Part]),
    step: &mut dyn FnMut(),
    done: &mut dyn FnMut(&ZeroMq) -> bool,
) {
    let end = Instant::now() + PATIENCE_OF_TESTS;
    let mut is_done = false;
    while !is_done {
        step();
        let now = Instant::now();
        assert!(now < end, "still waiting: {:?}", source.counts());
        let deadline = source.next_deadline().unwrap_or(end).min(now + Duration::from_millis(10));
        let wait = deadline.saturating_duration_since(now).as_millis() as i64 + 1;
        let mut items = [
            zmq::PollItem::from_fd(source.fd().as_raw_fd(), zmq::POLLIN),
            zmq::PollItem::from_fd(source.monitor_fd().as_raw_fd(), zmq::POLLIN),
        ];
        zmq::poll(&mut items, if source.needs_drain() { 0 } else { wait }).unwrap();
        let [messages, monitor] = items.map(|item| item.is_readable());
        let now = Instant::now();
        if monitor {
            source.handle_monitor(now);
        }
        if messages || source.needs_drain() {
            let _ = source.drain(BUDGET, &mut |arrival| {
                on_message(arrival.parts);
                true
            });
        }
        if source.next_deadline().is_some_and(|deadline| deadline <= now) {
            source.handle_timeout(now);
        }
        is_done = done(source);
    }
}

/// Drives until `count` messages are there, and returns them.
fn receive(source: &mut ZeroMq, count: usize) -> Vec<Vec<Vec<u8>>> {
    let mut messages = Vec::new();
    let goal = source.counts().messages + count as u64;
    drive(
        source,
        &mut |parts| messages.push(parts.iter().map(|part| part.to_vec()).collect()),
        &mut || {},
        &mut |source| source.counts().messages >= goal,
    );
    assert_eq!(messages.len(), count);
    messages
}

/// Drives while `socket` publishes, until a message of it has come through; whatever else was on
/// the way is dropped.
fn receive_from(source: &mut ZeroMq, socket: &zmq::Socket) {
    let heard = std::cell::Cell::new(false);
    drive(
        source,
        &mut |parts| heard.set(heard.get() || *parts[0] == *b"hello"),
        &mut || _ = socket.send("hello", zmq::DONTWAIT),
        &mut |_| heard.get(),
    );
}

/// Drives until `done`, taking messages as they come.
fn drive_until(source: &mut ZeroMq, mut done: impl FnMut(&SourceCounts) -> bool) {
    drive(source, &mut |_| {}, &mut || {}, &mut |source| done(source.counts()));
}

/// A ZMTP 3.1 greeting with the NULL mechanism (RFC 37).
fn greeting() -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
    greeting.extend_from_slice(b"NULL");
    greeting.resize(64, 0);
    greeting
}

/// A READY command that names the socket type.
fn ready(socket_type: &str) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type\0\0\0".to_vec();
    body.push(socket_type.len() as u8);
    body.extend_from_slice(socket_type.as_bytes());
    [&[4, body.len() as u8], &body[..]].concat()
}

/// Plays a publisher's part of the handshake. The peer's READY and subscriptions stay unread.
fn shake_hands(stream: &mut (impl Read + Write), socket_type: &str) {
    stream.write_all(&greeting()).unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
    stream.write_all(&ready(socket_type)).unwrap();
}

/// A path for a socket that no other test uses.
fn socket_path(name: &str) -> String {
    let path = std::env::temp_dir().join(format!("zmq2ws-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path.to_str().unwrap().to_owned()
}
