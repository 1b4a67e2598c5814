//! How many there may be, how much is kept for them, and what happens to them at the end.

use std::time::Instant;

use rustix::process::Signal;

use crate::support::engine_io::{
    CLIENTS, POLLING, Session, barrier, connected_socket, opened_socket, packets, stage, text,
};
use crate::support::http::{Connection, get, wait_for_metric};
use crate::support::process::Gateway;
use crate::support::websocket::TEXT;
use crate::support::{PATIENCE, one_at_a_time};

#[test]
fn abandoned_sessions_make_room() {
    let gateway = Gateway::start(&["--max-clients=20", "--handshake-timeout=200ms"]);
    let mut refused = 0;
    for _ in 0..30 {
        refused += usize::from(get(gateway.address, POLLING).status == 503);
    }
    assert!(refused > 0, "{refused}");
    gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
    Session::connected(gateway.address, "");
}

#[test]
fn so_many_sessions_from_one_address() {
    let gateway = Gateway::start(&["--max-clients-per-ip=4"]);
    // Connections that end are no use here: it is the sessions that count.
    let statuses: Vec<_> = (0..8).map(|_| get(gateway.address, POLLING).status).collect();
    assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), 4, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|&&status| status == 503).count(), 4, "{statuses:?}");
}

#[test]
fn who_never_fetches_costs_no_more_than_its_share() {
    let _turn = one_at_a_time();
    let (gateway, publisher) = stage(&["--max-lag=64KiB", "--history=0"]);
    let sessions: Vec<_> = (0..50).map(|_| Session::connected(gateway.address, "")).collect();
    let before = gateway.anonymous_bytes();
    let body = vec![b'x'; 10_000];
    for round in 1..=50 {
        (0..100).for_each(|_| publisher.send(&[b"t", &body]));
        // What waits in ZeroMQ's queues is not the sessions'.
        let sent = f64::from(round * 100);
        gateway.wait_for_metric("zmq2ws_messages_received_total", |count| count == sent);
    }
    let held = gateway.anonymous_bytes().saturating_sub(before);
    assert!(held < 16 << 20, "{held} bytes more");
    let mut last = String::new();
    publisher.send(&[b"t", b"last"]);
    while !last.contains("last") {
        last = sessions[0].packets().pop().unwrap();
    }
}

#[test]
fn all_sessions_together_stay_within_the_memory_that_there_is() {
    let _turn = one_at_a_time();
    let limits = ["--max-memory=32MiB", "--max-clients=100000", "--handshake-timeout=60s"];
    let gateway = Gateway::start(&limits);
    let before = gateway.anonymous_bytes();
    let mut connection = Connection::open(gateway.address);
    for number in 0..20_000 {
        // Each asks for something else.
        let path = format!("{POLLING}&topic=a{number}&topic=b{number}");
        let response = connection.request("GET", &path, "");
        assert!([200, 503].contains(&response.status), "{}", response.status);
        if response.header("connection") == Some("close") {
            connection = Connection::open(gateway.address);
        }
    }
    let held = gateway.anonymous_bytes().saturating_sub(before);
    assert!(held < 40 << 20, "{held} bytes more");
    assert_eq!(get(gateway.address, "/healthz").status, 200);
}

#[test]
fn at_the_end_everyone_may_come_back() {
    let (mut gateway, publisher) = stage(&["--drain=3s"]);
    let polling = Session::connected(gateway.address, "");
    let idle = Session::connected(gateway.address, "");
    let mut socket = connected_socket(gateway.address, "");
    let upgraded = Session::connected(gateway.address, "");
    let mut upgraded_socket = upgraded.probed();
    upgraded_socket.send(TEXT, b"5");
    let probing = Session::connected(gateway.address, "");
    let _probe = probing.probed();
    let (_opened, _) = opened_socket(gateway.address, "");
    publisher.send(&[b"t", b"owed"]);
    assert_eq!(polling.take(1).len(), 1);
    let mut waiting = polling.ask();
    let start = Instant::now();
    gateway.signal(Signal::TERM);
    assert_eq!(packets(&waiting.response(false).unwrap()), ["1"]);
    for socket in [&mut socket, &mut upgraded_socket] {
        assert!(text(&socket.frame()).contains("owed"), "what it is owed first");
        socket.assert_closed(1001);
    }
    drop(idle);
    assert!(gateway.exit_status().success());
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
}

#[test]
fn nobody_begins_while_the_gateway_stops() {
    let mut gateway = Gateway::start(&["--drain=2s", "--metrics=127.0.0.1:0"]);
    let session = Session::connected(gateway.address, "");
    let mut connection = Connection::open(gateway.address);
    connection.send(format!("GET {POLLING} HTTP/1.1\r\nHost: a\r\n"));
    barrier(gateway.address);
    let mut waiting = session.ask();
    gateway.signal(Signal::TERM);
    assert_eq!(packets(&waiting.response(false).unwrap()), ["1"]);
    let _ = std::io::Write::write_all(&mut connection.stream(), b"\r\n");
    if let Ok(response) = connection.response(false) {
        assert_eq!(response.status, 503, "{response:?}");
    }
    assert!(gateway.exit_status().success());
}

#[test]
fn a_session_holds_no_connection_and_no_descriptor() {
    let gateway = Gateway::start(&[]);
    barrier(gateway.address);
    let idle = crate::support::wait_for("all connections to be closed", || {
        let first = gateway.descriptors();
        (first == gateway.descriptors()).then_some(first)
    });
    let _sessions: Vec<_> = (0..100).map(|_| Session::connected(gateway.address, "")).collect();
    wait_for_metric(gateway.address, CLIENTS, |count| count == 100.0);
    crate::support::wait_until("no descriptor is held", || gateway.descriptors() <= idle + 10);
}
