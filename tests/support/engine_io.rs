//! An Engine.IO client on plain sockets that does one thing at a time, and may do what no client should.

use std::net::SocketAddr;

use serde_json::Value;

use crate::support::http::{Connection, Response, get};
#[cfg(feature = "cli")]
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::{Frame, Raw, TEXT};

/// Where a session begins.
pub(crate) const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
pub(crate) const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// The sample that tells how many sessions there are.
pub(crate) const CLIENTS: &str = "zmq2ws_clients{transport=\"socketio\"}";

pub(crate) const SEPARATOR: char = '\u{1e}';

/// A gateway with a publisher that it listens to.
#[cfg(feature = "cli")]
pub(crate) fn stage(args: &[&str]) -> (Gateway, Publisher) {
    let gateway = Gateway::start(args);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    (gateway, publisher)
}

/// A session that polls.
pub(crate) struct Session {
    pub(crate) address: SocketAddr,
    pub(crate) sid: String,
    /// What the gateway said first.
    pub(crate) open: Value,
    query: String,
}

impl Session {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::open_with(address, "")
    }

    /// With more in its requests' query, such as `&topic=a`.
    #[track_caller]
    pub(crate) fn open_with(address: SocketAddr, query: &str) -> Self {
        let response = get(address, &format!("{POLLING}{query}"));
        assert_eq!(response.status, 200, "{}", response.text());
        let text = response.text();
        let json = text.strip_prefix('0').unwrap_or_else(|| panic!("no open packet: {text}"));
        let open: Value = serde_json::from_str(json).unwrap();
        let sid = open["sid"].as_str().unwrap().to_owned();
        Self { address, sid, open, query: query.to_owned() }
    }

    /// Opened, and in the main namespace.
    #[track_caller]
    pub(crate) fn connected(address: SocketAddr, query: &str) -> Self {
        let session = Self::open_with(address, query);
        session.connect();
        session
    }

    /// Enters the main namespace; returns what the gateway says to that.
    #[track_caller]
    pub(crate) fn connect(&self) -> Value {
        self.assert_posts("40");
        let packets = self.packets();
        assert_eq!(packets.len(), 1, "{packets:?}");
        welcome(&packets[0])
    }

    pub(crate) fn path(&self) -> String {
        format!("{POLLING}&sid={}{}", self.sid, self.query)
    }

    /// Waits for what comes next.
    pub(crate) fn get(&self) -> Response {
        get(self.address, &self.path())
    }

    /// The packets of the next answer.
    #[track_caller]
    pub(crate) fn packets(&self) -> Vec<String> {
        packets(&self.get())
    }

    /// Packets of as many answers as it takes to have `count` that are no `6`.
    #[track_caller]
    pub(crate) fn take(&self, count: usize) -> Vec<String> {
        let mut taken = Vec::new();
        while taken.len() < count {
            taken.extend(self.packets().into_iter().filter(|packet| packet != "6"));
        }
        assert_eq!(taken.len(), count, "{taken:?}");
        taken
    }

    /// A request that waits, and that the gateway has seen.
    pub(crate) fn ask(&self) -> Connection {
        let mut connection = Connection::open(self.address);
        let path = self.path();
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        barrier(self.address);
        connection
    }

    pub(crate) fn post(&self, body: &str) -> Response {
        let headers = format!(
            "Content-Type: text/plain;charset=UTF-8\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        let mut connection = Connection::open(self.address);
        let path = self.path();
        connection.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}"));
        connection.response(false).unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_posts(&self, body: &str) {
        let response = self.post(body);
        assert_eq!((response.status, &*response.text()), (200, "ok"), "POST of {body:?}");
        let kind = response.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/html"), "{kind}");
    }

    /// Fails unless the gateway has forgotten it.
    #[track_caller]
    pub(crate) fn assert_gone(&self) {
        assert_refused(&self.get(), 400, 1, "Session ID unknown");
        assert_refused(&self.post("3"), 400, 1, "Session ID unknown");
    }

    /// As [`Self::assert_gone`], where nobody waited whom the gateway could tell: it may tell the next one.
    #[track_caller]
    pub(crate) fn assert_over(&self) {
        let response = self.get();
        if response.status == 200 {
            let packets = packets(&response);
            assert!(packets == ["1"] || packets == ["6", "1"], "{packets:?}");
        }
        self.assert_gone();
    }

    /// Fails unless it is there: a message is heard, for which `publisher` is asked.
    #[track_caller]
    pub(crate) fn assert_hears(&self, publisher: &Publisher) {
        publisher.send(&[b"there", b"still"]);
        let event = event(&self.take(1)[0]);
        assert_eq!(event, serde_json::json!(["message", "still", "there"]));
    }

    /// The path of its WebSocket.
    pub(crate) fn upgrade_path(&self) -> String {
        format!("{WEBSOCKET}&sid={}{}", self.sid, self.query)
    }

    /// A WebSocket that says nothing yet.
    pub(crate) fn socket(&self) -> Raw {
        Raw::open(self.address, &self.upgrade_path())
    }

    /// A WebSocket that was probed.
    #[track_caller]
    pub(crate) fn probed(&self) -> Raw {
        let mut socket = self.socket();
        socket.send(TEXT, b"2probe");
        assert_eq!(text(&socket.frame()), "3probe");
        socket
    }
}

