//! Bodies of all shapes, whole, broken and hostile.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::*;
use crate::message::{Part, Seq, TopicFrom};
use crate::test_random::Random;

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The body of topic `t` with these parts, and what became of it.
fn decoded(decoder: &mut Decoder, body: &[&[u8]]) -> (Vec<Vec<u8>>, Outcome) {
    let parts: Vec<Part> = [&b"t"[..]].iter().chain(body).map(|part| Part::from(*part)).collect();
    let message = Message::from_parts(Seq(1), &parts, TopicFrom::Part);
    let outcome = decoder.decode(&message);
    let message = match outcome.is_changed {
        true => message.with_flat_body(decoder.lens(), decoder.bytes()),
        false => message,
    };
    (message.body().map(<[u8]>::to_vec).collect(), outcome)
}

#[track_caller]
fn assert_decoded(decode: Decode, body: &[&[u8]], expected: &[&[u8]], failures: u64) {
    let mut decoder = Decoder::new(decode, None, 1 << 20).unwrap();
    let (got, outcome) = decoded(&mut decoder, body);
    assert_eq!(got, expected);
    assert_eq!(outcome.failures, failures);
}

#[test]
fn each_part_is_inflated_from_its_coding() {
    let (z, g) = (zlib(b"zlib"), gzip(b"gzip"));
    assert_decoded(Decode::Zlib, &[&z], &[b"zlib"], 0);
    assert_decoded(Decode::Zlib, &[&z, b"", &z], &[b"zlib", b"", b"zlib"], 0);
    assert_decoded(Decode::Zlib, &[&z, &g, b"plain"], &[b"zlib", &g, b"plain"], 2);
    assert_decoded(Decode::Gzip, &[&g, &z], &[b"gzip", &z], 1);
    assert_decoded(Decode::Auto, &[&g, b"plain", &z], &[b"gzip", b"plain", b"zlib"], 0);
    assert_decoded(Decode::Auto, &[b"plain", b"", b"x"], &[b"plain", b"", b"x"], 0);
    assert_decoded(Decode::Gzip, &[&gzip(b""), &gzip(b"a")], &[b"", b"a"], 0);
    assert!(Decoder::new(Decode::None, None, 1).is_none());
}

#[test]
fn a_stream_over_several_parts_becomes_one_part() {
    let text = b"<xml/>".repeat(1000);
    let g = gzip(&text);
    for cut in 1..g.len() {
        assert_decoded(Decode::Auto, &[&g[..3.max(cut)], &g[3.max(cut)..]], &[&text], 0);
        assert_decoded(Decode::Gzip, &[&g[..cut], b"", &g[cut..], &g], &[&text, &text], 0);
    }
    let z = zlib(&text);
    let bytes: Vec<_> = z.chunks(1).collect();
    assert_decoded(Decode::Zlib, &bytes, &[&text], 0);
}

#[test]
fn gzip_files_may_have_several_members() {
    let both = [gzip(b"one"), gzip(b"two")].concat();
    assert_decoded(Decode::Gzip, &[&both], &[b"onetwo"], 0);
    assert_decoded(Decode::Gzip, &[&both[..30], &both[30..]], &[b"onetwo"], 0);
}

#[test]
fn what_is_not_a_whole_stream_is_kept_as_it_came() {
    let z = zlib(&b"text".repeat(100));
    let mut wrong_sum = z.clone();
    *wrong_sum.last_mut().unwrap() ^= 1;
    let with_rest = [&z[..], b"rest"].concat();
    for part in [&wrong_sum, &with_rest, &z[..z.len() - 1].to_vec(), &b"x\x9c".to_vec()] {
        assert_decoded(Decode::Zlib, &[part], &[part], 1);
        assert_decoded(Decode::Auto, &[part, b"end"], &[part, b"end"], 1);
    }
    // A dictionary that nobody has.
    assert_decoded(Decode::Zlib, &[b"x\xbb\0\0\0\x01rest"], &[b"x\xbb\0\0\0\x01rest"], 1);
    // After a stream that does not end another may begin.
    let whole = zlib(b"whole");
    let first = &z[..z.len() / 2];
    assert_decoded(Decode::Zlib, &[first, &whole], &[first, b"whole"], 1);
    assert_decoded(Decode::Zlib, &[&whole, first], &[b"whole", first], 1);
}

#[test]
fn a_counter_is_left_alone() {
    let counter = zlib(b"");
    assert_eq!(counter.len(), 8, "as a counter could look");
    let z = zlib(b"body");
    let mut decoder = Decoder::new(Decode::Zlib, Some(1), 1000).unwrap();
    let (body, outcome) = decoded(&mut decoder, &[&z, &counter, &z]);
    assert_eq!(
        (body, outcome.failures),
        (vec![b"body".to_vec(), counter.clone(), b"body".to_vec()], 0)
    );
    let (body, outcome) = decoded(&mut decoder, &[&z[..9], &counter, &z]);
    assert_eq!((body, outcome.failures), (vec![z[..9].to_vec(), counter, b"body".to_vec()], 1));
}

