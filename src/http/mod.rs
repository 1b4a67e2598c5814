//! HTTP/1.1 as a front door: bytes become an `Outcome` or a `Refusal`, answers become bytes. Knows no
//! socket, clock or file.
//!
//! A connection repeats, for each request, in this order:
//!
//! 1. [`HeadScanner::scan`] over what has arrived, until it gives the length of a head;
//! 2. [`parse_head`], then [`route()`]; either may give a [`Refusal`] instead;
//! 3. write the answer, but hold it back while [`BodySkipper::skip`] discards the request's body;
//! 4. send it, and go on with the bytes behind the body where it said [`After::NextRequest`].
//!
//! The body comes before the answer so that a body whose framing turns out to be broken still gets
//! its one refusal in place of the answer, never behind it. [`Request::body_to_skip`] knows the
//! exception. After [`After::Close`] no input is looked at again: where it was not understood, it
//! has no next request.

pub(crate) mod assets;
mod body;
mod cors;
pub(crate) mod engine_io;
mod extensions;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod headers;
mod query;
mod request;
pub(crate) mod response;
mod route;
mod scanner;
mod target;

pub(crate) use body::{BodyLength, BodySkipper};
pub(crate) use cors::{Cors, write_preflight};
pub(crate) use engine_io::EnginePost;
pub(crate) use extensions::Deflate;
pub(crate) use headers::Field;
pub(crate) use query::{Allowed, Subscribe, decode_path, parameter};
pub(crate) use request::{Method, Request, Version, parse_head};
pub(crate) use response::{After, Date, Exchange, HeldRequest, Refusal, Status, write_late_head};
pub(crate) use route::{Outcome, Role, Rules, Upgrade, route};
pub(crate) use scanner::HeadScanner;
pub(crate) use target::Target;

/// Header lines in one request; more are refused with 431. Browsers send about 20.
pub(crate) const HEADERS_MAX: usize = 100;

/// How large the pieces of one request may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// A whole head, blank lines in front included, bytes; more is refused with 431.
    pub(crate) head_bytes_max: usize,
    /// The target in the request line, bytes; more is refused with 414. Useful only below
    /// `head_bytes_max`.
    pub(crate) target_bytes_max: usize,
    /// The content of a body, which is discarded, bytes; more is refused with 413.
    pub(crate) body_bytes_max: u64,
}

impl Default for Limits {
    /// 8 KiB of head, of which 6 KiB may be target: 128 topics of 40 characters fit, and so do a
    /// browser's headers.
    fn default() -> Self {
        Self { head_bytes_max: 8 * 1024, target_bytes_max: 6 * 1024, body_bytes_max: 64 * 1024 }
    }
}

/// Whether `byte` may stand in a token: a method, a header name (RFC 9110 section 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `bytes` without spaces and tabs around them (RFC 9110 section 5.6.3).
fn trim_spaces(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
