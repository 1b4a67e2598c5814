//! From polling to WebSocket: nothing lost, nothing twice, and back where it fails.

use std::time::{Duration, Instant};

use crate::support::engine_io::{
    CLIENTS, Session, assert_refused, barrier, body, packets, stage, text, welcome,
};
use crate::support::http::{Connection, reset};
use crate::support::process::Gateway;
use crate::support::websocket::{BINARY, CLOSE, PING, PONG, Raw, TEXT};

/// Fails unless the next thing is the end of this WebSocket.
#[track_caller]
fn assert_over(socket: &mut Raw) {
    if let Ok(Some(frame)) = socket.next() {
        assert_eq!(frame.opcode, CLOSE, "{frame:?}");
    }
}

/// When this returns the gateway has read what came on this WebSocket.
#[track_caller]
fn settle(socket: &mut Raw) {
    socket.send(PING, b"settled");
    let frame = socket.frame();
    assert_eq!((frame.opcode, &*frame.payload), (PONG, &b"settled"[..]));
}

#[test]
fn the_whole_way() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::open(gateway.address);
    session.assert_posts("40");
    let mut socket = session.socket();
    socket.send(TEXT, b"2probe");
    assert_eq!(text(&socket.frame()), "3probe");
    welcome(&session.packets()[0]);
    // What comes before the switch goes the old way.
    publisher.send(&[b"t", b"1"]);
    assert_eq!(body(&session.take(1)[0]), "1");
    let waiting = session.get();
    assert_eq!(packets(&waiting), ["6"]);
    socket.send(TEXT, b"5");
    publisher.send(&[b"t", b"2"]);
    assert_eq!(body(text(&socket.frame())), "2");
    assert_eq!(gateway.metrics().get(CLIENTS), 1.0);
    // The ping comes on the WebSocket now, and messages go on.
    for number in 0..1000 {
        publisher.send(&[b"t", number.to_string().as_bytes()]);
    }
    for number in 0..1000 {
        assert_eq!(body(text(&socket.frame())), number.to_string());
    }
}

#[test]
fn a_probe_ends_the_request_that_waits() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::connected(gateway.address, "");
    let mut waiting = session.ask();
    let mut socket = session.probed();
    assert_eq!(packets(&waiting.response(false).unwrap()), ["6"]);
    // Nothing but the answer comes on the WebSocket.
    publisher.send(&[b"t", b"1"]);
    gateway.wait_for_metric("zmq2ws_messages_received_total", |count| count == 1.0);
    settle(&mut socket);
    assert_eq!(body(&session.take(1)[0]), "1");
    settle(&mut socket);
}

#[test]
fn what_nobody_fetched_comes_on_the_websocket_in_order() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::connected(gateway.address, "");
    let mut socket = session.probed();
    for number in 0..100 {
        publisher.send(&[b"t", number.to_string().as_bytes()]);
    }
    gateway.wait_for_metric("zmq2ws_messages_received_total", |count| count == 100.0);
    settle(&mut socket);
    socket.send(TEXT, b"5");
    for number in 100..200 {
        publisher.send(&[b"t", number.to_string().as_bytes()]);
    }
    for number in 0..200 {
        assert_eq!(body(text(&socket.frame())), number.to_string());
    }
}

#[test]
fn a_binary_event_that_waits_comes_in_frames() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::connected(gateway.address, "");
    let mut socket = session.probed();
    publisher.send(&[b"t", b"\xff\x00"]);
    gateway.wait_for_metric("zmq2ws_messages_received_total", |count| count == 1.0);
    socket.send(TEXT, b"5");
    assert!(text(&socket.frame()).starts_with("451-[\"message\","));
    let frame = socket.frame();
    assert_eq!((frame.opcode, &*frame.payload), (BINARY, &b"\xff\x00"[..]));
}

#[test]
fn who_switches_without_waiting_for_the_answer() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::connected(gateway.address, "");
    let mut waiting = session.ask();
    let mut socket = session.socket();
    let mut both = crate::support::websocket::frame(TEXT, true, b"2probe");
    both.extend(crate::support::websocket::frame(TEXT, true, b"5"));
    socket.send_bytes(&both).unwrap();
    assert_eq!(text(&socket.frame()), "3probe");
    assert_eq!(packets(&waiting.response(false).unwrap()), ["6"]);
    publisher.send(&[b"t", b"1"]);
    assert_eq!(body(text(&socket.frame())), "1");
}

#[test]
fn who_enters_the_namespace_on_the_websocket() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::open(gateway.address);
    let mut socket = session.probed();
    socket.send(TEXT, b"5");
    socket.send(TEXT, b"40");
    welcome(text(&socket.frame()));
    publisher.send(&[b"t", b"1"]);
    assert_eq!(body(text(&socket.frame())), "1");
}

#[test]
fn a_request_that_waits_at_the_switch_gets_nothing_but_its_end() {
    let (gateway, publisher) = stage(&[]);
    for _ in 0..20 {
        let session = Session::connected(gateway.address, "");
        let mut socket = session.probed();
        // During a probe it is held for a moment only, or it waits until the switch.
        let mut waiting = session.ask();
        socket.send(TEXT, b"5");
        settle(&mut socket);
        publisher.send(&[b"t", b"1"]);
        assert_eq!(packets(&waiting.response(false).unwrap()), ["6"]);
        assert_eq!(body(text(&socket.frame())), "1");
    }
}

