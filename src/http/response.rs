//! Writes answers: status lines, header fields, refusals, the upgrade. Knows no request except its `Exchange`.
//!
//! An answer repeats nothing that a client sent, except the origin and the field names that a browser asked about; every
//! reason is a constant.

use std::io::Write;
use std::time::SystemTime;

use httpdate::HttpDate;

use super::engine_io::ErrorCode;
use super::scanner::blank_bytes;
use super::{Cors, Deflate, Version};
use crate::wire::sse::Framing;

/// The statuses that this server answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// 101
    SwitchingProtocols,
    /// 200
    Ok,
    /// 204
    NoContent,
    /// 304
    NotModified,
    /// 400
    BadRequest,
    /// 401
    Unauthorized,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 408
    RequestTimeout,
    /// 413
    ContentTooLarge,
    /// 414
    UriTooLong,
    /// 426
    UpgradeRequired,
    /// 429
    TooManyRequests,
    /// 431
    HeaderFieldsTooLarge,
    /// 501
    NotImplemented,
    /// 503
    ServiceUnavailable,
    /// 505
    VersionNotSupported,
}

impl Status {
    /// The code and phrase, as a status line has them (RFC 9110 section 15, RFC 6585 section 5).
    fn line(self) -> &'static str {
        match self {
            Self::SwitchingProtocols => "101 Switching Protocols",
            Self::Ok => "200 OK",
            Self::NoContent => "204 No Content",
            Self::NotModified => "304 Not Modified",
            Self::BadRequest => "400 Bad Request",
            Self::Unauthorized => "401 Unauthorized",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::ContentTooLarge => "413 Content Too Large",
            Self::UriTooLong => "414 URI Too Long",
            Self::UpgradeRequired => "426 Upgrade Required",
            Self::TooManyRequests => "429 Too Many Requests",
            Self::HeaderFieldsTooLarge => "431 Request Header Fields Too Large",
            Self::NotImplemented => "501 Not Implemented",
            Self::ServiceUnavailable => "503 Service Unavailable",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// A moment as HTTP writes it in `Date` (RFC 9110 section 6.6.1), `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date([u8; Date::LEN]);

impl Date {
    const LEN: usize = 29;

    pub(crate) fn from_system_time(time: SystemTime) -> Self {
        let time = HttpDate::from(time.max(SystemTime::UNIX_EPOCH));
        let mut text = [0; Self::LEN];
        write!(text.as_mut_slice(), "{time}").expect("an IMF-fixdate has 29 characters");
        Self(text)
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an IMF-fixdate is ASCII")
    }
}

/// What the head of an answer needs to know: of the request, and of the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exchange<'a> {
    /// The request's version: 1.0 is told when the connection stays, 1.1 when it does not.
    pub(crate) version: Version,
    /// Whether another request may follow.
    pub(crate) keep_alive: bool,
    /// Whether the answer's content is left out: the request was HEAD.
    pub(crate) head_only: bool,
    /// When the answer begins; `None` where the answer has no `Date` field, as an upgrade.
    pub(crate) date: Option<Date>,
    /// Which pages of other origins may see the answer.
    pub(crate) cors: Cors<'a>,
}

impl Exchange<'static> {
    /// The exchange of an upgrade: HTTP ends with it, and no page can look at the answer.
    const UPGRADE: Self = Self {
        version: Version::Http11,
        keep_alive: true,
        head_only: false,
        date: None,
        cors: Cors::Hidden,
    };

    /// The exchange of a malformed request, from the bytes of its head that arrived: the connection ends with it.
    pub(crate) fn refused(head: &[u8], date: Option<Date>) -> Self {
        let line = &head[blank_bytes(head)..];
        let head_only = line.starts_with(b"HEAD ");
        Self { keep_alive: false, head_only, date, ..Self::UPGRADE }
    }
}

impl Exchange<'_> {
    fn after(&self) -> After {
        if self.keep_alive { After::NextRequest } else { After::Close }
    }
}

/// A request that waits for its answer: what the head of the answer will need, whenever that begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeldRequest {
    version: Version,
    pub(crate) keep_alive: bool,
    head_only: bool,
    /// The page's origin, where the gateway lets it in.
    origin: Option<Box<[u8]>>,
}

