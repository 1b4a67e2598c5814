//! Pages of other origins: who is let in, and what browsers let a page see, the same wherever it asks.

use crate::support::events::Events;
use crate::support::http::{Connection, Response, connect};
use crate::support::process::Gateway;
use crate::support::websocket::UPGRADE;

const GOOD: &str = "https://good.example";
const EVIL: &str = "https://evil.example";
const PREFLIGHT: &str =
    "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: x-a, authorization\r\n";

fn ask(gateway: &Gateway, method: &str, target: &str, origin: &str, headers: &str) -> Response {
    let mut connection = Connection::open(gateway.address);
    connection.request(method, target, &format!("Origin: {origin}\r\n{headers}"))
}

#[track_caller]
fn assert_shared(response: &Response, with: Option<&str>, case: &str) {
    let header = |name| response.header(name);
    assert_eq!(header("vary"), Some("Origin"), "{case}: {response:?}");
    assert_eq!(header("access-control-allow-origin"), with, "{case}: {response:?}");
    let credentials = with.map(|_| "true");
    assert_eq!(header("access-control-allow-credentials"), credentials, "{case}: {response:?}");
}

#[test]
fn every_answer_says_whether_the_page_may_see_it() {
    let gateway = Gateway::start(&["--origin", GOOD, "--max-clients=1"]);
    let inside = Events::open(gateway.address, "/sse");
    for (method, target, headers, status) in [
        ("GET", "/sse", "", 503),
        ("GET", "/poll", "", 503),
        ("GET", "/ws", UPGRADE, 503),
        ("GET", "/sse?format=x", "", 400),
        ("GET", "/poll?timeout=x", "", 400),
        ("GET", "/ws?since=x", UPGRADE, 400),
        ("GET", "/ws", "", 426),
        ("GET", "/%", "", 400),
        ("POST", "/sse", "", 405),
        ("POST", "/poll", "", 405),
        ("DELETE", "/ws", "", 405),
        ("POST", "/healthz", "", 405),
        ("OPTIONS", "/healthz", PREFLIGHT, 405),
        ("BREW", "/poll", "", 501),
        ("GET", "/nothing", "", 404),
        ("GET", "/healthz", "", 200),
        ("GET", "/readyz", "", 200),
        ("GET", "/", "", 200),
        ("HEAD", "/sse", "", 200),
        ("HEAD", "/poll", "", 200),
        ("OPTIONS", "/sse", PREFLIGHT, 204),
        ("OPTIONS", "/poll", PREFLIGHT, 204),
        ("OPTIONS", "/poll?format=x", PREFLIGHT, 204),
    ] {
        let case = format!("{method} {target}");
        let response = ask(&gateway, method, target, GOOD, headers);
        assert_eq!(response.status, status, "{case}: {response:?}");
        assert_shared(&response, Some(GOOD), &case);
        // A page that is not let in learns nothing, and about messages not even why.
        let response = ask(&gateway, method, target, EVIL, headers);
        assert_shared(&response, None, &case);
        let asks_for_messages = ["/sse", "/poll", "/ws"].iter().any(|it| target.starts_with(it));
        if asks_for_messages && !matches!(status, 405 | 426 | 501) {
            assert_eq!(response.status, 403, "{case}: {response:?}");
        }
        if status == 405 {
            assert!(response.header("allow").unwrap().starts_with("GET"), "{case}");
        }
    }
    drop(inside);
}

#[test]
fn what_a_page_asks_for_is_shown_to_it_too() {
    let gateway = Gateway::start(&["--origin", GOOD]);
    let headers = format!("Origin: {GOOD}\r\n");
    let events = Events::open_on(connect(gateway.address), "/sse", &headers);
    assert_shared(&events.head, Some(GOOD), "/sse");
    assert_shared(&ask(&gateway, "GET", "/poll?timeout=0", GOOD, ""), Some(GOOD), "/poll");
    // No page sees an upgrade.
    let mut connection = Connection::open(gateway.address);
    connection.send(format!("GET /ws HTTP/1.1\r\nHost: a\r\nOrigin: {GOOD}\r\n{UPGRADE}\r\n"));
    let response = connection.response(true).unwrap();
    assert_eq!((response.status, response.header("vary")), (101, None));
}

#[test]
fn a_preflight_has_everything_that_a_browser_asks_for_and_no_content() {
    let gateway = Gateway::start(&["--origin", GOOD]);
    for target in ["/sse", "/poll"] {
        let response = ask(&gateway, "OPTIONS", target, GOOD, PREFLIGHT);
        assert_eq!(response.status, 204);
        let header = |name| response.header(name);
        assert_eq!(header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"));
        assert_eq!(header("access-control-allow-headers"), Some("x-a, authorization"));
        assert_eq!(header("access-control-max-age"), Some("600"));
        assert_eq!(header("content-length"), Some("0"));
        assert_eq!(header("allow"), Some("GET, HEAD, OPTIONS"));
        for (origin, headers) in [(EVIL, PREFLIGHT), ("null", PREFLIGHT), (EVIL, "")] {
            let response = ask(&gateway, "OPTIONS", target, origin, headers);
            assert_eq!(response.status, 403);
            assert_eq!(response.header("access-control-allow-methods"), None);
        }
    }
}

#[test]
fn an_origin_is_let_in_everywhere_or_nowhere() {
    for (policy, host, origin, is_let_in) in [
        ("", "gateway:80", "http://gateway", true),
        ("", "gateway:80", GOOD, false),
        ("", "gateway:80", "null", false),
        (GOOD, "gateway:80", "HTTPS://GOOD.example:443", true),
        (GOOD, "gateway:80", "http://gateway", false),
        ("*", "gateway:80", EVIL, true),
        ("*", "gateway:80", "null", true),
    ] {
        let flag = format!("--origin={policy}");
        let flags: &[&str] = if policy.is_empty() { &[] } else { &[&flag] };
        let gateway = Gateway::start(flags);
        for (path, headers, status) in
            [("/ws", UPGRADE, 101), ("/sse", "", 200), ("/poll?timeout=0", "", 200)]
        {
            let mut connection = Connection::open(gateway.address);
            connection.send(format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n{headers}\r\n"
            ));
            let response = connection.response(path == "/sse").unwrap();
            let case = format!("{policy} {path} {origin}");
            assert_eq!(response.status, if is_let_in { status } else { 403 }, "{case}");
            if path != "/ws" {
                // By its name also where every origin is let in: a browser takes no `*` with credentials.
                assert_shared(&response, is_let_in.then_some(origin), &case);
            }
        }
    }
}

/// Whoever looks at any page on this host comes from loopback.
#[test]
fn metrics_are_for_no_page() {
    let gateway = Gateway::start(&["--origin=*"]);
    let response = ask(&gateway, "GET", "/metrics", EVIL, "");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("access-control-allow-origin"), None);
}
