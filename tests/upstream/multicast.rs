//! Multicast end to end, by epgm: over loopback, and between two hosts. What a build without it says is in `tests/cli/security.rs`
//! and in `examples/tests/programs/show.rs`.

use std::net::UdpSocket;
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{Process, example_path};
use crate::support::hosts::Network;
use crate::support::process::{Gateway, command};
use crate::support::websocket::Raw;
use crate::support::{TempDir, pass};
use crate::upstream::has;

const LINES: u64 = 2000;

/// What a gateway and a consumer are asked for: the producer's other file is nobody's wish.
const TOPIC: &str = "h/wanted";

/// The producer of `examples/`, which multicasts the numbers up to `LINES` and goes on following the files.
fn start_producer(folder: &TempDir, endpoint: &str) -> Process {
    let lines: String = (0..LINES).map(|number| format!("{number}\n")).collect();
    let files = ["wanted", "unwanted"].map(|name| folder.file(name));
    files.iter().for_each(|file| std::fs::write(file, &lines).unwrap());
    let args = ["--files", &files[0], &files[1], "--lines=all", "--host=h", "--rate=2000"];
    let args = [&args[..], &["--threads=2", "--connect", endpoint]].concat();
    Process::start(example_path("producer"), &args)
}

#[track_caller]
fn assert_ends(producer: Process) {
    producer.signal(Signal::INT);
    let end = producer.end();
    assert_eq!(end.code, Some(0), "{end:#?}");
    for report in ["producer: sent ", "producer: dropped 0 messages"] {
        assert!(end.stderr.iter().any(|line| line.starts_with(report)), "{end:#?}");
    }
}

/// Reads every line, none missing. In the middle, something may happen.
fn read_lines(client: &mut Raw, in_the_middle: impl FnOnce()) {
    let mut assert_next = |number: u64| {
        assert_eq!(client.message().text(), number.to_string(), "every line once and in order");
    };
    (0..LINES / 2).for_each(&mut assert_next);
    in_the_middle();
    (LINES / 2..LINES).for_each(&mut assert_next);
}

/// A port that nobody uses.
fn free_port() -> u16 {
    UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn epgm_over_loopback_from_producer_to_websocket() {
    if !has("pgm", "epgm over loopback") {
        return;
    }
    let folder = TempDir::new();
    let endpoint = format!("epgm://127.0.0.1;239.192.1.1:{}", free_port());
    let connect = format!("--connect={endpoint}");
    // Any number of processes may listen on one host.
    let subscribe = format!("--subscribe={TOPIC}");
    let gateways = [&subscribe, "--on-demand"].map(|arg| Gateway::start(&[&connect, arg]));
    let count = format!("--count={LINES}");
    let consumer = Process::start(
        example_path("consumer"),
        &["--connect", &endpoint, "--topic", TOPIC, &count],
    );
    consumer.said("consumer: connecting to");
    let path = format!("/ws?topic={TOPIC}");
    let clients = gateways.each_ref().map(|gateway| Raw::open(gateway.address, &path));
    let producer = start_producer(&folder, &endpoint);
    for mut client in clients {
        read_lines(&mut client, || {});
    }
    let lines = consumer.end().stdout;
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("{TOPIC}\t{number}"));
    }
    assert_eq!(lines.len() as u64, LINES);
    assert_ends(producer);
}

#[test]
fn epgm_between_two_hosts_repairs_what_is_lost() {
    const TEST: &str = "epgm between two hosts";
    if !has("pgm", TEST) {
        return;
    }
    let mut network = Network::new();
    if !network.has_links_for(TEST) {
        return;
    }
    let [gateway_host, producer_host] = [network.add_host(), network.add_host()];
    let endpoint = |ip| format!("epgm://{ip};239.192.1.1:5555");
    let connect = format!("--connect={}", endpoint(gateway_host.ip()));
    let subscribe = format!("--subscribe={TOPIC}");
    let gateway = gateway_host.run(|| Gateway::start(&[&connect, &subscribe]));
    let folder = TempDir::new();
    let mut client = gateway_host.run(|| Raw::open(gateway.address, "/ws"));
    let producer = producer_host.run(|| start_producer(&folder, &endpoint(producer_host.ip())));
    read_lines(&mut client, || {
        // Some hundred datagrams are lost, and repaired.
        network.set_link(&gateway_host, false);
        pass(Duration::from_millis(500));
        network.set_link(&gateway_host, true);
    });
    assert_ends(producer);
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