/// A session that is a WebSocket from the start, in the main namespace.
#[track_caller]
pub(crate) fn connected_socket(address: SocketAddr, query: &str) -> Raw {
    let mut socket = opened_socket(address, query).0;
    socket.send(TEXT, b"40");
    welcome(text(&socket.message()));
    socket
}

/// A session that is a WebSocket from the start, and what the gateway said first.
#[track_caller]
pub(crate) fn opened_socket(address: SocketAddr, query: &str) -> (Raw, Value) {
    let mut socket = Raw::open(address, &format!("{WEBSOCKET}{query}"));
    let frame = socket.message();
    let json = text(&frame).strip_prefix('0').expect("an open packet");
    let open = serde_json::from_str(json).unwrap();
    (socket, open)
}

/// The packets of an answer that must be right.
#[track_caller]
pub(crate) fn packets(response: &Response) -> Vec<String> {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("text/plain; charset=UTF-8"));
    let packets: Vec<_> = response.text().split(SEPARATOR).map(str::to_owned).collect();
    assert!(packets.iter().all(|packet| !packet.is_empty()), "{packets:?}");
    packets
}

/// The text of a frame, which must be one.
#[track_caller]
pub(crate) fn text(frame: &Frame) -> &str {
    assert_eq!(frame.opcode, TEXT, "{frame:?}");
    frame.text()
}

/// What is said to who enters the main namespace.
#[track_caller]
pub(crate) fn welcome(packet: &str) -> Value {
    let json = packet.strip_prefix("40").unwrap_or_else(|| panic!("no welcome: {packet}"));
    let welcome: Value = serde_json::from_str(json).unwrap();
    assert!(welcome["sid"].is_string(), "{packet}");
    welcome
}

/// The name and the arguments of an event without attachments.
#[track_caller]
pub(crate) fn event(packet: &str) -> Value {
    let json = packet.strip_prefix("42").unwrap_or_else(|| panic!("no event: {packet}"));
    serde_json::from_str(json).unwrap()
}

/// The first argument of an event that is a message.
#[track_caller]
pub(crate) fn body(packet: &str) -> String {
    let event = event(packet);
    assert_eq!(event[0], "message", "{packet}");
    event[1].as_str().unwrap().to_owned()
}

#[track_caller]
pub(crate) fn assert_refused(response: &Response, status: u16, code: u8, message: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    let kind = response.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/json"), "{kind}");
    assert_eq!(response.text(), format!("{{\"code\":{code},\"message\":\"{message}\"}}"));
}

/// When this returns the gateway has read what was sent to it before.
pub(crate) fn barrier(address: SocketAddr) {
    for _ in 0..2 {
        assert_eq!(get(address, "/healthz").status, 200);
    }
}