impl HeldRequest {
    pub(super) fn new(exchange: &Exchange<'_>) -> Self {
        let &Exchange { version, keep_alive, head_only, cors, .. } = exchange;
        let origin = match cors {
            Cors::Origin(origin) => origin.map(Box::from),
            // Only paths that pages of other origins may ask have answers that wait.
            Cors::Hidden | Cors::Everyone => None,
        };
        Self { version, keep_alive, head_only, origin }
    }

    /// The exchange of an answer that begins at `date`.
    pub(crate) fn exchange(&self, date: Date) -> Exchange<'_> {
        let &Self { version, keep_alive, head_only, .. } = self;
        let cors = Cors::Origin(self.origin.as_deref());
        Exchange { version, keep_alive, head_only, date: Some(date), cors }
    }
}

/// What happens to the connection when an answer has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum After {
    /// The next request may be read.
    NextRequest,
    /// The connection ends: no more input is looked at, no more answers are written.
    Close,
}

/// Why a request is not served, and how its client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status.
    pub(crate) status: Status,
    /// One line for people: the answer's content.
    pub(crate) reason: &'static str,
    after: After,
    hint: Hint,
    /// Set where the reason comes as Engine.IO words it.
    pub(super) code: Option<ErrorCode>,
}

/// The header field that a status owes to its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hint {
    None,
    /// The methods that the path knows.
    Allow(&'static str),
    RetryAfterSeconds(u32),
    UpgradeToWebSocket,
    /// How to say who one is (RFC 9110 section 11.6.1).
    AuthenticateBearer,
}

impl Refusal {
    /// A refusal of a request that was understood: the connection goes on.
    pub(crate) const fn new(status: Status, reason: &'static str) -> Self {
        Self { status, reason, after: After::NextRequest, hint: Hint::None, code: None }
    }

    /// A refusal after which nobody knows, or wants to know, where the next request starts.
    pub(crate) const fn closing(status: Status, reason: &'static str) -> Self {
        Self { after: After::Close, ..Self::new(status, reason) }
    }

    /// 401: the client is to say who it is.
    pub(crate) const fn unauthorized(reason: &'static str) -> Self {
        Self { hint: Hint::AuthenticateBearer, ..Self::new(Status::Unauthorized, reason) }
    }

    /// 405: the path exists, but for the methods in `allow` only.
    pub(crate) const fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            hint: Hint::Allow(allow),
            ..Self::new(Status::MethodNotAllowed, "this path has no such method")
        }
    }

    /// 426: the path speaks WebSocket version 13 only (RFC 6455 section 4.4).
    pub(crate) const fn upgrade_required(reason: &'static str) -> Self {
        Self { hint: Hint::UpgradeToWebSocket, ..Self::new(Status::UpgradeRequired, reason) }
    }

    /// 503: come back in `retry_after_seconds`, for which [`retry_after_seconds`] is made. It
    /// closes, since what is short is most often room for connections.
    pub(crate) const fn unavailable(reason: &'static str, retry_after_seconds: u32) -> Self {
        Self {
            hint: Hint::RetryAfterSeconds(retry_after_seconds),
            ..Self::closing(Status::ServiceUnavailable, reason)
        }
    }

    /// The same refusal, after which the connection ends.
    pub(crate) const fn and_close(self) -> Self {
        Self { after: After::Close, ..self }
    }

    /// Appends the whole answer to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, exchange: Exchange<'_>) -> After {
        let keep_alive = exchange.keep_alive && self.after == After::NextRequest;
        let exchange = Exchange { keep_alive, ..exchange };
        let mut head = Head::start(out, exchange, self.status);
        match self.hint {
            Hint::None => {}
            Hint::Allow(methods) => head.field("Allow", methods),
            Hint::RetryAfterSeconds(seconds) => head.field("Retry-After", &seconds.to_string()),
            Hint::AuthenticateBearer => head.field("WWW-Authenticate", "Bearer"),
            Hint::UpgradeToWebSocket => {
                head.field("Upgrade", "websocket");
                head.field("Sec-WebSocket-Version", "13");
            }
        }
        let (content_type, text) = match self.code {
            Some(code) => ("application/json", code.to_json(self.reason)),
            None => (TEXT, format!("{}\n", self.reason)),
        };
        head.field("Content-Type", content_type);
        head.field("Cache-Control", "no-store");
        head.finish(text.as_bytes())
    }
}

