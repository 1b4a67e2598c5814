//! Pure encoders and decoders: bytes in, bytes out. No socket, no clock, no state of a client.

#[cfg_attr(not(feature = "compress"), path = "no_deflate.rs")]
mod deflate;
pub(crate) mod engine_io;
pub(crate) mod json;
pub(crate) mod json_scan;
pub(crate) mod poll;
pub(crate) mod socket_io;
pub(crate) mod sse;
pub(crate) mod utf8;
pub(crate) mod websocket;
pub(crate) mod zws;

use std::str::FromStr;

use tungstenite::protocol::frame::coding::OpCode;

pub(crate) use deflate::Deflater;

use crate::error::{GapReason, ParseError};
use crate::message::{Epoch, Message, Seq};

/// How a message looks to a client (`--format`, `?format=`).
///
/// # Examples
///
/// ```
/// use zmq2ws::{Format, Gateway};
///
/// // For clients that do not say `?format=`.
/// let gateway = Gateway::builder().format(Format::Json).build()?;
/// assert_eq!("parts".parse(), Ok(Format::Parts));
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// The body alone, its parts joined.
    Raw,
    /// An object with id, topic and data.
    Json,
    /// Every part with its length in front, topic first.
    Parts,
}

impl FromStr for Format {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "raw" => Ok(Self::Raw),
            "json" => Ok(Self::Json),
            "parts" => Ok(Self::Parts),
            _ => Err(ParseError::new("expected 'raw', 'json' or 'parts'")),
        }
    }
}

/// The WebSocket opcode of raw messages (`--payload`).
///
/// # Examples
///
/// ```
/// use zmq2ws::{Gateway, Payload};
///
/// // Clients read bytes, whatever they look like.
/// let gateway = Gateway::builder().payload(Payload::Binary).build()?;
/// assert_eq!("auto".parse(), Ok(Payload::Auto));
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// Text where the body is valid UTF-8, binary otherwise.
    Auto,
    /// Text always; a body that is not UTF-8 is sent as binary all the same, since a peer must fail on such text.
    Text,
    /// Binary always.
    Binary,
}

impl FromStr for Payload {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "binary" => Ok(Self::Binary),
            _ => Err(ParseError::new("expected 'auto', 'text' or 'binary'")),
        }
    }
}

/// The bytes that go to a client's socket: a format as a transport frames it. One feed holds one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum WireFormat {
    WebSocket(Format),
    /// As on a WebSocket, each message deflated where that makes it smaller: for clients that agreed on that.
    Deflated(Format),
    Sse(sse::Data, sse::Framing),
    /// A WebSocket frame for each part.
    Zws,
    Poll,
    /// As on a WebSocket, also for clients that poll: they may move to one.
    SocketIo(socket_io::Arguments),
}

/// What encoding depends on besides the message: the same for the whole gateway.
pub(crate) struct Encoding {
    pub(crate) epoch: Epoch,
    pub(crate) payload: Payload,
    /// Set where messages are deflated (`--compress`).
    pub(crate) deflater: Option<Deflater>,
}

/// What was deflated; only grows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeflateCounts {
    /// Bytes of messages, each counted once for each format, whoever gets them.
    pub(crate) bytes_in: u64,
    /// Bytes that these became.
    pub(crate) bytes_out: u64,
    /// How long it took, in bytes: 10 to 16 ns each.
    pub(crate) work_bytes: usize,
}

impl Encoding {
    /// One that deflates nothing.
    pub(crate) fn new(epoch: Epoch, payload: Payload) -> Self {
        Self { epoch, payload, deflater: None }
    }

    /// What was deflated so far.
    pub(crate) fn deflate_counts(&self) -> DeflateCounts {
        self.deflater.as_ref().map(Deflater::counts).unwrap_or_default()
    }
}

impl WireFormat {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::SOCKET_IO + socket_io::Arguments::ALL.len();

