//! Writes messages and gap notices as JSON (RFC 8259), fields in fixed order. Knows no transport.

use data_encoding::BASE64;

use crate::error::GapReason;
use crate::message::{Epoch, Message};

/// Appends `{"id":…,"topic":…,"data":…}` for `message`.
///
/// `data` is a string for a body of one part and an array for more. A part that is not UTF-8 is base64, and the member
/// `encoding` says so: `"base64"` beside a string, a list such as `["utf8","base64"]` beside an array. A topic that is not
/// UTF-8 is written as `topic64`.
pub(crate) fn write_message(out: &mut Vec<u8>, epoch: &Epoch, message: &Message<'_>) {
    out.extend_from_slice(b"{\"id\":\"");
    super::write_id(out, epoch, message.seq);
    out.extend_from_slice(b"\",\"");
    match simdutf8::basic::from_utf8(message.topic()) {
        Ok(topic) => {
            out.extend_from_slice(b"topic\":");
            write_string(out, topic.as_bytes());
        }
        Err(_) => {
            out.extend_from_slice(b"topic64\":");
            write_base64(out, message.topic());
        }
    }
    out.extend_from_slice(b",\"data\":");
    let is_text = |part: &[u8]| simdutf8::basic::from_utf8(part).is_ok();
    let mut is_all_text = true;
    let mut write_part = |out: &mut Vec<u8>, part: &[u8]| {
        if is_text(part) {
            write_string(out, part);
        } else {
            is_all_text = false;
            write_base64(out, part);
        }
    };
    let is_list = message.body_parts() != 1;
    if is_list {
        write_list(out, message.body(), write_part);
    } else {
        message.body().for_each(|part| write_part(out, part));
    }
    if !is_all_text {
        out.extend_from_slice(b",\"encoding\":");
        let encodings = message.body().map(|part| match is_text(part) {
            true => &b"\"utf8\""[..],
            false => b"\"base64\"",
        });
        match is_list {
            true => write_list(out, encodings, Vec::extend_from_slice),
            false => out.extend_from_slice(b"\"base64\""),
        }
    }
    out.push(b'}');
}

/// Appends an array of the elements that `write` appends.
fn write_list<'a>(
    out: &mut Vec<u8>,
    elements: impl Iterator<Item = &'a [u8]>,
    mut write: impl FnMut(&mut Vec<u8>, &[u8]),
) {
    out.push(b'[');
    let start = out.len();
    for element in elements {
        if out.len() > start {
            out.push(b',');
        }
        write(out, element);
    }
    out.push(b']');
}

/// Appends `{"gap":{"missed":…,"reason":…}}`; `missed` is `null` where the number is not known.
pub(crate) fn write_gap(out: &mut Vec<u8>, missed: Option<u64>, reason: GapReason) {
    out.extend_from_slice(b"{\"gap\":");
    write_gap_object(out, missed, reason);
    out.push(b'}');
}

/// Appends the inner object of [`write_gap`].
pub(super) fn write_gap_object(out: &mut Vec<u8>, missed: Option<u64>, reason: GapReason) {
    out.extend_from_slice(b"{\"missed\":");
    match missed {
        Some(missed) => out.extend_from_slice(itoa::Buffer::new().format(missed).as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"reason\":\"");
    out.extend_from_slice(reason.label().as_bytes());
    out.extend_from_slice(b"\"}");
}

/// How a byte is written in a JSON string (RFC 8259 section 7): how many of the two bytes count; none where it takes
/// the six of [`write_control`].
const WRITTEN: [([u8; 2], u8); 256] = {
    let mut table = [([0; 2], 0); 256];
    let mut byte = 0x20;
    while byte < 256 {
        table[byte] = ([byte as u8, 0], 1);
        byte += 1;
    }
    table[b'\n' as usize] = (*b"\\n", 2);
    table[b'\r' as usize] = (*b"\\r", 2);
    table[b'\t' as usize] = (*b"\\t", 2);
    table[b'"' as usize] = (*b"\\\"", 2);
    table[b'\\' as usize] = (*b"\\\\", 2);
    table
};

/// Bytes that are looked at together: two vectors of what every x86-64 and ARM64 has.
const CHUNK_BYTES: usize = 32;

/// Writes `text`, which is UTF-8, with its quotes.
pub(super) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let (chunks, rest) = text.as_chunks::<CHUNK_BYTES>();
    for chunk in chunks {
        // Without an early end, so that the compiler compares all bytes at once.
        let is_clean = chunk
            .iter()
            .fold(true, |clean, &byte| clean & (byte >= 0x20) & (byte != b'"') & (byte != b'\\'));
        if is_clean {
            out.extend_from_slice(chunk);
        } else {
            write_escaped(out, chunk);
        }
    }
    write_escaped(out, rest);
    out.push(b'"');
}

