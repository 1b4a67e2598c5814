//! The handshake, and GET and POST on a session that polls.

use std::collections::HashSet;

use crate::support::engine_io::{
    CLIENTS, POLLING, SEPARATOR, Session, assert_refused, barrier, body, opened_socket, packets,
    stage,
};
use crate::support::http::{Connection, get, reset};
use crate::support::process::Gateway;
use crate::support::websocket::TEXT;

const MORE: &str = "Content-Type: text/plain;charset=UTF-8\r\n";

#[test]
fn the_handshake_says_what_a_client_has_to_know() {
    let gateway =
        Gateway::start(&["--ping-interval=12345ms", "--ping-timeout=6789ms", "--max-inbound=5000"]);
    let response = get(gateway.address, &format!("{POLLING}&t=7r8zdbny"));
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let text = response.text();
    let (start, end) = (
        "0{\"sid\":\"",
        "\",\"upgrades\":[\"websocket\"],\"pingInterval\":12345,\"pingTimeout\":6789,\"maxPayload\":5000}",
    );
    let sid = text.strip_prefix(start).and_then(|text| text.strip_suffix(end));
    let sid = sid.unwrap_or_else(|| panic!("{text}"));
    assert!(sid.len() >= 22, "at least 128 bits: {sid}");
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    assert!(sid.bytes().all(is_safe), "{sid}");

    let (_socket, open) = opened_socket(gateway.address, "");
    assert_eq!(open["upgrades"], serde_json::json!([]));
    assert_eq!(open["pingInterval"], 12345);
    assert_eq!(open.as_object().unwrap().len(), 5);
}

#[test]
fn defaults_are_those_of_the_flags() {
    let gateway = Gateway::start(&[]);
    let open = Session::open(gateway.address).open;
    let figures = ["pingInterval", "pingTimeout", "maxPayload"].map(|key| open[key].as_u64());
    assert_eq!(figures, [Some(25_000), Some(20_000), Some(4_096)]);
}

#[test]
fn a_session_begins_whatever_the_order_of_its_parameters() {
    let gateway = Gateway::start(&[]);
    let mut sids = HashSet::new();
    for path in [
        "/socket.io/?transport=polling&EIO=4",
        "/socket.io/?t=x&transport=polling&foo=bar&EIO=4&b64=1",
        "/socket.io/?EIO=4&transport=polling&sid=",
        "/socket.io/?EIO=4&transport=polling&sid=&t=",
    ] {
        let response = get(gateway.address, path);
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        let open: serde_json::Value = serde_json::from_str(&response.text()[1..]).unwrap();
        assert!(sids.insert(open["sid"].as_str().unwrap().to_owned()), "{path}");
    }
    assert_eq!(gateway.metrics().get(CLIENTS), 4.0);
}

#[test]
fn ids_are_neither_alike_nor_told_to_others() {
    let gateway = Gateway::start(&[]);
    let mut engines = HashSet::new();
    let mut sockets = HashSet::new();
    for _ in 0..50 {
        let session = Session::open(gateway.address);
        let welcome = session.connect();
        assert_eq!(welcome.as_object().unwrap().len(), 1, "only a sid without recovery: {welcome}");
        sockets.insert(welcome["sid"].as_str().unwrap().to_owned());
        engines.insert(session.sid);
    }
    assert_eq!((engines.len(), sockets.len()), (50, 50));
    assert!(engines.is_disjoint(&sockets), "the sid of the engine is a secret");
    // 22 characters of 6 bits each are drawn, wherever they are; what tells sessions apart may be beside them.
    let mut columns = vec![HashSet::new(); 100];
    for sid in &engines {
        sid.bytes().zip(&mut columns).for_each(|(byte, column)| _ = column.insert(byte));
    }
    let drawn = columns.iter().filter(|column| column.len() > 12).count();
    assert!(drawn >= 21, "{drawn} places differ: {engines:?}");
}

