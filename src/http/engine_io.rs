//! What a request to Engine.IO asks for, and the refusals that its clients know, in the reference server's order.

use std::borrow::Cow;

use super::query::parameter;
use super::route::{Asked, asks_for_web_socket, upgrade};
use super::{BodyLength, HeldRequest, Method, Outcome, Refusal, Status, Subscribe};
use crate::wire::Format;

/// The methods that are served, and asking about them.
const METHODS: &str = "GET, POST, OPTIONS";

/// A request whose body has packets for a session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EnginePost {
    pub(crate) sid: Vec<u8>,
    /// Whether the body is of a type that has no packets.
    pub(crate) is_binary: bool,
    /// The body may have so many bytes.
    pub(crate) bytes_max: usize,
    pub(crate) request: HeldRequest,
}

/// The session is not there, or not any more.
pub(crate) const UNKNOWN_SESSION: Refusal =
    Refusal::coded(Status::BadRequest, 1, "Session ID unknown");
/// Not now, or not so.
pub(crate) const BAD_REQUEST: Refusal = bad_request("Bad request");
const FORBIDDEN: Refusal = Refusal::coded(Status::Forbidden, 4, "Forbidden");

/// The number that Engine.IO has for what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ErrorCode(u8);

impl ErrorCode {
    /// The content of a refusal. Its reason is a constant of ours: nothing in it is to be escaped.
    pub(super) fn to_json(self, reason: &'static str) -> String {
        format!("{{\"code\":{},\"message\":\"{reason}\"}}", self.0)
    }
}

impl Refusal {
    /// A refusal as Engine.IO words it: `reason` is its message, `code` the number of it.
    const fn coded(status: Status, code: u8, reason: &'static str) -> Self {
        let mut refusal = Self::new(status, reason);
        refusal.code = Some(ErrorCode(code));
        refusal
    }
}

const fn bad_request(reason: &'static str) -> Refusal {
    Refusal::coded(Status::BadRequest, 3, reason)
}

/// The outcome of a request: 403 for the origin, then as [`step`] has it.
pub(super) fn engine_io(asked: &Asked<'_, '_>) -> Result<Outcome, Refusal> {
    let outcome = if !asked.is_origin_allowed {
        Err(FORBIDDEN)
    } else if asked.request.method == Method::Options {
        Ok(Outcome::Preflight(METHODS))
    } else {
        step(asked)
    };
    let is_upgrade = asks_for_web_socket(asked.request);
    outcome.map_err(|refusal| if is_upgrade { refusal.and_close() } else { refusal })
}

/// The step of a session that a request asks for; its origin was checked.
fn step(asked: &Asked<'_, '_>) -> Result<Outcome, Refusal> {
    let Asked { request, rules, .. } = asked;
    let refusal = |code, reason| Err(Refusal::coded(Status::BadRequest, code, reason));
    let is_websocket = match parameter(request.query, "transport").as_deref() {
        Some(b"polling") => false,
        Some(b"websocket") => true,
        _ => return refusal(0, "Transport unknown"),
    };
    let sid = parameter(request.query, "sid").filter(|sid| !sid.is_empty());
    let sid = sid.map(Cow::into_owned);
    let is_upgrade = asks_for_web_socket(request);
    if sid.is_none() {
        if request.method != Method::Get {
            return refusal(2, "Bad handshake method");
        }
        if is_websocket != is_upgrade {
            return Err(BAD_REQUEST);
        }
    }
    if parameter(request.query, "EIO").as_deref() != Some(b"4") {
        return refusal(5, "Unsupported protocol version");
    }
    let held = || HeldRequest::new(&asked.exchange);
    match (request.method, is_websocket, is_upgrade, sid) {
        (Method::Get, true, true, sid) => {
            let upgrade = upgrade(asked).map_err(|refusal| bad_request(refusal.reason))?;
            check_format(&upgrade.subscribe)?;
            Ok(Outcome::EngineSocket { sid, upgrade })
        }
        (Method::Get, false, false, sid) if request.body == BodyLength::None => {
            let subscribe = Subscribe::from_query(request.query, rules.topics_max);
            let subscribe = subscribe.map_err(|refusal| bad_request(refusal.reason))?;
            check_format(&subscribe)?;
            Ok(match sid {
                Some(sid) => Outcome::EnginePoll { sid, request: held() },
                None => Outcome::EngineOpen(subscribe),
            })
        }
        (Method::Post, false, false, Some(sid)) => {
            let content_type = request.field("content-type").once().unwrap_or_default();
            let is_binary = content_type.eq_ignore_ascii_case(b"application/octet-stream");
            let bytes_max = rules.payload_bytes_max;
            Ok(Outcome::EnginePost(EnginePost { sid, is_binary, bytes_max, request: held() }))
        }
        (_, _, _, None) => Err(BAD_REQUEST),
        (method, _, _, Some(sid)) => {
            let refusal = match method {
                Method::Get | Method::Post if is_upgrade => BAD_REQUEST.and_close(),
                Method::Get | Method::Post => BAD_REQUEST,
                _ => Refusal::method_not_allowed(METHODS),
            };
            Ok(Outcome::EngineRefused { sid, refusal })
        }
    }
}

