//! Writes messages and gap notices as JSON (RFC 8259), fields in fixed order. Knows no transport.

use data_encoding::BASE64;

use crate::error::GapReason;
use crate::message::{Epoch, Message};

/// Appends `{"id":…,"topic":…,"data":…}` for `message`.
///
/// `data` is a string for a body of one part and an array for more. When some part is not UTF-8 every part is base64
/// and `"encoding":"base64"` is added; a topic that is not UTF-8 is written as `topic64`.
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
    let is_text = message.body().all(|part| simdutf8::basic::from_utf8(part).is_ok());
    let write_part = if is_text { write_string } else { write_base64 };
    if message.body_parts() == 1 {
        message.body().for_each(|part| write_part(out, part));
    } else {
        let mut separator = b'[';
        for part in message.body() {
            out.push(separator);
            write_part(out, part);
            separator = b',';
        }
        out.push(b']');
    }
    out.extend_from_slice(if is_text { b"}".as_slice() } else { b",\"encoding\":\"base64\"}" });
}

/// Appends `{"gap":{"missed":…,"reason":…}}`; `missed` is `null` where the number is not known.
pub(crate) fn write_gap(out: &mut Vec<u8>, missed: Option<u64>, reason: GapReason) {
    out.extend_from_slice(b"{\"gap\":{\"missed\":");
    match missed {
        Some(missed) => out.extend_from_slice(itoa::Buffer::new().format(missed).as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"reason\":\"");
    out.extend_from_slice(reason.label().as_bytes());
    out.extend_from_slice(b"\"}}");
}

/// Bytes that a JSON string must escape (RFC 8259 section 7): quote, backslash, controls.
const ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

/// Writes `text`, which is UTF-8.
fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| ESCAPED[usize::from(byte)]) {
        out.extend_from_slice(&rest[..at]);
        write_escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
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
            r#"{"id":"00000000-42","topic64":"/w==","data":["YQ==","gA=="],"encoding":"base64"}"#
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
                    let len = random.below(40);
                    (0..len).map(|_| random.below(if ascii { 0x80 } else { 0x100 }) as u8).collect()
                })
                .collect();
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let json: serde_json::Value = serde_json::from_str(&encoded(&slices)).unwrap();
            let (topic, body) = if parts.len() == 1 {
                (&b""[..], &parts[..])
            } else {
                (&parts[0][..], &parts[1..])
            };
            let base64 = json.get("encoding").is_some();
            assert_eq!(base64, body.iter().any(|part| std::str::from_utf8(part).is_err()));
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
                    values.iter().map(|value| decode(value, base64)).collect()
                }
                value => vec![decode(value, base64)],
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