    /// The first place of those for Socket.IO.
    const SOCKET_IO: usize = 12;

    /// The place in a table of [`Self::COUNT`].
    pub(crate) fn index(self) -> usize {
        match self {
            Self::WebSocket(format) => format as usize,
            Self::Deflated(format) => 3 + format as usize,
            Self::Sse(data, framing) => 6 + 2 * data as usize + framing as usize,
            Self::Zws => 10,
            Self::Poll => 11,
            Self::SocketIo(arguments) => Self::SOCKET_IO + arguments.index(),
        }
    }

    /// Appends the frame for `message`; in front of it, and never apart from it, what was lost upstream, where the
    /// format can tell.
    pub(crate) fn write_message(
        self,
        out: &mut Vec<u8>,
        encoding: &mut Encoding,
        message: &Message<'_>,
    ) {
        if let Some(lost) = message.lost_upstream {
            self.write_gap(out, lost.missed, GapReason::Upstream);
        }
        match self {
            Self::WebSocket(format) | Self::Deflated(format) => {
                let Encoding { epoch, payload, deflater } = encoding;
                let write = |out: &mut Vec<u8>| write_payload(out, format, epoch, message);
                let opcode = |content: &[u8]| opcode(format, *payload, content);
                match deflater {
                    Some(deflater) if self.deflates() && deflater.takes(message.body_bytes()) => {
                        deflater.write_frame(out, write, opcode);
                    }
                    Some(_) | None => websocket::write_frame_with(out, write, opcode),
                }
            }
            Self::Sse(data, framing) => framing.write_with(out, |out| match data {
                sse::Data::Raw => sse::write_raw(out, &encoding.epoch, message),
                sse::Data::Json => sse::write_json(out, &encoding.epoch, message),
            }),
            Self::Zws => zws::write_message(out, message),
            Self::Poll => poll::write_message(out, &encoding.epoch, message),
            Self::SocketIo(arguments) => arguments.write_message(out, &encoding.epoch, message),
        }
    }

    /// Whether messages are deflated: notices never are, they are too short.
    pub(crate) fn deflates(self) -> bool {
        matches!(self, Self::Deflated(_))
    }

    /// Whether the format can tell of a gap: `raw` and `parts` on WebSocket cannot, nor can ZWS.
    pub(crate) fn tells_gaps(self) -> bool {
        match self {
            Self::WebSocket(format) | Self::Deflated(format) => format == Format::Json,
            Self::Sse(..) | Self::Poll | Self::SocketIo(_) => true,
            Self::Zws => false,
        }
    }

    /// Appends the frame that tells of a gap, where the format can.
    pub(crate) fn write_gap(self, out: &mut Vec<u8>, missed: Option<u64>, reason: GapReason) {
        match self {
            Self::WebSocket(Format::Json) | Self::Deflated(Format::Json) => {
                websocket::write_frame_with(
                    out,
                    |out| json::write_gap(out, missed, reason),
                    |_| websocket::TEXT,
                );
            }
            Self::Sse(_, framing) => {
                framing.write_with(out, |out| sse::write_gap(out, missed, reason));
            }
            Self::Poll => poll::write_gap(out, missed, reason),
            Self::SocketIo(arguments) => arguments.write_gap(out, missed, reason),
            Self::WebSocket(_) | Self::Deflated(_) | Self::Zws => {}
        }
    }
}

/// Appends what a WebSocket message of `format` holds.
fn write_payload(out: &mut Vec<u8>, format: Format, epoch: &Epoch, message: &Message<'_>) {
    match format {
        Format::Raw => message.body().for_each(|part| out.extend_from_slice(part)),
        Format::Json => json::write_message(out, epoch, message),
        Format::Parts => write_parts(out, message),
    }
}

