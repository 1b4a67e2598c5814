//! Requests, and where they lead.

use super::*;
use crate::http::{After, Limits, parse_head};

const LOCAL: &str = "127.0.0.1";

fn routed(head: &str, role: Role, peer: &str) -> Result<Outcome, Refusal> {
    let request = parse_head(head.as_bytes(), &Limits::default()).unwrap();
    let origin = OriginPolicy::SameHost;
    let rules = Rules { role, peer: peer.parse().ok(), ..Rules::plain(&origin) };
    route(&request, &rules).1
}

fn get(path: &str) -> Result<Outcome, Status> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    routed(&head, Role::All, LOCAL).map_err(|refusal| refusal.status)
}

#[test]
fn paths() {
    for (path, route) in [
        ("/", Ok(Outcome::Page("index.html".into()))),
        ("/?topic=%zz", Ok(Outcome::Page("index.html".into()))),
        ("/a%20+b.txt", Ok(Outcome::Page("a +b.txt".into()))),
        ("/a%2Fb", Ok(Outcome::Page("a/b".into()))),
        ("/health%7A", Ok(Outcome::Health)),
        ("/readyz?x", Ok(Outcome::Ready)),
        ("/metrics", Ok(Outcome::Metrics)),
        ("/status", Ok(Outcome::Status)),
        ("/..%2fetc/passwd", Err(Status::NotFound)),
        ("/%2e%2e/etc/passwd", Err(Status::NotFound)),
        ("/%252e%252e/etc", Ok(Outcome::Page("%2e%2e/etc".into()))),
        ("/../etc/passwd", Err(Status::NotFound)),
        ("//etc/passwd", Err(Status::NotFound)),
        ("/%00", Err(Status::NotFound)),
        ("/%5c", Err(Status::NotFound)),
        ("/%ff", Err(Status::NotFound)),
        ("/%", Err(Status::BadRequest)),
        ("/%zz", Err(Status::BadRequest)),
        ("/ws", Err(Status::UpgradeRequired)),
        ("/ws/", Ok(Outcome::Page("ws/index.html".into()))),
    ] {
        assert_eq!(get(path), route, "{path}");
    }
}

#[test]
fn paths_below_a_prefix() {
    let origin = OriginPolicy::SameHost;
    let below = |path: &str, role| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let request = parse_head(head.as_bytes(), &Limits::default()).unwrap();
        let rules = Rules { role, prefix: b"/a/live", ..Rules::plain(&origin) };
        route(&request, &rules).1.map_err(|refusal| refusal.status)
    };
    for (path, route) in [
        ("/a/live", Ok(Outcome::Page("index.html".into()))),
        ("/a/live/?topic=x", Ok(Outcome::Page("index.html".into()))),
        ("/a/live/health%7A", Ok(Outcome::Health)),
        ("/a/live/ws", Err(Status::UpgradeRequired)),
        ("/a/live//", Err(Status::NotFound)),
        ("/a/live/../ws", Err(Status::NotFound)),
        ("/a/lively", Err(Status::NotFound)),
        ("/a", Err(Status::NotFound)),
        ("/healthz", Err(Status::NotFound)),
    ] {
        assert_eq!(below(path, Role::All), route, "{path}");
    }
    assert_eq!(below("/healthz", Role::Operation), Ok(Outcome::Health));
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
        let is = routed(&head, Role::All, LOCAL).err().map(|refusal| {
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
    for (head, role, peer, expected) in [
        (plain, Role::All, LOCAL, None),
        (plain, Role::All, "::1", None),
        (plain, Role::All, "10.0.0.1", Some(Status::Forbidden)),
        (plain, Role::All, "unix", Some(Status::Forbidden)),
        (proxied, Role::All, LOCAL, Some(Status::Forbidden)),
        (plain, Role::Clients, LOCAL, Some(Status::NotFound)),
        (proxied, Role::Operation, "10.0.0.1", None),
    ] {
        let is = routed(head, role, peer).err().map(|refusal| refusal.status);
        assert_eq!(is, expected, "{head} {role:?} {peer}");
    }
    for (path, found) in [("/", false), ("/ws", false), ("/healthz", true), ("/readyz", true)] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(routed(&head, Role::Operation, LOCAL).is_ok(), found, "{path}");
    }
}

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";

