//! What the gateway refuses, with which status and code, before anything is kept.

use crate::support::engine_io::{CLIENTS, POLLING, Session, WEBSOCKET, assert_refused, stage};
use crate::support::http::{Connection, Response, exchange, get};
use crate::support::process::Gateway;
use crate::support::websocket::upgrade_request;

fn upgrade(gateway: &Gateway, path: &str) -> Response {
    let mut connection = Connection::open(gateway.address);
    connection.send(upgrade_request(path));
    connection.response(false).unwrap()
}

#[test]
fn a_request_that_is_none_of_engine_io_4_is_told_why() {
    let gateway = Gateway::start(&[]);
    let sid = Session::open(gateway.address).sid;
    for (query, code, message) in [
        ("", 0, "Transport unknown"),
        ("?EIO=4", 0, "Transport unknown"),
        ("?EIO=4&transport=", 0, "Transport unknown"),
        ("?EIO=4&transport=webtransport", 0, "Transport unknown"),
        ("?EIO=4&transport=Polling", 0, "Transport unknown"),
        // The transport is looked at before the version.
        ("?EIO=3&transport=carrier-pigeon", 0, "Transport unknown"),
        ("?EIO=4&transport=polling&sid=unknown", 1, "Session ID unknown"),
        ("?EIO=4&transport=polling&sid=..%2F..%00%22", 1, "Session ID unknown"),
        ("?EIO=4&transport=websocket", 3, "Bad request"),
        (&*format!("?EIO=4&transport=websocket&sid={sid}"), 3, "Bad request"),
        ("?EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("?transport=polling", 5, "Unsupported protocol version"),
        ("?EIO=&transport=polling", 5, "Unsupported protocol version"),
        ("?EIO=5&transport=polling", 5, "Unsupported protocol version"),
        ("?EIO=44&transport=polling", 5, "Unsupported protocol version"),
        ("?EIO=four&transport=polling", 5, "Unsupported protocol version"),
    ] {
        let response = get(gateway.address, &format!("/socket.io/{query}"));
        assert_refused(&response, 400, code, message);
    }
}

#[test]
fn other_methods() {
    let gateway = Gateway::start(&[]);
    let session = Session::open(gateway.address);
    let mut connection = Connection::open(gateway.address);
    let response = connection.request("POST", POLLING, "Content-Length: 0\r\n");
    assert_refused(&response, 400, 2, "Bad handshake method");
    for method in ["PUT", "DELETE", "PATCH"] {
        let mut connection = Connection::open(gateway.address);
        let headers = "Connection: close\r\nContent-Length: 0\r\n";
        let response = connection.request(method, POLLING, headers);
        assert!([400, 405].contains(&response.status), "{method}: {response:?}");
        let mut connection = Connection::open(gateway.address);
        let response = connection.request(method, &session.path(), headers);
        assert!([400, 405].contains(&response.status), "{method}: {response:?}");
    }
    session.connect();
    let mut unknown = session;
    unknown.sid = "unknown".to_owned();
    assert_refused(&unknown.post("40"), 400, 1, "Session ID unknown");
}

#[test]
fn an_upgrade_is_refused_before_it_is_one() {
    let gateway = Gateway::start(&[]);
    for path in [
        "/socket.io/?EIO=4&transport=websocket&sid=unknown",
        "/socket.io/?EIO=3&transport=websocket",
        "/socket.io/?transport=websocket",
        "/socket.io/?EIO=4&transport=polling",
        "/socket.io/?EIO=4",
        "/socket.io/?EIO=4&transport=websocket&format=nonsense",
    ] {
        assert_eq!(upgrade(&gateway, path).status, 400, "{path}");
    }
    let foreign = format!("{}Origin: http://elsewhere.example\r\n\r\n", {
        let request = upgrade_request(WEBSOCKET);
        request.strip_suffix("\r\n").unwrap().to_owned()
    });
    let mut connection = Connection::open(gateway.address);
    connection.send(foreign);
    assert_eq!(connection.response(false).unwrap().status, 403);
    assert_eq!(gateway.metrics().get(CLIENTS), 0.0);
}

#[test]
fn another_origin_is_forbidden() {
    let gateway = Gateway::start(&[]);
    let session = Session::open(gateway.address);
    for (method, path) in [("GET", POLLING), ("GET", &*session.path()), ("POST", &session.path())] {
        let mut connection = Connection::open(gateway.address);
        let origin = "Origin: http://elsewhere.example\r\nContent-Length: 0\r\n";
        assert_refused(&connection.request(method, path, origin), 403, 4, "Forbidden");
    }
    // What a stranger asked changed nothing.
    session.connect();
}

#[test]
fn parameters_of_the_gateway_are_checked_as_everywhere() {
    let gateway = Gateway::start(&["--max-topics=2"]);
    for query in [
        "&format=nonsense",
        "&since=x",
        "&topic=a&topic=b&topic=c",
        "&exact=a&exact=b&topic=c",
        "&topic=%zz",
    ] {
        let response = get(gateway.address, &format!("{POLLING}{query}"));
        assert_eq!(response.status, 400, "{query}: {}", response.text());
        assert_eq!(response.text().trim_end().lines().count(), 1, "a reason on one line");
    }
    assert_eq!(gateway.metrics().get(CLIENTS), 0.0);
}

#[test]
fn the_path_has_a_slash_at_its_end() {
    let gateway = Gateway::start(&[]);
    for path in ["/socket.io?EIO=4&transport=polling", "/socket.iox/?EIO=4&transport=polling"] {
        assert_eq!(get(gateway.address, path).status, 404, "{path}");
    }
}

#[test]
fn nobody_is_served_while_the_gateway_is_full() {
    let (gateway, _publisher) = stage(&["--max-clients=2"]);
    let first = Session::connected(gateway.address, "");
    let _second = crate::support::engine_io::connected_socket(gateway.address, "");
    for path in [POLLING.to_owned(), "/poll".to_owned()] {
        let response = get(gateway.address, &path);
        assert_eq!(response.status, 503, "{path}");
        assert!(response.header("retry-after").is_some());
    }
    assert_eq!(upgrade(&gateway, WEBSOCKET).status, 503);
    // Its own WebSocket is no other client.
    let mut socket = first.probed();
    socket.send(crate::support::websocket::TEXT, b"5");
    gateway.wait_for_metric(CLIENTS, |count| count == 2.0);
    drop(socket);
    gateway.wait_for_metric(CLIENTS, |count| count == 1.0);
    Session::connected(gateway.address, "");
}

#[test]
fn ambiguous_requests_have_one_answer() {
    let gateway = Gateway::start(&[]);
    let session = Session::open(gateway.address);
    let path = session.path();
    let text = exchange(
        gateway.address,
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\n40\r\n0\r\n\r\n"
        ),
    );
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
}

/// An id is a place, which can be guessed, and a secret, of which every bit counts.
#[test]
fn an_id_that_differs_anywhere_is_unknown() {
    let gateway = Gateway::start(&[]);
    let session = Session::open(gateway.address);
    let mut other = Session::open(gateway.address);
    let sid = session.sid.clone();
    for at in 0..sid.len() {
        let mut bytes = sid.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        other.sid = String::from_utf8(bytes).unwrap();
        assert_refused(&other.post("40"), 400, 1, "Session ID unknown");
    }
    other.sid = format!("{sid}A");
    assert_refused(&other.post("40"), 400, 1, "Session ID unknown");
    other.sid = sid[..sid.len() - 1].to_owned();
    assert_refused(&other.post("40"), 400, 1, "Session ID unknown");
    session.connect();
}
