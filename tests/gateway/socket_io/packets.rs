//! What clients may say on Socket.IO, and what ends the engine.

use crate::support::engine_io::{
    CLIENTS, SEPARATOR, Session, connected_socket, event, opened_socket, packets, stage, text,
    welcome,
};
use crate::support::process::Gateway;
use crate::support::websocket::{BINARY, CLOSE, PING, PONG, Raw, TEXT};

/// Fails unless the gateway ends this WebSocket, and says nothing else but pings.
#[track_caller]
fn assert_ends(socket: &mut Raw) {
    while let Ok(Some(frame)) = socket.next() {
        if frame.opcode == CLOSE {
            return;
        }
        let is_ping = matches!(frame.opcode, PING | PONG) || frame.payload == b"2";
        assert!(is_ping, "{frame:?}");
    }
}

const NONSENSE_BEFORE: [&str; 12] = [
    "42[\"a\"]",
    "41",
    "43[]",
    "44",
    "4x",
    "4",
    "40[]",
    "40{",
    "47",
    "40\"x\"",
    "451-[\"a\",{\"_placeholder\":true,\"num\":0}]",
    "40/nope",
];

#[test]
fn before_the_main_namespace_only_a_wish_to_enter_it() {
    let gateway = Gateway::start(&[]);
    for packet in NONSENSE_BEFORE {
        let (mut socket, _) = opened_socket(gateway.address, "");
        socket.send(TEXT, packet.as_bytes());
        if packet == "40/nope" {
            // Without a comma the namespace ends with the packet: a wish, only for something that is not there.
            assert!(text(&socket.message()).starts_with("44/nope,"));
            continue;
        }
        assert_ends(&mut socket);
        let session = Session::open(gateway.address);
        let mut waiting = session.ask();
        session.post(packet);
        assert_eq!(packets(&waiting.response(false).unwrap()), ["1"], "{packet}");
        session.assert_gone();
    }
    let (mut socket, _) = opened_socket(gateway.address, "");
    socket.send(BINARY, b"\x01");
    assert_ends(&mut socket);
    let session = Session::open(gateway.address);
    session.post("bAQ==");
    session.assert_over();
}

#[test]
fn afterwards_what_is_no_packet_ends_the_engine() {
    let gateway = Gateway::start(&[]);
    for packet in [
        "40",
        "40{}",
        "42{}",
        "42[]",
        "42abc[\"a\"]",
        "42",
        "42[",
        "42[\"a\"",
        "42[1",
        "45-[\"a\"]",
        "4x",
        "47",
        "4",
        "42[\"a\"]]",
        "7",
        "x",
    ] {
        let mut socket = connected_socket(gateway.address, "");
        socket.send(TEXT, packet.as_bytes());
        assert_ends(&mut socket);
        let session = Session::connected(gateway.address, "");
        session.post(packet);
        session.assert_over();
    }
    let mut socket = connected_socket(gateway.address, "");
    socket.send(BINARY, b"\x01");
    assert_ends(&mut socket);
    let session = Session::connected(gateway.address, "");
    session.post("bAQ==");
    session.assert_over();
    gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
}

#[test]
fn events_of_clients_go_nowhere() {
    let (gateway, publisher) = stage(&[]);
    let mut socket = connected_socket(gateway.address, "");
    let session = Session::connected(gateway.address, "");
    for packet in [
        "42[\"hello\"]",
        "42[\"hello\",{\"a\":[1,2.5e3,null,\"\\u00e9 é\"]},\"x\"]",
        "4217[\"ask\",1]",
        "42/,[\"hello\"]",
        "43",
        "4312[]",
    ] {
        // An answer to a question that was never asked may be passed over or refused.
        if packet.starts_with("43") {
            continue;
        }
        socket.send(TEXT, packet.as_bytes());
        session.assert_posts(packet);
    }
    publisher.send(&[b"t", b"1"]);
    assert_eq!(event(text(&socket.message()))[1], "1");
    assert_eq!(event(&session.take(1)[0])[1], "1");
}