/// The opcode of a WebSocket message of `format` with this `content`.
fn opcode(format: Format, payload: Payload, content: &[u8]) -> OpCode {
    match format {
        Format::Raw => raw_opcode(payload, content),
        Format::Json => websocket::TEXT,
        Format::Parts => websocket::BINARY,
    }
}

/// Appends `EPOCH-SEQ`.
fn write_id(out: &mut Vec<u8>, epoch: &Epoch, seq: Seq) {
    out.extend_from_slice(epoch.as_str().as_bytes());
    out.push(b'-');
    out.extend_from_slice(itoa::Buffer::new().format(seq.0).as_bytes());
}

/// A text frame must hold UTF-8 (RFC 6455 section 5.6), so what is not goes as binary whatever was asked for.
fn raw_opcode(payload: Payload, body: &[u8]) -> OpCode {
    match payload {
        Payload::Auto | Payload::Text if simdutf8::basic::from_utf8(body).is_ok() => {
            websocket::TEXT
        }
        Payload::Auto | Payload::Text | Payload::Binary => websocket::BINARY,
    }
}

/// Each part, topic first, as its length in four bytes, big-endian, and its bytes. A message without a topic has an
/// empty one here, so that the first part is always the topic.
fn write_parts(out: &mut Vec<u8>, message: &Message<'_>) {
    for part in std::iter::once(message.topic()).chain(message.body()) {
        let len = u32::try_from(part.len()).expect("--max-message is below 4 GiB");
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Lost, Part, Seq, TopicFrom};

    fn encoded(wire: WireFormat, payload: Payload, parts: &[&[u8]]) -> Vec<u8> {
        let parts: Vec<Part> = parts.iter().map(|part| Part::from(*part)).collect();
        let message = Message::from_parts(Seq(1), &parts, TopicFrom::Part);
        let mut out = Vec::new();
        wire.write_message(&mut out, &mut Encoding::new(Epoch::from_seed(0), payload), &message);
        out
    }

    #[test]
    fn raw_is_the_joined_body_as_text_or_binary() {
        use Payload::{Auto, Binary, Text};
        let raw =
            |payload, parts: &[&[u8]]| encoded(WireFormat::WebSocket(Format::Raw), payload, parts);
        assert_eq!(raw(Auto, &[b"t", b"a", b"b"]), b"\x81\x02ab");
        assert_eq!(raw(Binary, &[b"t", b"a", b"b"]), b"\x82\x02ab");
        assert_eq!(raw(Auto, &[b"t", b"\xff"]), b"\x82\x01\xff");
        assert_eq!(raw(Text, &[b"t", b"\xff"]), b"\x82\x01\xff");
        assert_eq!(raw(Auto, &[b"t", b"\xc3", b"\xa9"]), b"\x81\x02\xc3\xa9", "judged as a whole");
        assert_eq!(raw(Auto, &[b""]), b"\x81\x00");
    }

    #[test]
    fn parts_keep_their_borders() {
        let parts =
            |parts: &[&[u8]]| encoded(WireFormat::WebSocket(Format::Parts), Payload::Auto, parts);
        assert_eq!(parts(&[b"t", b"", b"ab"]), b"\x82\x0f\0\0\0\x01t\0\0\0\0\0\0\0\x02ab");
        assert_eq!(parts(&[b"ab"]), b"\x82\x0a\0\0\0\0\0\0\0\x02ab");
    }

    #[test]
    fn what_was_lost_upstream_comes_right_before_its_message() {
        let parts = [Part::from("t"), Part::from("a")];
        let mut message = Message::from_parts(Seq(1), &parts, TopicFrom::Part);
        message.lost_upstream = Some(Lost { missed: Some(2) });
        let encoded = |format| {
            let mut encoding = Encoding::new(Epoch::from_seed(0), Payload::Auto);
            let mut out = Vec::new();
            WireFormat::WebSocket(format).write_message(&mut out, &mut encoding, &message);
            out
        };
        let expected = b"\x81\x28{\"gap\":{\"missed\":2,\"reason\":\"upstream\"}}\
            \x81\x2a{\"id\":\"00000000-1\",\"topic\":\"t\",\"data\":\"a\"}";
        assert_eq!(encoded(Format::Json), expected);
        assert_eq!(encoded(Format::Raw), b"\x81\x01a");
        assert_eq!(encoded(Format::Parts), b"\x82\x0a\0\0\0\x01t\0\0\0\x01a");
    }

    #[cfg(feature = "compress")]
    #[test]
    fn a_message_is_deflated_in_every_format_and_notices_are_not() {
        use crate::test_inflate::inflate;
        let body = "to be deflated, ".repeat(20);
        let parts = [Part::from("t"), Part::from(body.as_str())];
        let mut message = Message::from_parts(Seq(1), &parts, TopicFrom::Part);
        message.lost_upstream = Some(Lost { missed: Some(2) });
        let mut encoding = Encoding::new(Epoch::from_seed(0), Payload::Auto);
        encoding.deflater = Deflater::new(100);
        for format in [Format::Raw, Format::Json, Format::Parts] {
            let (mut plain, mut deflated) = (Vec::new(), Vec::new());
            WireFormat::WebSocket(format).write_message(&mut plain, &mut encoding, &message);
            WireFormat::Deflated(format).write_message(&mut deflated, &mut encoding, &message);
            let (mut plain, mut deflated) = (plain.as_slice(), deflated.as_slice());
            if format == Format::Json {
                let notice_bytes = 2 + 0x28;
                assert_eq!(plain[..notice_bytes], deflated[..notice_bytes]);
                (plain, deflated) = (&plain[notice_bytes..], &deflated[notice_bytes..]);
            }
            assert!(deflated.len() < plain.len() / 2);
            assert_eq!(plain[0] | 0x40, deflated[0], "the same opcode, and marked");
            let (_, plain, _) = websocket::split_frame(plain).unwrap();
            let (_, deflated, rest) = websocket::split_frame(deflated).unwrap();
            assert_eq!((inflate(deflated).as_slice(), rest), (plain, &b""[..]));
        }
        let mut gap = Vec::new();
        WireFormat::Deflated(Format::Json).write_gap(&mut gap, Some(3), GapReason::Lag);
        assert_eq!(gap[0], 0x81);
        assert!(WireFormat::Deflated(Format::Json).tells_gaps());
        assert!(!WireFormat::Deflated(Format::Raw).tells_gaps());
    }

    #[test]
    fn every_format_has_its_own_place() {
        let formats = [Format::Raw, Format::Json, Format::Parts];
        let mut places: Vec<_> = formats
            .map(WireFormat::WebSocket)
            .into_iter()
            .chain(formats.map(WireFormat::Deflated))
            .chain([sse::Data::Raw, sse::Data::Json].into_iter().flat_map(|data| {
                [sse::Framing::Plain, sse::Framing::Chunked]
                    .map(|framing| WireFormat::Sse(data, framing))
            }))
            .chain([WireFormat::Zws, WireFormat::Poll])
            .chain(socket_io::Arguments::ALL.map(WireFormat::SocketIo))
            .map(WireFormat::index)
            .collect();
        places.sort_unstable();
        assert!(places.into_iter().eq(0..WireFormat::COUNT));
    }

    #[test]
    fn only_json_tells_of_gaps_on_a_websocket() {
        let gap = |wire: WireFormat| {
            let mut out = Vec::new();
            wire.write_gap(&mut out, Some(3), GapReason::Lag);
            out
        };
        assert_eq!(
            gap(WireFormat::WebSocket(Format::Json)),
            b"\x81\x23{\"gap\":{\"missed\":3,\"reason\":\"lag\"}}"
        );
        assert!(gap(WireFormat::WebSocket(Format::Raw)).is_empty());
        assert!(gap(WireFormat::WebSocket(Format::Parts)).is_empty());
    }
}