/// The route of an upgrade with these header lines, and whether a refusal closes.
fn upgraded(line: &str, lines: &[&str]) -> Result<Upgrade, Status> {
    let head = format!("{line}\r\nHost: a:8080\r\n{}\r\n", lines.concat());
    match routed(&head, Role::All, LOCAL) {
        Ok(Outcome::WebSocket(upgrade)) => Ok(upgrade),
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
    assert_eq!(upgrade.subscribe.prefixes, [b"a".to_vec()]);
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
fn extensions_are_taken_up_where_messages_are_deflated() {
    let routed = |fields: &str, deflates| {
        let head = format!("GET /ws HTTP/1.1\r\nHost: a\r\n{UPGRADE}{KEY}{VERSION}{fields}\r\n");
        let request = parse_head(head.as_bytes(), &Limits::default()).unwrap();
        let origin = OriginPolicy::SameHost;
        let rules = Rules { deflates, ..Rules::plain(&origin) };
        match route(&request, &rules).1 {
            Ok(Outcome::WebSocket(upgrade)) => Ok(upgrade.deflate),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(refusal.status),
        }
    };
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    assert_eq!(routed(offer, true), Ok(Some(Deflate::Default)));
    assert_eq!(routed(offer, false), Ok(None));
    assert_eq!(routed("", true), Ok(None));
    let small =
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n".to_owned();
    assert_eq!(routed(&small, true), Ok(None));
    assert_eq!(routed(&(small + offer), true), Ok(Some(Deflate::Default)));
    // Who says what it wants by WebSocket says it plainly.
    let zws = format!("Sec-WebSocket-Protocol: ZWS2.0\r\n{offer}");
    assert_eq!(routed(&zws, true), Ok(None));
    let malformed = "Sec-WebSocket-Extensions: permessage-deflate; =\r\n";
    assert_eq!(routed(malformed, true), Err(Status::BadRequest));
    assert_eq!(routed(malformed, false), Ok(None));
}

#[test]
fn a_zeromq_socket_names_its_protocol() {
    use zws::Protocol::{Null, Plain};
    for (lines, expected) in [
        ("", None),
        ("Sec-WebSocket-Protocol: ZWS2.0/NULL,ZWS2.0\r\n", Some(Null)),
        ("Sec-WebSocket-Protocol: ZWS2.0, ZWS2.0/NULL\r\n", Some(Null)),
        ("Sec-WebSocket-Protocol: ZWS2.0\r\nSec-WebSocket-Protocol: ZWS2.0/NULL\r\n", Some(Null)),
        ("Sec-WebSocket-Protocol: ZWS2.0\r\n", Some(Plain)),
        ("Sec-WebSocket-Protocol: chat, ZWS2.0/PLAIN\r\n", None),
    ] {
        let upgrade = upgraded("GET /ws HTTP/1.1", &[UPGRADE, KEY, VERSION, lines]).unwrap();
        assert_eq!(upgrade.zws, expected, "{lines}");
    }
}

#[test]
fn upgrades_refused() {
    let bad = Status::BadRequest;
    let key = |key: &str| format!("Sec-WebSocket-Key: {key}\r\n");
    let (short, long, alphabet) =
        (key("dGhlIHNhbXBsZQ=="), key("dGhlIHNhbXBsZSBub25jZSE="), key("dGhlIHNhbXBsZSBub25jZ_=="));
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
fn event_streams() {
    let events = |line: &str, lines: &str| {
        let head = format!("{line}\r\nHost: a\r\n{lines}\r\n");
        match routed(&head, Role::All, LOCAL) {
            Ok(Outcome::Events { subscribe, framing }) => {
                let since = subscribe.since.map(|id| (id.epoch.is_some(), id.seq.0));
                Ok((framing, since))
            }
            Ok(other) => panic!("{head}: {other:?}"),
            Err(refusal) => Err(refusal.status),
        }
    };
    let bad = Err(Status::BadRequest);
    let live = |framing| Ok((framing, None));
    let since = |is_ours, seq| Ok((Framing::Chunked, Some((is_ours, seq))));
    for (line, lines, expected) in [
        ("GET /sse HTTP/1.1", "", live(Framing::Chunked)),
        ("GET /s%73e?format=raw HTTP/1.1", "", live(Framing::Chunked)),
        ("HEAD /sse?format=json HTTP/1.1", "", live(Framing::Chunked)),
        ("GET /sse HTTP/1.0", "", live(Framing::Plain)),
        ("GET /sse?format=parts HTTP/1.1", "", bad),
        ("GET /sse?format=xml HTTP/1.1", "", bad),
        ("GET /sse?since=x HTTP/1.1", "", bad),
        ("GET /sse?since=x HTTP/1.1", "Last-Event-ID: 00000000-1\r\n", bad),
        ("GET /sse?since=00000000-7 HTTP/1.1", "", since(true, 7)),
        ("GET /sse?since=00000000-7 HTTP/1.1", "last-event-id: 00000000-9\r\n", since(true, 9)),
        ("GET /sse?since=00000000-7 HTTP/1.1", "Last-Event-ID:\r\n", since(true, 7)),
        ("GET /sse?since=00000000-7 HTTP/1.1", "Last-Event-ID: \u{e9}\r\n", since(false, 0)),
        ("GET /sse HTTP/1.1", "Last-Event-ID: 1\r\n", since(false, 0)),
        ("GET /sse HTTP/1.1", "Last-Event-ID: k3x9-1\r\n", since(false, 1)),
        ("GET /sse HTTP/1.1", "Last-Event-ID: 0-1\r\nLast-Event-ID: 0-1\r\n", since(false, 0)),
        ("GET /sse HTTP/1.1", "Content-Length: 1\r\n", bad),
        ("GET /sse HTTP/1.1", "Origin: http://evil\r\n", Err(Status::Forbidden)),
        ("GET /sse?format=x HTTP/1.1", "Origin: http://evil\r\n", Err(Status::Forbidden)),
        ("OPTIONS /sse HTTP/1.1", "Origin: http://evil\r\n", Err(Status::Forbidden)),
        ("POST /sse HTTP/1.1", "Origin: http://a\r\n", Err(Status::MethodNotAllowed)),
        ("DELETE /sse HTTP/1.1", "", Err(Status::MethodNotAllowed)),
    ] {
        assert_eq!(events(line, lines), expected, "{line} {lines}");
    }
    let preflight = "OPTIONS /sse HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n\r\n";
    assert_eq!(routed(preflight, Role::All, LOCAL), Ok(Outcome::Preflight(METHODS)));
}

#[test]
fn all_but_metrics_is_shared_and_only_with_whom_may_connect() {
    let shared = |line: &str, lines: &str, role: Role, list: &[&str]| {
        let head = format!("{line} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let request = parse_head(head.as_bytes(), &Limits::default()).unwrap();
        let origin = OriginPolicy::from_entries(list.iter().copied()).unwrap();
        let rules = Rules { role, ..Rules::plain(&origin) };
        match route(&request, &rules).0.cors {
            Cors::Hidden => None,
            Cors::Origin(origin) => {
                Some(origin.map(|origin| str::from_utf8(origin).unwrap().to_owned()))
            }
            Cors::Everyone => panic!("{line} is nobody's in particular"),
        }
    };
    let own = "Origin: http://a\r\n";
    let other = "Origin: https://b\r\n";
    let twice = "Origin: http://a\r\nOrigin: http://a\r\n";
    let named = |origin: &str| Some(Some(origin.to_owned()));
    for (line, lines, role, list, expected) in [
        ("GET /sse", own, Role::All, &[][..], named("http://a")),
        ("POST /sse", own, Role::Clients, &[], named("http://a")),
        ("OPTIONS /s%73e?x", own, Role::All, &[], named("http://a")),
        ("GET /sse", other, Role::All, &[], Some(None)),
        ("GET /sse", other, Role::All, &["https://b"], named("https://b")),
        ("GET /sse", own, Role::All, &["https://b"], Some(None)),
        ("GET /sse", other, Role::All, &["*"], named("https://b")),
        ("GET /sse", "Origin: null\r\n", Role::All, &["*"], named("null")),
        ("GET /sse", "Origin: null\r\n", Role::All, &[], Some(None)),
        ("GET /sse", twice, Role::All, &["*"], Some(None)),
        ("GET /sse", "", Role::All, &["*"], Some(None)),
        ("GET /sse", own, Role::Operation, &[], None),
        ("GET /sse/", own, Role::All, &[], named("http://a")),
        ("GET /ws", own, Role::All, &["*"], named("http://a")),
        ("GET /%", own, Role::All, &["*"], named("http://a")),
        ("GET /%", other, Role::All, &[], Some(None)),
        ("GET /metrics", own, Role::All, &["*"], None),
        ("GET /metrics", own, Role::Clients, &["*"], None),
    ] {
        assert_eq!(shared(line, lines, role, list), expected, "{line} {lines} {list:?}");
    }
}

#[test]
fn the_page_is_not_in_the_way_of_other_upgrades() {
    let h2c = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    assert_eq!(routed(h2c, Role::All, LOCAL), Ok(Outcome::Page("index.html".into())));
}

#[test]
fn keys_with_unused_bits_set_are_taken() {
    assert!(is_key(b"AAAAAAAAAAAAAAAAAAAAAB=="));
    assert!(!is_key(b"AAAAAAAAAAAAAAAAAAAAAB="));
}
