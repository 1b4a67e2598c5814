//! Messages as lines. Knows no sockets.

use std::io::{self, Write};

use data_encoding::BASE64;
use serde_json::{Value, json};
use zmq2ws_examples::text;

/// The parts of a message, topic first, with tabs between; nothing in it can command a terminal, and what
/// is not UTF-8 is in hexadecimal.
pub(crate) fn line(out: &mut impl Write, parts: &[Vec<u8>]) -> io::Result<()> {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            out.write_all(b"\t")?;
        }
        text::write_part(out, part)?;
    }
    out.write_all(b"\n")
}

/// `{"topic":…,"data":…}` as the gateway writes it: a string for a body of one part, an array for more;
/// all of it in base64 where a part is not UTF-8. A message of one part is all body.
pub(crate) fn json(out: &mut impl Write, parts: &[Vec<u8>]) -> io::Result<()> {
    let (topic, body) = match parts {
        [] => (&[][..], parts),
        [body] => (&[][..], std::slice::from_ref(body)),
        [topic, body @ ..] => (&topic[..], body),
    };
    let is_text = body.iter().all(|part| str::from_utf8(part).is_ok());
    let string = |part: &Vec<u8>| match str::from_utf8(part) {
        Ok(text) => Value::from(text),
        Err(_) => Value::from(BASE64.encode(part)),
    };
    let data = match body {
        [part] => string(part),
        parts => parts.iter().map(string).collect(),
    };
    let (name, topic) = match str::from_utf8(topic) {
        Ok(text) => ("topic", Value::from(text)),
        Err(_) => ("topic64", Value::from(BASE64.encode(topic))),
    };
    let name_of = |part: &Vec<u8>| if str::from_utf8(part).is_ok() { "utf8" } else { "base64" };
    let encoding = match body {
        _ if is_text => String::new(),
        [_] => r#","encoding":"base64""#.to_owned(),
        parts => format!(r#","encoding":{}"#, json!(parts.iter().map(name_of).collect::<Vec<_>>())),
    };
    // By hand, for the order of the fields.
    writeln!(out, r#"{{"{name}":{},"data":{}{encoding}}}"#, topic, json!(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(print: fn(&mut Vec<u8>, &[Vec<u8>]) -> io::Result<()>, parts: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let parts: Vec<_> = parts.iter().map(|part| part.to_vec()).collect();
        print(&mut out, &parts).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_a_message() {
        assert_eq!(shown(line, &[b"a/b", b"c\nd", b"\xff"]), "a/b\tc\\nd\t0xff\n");
        assert_eq!(shown(line, &[b"alone"]), "alone\n");
    }

    #[test]
    fn json_is_the_gateways() {
        for (parts, expected) in [
            (&[&b"t"[..], b"b\n"][..], r#"{"topic":"t","data":"b\n"}"#),
            (&[b"t", b"b", b"c"], r#"{"topic":"t","data":["b","c"]}"#),
            (&[b"b"], r#"{"topic":"","data":"b"}"#),
            (
                &[b"t", b"b", b"\xff"],
                r#"{"topic":"t","data":["b","/w=="],"encoding":["utf8","base64"]}"#,
            ),
            (&[b"\xff", b"b"], r#"{"topic64":"/w==","data":"b"}"#),
        ] {
            assert_eq!(shown(json, parts), format!("{expected}\n"));
        }
    }
}
