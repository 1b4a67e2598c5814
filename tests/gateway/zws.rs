//! ZWS 2.0: ZeroMQ's SUB sockets over WebSocket, byte by byte and as they come from npm.

use crate::support::http::Connection;
use crate::support::node::Script;
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::tls::is_over_tls;
use crate::support::websocket::{BINARY, PING, Raw, TEXT, UPGRADE};

fn request(offered: &str) -> String {
    format!("GET /ws HTTP/1.1\r\nHost: a\r\n{UPGRADE}Sec-WebSocket-Protocol: {offered}\r\n\r\n")
}

/// A client that has read the gateway's greeting and sent its own.
fn open(gateway: &Gateway, offered: &str) -> Raw {
    let mut connection = Connection::open(gateway.address);
    connection.send(request(offered));
    let mut client = Raw::upgraded(connection);
    assert_eq!(client.frame().opcode, BINARY);
    client.send(BINARY, if offered == "ZWS2.0" { b"\0" } else { b"\x02\x05READY" });
    client
}

fn parts(client: &mut Raw) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    loop {
        let mut frame = client.message();
        assert_eq!(frame.opcode, BINARY);
        let flag = frame.payload.remove(0);
        parts.push(frame.payload);
        if flag == 0 {
            return parts;
        }
        assert_eq!(flag, 1);
    }
}

fn on_demand(args: &[&str]) -> (Gateway, Publisher) {
    let gateway = Gateway::start(&[&["--on-demand"], args].concat());
    let publisher = Publisher::connect_unasked(&gateway.endpoints[0]);
    (gateway, publisher)
}

#[test]
fn the_answer_names_the_protocol_and_the_greeting_follows() {
    let gateway = Gateway::start(&[]);
    for (offered, chosen, greeting) in [
        ("ZWS2.0/NULL,ZWS2.0", "ZWS2.0/NULL", &b"\x02\x05READY\x0bSocket-Type\0\0\0\x03PUB"[..]),
        ("ZWS2.0", "ZWS2.0", b"\0"),
    ] {
        let mut connection = Connection::open(gateway.address);
        connection.send(request(offered));
        let response = connection.response(true).unwrap();
        assert_eq!(response.status, 101);
        assert_eq!(response.header("sec-websocket-protocol"), Some(chosen));
        assert_eq!(response.header("connection"), Some("Upgrade"));
        let mut connection = Connection::open(gateway.address);
        connection.send(request(offered));
        assert_eq!(Raw::upgraded(connection).frame().payload, greeting);
    }
    let mut other = Connection::open(gateway.address);
    other.send(request("chat"));
    assert_eq!(other.response(true).unwrap().header("sec-websocket-protocol"), None);
}

#[test]
fn parts_arrive_as_they_were_sent_whatever_is_made_of_them_elsewhere() {
    for topic_from in ["part", "none", ":"] {
        let argument = format!("--topic-from={topic_from}");
        let (gateway, publisher) = on_demand(&[&argument]);
        let mut client = open(&gateway, "ZWS2.0");
        client.send(BINARY, b"\0\x01a");
        assert_eq!(publisher.request(), "+a");
        for message in [&[&b"a:b:c"[..]][..], &[b"a", b"", b"\xff"], &[b"a"], &[b"a:", b""]] {
            publisher.send(message);
            assert_eq!(parts(&mut client), message, "{topic_from}");
        }
    }
}

#[test]
fn who_never_answers_pings_is_dropped_where_zws_has_them_answered() {
    let (gateway, publisher) = on_demand(&["--ping-interval=50ms", "--ping-timeout=100ms"]);
    let mut silent = open(&gateway, "ZWS2.0/NULL");
    let mut plain = open(&gateway, "ZWS2.0");
    plain.send(BINARY, b"\0\x01a");
    assert_eq!(publisher.request(), "+a");
    // Its end, perhaps by a reset.
    while let Ok(Some(frame)) = silent.next() {
        assert_eq!((frame.opcode, frame.payload.len()), (PING, 0));
    }
    gateway.wait_for_metric(
        "zmq2ws_clients_closed_total{transport=\"zws\",reason=\"ping_timeout\"}",
        |count| count == 1.0,
    );
    for _ in 0..10 {
        assert_eq!(plain.frame().opcode, PING);
    }
    publisher.send(&[b"a", b"still there"]);
    loop {
        let frame = plain.frame();
        if frame.opcode == BINARY {
            assert_eq!(frame.payload, b"\x01a");
            return;
        }
    }
}