#[test]
fn requests_during_a_probe_come_back_but_not_in_a_busy_loop() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::connected(gateway.address, "");
    let _probed = session.probed();
    let start = Instant::now();
    let mut answers = 0;
    while start.elapsed() < Duration::from_millis(600) {
        assert_eq!(session.packets(), ["6"]);
        answers += 1;
    }
    assert!((2..=12).contains(&answers), "{answers} answers in {:?}", start.elapsed());
    // A message does not wait for that.
    session.assert_hears(&publisher);
}

#[test]
fn a_websocket_that_goes_astray_leaves_the_session_to_poll() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::connected(gateway.address, "");
    for (opcode, payload) in [
        (TEXT, &b"2"[..]),
        (TEXT, b"2prob"),
        (TEXT, b"2probes"),
        (TEXT, b"5"),
        (TEXT, b"40"),
        (TEXT, b"42[\"a\"]"),
        (TEXT, b""),
        (TEXT, b"x"),
        (BINARY, b"2probe"),
        (TEXT, &[b'x'; 5_000]),
        (TEXT, b"\xff"),
        (CLOSE, b"\x03\xe8"),
    ] {
        let mut socket = session.socket();
        socket.send(opcode, payload);
        assert_over(&mut socket);
        session.assert_hears(&publisher);
    }
    for (opcode, payload) in [(TEXT, &b"2probe"[..]), (TEXT, b"3"), (TEXT, b"40"), (BINARY, b"5")] {
        let mut socket = session.probed();
        socket.send(opcode, payload);
        // A second probe may be answered; then the session still polls.
        if payload != b"2probe" {
            assert_over(&mut socket);
        }
        session.assert_hears(&publisher);
        drop(socket);
        barrier(gateway.address);
        // The end of the last one is noticed before the next one comes.
        crate::support::wait_until("room for another", || {
            let mut next = session.socket();
            next.send(TEXT, b"2probe");
            matches!(next.next(), Ok(Some(frame)) if frame.opcode == TEXT)
        });
        session.assert_hears(&publisher);
        crate::support::wait_until("the room is free again", || {
            let mut next = session.socket();
            next.send(PING, b"x");
            matches!(next.next(), Ok(Some(frame)) if frame.opcode == PONG)
        });
        barrier(gateway.address);
    }
    for is_reset in [true, false] {
        let socket = session.probed();
        if is_reset {
            reset(socket.stream);
        } else {
            drop(socket);
        }
        barrier(gateway.address);
        session.assert_hears(&publisher);
    }
    let mut socket = session.probed();
    socket.send(TEXT, b"5");
    publisher.send(&[b"t", b"1"]);
    assert_eq!(body(text(&socket.frame())), "1");
}

#[test]
fn a_second_websocket_is_closed() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::connected(gateway.address, "");
    let mut socket = session.probed();
    assert_over(&mut session.socket());
    socket.send(TEXT, b"5");
    settle(&mut socket);
    assert_over(&mut session.socket());
    publisher.send(&[b"t", b"1"]);
    assert_eq!(body(text(&socket.frame())), "1");
    assert_refused(&session.get(), 400, 3, "Bad request");
}

#[test]
fn a_post_during_the_probe_is_heard() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::open(gateway.address);
    let mut socket = session.probed();
    session.assert_posts("40");
    socket.send(TEXT, b"5");
    welcome(text(&socket.frame()));
    publisher.send(&[b"t", b"1"]);
    assert_eq!(body(text(&socket.frame())), "1");
}

#[test]
fn the_end_of_the_websocket_is_the_end_of_the_session() {
    let gateway = Gateway::start(&[]);
    for how in ["close", "reset", "end"] {
        let session = Session::connected(gateway.address, "");
        let mut socket = session.probed();
        socket.send(TEXT, b"5");
        settle(&mut socket);
        match how {
            "close" => {
                socket.send(CLOSE, b"\x03\xe8");
                socket.assert_closed(1000);
            }
            "reset" => reset(socket.stream),
            _ => drop(socket),
        }
        gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
        session.assert_gone();
    }
}

#[test]
fn the_end_of_the_session_is_the_end_of_its_probe() {
    let gateway = Gateway::start(&[]);
    let session = Session::connected(gateway.address, "");
    let mut socket = session.probed();
    session.assert_posts("1");
    assert_over(&mut socket);
    session.assert_gone();
}

#[test]
fn a_ping_goes_where_the_client_listens() {
    let gateway = Gateway::start(&["--ping-interval=400ms"]);
    let session = Session::connected(gateway.address, "");
    let mut socket = session.probed();
    while session.packets() == ["6"] {}
    socket.send(TEXT, b"5");
    socket.send(TEXT, b"3");
    assert_eq!(text(&socket.frame()), "2");
}

/// What was owed when the switch came is what is owed after it, whoever is slow.
#[test]
fn a_large_backlog_at_the_switch() {
    let (gateway, publisher) = stage(&["--max-lag=64MiB"]);
    let session = Session::connected(gateway.address, "");
    let filler = "x".repeat(100_000);
    let mut expected = 0;
    let mut expect = |text: &str| {
        assert_eq!(text.split('|').next(), Some(&*expected.to_string()));
        expected += 1;
    };
    for number in 0..200 {
        publisher.send(&[b"t", format!("{number}|{filler}").as_bytes()]);
    }
    let mut connection = Connection::open(gateway.address);
    let path = session.path();
    let answer = connection.request("GET", &path, "");
    packets(&answer).iter().for_each(|packet| expect(&body(packet)));
    let mut socket = session.probed();
    socket.send(TEXT, b"5");
    for number in 200..220 {
        publisher.send(&[b"t", number.to_string().as_bytes()]);
    }
    loop {
        let body = body(text(&socket.frame()));
        expect(&body);
        if body == "219" {
            return;
        }
    }
}
