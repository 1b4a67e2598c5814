//! Discards a request's body, of known length or chunked, in any segmentation; or keeps its content, where that is
//! asked for.

use super::{Refusal, Status, is_token_byte};

/// Bytes of chunk extensions and trailers tolerated in one body. Nobody who is honest sends any.
const EXTRAS_BYTES_MAX: u16 = 4096;

/// Hexadecimal digits of a chunk size: a u64 has no more.
const SIZE_DIGITS_MAX: u8 = 16;

/// How a request says where its body ends (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// There is no body, or one of no bytes.
    None,
    /// `Content-Length`, bytes, 1 or more.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What became of a piece of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// How many bytes of the piece belonged to the body; all of them unless `is_done`.
    pub(crate) consumed: usize,
    /// Whether the body has ended; what follows is the next request's.
    pub(crate) is_done: bool,
}

/// Discards one body. Constant memory, linear time.
#[derive(Debug)]
pub(crate) struct BodySkipper {
    state: State,
    /// Content bytes that chunks may still announce.
    content_left: u64,
    /// Bytes that extensions and trailers may still take.
    extras_left: u16,
    /// The content so far, where it is kept.
    kept: Option<Vec<u8>>,
}

/// What the next byte is (RFC 9112 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// One of so many bytes that end the body; never 0.
    Plain(u64),
    /// A digit of a chunk's size, or what ends it.
    Size { size: u64, digits: u8 },
    /// Part of a chunk extension of a chunk of this size, or the CR behind it.
    Extension(u64),
    /// The LF behind this size.
    SizeLf(u64),
    /// One of so many bytes of a chunk; never 0.
    Data(u64),
    /// The CR behind a chunk.
    DataCr,
    /// The LF behind a chunk.
    DataLf,
    /// The first byte of a trailer line, or the CR of the blank line that ends the body.
    TrailerStart,
    /// Part of a trailer's name, or its colon.
    TrailerName,
    /// Part of a trailer's value, or its CR.
    TrailerValue,
    /// The LF behind a trailer.
    TrailerLf,
    /// The last LF.
    EndLf,
    /// Not the body's.
    Done,
}

impl BodySkipper {
    /// Starts at the first byte behind the head. `body_bytes_max` bounds the content of a chunked
    /// body; a known length was compared with it when the head was parsed.
    pub(crate) fn new(body: BodyLength, body_bytes_max: u64) -> Self {
        let state = match body {
            BodyLength::None | BodyLength::Length(0) => State::Done,
            BodyLength::Length(length) => State::Plain(length),
            BodyLength::Chunked => State::Size { size: 0, digits: 0 },
        };
        Self { state, content_left: body_bytes_max, extras_left: EXTRAS_BYTES_MAX, kept: None }
    }

    /// The same, but the content is kept, which the limit then bounds.
    pub(crate) fn keeping(self) -> Self {
        Self { kept: Some(Vec::new()), ..self }
    }

    /// The content that was kept.
    pub(crate) fn take_kept(&mut self) -> Vec<u8> {
        self.kept.take().unwrap_or_default()
    }

