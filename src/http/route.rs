//! Turns one request into what is to be done about it, a `Route`. Knows paths and the upgrade, but
//! no answer's content.

use std::net::IpAddr;

use tungstenite::handshake::derive_accept_key;

use super::query::{Plus, percent_decode};
use super::{
    BodyLength, Field, Method, Refusal, Request, Status, Version, Wanted, assets::safe_path,
};
use crate::access::{OriginPolicy, is_loopback_peer};

/// What a request asks for, and may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// A file, by its path relative to the folder of files; whether it exists, and with which
    /// methods, [`super::assets::write_page`] says.
    Page(String),
    /// A WebSocket: everything about the upgrade has been checked.
    WebSocket(Upgrade),
    /// Whether the process lives.
    Health,
    /// Whether it can serve.
    Ready,
    /// The counters.
    Metrics,
}

/// A valid request for a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upgrade {
    /// What the client wants to see.
    pub(crate) wanted: Wanted,
    /// The value of `Sec-WebSocket-Accept`.
    pub(crate) accept: String,
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    /// Everything; metrics to loopback peers only.
    All,
    /// Everything but the metrics, which have a listener of their own.
    Clients,
    /// Metrics, to anyone, and health.
    Operation,
}

/// What decides about a request besides the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// What the listener serves.
    pub(crate) serves: Serves,
    /// The other end of the connection; `None` on a Unix socket.
    pub(crate) peer: Option<IpAddr>,
    /// Which browsers' pages may open a WebSocket.
    pub(crate) origin: &'a OriginPolicy,
    /// Topics that one client may ask for.
    pub(crate) topics_max: usize,
}

/// The route of `request`.
///
/// # Errors
///
/// In this order: 501 for a method that HTTP does not know (RFC 9110 section 15.6.2); 400 for a
/// broken percent escape in the path; 404; 405 for a method that the path does not know; 403 for
/// metrics. For a WebSocket the order is in [`upgrade`]. Files answer 404 and 405 themselves.
pub(crate) fn route(request: &Request<'_>, rules: &Rules<'_>) -> Result<Route, Refusal> {
    if request.method == Method::Unknown {
        return Err(Refusal::new(Status::NotImplemented, "unknown method"));
    }
    let path = percent_decode(request.path, Plus::Plus)
        .ok_or_else(|| Refusal::new(Status::BadRequest, "malformed percent escape in the path"))?;
    match (&*path, rules.serves) {
        (b"/healthz", _) => readable(request, Route::Health),
        (b"/readyz", _) => readable(request, Route::Ready),
        (b"/metrics", Serves::Operation) => readable(request, Route::Metrics),
        (b"/metrics", Serves::All) => {
            let metrics = readable(request, Route::Metrics)?;
            let is_loopback =
                rules.peer.is_some_and(|peer| is_loopback_peer(peer, request.is_forwarded()));
            let refusal = Refusal::new(Status::Forbidden, "metrics are for loopback peers only");
            if is_loopback { Ok(metrics) } else { Err(refusal) }
        }
        (b"/metrics", Serves::Clients) | (_, Serves::Operation) => Err(not_found()),
        (b"/ws", _) => web_socket(request, rules),
        (b"/", _) if asks_for_web_socket(request) => web_socket(request, rules),
        (path, _) => safe_path(path).map(Route::Page).ok_or_else(not_found),
    }
}

fn not_found() -> Refusal {
    Refusal::new(Status::NotFound, "there is nothing at this path")
}

/// `route`, where the method only reads.
fn readable(request: &Request<'_>, route: Route) -> Result<Route, Refusal> {
    match request.method {
        Method::Get | Method::Head => Ok(route),
        Method::Known | Method::Unknown => Err(Refusal::method_not_allowed("GET, HEAD")),
    }
}