#[test]
fn what_a_sub_socket_never_says_is_refused() {
    let gateway = Gateway::start(&["--max-topics=2"]);
    let longest = [b"\0\x01".as_slice(), &[b'x'; 255]].concat();
    let mut many = open(&gateway, "ZWS2.0/NULL");
    for request in [&b"\0\x01a"[..], b"\0\x01a", b"\0\x01b", b"\0\0b", &longest] {
        many.send(BINARY, request);
    }
    many.send(BINARY, b"\0\x01c");
    many.assert_closed(1008);
    let mut long = open(&gateway, "ZWS2.0");
    long.send(BINARY, &[&longest[..], b"x"].concat());
    long.assert_closed(1008);
    for (opcode, payload) in [(TEXT, &b"\0\x01a"[..]), (BINARY, b""), (BINARY, b"\x07")] {
        let mut client = open(&gateway, "ZWS2.0");
        client.send(opcode, payload);
        client.assert_closed(1002);
    }
    let mut large = open(&gateway, "ZWS2.0");
    large.send(BINARY, &[0; 5_000]);
    large.assert_closed(1009);
    gateway.wait_for_metric("zmq2ws_feeds", |feeds| feeds == 0.0);
}

#[test]
fn a_flood_of_changes_ends_with_the_last_one() {
    let (gateway, publisher) = on_demand(&[]);
    let mut client = open(&gateway, "ZWS2.0");
    for round in 0..5_000 {
        client.send(BINARY, format!("\0\u{1}{}", round % 50).as_bytes());
        client.send(BINARY, format!("\0\0{}", round % 50).as_bytes());
    }
    client.send(BINARY, b"\0\x01last");
    while publisher.request() != "+last" {}
    publisher.send(&[b"last", b"one"]);
    assert_eq!(parts(&mut client), [&b"last"[..], b"one"]);
    assert_eq!(gateway.metrics().get("zmq2ws_feeds"), 1.0);
}

#[track_caller]
fn assert_prints(script: &Script, parts: &[&[u8]]) {
    let hex = |part: &&[u8]| part.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected: Vec<String> = parts.iter().map(hex).collect();
    let printed: Vec<String> = serde_json::from_str(&script.line()).unwrap();
    assert_eq!(printed, expected);
}

/// Subscribes, cancels, and comes back after the gateway was killed.
fn follows_a_real_client(library: &str) {
    if is_over_tls() {
        eprintln!("skipped: {library} speaks no TLS");
        return;
    }
    let (publisher, endpoint) = Publisher::bind("tcp://127.0.0.1:*");
    let connect = format!("--connect={endpoint}");
    let gateway = Gateway::start(&["--on-demand", &connect]);
    let address = gateway.address;
    let url = format!("ws://{address}/ws");
    let Some(mut client) = Script::start("subscribe.js", &[library, &url]) else { return };
    client.say("+a");
    assert_eq!(publisher.request(), "+a");
    let large = vec![b'x'; 100_000];
    for message in [&[&b"a"[..], b"", b"\0\xff"][..], &[b"ab"], &[b"a", b""], &[b"a", &large]] {
        publisher.send(message);
        assert_prints(&client, message);
    }
    client.say("+b");
    assert_eq!(publisher.request(), "+b");
    publisher.send(&[b"b", b"1"]);
    assert_prints(&client, &[b"b", b"1"]);
    // When the second request has arrived, so has the first.
    client.say("-a");
    client.say("+c");
    assert_eq!(publisher.request(), "+c");
    publisher.send(&[b"a", b"not wanted"]);
    publisher.send(&[b"b", b"2"]);
    assert_prints(&client, &[b"b", b"2"]);
    drop(gateway);
    let listen = format!("--listen={address}");
    let gateway = Gateway::start(&["--on-demand", &connect, &listen]);
    let mut missing = vec!["+b", "+c"];
    while !missing.is_empty() {
        let request = publisher.request();
        assert_ne!(request, "+a", "it was cancelled");
        missing.retain(|topic| *topic != request);
    }
    publisher.send(&[b"c", b"", b"3"]);
    assert_prints(&client, &[b"c", b"", b"3"]);
    client.say("+");
    while publisher.request() != "+" {}
    publisher.send(&[b"", b"everything"]);
    assert_prints(&client, &[b"", b"everything"]);
    drop(client);
    gateway.wait_for_metric("zmq2ws_clients{transport=\"zws\"}", |clients| clients == 0.0);
}

#[test]
fn jszmq() {
    follows_a_real_client("jszmq");
}

#[test]
fn libzmq() {
    follows_a_real_client("zeromq");
}
