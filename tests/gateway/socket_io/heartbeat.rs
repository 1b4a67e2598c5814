//! Pings, pongs and the time that a client has for things.

use std::time::{Duration, Instant};

use crate::support::engine_io::{
    CLIENTS, Session, barrier, connected_socket, event, opened_socket, packets, stage, text,
};
use crate::support::process::Gateway;
use crate::support::websocket::{CLOSE, Raw, TEXT};
use crate::support::{PATIENCE, pass};

const QUICK: [&str; 2] = ["--ping-interval=300ms", "--ping-timeout=30s"];

/// Everything until the end, which must come.
fn until_end(socket: &mut Raw) -> Vec<String> {
    let mut seen = Vec::new();
    while let Ok(Some(frame)) = socket.next() {
        if frame.opcode == CLOSE {
            break;
        }
        seen.push(text(&frame).to_owned());
    }
    seen
}

#[test]
fn a_ping_follows_a_pong() {
    let gateway = Gateway::start(&QUICK);
    let session = Session::connected(gateway.address, "");
    let mut socket = connected_socket(gateway.address, "");
    for _ in 0..4 {
        let start = Instant::now();
        assert_eq!(session.packets(), ["2"]);
        session.assert_posts("3");
        assert_eq!(text(&socket.frame()), "2");
        socket.send(TEXT, b"3");
        assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    }
    // The first one after the interval, not before.
    let start = Instant::now();
    let late = Gateway::start(&["--ping-interval=500ms"]);
    let mut socket = connected_socket(late.address, "");
    assert_eq!(text(&socket.frame()), "2");
    assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
}

#[test]
fn before_the_pong_there_is_no_other_ping() {
    let (gateway, publisher) = stage(&QUICK);
    let session = Session::connected(gateway.address, "");
    let mut socket = connected_socket(gateway.address, "");
    assert_eq!(text(&socket.frame()), "2");
    assert_eq!(session.packets(), ["2"]);
    pass(Duration::from_millis(900));
    publisher.send(&[b"there", b"still"]);
    assert_eq!(event(text(&socket.frame()))[1], "still");
    let event = event(&session.take(1)[0]);
    assert_eq!(event[1], "still");
}

#[test]
fn pings_are_not_starved_by_messages() {
    let (gateway, publisher) = stage(&QUICK);
    let session = Session::connected(gateway.address, "");
    let mut socket = connected_socket(gateway.address, "");
    let deadline = Instant::now() + PATIENCE;
    let (mut polled, mut pushed, mut sent) = (0, 0, 0_u64);
    while polled < 3 || pushed < 5 {
        assert!(Instant::now() < deadline, "{polled} and {pushed} pings of {sent} messages");
        for _ in 0..20 {
            publisher.send(&[b"t", sent.to_string().as_bytes()]);
            sent += 1;
        }
        for packet in session.packets() {
            if packet == "2" {
                session.assert_posts("3");
                polled += 1;
            }
        }
        for _ in 0..20 {
            if text(&socket.frame()) == "2" {
                socket.send(TEXT, b"3");
                pushed += 1;
            }
        }
    }
}

#[test]
fn who_does_not_answer_is_closed() {
    let gateway = Gateway::start(&["--ping-interval=300ms", "--ping-timeout=200ms"]);
    let session = Session::open(gateway.address);
    session.assert_posts("40");
    session.take(1);
    let (mut waiting, mut seen) = (session.ask(), Vec::new());
    while !seen.contains(&"1".to_owned()) {
        seen.extend(packets(&waiting.response(false).unwrap()));
        if !seen.contains(&"1".to_owned()) {
            waiting = session.ask();
        }
    }
    assert!(seen == ["2", "1"] || seen == ["1"], "{seen:?}");
    session.assert_gone();
    let start = Instant::now();
    let (mut socket, _) = opened_socket(gateway.address, "");
    assert_eq!(until_end(&mut socket), ["2"]);
    assert!(start.elapsed() >= Duration::from_millis(500));
    gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
    assert_eq!(gateway.metrics().closed("socketio", "ping_timeout"), 2.0);
}

/// Messages are no pong, nor is what the client has to say.
#[test]
fn only_a_pong_is_an_answer() {
    let (gateway, publisher) = stage(&["--ping-interval=200ms", "--ping-timeout=300ms"]);
    let mut socket = connected_socket(gateway.address, "");
    let deadline = Instant::now() + PATIENCE;
    while socket.send_bytes(&crate::support::websocket::frame(TEXT, true, b"42[\"a\"]")).is_ok() {
        publisher.send(&[b"t", b"x"]);
        match socket.next() {
            Ok(Some(frame)) if frame.opcode == TEXT => {}
            _ => break,
        }
        assert!(Instant::now() < deadline, "it is still there");
    }
    gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
}

#[test]
fn who_polls_no_more_is_forgotten() {
    let gateway = Gateway::start(&["--ping-interval=300ms", "--ping-timeout=200ms"]);
    let session = Session::connected(gateway.address, "");
    gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
    session.assert_gone();
    assert_eq!(gateway.metrics().get("zmq2ws_feeds"), 0.0);
}

#[test]
fn who_never_enters_the_namespace_is_closed() {
    let gateway = Gateway::start(&["--handshake-timeout=150ms"]);
    let start = Instant::now();
    let session = Session::open(gateway.address);
    let (mut socket, _) = opened_socket(gateway.address, "");
    assert_eq!(session.packets(), ["1"]);
    session.assert_gone();
    assert_eq!(until_end(&mut socket), [""; 0]);
    assert!(start.elapsed() >= Duration::from_millis(150));
    // A wish for another namespace is no entry.
    let session = Session::open(gateway.address);
    session.assert_posts("40/nope,");
    gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
}

#[test]
fn who_has_entered_may_stay() {
    let (gateway, publisher) = stage(&["--handshake-timeout=150ms"]);
    let session = Session::connected(gateway.address, "");
    let mut socket = connected_socket(gateway.address, "");
    pass(Duration::from_millis(500));
    session.assert_hears(&publisher);
    assert_eq!(event(text(&socket.frame()))[1], "still");
}

#[test]
fn an_upgrade_that_is_not_finished_is_closed_and_the_session_goes_on() {
    let (gateway, publisher) = stage(&["--handshake-timeout=150ms"]);
    let session = Session::connected(gateway.address, "");
    let mut silent = session.socket();
    assert_eq!(until_end(&mut silent), [""; 0]);
    session.assert_hears(&publisher);
    let mut probed = session.probed();
    assert_eq!(until_end(&mut probed), [""; 0]);
    session.assert_hears(&publisher);
    // There is room for another try.
    let mut socket = session.probed();
    socket.send(TEXT, b"5");
    publisher.send(&[b"t", b"1"]);
    assert_eq!(event(text(&socket.frame()))[1], "1");
    barrier(gateway.address);
}
