//! WebSocket frames (RFC 6455 section 5): writes ours, reads a client's and keeps nothing of its data. Knows no socket.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::utf8::Utf8Validator;
use crate::error::CloseReason;

/// The longest payload of a control frame (section 5.5).
pub(crate) const CONTROL_BYTES_MAX: usize = 125;

/// The longest header of a frame that a client sends: two bytes, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;

/// The longest header of a frame that we send: without a mask.
const OWN_HEADER_BYTES_MAX: usize = 10;

pub(crate) const TEXT: OpCode = OpCode::Data(Data::Text);
pub(crate) const BINARY: OpCode = OpCode::Data(Data::Binary);
pub(crate) const PING: OpCode = OpCode::Control(Control::Ping);
pub(crate) const PONG: OpCode = OpCode::Control(Control::Pong);
const CLOSE: OpCode = OpCode::Control(Control::Close);

/// Appends a whole unfragmented frame.
pub(crate) fn write_frame(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    write_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a close frame with `code` and no reason text.
pub(crate) fn write_close(out: &mut Vec<u8>, code: Option<u16>) {
    match code {
        Some(code) => write_frame(out, CLOSE, &code.to_be_bytes()),
        None => write_frame(out, CLOSE, b""),
    }
}

/// Appends a frame whose payload `write_payload` appends, and whose opcode is chosen when the payload is known.
pub(crate) fn write_frame_with(
    out: &mut Vec<u8>,
    write_payload: impl FnOnce(&mut Vec<u8>),
    opcode: impl FnOnce(&[u8]) -> OpCode,
) {
    // Room for the longest header first, then the payload; the header is written right before it, and the unused
    // room is closed. Moving a payload by at most eight bytes is cheaper than measuring it beforehand.
    let start = out.len();
    out.resize(start + OWN_HEADER_BYTES_MAX, 0);
    write_payload(out);
    let payload_start = start + OWN_HEADER_BYTES_MAX;
    let payload_len = out.len() - payload_start;
    let opcode = opcode(&out[payload_start..]);
    let mut header = [0; OWN_HEADER_BYTES_MAX];
    let header_len = format_header(&mut header, &header_of(opcode), payload_len);
    out[start..start + header_len].copy_from_slice(&header[..header_len]);
    if header_len < OWN_HEADER_BYTES_MAX {
        out.copy_within(payload_start.., start + header_len);
        out.truncate(start + header_len + payload_len);
    }
}

/// Appends what comes before a payload of `payload_len` bytes.
pub(super) fn write_header(out: &mut Vec<u8>, opcode: OpCode, payload_len: usize) {
    write_header_of(out, &header_of(opcode), payload_len);
}

/// As [`write_header`], for a payload that is deflated (RFC 7692 section 6).
#[cfg(feature = "compress")]
pub(super) fn write_deflated_header(out: &mut Vec<u8>, opcode: OpCode, payload_len: usize) {
    write_header_of(out, &FrameHeader { rsv1: true, ..header_of(opcode) }, payload_len);
}

fn write_header_of(out: &mut Vec<u8>, frame: &FrameHeader, payload_len: usize) {
    let mut header = [0; OWN_HEADER_BYTES_MAX];
    let header_len = format_header(&mut header, frame, payload_len);
    out.extend_from_slice(&header[..header_len]);
}

/// The opcode and the payload of the frame that `frames` begin with, and what is behind it: of frames that we wrote. `None`
/// where none is whole.
pub(crate) fn split_frame(frames: &[u8]) -> Option<(OpCode, &[u8], &[u8])> {
    let mut head = Cursor::new(frames);
    let (frame, length) = FrameHeader::parse(&mut head).ok()??;
    let rest = &frames[head.position() as usize..];
    let (payload, behind) = rest.split_at_checked(length.try_into().ok()?)?;
    Some((frame.opcode, payload, behind))
}

fn header_of(opcode: OpCode) -> FrameHeader {
    FrameHeader { opcode, ..FrameHeader::default() }
}

fn format_header(
    header: &mut [u8; OWN_HEADER_BYTES_MAX],
    frame: &FrameHeader,
    payload_len: usize,
) -> usize {
    let mut rest = header.as_mut_slice();
    frame.format(payload_len as u64, &mut rest).expect("a header without a mask has ten bytes");
    OWN_HEADER_BYTES_MAX - rest.len()
}

/// What a client's frames mean to a gateway that drops what clients say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A data message ended; its content is gone.
    Message,
    Ping(Box<ControlPayload>),
    Pong,
    /// A valid close frame, with its code where it had one.
    Close(Option<u16>),
    /// The client broke the protocol: [`CloseReason::Protocol`], [`CloseReason::InvalidData`] or
    /// [`CloseReason::TooLarge`]. Nothing after it is to be decoded.
    Violation(CloseReason),
}

