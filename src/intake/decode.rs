//! Inflates the parts of a body, each once and within a limit (`--decode`). Knows neither topics nor sockets.

use std::str::FromStr;

use flate2::{Decompress, FlushDecompress, Status};

use crate::message::{Message, PartLen};

/// What bodies are inflated from (`--decode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decode {
    /// Nothing: they are passed on as they come.
    None,
    /// Zlib (RFC 1950).
    Zlib,
    /// Gzip (RFC 1952).
    Gzip,
    /// What a part begins like: gzip, zlib as it is written by default, or neither.
    Auto,
}

impl FromStr for Decode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "zlib" => Ok(Self::Zlib),
            "gzip" => Ok(Self::Gzip),
            "auto" => Ok(Self::Auto),
            _ => Err("expected 'none', 'zlib', 'gzip' or 'auto'".into()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Zlib,
    Gzip,
}

/// Why a part was passed on as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// It is no stream of its coding, or not a whole one.
    Broken,
    /// Inflated, the message would be larger than allowed.
    TooLarge,
}

impl Failure {
    /// What is wrong, for the log.
    pub(super) fn complaint(self) -> &'static str {
        match self {
            Self::Broken => {
                "a part of the body does not inflate and is passed on as it came (--decode)"
            }
            Self::TooLarge => {
                "a part of the body inflates to more than --max-message and is passed on as it came (--decode)"
            }
        }
    }
}

/// What became of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Whether its body is now that of [`Decoder::bytes`] and [`Decoder::lens`].
    pub(super) is_changed: bool,
    /// Parts that were to be inflated and are as they came.
    pub(super) failures: u64,
    pub(super) last_failure: Option<Failure>,
    /// What was read and written to inflate, in vain or not.
    pub(super) work_bytes: usize,
}

/// The gzip header of RFC 1952 with the one method that there is.
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// The windows of all encoders fit into this: 32 KiB.
const WINDOW_BITS: u8 = 15;

/// Room for the first output of a part: most parts of real feeds need no more.
const FIRST_ROOM_BYTES: usize = 16 << 10;

/// What a large message leaves behind is given back; below this the next one uses it again.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Inflates the bodies of messages, one after the other.
pub(super) struct Decoder {
    decode: Decode,
    /// A part that is not to be touched: a counter.
    plain_part: Option<usize>,
    bytes_max: usize,
    zlib: Decompress,
    gzip: Decompress,
    /// The body of the message at hand.
    bytes: Vec<u8>,
    lens: Vec<PartLen>,
}

impl Decoder {
    /// `None` where nothing is to be inflated. `plain_part`, counted from 0, is left as it is; a message's topic and body
    /// will not be larger than `bytes_max` after it has been inflated, where they were not before.
    pub(super) fn new(decode: Decode, plain_part: Option<usize>, bytes_max: usize) -> Option<Self> {
        (decode != Decode::None).then(|| Self {
            decode,
            plain_part,
            bytes_max,
            zlib: Decompress::new_with_window_bits(true, WINDOW_BITS),
            gzip: Decompress::new_gzip(WINDOW_BITS),
            bytes: Vec::new(),
            lens: Vec::new(),
        })
    }

    /// The parts of the changed body, one after the other.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How long each part of the changed body is.
    pub(super) fn lens(&self) -> &[PartLen] {
        &self.lens
    }

