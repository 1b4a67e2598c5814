//! Inflates the parts of a body, each once and within a limit (`--decode`). Knows neither topics nor sockets.

use std::str::FromStr;

use flate2::{Decompress, FlushDecompress, Status};

use crate::message::{Message, PartLen};

/// What bodies are inflated from (`--decode`).
///
/// # Examples
///
/// ```
/// use zmq2ws::{Decode, Gateway};
///
/// // A feed that is zlib, such as EDDN's.
/// let gateway = Gateway::builder().bind("tcp://127.0.0.1:*").decode(Decode::Zlib).build()?;
/// assert_eq!("auto".parse(), Ok(Decode::Auto));
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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
    /// The message has more streams than [`STREAMS_MAX`].
    TooManyStreams,
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
            Self::TooManyStreams => {
                "a part of a body of thousands of streams is passed on as it came (--decode)"
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
    /// Streams that were begun, in vain or not.
    pub(super) streams: usize,
}

/// Streams that are begun for one message: about 20 ms, however little is in them. A gzip file of 16 MiB of the smallest
/// members would take seconds; one of 64 KiB each, as programs write them, has 256.
pub(super) const STREAMS_MAX: usize = 5_000;

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
                true => self.inflate(coding, parts.clone(), room, &mut outcome),
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
        outcome: &mut Outcome,
    ) -> Result<usize, Failure> {
        let Self { bytes, plain_part, .. } = self;
        let stream = match coding {
            Coding::Zlib => &mut self.zlib,
            Coding::Gzip => &mut self.gzip,
        };
        begin_stream(stream, &mut outcome.streams)?;
        let start = bytes.len();
        let mut end_max = start + room;
        for (count, (index, part)) in (1..).zip(parts) {
            if *plain_part == Some(index) {
                break;
            }
            end_max += part.len();
            let len_before = bytes.len();
            let is_whole = inflate_part(stream, coding, part, bytes, end_max, &mut outcome.streams);
            outcome.work_bytes += part.len() + bytes.len() - len_before;
            if let IsWhole(true) = is_whole? {
                return Ok(count);
            }
        }
        Err(Failure::Broken)
    }
}

/// Begins a stream, one more of `streams`.
fn begin_stream(stream: &mut Decompress, streams: &mut usize) -> Result<(), Failure> {
    if *streams == STREAMS_MAX {
        return Err(Failure::TooManyStreams);
    }
    *streams += 1;
    stream.reset(true);
    Ok(())
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
    streams: &mut usize,
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
                begin_stream(stream, streams)?;
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
mod tests;