#[test]
fn a_get_waits_for_the_next_message() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::connected(gateway.address, "");
    let mut waiting = session.ask();
    publisher.send(&[b"weather.oslo", b"12"]);
    let response = waiting.response(false).unwrap();
    assert_eq!(response.text(), r#"42["message","12","weather.oslo"]"#);
    assert_eq!(packets(&response).len(), 1);
    assert_eq!(response.header("cache-control"), Some("no-store"));
    // The connection serves on.
    let path = session.path();
    publisher.send(&[b"a", b"1"]);
    let response = waiting.request("GET", &path, "");
    assert_eq!(body(&packets(&response)[0]), "1");
}

#[test]
fn what_came_meanwhile_is_answered_at_once_in_order() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::connected(gateway.address, "");
    for number in 0..100 {
        publisher.send(&[b"t", format!("{number}").as_bytes()]);
    }
    gateway.wait_for_metric("zmq2ws_messages_received_total", |count| count == 100.0);
    let first = session.packets();
    assert!(first.len() > 1, "as many as are ready: {}", first.len());
    let mut bodies: Vec<_> = first.iter().map(|packet| body(packet)).collect();
    while bodies.len() < 100 {
        bodies.extend(session.packets().iter().map(|packet| body(packet)));
    }
    let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(bodies, expected);
}

#[test]
fn a_large_message_arrives_whole() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::connected(gateway.address, "");
    let large = "é\"\n".repeat(500_000);
    publisher.send(&[b"t", large.as_bytes()]);
    assert!(body(&session.take(1)[0]) == large);
}

#[test]
fn a_second_get_ends_the_session() {
    let gateway = Gateway::start(&[]);
    let session = Session::connected(gateway.address, "");
    let mut first = session.ask();
    assert_eq!(session.get().status, 400);
    assert_eq!(packets(&first.response(false).unwrap()), ["1"]);
    session.assert_gone();
    gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
}

#[test]
fn who_hangs_up_while_it_waits_is_noticed() {
    let gateway = Gateway::start(&[]);
    for is_reset in [false, true] {
        let session = Session::connected(gateway.address, "");
        let waiting = session.ask();
        if is_reset {
            reset(waiting.into_parts().0);
        } else {
            drop(waiting);
        }
        gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
        session.assert_gone();
    }
    assert_eq!(gateway.metrics().get("zmq2ws_feeds"), 0.0);
}

#[test]
fn a_second_post_beside_an_unfinished_one_ends_the_session() {
    let gateway = Gateway::start(&[]);
    let session = Session::connected(gateway.address, "");
    let mut waiting = session.ask();
    let mut first = Connection::open(gateway.address);
    let path = session.path();
    first.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{MORE}Content-Length: 3\r\n\r\n3"));
    barrier(gateway.address);
    assert_eq!(session.post("3").status, 400);
    assert_eq!(packets(&waiting.response(false).unwrap()), ["1"]);
    session.assert_gone();
}

#[test]
fn octets_are_refused_and_end_the_session() {
    let gateway = Gateway::start(&[]);
    let session = Session::connected(gateway.address, "");
    let headers = "Content-Type: application/octet-stream\r\nContent-Length: 1\r\n\r\n3";
    let mut connection = Connection::open(gateway.address);
    let path = session.path();
    connection.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{headers}"));
    assert_eq!(connection.response(false).unwrap().status, 400);
    session.assert_over();
}

#[test]
fn a_post_may_be_as_large_as_was_said() {
    let (gateway, publisher) = stage(&["--max-inbound=1000"]);
    let session = Session::connected(gateway.address, "");
    let largest = format!("42[\"{}\"]", "x".repeat(1000 - 6));
    session.assert_posts(&largest);
    session.assert_hears(&publisher);
    assert_eq!(session.post(&format!("{largest} ")).status, 413);
    // A body whose size nobody said before.
    let session = Session::connected(gateway.address, "");
    let path = session.path();
    let mut connection = Connection::open(gateway.address);
    connection.send(format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\n{MORE}Transfer-Encoding: chunked\r\n\r\n"
    ));
    connection.send(format!("3e9\r\n{}\r\n0\r\n\r\n", "3".repeat(1001)));
    assert_eq!(connection.response(false).unwrap().status, 413);
}

