//! Socket.IO 5: messages and gaps as events, and what a client's packets mean. Knows no session.

use std::borrow::Cow;

use super::json_scan::{self, Kind};
use super::websocket::{self, BINARY, TEXT};
use super::{json, write_id};
use crate::error::GapReason;
use crate::message::{Epoch, Message};

/// The arguments of an event `message`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Arguments {
    /// Body and topic.
    Raw,
    /// Body, topic and offset, for a client that may resume.
    RawAndOffset,
    /// An object with id, topic and data.
    Json,
    /// That object and the offset.
    JsonAndOffset,
}

impl Arguments {
    pub(super) const ALL: [Self; 4] =
        [Self::Raw, Self::RawAndOffset, Self::Json, Self::JsonAndOffset];

    /// The place in [`Self::ALL`].
    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Appends the event for `message`, as frames for a WebSocket: one of text, and one for each argument that is no text.
    pub(super) fn write_message(self, out: &mut Vec<u8>, epoch: &Epoch, message: &Message<'_>) {
        if matches!(self, Arguments::Json | Arguments::JsonAndOffset) {
            return write_event(out, b"42", |out| {
                json::write_message(out, epoch, message);
                write_offset(out, self, epoch, message);
            });
        }
        let body = joined_body(message);
        let mut count = 0;
        let [body, topic] = [&*body, message.topic()].map(|bytes| {
            if simdutf8::basic::from_utf8(bytes).is_ok() {
                return Argument::Text(bytes);
            }
            count += 1;
            Argument::Attachment(bytes, count - 1)
        });
        let head: &[u8] = match count {
            0 => b"42",
            1 => b"451-",
            _ => b"452-",
        };
        write_event(out, head, |out| {
            write_argument(out, &body);
            out.push(b',');
            write_argument(out, &topic);
            write_offset(out, self, epoch, message);
        });
        for argument in [body, topic] {
            if let Argument::Attachment(bytes, _) = argument {
                websocket::write_frame(out, BINARY, bytes);
            }
        }
    }

    /// Appends the event `gap`.
    pub(super) fn write_gap(self, out: &mut Vec<u8>, missed: Option<u64>, reason: GapReason) {
        let write_text = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"42[\"gap\",");
            json::write_gap_object(out, missed, reason);
            out.push(b']');
        };
        websocket::write_frame_with(out, write_text, |_| TEXT);
    }
}

/// An argument of an event.
enum Argument<'a> {
    Text(&'a [u8]),
    /// The binary message with this number behind the event's text.
    Attachment(&'a [u8], u8),
}

fn write_event(out: &mut Vec<u8>, head: &[u8], write_arguments: impl FnOnce(&mut Vec<u8>)) {
    let write_text = |out: &mut Vec<u8>| {
        out.extend_from_slice(head);
        out.extend_from_slice(b"[\"message\",");
        write_arguments(out);
        out.push(b']');
    };
    websocket::write_frame_with(out, write_text, |_| TEXT);
}

fn write_argument(out: &mut Vec<u8>, argument: &Argument<'_>) {
    match argument {
        Argument::Text(text) => json::write_string(out, text),
        Argument::Attachment(_, number) => {
            out.extend_from_slice(b"{\"_placeholder\":true,\"num\":");
            out.push(b'0' + number);
            out.push(b'}');
        }
    }
}

fn write_offset(out: &mut Vec<u8>, arguments: Arguments, epoch: &Epoch, message: &Message<'_>) {
    if matches!(arguments, Arguments::RawAndOffset | Arguments::JsonAndOffset) {
        out.extend_from_slice(b",\"");
        write_id(out, epoch, message.seq);
        out.push(b'"');
    }
}

fn joined_body<'a>(message: &Message<'a>) -> Cow<'a, [u8]> {
    let mut parts = message.body();
    match (parts.next(), message.body_parts()) {
        (Some(part), 1) => Cow::Borrowed(part),
        _ => Cow::Owned(message.body().flatten().copied().collect()),
    }
}