    /// The memory that it takes.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, Vec::capacity)
    }

    /// Discards what of `input` belongs to the body.
    ///
    /// # Errors
    ///
    /// 400 for chunks that are not exactly as RFC 9112 section 7.1 writes them (CRLF only, no
    /// spaces), 413 for a body above the limit. Both close: after either, nobody knows where the
    /// next request starts.
    pub(crate) fn skip(&mut self, input: &[u8]) -> Result<Skipped, Refusal> {
        let mut rest = input;
        while let [byte, tail @ ..] = rest {
            match self.state {
                State::Done => break,
                State::Plain(left) => {
                    let (count, left) = skip_up_to(left, rest);
                    self.state = if left == 0 { State::Done } else { State::Plain(left) };
                    self.keep(&rest[..count]);
                    rest = &rest[count..];
                }
                State::Data(left) => {
                    let (count, left) = skip_up_to(left, rest);
                    self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                    self.keep(&rest[..count]);
                    rest = &rest[count..];
                }
                state => {
                    self.state = self.step(state, *byte)?;
                    rest = tail;
                }
            }
        }
        let is_done = self.state == State::Done;
        Ok(Skipped { consumed: input.len() - rest.len(), is_done })
    }

    fn keep(&mut self, content: &[u8]) {
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(content);
        }
    }

    /// The state after one byte of chunk framing.
    fn step(&mut self, state: State, byte: u8) -> Result<State, Refusal> {
        Ok(match (state, byte) {
            (State::Size { size, digits }, _) => return self.step_size(size, digits, byte),
            (State::Extension(size), b'\r') => State::SizeLf(size),
            (State::Extension(size), _) => self.extra(byte, State::Extension(size))?,
            (State::SizeLf(0), b'\n') => State::TrailerStart,
            (State::SizeLf(size), b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, digits: 0 },
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::TrailerName, _) if is_token_byte(byte) => {
                self.extra(byte, State::TrailerName)?
            }
            (State::TrailerName, b':') => self.extra(byte, State::TrailerValue)?,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, _) => self.extra(byte, State::TrailerValue)?,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(malformed()),
        })
    }

    fn step_size(&mut self, size: u64, digits: u8, byte: u8) -> Result<State, Refusal> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if digits == SIZE_DIGITS_MAX {
                return Err(malformed());
            }
            let size = (size << 4) | u64::from(digit);
            return Ok(State::Size { size, digits: digits + 1 });
        }
        if digits == 0 {
            return Err(malformed());
        }
        let next = match byte {
            b'\r' => State::SizeLf(size),
            b';' => self.extra(byte, State::Extension(size))?,
            _ => return Err(malformed()),
        };
        self.content_left = self.content_left.checked_sub(size).ok_or_else(too_large)?;
        Ok(next)
    }

    /// Goes on to `next` with a byte of an extension or a trailer, while their bound allows it.
    fn extra(&mut self, byte: u8, next: State) -> Result<State, Refusal> {
        if (byte < b' ' && byte != b'\t') || byte == 0x7f {
            return Err(malformed());
        }
        self.extras_left = self.extras_left.checked_sub(1).ok_or_else(too_large)?;
        Ok(next)
    }
}

/// How many bytes of `input` are among the next `left`, and how many are left then.
fn skip_up_to(left: u64, input: &[u8]) -> (usize, u64) {
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    (count, left - count as u64)
}

fn malformed() -> Refusal {
    Refusal::closing(Status::BadRequest, "malformed chunked body")
}