fn check_format(subscribe: &Subscribe) -> Result<(), Refusal> {
    match subscribe.format {
        Some(Format::Parts) => {
            Err(bad_request("Socket.IO has no format parts: expected raw or json"))
        }
        Some(Format::Raw | Format::Json) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{After, Limits, Rules, parse_head, route};
    use super::*;
    use crate::access::OriginPolicy;

    const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn routed(method: &str, query: &str, fields: &str) -> Result<Outcome, Refusal> {
        let head = format!("{method} /socket.io/?{query} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let request = parse_head(head.as_bytes(), &Limits::default()).unwrap();
        let origin = OriginPolicy::SameHost;
        route(&request, &Rules::plain(&origin)).1
    }

    /// The status line and the content of the refusal.
    fn refused(method: &str, query: &str, fields: &str) -> (String, String) {
        let refusal = match routed(method, query, fields) {
            Ok(Outcome::EngineRefused { refusal, .. }) => refusal,
            Ok(outcome) => panic!("{method} {query}: {outcome:?}"),
            Err(refusal) => refusal,
        };
        let mut out = Vec::new();
        let exchange = parse_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &Limits::default());
        let after = refusal.write(&mut out, exchange.unwrap().exchange());
        assert_eq!(after == After::Close, fields.contains("Upgrade: websocket"), "{query}");
        let text = String::from_utf8(out).unwrap();
        let (head, content) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("application/json") || head.starts_with("HTTP/1.1 405 "), "{head}");
        (head[9..12].to_owned(), content.to_owned())
    }

    #[test]
    fn refusals_are_the_reference_servers() {
        let json =
            |code: u8, message: &str| format!("{{\"code\":{code},\"message\":\"{message}\"}}");
        let transport = ("400".to_owned(), json(0, "Transport unknown"));
        let method = ("400".to_owned(), json(2, "Bad handshake method"));
        let bad = ("400".to_owned(), json(3, "Bad request"));
        let forbidden = ("403".to_owned(), json(4, "Forbidden"));
        let version = ("400".to_owned(), json(5, "Unsupported protocol version"));
        for (method_name, query, fields, expected) in [
            ("GET", "", "", &transport),
            ("GET", "EIO=3", "", &transport),
            ("GET", "EIO=4&transport=webtransport", "", &transport),
            ("GET", "EIO=4&transport=", "", &transport),
            ("GET", "EIO=4&transport=abc", UPGRADE, &transport),
            ("POST", "EIO=4&transport=polling", "", &method),
            ("PUT", "EIO=4&transport=polling&sid=", "", &method),
            ("HEAD", "EIO=4&transport=polling", "", &method),
            ("GET", "EIO=4&transport=websocket", "", &bad),
            ("GET", "EIO=4&transport=websocket&sid=a", "", &bad),
            ("GET", "EIO=4&transport=polling", UPGRADE, &bad),
            ("GET", "EIO=4&transport=polling&sid=a", UPGRADE, &bad),
            ("POST", "EIO=4&transport=websocket&sid=a", "", &bad),
            (
                "GET",
                "EIO=4&transport=websocket",
                "Upgrade: websocket\r\n",
                &("400".into(), json(3, "Connection does not name Upgrade: does a proxy drop it?")),
            ),
            ("GET", "transport=polling", "", &version),
            ("GET", "transport=polling&EIO=3", "", &version),
            ("GET", "transport=websocket&EIO=5", UPGRADE, &version),
            ("GET", "EIO=4&transport=polling", "Origin: http://evil\r\n", &forbidden),
            ("POST", "EIO=4&transport=polling&sid=a", "Origin: http://evil\r\n", &forbidden),
            ("OPTIONS", "", "Origin: http://evil\r\n", &forbidden),
            (
                "DELETE",
                "EIO=4&transport=polling&sid=a",
                "",
                &("405".into(), { "this path has no such method\n".into() }),
            ),
            (
                "GET",
                "EIO=4&transport=polling&format=parts",
                "",
                &("400".into(), json(3, "Socket.IO has no format parts: expected raw or json")),
            ),
            (
                "GET",
                "EIO=4&transport=polling&format=x",
                "",
                &("400".into(), json(3, "unknown format: expected raw, json or parts")),
            ),
        ] {
            assert_eq!(&refused(method_name, query, fields), expected, "{method_name} {query}");
        }
    }

    #[test]
    fn requests_that_may_be_met() {
        let opened = routed("GET", "t=1&topic=a&sid=&transport=polling&EIO=4&x=%zz", "");
        let Ok(Outcome::EngineOpen(subscribe)) = opened else { panic!("{opened:?}") };
        assert_eq!(subscribe.prefixes, [b"a".to_vec()]);
        let upgraded = routed("GET", "EIO=4&transport=websocket&sid=a%62", UPGRADE);
        let Ok(Outcome::EngineSocket { sid, .. }) = upgraded else { panic!("{upgraded:?}") };
        assert_eq!(sid.as_deref(), Some(&b"ab"[..]));
        let polled = routed("GET", "EIO=4&transport=polling&sid=a", "");
        let Ok(Outcome::EnginePoll { sid, .. }) = polled else { panic!("{polled:?}") };
        assert_eq!(sid, b"a");
        for (fields, expected) in
            [("", false), ("Content-Type: text/plain;charset=UTF-8\r\n", false), {
                ("Content-Type: application/octet-stream\r\n", true)
            }]
        {
            match routed("POST", "EIO=4&transport=polling&sid=a", fields) {
                Ok(Outcome::EnginePost(post)) => assert_eq!(post.is_binary, expected, "{fields}"),
                other => panic!("{other:?}"),
            }
        }
        let preflight = routed("OPTIONS", "EIO=4&transport=polling", "Origin: http://a\r\n");
        assert_eq!(preflight, Ok(Outcome::Preflight(METHODS)));
    }
}
