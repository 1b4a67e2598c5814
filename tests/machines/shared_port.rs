//! Two processes on one port, with --reuse-port.

use crate::support::http::{CLIENTS, try_get};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::wait_until;
use crate::support::websocket::Raw;

/// With so many connections each process gets some: the odds that one gets none are 1 to 2^63.
const CLIENT_COUNT: usize = 64;

#[test]
#[ignore = "long"]
fn processes_that_share_a_port_share_clients_and_each_broadcasts_everything() {
    let mut publishers = Vec::new();
    let mut endpoints = Vec::new();
    for _ in 0..2 {
        let (publisher, endpoint) = Publisher::bind_for_many("tcp://127.0.0.1:*");
        publishers.push(publisher);
        endpoints.push(endpoint);
    }
    let connect = format!("--connect={}", endpoints[0]);
    let other = format!("--connect={}", endpoints[1]);
    let metrics = "--metrics=127.0.0.1:0";
    let first = Gateway::start(&["--reuse-port", metrics, &connect, &other]);
    let listen = format!("--listen={}", first.address);
    let second = Gateway::start(&["--reuse-port", metrics, &listen, &connect, &other]);
    assert_eq!(first.address, second.address);
    let mut clients: Vec<_> =
        (0..CLIENT_COUNT).map(|_| Raw::open(first.address, "/ws?format=json")).collect();
    let counts = || [&first, &second].map(|gateway| gateway.metrics().get(CLIENTS) as usize);
    wait_until("all clients", || counts().iter().sum::<usize>() == CLIENT_COUNT);
    assert!(counts().iter().all(|&count| count > 0), "{:?}", counts());
    for publisher in &publishers {
        // Each of the two processes asks each publisher.
        (0..2).for_each(|_| drop(publisher.wait_for_subscription()));
    }
    for number in 0..100 {
        publishers[0].send(&[b"t", format!("{number}").as_bytes()]);
    }
    for client in &mut clients {
        for number in 0..100 {
            let message = client.message();
            let expected = format!("\"data\":\"{number}\"}}");
            assert!(message.text().ends_with(&expected), "{message:?}");
        }
    }
}

#[test]
#[ignore = "long"]
fn a_port_goes_on_with_the_process_that_is_left() {
    let mut first = Gateway::start(&["--reuse-port", "--drain=100ms"]);
    let listen = format!("--listen={}", first.address);
    let second = Gateway::start(&["--reuse-port", &listen]);
    first.signal(rustix::process::Signal::TERM);
    assert_eq!(first.exit_status().code(), Some(0));
    for _ in 0..20 {
        assert_eq!(try_get(second.address, "/healthz"), Some(200));
    }
}