/// Writes at most [`CHUNK_BYTES`] of a string, byte by byte. Bodies are often JSON themselves, where every few bytes
/// are quotes: no branch depends on where they are.
fn write_escaped(out: &mut Vec<u8>, piece: &[u8]) {
    let mut written = [0; CHUNK_BYTES * 2];
    let mut len = 0;
    for &byte in piece {
        let (bytes, bytes_len) = WRITTEN[usize::from(byte)];
        if bytes_len == 0 {
            out.extend_from_slice(&written[..len]);
            len = 0;
            write_control(out, byte);
            continue;
        }
        written[len..len + 2].copy_from_slice(&bytes);
        len += usize::from(bytes_len);
    }
    out.extend_from_slice(&written[..len]);
}

fn write_control(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
    out.extend_from_slice(b"\\u00");
    out.extend_from_slice(&digits);
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + BASE64.encode_len(bytes.len()), 0);
    BASE64.encode_mut(bytes, &mut out[start..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Part, Seq, TopicFrom};
    use crate::test_random::Random;

    fn encoded(parts: &[&[u8]]) -> String {
        let parts: Vec<Part> = parts.iter().map(|part| Part::from(*part)).collect();
        let message = Message::from_parts(Seq(42), &parts, TopicFrom::Part);
        let mut out = Vec::new();
        write_message(&mut out, &Epoch::from_seed(0), &message);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn field_order_and_shapes_are_fixed() {
        assert_eq!(
            encoded(&[b"weather.oslo", b"12"]),
            r#"{"id":"00000000-42","topic":"weather.oslo","data":"12"}"#
        );
        assert_eq!(
            encoded(&[b"t", b"a", b"", b"b"]),
            r#"{"id":"00000000-42","topic":"t","data":["a","","b"]}"#
        );
        assert_eq!(encoded(&[b""]), r#"{"id":"00000000-42","topic":"","data":""}"#);
        assert_eq!(
            encoded(&[b"\xff", b"a", b"\x80"]),
            r#"{"id":"00000000-42","topic64":"/w==","data":["a","gA=="],"encoding":["utf8","base64"]}"#
        );
        assert_eq!(
            encoded(&[b"t", b"\x80"]),
            r#"{"id":"00000000-42","topic":"t","data":"gA==","encoding":"base64"}"#
        );
    }

    #[test]
    fn hostile_text_stays_inside_its_string() {
        let hostile: String = (0..0x100u32).filter_map(char::from_u32).collect();
        let json: serde_json::Value =
            serde_json::from_str(&encoded(&[hostile.as_bytes(), hostile.as_bytes()])).unwrap();
        assert_eq!(json["topic"], hostile.as_str());
        assert_eq!(json["data"], hostile.as_str());
        assert_eq!(json.as_object().unwrap().len(), 3);
    }

    #[test]
    fn random_bytes_come_back_through_a_json_parser() {
        let mut random = Random::from_env();
        for _ in 0..2000 {
            let parts: Vec<Vec<u8>> = (0..1 + random.below(4))
                .map(|_| {
                    let ascii = random.chance(2);
                    let len = random.below(3 * CHUNK_BYTES);
                    let byte = |random: &mut Random| match ascii {
                        // Rare enough for whole chunks without any.
                        true if !random.chance(30) => b'x',
                        true => random.below(0x80) as u8,
                        false => random.below(0x100) as u8,
                    };
                    (0..len).map(|_| byte(&mut random)).collect()
                })
                .collect();
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let json: serde_json::Value = serde_json::from_str(&encoded(&slices)).unwrap();
            let (topic, body) = if parts.len() == 1 {
                (&b""[..], &parts[..])
            } else {
                (&parts[0][..], &parts[1..])
            };
            let encoding = |at: usize| match json.get("encoding") {
                Some(serde_json::Value::Array(names)) => names[at] == "base64",
                Some(name) => name == "base64",
                None => false,
            };
            for (at, part) in body.iter().enumerate() {
                assert_eq!(encoding(at), std::str::from_utf8(part).is_err());
            }
            let decode = |value: &serde_json::Value, base64: bool| {
                let text = value.as_str().unwrap();
                if base64 { BASE64.decode(text.as_bytes()).unwrap() } else { text.into() }
            };
            match json.get("topic64") {
                Some(value) => assert_eq!(decode(value, true), topic),
                None => assert_eq!(decode(&json["topic"], false), topic),
            }
            let data: Vec<_> = match &json["data"] {
                serde_json::Value::Array(values) => {
                    let values = values.iter().enumerate();
                    values.map(|(at, value)| decode(value, encoding(at))).collect()
                }
                value => vec![decode(value, encoding(0))],
            };
            assert_eq!(data, body);
        }
    }

    #[test]
    fn gap_notice() {
        let mut out = Vec::new();
        write_gap(&mut out, Some(7), GapReason::Lag);
        write_gap(&mut out, None, GapReason::Restart);
        let expected = concat!(
            r#"{"gap":{"missed":7,"reason":"lag"}}"#,
            r#"{"gap":{"missed":null,"reason":"restart"}}"#
        );
        assert_eq!(out, expected.as_bytes());
    }
}
