//! What clients make TLS keep stays within `--max-memory`, whatever they do, and takes nothing from the others.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::net::sockopt;

use crate::over_tls::{socket, websocket};
use crate::support::http::{self, CLIENTS, closed};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::Raw;
use crate::support::{one_at_a_time, wait_until};

/// An eighth of it is for unfinished requests, and half of that for what TLS keeps: some 30 records.
const MEMORY: &str = "--max-memory=8MiB";
const HELD_BYTES_MAX: usize = 512 << 10;
const COUNT: usize = 100;

/// A socket whose system takes a few KiB only until somebody reads.
fn narrow_socket(address: SocketAddr) -> TcpStream {
    let socket = http::socket();
    sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    socket.into()
}

#[test]
fn half_records_stay_within_the_memory_and_others_are_served() {
    let _turn = one_at_a_time();
    let gateway = Gateway::start_secure(&[MEMORY, "--max-message=1MiB"]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut witness = Raw::open(gateway.address, "/ws");
    let mut hostile: Vec<_> = (0..COUNT).map(|_| websocket(socket(gateway.address))).collect();
    let before = gateway.anonymous_bytes();
    let mut half = vec![23, 3, 3, 0x40, 0];
    half.resize(16_000, 0);
    for client in &mut hostile {
        client.sock.write_all(&half).unwrap();
    }
    gateway.wait_for_metric(&closed("websocket", "memory"), |value| value >= 60.0);
    let held = gateway.metrics().get("zmq2ws_feed_bytes");
    assert!(held > 16_000.0 && held <= HELD_BYTES_MAX as f64, "{held} bytes are held");
    let grown = gateway.anonymous_bytes().saturating_sub(before);
    assert!(grown < 1 << 20, "{grown} bytes more");
    // Who is closed for it is told.
    let mut last = Vec::new();
    hostile[0].read_to_end(&mut last).unwrap();
    assert!(last.ends_with(&[0x88, 2, 0x03, 0xf5]), "{last:?}");
    // Nor is anybody else's request one too many.
    let mut newcomer = Raw::open(gateway.address, "/ws");
    publisher.send(&[b"t", b"hello"]);
    assert_eq!([witness.message().text(), newcomer.message().text()], ["hello"; 2]);
}

#[test]
fn records_that_nobody_takes_stay_within_the_memory_and_others_are_served() {
    const STALLED: usize = 150;
    let _turn = one_at_a_time();
    let gateway = Gateway::start_secure(&[MEMORY, "--max-lag=256KiB", "--max-message=1MiB"]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut witness = Raw::open(gateway.address, "/ws");
    let _hostile: Vec<_> =
        (0..STALLED).map(|_| websocket(narrow_socket(gateway.address))).collect();
    gateway.wait_for_metric(CLIENTS, |value| value == (STALLED + 1) as f64);
    let before = gateway.anonymous_bytes();
    let (mut number, mut most_held) = (0_u32, 0.0);
    wait_until("those who take nothing to be closed", || {
        for _ in 0..10 {
            publisher.send(&[b"t", &[&number.to_be_bytes()[..], &[0; 100_000]].concat()]);
            assert_eq!(witness.message().payload[..4], number.to_be_bytes());
            number += 1;
        }
        let metrics = gateway.metrics();
        most_held = metrics.get("zmq2ws_feed_bytes").max(most_held);
        metrics.closed("websocket", "memory") >= 60.0
    });
    let grown = gateway.anonymous_bytes().saturating_sub(before);
    eprintln!("{number} messages, at most {most_held} bytes counted, {grown} more in use");
    assert!(most_held <= f64::from(8 << 20) && grown < 8 << 20);
    Raw::open(gateway.address, "/ws");
}
