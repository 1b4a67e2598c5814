//! Engine.IO's sessions over connections with simulated streams: who carries them, and what ends them.

use std::time::Duration;

use crate::connection::tests::Rig;
use crate::connection::{Connections, Context};
use crate::error::CloseReason;
use crate::feed::LagPolicy;
use crate::message::{Message, Part, Seq, TopicFrom};
use crate::metrics::Transport;
use crate::session::EngineSessions;

pub(super) const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A gateway and one session.
pub(super) struct Pair {
    pub(super) rig: Rig,
    pub(super) sid: String,
}

pub(super) fn rig_with(has_recovery: bool, rig: Rig) -> Rig {
    let engine = EngineSessions::new([1; 32], has_recovery, 0);
    let context = Context { engine, ..rig.connections.context };
    Rig { connections: Connections::new(context), ..rig }
}

/// The status and the content of the one answer that `output` is.
fn answer(output: &[u8]) -> (u16, String) {
    let text = String::from_utf8(output.to_vec()).unwrap();
    let (head, content) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    assert_eq!(content.len(), len.parse::<usize>().unwrap(), "{text}");
    (head[9..12].parse().unwrap(), content.to_owned())
}

pub(super) fn ok(content: &str) -> (u16, String) {
    (200, content.to_owned())
}

const UNKNOWN: &str = r#"{"code":1,"message":"Session ID unknown"}"#;
pub(super) const BAD: &str = r#"{"code":3,"message":"Bad request"}"#;

pub(super) fn bad(content: &str) -> (u16, String) {
    (400, content.to_owned())
}

pub(super) fn sid_of(open: &str) -> String {
    open.split('"').nth(3).unwrap().to_owned()
}

/// A client's frame, its mask all zeros.
pub(super) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
}

/// The payloads of the server's frames, the opcode in front of those that are no text.
pub(super) fn frames(mut output: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    while let [first, len, rest @ ..] = output {
        let (len, rest) = match len {
            126 => (u16::from_be_bytes([rest[0], rest[1]]) as usize, &rest[2..]),
            len => (usize::from(*len), rest),
        };
        let payload = rest[..len].escape_ascii().to_string().replace("\\\"", "\"");
        frames.push(if *first == 0x81 { payload } else { format!("{first:02x}:{payload}") });
        output = &rest[len..];
    }
    frames
}

impl Pair {
    pub(super) fn new() -> Self {
        Self::with(false, Rig::with_history())
    }

    pub(super) fn with(has_recovery: bool, rig: Rig) -> Self {
        let mut pair = Self { rig: rig_with(has_recovery, rig), sid: String::new() };
        let client = pair.send("GET", "", "", "");
        let (status, open) = pair.take(client);
        assert_eq!(status, 200);
        pair.sid = sid_of(&open);
        let expected = format!(
            "0{{\"sid\":\"{}\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\
             \"pingTimeout\":20000,\"maxPayload\":4096}}",
            pair.sid
        );
        assert_eq!(open, expected);
        pair
    }

    pub(super) fn joined() -> Self {
        let mut pair = Self::new();
        pair.join();
        pair
    }

    fn join(&mut self) {
        assert_eq!(self.post("40"), ok("ok"));
        let (status, welcome) = self.get();
        assert!(status == 200 && welcome.starts_with("40{\"sid\":\""), "{welcome}");
    }

    /// Sends a request, and returns who did.
    pub(super) fn send(&mut self, method: &str, query: &str, fields: &str, body: &str) -> usize {
        let sid = if self.sid.is_empty() { String::new() } else { format!("&sid={}", self.sid) };
        let request = format!(
            "{method} /socket.io/?EIO=4&transport=polling{sid}{query} HTTP/1.1\r\nHost: a\r\n\
             {fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let client = self.rig.connect(request.as_bytes());
        self.rig.turns(2);
        client
    }

    pub(super) fn take(&mut self, client: usize) -> (u16, String) {
        self.rig.turns(2);
        answer(&self.rig.take_output(client))
    }

    pub(super) fn hold(&mut self) -> usize {
        let client = self.send("GET", "", "", "");
        assert_eq!(self.rig.take_output(client), b"", "it waits");
        client
    }

    pub(super) fn get(&mut self) -> (u16, String) {
        let client = self.send("GET", "", "", "");
        self.take(client)
    }

    pub(super) fn post(&mut self, body: &str) -> (u16, String) {
        let client = self.send("POST", "", "", body);
        self.take(client)
    }

    pub(super) fn upgrade(&mut self) -> usize {
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket&sid={} HTTP/1.1\r\nHost: a\r\n{UPGRADE}\r\n",
            self.sid
        );
        let client = self.rig.connect(request.as_bytes());
        self.rig.turns(2);
        client
    }