/// A data message, as far as it was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
}

/// The payload of a control frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ControlPayload {
    bytes: [u8; CONTROL_BYTES_MAX],
    len: u8,
}

impl ControlPayload {
    fn new() -> Box<Self> {
        Box::new(Self { bytes: [0; CONTROL_BYTES_MAX], len: 0 })
    }

    fn append(&mut self, piece: &[u8]) {
        let len = usize::from(self.len);
        self.bytes[len..len + piece.len()].copy_from_slice(piece);
        self.len += piece.len() as u8;
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Reads a client's frames in any segmentation, in constant memory.
///
/// Data is validated and skipped as it passes; only the payload of an unfinished control frame is kept, and the start of
/// messages where that is asked for.
#[derive(Debug)]
pub(crate) struct Decoder {
    message_bytes_max: usize,
    kept_bytes_max: usize,
    /// Whether messages may be deflated.
    takes_deflated: bool,
    /// How the message begins that is under way or ended last.
    kept: Vec<u8>,
    is_text: bool,
    state: State,
    /// The message whose last fragment has not come yet.
    message: Option<Kind>,
    message_bytes: usize,
    utf8: Utf8Validator,
}

#[derive(Debug)]
enum State {
    Header(HeaderBytes),
    Data { remaining: usize, mask: Mask, is_final: bool },
    Control { opcode: Control, remaining: u8, mask: Mask, payload: Box<ControlPayload> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

impl State {
    const START: Self = Self::Header(HeaderBytes { bytes: [0; HEADER_BYTES_MAX], len: 0 });
}

impl Decoder {
    /// A decoder that refuses messages above `message_bytes_max`, also when they come in fragments.
    pub(crate) fn with_limit(message_bytes_max: usize) -> Self {
        Self {
            message_bytes_max,
            kept_bytes_max: 0,
            takes_deflated: false,
            kept: Vec::new(),
            is_text: false,
            state: State::START,
            message: None,
            message_bytes: 0,
            utf8: Utf8Validator::default(),
        }
    }

    /// Lets messages be deflated, where that was agreed on. They are not inflated, since nobody looks at them: framing and
    /// length are checked, and not what RFC 6455 section 8.1 demands of the text that would come out.
    pub(crate) fn taking_deflated(self, takes_deflated: bool) -> Self {
        Self { takes_deflated, ..self }
    }

    /// Keeps the first `bytes_max` bytes of each message.
    pub(crate) fn keeping(self, bytes_max: usize) -> Self {
        Self { kept_bytes_max: bytes_max, ..self }
    }

    /// After [`Event::Message`]: how the message began, as far as it was to be kept.
    pub(crate) fn said(&self) -> Said<'_> {
        if self.is_text { Said::Text(&self.kept) } else { Said::Binary(&self.kept) }
    }

    /// The memory that a message takes while it is under way.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept.capacity()
    }

    /// Whether it is as it was made: nothing of a frame or of a message has come that is not complete.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.message.is_none() && matches!(&self.state, State::Header(header) if header.len == 0)
    }

    /// Decodes until the next event or the end of `input`, and cuts off what it took. Unmasks in place.
    pub(crate) fn next(&mut self, input: &mut &mut [u8]) -> Option<Event> {
        loop {
            let event = match &mut self.state {
                State::Header(header) => {
                    let header = header.gather(input)?;
                    self.begin_frame(header.as_slice())
                }
                State::Data { remaining, mask, is_final } => {
                    let piece = take(input, *remaining);
                    *remaining -= piece.len();
                    let room = self.kept_bytes_max - self.kept.len();
                    if room > 0 || self.is_text {
                        mask.apply(piece);
                        self.kept.extend_from_slice(&piece[..piece.len().min(room)]);
                    }
                    if self.is_text && self.utf8.accept(piece).is_err() {
                        return Some(Event::Violation(CloseReason::InvalidData));
                    }
                    if *remaining > 0 {
                        return None;
                    }
                    let is_final = *is_final;
                    self.end_data_frame(is_final)
                }
                State::Control { remaining, mask, payload, .. } => {
                    let piece = take(input, usize::from(*remaining));
                    *remaining -= piece.len() as u8;
                    mask.apply(piece);
                    payload.append(piece);
                    if *remaining > 0 {
                        return None;
                    }
                    self.end_control_frame()
                }
            };
            if event.is_some() {
                return event;
            }
        }
    }

    fn begin_frame(&mut self, header: &[u8]) -> Option<Event> {
        let violation = Some(Event::Violation(CloseReason::Protocol));
        let Ok(Some((frame, length))) = FrameHeader::parse(&mut Cursor::new(header)) else {
            return violation;
        };
        // Section 5.2: the reserved bits are an extension's, the shortest length encoding is a must, and so is the mask
        // (5.1). A deflated message says so in its first frame, by the first of them (RFC 7692 section 6).
        let may_be_deflated =
            self.takes_deflated && matches!(frame.opcode, OpCode::Data(Data::Text | Data::Binary));
        let has_reserved_bits = (frame.rsv1 && !may_be_deflated) || frame.rsv2 || frame.rsv3;
        let Some(mask) = frame.mask else { return violation };
        if has_reserved_bits || frame.len(length) != header.len() || length >> 63 != 0 {
            return violation;
        }
        let kind = match (frame.opcode, self.message) {
            (OpCode::Control(opcode), _) => {
                if !frame.is_final || length > CONTROL_BYTES_MAX as u64 {
                    return violation;
                }
                let (remaining, mask) = (length as u8, Mask::new(mask));
                let payload = ControlPayload::new();
                self.state = State::Control { opcode, remaining, mask, payload };
                return None;
            }
            (OpCode::Data(Data::Text), None) => Kind::Text,
            (OpCode::Data(Data::Binary), None) => Kind::Binary,
            (OpCode::Data(Data::Continue), Some(kind)) => kind,
            (OpCode::Data(_), _) => return violation,
        };
        let room = self.message_bytes_max - self.message_bytes;
        let Some(length) = usize::try_from(length).ok().filter(|&length| length <= room) else {
            return Some(Event::Violation(CloseReason::TooLarge));
        };
        if self.message.replace(kind).is_none() {
            self.kept.clear();
            self.is_text = kind == Kind::Text && !frame.rsv1;
        }
        self.message_bytes += length;
        self.state =
            State::Data { remaining: length, mask: Mask::new(mask), is_final: frame.is_final };
        None
    }

    fn end_data_frame(&mut self, is_final: bool) -> Option<Event> {
        self.state = State::START;
        if !is_final {
            return None;
        }
        self.message_bytes = 0;
        if self.message.take() == Some(Kind::Text) && self.utf8.finish().is_err() {
            return Some(Event::Violation(CloseReason::InvalidData));
        }
        Some(Event::Message)
    }

    fn end_control_frame(&mut self) -> Option<Event> {
        match std::mem::replace(&mut self.state, State::START) {
            State::Control { opcode, payload, .. } => Some(control_event(opcode, payload)),
            State::Header(_) | State::Data { .. } => None,
        }
    }
}

fn control_event(opcode: Control, payload: Box<ControlPayload>) -> Event {
    match opcode {
        Control::Ping => Event::Ping(payload),
        Control::Pong => Event::Pong,
        Control::Close => match payload.as_bytes() {
            [] => Event::Close(None),
            [_] => Event::Violation(CloseReason::Protocol),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !CloseCode::from(code).is_allowed() {
                    Event::Violation(CloseReason::Protocol)
                } else if std::str::from_utf8(reason).is_err() {
                    Event::Violation(CloseReason::InvalidData)
                } else {
                    Event::Close(Some(code))
                }
            }
        },
        Control::Reserved(_) => Event::Violation(CloseReason::Protocol),
    }
}

