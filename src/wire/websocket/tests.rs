//! The frames of both directions: what is written, what is refused, and any bytes in any pieces.

use super::*;
use crate::test_random::Random;

/// A client's frame, built from the RFC's picture and not from the code above.
fn frame(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(key);
    bytes.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
    bytes
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, [0x12, 0xf3, 0x00, 0x7a])
}

fn decode(stream: &[u8]) -> Vec<Event> {
    decode_in_pieces(Decoder::with_limit(4096), stream, || usize::MAX)
}

fn violation(reason: CloseReason) -> Vec<Event> {
    vec![Event::Violation(reason)]
}

#[test]
fn data_is_skipped_and_control_frames_may_come_between_fragments() {
    let mut stream = masked(0x81, "grüße".as_bytes());
    stream.extend(masked(0x01, b"\xc3"));
    stream.extend(masked(0x89, b"ping"));
    stream.extend(masked(0x00, b""));
    stream.extend(masked(0x80, b"\xa9"));
    stream.extend(masked(0x82, &[0xff; 300]));
    stream.extend(masked(0x8a, b"any pong"));
    stream.extend(masked(0x88, b"\x03\xe8bye"));
    let events = decode(&stream);
    let mut ping = ControlPayload::new();
    ping.append(b"ping");
    let expected = [
        Event::Message,
        Event::Ping(ping),
        Event::Message,
        Event::Message,
        Event::Pong,
        Event::Close(Some(1000)),
    ];
    assert_eq!(events, expected);
    let mut random = Random::from_env();
    for _ in 0..200 {
        assert_eq!(
            decode_in_pieces(Decoder::with_limit(4096), &stream, || 1 + random.below(9)),
            events
        );
    }
}