fn too_large() -> Refusal {
    Refusal::closing(Status::ContentTooLarge, "the request body is too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 64 * 1024;

    /// The bytes that a body takes from `input`, `None` while it has not ended; the same in one
    /// piece and in single bytes.
    fn skip(body: BodyLength, input: &[u8]) -> Result<Option<usize>, Status> {
        let whole = BodySkipper::new(body, MAX)
            .skip(input)
            .map(|skipped| skipped.is_done.then_some(skipped.consumed))
            .map_err(|refusal| refusal.status);
        let mut skipper = BodySkipper::new(body, MAX);
        let mut taken = 0;
        let mut piecewise = Ok(None);
        for index in 0..=input.len() {
            match skipper.skip(input.get(index..index + 1).unwrap_or_default()) {
                Ok(Skipped { consumed, is_done }) => {
                    taken += consumed;
                    piecewise = Ok(is_done.then_some(taken));
                }
                Err(refusal) => piecewise = Err(refusal.status),
            }
            if piecewise != Ok(None) {
                break;
            }
        }
        assert_eq!(whole, piecewise, "{}", input.escape_ascii());
        whole
    }

    #[test]
    fn known_lengths() {
        assert_eq!(skip(BodyLength::None, b"GET"), Ok(Some(0)));
        assert_eq!(skip(BodyLength::Length(0), b"GET"), Ok(Some(0)));
        assert_eq!(skip(BodyLength::Length(3), b"abcGET"), Ok(Some(3)));
        assert_eq!(skip(BodyLength::Length(3), b"ab"), Ok(None));
        assert_eq!(skip(BodyLength::Length(u64::MAX), b"ab"), Ok(None));
    }

    #[test]
    fn chunked_bodies_end_with_their_trailers() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "a\r\n0123456789\r\nA\r\n0123456789\r\n000\r\n\r\n",
            "3;name=\"v;v\"\r\nabc\r\n0;x\r\n\r\n",
            "0\r\nExpires: never\r\nX-Empty:\r\n\r\n",
            "2\r\n\r\n\r\n0\r\n\r\n",
            "0000000000000001\r\na\r\n0\r\n\r\n",
        ] {
            let input = format!("{body}GET / HTTP/1.1\r\n");
            assert_eq!(
                skip(BodyLength::Chunked, input.as_bytes()),
                Ok(Some(body.len())),
                "{body:?}"
            );
            assert_eq!(skip(BodyLength::Chunked, &body.as_bytes()[..body.len() - 1]), Ok(None));
        }
    }

    #[test]
    fn bad_chunks_are_refused() {
        for body in [
            "\r\n",
            "+3\r\nabc\r\n",
            "-3\r\n",
            " 3\r\n",
            "3 \r\nabc\r\n",
            "3\t;x\r\n",
            "0x3\r\n",
            "3_0\r\n",
            "g\r\n",
            ";x\r\n",
            "3\nabc\r\n",
            "3;x\nabc\r\n",
            "3;x\0\r\n",
            "3\rabc",
            "3\r\nabcd\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "3\r\nabc\r0\r\n\r\n",
            "00000000000000003\r\n",
            "10000000000000000\r\n",
            "fffffffffffffffff\r\n",
            "0\r\n\n",
            "0\r\nname\r\n\r\n",
            "0\r\nname : v\r\n\r\n",
            "0\r\n: v\r\n\r\n",
            "0\r\nname: v\r\n folded\r\n\r\n",
            "0\r\nname: v\n\r\n",
            "0\r\nname: \x01\r\n\r\n",
            "0\r\n\rX",
        ] {
            let verdict = skip(BodyLength::Chunked, body.as_bytes());
            assert_eq!(verdict, Err(Status::BadRequest), "{body:?}");
        }
    }

    #[test]
    fn content_is_bounded() {
        let chunk = |bytes: u64| format!("{bytes:x}\r\n{}\r\n", "x".repeat(bytes as usize));
        let fits = format!("{}{}0\r\n\r\n", chunk(MAX - 1), chunk(1));
        assert_eq!(skip(BodyLength::Chunked, fits.as_bytes()), Ok(Some(fits.len())));
        let over = format!("{}{}", chunk(MAX - 1), chunk(2));
        assert_eq!(skip(BodyLength::Chunked, over.as_bytes()), Err(Status::ContentTooLarge));
        for size in ["10001\r", "ffffffffffffffff\r", "10001;"] {
            assert_eq!(
                skip(BodyLength::Chunked, size.as_bytes()),
                Err(Status::ContentTooLarge),
                "{size:?}"
            );
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let fill = |bytes: usize| "x".repeat(bytes);
        let max = usize::from(EXTRAS_BYTES_MAX);
        let extension = format!("0;{}\r\n\r\n", fill(max - 1));
        assert_eq!(skip(BodyLength::Chunked, extension.as_bytes()), Ok(Some(extension.len())));
        for over in [
            format!("0;{}", fill(max)),
            format!("0\r\n{}", fill(max + 1)),
            format!("0\r\nname:{}", fill(max)),
            "1;x\r\na\r\n".repeat(max),
        ] {
            assert_eq!(
                skip(BodyLength::Chunked, over.as_bytes()),
                Err(Status::ContentTooLarge),
                "{}",
                &over[..10]
            );
        }
    }
}
