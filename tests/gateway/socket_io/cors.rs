//! Pages of other origins: what they are let see, on every answer, and what they may ask for.

use crate::support::engine_io::{POLLING, Session, WEBSOCKET, stage};
use crate::support::http::{Connection, Response};
use crate::support::process::Gateway;
use crate::support::websocket::{Raw, TEXT, upgrade_request};

const ORIGIN: &str = "https://dashboard.example";

fn ask(gateway: &Gateway, method: &str, path: &str, headers: &str) -> Response {
    let headers = format!("Origin: {ORIGIN}\r\nConnection: close\r\n{headers}");
    Connection::open(gateway.address).request(method, path, &headers)
}

#[track_caller]
fn assert_shared(response: &Response) {
    let allowed = response.header("access-control-allow-origin");
    assert_eq!(allowed, Some(ORIGIN), "{response:?}");
    assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
    assert!(
        response.header("vary").is_some_and(|fields| fields.contains("Origin")),
        "{response:?}"
    );
}

#[test]
fn every_answer_may_be_seen_errors_included() {
    for origin in [ORIGIN, "*"] {
        let (gateway, publisher) = stage(&["--origin", origin, "--max-inbound=100"]);
        assert_shared(&ask(&gateway, "GET", POLLING, ""));
        let session = Session::open(gateway.address);
        let path = session.path();
        let post = |body: &str| {
            let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
            let mut connection = Connection::open(gateway.address);
            connection
                .send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nOrigin: {ORIGIN}\r\n{length}"));
            connection.response(false).unwrap()
        };
        let entered = post("40");
        assert_eq!((entered.status, &*entered.text()), (200, "ok"));
        assert_shared(&entered);
        assert_shared(&ask(&gateway, "GET", &path, ""));
        publisher.send(&[b"t", b"1"]);
        let message = ask(&gateway, "GET", &path, "");
        assert_eq!(message.text(), r#"42["message","1","t"]"#);
        assert_shared(&message);
        let large = post(&"3".repeat(101));
        assert_eq!(large.status, 413);
        assert_shared(&large);
        for (method, path, status) in [
            ("GET", "/socket.io/?EIO=4", 400),
            ("GET", "/socket.io/?EIO=3&transport=polling", 400),
            ("GET", "/socket.io/?EIO=4&transport=polling&sid=unknown", 400),
            ("GET", WEBSOCKET, 400),
        ] {
            let response = ask(&gateway, method, path, "");
            assert_eq!(response.status, status, "{path}");
            assert_shared(&response);
        }
    }
}

#[test]
fn a_browser_that_asks_first_is_told() {
    let gateway = Gateway::start(&["--origin", ORIGIN]);
    let wish = "Access-Control-Request-Method: POST\r\n\
        Access-Control-Request-Headers: x-custom, content-type\r\n";
    let response = ask(&gateway, "OPTIONS", POLLING, wish);
    assert_eq!(response.status, 204);
    assert_shared(&response);
    let methods = response.header("access-control-allow-methods").unwrap();
    let methods: Vec<_> = methods.split(',').map(str::trim).collect();
    assert!(methods.contains(&"GET") && methods.contains(&"POST"), "{methods:?}");
    let fields = response.header("access-control-allow-headers");
    assert_eq!(fields, Some("x-custom, content-type"));
    assert!(response.header("access-control-max-age").is_some());
    assert_eq!(response.header("content-length"), Some("0"));
}

#[test]
fn who_is_not_on_the_list_sees_nothing() {
    let gateway = Gateway::start(&["--origin", "https://other.example"]);
    for (method, path) in [("GET", POLLING), ("OPTIONS", POLLING), ("GET", "/socket.io/?EIO=4")] {
        let response = ask(&gateway, method, path, "");
        assert_eq!(response.header("access-control-allow-origin"), None, "{method} {path}");
        assert!(response.header("vary").is_some_and(|fields| fields.contains("Origin")), "{path}");
        assert_ne!(response.status, 200);
    }
}

#[test]
fn a_websocket_is_let_in_by_the_same_list() {
    let gateway = Gateway::start(&["--origin", ORIGIN]);
    for (origin, status) in [(ORIGIN, 101), ("https://other.example", 403), ("null", 403)] {
        let request = upgrade_request(WEBSOCKET);
        let request = request.strip_suffix("\r\n").unwrap();
        let mut connection = Connection::open(gateway.address);
        connection.send(format!("{request}Origin: {origin}\r\n\r\n"));
        if status == 101 {
            let mut socket = Raw::upgraded(connection);
            assert_eq!(socket.frame().opcode, TEXT);
        } else {
            assert_eq!(connection.response(false).unwrap().status, status, "{origin}");
        }
    }
}
