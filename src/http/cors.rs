//! What pages of other origins may see of an answer (the WHATWG's Fetch standard, section 3.3). Knows neither paths nor
//! policies.

use super::response::Head;
use super::{After, Exchange, Field, Request, Status, is_token_byte};

/// The methods of what is shared with pages of other origins, and of asking about it.
pub(crate) const METHODS: &str = "GET, HEAD, OPTIONS";

/// How long a browser may rely on the answer to a preflight: `--origin` changes with a restart only.
const MAX_AGE_SECONDS: &str = "600";

/// Which pages of other origins may see an answer, refusals included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cors<'a> {
    /// No page of another origin.
    Hidden,
    /// The pages of the request's origin, where the gateway lets it in.
    Origin(Option<&'a [u8]>),
    /// Any page: the answer is the same for everyone.
    Everyone,
}

impl Cors<'_> {
    /// Writes the fields that say so.
    pub(super) fn write(self, head: &mut Head<'_, '_>) {
        let origin = match self {
            Self::Hidden => return,
            Self::Everyone => return head.field("Access-Control-Allow-Origin", "*"),
            Self::Origin(origin) => origin,
        };
        head.field("Vary", "Origin");
        if let Some(origin) = origin.and_then(|origin| std::str::from_utf8(origin).ok()) {
            // The origin by its name: with credentials a browser does not take `*`.
            head.field("Access-Control-Allow-Origin", origin);
            head.field("Access-Control-Allow-Credentials", "true");
            // Without it a page cannot read when to come back.
            head.field("Access-Control-Expose-Headers", "Retry-After");
        }
    }
}

/// Appends the answer to OPTIONS: a browser's question whether a page of another origin may ask, by one of `methods`.
pub(crate) fn write_preflight(
    out: &mut Vec<u8>,
    exchange: Exchange<'_>,
    request: &Request<'_>,
    methods: &'static str,
) -> After {
    let mut head = Head::start(out, exchange, Status::NoContent);
    head.field("Allow", methods);
    head.field("Access-Control-Allow-Methods", methods);
    if let Some(names) = requested_fields(request) {
        head.field("Access-Control-Allow-Headers", names);
    }
    head.field("Access-Control-Max-Age", MAX_AGE_SECONDS);
    head.finish_before(0)
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
        let written = |cors| {
            let mut out = Vec::new();
            let exchange = Exchange { cors, ..Exchange::refused(b"", None) };
            let _ = Head::start(&mut out, exchange, Status::Ok).finish(b"");
            String::from_utf8(out).unwrap()
        };
        const START: &str = "HTTP/1.1 200 OK\r\n";
        const END: &str =
            "X-Content-Type-Options: nosniff\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let unnamed = format!("{START}Vary: Origin\r\n{END}");
        assert_eq!(written(Cors::Hidden), format!("{START}{END}"));
        let everyone = format!("{START}Access-Control-Allow-Origin: *\r\n{END}");
        assert_eq!(written(Cors::Everyone), everyone, "no second origin, and no Vary");
        assert_eq!(written(Cors::Origin(None)), unnamed);
        assert_eq!(written(Cors::Origin(Some(b"\xff"))), unnamed);
        assert_eq!(
            written(Cors::Origin(Some(b"https://a\r\nX: y"))),
            format!(
                "{START}Vary: Origin\r\nAccess-Control-Allow-Origin: https://aX: y\r\n\
                 Access-Control-Allow-Credentials: true\r\n\
                 Access-Control-Expose-Headers: Retry-After\r\n{END}"
            )
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
