//! Parses a request head: what is asked, of whom, and where the body ends. Refuses whatever two
//! readers could read differently. Knows no path, no route and no answer's form.

use super::headers::{Field, Headers};
use super::scanner::blank_bytes;
use super::target::{Target, is_authority};
use super::{BodyLength, Cors, Exchange, HEADERS_MAX, Limits, Refusal, Status};

/// A request's method (RFC 9110 section 9, RFC 5789).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Served, where the path knows it.
    Get,
    /// As GET, without the content.
    Head,
    /// What may be asked; served where pages of other origins may ask.
    Options,
    /// With a body that a path may take.
    Post,
    /// Known to HTTP but to no path here: PUT, PATCH, DELETE, TRACE. Answered with 405.
    Known,
    /// Not known to this server at all, methods in lower case included. Answered with 501 (RFC 9110
    /// section 9.1).
    Unknown,
}

impl Method {
    fn from_token(token: &str) -> Self {
        match token {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            "POST" => Self::Post,
            "PUT" | "PATCH" | "DELETE" | "TRACE" => Self::Known,
            _ => Self::Unknown,
        }
    }
}

/// A request's version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// A request head that was understood.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// The method.
    pub(crate) method: Method,
    /// The version.
    pub(crate) version: Version,
    /// Whether the client lets another request follow.
    pub(crate) keep_alive: bool,
    /// How the end of the body is found.
    pub(crate) body: BodyLength,
    /// Whether the body is known to be above the limit: nobody waits for its end.
    is_too_large: bool,
    /// The path as sent, percent escapes included; starts with `/`.
    pub(crate) path: &'a [u8],
    /// What follows the first `?`, as sent; empty without one.
    pub(crate) query: &'a [u8],
    /// Host and port that the client asked for: of an absolute target, else the `Host` field. Never
    /// malformed, possibly empty; always present in HTTP/1.1.
    pub(crate) host: Option<&'a [u8]>,
    headers: Headers<'a>,
}

impl<'a> Request<'a> {
    /// The field `name`, in any case of letters.
    pub(crate) fn field(&self, name: &str) -> Field<'a> {
        self.headers.field(name)
    }

    /// The values of all lines that have the field `name`, in order.
    pub(crate) fn lines(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.lines(name)
    }

    /// The elements of the comma-separated list that all lines of the field `name` make together,
    /// without the empty ones (RFC 9110 section 5.6.1). For lists of tokens: a comma inside quotes
    /// would split, too.
    pub(crate) fn list(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.list(name)
    }

    /// Whether some proxy says that it passed the request on, so that the peer's address is not the
    /// client's.
    pub(crate) fn is_forwarded(&self) -> bool {
        ["forwarded", "x-forwarded-for", "x-real-ip", "via"]
            .iter()
            .any(|name| self.headers.field(name) != Field::Absent)
    }

    /// What an answer must know of this request, without the moment and the pages that may see it.
    pub(crate) fn exchange(&self) -> Exchange<'static> {
        Exchange {
            version: self.version,
            keep_alive: self.keep_alive,
            head_only: self.method == Method::Head,
            date: None,
            cors: Cors::Hidden,
        }
    }

    /// The body that follows the head, to be discarded before the answer is sent. None where the
    /// client waits for `100 (Continue)`: it gets its answer at once, and the connection closes
    /// (RFC 9110 section 10.1.1). Nor where [`Self::check_body`] refuses.
    pub(crate) fn body_to_skip(&self) -> BodyLength {
        if self.expects_continue() || self.is_too_large { BodyLength::None } else { self.body }
    }

    /// Refuses a body above the limit. It is no part of the head, and so pages of other origins may hear of it.
    ///
    /// # Errors
    ///
    /// 413, which closes.
    pub(crate) fn check_body(&self) -> Result<(), Refusal> {
        let refusal = Refusal::closing(Status::ContentTooLarge, "the request body is too large");
        if self.is_too_large { Err(refusal) } else { Ok(()) }
    }

    /// Whether the client does not send the body before it has heard `100 (Continue)`.
    pub(crate) fn expects_continue(&self) -> bool {
        self.version == Version::Http11
            && self.body != BodyLength::None
            && self.list("expect").any(|element| element.eq_ignore_ascii_case(b"100-continue"))
    }
}

