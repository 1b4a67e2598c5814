//! Server-Sent Events (the WHATWG's HTML standard, section 9.2): messages, gaps and comments as events, and events as
//! chunks of HTTP/1.1. Knows no socket and no client.
//!
//! A line ends at LF, CR or CRLF, and what stands in front of its first colon decides what it means: so no byte of a
//! topic or a body may begin a line. JSON escapes both; text is cut at each of them, and each piece is a `data:` line.

use data_encoding::BASE64;

use super::{json, write_id};
use crate::error::GapReason;
use crate::message::{Epoch, Message};

/// How a message looks in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Data {
    /// The body's text, or an event `binary` in base64.
    Raw,
    /// An object with id, topic and data.
    Json,
}

/// Where HTTP finds the end of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Framing {
    /// At the end of the connection, as HTTP/1.0 does it.
    Plain,
    /// At a chunk of no bytes (RFC 9112 section 7.1). Each event is one chunk, and so the same bytes for everybody.
    Chunked,
}

/// The longest length of a chunk with its line end: sixteen digits of a u64.
const CHUNK_HEAD_BYTES_MAX: usize = 18;

impl Framing {
    /// Appends the event or comment that `write` appends, as the framing wants it.
    pub(crate) fn write_with(self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        match self {
            Self::Plain => write(out),
            Self::Chunked => write_chunk_with(out, write),
        }
    }

    /// Appends what ends the stream.
    pub(crate) fn write_end(self, out: &mut Vec<u8>) {
        match self {
            Self::Plain => {}
            Self::Chunked => out.extend_from_slice(b"0\r\n\r\n"),
        }
    }
}

/// As with WebSocket's frames: room for the longest length first, then the content, which is moved to close the rest.
fn write_chunk_with(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let start = out.len();
    let content_start = start + CHUNK_HEAD_BYTES_MAX;
    out.resize(content_start, 0);
    write(out);
    let mut left = out.len() - content_start;
    let mut head = [0; CHUNK_HEAD_BYTES_MAX];
    let mut at = CHUNK_HEAD_BYTES_MAX - 2;
    head[at..].copy_from_slice(b"\r\n");
    while left > 0 {
        at -= 1;
        head[at] = DIGITS[left % 16];
        left /= 16;
    }
    let head = &head[at..];
    out[start..start + head.len()].copy_from_slice(head);
    out.copy_within(content_start.., start + head.len());
    out.truncate(out.len() - (CHUNK_HEAD_BYTES_MAX - head.len()));
    out.extend_from_slice(b"\r\n");
}

/// Appends what a stream begins with: when to come back once it has ended, and a comment, so that a client that waits
/// for a first byte has it. No blank line follows: some parsers make an empty event of a block without `data:`.
pub(crate) fn write_prologue(out: &mut Vec<u8>, retry_millis: u32) {
    out.extend_from_slice(b"retry: ");
    out.extend_from_slice(itoa::Buffer::new().format(retry_millis).as_bytes());
    out.extend_from_slice(b"\n: zmq2ws\n");
}

/// Appends an empty comment, which shows that the stream lives. As in [`write_prologue`], it is not a block of its own.
pub(crate) fn write_comment(out: &mut Vec<u8>) {
    out.extend_from_slice(b":\n");
}

/// Appends `message` as an object.
pub(crate) fn write_json(out: &mut Vec<u8>, epoch: &Epoch, message: &Message<'_>) {
    write_id_line(out, epoch, message);
    out.extend_from_slice(b"data: ");
    json::write_message(out, epoch, message);
    out.extend_from_slice(b"\n\n");
}

/// Appends the parts of the body of `message`, joined: as text, whose line ends all come back as LF, or where they are
/// no UTF-8 as an event `binary`.
pub(crate) fn write_raw(out: &mut Vec<u8>, epoch: &Epoch, message: &Message<'_>) {
    write_id_line(out, epoch, message);
    let start = out.len();
    write_lines(out, message.body());
    // ASCII was put between ASCII and whatever follows, and took the place of ASCII: what is written is UTF-8 exactly
    // where the body is.
    if simdutf8::basic::from_utf8(&out[start..]).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"event: binary\ndata: ");
        write_base64(out, message.body());
    }
    out.extend_from_slice(b"\n\n");
}

/// Appends the notice that messages are missing here. It has no id: who comes back after it resumes from the message
/// before.
pub(crate) fn write_gap(out: &mut Vec<u8>, missed: Option<u64>, reason: GapReason) {
    out.extend_from_slice(b"event: gap\ndata: ");
    json::write_gap(out, missed, reason);
    out.extend_from_slice(b"\n\n");
}

fn write_id_line(out: &mut Vec<u8>, epoch: &Epoch, message: &Message<'_>) {
    out.extend_from_slice(b"id: ");
    write_id(out, epoch, message.seq);
    out.push(b'\n');
}

/// Appends a `data:` line for each line of `parts` joined, the last one without its end.
fn write_lines<'a>(out: &mut Vec<u8>, parts: impl Iterator<Item = &'a [u8]>) {
    const NEXT_LINE: &[u8] = b"\ndata: ";
    out.extend_from_slice(b"data: ");
    let mut ends_with_cr = false;
    for mut rest in parts {
        if ends_with_cr && let Some((first, tail)) = rest.split_first() {
            // A CRLF may be cut by the border of two parts.
            rest = if *first == b'\n' { tail } else { rest };
            ends_with_cr = false;
        }
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(NEXT_LINE);
            ends_with_cr = rest[at..] == *b"\r";
            let end_len = if rest[at..].starts_with(b"\r\n") { 2 } else { 1 };
            rest = &rest[at + end_len..];
        }
        out.extend_from_slice(rest);
    }
}

/// Appends `parts` joined, in base64.
fn write_base64<'a>(out: &mut Vec<u8>, parts: impl Iterator<Item = &'a [u8]>) {
    let mut encode = |bytes: &[u8]| {
        let start = out.len();
        out.resize(start + BASE64.encode_len(bytes.len()), 0);
        BASE64.encode_mut(bytes, &mut out[start..]);
    };
    // Four digits are three bytes, of which some may come with the next part.
    let mut carry = [0; 3];
    let mut carried = 0;
    for mut rest in parts {
        while carried > 0 && carried < 3 && !rest.is_empty() {
            carry[carried] = rest[0];
            carried += 1;
            rest = &rest[1..];
        }
        if carried == 3 {
            encode(&carry);
            carried = 0;
        }
        if carried == 0 {
            let (whole, tail) = rest.split_at(rest.len() / 3 * 3);
            encode(whole);
            carried = tail.len();
            carry[..carried].copy_from_slice(tail);
        }
    }
    encode(&carry[..carried]);
}

#[cfg(test)]
mod tests;