#[test]
fn an_event_with_attachments_is_passed_over_with_them() {
    let (gateway, publisher) = stage(&[]);
    let head = "452-[\"a\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";
    let mut socket = connected_socket(gateway.address, "");
    socket.send(TEXT, head.as_bytes());
    socket.send(BINARY, b"\x01");
    socket.send(TEXT, b"3");
    socket.send(BINARY, b"");
    let session = Session::connected(gateway.address, "");
    session.assert_posts(&[head, "bAQ==", "b"].join(&SEPARATOR.to_string()));
    publisher.send(&[b"t", b"1"]);
    assert_eq!(event(text(&socket.message()))[1], "1");
    assert_eq!(event(&session.take(1)[0])[1], "1");
    // One attachment more than was said.
    socket.send(BINARY, b"\x01");
    assert_ends(&mut socket);
    // Something else where an attachment is due.
    let mut socket = connected_socket(gateway.address, "");
    socket.send(TEXT, head.as_bytes());
    socket.send(TEXT, b"42[\"a\"]");
    assert_ends(&mut socket);
}

#[test]
fn there_is_one_namespace() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::open(gateway.address);
    let refusal = "44/nope,{\"message\":\"Invalid namespace\"}";
    session.assert_posts("40/nope,");
    assert_eq!(session.packets(), [refusal]);
    session.assert_posts("40/nope,{\"token\":\"abc\"}");
    assert_eq!(session.packets(), [refusal]);
    session.assert_posts("40/,{\"token\":\"abc\"}");
    welcome(&session.packets()[0]);
    session.assert_posts("40/nope?x=y,");
    assert!(session.packets()[0].ends_with(",{\"message\":\"Invalid namespace\"}"));
    session.assert_hears(&publisher);
    for wish in ["40", "40{\"token\":\"abc\"}", "40/,", "40{}"] {
        let (mut socket, _) = opened_socket(gateway.address, "");
        socket.send(TEXT, wish.as_bytes());
        welcome(text(&socket.message()));
    }
}

#[test]
fn a_namespace_with_quotes_stays_one_packet() {
    let gateway = Gateway::start(&[]);
    let (mut socket, _) = opened_socket(gateway.address, "");
    socket.send(TEXT, "40/a\"b\u{1e}é,".as_bytes());
    let answer = socket.message();
    if answer.opcode == TEXT {
        assert!(answer.text().starts_with("44/a\"b"), "{answer:?}");
        assert!(answer.text().ends_with(",{\"message\":\"Invalid namespace\"}"), "{answer:?}");
        socket.send(TEXT, b"40");
        welcome(text(&socket.message()));
    } else {
        assert_eq!(answer.opcode, CLOSE, "{answer:?}");
    }
}

#[test]
fn who_leaves_the_namespace_keeps_the_engine() {
    let (gateway, publisher) = stage(&["--ping-interval=300ms"]);
    let mut socket = connected_socket(gateway.address, "");
    let mut other = connected_socket(gateway.address, "");
    socket.send(TEXT, b"41");
    // It is read before the ping that its pong causes.
    for _ in 0..2 {
        assert_eq!(text(&socket.message()), "2");
        socket.send(TEXT, b"3");
    }
    publisher.send(&[b"t", b"not wanted"]);
    while text(&other.message()) == "2" {
        other.send(TEXT, b"3");
    }
    for _ in 0..3 {
        assert_eq!(text(&socket.message()), "2");
        socket.send(TEXT, b"3");
    }
}

#[test]
fn a_frame_may_be_as_large_as_was_said() {
    let (gateway, publisher) = stage(&["--max-inbound=1000"]);
    let mut socket = connected_socket(gateway.address, "");
    let largest = format!("42[\"{}\"]", "x".repeat(1000 - 6));
    socket.send(TEXT, largest.as_bytes());
    publisher.send(&[b"t", b"1"]);
    assert_eq!(event(text(&socket.message()))[1], "1");
    socket.send(TEXT, format!("{largest} ").as_bytes());
    socket.assert_closed(1009);
}

#[test]
fn nonsense_on_the_websocket_has_the_code_that_it_has_everywhere() {
    let gateway = Gateway::start(&[]);
    let mut socket = connected_socket(gateway.address, "");
    socket.send(TEXT, b"42[\"\xff\"]");
    socket.assert_closed(1007);
    let mut socket = connected_socket(gateway.address, "");
    socket.send_bytes(&crate::support::websocket::frame(0x40 | TEXT, true, b"3")).unwrap();
    socket.assert_closed(1002);
    // Fragments are one packet.
    let mut socket = connected_socket(gateway.address, "");
    socket.send_bytes(&crate::support::websocket::frame(TEXT, false, b"42[\"a")).unwrap();
    socket.send(PING, b"between");
    socket.send_bytes(&crate::support::websocket::frame(0, true, b"\"]")).unwrap();
    assert_eq!(socket.frame().opcode, PONG);
    socket.send(CLOSE, b"\x03\xe8");
    socket.assert_closed(1000);
    gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
}
