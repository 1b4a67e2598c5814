//! The programs in `examples/`, run as processes: with each other, with the gateway between, and with the gateway inside.

mod embedding;
mod figure;
#[path = "../../examples/tests/programs/folder.rs"]
mod folder;
mod multicast;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tungstenite::stream::MaybeTlsStream;

use crate::process::{End, Process, example_path};

/// Long enough for a loaded machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

/// One of the programs in `examples/`, which cargo builds before it runs all tests.
#[track_caller]
fn example(name: &str, args: &[&str]) -> Process {
    Process::start(example_path(name), args)
}

/// The gateway, and where it is: `127.0.0.1:PORT`, `tcp://127.0.0.1:PORT`.
fn gateway(args: &[&str]) -> (Process, String, String) {
    gateway_with(&[&["--bind=tcp://127.0.0.1:*"], args].concat())
}

/// As [`gateway`], at an endpoint that the arguments name.
fn gateway_with(args: &[&str]) -> (Process, String, String) {
    let args = [&["--listen=127.0.0.1:0"], args].concat();
    let gateway = Process::start(env!("CARGO_BIN_EXE_zmq2ws"), &args);
    let address = gateway.printed("page ").replace("http://", "");
    let endpoint = gateway.printed("zeromq ").rsplit(' ').next().unwrap().to_owned();
    (gateway, address, endpoint)
}

/// What a WebSocket client is sent in the format `json`, until it is closed.
fn messages(url: &str) -> impl Iterator<Item = Value> {
    let (mut socket, _) = tungstenite::connect(url).unwrap();
    if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
        TcpStream::set_read_timeout(stream, Some(PATIENCE)).unwrap();
    }
    std::iter::from_fn(move || {
        loop {
            match socket.read().unwrap() {
                tungstenite::Message::Text(text) => {
                    return Some(serde_json::from_str(&text).unwrap());
                }
                tungstenite::Message::Close(_) => return None,
                _ => {}
            }
        }
    })
}

