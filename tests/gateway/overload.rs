//! More than there is room for: lag, memory, descriptors, addresses.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::support::host::is_hosted;
use crate::support::http::{CLIENTS, Connection, RECEIVED, closed};
use crate::support::http::{connect, connect_from, connect_narrow, try_get};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::tls::is_over_tls;
use crate::support::websocket::{CLOSE, Raw, UPGRADE, upgrade_request};
use crate::support::{TempDir, one_at_a_time, pass, wait_until};

#[test]
fn every_message_that_a_slow_client_missed_is_told() {
    const STALLED: u64 = 4000;
    const LIVE: u64 = 500;
    let gateway = Gateway::start(&["--max-lag=256KiB", "--format=json"]);
    let mut client = Raw::open_on(connect_narrow(gateway.address), "/ws");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let publish = |number: u64| {
        publisher.send(&[b"t", format!("{number} {}", "x".repeat(4000)).as_bytes()]);
    };
    (0..STALLED).for_each(publish);
    gateway.wait_for_metric(RECEIVED, |value| value == STALLED as f64);
    // The client wakes up while more messages come.
    let reader = thread::spawn(move || {
        let (mut next, mut got, mut missed) = (0, 0, 0);
        while next < STALLED + LIVE {
            let value: serde_json::Value =
                serde_json::from_slice(&client.message().payload).unwrap();
            if let Some(gap) = value.get("gap") {
                assert_eq!(gap["reason"], "lag");
                let count = gap["missed"].as_u64().unwrap();
                assert!(count > 0);
                missed += count;
                next += count;
            } else {
                let number = value["data"].as_str().unwrap().split(' ').next().unwrap();
                assert_eq!(number, next.to_string(), "a gap says exactly how many are missing");
                got += 1;
                next += 1;
            }
        }
        (got, missed)
    });
    for number in STALLED..STALLED + LIVE {
        publish(number);
        pass(Duration::from_micros(500));
    }
    let (got, missed) = reader.join().unwrap();
    eprintln!("a slow client got {got} messages and missed {missed}");
    assert_eq!(got + missed, STALLED + LIVE);
    assert!(missed > 100, "{missed}");
    assert!(gateway.metrics().get("zmq2ws_gaps_total{reason=\"lag\"}") >= 1.0);
}

#[test]
fn who_lags_too_much_is_told_1013_where_that_is_the_policy() {
    let gateway = Gateway::start(&["--max-lag=256KiB", "--slow-client=disconnect"]);
    let mut slow = Raw::open_on(connect_narrow(gateway.address), "/ws");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut number = 0_u64;
    wait_until("the slow client to lag", || {
        for _ in 0..100 {
            publisher.send(&[b"t", &[&number.to_be_bytes()[..], &[0; 4000]].concat()]);
            number += 1;
        }
        gateway.metrics().get("zmq2ws_gaps_total{reason=\"lag\"}") > 0.0
    });
    let mut next = 0_u64;
    loop {
        let frame = slow.frame();
        if frame.opcode == CLOSE {
            assert_eq!(frame.close_code(), 1013);
            break;
        }
        assert_eq!(frame.payload[..8], next.to_be_bytes(), "whole frames, in order");
        next += 1;
    }
    assert_eq!(slow.next().unwrap(), None);
    gateway.wait_for_metric(&closed("websocket", "lag"), |value| value == 1.0);
}