/// The part of a header that has come.
#[derive(Debug, Clone, Copy)]
struct HeaderBytes {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

impl HeaderBytes {
    /// Takes what is missing; `None` when input ended before the header did.
    fn gather(&mut self, input: &mut &mut [u8]) -> Option<Self> {
        loop {
            let have = usize::from(self.len);
            let need = if have < 2 { 2 } else { header_len(self.bytes[1]) };
            if have == need {
                return Some(*self);
            }
            let piece = take(input, need - have);
            if piece.is_empty() {
                return None;
            }
            self.bytes[have..have + piece.len()].copy_from_slice(piece);
            self.len += piece.len() as u8;
        }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The length of a header from its second byte (section 5.2).
fn header_len(second: u8) -> usize {
    let length_len = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask_len = if second & 0x80 == 0 { 0 } else { 4 };
    2 + length_len + mask_len
}

/// Cuts at most `max` bytes off the front of `input`.
fn take<'a>(input: &mut &'a mut [u8], max: usize) -> &'a mut [u8] {
    let all = std::mem::take(input);
    let (piece, rest) = all.split_at_mut(max.min(all.len()));
    *input = rest;
    piece
}

/// A mask and how far into it the payload is (section 5.3).
#[derive(Debug, Clone, Copy)]
struct Mask {
    key: [u8; 4],
}

impl Mask {
    fn new(key: [u8; 4]) -> Self {
        Self { key }
    }