fn metrics(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A counter of the gateway.
#[track_caller]
fn metric(address: &str, name: &str) -> u64 {
    let metrics = metrics(address);
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

/// Waits for a metric of the gateway to have `value`.
#[track_caller]
fn wait_for_metric(address: &str, name: &str, value: &str) {
    let line = format!("\n{name} {value}\n");
    wait_until(&line, || metrics(address).contains(&line));
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for: {what}");
        thread::yield_now();
    }
}

const WS_CLIENTS: &str = "zmq2ws_clients{transport=\"websocket\"}";

#[track_caller]
fn assert_ended(end: &End, report: &str) {
    assert_eq!(end.code, Some(0), "{end:#?}");
    assert!(end.stderr.iter().any(|line| line.starts_with(report)), "{report:?} in {end:#?}");
}

#[test]
fn the_gateway_between_producer_and_websocket() {
    let (_gateway, address, endpoint) = gateway(&[]);
    let url = format!("ws://{address}/ws?format=json");
    let clients = [
        example("ws_consumer", &[&url, "--count=30"]),
        example("ws_consumer", &[&url, "--count=10", "--topic=h/b"]),
        example("ws_consumer", &[&format!("ws://{address}/"), "--count=30"]),
    ];
    wait_for_metric(&address, WS_CLIENTS, "3");
    let args = [
        "--connect",
        &endpoint,
        "--count=30",
        "--rate=0",
        "--host=h",
        "--topics=a,b,c",
        "--wait=40",
    ];
    assert_ended(&example("producer", &args).end(), "producer: sent 30 messages, ");
    let ends = clients.map(Process::end);
    for (end, count) in ends.iter().zip([30, 10, 30]) {
        assert_ended(end, &format!("ws_consumer: received {count} messages"));
        assert!(end.stderr.contains(&"ws_consumer: closed with 1000 ".to_owned()), "{end:#?}");
        assert_eq!(end.stdout.len(), count);
    }
    let column = |end: &End, index: usize| -> Vec<String> {
        end.stdout.iter().map(|line| line.split('\t').nth(index).unwrap().to_owned()).collect()
    };
    assert_eq!(column(&ends[0], 1), ["h/a", "h/b", "h/c"].repeat(10));
    assert_eq!(column(&ends[1], 1), ["h/b"; 10]);
    // The same message has the same id for everyone, and the same body in every format.
    assert_eq!(column(&ends[1], 0)[9], column(&ends[0], 0)[28]);
    assert_eq!(column(&ends[0], 2), column(&ends[2], 0));
}

#[test]
fn a_signal_ends_each_of_them_cleanly() {
    let (gateway, address, endpoint) = gateway(&[]);
    let ws_consumer = example("ws_consumer", &[&format!("ws://{address}/ws?format=json")]);
    let left_to_the_gateway = example("ws_consumer", &[&format!("ws://{address}/ws?format=json")]);
    wait_for_metric(&address, WS_CLIENTS, "2");
    let producer = example("producer", &["--connect", &endpoint, "--rate=100", "--wait=40"]);
    let consumer = example("consumer", &["--bind=tcp://127.0.0.1:*"]);
    consumer.said("consumer: bound to");
    ws_consumer.printed("");
    left_to_the_gateway.printed("");
    consumer.signal(Signal::INT);
    assert_ended(&consumer.end(), "consumer: received 0 messages, ");
    producer.signal(Signal::INT);
    assert_ended(&producer.end(), "producer: sent ");
    ws_consumer.signal(Signal::TERM);
    let ws_consumer = ws_consumer.end();
    assert_ended(&ws_consumer, "ws_consumer: received ");
    assert!(ws_consumer.stderr.contains(&"ws_consumer: closed with 1000 ".to_owned()));
    gateway.signal(Signal::INT);
    assert_eq!(gateway.end().code, Some(0));
    assert_ended(&left_to_the_gateway.end(), "ws_consumer: closed with 1001");
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let (_gateway, address, _) = gateway(&[]);
    let refused = format!("ws://{address}/ws?format=xml");
    // The port of a connection that is open is nobody's to listen on.
    let connection = TcpStream::connect(&address).unwrap();
    let nobody = connection.local_addr().unwrap();
    for (name, args, reason) in [
        ("ws_consumer", [refused.as_str()], "refused with 400 Bad Request: unknown format"),
        ("ws_consumer", [&format!("ws://{nobody}/")], "ws://127.0.0.1:"),
        ("producer", ["--bind=tcp://192.0.2.1:1"], "cannot bind tcp://192.0.2.1:1: "),
        ("consumer", ["--bind=ipc:///dev/null"], "cannot bind ipc:///dev/null: "),
    ] {
        let end = example(name, &args).end();
        assert_eq!(end.code, Some(1), "{name} {args:?}: {end:#?}");
        let line = end.stderr.last().unwrap();
        assert!(line.starts_with(name) && line.contains(reason), "{name} {args:?}: {end:#?}");
        assert!(end.stdout.is_empty(), "{end:#?}");
    }
}

#[test]
fn the_demo_is_live_at_once() {
    let (gateway, address, _) = gateway(&["--demo"]);
    let url = format!("ws://{address}/ws?format=json");
    let all = example("ws_consumer", &[&url, "--count=20"]);
    let some = example("ws_consumer", &[&url, "--count=2", "--topic=weather."]);
    let all = all.end();
    assert_ended(&all, "ws_consumer: received 20 messages");
    let known = ["weather.", "stock.", "plant/", "log.", "demo."];
    for line in &all.stdout {
        let [id, topic, body] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert!(id.contains('-') && known.iter().any(|start| topic.starts_with(start)), "{line}");
        assert_eq!(
            serde_json::from_str::<Value>(body).is_ok(),
            !topic.starts_with("log."),
            "{line}"
        );
    }
    let some = some.end();
    assert_ended(&some, "ws_consumer: received 2 messages");
    assert!(some.stdout.iter().all(|line| line.contains("\tweather.")), "{some:#?}");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.end().code, Some(0));
}