fn asks_for_web_socket(request: &Request<'_>) -> bool {
    request.list("upgrade").any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// The WebSocket's route. Whoever tried to upgrade and may not is cut off: what it sends next may
/// not be HTTP.
fn web_socket(request: &Request<'_>, rules: &Rules<'_>) -> Result<Route, Refusal> {
    if request.method != Method::Get {
        return Err(Refusal::method_not_allowed("GET"));
    }
    if !asks_for_web_socket(request) {
        return Err(Refusal::upgrade_required("this path speaks WebSocket only"));
    }
    upgrade(request, rules).map(Route::WebSocket).map_err(Refusal::and_close)
}

/// Checks the client's half of the opening handshake, item by item of RFC 6455 section 4.2.1: 400
/// for what no version of the protocol allows, 426 for a version that is not 13 or not there, 400
/// for the key, 403 for the origin; only who may connect learns, by 400, what is wrong with the
/// query. Subprotocols and extensions on offer are not taken up, which both ends may live with.
fn upgrade(request: &Request<'_>, rules: &Rules<'_>) -> Result<Upgrade, Refusal> {
    let bad = |reason| Err(Refusal::new(Status::BadRequest, reason));
    if request.version == Version::Http10 {
        return bad("a WebSocket needs HTTP/1.1");
    }
    if !request.list("connection").any(|option| option.eq_ignore_ascii_case(b"upgrade")) {
        return bad("Connection does not name Upgrade: does a proxy drop it?");
    }
    if request.body != BodyLength::None {
        return bad("an upgrade has no body");
    }
    if request.field("sec-websocket-version") != Field::Once(b"13") {
        return Err(Refusal::upgrade_required("this server speaks WebSocket version 13"));
    }
    let Some(key) = request.field("sec-websocket-key").once().filter(|key| is_key(key)) else {
        return bad("Sec-WebSocket-Key must be there once, 16 bytes in base64");
    };
    let origin_is_allowed = match request.field("origin") {
        Field::Absent => rules.origin.allows(None, request.host),
        Field::Once(origin) => rules.origin.allows(Some(origin), request.host),
        Field::Repeated => false,
    };
    if !origin_is_allowed {
        return Err(Refusal::new(Status::Forbidden, "this origin may not connect: see --origin"));
    }
    let wanted = Wanted::from_query(request.query, rules.topics_max)?;
    Ok(Upgrade { wanted, accept: derive_accept_key(key) })
}

/// Whether `key` decodes to 16 bytes. Unused bits of its last digit may be set: some clients draw
/// digits at random.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(key, [digits @ .., b'=', b'='] if digits.len() == 22 && digits.iter().all(is_digit))
}

#[cfg(test)]
mod tests {
    use super::super::{After, Limits, parse_head};
    use super::*;

    const LOCAL: &str = "127.0.0.1";

    fn routed(head: &str, serves: Serves, peer: &str) -> Result<Route, Refusal> {
        let request = parse_head(head.as_bytes(), &Limits::default()).unwrap();
        let origin = OriginPolicy::SameHost;
        let rules = Rules { serves, peer: peer.parse().ok(), origin: &origin, topics_max: 4 };
        route(&request, &rules)
    }