/// Parses `head`, of the length that [`super::HeadScanner::scan`] gave.
///
/// # Errors
///
/// Every refusal closes the connection. 400 for malformed syntax (line folding, spaces before a
/// colon, bare CR, NUL and other control bytes, a target that is neither a path nor an absolute
/// http URL), for a missing, malformed or repeated `Host`, and for framing that is ambiguous or
/// malformed (RFC 9112 section 6.3); 414 and 431 for sizes above `limits`; 501 for CONNECT and
/// for transfer codings other than `chunked`; 505 for other versions of HTTP.
pub(crate) fn parse_head<'a>(head: &'a [u8], limits: &Limits) -> Result<Request<'a>, Refusal> {
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut lines);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(bad("malformed request head")),
        Err(error) => return Err(syntax_refusal(error, head)),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(bad("malformed request line"));
    };
    let count = parsed.headers.len();
    let headers = Headers::new(lines, count);

    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    if target.len() > limits.target_bytes_max {
        return Err(Refusal::closing(Status::UriTooLong, "the request target is too long"));
    }
    let body = body_length(&headers, version)?;
    let host = host(&headers, version)?;
    let target = Target::parse(method, target.as_bytes())?;
    let mut request = Request {
        method: Method::from_token(method),
        version,
        keep_alive: keeps_alive(&headers, version),
        body,
        is_too_large: matches!(body, BodyLength::Length(len) if len > limits.body_bytes_max),
        path: target.path,
        query: target.query,
        host: target.authority.or(host),
        headers,
    };
    // A client that waits for 100 may send the body or not: nobody knows where its next request
    // starts.
    request.keep_alive &= !request.expects_continue() && !request.is_too_large;
    Ok(request)
}

fn bad(reason: &'static str) -> Refusal {
    Refusal::closing(Status::BadRequest, reason)
}

fn syntax_refusal(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => {
            Refusal::closing(Status::HeaderFieldsTooLarge, "too many header lines")
        }
        httparse::Error::HeaderName => bad("malformed header name"),
        httparse::Error::HeaderValue => bad("malformed header value"),
        httparse::Error::Version if names_other_version(head) => {
            Refusal::closing(Status::VersionNotSupported, "this server speaks HTTP/1.1")
        }
        httparse::Error::Version
        | httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token => bad("malformed request line"),
    }
}

/// Whether the request line ends in a version as HTTP writes versions (RFC 9112 section 2.3).
fn names_other_version(head: &[u8]) -> bool {
    let line = &head[blank_bytes(head)..];
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.split(|&byte| byte == b' ');
    let version = words.nth(2).unwrap_or_default();
    let is_version = matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit());
    is_version && words.next().is_none()
}

/// Where the body ends (RFC 9112 section 6.3), stricter than it must be: lengths that repeat
/// themselves are refused, too.
fn body_length(headers: &Headers<'_>, version: Version) -> Result<BodyLength, Refusal> {
    match (headers.field("transfer-encoding"), headers.field("content-length")) {
        (Field::Absent, Field::Absent) => Ok(BodyLength::None),
        (Field::Absent, Field::Repeated) => Err(bad("repeated Content-Length")),
        (Field::Absent, Field::Once(digits)) => {
            let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
            match length {
                Some(0) if is_number => Ok(BodyLength::None),
                Some(length) if is_number => Ok(BodyLength::Length(length)),
                _ => Err(bad("malformed Content-Length")),
            }
        }
        (_, Field::Once(_) | Field::Repeated) => {
            Err(bad("both Transfer-Encoding and Content-Length"))
        }
        _ if version == Version::Http10 => Err(bad("Transfer-Encoding in HTTP/1.0")),
        (Field::Once(coding), _) if coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(BodyLength::Chunked)
        }
        _ => Err(Refusal::closing(
            Status::NotImplemented,
            "the only transfer coding served is chunked",
        )),
    }
}

/// The `Host` field, which HTTP/1.1 requires once (RFC 9112 section 3.2).
fn host<'a>(headers: &Headers<'a>, version: Version) -> Result<Option<&'a [u8]>, Refusal> {
    match (headers.field("host"), version) {
        (Field::Once(host), _) if is_authority(host) => Ok(Some(host)),
        (Field::Once(_), _) => Err(bad("malformed Host")),
        (Field::Repeated, _) => Err(bad("repeated Host")),
        (Field::Absent, Version::Http11) => Err(bad("missing Host")),
        (Field::Absent, Version::Http10) => Ok(None),
    }
}

