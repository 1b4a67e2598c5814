//! What bodies are inflated from (`--decode`), and what may become of that. Knows neither topics nor sockets.

#[cfg_attr(not(feature = "compress"), path = "decode/no_inflate.rs")]
mod inflate;

use std::str::FromStr;

pub(super) use inflate::Decoder;

use crate::error::ParseError;

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
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "none" => Ok(Self::None),
            "zlib" => Ok(Self::Zlib),
            "gzip" => Ok(Self::Gzip),
            "auto" => Ok(Self::Auto),
            _ => Err(ParseError::new("expected 'none', 'zlib', 'gzip' or 'auto'")),
        }
    }
}

/// Why a part was passed on as it came.
#[cfg_attr(not(feature = "compress"), allow(dead_code, reason = "nothing is inflated"))]
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
                "a part of the body does not inflate and is passed on as it came (decode)"
            }
            Self::TooLarge => {
                "a part of the body inflates to more than max-message and is passed on as it came (decode)"
            }
            Self::TooManyStreams => {
                "a part of a body of thousands of streams is passed on as it came (decode)"
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
#[cfg_attr(not(feature = "compress"), allow(dead_code, reason = "nothing is inflated"))]
pub(super) const STREAMS_MAX: usize = 5_000;