#[test]
fn a_message_grows_up_to_the_limit_and_no_further() {
    const LIMIT: usize = 10_000;
    let mut decoder = Decoder::new(Decode::Auto, None, LIMIT).unwrap();
    let fits = [b'x'; LIMIT - 1 - 4];
    let (z, over) = (zlib(&fits), zlib(&[&fits[..], b"y"].concat()));
    let (body, outcome) = decoded(&mut decoder, &[&z, b"text"]);
    assert_eq!((body, outcome.failures), (vec![fits.to_vec(), b"text".to_vec()], 0));
    let (body, outcome) = decoded(&mut decoder, &[&over, b"text"]);
    assert_eq!(
        (body, outcome.last_failure),
        (vec![over.clone(), b"text".to_vec()], Some(Failure::TooLarge))
    );
    let (body, outcome) = decoded(&mut decoder, &[b"text", &over]);
    assert_eq!(
        (body, outcome.last_failure),
        (vec![b"text".to_vec(), over], Some(Failure::TooLarge))
    );
}

#[test]
fn bombs_cost_what_one_message_may() {
    const LIMIT: usize = 1 << 20;
    let bomb = zlib(&vec![0; 16 * LIMIT]);
    let mut broken = zlib(&vec![0; LIMIT / 2]);
    *broken.last_mut().unwrap() ^= 1;
    let mut decoder = Decoder::new(Decode::Zlib, None, LIMIT).unwrap();
    for parts in [vec![&bomb[..]; 4], vec![&broken[..]; 500]] {
        let (body, outcome) = decoded(&mut decoder, &parts);
        assert_eq!(body, parts);
        assert_eq!((outcome.is_changed, outcome.failures), (false, parts.len() as u64));
        assert!(outcome.work_bytes < 3 * LIMIT, "{}", outcome.work_bytes);
    }
    // A stream within a stream stays as it is: each part is inflated once.
    let nested = zlib(&zlib(b"inner"));
    assert_eq!(decoded(&mut decoder, &[&nested]).0, [zlib(b"inner")]);
    // What a large message needed is not held on to.
    assert_eq!(decoded(&mut decoder, &[&zlib(&vec![0; LIMIT - 1])]).0[0].len(), LIMIT - 1);
    decoded(&mut decoder, &[&zlib(b"small")]);
    assert!(decoder.bytes.capacity() <= KEPT_BYTES_MAX);
}

/// Beginning a stream costs more than a thousand bytes in it.
#[test]
fn endless_streams_of_nothing_are_left_as_they_came() {
    let mut decoder = Decoder::new(Decode::Auto, None, 1 << 20).unwrap();
    let (empty, one) = (gzip(b""), gzip(b"a"));
    let fits = one.repeat(STREAMS_MAX);
    let (body, outcome) = decoded(&mut decoder, &[&fits]);
    assert_eq!((body, outcome.failures), (vec![vec![b'a'; STREAMS_MAX]], 0));
    for many in [empty.repeat(STREAMS_MAX + 1), one.repeat(STREAMS_MAX + 1)] {
        for parts in [vec![&many[..]], vec![&many[..], &many[..], &one[..]]] {
            let (body, outcome) = decoded(&mut decoder, &parts);
            assert_eq!(body, parts);
            assert_eq!((outcome.failures, outcome.streams), (parts.len() as u64, STREAMS_MAX));
            assert_eq!(outcome.last_failure, Some(Failure::TooManyStreams));
        }
    }
    let parts = vec![&empty[..]; STREAMS_MAX + 10];
    assert_eq!(decoded(&mut decoder, &parts).1.failures, 10);
}

#[test]
fn random_bodies_come_back_whatever_they_were_cut_into() {
    let mut random = Random::from_env();
    let mut decoder = Decoder::new(Decode::Auto, None, 1 << 20).unwrap();
    for _ in 0..500 {
        let (mut sent, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..1 + random.below(4) {
            let len = random.below(20_000) * random.below(2);
            let mut part: Vec<u8> = (0..len).map(|_| b"ab\n"[random.below(3)]).collect();
            part.insert(0, b' ');
            let coded = match random.below(3) {
                0 => zlib(&part),
                1 => gzip(&part),
                _ => part.clone(),
            };
            expected.push(part);
            let is_plain = coded[0] == b' ';
            let cut = if is_plain { 0 } else { random.below(coded.len() - 3) };
            let (head, tail) = coded.split_at(if cut == 0 { coded.len() } else { cut + 3 });
            sent.extend([head.to_vec(), tail.to_vec()].into_iter().filter(|it| !it.is_empty()));
        }
        let sent: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
        let (body, outcome) = decoded(&mut decoder, &sent);
        assert!(body == expected && outcome.failures == 0);
    }
}
