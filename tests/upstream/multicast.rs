//! Multicast end to end, by epgm: over loopback, and between two hosts. What a build without it says is in `tests/cli/security.rs`.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::has;
use crate::support::namespace::Namespace;
use crate::support::pass;
use crate::support::process::{Gateway, command};
use crate::support::websocket::Raw;

/// How many messages have to arrive in a row.
const MESSAGES: u64 = 1000;

/// Publishes numbers by multicast until it is told to stop: nobody says who listens.
fn publish(endpoint: &str, is_over: &AtomicBool) {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::PUB).unwrap();
    socket.set_linger(0).unwrap();
    // Kilobits a second; the default is 100.
    socket.set_rate(10_000).unwrap();
    socket.connect(endpoint).unwrap();
    for number in 0u64.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        socket.send_multipart(["weather.oslo", &number.to_string()], 0).unwrap();
        socket.send_multipart(["news", "nobody asked for this"], 0).unwrap();
        pass(Duration::from_millis(2));
    }
}

/// Reads numbers: from the first that arrives on, none may be missing. In the middle, something may happen.
fn read_numbers(mut client: Raw, in_the_middle: impl FnOnce()) {
    let mut next = || client.message().text().parse::<u64>().unwrap();
    let first = next();
    let (middle, end) = (first + MESSAGES / 2, first + MESSAGES);
    (first + 1..middle).for_each(|number| assert_eq!(next(), number));
    in_the_middle();
    (middle..end).for_each(|number| assert_eq!(next(), number));
}

/// Stops the publisher also when the reader fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A port that nobody uses.
fn free_port() -> u16 {
    UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn epgm_over_loopback() {
    if !has("pgm", "epgm over loopback") {
        return;
    }
    let endpoint = format!("epgm://127.0.0.1;239.192.1.1:{}", free_port());
    let gateway = Gateway::start(&[
        &format!("--connect={endpoint}"),
        "--subscribe=weather.",
        "--max-lag=1MiB",
    ]);
    let client = Raw::open(gateway.address, "/ws");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| publish(&endpoint, &is_over));
        let _over = Over(&is_over);
        read_numbers(client, || {});
    });
}

#[test]
fn epgm_between_two_hosts_repairs_what_is_lost() {
    const TEST: &str = "epgm between two hosts";
    if !has("pgm", TEST) {
        return;
    }
    let Some([gateway_host, publisher_host]) = Namespace::make(TEST) else { return };
    gateway_host.connect("10.77.0.1/24", &publisher_host, "10.77.0.2/24");
    let gateway = Gateway::start_on(
        &gateway_host,
        &["--connect=epgm://10.77.0.1;239.192.1.1:5555", "--subscribe=weather."],
    );
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            publisher_host.run(|| publish("epgm://10.77.0.2;239.192.1.1:5555", &is_over));
        });
        let _over = Over(&is_over);
        gateway_host.run(|| {
            read_numbers(Raw::open(gateway.address, "/ws"), || {
                // Some hundred datagrams are lost, and repaired.
                publisher_host.cut();
                pass(Duration::from_millis(500));
                publisher_host.mend();
            });
        });
    });
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    if !has("pgm", "epgm on an interface that is not there") {
        return;
    }
    for endpoint in ["epgm://no-such-0;239.192.1.1:5555", "epgm://192.0.2.1;239.192.1.1:5555"] {
        let output =
            command().args(["--listen=127.0.0.1:0", "--connect", endpoint]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("zmq2ws: cannot use ZeroMQ endpoint"), "{stderr}");
        assert!(stderr.contains(endpoint) && stderr.contains("no such interface"), "{stderr}");
    }
}