    /// As [`Self::upgrade`], where there is nothing else to be told.
    pub(super) fn socket(&mut self) -> usize {
        let socket = self.upgrade();
        let output = self.rig.take_output(socket);
        assert!(output.starts_with(b"HTTP/1.1 101 ") && output.ends_with(b"\r\n\r\n"));
        socket
    }

    pub(super) fn upgraded() -> (Self, usize) {
        let mut pair = Self::joined();
        let socket = pair.socket();
        assert_eq!(pair.say(socket, &["2probe", "5"]), ["3probe"]);
        (pair, socket)
    }

    pub(super) fn say(&mut self, socket: usize, texts: &[&str]) -> Vec<String> {
        let input: Vec<u8> = texts.iter().flat_map(|text| frame(1, text.as_bytes())).collect();
        self.rig.peer(socket).input.extend(input);
        self.hear(socket)
    }

    pub(super) fn hear(&mut self, socket: usize) -> Vec<String> {
        self.rig.turns(3);
        frames(&self.rig.take_output(socket))
    }

    pub(super) fn publish(&mut self, body: &[u8]) {
        self.rig.seq += 1;
        let parts = [Part::from("t"), Part::from(body)];
        let message = Message::from_parts(Seq(self.rig.seq), &parts, TopicFrom::Part);
        self.rig.connections.context.feeds.publish(&message);
    }

    pub(super) fn wait(&mut self, millis: u64) {
        self.rig.now += Duration::from_millis(millis);
        self.rig.turns(3);
    }

    pub(super) fn sessions(&self) -> usize {
        self.rig.connections.context.metrics.clients(Transport::SocketIo)
    }
}