/// What a client says in one packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// It joins the main namespace, perhaps with an object.
    Connect(&'a [u8]),
    /// It joins a namespace that is not there.
    ConnectElsewhere(&'a str),
    Disconnect,
    /// It says something that nobody listens to; so many binary messages belong to it.
    Said {
        attachments: u32,
    },
    /// It names a namespace that it has not joined.
    Elsewhere,
}

/// Attachments that one event may have, as the reference clients have it.
const ATTACHMENTS_MAX: u32 = 10;

/// A namespace's name, which a client hears again when it is not there.
const NAMESPACE_BYTES_MAX: usize = 128;

impl<'a> Packet<'a> {
    /// The packet that `text` is; `None` for what no client sends.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let (kind, mut rest) = text.split_first()?;
        let is_binary = matches!(kind, b'5' | b'6');
        let mut attachments = 0;
        if is_binary {
            let dash = rest.iter().position(|&byte| byte == b'-')?;
            let digits = std::str::from_utf8(&rest[..dash]).ok()?;
            attachments =
                digits.parse().ok().filter(|count| (1..=ATTACHMENTS_MAX).contains(count))?;
            rest = &rest[dash + 1..];
        }
        let mut namespace = None;
        if rest.first() == Some(&b'/') {
            let end = rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len());
            let name = std::str::from_utf8(&rest[..end]).ok()?;
            // A query may follow the name, as clients of version 2 had it.
            let name = name.split('?').next().unwrap_or(name);
            if name.len() > NAMESPACE_BYTES_MAX || name.contains(char::is_control) {
                return None;
            }
            namespace = Some(name).filter(|name| *name != "/");
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (ack, data) = rest.split_at(digits);
        let packet = match kind {
            b'0' if ack.is_empty()
                && (data.is_empty() || json_scan::kind(data) == Some(Kind::Object)) =>
            {
                return Some(namespace.map_or(Self::Connect(data), Self::ConnectElsewhere));
            }
            b'1' if rest.is_empty() => Self::Disconnect,
            b'2' | b'5' if is_event(data) => Self::Said { attachments },
            b'3' | b'6' if !ack.is_empty() && json_scan::kind(data) == Some(Kind::Array) => {
                Self::Said { attachments }
            }
            _ => return None,
        };
        Some(if namespace.is_some() { Self::Elsewhere } else { packet })
    }
}

/// Names that clients keep for themselves, as JSON.
const RESERVED: [&[u8]; 6] = [
    b"\"connect\"",
    b"\"connect_error\"",
    b"\"disconnect\"",
    b"\"disconnecting\"",
    b"\"newListener\"",
    b"\"removeListener\"",
];

fn is_event(data: &[u8]) -> bool {
    match json_scan::first_element(data) {
        Some((Kind::String, name)) => !RESERVED.contains(&name),
        Some((Kind::Number, _)) => true,
        _ => false,
    }
}

/// The packet, with Engine.IO's `4`, that lets a client in.
pub(crate) fn connected(sid: &str, pid: Option<&str>) -> Vec<u8> {
    match pid {
        Some(pid) => format!("40{{\"sid\":\"{sid}\",\"pid\":\"{pid}\"}}"),
        None => format!("40{{\"sid\":\"{sid}\"}}"),
    }
    .into_bytes()
}

/// The packet, with Engine.IO's `4`, that puts a client out: it does not come back by itself.
pub(crate) const DISCONNECT: &[u8] = b"41";