    /// Inflates what can be inflated of the body of `message`. Parts over which one stream is spread become one; a part
    /// with which no whole stream begins stays as it came. After as much work in vain as a message may be large, the rest
    /// stays so too: a message of many parts could otherwise cost thousands of times as much as one of the same size.
    pub(super) fn decode(&mut self, message: &Message<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut parts = message.body().enumerate();
        if parts.clone().all(|(index, part)| self.coding(index, part).is_none()) {
            return outcome;
        }
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX.min(self.bytes_max));
        self.lens.clear();
        // What is left for the body when everything that is still to come stays as it is.
        let mut room = self.bytes_max.saturating_sub(message.topic().len() + message.body_bytes());
        let mut vain_work_bytes = 0;
        while let Some((index, part)) = parts.clone().next() {
            let Some(coding) = self.coding(index, part) else {
                self.keep(part);
                parts.next();
                continue;
            };
            let start = self.bytes.len();
            let work_before = outcome.work_bytes;
            let inflated = match vain_work_bytes < self.bytes_max {
                true => self.inflate(coding, parts.clone(), room, &mut outcome.work_bytes),
                false => Err(Failure::TooLarge),
            };
            match inflated {
                Ok(count) => {
                    let raw: usize = parts.by_ref().take(count).map(|(_, part)| part.len()).sum();
                    let inflated = self.bytes.len() - start;
                    self.push_len(inflated);
                    room = (room + raw).saturating_sub(inflated);
                    outcome.is_changed = true;
                }
                Err(failure) => {
                    vain_work_bytes += outcome.work_bytes - work_before;
                    self.bytes.truncate(start);
                    self.keep(part);
                    parts.next();
                    outcome.failures += 1;
                    outcome.last_failure = Some(failure);
                }
            }
        }
        outcome
    }

    /// What the part is to be inflated from, if at all.
    fn coding(&self, index: usize, part: &[u8]) -> Option<Coding> {
        // An empty part has nothing to inflate, in whatever coding.
        if part.is_empty() || self.plain_part == Some(index) {
            return None;
        }
        match self.decode {
            Decode::None => None,
            Decode::Zlib => Some(Coding::Zlib),
            Decode::Gzip => Some(Coding::Gzip),
            Decode::Auto if part.starts_with(&GZIP_MAGIC) => Some(Coding::Gzip),
            // Deflate with the window that every encoder has by default, and the four levels that it may note. Smaller
            // windows would make zlib of too many texts.
            Decode::Auto if matches!(part, [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..]) => {
                Some(Coding::Zlib)
            }
            Decode::Auto => None,
        }
    }

    fn keep(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
        self.push_len(part.len());
    }

    fn push_len(&mut self, len: usize) {
        let len = u32::try_from(len).expect("--max-message is below 4 GiB");
        self.lens.push(len.to_le_bytes());
    }

    /// Appends what the stream inflates to that begins with the first of `parts`, and returns over how many of them it is
    /// spread. There is `room` for so many bytes more than those parts have.
    fn inflate<'a>(
        &mut self,
        coding: Coding,
        parts: impl Iterator<Item = (usize, &'a [u8])>,
        room: usize,
        work_bytes: &mut usize,
    ) -> Result<usize, Failure> {
        let Self { bytes, plain_part, .. } = self;
        let stream = match coding {
            Coding::Zlib => &mut self.zlib,
            Coding::Gzip => &mut self.gzip,
        };
        stream.reset(true);
        let start = bytes.len();
        let mut end_max = start + room;
        for (count, (index, part)) in (1..).zip(parts) {
            if *plain_part == Some(index) {
                break;
            }
            end_max += part.len();
            let len_before = bytes.len();
            let is_whole = inflate_part(stream, coding, part, bytes, end_max);
            *work_bytes += part.len() + bytes.len() - len_before;
            if let IsWhole(true) = is_whole? {
                return Ok(count);
            }
        }
        Err(Failure::Broken)
    }
}

/// Whether a stream is at its end.
struct IsWhole(bool);

/// Appends what `part` inflates to, up to a length of `end_max`.
fn inflate_part(
    stream: &mut Decompress,
    coding: Coding,
    mut part: &[u8],
    bytes: &mut Vec<u8>,
    end_max: usize,
) -> Result<IsWhole, Failure> {
    loop {
        if bytes.len() == bytes.capacity() {
            // One byte more than allowed shows that there is more. Vec would double beyond that.
            let wanted = (2 * bytes.len()).max(bytes.len() + FIRST_ROOM_BYTES).min(end_max + 1);
            bytes.reserve_exact(wanted.saturating_sub(bytes.len()).max(1));
        }
        let (read_before, len_before) = (stream.total_in(), bytes.len());
        let status = stream
            .decompress_vec(part, bytes, FlushDecompress::None)
            .map_err(|_| Failure::Broken)?;
        let read = usize::try_from(stream.total_in() - read_before).expect("no more than there is");
        part = &part[read..];
        if bytes.len() > end_max {
            return Err(Failure::TooLarge);
        }
        let is_full = bytes.len() == bytes.capacity();
        match status {
            Status::StreamEnd if part.is_empty() => return Ok(IsWhole(true)),
            // A gzip file may consist of several streams (RFC 1952 section 2.2).
            Status::StreamEnd if coding == Coding::Gzip && part.starts_with(&GZIP_MAGIC) => {
                stream.reset(true);
            }
            Status::StreamEnd => return Err(Failure::Broken),
            Status::Ok | Status::BufError if is_full => {}
            Status::Ok | Status::BufError if part.is_empty() => return Ok(IsWhole(false)),
            Status::Ok | Status::BufError if read == 0 && bytes.len() == len_before => {
                return Err(Failure::Broken);
            }
            Status::Ok | Status::BufError => {}
        }
    }
}

#[cfg(test)]
mod tests {
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
        let parts: Vec<Part> =
            [&b"t"[..]].iter().chain(body).map(|part| Part::from(*part)).collect();
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
}