#[test]
fn packets_go_into_the_poll_that_waits_or_the_next_one() {
    let mut pair = Pair::joined();
    let waiting = pair.hold();
    pair.publish(b"a");
    assert_eq!(pair.take(waiting), ok(r#"42["message","a","t"]"#));
    pair.publish(b"b");
    pair.publish(b"\xff\x01");
    pair.rig.turn();
    let both = "42[\"message\",\"b\",\"t\"]\x1e451-[\"message\",{\"_placeholder\":true,\"num\":0},\"t\"]\x1eb/wE=";
    assert_eq!(pair.get(), ok(both));
    assert_eq!(pair.sessions(), 1);
    let delivered = &pair.rig.connections.context.metrics;
    assert!(delivered.delivered_bytes(Transport::SocketIo) > 0);
}

#[test]
fn polls_that_wait_for_the_same_are_answered_alike() {
    let mut pair = Pair::joined();
    let first = pair.hold();
    let (sid, large) = (std::mem::take(&mut pair.sid), vec![b'x'; 9_000]);
    let client = pair.send("GET", "", "", "");
    let (_, open) = pair.take(client);
    pair.sid = sid_of(&open);
    pair.join();
    let second = pair.hold();
    pair.publish(&large);
    let answers = [pair.take(first), pair.take(second)];
    assert_eq!(answers[0], answers[1]);
    pair.publish(b"a");
    assert_eq!(pair.get(), ok(r#"42["message","a","t"]"#), "both cursors went on");
    pair.sid = sid;
    assert_eq!(pair.get(), ok(r#"42["message","a","t"]"#));
}

#[test]
fn the_second_poll_ends_the_session_and_the_first_one_hears_of_it() {
    let mut pair = Pair::joined();
    let waiting = pair.hold();
    assert_eq!(pair.get(), bad(BAD));
    assert_eq!(pair.take(waiting), ok("1"));
    assert_eq!(pair.get(), bad(UNKNOWN));
    assert_eq!(pair.sessions(), 0);
}

#[test]
fn a_poll_that_is_given_up_ends_the_session() {
    let mut pair = Pair::joined();
    let waiting = pair.hold();
    pair.rig.peer(waiting).input_ended = true;
    pair.rig.turns(2);
    assert_eq!(pair.sessions(), 0);
    assert_eq!(pair.get(), bad(UNKNOWN));
}

#[test]
fn who_leaves_and_joins_without_an_end_is_ended_within_the_turn() {
    let mut pair = Pair::with(true, Rig::with_history());
    assert_eq!(pair.post("40"), ok("ok"));
    let (_, welcome) = pair.get();
    let pid = welcome.split("\"pid\":\"").nth(1).unwrap().trim_end_matches("\"}").to_owned();
    pair.publish(b"a");
    // It is welcomed behind what it missed, which it does not wait for.
    let again = format!("41\x1e40{{\"pid\":\"{pid}\"}}\x1e");
    assert_eq!(pair.post(&(again.clone() + "3")), ok("ok"));
    assert_eq!(pair.sessions(), 1, "now and then a page does that");
    pair.rig.connections.context.feeds.limit_turn_topics(10);
    assert_eq!(pair.post(&(again.repeat(20) + "3")), ok("ok"));
    assert_eq!(pair.sessions(), 0);
}

#[test]
fn posts_that_end_the_session() {
    for (body, last_word) in
        [("", "1"), ("abc", "1"), ("2", "1"), ("4", "1"), ("42[\"a\"]\x1e", "1"), ("1", "6")]
    {
        let mut pair = Pair::joined();
        let waiting = pair.hold();
        assert_eq!(pair.post(body), ok("ok"), "{body}");
        assert_eq!(pair.take(waiting), ok(last_word), "{body}");
        assert_eq!(pair.get(), bad(UNKNOWN));
    }
    let mut pair = Pair::joined();
    let client = pair.send("POST", "", "Content-Type: application/octet-stream\r\n", "4");
    assert_eq!(pair.take(client), bad(BAD));
    assert_eq!(pair.sessions(), 0);
}

#[test]
fn posts_that_mean_nothing_are_overlooked() {
    let mut pair = Pair::joined();
    for body in ["3", "5", "6", "0", "3\x1e6", r#"42["a",1]"#, r#"4217["ask",1]"#] {
        assert_eq!(pair.post(body), ok("ok"), "{body}");
    }
    assert_eq!(pair.sessions(), 1);
    let large = "4".repeat(4097);
    assert_eq!(pair.post(&large).0, 413);
    assert_eq!(pair.sessions(), 1);
    assert_eq!(pair.send("PUT", "", "", ""), pair.rig.clients.len() - 1);
    assert!(pair.rig.take_output(pair.rig.clients.len() - 1).starts_with(b"HTTP/1.1 405 "));
}

#[test]
fn a_second_post_at_a_time_ends_the_session() {
    let mut pair = Pair::joined();
    let head = format!(
        "POST /socket.io/?EIO=4&transport=polling&sid={} HTTP/1.1\r\nHost: a\r\n",
        pair.sid
    );
    let first = pair.rig.connect(format!("{head}Content-Length: 3\r\n\r\n4").as_bytes());
    pair.rig.turn();
    assert_eq!(pair.post("3"), bad(BAD));
    assert_eq!(pair.sessions(), 0);
    pair.rig.peer(first).input.extend(b"2[");
    assert_eq!(pair.take(first), bad(UNKNOWN));
}

#[test]
fn bodies_may_come_in_chunks_and_after_being_asked_for() {
    let mut pair = Pair::new();
    let head = format!(
        "POST /socket.io/?EIO=4&transport=polling&sid={} HTTP/1.1\r\nHost: a\r\n",
        pair.sid
    );
    let chunked = "Transfer-Encoding: chunked\r\n\r\n1\r\n4\r\n1\r\n0\r\n0\r\n\r\n";
    let client = pair.rig.connect(format!("{head}{chunked}").as_bytes());
    assert_eq!(pair.take(client), ok("ok"));
    let expecting = format!("{head}Expect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    let client = pair.rig.connect(expecting.as_bytes());
    pair.rig.turns(2);
    assert_eq!(pair.rig.take_output(client), b"HTTP/1.1 100 Continue\r\n\r\n");
    pair.rig.peer(client).input.push(b'3');
    assert_eq!(pair.take(client), ok("ok"));
    assert!(pair.get().1.starts_with("40{"));
    let broken = format!("{head}Content-Length: 9\r\n\r\n4");
    let client = pair.rig.connect(broken.as_bytes());
    pair.rig.turn();
    pair.rig.peer(client).input_ended = true;
    pair.rig.turns(2);
    assert_eq!(pair.sessions(), 0, "a request that is broken off is the client's end");
}

#[test]
fn what_clients_may_not_say() {
    for body in ["42[\"a\"]", "41", "431[]", "44{}", "47", "40[]", "40{", "bAQID", "40/a,", "4"] {
        let mut pair = Pair::new();
        pair.post(body);
        assert_eq!(pair.sessions(), usize::from(body == "40/a,"), "{body}");
    }
    for body in
        ["40", "42{}", "42[]", "42abc[\"a\"]", "45-[\"a\"]", "bAQID", "451-[\"a\"]\x1e42[\"b\"]"]
    {
        let mut pair = Pair::joined();
        pair.post(body);
        assert_eq!(pair.sessions(), 0, "{body}");
    }
    let mut pair = Pair::joined();
    pair.post("451-[\"a\",{\"_placeholder\":true,\"num\":0}]\x1ebAQID\x1e42[\"b\"]");
    assert_eq!(pair.sessions(), 1);
}

#[test]
fn another_namespace_is_not_there_and_that_is_all() {
    let mut pair = Pair::joined();
    let waiting = pair.hold();
    assert_eq!(pair.post("40/nope,"), ok("ok"));
    assert_eq!(pair.take(waiting), ok(r#"44/nope,{"message":"Invalid namespace"}"#));
    pair.publish(b"a");
    assert_eq!(pair.get(), ok(r#"42["message","a","t"]"#));
    // Who asks for many and does not listen is not one.
    for index in 0..100 {
        pair.post(&format!("40/nope{index},"));
    }
    assert_eq!(pair.sessions(), 0);
}

#[test]
fn who_does_not_join_or_answer_pings_is_given_up() {
    let mut pair = Pair::new();
    let waiting = pair.hold();
    pair.wait(10_000);
    assert_eq!(pair.take(waiting), ok("1"));
    assert_eq!(pair.sessions(), 0);

    let mut pair = Pair::joined();
    let waiting = pair.hold();
    pair.wait(25_000);
    assert_eq!(pair.take(waiting), ok("2"));
    assert_eq!(pair.post("3"), ok("ok"));
    pair.wait(25_000);
    assert_eq!(pair.get(), ok("2"), "it waited as messages do");
    pair.post(r#"42["no pong"]"#);
    pair.wait(20_000);
    assert_eq!(pair.get(), bad(UNKNOWN));

    let (mut pair, socket) = Pair::upgraded();
    pair.wait(25_000);
    assert_eq!(pair.hear(socket), ["2"]);
    assert_eq!(pair.say(socket, &["3"]), [""; 0]);
    pair.wait(25_000);
    assert_eq!(pair.hear(socket), ["2"]);
    pair.wait(20_000);
    assert_eq!(pair.hear(socket), ["88:"]);
    assert_eq!(pair.sessions(), 0);
}

#[test]
fn who_does_not_poll_lags_as_others_do() {
    let mut pair = Pair::with(false, Rig::new(10_000, 512 << 20));
    pair.join();
    for _ in 0..100 {
        pair.publish(&[b'x'; 1_000]);
        pair.rig.turn();
    }
    let mut all = String::new();
    while !all.contains("\"gap\"") {
        all.push_str(&pair.get().1);
    }
    let told = all.split("42[\"gap\",{\"missed\":").nth(1).unwrap();
    let missed: usize = told.split(',').next().unwrap().parse().unwrap();
    assert!(missed > 50 && told.contains("\"reason\":\"lag\""), "{told}");

    let mut pair = Pair::with(false, Rig::with_policy(10_000, 512 << 20, LagPolicy::Disconnect));
    pair.join();
    for _ in 0..100 {
        pair.publish(&[b'x'; 1_000]);
        pair.rig.turn();
    }
    assert_eq!((pair.get(), pair.sessions()), (bad(UNKNOWN), 0));
}

#[test]
fn goodbyes_reach_polls_and_sockets_with_what_is_owed() {
    let mut pair = Pair::joined();
    let idle = pair.hold();
    let until = pair.rig.now + Duration::from_secs(5);
    pair.rig.connections.stop_serving();
    pair.publish(b"a");
    let last = "42[\"message\",\"a\",\"t\"]\x1e1";
    assert_eq!(pair.take(idle), ok(last), "no other poll can follow");
    assert_eq!(pair.sessions(), 0);

    let mut pair = Pair::joined();
    let idle = pair.hold();
    pair.rig.connections.stop_serving();
    pair.rig.connections.begin_shutdown(pair.rig.now, until);
    assert_eq!(pair.take(idle), ok("1"));

    let (mut pair, socket) = Pair::upgraded();
    pair.publish(b"b");
    pair.rig.connections.stop_serving();
    pair.rig.connections.begin_shutdown(pair.rig.now, until);
    assert_eq!(pair.hear(socket), [r#"42["message","b","t"]"#, "88:\\x03\\xe9"]);
    let closed =
        |reason| pair.rig.connections.context.metrics.closed_for(Transport::SocketIo, reason);
    assert_eq!((closed(CloseReason::Shutdown), pair.sessions()), (1, 0));
}

#[test]
fn sessions_are_counted_by_address_and_among_all_clients() {
    let mut pair = Pair::new();
    pair.rig.connections.context.admission.clients_max = 1;
    let end = |pair: &mut Pair, sid| {
        pair.sid = sid;
        pair.post("1");
        pair.rig.turn();
        assert_eq!(pair.sessions(), 0);
        pair.sid.clear();
    };
    let sid = std::mem::take(&mut pair.sid);
    let client = pair.send("GET", "", "", "");
    assert_eq!(pair.take(client).0, 503);
    end(&mut pair, sid);
    pair.rig.connections.context.admission.clients_max = 10;
    pair.rig.connections.context.engine = EngineSessions::new([1; 32], false, 1);
    for _ in 0..2 {
        let client = pair.send("GET", "", "", "");
        let (status, open) = pair.take(client);
        assert_eq!(status, 200);
        let client = pair.send("GET", "", "", "");
        assert_eq!(pair.take(client).0, 503);
        end(&mut pair, sid_of(&open));
    }
}
