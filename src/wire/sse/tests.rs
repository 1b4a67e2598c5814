//! Events against a strict reader.

use super::*;
use crate::message::{Part, Seq, TopicFrom};
use crate::test_events::{Chunks, Event, Reader};
use crate::test_random::Random;
use crate::wire::{Encoding, Payload, WireFormat};

const EPOCH: &str = "00000000";

fn encoded(data: Data, framing: Framing, parts: &[&[u8]]) -> Vec<u8> {
    let parts: Vec<Part> = parts.iter().map(|part| Part::from(*part)).collect();
    let message = Message::from_parts(Seq(42), &parts, TopicFrom::Part);
    let mut encoding = Encoding::new(Epoch::from_seed(0), Payload::Auto);
    let mut out = b"before".to_vec();
    WireFormat::Sse(data, framing).write_message(&mut out, &mut encoding, &message);
    out.drain(..6);
    out
}

fn text(data: Data, parts: &[&[u8]]) -> String {
    String::from_utf8(encoded(data, Framing::Plain, parts)).unwrap()
}

#[test]
fn events_look_as_they_should() {
    assert_eq!(text(Data::Raw, &[b"t", b"4.5", b" C"]), "id: 00000000-42\ndata: 4.5 C\n\n");
    assert_eq!(text(Data::Raw, &[b"t", b""]), "id: 00000000-42\ndata: \n\n");
    assert_eq!(
        text(Data::Raw, &[b"t", b"a\nb\r\nc\rd\n\r", b"\ne\r", b"", b"\n"]),
        "id: 00000000-42\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\ndata: \n\n"
    );
    assert_eq!(
        text(Data::Raw, &[b"t", b"\xff\n", b"\r", b"\x80"]),
        "id: 00000000-42\nevent: binary\ndata: /woNgA==\n\n"
    );
    assert_eq!(text(Data::Raw, &[b"t", b"\xc3", b"\xa9"]), "id: 00000000-42\ndata: \u{e9}\n\n");
    assert_eq!(
        text(Data::Json, &[b"t\n\r", b"a\r\nb"]),
        "id: 00000000-42\ndata: {\"id\":\"00000000-42\",\"topic\":\"t\\n\\r\",\"data\":\"a\\r\\nb\"}\n\n"
    );
    let mut out = Vec::new();
    WireFormat::Sse(Data::Raw, Framing::Plain).write_gap(&mut out, Some(3), GapReason::Lag);
    assert_eq!(out, b"event: gap\ndata: {\"gap\":{\"missed\":3,\"reason\":\"lag\"}}\n\n");
    out.clear();
    write_prologue(&mut out, 1500);
    assert_eq!(out, b"retry: 1500\n: zmq2ws\n");
}

#[test]
fn each_event_is_one_chunk() {
    let plain = encoded(Data::Raw, Framing::Plain, &[b"t", b"x"]);
    let chunked = encoded(Data::Raw, Framing::Chunked, &[b"t", b"x"]);
    assert_eq!(chunked, [b"19\r\n", &*plain, b"\r\n"].concat());
    for body_bytes in [0, 1, 230, 240, 4_000, 70_000, 1 << 20] {
        let body = vec![b'x'; body_bytes];
        let plain = encoded(Data::Raw, Framing::Plain, &[b"t", &body]);
        let chunked = encoded(Data::Raw, Framing::Chunked, &[b"t", &body]);
        assert_eq!(
            chunked,
            [format!("{:x}\r\n", plain.len()).as_bytes(), &*plain, b"\r\n"].concat()
        );
    }
    let mut comment = Vec::new();
    Framing::Chunked.write_with(&mut comment, write_comment);
    Framing::Chunked.write_end(&mut comment);
    assert_eq!(comment, b"2\r\n:\n\r\n0\r\n\r\n");
}