/// The packet that tells a client that a namespace is not there.
pub(crate) fn invalid_namespace(name: &str) -> Vec<u8> {
    format!("44{name},{{\"message\":\"Invalid namespace\"}}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Part, Seq, TopicFrom};

    fn encoded(arguments: Arguments, parts: &[&[u8]]) -> Vec<u8> {
        let parts: Vec<Part> = parts.iter().map(|part| Part::from(*part)).collect();
        let message = Message::from_parts(Seq(42), &parts, TopicFrom::Part);
        let mut out = Vec::new();
        arguments.write_message(&mut out, &Epoch::from_seed(0), &message);
        out
    }

    fn framed(frames: &[(u8, &[u8])]) -> Vec<u8> {
        let frame = |&(opcode, payload): &(u8, &[u8])| {
            [&[opcode, payload.len() as u8][..], payload].concat()
        };
        frames.iter().flat_map(frame).collect()
    }

    #[test]
    fn messages_are_events_with_body_and_topic() {
        use Arguments::{Json, JsonAndOffset, Raw, RawAndOffset};
        for (arguments, parts, frames) in [
            (Raw, &[&b"t"[..], b"a\x1e\"", b"b"][..], &[(0x81, &br#"42["message","a\u001e\"b","t"]"#[..])][..]),
            (Raw, &[b"one"], &[(0x81, br#"42["message","one",""]"#)]),
            (RawAndOffset, &[b"t", b"a"], &[(0x81, br#"42["message","a","t","00000000-42"]"#)]),
            (
                Raw,
                &[b"t", b"\xff", b""],
                &[(0x81, br#"451-["message",{"_placeholder":true,"num":0},"t"]"#), (0x82, b"\xff")],
            ),
            (
                RawAndOffset,
                &[b"\xfe", b"\xff"],
                &[
                    (0x81, br#"452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1},"00000000-42"]"#),
                    (0x82, b"\xff"),
                    (0x82, b"\xfe"),
                ],
            ),
            (
                Raw,
                &[b"\xfe", b"a"],
                &[(0x81, br#"451-["message","a",{"_placeholder":true,"num":0}]"#), (0x82, b"\xfe")],
            ),
            (Json, &[b"t", b"a"], &[(0x81, br#"42["message",{"id":"00000000-42","topic":"t","data":"a"}]"#)]),
            (
                JsonAndOffset,
                &[b"t", b"a"],
                &[(0x81, br#"42["message",{"id":"00000000-42","topic":"t","data":"a"},"00000000-42"]"#)],
            ),
        ] {
            let out = encoded(arguments, parts);
            assert_eq!(out.escape_ascii().to_string(), framed(frames).escape_ascii().to_string());
        }
        let mut gap = Vec::new();
        Raw.write_gap(&mut gap, Some(3), GapReason::Lag);
        assert_eq!(gap, framed(&[(0x81, br#"42["gap",{"missed":3,"reason":"lag"}]"#)]));
    }

    #[test]
    fn what_clients_say() {
        for (text, expected) in [
            ("0", Some(Packet::Connect(b""))),
            ("0/,", Some(Packet::Connect(b""))),
            (r#"0{"token":"abc"}"#, Some(Packet::Connect(br#"{"token":"abc"}"#))),
            ("0/nope,", Some(Packet::ConnectElsewhere("/nope"))),
            (r#"0/nope?a=b,{}"#, Some(Packet::ConnectElsewhere("/nope"))),
            ("1", Some(Packet::Disconnect)),
            ("1/nope,", Some(Packet::Elsewhere)),
            (r#"2["a",1]"#, Some(Packet::Said { attachments: 0 })),
            (r#"217["ask",1]"#, Some(Packet::Said { attachments: 0 })),
            (r#"2/nope,["a"]"#, Some(Packet::Elsewhere)),
            (r#"51-["a",{"_placeholder":true,"num":0}]"#, Some(Packet::Said { attachments: 1 })),
            ("31[]", Some(Packet::Said { attachments: 0 })),
        ] {
            assert_eq!(Packet::parse(text.as_bytes()), expected, "{text}");
        }
        for text in [
            "",
            "0[]",
            "0{",
            "2{}",
            "2[]",
            "2abc[\"a\"]",
            "5-[\"a\"]",
            "50-[\"a\"]",
            "511-[\"a\"]",
            "7",
            "2",
            "4{\"a\":1}",
            "2[\"connect\"]",
            "1x",
            "0/a\u{1e}b,",
            "2[{}]",
            "3[]",
            "2[\"a\"",
        ] {
            assert_eq!(Packet::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn answers() {
        assert_eq!(connected("A", None), br#"40{"sid":"A"}"#);
        assert_eq!(connected("A", Some("P")), br#"40{"sid":"A","pid":"P"}"#);
        assert_eq!(invalid_namespace("/n"), br#"44/n,{"message":"Invalid namespace"}"#);
    }
}
