//! Datagrams to a group on the loopback interface, and what strangers send there.

use std::net::UdpSocket;

use rustix::process::Signal;

use crate::folder::Folder;
use crate::{assert_said, consumer, producer};

#[test]
fn a_group_hears_files_and_ignores_what_is_none_of_its_datagrams() {
    const LINES: usize = 300;
    let folder = Folder::new();
    let text: String = (0..LINES).map(|number| format!("{number}\n")).collect();
    folder.append("a.log", &text);
    folder.append("b.log", &("x".repeat(9000) + "\n"));
    let first = consumer(&["--connect=udp://127.0.0.1;239.192.71.3:0"]);
    let group = first.said("consumer: listening on");
    let second = consumer(&["--connect", &group, "--topic=h/a", "--json"]);
    second.said("consumer: listening on");
    let count = format!("--count={}", LINES + 1);
    let producer = producer(&[
        "--host=h",
        "--files",
        &folder.path("*.log"),
        "--lines=all",
        "--rate=2000",
        &count,
        "--connect",
        &group,
    ]);
    let end = producer.end();
    assert_said(&end, &format!("producer: sent {LINES} messages, "));
    assert_said(&end, "producer: dropped 1 messages: 1 too long for a datagram");

    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = group.rsplit(';').next().unwrap();
    for datagram in [&b""[..], b"\xffshort", b"\x03endlast"] {
        stranger.send_to(datagram, address).unwrap();
    }
    let lines = crate::lines(&first, LINES + 1);
    for (number, line) in lines[..LINES].iter().enumerate() {
        assert_eq!(*line, format!("h/a.log\t{number}"));
    }
    assert_eq!(lines[LINES], "end\tlast");
    let lines = crate::lines(&second, LINES);
    assert_eq!(lines[LINES - 1], format!(r#"{{"topic":"h/a.log","data":"{}"}}"#, LINES - 1));
    for consumer in [&first, &second] {
        consumer.signal(Signal::INT);
    }
    let end = first.end();
    assert_said(&end, &format!("consumer: received {} messages, ", LINES + 1));
    assert_said(&end, "consumer: datagrams: 0 that the system had no room for, 2 malformed");
    assert_said(&second.end(), &format!("consumer: received {LINES} messages, "));
}

#[test]
fn datagrams_to_one_host_need_no_group() {
    let consumer = consumer(&["--connect=udp://127.0.0.1:0", "--count=5"]);
    let endpoint = consumer.said("consumer: listening on");
    let producer = producer(&["--demo", "--count=5", "--rate=0", "--connect", &endpoint]);
    assert_said(&producer.end(), "producer: sent 5 messages, ");
    assert_eq!(consumer.end().stdout.len(), 5);
}
