//! Engine.IO's sessions over connections with simulated streams: who carries them, and what ends them.

use std::time::Duration;

use super::tests::Rig;
use super::{Addresses, Context};
use crate::connection::Connections;
use crate::error::CloseReason;
use crate::feed::LagPolicy;
use crate::message::{Message, Part, Seq, TopicFrom};
use crate::metrics::Transport;
use crate::session::EngineSessions;

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A gateway and one session.
struct Pair {
    rig: Rig,
    sid: String,
}

fn rig_with(has_recovery: bool, rig: Rig) -> Rig {
    let engine = EngineSessions::new([1; 32], has_recovery);
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

fn ok(content: &str) -> (u16, String) {
    (200, content.to_owned())
}

const UNKNOWN: &str = r#"{"code":1,"message":"Session ID unknown"}"#;
const BAD: &str = r#"{"code":3,"message":"Bad request"}"#;

fn bad(content: &str) -> (u16, String) {
    (400, content.to_owned())
}

fn sid_of(open: &str) -> String {
    open.split('"').nth(3).unwrap().to_owned()
}

/// A client's frame, its mask all zeros.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
}

/// The payloads of the server's frames, the opcode in front of those that are no text.
fn frames(mut output: &[u8]) -> Vec<String> {
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
    fn new() -> Self {
        Self::with(false, Rig::with_history())
    }

    fn with(has_recovery: bool, rig: Rig) -> Self {
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

    fn joined() -> Self {
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
    fn send(&mut self, method: &str, query: &str, fields: &str, body: &str) -> usize {
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

    fn take(&mut self, client: usize) -> (u16, String) {
        self.rig.turns(2);
        answer(&self.rig.take_output(client))
    }

    fn hold(&mut self) -> usize {
        let client = self.send("GET", "", "", "");
        assert_eq!(self.rig.take_output(client), b"", "it waits");
        client
    }

    fn get(&mut self) -> (u16, String) {
        let client = self.send("GET", "", "", "");
        self.take(client)
    }

    fn post(&mut self, body: &str) -> (u16, String) {
        let client = self.send("POST", "", "", body);
        self.take(client)
    }

    fn upgrade(&mut self) -> usize {
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket&sid={} HTTP/1.1\r\nHost: a\r\n{UPGRADE}\r\n",
            self.sid
        );
        let client = self.rig.connect(request.as_bytes());
        self.rig.turns(2);
        client
    }

    /// As [`Self::upgrade`], where there is nothing else to be told.
    fn socket(&mut self) -> usize {
        let socket = self.upgrade();
        let output = self.rig.take_output(socket);
        assert!(output.starts_with(b"HTTP/1.1 101 ") && output.ends_with(b"\r\n\r\n"));
        socket
    }

    fn upgraded() -> (Self, usize) {
        let mut pair = Self::joined();
        let socket = pair.socket();
        assert_eq!(pair.say(socket, &["2probe", "5"]), ["3probe"]);
        (pair, socket)
    }

    fn say(&mut self, socket: usize, texts: &[&str]) -> Vec<String> {
        let input: Vec<u8> = texts.iter().flat_map(|text| frame(1, text.as_bytes())).collect();
        self.rig.peer(socket).input.extend(input);
        self.hear(socket)
    }

    fn hear(&mut self, socket: usize) -> Vec<String> {
        self.rig.turns(3);
        frames(&self.rig.take_output(socket))
    }

    fn publish(&mut self, body: &[u8]) {
        self.rig.seq += 1;
        let parts = [Part::from("t"), Part::from(body)];
        let message = Message::from_parts(Seq(self.rig.seq), &parts, TopicFrom::Part);
        self.rig.connections.context.feeds.publish(&message);
    }

    fn wait(&mut self, millis: u64) {
        self.rig.now += Duration::from_millis(millis);
        self.rig.turns(3);
    }

    fn sessions(&self) -> usize {
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
    for (fields, body) in [("Content-Type: application/octet-stream\r\n", "4")] {
        let mut pair = Pair::joined();
        let client = pair.send("POST", "", fields, body);
        assert_eq!(pair.take(client), bad(BAD));
        assert_eq!(pair.sessions(), 0);
    }
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
fn a_client_may_leave_and_join_again() {
    let (mut pair, socket) = Pair::upgraded();
    pair.publish(b"a");
    assert_eq!(pair.hear(socket), [r#"42["message","a","t"]"#]);
    assert_eq!(pair.say(socket, &["41"]), [""; 0]);
    pair.publish(b"b");
    assert_eq!(pair.hear(socket), [""; 0]);
    let heard = pair.say(socket, &["40", "41", "40"]);
    assert!(heard.len() == 2 && heard.iter().all(|it| it.starts_with("40{")), "{heard:?}");
    pair.publish(b"c");
    assert_eq!(pair.hear(socket), [r#"42["message","c","t"]"#]);
    // A frame that is under way is finished whatever is said meanwhile.
    pair.rig.peer(socket).room = 10;
    pair.publish(b"d");
    pair.publish(b"e");
    pair.rig.turns(3);
    pair.rig.peer(socket).input.extend([frame(1, b"41"), frame(1, b"40")].concat());
    pair.rig.turns(2);
    let begun = pair.rig.take_output(socket);
    assert_eq!(begun.len(), 10);
    pair.rig.peer(socket).room = usize::MAX;
    pair.rig.turns(3);
    let heard = frames(&[begun, pair.rig.take_output(socket)].concat());
    assert_eq!(heard[0], r#"42["message","d","t"]"#);
    assert!(heard.len() == 2 && heard[1].starts_with("40{"), "{heard:?}");
    pair.publish(b"f");
    assert_eq!(pair.hear(socket), [r#"42["message","f","t"]"#]);
}

#[test]
fn a_socket_takes_over_without_losing_or_doubling() {
    let mut pair = Pair::joined();
    let waiting = pair.hold();
    let socket = pair.socket();
    assert_eq!(pair.say(socket, &["2probe"]), ["3probe"]);
    assert_eq!(pair.take(waiting), ok("6"), "it ends at once");
    let another = pair.hold();
    pair.publish(b"a");
    assert_eq!(pair.take(another), ok(r#"42["message","a","t"]"#));
    let third = pair.hold();
    pair.wait(50);
    assert_eq!(pair.rig.take_output(third), b"");
    pair.wait(100);
    assert_eq!(pair.take(third), ok("6"), "and the next ones now and then");
    pair.publish(b"b");
    assert_eq!(pair.hear(socket), [""; 0]);
    assert_eq!(pair.say(socket, &["5"]), [r#"42["message","b","t"]"#]);
    assert_eq!(pair.get(), bad(BAD));
    assert_eq!(pair.post("3"), bad(BAD));
    pair.publish(b"c");
    assert_eq!(pair.hear(socket), [r#"42["message","c","t"]"#]);
    assert_eq!(pair.sessions(), 1);
    let closing = frame(8, b"\x03\xe8");
    pair.rig.peer(socket).input.extend(closing);
    assert_eq!(pair.hear(socket), ["88:\\x03\\xe8"]);
    assert_eq!(pair.sessions(), 0);
}

#[test]
fn a_poll_that_waits_when_the_socket_takes_over_gets_nothing() {
    let mut pair = Pair::joined();
    let socket = pair.socket();
    assert_eq!(pair.say(socket, &["2probe"]), ["3probe"]);
    assert_eq!(pair.get(), ok("6"));
    let waiting = pair.hold();
    assert_eq!(pair.say(socket, &["5"]), [""; 0]);
    pair.publish(b"a");
    assert_eq!(pair.take(waiting), ok("6"));
    assert_eq!(pair.hear(socket), [r#"42["message","a","t"]"#]);
}

#[test]
fn a_post_may_come_with_the_upgrade() {
    let mut pair = Pair::new();
    let socket = pair.socket();
    assert_eq!(pair.say(socket, &["2probe"]), ["3probe"]);
    assert_eq!(pair.post("40"), ok("ok"));
    let heard = pair.say(socket, &["5"]);
    assert!(heard.len() == 1 && heard[0].starts_with("40{"), "{heard:?}");
}

#[test]
fn a_probe_that_fails_leaves_the_session_alone() {
    for texts in [&["2"][..], &["2nope"], &["5"], &["40"], &["2probe", "2probe"], &["x"], &[""]] {
        let mut pair = Pair::joined();
        let socket = pair.socket();
        let heard = pair.say(socket, texts);
        assert!(heard.last().is_some_and(|last| last.starts_with("88:")), "{texts:?} {heard:?}");
        let waiting = pair.hold();
        pair.publish(b"a");
        assert_eq!(pair.take(waiting), ok(r#"42["message","a","t"]"#));
    }
    let mut pair = Pair::joined();
    let socket = pair.socket();
    pair.rig.peer(socket).input_ended = true;
    let waiting = pair.hold();
    pair.publish(b"a");
    assert_eq!(pair.take(waiting), ok(r#"42["message","a","t"]"#));
    let late = pair.socket();
    assert_eq!(pair.say(late, &["2probe"]), ["3probe"]);
    assert_eq!(pair.get(), ok("6"));
    let waiting = pair.hold();
    pair.wait(10_000);
    assert!(pair.hear(late).iter().any(|last| last.starts_with("88:")));
    assert_eq!(pair.take(waiting), ok("6"));
    assert_eq!(pair.sessions(), 1);
}

#[test]
fn a_second_socket_is_closed() {
    let mut pair = Pair::joined();
    let first = pair.socket();
    for texts in [&["2probe", "5"][..], &[]] {
        let second = pair.upgrade();
        let output = pair.rig.take_output(second);
        assert!(output.starts_with(b"HTTP/1.1 101 ") && output.ends_with(b"\x88\x02\x03\xea"));
        pair.say(first, texts);
    }
    pair.publish(b"a");
    assert_eq!(pair.hear(first), [r#"42["message","a","t"]"#]);
}

#[test]
fn a_session_may_begin_with_a_socket() {
    let mut rig = rig_with(false, Rig::with_history());
    let request = "GET /socket.io/?transport=websocket&EIO=4&topic=t HTTP/1.1\r\nHost: a\r\n";
    let socket = rig.connect(format!("{request}{UPGRADE}\r\n").as_bytes());
    rig.turns(2);
    let output = rig.take_output(socket);
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let open = frames(&output[end..]);
    assert!(open.len() == 1 && open[0].contains("\"upgrades\":[],"), "{open:?}");
    let mut pair = Pair { rig, sid: sid_of(&open[0]) };
    let heard = pair.say(socket, &["40"]);
    assert!(heard[0].starts_with("40{\"sid\":") && !heard[0].contains(&pair.sid), "{heard:?}");
    pair.publish(b"\xff");
    let expected =
        [r#"451-["message",{"_placeholder":true,"num":0},"t"]"#.to_owned(), "82:\\xff".into()];
    assert_eq!(pair.hear(socket), expected);
    assert_eq!(pair.get(), bad(BAD));
    let binary = frame(2, b"x");
    pair.rig.peer(socket).input.extend(binary);
    assert_eq!(pair.hear(socket), ["88:\\x03\\xea"]);
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
fn pings_do_not_wait_for_messages_to_end() {
    let (mut pair, socket) = Pair::upgraded();
    pair.rig.peer(socket).room = 30;
    for _ in 0..50 {
        pair.publish(b"0123456789");
    }
    pair.rig.turns(2);
    pair.wait(25_000);
    let begun = pair.rig.take_output(socket);
    pair.rig.peer(socket).room = usize::MAX;
    pair.rig.turns(3);
    let all = frames(&[begun, pair.rig.take_output(socket)].concat());
    assert_eq!((all.len(), &*all[1]), (51, "2"));
}

#[test]
fn who_comes_back_first_gets_what_it_missed() {
    for by_socket in [false, true] {
        let mut pair = Pair::with(true, Rig::with_history());
        assert_eq!(pair.post("40"), ok("ok"));
        let (_, welcome) = pair.get();
        let welcome: serde_json::Value = serde_json::from_str(&welcome[2..]).unwrap();
        let pid = welcome["pid"].as_str().unwrap().to_owned();
        pair.publish(b"a");
        let (_, event) = pair.get();
        let event: serde_json::Value = serde_json::from_str(&event[2..]).unwrap();
        let offset = event[3].as_str().unwrap().to_owned();
        pair.publish(b"b");
        pair.publish(b"c");
        for (auth, expected) in [
            (format!(r#"{{"pid":"{pid}","offset":"{offset}"}}"#), &["b", "c"][..]),
            (format!(r#"{{"pid":"{pid}"}}"#), &["a", "b", "c"]),
        ] {
            pair.sid = String::new();
            let client = pair.send("GET", "", "", "");
            let (_, open) = pair.take(client);
            pair.sid = sid_of(&open);
            let mut packets = Vec::new();
            if by_socket {
                let socket = pair.socket();
                pair.say(socket, &["2probe", "5"]);
                packets = pair.say(socket, &[&format!("40{auth}")]);
            } else {
                assert_eq!(pair.post(&format!("40{auth}")), ok("ok"));
                while packets.len() < expected.len() + 1 {
                    packets.extend(pair.get().1.split('\x1e').map(str::to_owned));
                }
            }
            let bodies: Vec<_> = packets[..expected.len()]
                .iter()
                .map(|packet| packet.split('"').nth(3).unwrap())
                .collect();
            assert_eq!(bodies, expected);
            let last = packets.last().unwrap();
            assert!(last.starts_with("40{\"sid\":") && last.contains(&pid), "{packets:?}");
        }
    }
}

#[test]
fn who_cannot_resume_begins_anew() {
    for auth in [
        r#"{"pid":"nope"}"#,
        r#"{"pid":"abc","offset":"zzzzzzzz-1"}"#,
        r#"{"pid":"zzzzzzzz-1-abc","offset":"nope"}"#,
        r#"{"pid":"zzzzzzzz-1-abc","offset":"zzzzzzzz-1"}"#,
        r#"{"pid":5,"offset":[]}"#,
    ] {
        let mut pair = Pair::with(true, Rig::with_history());
        assert_eq!(pair.post(&format!("40{auth}")), ok("ok"));
        let (_, packets) = pair.get();
        let welcome = packets.split('\x1e').next().unwrap();
        let welcome: serde_json::Value = serde_json::from_str(&welcome[2..]).unwrap();
        assert!(!auth.contains(welcome["pid"].as_str().unwrap()));
    }
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
    pair.rig.connections.begin_drain(pair.rig.now, until);
    assert_eq!(pair.take(idle), ok("1"));

    let (mut pair, socket) = Pair::upgraded();
    pair.publish(b"b");
    pair.rig.connections.stop_serving();
    pair.rig.connections.begin_drain(pair.rig.now, until);
    assert_eq!(pair.hear(socket), [r#"42["message","b","t"]"#, "88:\\x03\\xe9"]);
    let closed = |reason| pair.rig.connections.context.metrics.closed(Transport::SocketIo, reason);
    assert_eq!((closed(CloseReason::Shutdown), pair.sessions()), (1, 0));
}

#[test]
fn sessions_are_counted_by_address_and_among_all_clients() {
    let mut pair = Pair::new();
    pair.rig.connections.context.limits.clients_max = 1;
    let sid = std::mem::take(&mut pair.sid);
    let client = pair.send("GET", "", "", "");
    assert_eq!(pair.take(client).0, 503);
    pair.rig.connections.context.limits.clients_max = 10;
    pair.rig.connections.context.session_addresses = Addresses::with_limit(1);
    for status in [200, 503] {
        let client = pair.send("GET", "", "", "");
        assert_eq!(pair.take(client).0, status);
    }
    pair.sid = sid;
    pair.post("1");
    pair.rig.turn();
    assert_eq!(pair.sessions(), 1);
}
