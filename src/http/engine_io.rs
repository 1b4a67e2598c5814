//! What a request to Engine.IO asks for, and the refusals that its clients know, in the reference server's order.

use std::borrow::Cow;

use super::query::parameter;
use super::route::{Upgrade, allows_origin, asks_for_web_socket, upgrade};
use super::{BodyLength, Method, Refusal, Request, Route, Rules, Status, Wanted};
use crate::wire::Format;

/// The methods that are served, and asking about them.
const METHODS: &str = "GET, POST, OPTIONS";

/// A request that may be met, if its session is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineIo {
    /// The session that it belongs to; none yet where it opens one.
    pub(crate) sid: Option<Vec<u8>>,
    /// What it does.
    pub(crate) step: EngineStep,
}

impl EngineIo {
    /// What the client wants of the session that this opens; one that is there was let in when it was opened.
    pub(super) fn opened(&mut self) -> Option<&mut Wanted> {
        match &mut self.step {
            _ if self.sid.is_some() => None,
            EngineStep::Poll(wanted) => Some(wanted),
            EngineStep::Upgrade(upgrade) => Some(&mut upgrade.wanted),
            EngineStep::Post { .. } | EngineStep::Nothing(_) => None,
        }
    }

    pub(super) fn is_upgrade(&self) -> bool {
        matches!(self.step, EngineStep::Upgrade(_))
    }
}

/// What a request does for its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EngineStep {
    /// It waits for packets; or opens a session whose client wants this.
    Poll(Wanted),
    /// Its body has packets.
    Post {
        /// Whether the body is of a type that has none.
        is_binary: bool,
    },
    /// It becomes a WebSocket.
    Upgrade(Upgrade),
    /// Nothing that there is, which is told to nobody who does not know a session.
    Nothing(Refusal),
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

/// The route of `request`: 403 for the origin, then as [`engine_io`] has it.
pub(super) fn route(request: &Request<'_>, rules: &Rules<'_>) -> Result<Route, Refusal> {
    let route = if !allows_origin(request, rules) {
        Err(FORBIDDEN)
    } else if request.method == Method::Options {
        Ok(Route::Preflight(METHODS))
    } else {
        engine_io(request, rules).map(Route::EngineIo)
    };
    let is_upgrade = asks_for_web_socket(request);
    route.map_err(|refusal| if is_upgrade { refusal.and_close() } else { refusal })
}

/// The step that `request` asks for; its origin was checked.
fn engine_io(request: &Request<'_>, rules: &Rules<'_>) -> Result<EngineIo, Refusal> {
    let refusal = |code, reason| Err(Refusal::coded(Status::BadRequest, code, reason));
    let is_websocket = match parameter(request.query, "transport").as_deref() {
        Some(b"polling") => false,
        Some(b"websocket") => true,
        _ => return refusal(0, "Transport unknown"),
    };
    let sid = parameter(request.query, "sid").filter(|sid| !sid.is_empty());
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
    let step = match (request.method, is_websocket, is_upgrade) {
        (Method::Get, true, true) => {
            let upgrade = upgrade(request, rules).map_err(|refusal| bad_request(refusal.reason))?;
            EngineStep::Upgrade(upgrade)
        }
        (Method::Get, false, false) if request.body == BodyLength::None => {
            let wanted = Wanted::from_query(request.query, rules.topics_max);
            EngineStep::Poll(wanted.map_err(|refusal| bad_request(refusal.reason))?)
        }
        (Method::Post, false, false) => {
            let content_type = request.field("content-type").once().unwrap_or_default();
            let is_binary = content_type.eq_ignore_ascii_case(b"application/octet-stream");
            EngineStep::Post { is_binary }
        }
        (Method::Get | Method::Post, _, true) => EngineStep::Nothing(BAD_REQUEST.and_close()),
        (Method::Get | Method::Post, ..) => EngineStep::Nothing(BAD_REQUEST),
        _ => EngineStep::Nothing(Refusal::method_not_allowed(METHODS)),
    };
    if let EngineStep::Poll(wanted) | EngineStep::Upgrade(Upgrade { wanted, .. }) = &step
        && wanted.format == Some(Format::Parts)
    {
        return Err(bad_request("Socket.IO has no format parts: expected raw or json"));
    }
    Ok(EngineIo { sid: sid.map(Cow::into_owned), step })
}

#[cfg(test)]
mod tests {
    use super::super::route::route;
    use super::super::{After, Limits, parse_head};
    use super::*;
    use crate::access::OriginPolicy;

    const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn routed(method: &str, query: &str, fields: &str) -> Result<Route, Refusal> {
        let head = format!("{method} /socket.io/?{query} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let request = parse_head(head.as_bytes(), &Limits::default()).unwrap();
        let origin = OriginPolicy::SameHost;
        route(&request, &Rules::plain(&origin))
    }

    /// The status line and the content of the refusal.
    fn refused(method: &str, query: &str, fields: &str) -> (String, String) {
        let refusal = match routed(method, query, fields) {
            Ok(Route::EngineIo(EngineIo { step: EngineStep::Nothing(refusal), .. })) => refusal,
            Ok(route) => panic!("{method} {query}: {route:?}"),
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
        let step = |method, query, fields| match routed(method, query, fields) {
            Ok(Route::EngineIo(EngineIo { sid, step })) => (sid, step),
            other => panic!("{other:?}"),
        };
        let (sid, opened) = step("GET", "t=1&topic=a&sid=&transport=polling&EIO=4&x=%zz", "");
        let EngineStep::Poll(wanted) = opened else { panic!("{opened:?}") };
        assert_eq!((sid, wanted.prefixes), (None, vec![b"a".to_vec()]));
        let (sid, step_of) = step("GET", "EIO=4&transport=websocket&sid=a%62", UPGRADE);
        assert_eq!(sid.as_deref(), Some(&b"ab"[..]));
        assert!(matches!(step_of, EngineStep::Upgrade(_)));
        for (fields, is_binary) in
            [("", false), ("Content-Type: text/plain;charset=UTF-8\r\n", false), {
                ("Content-Type: application/octet-stream\r\n", true)
            }]
        {
            let (_, step_of) = step("POST", "EIO=4&transport=polling&sid=a", fields);
            assert_eq!(step_of, EngineStep::Post { is_binary });
        }
        let preflight = routed("OPTIONS", "EIO=4&transport=polling", "Origin: http://a\r\n");
        assert_eq!(preflight, Ok(Route::Preflight(METHODS)));
    }
}