#[test]
fn protocol_violations() {
    let unmasked = vec![0x81, 0x01, b'a'];
    let reserved_bits = [0xc1, 0xa1, 0x91].map(|first| masked(first, b"a"));
    let reserved_opcodes = [0x83, 0x87, 0x8b, 0x8f].map(|first| masked(first, b""));
    let fragmented_control = [0x08, 0x09, 0x0a].map(|first| masked(first, b""));
    let long_control = masked(0x89, &[0; 126]);
    let stray_continuation = masked(0x80, b"a");
    let nested = [masked(0x01, b"a"), masked(0x81, b"b")].concat();
    let long_encodings = [
        vec![0x82, 0x80 | 126, 0, 125, 0, 0, 0, 0],
        vec![0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0],
        vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    let closes = [
        &b"\x03"[..],
        b"\x00\x00",
        b"\x03\xec",
        b"\x03\xed",
        b"\x03\xee",
        b"\x07\xd0",
        b"\x13\x88",
    ]
    .map(|payload| masked(0x88, payload));
    for stream in [unmasked, long_control, stray_continuation, nested]
        .into_iter()
        .chain(reserved_bits)
        .chain(reserved_opcodes)
        .chain(fragmented_control)
        .chain(long_encodings)
        .chain(closes)
    {
        assert_eq!(decode(&stream), violation(CloseReason::Protocol), "{stream:x?}");
    }
}

#[test]
fn text_must_be_utf8_and_fails_early() {
    assert_eq!(decode(&masked(0x81, b"\xff")), violation(CloseReason::InvalidData));
    assert_eq!(decode(&masked(0x81, b"\xc3")), violation(CloseReason::InvalidData));
    assert_eq!(decode(&masked(0x01, b"\xc0")), violation(CloseReason::InvalidData));
    assert_eq!(decode(&masked(0x88, b"\x03\xe8\xff")), violation(CloseReason::InvalidData));
    assert_eq!(decode(&masked(0x82, b"\xff")), [Event::Message]);
    let announced = masked(0x81, &[b"\xff".as_slice(), &[b'a'; 200]].concat());
    assert_eq!(decode(&announced[..9]), violation(CloseReason::InvalidData));
}

#[test]
fn messages_above_the_limit_are_refused_when_they_are_announced() {
    assert_eq!(
        decode_in_pieces(Decoder::with_limit(16), &masked(0x82, &[0; 16]), || 1),
        [Event::Message]
    );
    let huge = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    assert_eq!(decode(&huge), violation(CloseReason::TooLarge));
    let fragments = [masked(0x02, &[0; 9]), masked(0x80, &[0; 8])].concat();
    assert_eq!(
        decode_in_pieces(Decoder::with_limit(16), &fragments, || 3),
        violation(CloseReason::TooLarge)
    );
    let two = [masked(0x82, &[0; 16]), masked(0x82, &[0; 16])].concat();
    assert_eq!(
        decode_in_pieces(Decoder::with_limit(16), &two, || 5),
        [Event::Message, Event::Message]
    );
}

#[test]
fn a_deflated_message_says_so_in_its_first_frame_where_that_was_agreed_on() {
    let decode = |frames: &[Vec<u8>]| {
        let decoder = Decoder::with_limit(16).taking_deflated(true);
        decode_in_pieces(decoder, &frames.concat(), || 3)
    };
    // What is deflated is no UTF-8, in whatever frames; what is not has to be.
    let fragments =
        [masked(0x41, b"\xff"), masked(0x89, b""), masked(0x00, b""), masked(0x80, b"\xfe")];
    let ping = Event::Ping(ControlPayload::new());
    assert_eq!(decode(&fragments), [ping, Event::Message]);
    assert_eq!(decode(&[masked(0xc1, b"\xff"), masked(0xc2, b"\xff")]).len(), 2);
    assert_eq!(decode(&[masked(0xc1, b"\xff"), masked(0x81, "é".as_bytes())]).len(), 2);
    let expected = [Event::Message, Event::Violation(CloseReason::InvalidData)];
    assert_eq!(decode(&[masked(0xc1, b"\xff"), masked(0x81, b"\xff")]), expected);
    // Never a bit that means nothing, nor on a frame that begins no message.
    for first in [0xa1, 0x91, 0xe1, 0xc8, 0xc9, 0xca] {
        let events = decode(&[masked(first, b"")]);
        assert_eq!(events, violation(CloseReason::Protocol), "{first:x}");
    }
    for first in [0xc0, 0x40, 0xc1] {
        let events = decode(&[masked(0x41, b"\xff"), masked(first, b"\xff")]);
        assert_eq!(events, violation(CloseReason::Protocol), "{first:x}");
    }
    // What counts is what is sent, not what it would become.
    assert_eq!(decode(&[masked(0xc2, &[0; 16])]), [Event::Message]);
    assert_eq!(decode(&[masked(0xc2, &[0; 17])]), violation(CloseReason::TooLarge));
    let fragments = [masked(0x42, &[0; 9]), masked(0x80, &[0; 8])];
    assert_eq!(decode(&fragments), violation(CloseReason::TooLarge));
}

#[test]
fn own_frames_are_what_tungstenite_formats() {
    use tungstenite::protocol::frame::Frame;
    for len in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
        let payload = vec![b'x'; len];
        let mut expected = Vec::new();
        Frame::message(payload.clone(), TEXT, true).format(&mut expected).unwrap();
        let mut written = b"before".to_vec();
        write_frame(&mut written, TEXT, &payload);
        write_frame_with(&mut written, |out| out.extend_from_slice(&payload), |_| TEXT);
        assert_eq!(&written[..6], b"before");
        assert_eq!(&written[6..6 + expected.len()], expected);
        assert_eq!(&written[6 + expected.len()..], expected);
    }
}

#[test]
fn random_streams_mean_the_same_in_any_segmentation() {
    let mut random = Random::from_env();
    for _ in 0..3000 {
        let mut stream = Vec::new();
        for _ in 0..random.below(6) {
            let first = [0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88, 0xc1, 0x42]
                [random.below(11)];
            let payload =
                if random.chance(3) { random.bytes(3) } else { vec![b'a'; random.below(140)] };
            let key = [random.next() as u8, random.next() as u8, 3, 4];
            stream.extend(frame(first, &payload, key));
        }
        if random.chance(4) && !stream.is_empty() {
            let at = random.below(stream.len());
            stream[at] = random.next() as u8;
        }
        fuzz_frames(&stream);
    }
}