/// Connections stay in HTTP/1.1 unless told to close, and close in HTTP/1.0 unless told to stay
/// (RFC 9112 section 9.3).
fn keeps_alive(headers: &Headers<'_>, version: Version) -> bool {
    let has =
        |option: &[u8]| headers.list("connection").any(|token| token.eq_ignore_ascii_case(option));
    match version {
        Version::Http11 => !has(b"close"),
        Version::Http10 => has(b"keep-alive") && !has(b"close"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str) -> Option<Status> {
        let request = parse_head(head.as_bytes(), &Limits::default());
        let refusal = request.and_then(|request| request.check_body()).err()?;
        let mut out = Vec::new();
        let after = refusal.write(&mut out, Exchange::refused(head.as_bytes(), None));
        assert_eq!(after, super::super::After::Close, "{head:?}");
        Some(refusal.status)
    }

    /// A valid request with more header lines.
    fn with(lines: &str) -> String {
        format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
    }

    fn parse(head: &str) -> Request<'_> {
        parse_head(head.as_bytes(), &Limits::default()).unwrap()
    }

    #[test]
    fn malformed_syntax_is_refused() {
        for head in [
            "GET /\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\rHost: a\r\n\r\n",
            "GET / http/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/11\r\nHost: a\r\n\r\n",
            "GET / b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\t HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "G\u{e9}T / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(status(head), Some(Status::BadRequest), "{head:?}");
        }
        for lines in [
            "A: b\r\n folded\r\n",
            "A: b\r\n\tfolded\r\n",
            "A\t: b\r\n",
            ": b\r\n",
            "A\r\n",
            "A B: c\r\n",
            "A: \0\r\n",
            "A: b\rc\r\n",
            "A: b\r\r\n",
            "A: \x01\r\n",
            "A: \x7f\r\n",
            "(A): b\r\n",
        ] {
            assert_eq!(status(&with(lines)), Some(Status::BadRequest), "{lines:?}");
        }
    }

    #[test]
    fn tolerated_syntax() {
        for head in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "\r\n\nGET / HTTP/1.1\r\nHost:a\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET /%zz?a=\"{|}\u{e9} HTTP/1.1\r\nhOST: \t a:80 \t\r\nEmpty:\r\nA: \u{e9}\r\n\r\n",
        ] {
            assert_eq!(status(head), None, "{head:?}");
        }
    }

    #[test]
    fn versions() {
        for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0"] {
            let head = format!("GET / {version}\r\nHost: a\r\n\r\n");
            assert_eq!(status(&head), Some(Status::VersionNotSupported), "{version}");
        }
        assert_eq!(status("PRI * HTTP/2.0\r\n\r\n"), Some(Status::VersionNotSupported));
        for version in ["HTTP/1.10", "HTTP/1.1x", "HTTP/x.1", "HTTP/2", "HTTP/1.1 HTTP/2.0"] {
            let head = format!("GET / {version}\r\nHost: a\r\n\r\n");
            assert_eq!(status(&head), Some(Status::BadRequest), "{version}");
        }
    }

    #[test]
    fn hosts() {
        for (lines, refused) in [
            ("", Some(Status::BadRequest)),
            ("Host: a\r\nhost: a\r\n", Some(Status::BadRequest)),
            ("Host: a b\r\n", Some(Status::BadRequest)),
            ("Host: a/b\r\n", Some(Status::BadRequest)),
            ("Host: me@a\r\n", Some(Status::BadRequest)),
            ("Host: \u{e9}\r\n", Some(Status::BadRequest)),
            ("Host:\r\n", None),
            ("Host: [::1]:8080\r\n", None),
            ("Host: a_b.example:80\r\n", None),
        ] {
            assert_eq!(status(&format!("GET / HTTP/1.1\r\n{lines}\r\n")), refused, "{lines:?}");
        }
        let twice = "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n";
        assert_eq!(status(twice), Some(Status::BadRequest));
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        for (lines, refused) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Status::BadRequest),
            ("Transfer-Encoding: x\r\nContent-Length: 0\r\n", Status::BadRequest),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", Status::BadRequest),
            ("Content-Length: 5\r\nCONTENT-LENGTH: 5\r\n", Status::BadRequest),
            ("Content-Length: 5, 5\r\n", Status::BadRequest),
            ("Content-Length:\r\n", Status::BadRequest),
            ("Content-Length: +5\r\n", Status::BadRequest),
            ("Content-Length: -5\r\n", Status::BadRequest),
            ("Content-Length: 0x5\r\n", Status::BadRequest),
            ("Content-Length: 5 5\r\n", Status::BadRequest),
            ("Content-Length: 5.0\r\n", Status::BadRequest),
            ("Content-Length: 18446744073709551616\r\n", Status::BadRequest),
            ("Content-Length: 18446744073709551615\r\n", Status::ContentTooLarge),
            ("Content-Length: 65537\r\n", Status::ContentTooLarge),
            ("Transfer-Encoding: gzip\r\n", Status::NotImplemented),
            ("Transfer-Encoding: gzip, chunked\r\n", Status::NotImplemented),
            ("Transfer-Encoding: chunked, chunked\r\n", Status::NotImplemented),
            ("Transfer-Encoding: identity\r\n", Status::NotImplemented),
            ("Transfer-Encoding: xchunked\r\n", Status::NotImplemented),
            ("Transfer-Encoding: \"chunked\"\r\n", Status::NotImplemented),
            ("Transfer-Encoding: chunked;q=1\r\n", Status::NotImplemented),
            ("Transfer-Encoding:\r\n", Status::NotImplemented),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", Status::NotImplemented),
            ("Transfer-Encoding : chunked\r\n", Status::BadRequest),
            ("Transfer-Encoding: chunked\r\n , x\r\n", Status::BadRequest),
            ("Transfer-Encoding: \x0bchunked\r\n", Status::BadRequest),
        ] {
            assert_eq!(status(&with(lines)), Some(refused), "{lines:?}");
        }
        let old = "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(status(old), Some(Status::BadRequest));
    }

    #[test]
    fn body_lengths() {
        for (lines, body) in [
            ("", BodyLength::None),
            ("Content-Length: 0\r\n", BodyLength::None),
            ("Content-Length: 0065536\r\n", BodyLength::Length(65536)),
            ("Transfer-Encoding: \tChunked \r\n", BodyLength::Chunked),
        ] {
            assert_eq!(parse(&with(lines)).body, body, "{lines:?}");
        }
    }

    #[test]
    fn the_host_of_a_url_goes_before_the_field() {
        let request = parse("GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((request.host, request.path), (Some(&b"b"[..]), &b"/c"[..]));
        let hostless = "GET http://b/c HTTP/1.1\r\n\r\n";
        assert_eq!(status(hostless), Some(Status::BadRequest));
    }

    #[test]
    fn long_targets_are_refused() {
        let max = Limits::default().target_bytes_max;
        let head = |bytes| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes - 1));
        assert_eq!(status(&head(max)), None);
        assert_eq!(status(&head(max + 1)), Some(Status::UriTooLong));
    }

    #[test]
    fn header_lines_are_counted() {
        assert_eq!(status(&with(&"A: b\r\n".repeat(HEADERS_MAX - 1))), None);
        let over = with(&"A: b\r\n".repeat(HEADERS_MAX));
        assert_eq!(status(&over), Some(Status::HeaderFieldsTooLarge));
    }

    #[test]
    fn connections_stay_or_close() {
        for (head, stays) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
            ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false),
        ] {
            assert_eq!(parse(head).keep_alive, stays, "{head:?}");
        }
        let waits = with("Content-Length: 3\r\nExpect: 100-Continue\r\n");
        let request = parse(&waits);
        assert_eq!((request.keep_alive, request.body_to_skip()), (false, BodyLength::None));
        let in_vain = with("Expect: 100-continue\r\n");
        assert!(parse(&in_vain).keep_alive);
    }

    #[test]
    fn lists_span_lines() {
        let head =
            with("Sec-WebSocket-Protocol: ZWS2.0, ,x\r\nA: b\r\nsec-websocket-protocol:y,\r\n");
        let request = parse(&head);
        let offered: Vec<_> = request.list("sec-websocket-protocol").collect();
        assert_eq!(offered, [&b"ZWS2.0"[..], b"x", b"y"]);
        assert_eq!(request.field("Sec-WebSocket-Protocol"), Field::Repeated);
        assert_eq!(request.field("a").once(), Some(&b"b"[..]));
        assert!(!request.is_forwarded());
        assert!(parse(&with("X-Forwarded-For: 1.2.3.4\r\n")).is_forwarded());
    }
}
