//! Engine.IO 4: its packets, and how a feed's frames become what a poll carries of them. Knows no socket and no session.
//!
//! On a WebSocket a packet is a message. A poll's answer, the payload, holds packets with a separator between them, and
//! binary ones in base64. Feeds hold frames for WebSockets: a session may move to one at any time, and then its cursor
//! goes on where it is.

use std::time::Duration;

use data_encoding::BASE64;

use super::websocket;

/// What stands between two packets of a payload.
pub(crate) const SEPARATOR: u8 = 0x1e;

/// Packets that say all in their first byte.
pub(crate) const CLOSE: &[u8] = b"1";
/// As [`CLOSE`], behind other packets.
pub(crate) const LAST_CLOSE: &[u8] = b"\x1e1";
pub(crate) const PING: &[u8] = b"2";
pub(crate) const PROBED: &[u8] = b"3probe";
pub(crate) const NOOP: &[u8] = b"6";

/// What a client says in one packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    Close,
    /// With what follows: `probe`, or nothing from a client that takes itself for the server.
    Ping(&'a [u8]),
    Pong,
    /// A text for the protocol above.
    Text(&'a [u8]),
    /// A binary message for the protocol above; what it holds is nothing to anybody.
    Binary,
    Upgrade,
    /// What only servers say, and means nothing from a client.
    Ignored,
}

impl<'a> Packet<'a> {
    /// The packet that a text message is; `None` for what is none.
    pub(crate) fn from_text(text: &'a [u8]) -> Option<Self> {
        let (kind, rest) = text.split_first()?;
        Some(match kind {
            b'1' => Self::Close,
            b'2' => Self::Ping(rest),
            b'3' => Self::Pong,
            b'4' => Self::Text(rest),
            b'5' => Self::Upgrade,
            b'0' | b'6' => Self::Ignored,
            _ => return None,
        })
    }

    fn from_payload(text: &'a [u8]) -> Option<Self> {
        match text.strip_prefix(b"b") {
            Some(digits) => BASE64.decode(digits).is_ok().then_some(Self::Binary),
            None => Self::from_text(text),
        }
    }
}

/// The packets of a payload, each `None` that is none.
pub(crate) fn payload_packets(payload: &[u8]) -> impl Iterator<Item = Option<Packet<'_>>> {
    let is_text = simdutf8::basic::from_utf8(payload).is_ok();
    payload
        .split(|&byte| byte == SEPARATOR)
        .map(move |packet| if is_text { Packet::from_payload(packet) } else { None })
}

/// What opens a session.
#[derive(Debug)]
pub(crate) struct Open<'a> {
    pub(crate) sid: &'a str,
    /// Whether the client may go on with a WebSocket.
    pub(crate) has_upgrades: bool,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) payload_bytes_max: usize,
}

impl Open<'_> {
    /// The packet. Clients fail without any of its members.
    pub(crate) fn to_packet(&self) -> Vec<u8> {
        let upgrades = if self.has_upgrades { "\"websocket\"" } else { "" };
        let (sid, interval, timeout, bytes_max) = (
            self.sid,
            self.ping_interval.as_millis(),
            self.ping_timeout.as_millis(),
            self.payload_bytes_max,
        );
        let packet = format!(
            "0{{\"sid\":\"{sid}\",\"upgrades\":[{upgrades}],\"pingInterval\":{interval},\
             \"pingTimeout\":{timeout},\"maxPayload\":{bytes_max}}}"
        );
        packet.into_bytes()
    }
}

/// The packets of an answer while they are put together.
#[derive(Debug, Default)]
pub(crate) struct Payload {
    bytes: Vec<u8>,
}

impl Payload {
    /// Takes events from the front of `frames`, which are a feed's and whole, while it has less than `bytes_max`, and
    /// returns how many bytes of them that is. An event is a text with the binary messages behind it.
    pub(crate) fn take(&mut self, frames: &[u8], bytes_max: usize) -> usize {
        let mut rest = frames;
        while let Some((opcode, payload, behind)) = websocket::split_frame(rest) {
            let is_text = opcode == websocket::TEXT;
            if is_text && self.bytes.len() >= bytes_max {
                break;
            }
            if !self.bytes.is_empty() {
                self.bytes.push(SEPARATOR);
            }
            if is_text {
                self.bytes.extend_from_slice(payload);
            } else {
                self.bytes.push(b'b');
                append_base64(&mut self.bytes, payload);
            }
            rest = behind;
        }
        frames.len() - rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.shrink_to_fit();
        self.bytes
    }
}

