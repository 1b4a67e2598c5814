//! ZWS 2.0 (ZeroMQ's RFC 45): each part of a message as a WebSocket frame of its own, and what a SUB socket asks for.
//! Knows no session.

use super::websocket;
use crate::message::Message;

/// What a frame's first byte says of it.
const LAST: u8 = 0;
const MORE: u8 = 1;
const COMMAND: u8 = 2;

/// What stands in front of the topic in a request.
pub(crate) const REQUEST_HEAD_BYTES: usize = 2;

/// The flag, and the command as ZMTP has it: its name, then a property and its value, each with its length in front.
const READY: &[u8] = b"\x02\x05READY\x0bSocket-Type\0\0\0\x03PUB";

/// What was agreed on in the opening handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Each side's first message is its routing id.
    Plain,
    /// Each side's first message is its READY: ZMTP's mechanism NULL.
    Null,
}

impl Protocol {
    /// The one to be chosen of those that a client offers, if it offers any.
    pub(crate) fn choose<'a>(offered: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let of_name = |name: &[u8]| match name {
            b"ZWS2.0/NULL" => Some(Self::Null),
            b"ZWS2.0" => Some(Self::Plain),
            _ => None,
        };
        offered.filter_map(of_name).reduce(|first, second| match first {
            Self::Null => first,
            Self::Plain => second,
        })
    }

    /// As handshakes name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "ZWS2.0",
            Self::Null => "ZWS2.0/NULL",
        }
    }

    /// Appends the first message of a PUB socket: jszmq drops the first one, whatever it is.
    pub(crate) fn write_greeting(self, out: &mut Vec<u8>) {
        let greeting = match self {
            Self::Plain => &[LAST],
            Self::Null => READY,
        };
        websocket::write_frame(out, websocket::BINARY, greeting);
    }
}

/// Appends all frames of `message`, which must not be torn apart.
pub(super) fn write_message(out: &mut Vec<u8>, message: &Message<'_>) {
    message.for_each_part(|pieces, more| {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        websocket::write_header(out, websocket::BINARY, 1 + len);
        out.push(if more { MORE } else { LAST });
        pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    });
}

/// What a SUB socket wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    Subscribe(&'a [u8]),
    Cancel(&'a [u8]),
}

/// A frame without a flag, or with one that there is not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads what a client sends, frame by frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Before its routing id, which may look like anything.
    RoutingId,
    /// Where a message begins.
    Start,
    /// Behind a part that more parts follow: these are no requests.
    Inside,
}

impl Reader {
    pub(crate) fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Plain => Self::RoutingId,
            Protocol::Null => Self::Start,
        }
    }

    /// Takes the next frame, or the start of it. Everything but a request is passed over, as a PUB socket does it.
    pub(crate) fn read<'a>(&mut self, frame: &'a [u8]) -> Result<Option<Request<'a>>, Malformed> {
        let (&flag, payload) = frame.split_first().ok_or(Malformed)?;
        let before = *self;
        *self = match flag {
            MORE => Self::Inside,
            LAST => Self::Start,
            COMMAND if before == Self::RoutingId => Self::Start,
            COMMAND => before,
            _ => return Err(Malformed),
        };
        Ok(match (before, flag, payload) {
            (Self::Start, LAST, [1, topic @ ..]) => Some(Request::Subscribe(topic)),
            (Self::Start, LAST, [0, topic @ ..]) => Some(Request::Cancel(topic)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Part, Seq, TopicFrom};

    fn chosen(offered: &[&str]) -> Option<Protocol> {
        Protocol::choose(offered.iter().map(|name| name.as_bytes()))
    }

    #[test]
    fn the_mechanism_null_is_chosen_whenever_it_is_offered() {
        assert_eq!(chosen(&["ZWS2.0/NULL", "ZWS2.0"]), Some(Protocol::Null));
        assert_eq!(chosen(&["ZWS2.0", "x", "ZWS2.0/NULL"]), Some(Protocol::Null));
        assert_eq!(chosen(&["ZWS2.0/PLAIN", "ZWS2.0"]), Some(Protocol::Plain));
        assert_eq!(chosen(&["ZWS1.0", "zws2.0", ""]), None);
    }

    #[test]
    fn greetings() {
        let greeting = |protocol: Protocol| {
            let mut out = Vec::new();
            protocol.write_greeting(&mut out);
            out
        };
        assert_eq!(greeting(Protocol::Plain), b"\x82\x01\0");
        assert_eq!(greeting(Protocol::Null), b"\x82\x1a\x02\x05READY\x0bSocket-Type\0\0\0\x03PUB");
    }

    #[test]
    fn each_part_is_a_binary_frame_with_its_flag() {
        let written = |parts: &[&str], from| {
            let parts: Vec<Part> = parts.iter().map(|part| Part::from(*part)).collect();
            let mut out = Vec::new();
            write_message(&mut out, &Message::from_parts(Seq(1), &parts, from));
            out
        };
        let colon = TopicFrom::Delimiter(b':');
        assert_eq!(written(&["a"], TopicFrom::Part), b"\x82\x02\0a");
        assert_eq!(written(&[""], TopicFrom::Part), b"\x82\x01\0");
        assert_eq!(
            written(&["t", "", "b"], TopicFrom::Part),
            b"\x82\x02\x01t\x82\x01\x01\x82\x02\0b"
        );
        assert_eq!(written(&["t", "b"], TopicFrom::None), b"\x82\x02\x01t\x82\x02\0b");
        assert_eq!(written(&["t:b"], colon), b"\x82\x04\0t:b");
        let long = "x".repeat(70_000);
        let frames = written(&["t", &long], TopicFrom::Part);
        assert_eq!(frames[..15], *b"\x82\x02\x01t\x82\x7f\0\0\0\0\0\x01\x11\x71\0");
        assert_eq!(frames.len(), 14 + 70_001);
    }

    #[test]
    fn requests_are_found_among_everything_else() {
        let mut reader = Reader::new(Protocol::Null);
        let mut read = |frame| reader.read(frame);
        assert_eq!(read(b"\x02\x05READY"), Ok(None));
        assert_eq!(read(b"\0\x01abc"), Ok(Some(Request::Subscribe(b"abc"))));
        assert_eq!(read(b"\0\x01"), Ok(Some(Request::Subscribe(b""))));
        assert_eq!(read(b"\0\0abc"), Ok(Some(Request::Cancel(b"abc"))));
        assert_eq!(read(b"\0"), Ok(None));
        assert_eq!(read(b"\0hello"), Ok(None));
        assert_eq!(read(b"\x01\x01abc"), Ok(None), "a part of a longer message");
        assert_eq!(read(b"\x02\x04PING"), Ok(None));
        assert_eq!(read(b"\0\x01abc"), Ok(None), "its last part");
        assert_eq!(read(b"\0\x01b"), Ok(Some(Request::Subscribe(b"b"))));
        assert_eq!(read(b""), Err(Malformed));
        assert_eq!(read(b"\x03\x01a"), Err(Malformed));
    }

    #[test]
    fn a_routing_id_is_no_request() {
        let mut reader = Reader::new(Protocol::Plain);
        assert_eq!(reader.read(b"\0\x01abc"), Ok(None));
        assert_eq!(reader.read(b"\0\x01abc"), Ok(Some(Request::Subscribe(b"abc"))));
    }
}