    fn apply(&mut self, piece: &mut [u8]) {
        for chunk in piece.chunks_mut(4) {
            for (byte, key) in chunk.iter_mut().zip(self.key) {
                *byte ^= key;
            }
        }
        self.key.rotate_left(piece.len() % 4);
    }
}

/// Decodes `input` as what a client sends, in one piece and in pieces.
///
/// # Panics
///
/// When the events differ, or anything below panics: both are what a fuzzer looks for.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz_frames(input: &[u8]) {
    for takes_deflated in [false, true] {
        let decoder = || Decoder::with_limit(4096).taking_deflated(takes_deflated);
        let whole = decode_in_pieces(decoder(), input, || usize::MAX);
        assert_eq!(decode_in_pieces(decoder(), input, || 1), whole);
        let mut sizes = input.iter().map(|&byte| usize::from(byte % 29)).cycle();
        assert_eq!(decode_in_pieces(decoder(), input, || sizes.next().unwrap_or(1)), whole);
    }
}

/// All events of `stream` up to the one that ends it.
#[cfg(any(test, fuzzing))]
fn decode_in_pieces(
    mut decoder: Decoder,
    stream: &[u8],
    mut piece: impl FnMut() -> usize,
) -> Vec<Event> {
    let mut events = Vec::new();
    let mut rest = stream.to_vec();
    while !rest.is_empty() {
        let mut input: Vec<u8> = rest.drain(..piece().clamp(1, rest.len())).collect();
        let mut input = input.as_mut_slice();
        while let Some(event) = decoder.next(&mut input) {
            let is_last = matches!(event, Event::Violation(_) | Event::Close(_));
            events.push(event);
            if is_last {
                return events;
            }
        }
        assert!(input.is_empty(), "everything is taken");
    }
    events
}

#[cfg(test)]
mod tests;