#[test]
fn stalled_clients_on_many_feeds_stay_within_the_memory_of_all() {
    const STALLED: usize = 40;
    const MESSAGES: u64 = 3000;
    let _turn = one_at_a_time();
    let gateway = Gateway::start(&[
        "--max-memory=8MiB",
        "--max-lag=1MiB",
        "--max-message=1MiB",
        "--rcvhwm=100",
    ]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let readers: Vec<_> = ["/ws", "/ws?topic=t", "/ws?exact=t", "/ws?topic=t&format=parts"]
        .into_iter()
        .map(|path| {
            let mut client = Raw::open(gateway.address, path);
            thread::spawn(move || {
                for number in 0..MESSAGES {
                    let frame = client.message();
                    let numbered = &frame.payload[frame.payload.len() - 3000..][..8];
                    assert_eq!(numbered, number.to_be_bytes());
                }
            })
        })
        .collect();
    let before = gateway.anonymous_bytes();
    let stalled: Vec<_> = (0..STALLED)
        .map(|number| {
            let path = format!("/ws?topic=t&exact=other-{number}");
            Raw::open_on(connect_narrow(gateway.address), &path)
        })
        .collect();
    gateway.wait_for_metric("zmq2ws_feeds", |value| value == (STALLED + 4) as f64);
    let mut highest = before;
    for number in 0..MESSAGES {
        publisher.send(&[b"t", &[&number.to_be_bytes()[..], &[0; 2992]].concat()]);
        highest = highest.max(gateway.anonymous_bytes());
    }
    for reader in readers {
        reader.join().unwrap();
    }
    highest = highest.max(gateway.anonymous_bytes());
    let metrics = gateway.metrics();
    let grown = highest - before;
    eprintln!(
        "{STALLED} stalled feeds: grown by {} KiB of 8 MiB, {} KiB held, {} gaps, {} closed",
        grown >> 10,
        metrics.get("zmq2ws_feed_bytes") / 1024.0,
        metrics.get("zmq2ws_gaps_total{reason=\"lag\"}"),
        metrics.closed("websocket", "memory"),
    );
    // Beside what is counted: libzmq's queues, and what the allocator has not given back.
    assert!(grown < 16 << 20, "grown by {grown} bytes");
    assert!(metrics.get("zmq2ws_feed_bytes") <= f64::from(8 << 20));
    let told = metrics.get("zmq2ws_gaps_total{reason=\"lag\"}");
    assert!(told + metrics.closed("websocket", "memory") >= STALLED as f64, "{told}");
    drop(stalled);
}

#[test]
fn one_address_has_its_share_of_connections() {
    let gateway = Gateway::start(&["--max-clients-per-ip=3"]);
    let from = |host: u8| connect_from([127, 0, 1, host], gateway.address);
    let mut inside: Vec<_> = (0..3).map(|_| Raw::open_on(from(1), "/ws")).collect();
    // What is refused is refused before it has asked for anything.
    let mut refused = Connection::on(from(1));
    if is_over_tls() {
        // And before there is anything to tell it by.
        assert!(refused.response(false).is_err());
    } else {
        let response = refused.response(false).unwrap();
        assert_eq!(response.status, 503);
        assert!(response.header("retry-after").is_some());
    }
    let _other = Raw::open_on(from(2), "/ws");
    assert_eq!(gateway.metrics().get("zmq2ws_connections_refused_total"), 1.0);
    // A request counts as well as a WebSocket.
    inside.pop();
    gateway.wait_for_metric(CLIENTS, |value| value == 3.0);
    let mut request = Connection::on(from(1));
    assert_eq!(request.request("GET", "/healthz", "").status, 200);
    let refused = Connection::on(from(1)).response(false);
    assert!(refused.map_or(is_over_tls(), |response| response.status == 503));
    drop(request);
    wait_until("its place to be free", || {
        let mut connection = Connection::on(from(1));
        // A refusal may come before the request is written.
        let _ = connection.stream().write_all(upgrade_request("/ws").as_bytes());
        connection.response(true).is_ok_and(|response| response.status == 101)
    });
}

#[test]
fn who_may_not_come_in_gets_no_feed_and_no_place() {
    let gateway = Gateway::start(&["--origin=https://good.example", "--max-topics=2"]);
    for (path, headers) in [
        ("/ws", "Origin: https://evil.example\r\n"),
        ("/?topic=a", "Origin: https://evil.example\r\n"),
        ("/ws?topic=a&topic=b&exact=c", "Origin: https://good.example\r\n"),
    ] {
        let mut connection = Connection::open(gateway.address);
        let response = connection.request("GET", path, &format!("{UPGRADE}{headers}"));
        assert!(matches!(response.status, 400 | 403), "{path}: {response:?}");
    }
    let metrics = gateway.metrics();
    assert_eq!((metrics.get("zmq2ws_feeds"), metrics.get(CLIENTS)), (0.0, 0.0));
    for name in metrics.names().filter(|name| name.contains("closed_total{transport=\"websocket\""))
    {
        assert_eq!(metrics.get(name), 0.0, "{name}");
    }
}

/// Downloads that nobody takes: connections that cannot be spared, unlike those that only wait.
fn stuck_downloads(gateway: &Gateway, count: usize) -> Vec<TcpStream> {
    let request = b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n";
    let stuck = (0..count).map(|_| {
        let mut stream = connect_narrow(gateway.address);
        stream.write_all(request).unwrap();
        stream
    });
    stuck.collect()
}

#[test]
fn without_descriptors_those_inside_are_served_and_nothing_spins() {
    const DESCRIPTORS: u32 = 80;
    let _turn = one_at_a_time();
    let folder = TempDir::new();
    std::fs::write(folder.file("large.bin"), vec![b'x'; 8 << 20]).unwrap();
    let args = ["--www", folder.path().to_str().unwrap(), "--write-timeout=1h"];
    let mut gateway = Gateway::start_with_descriptors(DESCRIPTORS, &args);
    let mut inside = Raw::open(gateway.address, "/ws");
    // More than the process can have.
    let stuck = stuck_downloads(&gateway, 100);
    if is_hosted() {
        // A host has accepted them: they do not wait outside, but are told.
        wait_until("no room", || try_get(gateway.address, "/healthz") == Some(503));
    } else {
        gateway.wait_for_log("nobody is accepted until");
    }
    // There is still room for a publisher.
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    for number in 0..100 {
        publisher.send(&[b"t", format!("{number}").as_bytes()]);
        assert_eq!(inside.message().text(), number.to_string());
    }
    gateway.wait_until_calm();
    let lines = gateway.log().len();
    pass(Duration::from_secs(2));
    let lines = gateway.log().len() - lines;
    assert!(lines <= 4, "{lines} lines in two seconds: {:?}", gateway.log());
    assert!(gateway.descriptors() < DESCRIPTORS as usize);
    gateway.assert_runs();
    drop(stuck);
    wait_until("an answer", || try_get(gateway.address, "/healthz") == Some(200));
    drop(inside);
}

#[test]
fn connections_that_only_wait_make_room() {
    let gateway = Gateway::start_with_descriptors(80, &["--handshake-timeout=1h"]);
    let mut inside = Raw::open(gateway.address, "/ws");
    let idle: Vec<_> = (0..200).map(|_| connect(gateway.address)).collect();
    let mut newcomer = Raw::open(gateway.address, "/ws");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher.send(&[b"t", b"through"]);
    assert_eq!(inside.message().text(), "through");
    assert_eq!(newcomer.message().text(), "through");
    drop(idle);
}