/// Appends the packet `packet` to others.
pub(crate) fn append_packet(out: &mut Vec<u8>, packet: &[u8]) {
    if !out.is_empty() {
        out.push(SEPARATOR);
    }
    out.extend_from_slice(packet);
}

/// The frames for `packets`, which have separators between them.
pub(crate) fn frames_of(packets: &[u8]) -> Vec<u8> {
    let mut frames = Vec::with_capacity(packets.len() + 8);
    for packet in packets.split(|&byte| byte == SEPARATOR) {
        websocket::write_frame(&mut frames, websocket::TEXT, packet);
    }
    frames
}

fn append_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + BASE64.encode_len(bytes.len()), 0);
    BASE64.encode_mut(bytes, &mut out[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_random::Random;
    use crate::wire::websocket::{BINARY, TEXT};

    #[test]
    fn packets_of_a_payload() {
        let packets = |payload| payload_packets(payload).collect::<Vec<_>>();
        assert_eq!(packets(b"40"), [Some(Packet::Text(b"0"))]);
        assert_eq!(
            packets(b"3\x1e4\x1ebAQID\x1eb\x1e1"),
            [Packet::Pong, Packet::Text(b""), Packet::Binary, Packet::Binary, Packet::Close]
                .map(Some)
        );
        assert_eq!(packets(b"2probe"), [Some(Packet::Ping(b"probe"))]);
        for garbage in [&b""[..], b"4\x1e", b"x", b"bA", b"7", b"\xff", b"4\xff"] {
            assert!(packets(garbage).contains(&None), "{}", garbage.escape_ascii());
        }
    }

    #[test]
    fn the_open_packet() {
        let open = Open {
            sid: "abc",
            has_upgrades: true,
            ping_interval: Duration::from_millis(300),
            ping_timeout: Duration::from_secs(20),
            payload_bytes_max: 4096,
        };
        let expected = "0{\"sid\":\"abc\",\"upgrades\":[\"websocket\"],\"pingInterval\":300,\
            \"pingTimeout\":20000,\"maxPayload\":4096}";
        assert_eq!(open.to_packet(), expected.as_bytes());
        let last = Open { has_upgrades: false, ..open };
        assert_eq!(last.to_packet(), expected.replace("\"websocket\"", "").as_bytes());
    }

    #[test]
    fn frames_become_packets() {
        let mut random = Random::from_env();
        for _ in 0..300 {
            let (mut frames, mut expected, mut ends) = (Vec::new(), Vec::new(), Vec::new());
            for index in 0..1 + random.below(5) {
                let is_text = index == 0 || random.chance(2);
                let len = [0, 1, 2, 3, 100, 125, 126, 70_000][random.below(8)];
                // A packet says at least what it is.
                let len = len.max(usize::from(is_text));
                let payload: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
                if is_text {
                    ends.push((frames.len(), expected.len()));
                }
                if index > 0 {
                    expected.push(SEPARATOR);
                }
                if is_text {
                    websocket::write_frame(&mut frames, TEXT, &payload);
                    expected.extend_from_slice(&payload);
                } else {
                    websocket::write_frame(&mut frames, BINARY, &payload);
                    expected.push(b'b');
                    expected.extend_from_slice(BASE64.encode(&payload).as_bytes());
                }
            }
            ends.push((frames.len(), expected.len()));
            let mut all = Payload::default();
            assert_eq!(all.take(&frames, usize::MAX), frames.len());
            assert!(all.finish() == expected);
            let bytes_max = 1 + random.below(80_000);
            let mut some = Payload::default();
            let taken = some.take(&frames, bytes_max);
            let end = ends.iter().find(|end| end.0 == taken).expect("an event is never torn apart");
            assert!(some.finish() == expected[..end.1]);
            assert!(end.1 >= bytes_max || taken == frames.len(), "as much as there is room for");
        }
    }

    #[test]
    fn packets_become_frames() {
        let mut packets = Vec::new();
        append_packet(&mut packets, b"2");
        append_packet(&mut packets, b"40{}");
        assert_eq!(packets, b"2\x1e40{}");
        assert_eq!(frames_of(&packets), b"\x81\x012\x81\x0440{}");
    }
}
