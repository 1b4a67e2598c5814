//! Messages that wait for more (`--coalesce`), over real sockets.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::http::RECEIVED;
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::Raw;

const WAIT: Duration = Duration::from_secs(1);

#[test]
fn a_burst_waits_once_and_comes_whole_and_in_order() {
    let gateway = Gateway::start(&["--coalesce=1s"]);
    let mut client = Raw::open(gateway.address, "/ws");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    for round in 0..2 {
        let start = Instant::now();
        for number in 0..50 {
            publisher.send(&[b"t", format!("{round}.{number}").as_bytes()]);
        }
        assert_eq!(client.message().text(), format!("{round}.0"));
        assert!(start.elapsed() >= WAIT, "the first came after {:?}", start.elapsed());
        for number in 1..50 {
            assert_eq!(client.message().text(), format!("{round}.{number}"));
        }
        // Each with a wait of its own would take 50 seconds.
        assert!(start.elapsed() < 10 * WAIT, "the last came after {:?}", start.elapsed());
    }
}

#[test]
fn what_waits_when_the_gateway_stops_is_sent_before_the_goodbye() {
    let mut gateway = Gateway::start(&["--coalesce=1s"]);
    let mut client = Raw::open(gateway.address, "/ws");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    (0..3).for_each(|_| publisher.send(&[b"t", b"waits"]));
    gateway.wait_for_metric(RECEIVED, |value| value == 3.0);
    gateway.signal(Signal::TERM);
    (0..3).for_each(|_| assert_eq!(client.message().text(), "waits"));
    client.assert_closed(1001);
    assert!(gateway.exit_status().success());
}