    fn get(path: &str) -> Result<Route, Status> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        routed(&head, Serves::All, LOCAL).map_err(|refusal| refusal.status)
    }

    #[test]
    fn paths() {
        for (path, route) in [
            ("/", Ok(Route::Page("index.html".into()))),
            ("/?topic=%zz", Ok(Route::Page("index.html".into()))),
            ("/a%20+b.txt", Ok(Route::Page("a +b.txt".into()))),
            ("/a%2Fb", Ok(Route::Page("a/b".into()))),
            ("/health%7A", Ok(Route::Health)),
            ("/readyz?x", Ok(Route::Ready)),
            ("/metrics", Ok(Route::Metrics)),
            ("/..%2fetc/passwd", Err(Status::NotFound)),
            ("/%2e%2e/etc/passwd", Err(Status::NotFound)),
            ("/%252e%252e/etc", Ok(Route::Page("%2e%2e/etc".into()))),
            ("/../etc/passwd", Err(Status::NotFound)),
            ("//etc/passwd", Err(Status::NotFound)),
            ("/%00", Err(Status::NotFound)),
            ("/%5c", Err(Status::NotFound)),
            ("/%ff", Err(Status::NotFound)),
            ("/%", Err(Status::BadRequest)),
            ("/%zz", Err(Status::BadRequest)),
            ("/ws", Err(Status::UpgradeRequired)),
            ("/ws/", Ok(Route::Page("ws/index.html".into()))),
        ] {
            assert_eq!(get(path), route, "{path}");
        }
    }

    #[test]
    fn methods() {
        for (method, path, expected) in [
            ("HEAD", "/", None),
            ("POST", "/", None), // for the file to refuse
            ("HEAD", "/healthz", None),
            ("POST", "/healthz", Some("405 GET, HEAD")),
            ("DELETE", "/metrics", Some("405 GET, HEAD")),
            ("OPTIONS", "/readyz", Some("405 GET, HEAD")),
            ("HEAD", "/ws", Some("405 GET")),
            ("POST", "/ws", Some("405 GET")),
            ("get", "/", Some("501 ")),
            ("BREW", "/ws", Some("501 ")),
        ] {
            let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            let is = routed(&head, Serves::All, LOCAL).err().map(|refusal| {
                let mut out = Vec::new();
                let request = parse_head(head.as_bytes(), &Limits::default()).unwrap();
                assert_eq!(refusal.write(&mut out, request.exchange()), After::NextRequest);
                let text = String::from_utf8(out).unwrap();
                let allow = text.lines().find_map(|line| line.strip_prefix("Allow: "));
                format!("{} {}", &text[9..12], allow.unwrap_or_default())
            });
            assert_eq!(is.as_deref(), expected, "{method} {path}");
        }
    }

    #[test]
    fn metrics_are_for_loopback_or_a_listener_of_their_own() {
        let plain = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
        let proxied = "GET /metrics HTTP/1.1\r\nHost: a\r\nVia: 1.1 b\r\n\r\n";
        for (head, serves, peer, expected) in [
            (plain, Serves::All, LOCAL, None),
            (plain, Serves::All, "::1", None),
            (plain, Serves::All, "10.0.0.1", Some(Status::Forbidden)),
            (plain, Serves::All, "unix", Some(Status::Forbidden)),
            (proxied, Serves::All, LOCAL, Some(Status::Forbidden)),
            (plain, Serves::Clients, LOCAL, Some(Status::NotFound)),
            (proxied, Serves::Operation, "10.0.0.1", None),
        ] {
            let is = routed(head, serves, peer).err().map(|refusal| refusal.status);
            assert_eq!(is, expected, "{head} {serves:?} {peer}");
        }
        for (path, found) in [("/", false), ("/ws", false), ("/healthz", true), ("/readyz", true)] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(routed(&head, Serves::Operation, LOCAL).is_ok(), found, "{path}");
        }
    }

    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
    const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";

    /// The route of an upgrade with these header lines, and whether a refusal closes.
    fn upgraded(line: &str, lines: &[&str]) -> Result<Upgrade, Status> {
        let head = format!("{line}\r\nHost: a:8080\r\n{}\r\n", lines.concat());
        match routed(&head, Serves::All, LOCAL) {
            Ok(Route::WebSocket(upgrade)) => Ok(upgrade),
            Ok(other) => panic!("{head}: {other:?}"),
            Err(refusal) => {
                let mut out = Vec::new();
                let request = parse_head(head.as_bytes(), &Limits::default()).unwrap();
                assert_eq!(refusal.write(&mut out, request.exchange()), After::Close, "{head}");
                Err(refusal.status)
            }
        }
    }

    #[test]
    fn upgrades() {
        let line = "GET /ws?topic=a&format=json HTTP/1.1";
        let upgrade = upgraded(line, &[UPGRADE, KEY, VERSION]).unwrap();
        assert_eq!(upgrade.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(upgrade.wanted.prefixes, [b"a".to_vec()]);
        for lines in [
            "Upgrade: h2c, WebSocket\r\nConnection: keep-alive, upgrade\r\n",
            "Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: x\r\nConnection: ,UPGRADE\r\n",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://a:8080\r\n",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: x\r\n",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n",
            "Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
        ] {
            for line in ["GET / HTTP/1.1", "GET /ws HTTP/1.1", "GET http://a:8080/ws HTTP/1.1"] {
                assert!(upgraded(line, &[lines, KEY, VERSION]).is_ok(), "{line} {lines}");
            }
        }
    }

    #[test]
    fn upgrades_refused() {
        let bad = Status::BadRequest;
        let key = |key: &str| format!("Sec-WebSocket-Key: {key}\r\n");
        let (short, long, alphabet) = (
            key("dGhlIHNhbXBsZQ=="),
            key("dGhlIHNhbXBsZSBub25jZSE="),
            key("dGhlIHNhbXBsZSBub25jZ_=="),
        );
        for (lines, expected) in [
            (&["Upgrade: websocket\r\n", KEY, VERSION][..], bad),
            (&["Upgrade: websocket\r\nConnection: close\r\n", KEY, VERSION], bad),
            (&[UPGRADE, VERSION], bad),
            (&[UPGRADE, VERSION, KEY, KEY], bad),
            (&[UPGRADE, VERSION, "Sec-WebSocket-Key:\r\n"], bad),
            (&[UPGRADE, VERSION, &short], bad),
            (&[UPGRADE, VERSION, &long], bad),
            (&[UPGRADE, VERSION, &alphabet], bad),
            (&[UPGRADE, VERSION, KEY, "Content-Length: 1\r\n"], bad),
            (&[UPGRADE, VERSION, KEY, "Content-Length: 1\r\nExpect: 100-continue\r\n"], bad),
            (&[UPGRADE, VERSION, KEY, "Transfer-Encoding: chunked\r\n"], bad),
            (&[UPGRADE, KEY], Status::UpgradeRequired),
            (&[UPGRADE, KEY, VERSION, VERSION], Status::UpgradeRequired),
            (&[UPGRADE, KEY, "Sec-WebSocket-Version: 8\r\n"], Status::UpgradeRequired),
            (&[UPGRADE, KEY, "Sec-WebSocket-Version: 13, 8\r\n"], Status::UpgradeRequired),
            (&[UPGRADE, KEY, "Sec-WebSocket-Version: 013\r\n"], Status::UpgradeRequired),
            (&[UPGRADE, KEY, VERSION, "Origin: http://evil\r\n"], Status::Forbidden),
            (&[UPGRADE, KEY, VERSION, "Origin: null\r\n"], Status::Forbidden),
            (
                &[UPGRADE, KEY, VERSION, "Origin: http://a:8080\r\nOrigin: http://a:8080\r\n"],
                Status::Forbidden,
            ),
            (&[UPGRADE, KEY, "Origin: http://evil\r\n"], Status::UpgradeRequired),
            (&[UPGRADE, VERSION, "Origin: http://evil\r\n"], bad),
        ] {
            assert_eq!(upgraded("GET /ws HTTP/1.1", lines), Err(expected), "{lines:?}");
            assert_eq!(upgraded("GET / HTTP/1.1", lines), Err(expected), "{lines:?}");
        }
        assert_eq!(upgraded("GET /ws HTTP/1.0", &[UPGRADE, KEY, VERSION]), Err(bad));
        for query in ["format=xml", "since=x", "topic=%", "topic&topic&topic&topic&topic"] {
            let line = format!("GET /ws?{query} HTTP/1.1");
            assert_eq!(upgraded(&line, &[UPGRADE, KEY, VERSION]), Err(bad), "{query}");
        }
    }

    #[test]
    fn the_page_is_not_in_the_way_of_other_upgrades() {
        let h2c = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
        assert_eq!(routed(h2c, Serves::All, LOCAL), Ok(Route::Page("index.html".into())));
    }

    #[test]
    fn keys_with_unused_bits_set_are_taken() {
        assert!(is_key(b"AAAAAAAAAAAAAAAAAAAAAB=="));
        assert!(!is_key(b"AAAAAAAAAAAAAAAAAAAAAB="));
    }
}