/// Plain text for people.
const TEXT: &str = "text/plain; charset=utf-8";

/// Between `base` and twice `base` seconds, as `random` has it, so that a crowd refused at once
/// does not come back at once.
pub(crate) fn retry_after_seconds(base: u32, random: u64) -> u32 {
    let spread = random % (u64::from(base) + 1);
    base.saturating_add(u32::try_from(spread).unwrap_or(base))
}

/// Appends a 200 whose text must not be cached: health, readiness, metrics.
pub(crate) fn write_text(
    out: &mut Vec<u8>,
    exchange: Exchange<'_>,
    content_type: &'static str,
    text: &[u8],
) -> After {
    Head::uncached(out, exchange, content_type).finish(text)
}

/// Appends the 101 that turns the connection into a WebSocket (RFC 6455 section 4.2.2). `accept` is
/// [`super::Upgrade::accept`]; `subprotocol` is one that the client offered, and so is `deflate`.
pub(crate) fn write_switching_protocols(
    out: &mut Vec<u8>,
    accept: &str,
    subprotocol: Option<&str>,
    deflate: Option<Deflate>,
) {
    let mut head = Head::start(out, Exchange::UPGRADE, Status::SwitchingProtocols);
    head.field("Upgrade", "websocket");
    head.field("Connection", "Upgrade");
    head.field("Sec-WebSocket-Accept", accept);
    if let Some(subprotocol) = subprotocol {
        head.field("Sec-WebSocket-Protocol", subprotocol);
    }
    if let Some(deflate) = deflate {
        head.field("Sec-WebSocket-Extensions", deflate.as_str());
    }
    head.end();
}

/// Appends the 200 that turns the connection into an event stream, or only tells what it would be like: after HEAD the
/// next request may follow. A stream ends with its connection.
pub(crate) fn write_event_stream(
    out: &mut Vec<u8>,
    exchange: Exchange<'_>,
    framing: Framing,
) -> After {
    let keep_alive = exchange.keep_alive && exchange.head_only;
    let exchange = Exchange { keep_alive, ..exchange };
    let mut head = Head::stream(out, exchange, "text/event-stream");
    // For nginx and those that learned from it: pass on each event as it comes.
    head.field("X-Accel-Buffering", "no");
    if !exchange.head_only && framing == Framing::Chunked {
        head.field("Transfer-Encoding", "chunked");
    }
    head.connection_field();
    head.end();
    exchange.after()
}

/// Appends the 200 that tells what an answer to a poll would be like: it would have to be waited for.
pub(crate) fn write_poll_preview(out: &mut Vec<u8>, exchange: Exchange<'_>) -> After {
    let mut head = Head::uncached(out, exchange, "application/json");
    head.connection_field();
    head.end();
    exchange.after()
}

/// Appends the head of a 200 that was waited for. The caller sends its content, of `content_len` bytes.
pub(crate) fn write_late_head(
    out: &mut Vec<u8>,
    exchange: Exchange<'_>,
    content_type: &'static str,
    content_len: usize,
) {
    // The session knows whether another request follows: it may have to end meanwhile.
    let _ = Head::uncached(out, exchange, content_type).finish_before(content_len);
}

/// Room for nearly every head: one allocation instead of several that grow.
const HEAD_BYTES: usize = 256;

/// The head of an answer while it is being written.
pub(super) struct Head<'a, 'e> {
    out: &'a mut Vec<u8>,
    exchange: Exchange<'e>,
    status: Status,
}