/// Bytes that are likely to do harm.
fn hostile(random: &mut Random) -> Vec<u8> {
    const WORDS: [&[u8]; 16] = [
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"\r\r",
        b"data: forged",
        b"id: 1",
        b"event: gap",
        b": ",
        b"\xef\xbb\xbf",
        b"\0",
        b" ",
        b"\xe2\x80\xa8",
        b"retry: 1",
        b"0\r\n\r\n",
        b"\xc3\xa9",
    ];
    let mut bytes = Vec::new();
    for _ in 0..random.below(8) {
        match random.below(12) {
            0 => bytes.push(random.next() as u8),
            1 => bytes.extend((0..random.below(300)).map(|_| b'a' + random.below(26) as u8)),
            _ => bytes.extend_from_slice(WORDS[random.below(WORDS.len())]),
        }
    }
    bytes
}

/// The line ends of `text` as a reader gives them.
fn with_lf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn base64(value: &serde_json::Value) -> Vec<u8> {
    BASE64.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn check(data: Data, parts: &[Vec<u8>], event: &Event) {
    let body = &parts[1..];
    assert_eq!(event.id, format!("{EPOCH}-42"));
    match data {
        Data::Raw => {
            let joined = body.concat();
            match std::str::from_utf8(&joined) {
                Ok(text) => {
                    assert_eq!((&*event.name, &*event.data), ("message", &*with_lf(text)));
                }
                Err(_) => {
                    assert_eq!(event.name, "binary");
                    assert_eq!(BASE64.decode(event.data.as_bytes()).unwrap(), joined);
                }
            }
        }
        Data::Json => {
            assert_eq!(event.name, "message");
            let json: serde_json::Value = serde_json::from_str(&event.data).unwrap();
            let topic = match json.get("topic64") {
                Some(topic) => base64(topic),
                None => json["topic"].as_str().unwrap().into(),
            };
            assert_eq!(topic, parts[0]);
            let part = |value: &serde_json::Value, encoding: &serde_json::Value| match encoding {
                encoding if encoding == "base64" => base64(value),
                _ => value.as_str().unwrap().into(),
            };
            let is: Vec<Vec<u8>> = match &json["data"] {
                serde_json::Value::Array(values) => {
                    let values = values.iter().enumerate();
                    values.map(|(at, value)| part(value, &json["encoding"][at])).collect()
                }
                value => vec![part(value, &json["encoding"])],
            };
            assert_eq!(is, body);
        }
    }
}

#[test]
fn random_bytes_as_topic_and_body_come_back_and_forge_nothing() {
    let mut random = Random::from_env();
    for _ in 0..2_000 {
        let messages: Vec<Vec<Vec<u8>>> = (0..3)
            .map(|_| (0..2 + random.below(3)).map(|_| hostile(&mut random)).collect())
            .collect();
        for data in [Data::Raw, Data::Json] {
            for framing in [Framing::Plain, Framing::Chunked] {
                let mut bytes = Vec::new();
                framing.write_with(&mut bytes, |out| write_prologue(out, 7));
                for parts in &messages {
                    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                    bytes.extend(encoded(data, framing, &parts));
                    framing.write_with(&mut bytes, write_comment);
                }
                framing.write_end(&mut bytes);
                if framing == Framing::Plain {
                    let text = String::from_utf8_lossy(&bytes);
                    let mut blocks = text.rsplit("\n\n").skip(1);
                    assert!(blocks.all(|block| block.contains("\ndata: ")), "an empty event");
                }
                // In pieces of any size: the reader's state is tested as well.
                let (mut chunks, mut reader) = (Chunks::default(), Reader::default());
                let mut events = Vec::new();
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let (piece, tail) = rest.split_at(1 + random.below(rest.len()));
                    rest = tail;
                    match framing {
                        Framing::Plain => events.extend(reader.read(piece)),
                        Framing::Chunked => events.extend(reader.read(&chunks.read(piece))),
                    }
                }
                assert_eq!(chunks.has_ended(), framing == Framing::Chunked);
                assert_eq!((reader.retry, reader.comments), (Some(7), 1 + messages.len()));
                assert_eq!(events.len(), messages.len());
                for (parts, event) in messages.iter().zip(&events) {
                    check(data, parts, event);
                }
            }
        }
    }
}
