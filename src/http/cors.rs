//! What pages of other origins may see of an answer (the WHATWG's Fetch standard, section 3.3). Knows neither paths nor
//! policies.

use super::response::Head;
use super::{After, Exchange, Field, Request, Status, is_token_byte};

/// The methods of what is shared with pages of other origins, and of asking about it.
pub(crate) const METHODS: &str = "GET, HEAD, OPTIONS";

/// How long a browser may rely on the answer to a preflight: `--origin` changes with a restart only.
const MAX_AGE_SECONDS: &str = "600";

/// The fields that every answer has that is shared with other origins, refusals included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cors<'a> {
    /// The origin that is let in.
    origin: Option<&'a [u8]>,
}

impl<'a> Cors<'a> {
    /// The fields for a request of `origin`, if it is let in.
    pub(crate) fn new(origin: Option<&'a [u8]>) -> Self {
        Self { origin }
    }

    /// The origin that is let in.
    pub(crate) fn origin(&self) -> Option<&'a [u8]> {
        self.origin
    }

    /// Puts the fields behind the status line of the answer that `head` begins with, unless it is everyone's to see.
    pub(crate) fn stamp(&self, head: &mut Vec<u8>) {
        const SHARED: &[u8] = b"\r\nAccess-Control-Allow-Origin: *\r\n";
        if head.windows(SHARED.len()).any(|bytes| bytes == SHARED) {
            return;
        }
        let Some(end) = head.windows(2).position(|two| two == b"\r\n") else { return };
        let mut fields = Vec::new();
        let mut lines = Head::of_fields(&mut fields);
        lines.field("Vary", "Origin");
        if let Some(origin) = self.origin.and_then(|origin| std::str::from_utf8(origin).ok()) {
            // The origin by its name: with credentials a browser does not take `*`.
            lines.field("Access-Control-Allow-Origin", origin);
            lines.field("Access-Control-Allow-Credentials", "true");
            // When to come back, which a page is not shown otherwise.
            lines.field("Access-Control-Expose-Headers", "Retry-After");
        }
        head.splice(end + 2..end + 2, fields);
    }
}

/// Appends the answer to OPTIONS: a browser's question whether a page of another origin may ask, by one of `methods`. What
/// allows the origin comes with [`Cors::stamp`].
pub(crate) fn write_preflight(
    out: &mut Vec<u8>,
    exchange: Exchange,
    request: &Request<'_>,
    methods: &'static str,
) -> After {
    let mut head = Head::start(out, Status::NoContent);
    head.field("Allow", methods);
    head.field("Access-Control-Allow-Methods", methods);
    if let Some(names) = requested_fields(request) {
        head.field("Access-Control-Allow-Headers", names);
    }
    head.field("Access-Control-Max-Age", MAX_AGE_SECONDS);
    head.finish_before(exchange, 0)
}

/// Appends the head of an answer that was waited for, to a page of `origin`, where there is one. Its content, of
/// `content_len` bytes, is the caller's to send.
pub(crate) fn write_late_head(
    out: &mut Vec<u8>,
    exchange: Exchange,
    content_type: &'static str,
    content_len: usize,
    origin: Option<&[u8]>,
) {
    // Whether another request follows is the session's to know: it may have to end meanwhile.
    let _ = Head::uncached(out, content_type).finish_before(exchange, content_len);
    Cors::new(origin).stamp(out);
}

/// The names of fields that a page means to send, where they are names.
fn requested_fields<'a>(request: &Request<'a>) -> Option<&'a str> {
    let Field::Once(names) = request.field("access-control-request-headers") else { return None };
    let is_list = names.iter().all(|&byte| is_token_byte(byte) || matches!(byte, b',' | b' '));
    std::str::from_utf8(names).ok().filter(|_| is_list && !names.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, parse_head};
    use super::*;

    #[test]
    fn the_fields_follow_the_status_line() {
        let stamped = |origin: Option<&[u8]>| {
            let mut head = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n".to_vec();
            Cors::new(origin).stamp(&mut head);
            String::from_utf8(head).unwrap()
        };
        let nobody = "HTTP/1.1 200 OK\r\nVary: Origin\r\nA: b\r\n\r\nbody\r\n";
        let mut shared = b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\n\r\n".to_vec();
        let before = shared.clone();
        Cors::new(Some(b"https://a")).stamp(&mut shared);
        assert_eq!(shared, before, "a second origin would be none");
        assert_eq!(stamped(None), nobody);
        assert_eq!(stamped(Some(b"\xff")), nobody);
        assert_eq!(
            stamped(Some(b"https://a\r\nX: y")),
            "HTTP/1.1 200 OK\r\nVary: Origin\r\nAccess-Control-Allow-Origin: https://aX: y\r\n\
             Access-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: Retry-After\r\n\
             A: b\r\n\r\nbody\r\n"
        );
    }

    #[test]
    fn preflights() {
        for (lines, allowed) in [
            ("", None),
            ("Access-Control-Request-Headers: x-a, X-B\r\n", Some("x-a, X-B")),
            ("Access-Control-Request-Headers: a;b\r\n", None),
            ("Access-Control-Request-Headers: a\r\nAccess-Control-Request-Headers: b\r\n", None),
        ] {
            let head = format!("OPTIONS /sse HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            let request = parse_head(head.as_bytes(), &Limits::default()).unwrap();
            let mut out = Vec::new();
            let after = write_preflight(&mut out, request.exchange(), &request, METHODS);
            assert_eq!(after, After::NextRequest);
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with("HTTP/1.1 204 No Content\r\n"), "{text}");
            assert!(text.ends_with("Content-Length: 0\r\n\r\n"), "{text}");
            let names =
                text.lines().find_map(|line| line.strip_prefix("Access-Control-Allow-Headers: "));
            assert_eq!(names, allowed, "{lines}");
        }
    }
}