#[test]
fn bodies_in_chunks_and_bytes_that_come_one_by_one() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::open(gateway.address);
    let path = session.path();
    let mut connection = Connection::open(gateway.address);
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: a\r\n{MORE}Transfer-Encoding: chunked\r\n\r\n");
    for byte in format!("{head}1\r\n4\r\n1;x=y\r\n0\r\n0\r\n\r\n").bytes() {
        connection.send([byte]);
        barrier(gateway.address);
    }
    let response = connection.response(false).unwrap();
    assert_eq!((response.status, &*response.text()), (200, "ok"));
    crate::support::engine_io::welcome(&session.packets()[0]);
    session.assert_hears(&publisher);
}

#[test]
fn requests_may_come_one_behind_the_other() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::open(gateway.address);
    let path = session.path();
    let mut connection = Connection::open(gateway.address);
    let post = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{MORE}Content-Length: 2\r\n\r\n40");
    let get = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.send(format!("{post}{get}{get}"));
    assert_eq!(connection.response(false).unwrap().text(), "ok");
    crate::support::engine_io::welcome(&packets(&connection.response(false).unwrap())[0]);
    publisher.send(&[b"t", b"1"]);
    assert_eq!(body(&packets(&connection.response(false).unwrap())[0]), "1");
}

#[test]
fn packets_that_are_none_end_the_session() {
    let gateway = Gateway::start(&[]);
    for garbage in
        ["", "2", "7", "x", "é", "4", "40\u{1e}", "\u{1e}3", "3\u{1e}\u{1e}3", "b!", "bA"]
    {
        let session = Session::connected(gateway.address, "");
        let mut waiting = session.ask();
        let status = session.post(garbage).status;
        assert!([200, 400].contains(&status), "{garbage:?}: {status}");
        assert_eq!(packets(&waiting.response(false).unwrap()), ["1"], "{garbage:?}");
        session.assert_gone();
    }
    gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
}

#[test]
fn who_says_that_it_leaves_has_left() {
    let gateway = Gateway::start(&[]);
    let session = Session::connected(gateway.address, "");
    let mut waiting = session.ask();
    session.assert_posts("1");
    assert_eq!(packets(&waiting.response(false).unwrap()), ["6"]);
    session.assert_gone();
    let session = Session::connected(gateway.address, "");
    session.assert_posts("1");
    session.assert_over();
    gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
}

#[test]
fn packets_that_nobody_asked_for_are_passed_over() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::connected(gateway.address, "");
    for body in ["3", "5", "6", "0", "3probe", "6\u{1e}5\u{1e}3", "0{}"] {
        session.assert_posts(body);
    }
    session.assert_hears(&publisher);
}

#[test]
fn several_packets_in_one_post() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::open(gateway.address);
    session.assert_posts(&["3", "40", "6"].join(&SEPARATOR.to_string()));
    crate::support::engine_io::welcome(&session.take(1)[0]);
    session.assert_hears(&publisher);
}

#[test]
fn a_session_that_became_a_websocket_does_not_poll() {
    let gateway = Gateway::start(&[]);
    let session = Session::connected(gateway.address, "");
    let mut socket = session.probed();
    socket.send(TEXT, b"5");
    // Answered by the gateway when it has read what came before.
    socket.send(crate::support::websocket::PING, b"x");
    assert_eq!(socket.frame().opcode, crate::support::websocket::PONG);
    assert_refused(&session.get(), 400, 3, "Bad request");
    assert_refused(&session.post("3"), 400, 3, "Bad request");
}