impl<'a, 'e> Head<'a, 'e> {
    /// Writes the status line, and the fields that every answer has. The version is the server's, not the exchange's (RFC
    /// 9110 section 6.2).
    pub(super) fn start(out: &'a mut Vec<u8>, exchange: Exchange<'e>, status: Status) -> Self {
        out.reserve(HEAD_BYTES);
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.line().as_bytes());
        out.extend_from_slice(b"\r\n");
        let mut head = Self { out, exchange, status };
        if let Some(date) = &exchange.date {
            head.field("Date", date.as_str());
        }
        exchange.cors.write(&mut head);
        head.field("X-Content-Type-Options", "nosniff");
        head
    }

    /// Begins a 200 that must not be cached.
    pub(super) fn uncached(
        out: &'a mut Vec<u8>,
        exchange: Exchange<'e>,
        content_type: &'static str,
    ) -> Self {
        let mut head = Self::start(out, exchange, Status::Ok);
        head.field("Content-Type", content_type);
        head.field("Cache-Control", "no-store");
        head
    }

    /// Begins the 200 of a stream, which a proxy must neither cache nor compress: compressors wait for more bytes.
    pub(super) fn stream(
        out: &'a mut Vec<u8>,
        exchange: Exchange<'e>,
        content_type: &'static str,
    ) -> Self {
        let mut head = Self::start(out, exchange, Status::Ok);
        head.field("Content-Type", content_type);
        head.field("Cache-Control", "no-store, no-transform");
        head
    }

    /// Writes one field. Bytes that could end the line are left out: no value can add a field of its own.
    pub(super) fn field(&mut self, name: &'static str, value: &str) {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        let is_plain = |byte: &u8| (b' '..=b'~').contains(byte);
        if value.as_bytes().iter().all(is_plain) {
            self.out.extend_from_slice(value.as_bytes());
        } else {
            self.out.extend(value.bytes().filter(is_plain));
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Writes the fields that depend on the exchange, the blank line, and the content where the exchange has it.
    pub(super) fn finish(self, content: &[u8]) -> After {
        let exchange = self.exchange;
        let out = self.finish_fields(content.len());
        if !exchange.head_only {
            out.extend_from_slice(content);
        }
        exchange.after()
    }

    /// Writes the fields that depend on the exchange and the blank line. The content, of
    /// `content_len` bytes, is the caller's to send, if the exchange has it.
    pub(super) fn finish_before(self, content_len: usize) -> After {
        let after = self.exchange.after();
        self.finish_fields(content_len);
        after
    }

    fn finish_fields(mut self, content_len: usize) -> &'a mut Vec<u8> {
        // For 304 the length would be that of the 200 (RFC 9110 section 8.6); without it there is
        // nothing to get wrong.
        if self.status != Status::NotModified {
            self.field("Content-Length", &content_len.to_string());
        }
        self.connection_field();
        self.out.extend_from_slice(b"\r\n");
        self.out
    }

    fn connection_field(&mut self) {
        let exchange = self.exchange;
        let upgrade = self.status == Status::UpgradeRequired;
        match (exchange.version, exchange.keep_alive) {
            // RFC 9110 section 7.8: whoever sends Upgrade names it in Connection.
            (_, false) if upgrade => self.field("Connection", "Upgrade, close"),
            (Version::Http11, true) if upgrade => self.field("Connection", "Upgrade"),
            (Version::Http10, true) if upgrade => self.field("Connection", "Upgrade, keep-alive"),
            (_, false) => self.field("Connection", "close"),
            (Version::Http10, true) => self.field("Connection", "keep-alive"),
            (Version::Http11, true) => {}
        }
    }

    /// Writes the blank line of an answer that ends HTTP on its connection.
    fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HTTP11: Exchange<'static> = Exchange::UPGRADE;
    const HTTP10: Exchange<'static> = Exchange { version: Version::Http10, ..HTTP11 };

    fn written(write: impl FnOnce(&mut Vec<u8>) -> After) -> (String, After) {
        let mut out = Vec::new();
        let after = write(&mut out);
        (String::from_utf8(out).unwrap(), after)
    }

    #[test]
    fn a_refusal_is_complete() {
        let refusal = Refusal::method_not_allowed("GET, HEAD");
        let (text, after) = written(|out| refusal.write(out, HTTP11));
        assert_eq!(
            text,
            "HTTP/1.1 405 Method Not Allowed\r\n\
             X-Content-Type-Options: nosniff\r\n\
             Allow: GET, HEAD\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Cache-Control: no-store\r\n\
             Content-Length: 29\r\n\
             \r\n\
             this path has no such method\n"
        );
        assert_eq!(after, After::NextRequest);
    }

    #[test]
    fn the_connection_field_follows_version_and_fate() {
        let new = Refusal::new(Status::NotFound, "x");
        let upgrade = Refusal::upgrade_required("x");
        let closed = Exchange { keep_alive: false, ..HTTP11 };
        for (refusal, exchange, connection, after) in [
            (new, HTTP11, None, After::NextRequest),
            (new, HTTP10, Some("keep-alive"), After::NextRequest),
            (new, closed, Some("close"), After::Close),
            (new.and_close(), HTTP11, Some("close"), After::Close),
            (Refusal::closing(Status::NotFound, "x"), HTTP10, Some("close"), After::Close),
            (upgrade, HTTP11, Some("Upgrade"), After::NextRequest),
            (upgrade, HTTP10, Some("Upgrade, keep-alive"), After::NextRequest),
            (upgrade.and_close(), HTTP11, Some("Upgrade, close"), After::Close),
        ] {
            let (text, is) = written(|out| refusal.write(out, exchange));
            let line = text.lines().find_map(|line| line.strip_prefix("Connection: "));
            assert_eq!((line, is), (connection, after), "{refusal:?} {exchange:?}");
        }
    }

    #[test]
    fn hints() {
        let (text, _) = written(|out| Refusal::unavailable("full", 7).write(out, HTTP11));
        assert!(
            text.contains("503 Service Unavailable\r\n") && text.contains("Retry-After: 7\r\n")
        );
        let (text, _) = written(|out| Refusal::upgrade_required("x").write(out, HTTP11));
        assert!(text.contains("426 Upgrade Required\r\n"));
        assert!(text.contains("\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"));
    }

    #[test]
    fn head_gets_the_length_but_no_content() {
        let head = Exchange { head_only: true, ..HTTP11 };
        let (text, _) = written(|out| write_text(out, head, TEXT, b"ready\n"));
        assert!(text.contains("Content-Length: 6\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        assert!(Exchange::refused(b"\r\nHEAD / HTTP/1.1", None).head_only);
        assert!(!Exchange::refused(b" HEAD / HTTP/1.1", None).head_only);
        assert!(!Exchange::refused(b"HEADER / HTTP/1.1", None).head_only);
    }

    #[test]
    fn no_value_adds_a_field() {
        let (text, _) = written(|out| {
            let mut head = Head::start(out, HTTP11, Status::Ok);
            head.field("ETag", "\"a\r\nSet-Cookie: b\0\u{7f}\u{e9}\"");
            head.finish(b"")
        });
        assert!(text.contains("ETag: \"aSet-Cookie: b\"\r\n"), "{text}");
    }

    #[test]
    fn the_upgrade() {
        let mut out = Vec::new();
        write_switching_protocols(&mut out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", None, None);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
        assert!(text.ends_with(
            "Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        ));
        assert!(!text.contains("Content-Length"));
        let mut out = Vec::new();
        write_switching_protocols(&mut out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", Some("a/b"), None);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\r\nConnection: Upgrade\r\n"));
        assert!(text.ends_with("\r\nSec-WebSocket-Protocol: a/b\r\n\r\n"));
    }

    #[test]
    fn the_event_stream() {
        let head = Exchange { head_only: true, ..HTTP11 };
        for (exchange, framing, fields, after) in [
            (HTTP11, Framing::Chunked, "Transfer-Encoding: chunked\r\nConnection: close\r\n", {
                After::Close
            }),
            (HTTP10, Framing::Plain, "Connection: close\r\n", After::Close),
            (head, Framing::Chunked, "", After::NextRequest),
            (Exchange { keep_alive: false, ..head }, Framing::Chunked, "Connection: close\r\n", {
                After::Close
            }),
        ] {
            let (text, is) = written(|out| write_event_stream(out, exchange, framing));
            let expected = format!(
                "HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\n\
                 Content-Type: text/event-stream\r\nCache-Control: no-store, no-transform\r\n\
                 X-Accel-Buffering: no\r\n{fields}\r\n"
            );
            assert_eq!((text, is), (expected, after));
        }
    }

    #[test]
    fn retries_are_spread() {
        assert_eq!(retry_after_seconds(0, 99), 0);
        assert_eq!((retry_after_seconds(5, 0), retry_after_seconds(5, 5)), (5, 10));
        assert_eq!(retry_after_seconds(5, 6), 5);
        assert_eq!(retry_after_seconds(u32::MAX, u64::MAX), u32::MAX);
    }

    #[test]
    fn the_date_follows_the_status_line() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let mut out = Vec::new();
        let date = Some(Date::from_system_time(time));
        let _ = write_text(&mut out, Exchange { date, ..HTTP11 }, TEXT, b"body\r\n");
        let expected = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Content-";
        assert!(out.starts_with(expected), "{}", out.escape_ascii());
    }
}
