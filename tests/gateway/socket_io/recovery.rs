//! Connection state recovery: who comes back with its pid and an offset goes on where it was.

use serde_json::{Value, json};

use crate::support::engine_io::{
    Session, connected_socket, event, opened_socket, stage, text, welcome,
};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::{BINARY, Raw, TEXT};

const ON: &str = "--socket-io-recovery";

fn send(publisher: &Publisher, numbers: std::ops::RangeInclusive<usize>) {
    for number in numbers {
        publisher.send(&[b"t", number.to_string().as_bytes()]);
    }
}

/// Enters the namespace with a pid and an offset.
fn come_back(gateway: &Gateway, wish: &Value) -> Raw {
    let (mut socket, _) = opened_socket(gateway.address, "");
    socket.send(TEXT, format!("40{wish}").as_bytes());
    socket
}

/// The bodies of all events until the welcome, and the welcome.
fn until_welcome(socket: &mut Raw) -> (Vec<String>, Value) {
    let mut bodies = Vec::new();
    loop {
        let frame = socket.message();
        let packet = text(&frame);
        if packet.starts_with("40") {
            return (bodies, welcome(packet));
        }
        bodies.push(event(packet)[1].as_str().unwrap().to_owned());
    }
}

#[test]
fn without_the_flag_there_is_neither_pid_nor_offset() {
    let (gateway, publisher) = stage(&[]);
    let mut socket = come_back(&gateway, &json!({"pid": "x", "offset": "y"}));
    let (missed, welcome) = until_welcome(&mut socket);
    assert_eq!((missed.len(), welcome.as_object().unwrap().len()), (0, 1), "{welcome}");
    publisher.send(&[b"t", b"1"]);
    assert_eq!(text(&socket.message()), r#"42["message","1","t"]"#);
}

#[test]
fn each_event_has_its_offset() {
    let (gateway, publisher) = stage(&[ON]);
    let session = Session::open(gateway.address);
    let welcome = session.connect();
    assert_eq!(welcome.as_object().unwrap().len(), 2, "{welcome}");
    let pid = welcome["pid"].as_str().unwrap();
    assert_ne!(pid, welcome["sid"].as_str().unwrap());
    assert_ne!(pid, session.sid);
    publisher.send(&[b"t", b"1"]);
    publisher.send(&[b"t", b"\xff"]);
    let packets = session.take(3);
    let first = event(&packets[0]);
    assert_eq!(
        (&first[1], &first[2], first.as_array().unwrap().len()),
        (&json!("1"), &json!("t"), 4)
    );
    let offset = first[3].as_str().unwrap();
    let epoch = offset.strip_suffix("-1").unwrap();
    let binary: Value = serde_json::from_str(packets[1].strip_prefix("451-").unwrap()).unwrap();
    let placeholder = json!({"_placeholder": true, "num": 0});
    assert_eq!(binary, json!(["message", placeholder, "t", format!("{epoch}-2")]));
    assert_eq!(packets[2], "b/w==");
}

#[test]
fn who_comes_back_gets_exactly_what_it_missed() {
    let (gateway, publisher) = stage(&[ON]);
    let (mut socket, _) = opened_socket(gateway.address, "");
    socket.send(TEXT, b"40");
    let pid = welcome(text(&socket.message()))["pid"].clone();
    send(&publisher, 1..=3);
    let mut offset = Value::Null;
    for _ in 1..=3 {
        offset = event(text(&socket.message()))[3].clone();
    }
    // The old connection is still there: nobody has to notice its end first.
    send(&publisher, 4..=9);
    gateway.wait_for_metric("zmq2ws_messages_received_total", |count| count == 9.0);
    let mut again = come_back(&gateway, &json!({"pid": pid, "offset": offset}));
    let (missed, welcome) = until_welcome(&mut again);
    assert_eq!(welcome["pid"], pid, "recovered");
    assert_eq!(missed, ["4", "5", "6", "7", "8", "9"]);
    send(&publisher, 10..=11);
    for number in 10..=11 {
        assert_eq!(event(text(&again.message()))[1], number.to_string());
    }
    // Over polling, and after nothing.
    drop((socket, again));
    let session = Session::open(gateway.address);
    session.assert_posts(&format!("40{}", json!({"pid": pid, "offset": offset})));
    let packets = session.take(9);
    assert_eq!(event(&packets[0])[1], "4");
    assert_eq!(event(&packets[7])[1], "11");
    assert_eq!(crate::support::engine_io::welcome(&packets[8])["pid"], pid);
}

#[test]
fn who_missed_nothing_is_recovered_too() {
    let (gateway, publisher) = stage(&[ON]);
    let (mut socket, _) = opened_socket(gateway.address, "");
    socket.send(TEXT, b"40");
    let pid = welcome(text(&socket.message()))["pid"].clone();
    send(&publisher, 1..=1);
    let offset = event(text(&socket.message()))[3].clone();
    let mut again = come_back(&gateway, &json!({"pid": pid, "offset": offset}));
    let (missed, welcome) = until_welcome(&mut again);
    assert_eq!((missed.len(), &welcome["pid"]), (0, &pid));
    send(&publisher, 2..=2);
    assert_eq!(event(text(&again.message()))[1], "2");
}

#[test]
fn what_was_missed_may_be_binary_or_large() {
    let (gateway, publisher) = stage(&[ON]);
    let (mut socket, _) = opened_socket(gateway.address, "");
    socket.send(TEXT, b"40");
    let pid = welcome(text(&socket.message()))["pid"].clone();
    send(&publisher, 1..=1);
    let offset = event(text(&socket.message()))[3].clone();
    drop(socket);
    let large = "x".repeat(2_000_000);
    publisher.send(&[b"t", b"\xff"]);
    publisher.send(&[b"t", large.as_bytes()]);
    gateway.wait_for_metric("zmq2ws_messages_received_total", |count| count == 3.0);
    let mut again = come_back(&gateway, &json!({"pid": pid, "offset": offset}));
    assert!(text(&again.message()).starts_with("451-"));
    assert_eq!(again.message().opcode, BINARY);
    assert!(event(text(&again.message()))[1] == large.as_str());
    assert_eq!(welcome(text(&again.message()))["pid"], pid);
}

#[test]
fn what_nobody_knows_begins_afresh() {
    let (gateway, publisher) = stage(&[ON, "--history=2"]);
    let (mut socket, _) = opened_socket(gateway.address, "");
    socket.send(TEXT, b"40");
    let pid = welcome(text(&socket.message()))["pid"].clone();
    send(&publisher, 1..=5);
    let offset = event(text(&socket.message()))[3].clone();
    let epoch = offset.as_str().unwrap().strip_suffix("-1").unwrap();
    for _ in 2..=5 {
        socket.message();
    }
    for wish in [
        json!({"pid": "unknown", "offset": format!("{epoch}-4")}),
        json!({"pid": pid, "offset": "zzzzzzzz-4"}),
        json!({"pid": pid, "offset": format!("{epoch}-1")}),
        json!({"pid": pid, "offset": format!("{epoch}-99")}),
        json!({"pid": pid, "offset": "nonsense"}),
        json!({"pid": pid, "offset": ""}),
        json!({"pid": pid, "offset": 4}),
        json!({"pid": 7, "offset": format!("{epoch}-4")}),
        json!({"pid": null, "offset": null}),
        json!({"pid": "", "offset": format!("{epoch}-4")}),
        json!({"pid": [pid], "offset": {}}),
    ] {
        let mut again = come_back(&gateway, &wish);
        let frame = again.message();
        let fresh = welcome(text(&frame));
        assert!(fresh["pid"].is_string(), "{wish}: {fresh}");
        assert_ne!(fresh["pid"], pid, "{wish}");
    }
}

#[test]
fn who_had_no_event_yet_is_served() {
    let (gateway, publisher) = stage(&[ON]);
    let (mut socket, _) = opened_socket(gateway.address, "");
    socket.send(TEXT, b"40");
    let pid = welcome(text(&socket.message()))["pid"].clone();
    let mut again = come_back(&gateway, &json!({"pid": pid}));
    // Recovered or not, it is told which, and gets what comes.
    assert!(until_welcome(&mut again).1["pid"].is_string());
    send(&publisher, 1..=1);
    assert_eq!(event(text(&again.message()))[1], "1");
}

#[test]
fn a_restart_is_no_recovery() {
    let (gateway, publisher) = stage(&[ON]);
    let (mut socket, _) = opened_socket(gateway.address, "");
    socket.send(TEXT, b"40");
    let pid = welcome(text(&socket.message()))["pid"].clone();
    send(&publisher, 1..=1);
    let offset = event(text(&socket.message()))[3].clone();
    drop(gateway);
    let gateway = Gateway::start(&[ON]);
    let mut again = come_back(&gateway, &json!({"pid": pid, "offset": offset}));
    let fresh = welcome(text(&again.message()));
    assert_ne!(fresh["pid"], pid);
}

#[test]
fn the_filter_is_that_of_the_new_connection() {
    let (gateway, publisher) = stage(&[ON]);
    let mut all = connected_socket(gateway.address, "");
    send(&publisher, 1..=1);
    let first = event(text(&all.message()));
    let (mut socket, _) = opened_socket(gateway.address, "");
    socket.send(TEXT, b"40");
    let pid = welcome(text(&socket.message()))["pid"].clone();
    publisher.send(&[b"a", b"2"]);
    publisher.send(&[b"b", b"3"]);
    gateway.wait_for_metric("zmq2ws_messages_received_total", |count| count == 3.0);
    let (mut some, _) = opened_socket(gateway.address, "&topic=b");
    some.send(TEXT, format!("40{}", json!({"pid": pid, "offset": first[3]})).as_bytes());
    assert_eq!(until_welcome(&mut some).0, ["3"]);
}
