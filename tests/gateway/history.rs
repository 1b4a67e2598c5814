//! What is kept for those who come back, who are new, and who fell behind.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::events::Events;
use crate::support::http::{Connection, RECEIVED, connect_narrow, try_connect};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::{CLOSE, Frame, PING, PONG, Raw};
use crate::support::{TempDir, pass, wait_for};

fn json(frame: &Frame) -> serde_json::Value {
    serde_json::from_slice(&frame.payload).unwrap()
}

/// The next message of a client with `format=json`: its id and its body.
fn message(client: &mut Raw) -> (String, String) {
    let value = json(&client.message());
    let text = |name: &str| value[name].as_str().unwrap_or_else(|| panic!("{value}")).to_owned();
    (text("id"), text("data"))
}

fn publish(publisher: &Publisher, topic: &str, body: &str) {
    publisher.send(&[topic.as_bytes(), body.as_bytes()]);
}

#[test]
fn who_comes_back_gets_what_it_missed_and_then_what_is_live() {
    const MISSED: u32 = 400;
    const LIVE: u32 = 2_000;
    let gateway = Gateway::start(&["--format=json", "--history=5000"]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut client = Raw::open(gateway.address, "/ws?topic=even");
    for number in 0..4 {
        publish(&publisher, ["even", "odd"][number % 2], &number.to_string());
    }
    assert_eq!(message(&mut client).1, "0");
    let (id, body) = message(&mut client);
    assert_eq!(body, "2");
    drop(client);
    for number in 4..MISSED {
        publish(&publisher, ["even", "odd"][number as usize % 2], &number.to_string());
    }
    gateway.wait_for_metric(RECEIVED, |value| value == f64::from(MISSED));
    let sender = thread::spawn(move || {
        for number in MISSED..LIVE {
            publish(&publisher, ["even", "odd"][number as usize % 2], &number.to_string());
        }
        publisher
    });
    let mut client = Raw::open(gateway.address, &format!("/ws?topic=even&since={id}"));
    for number in (4..LIVE).step_by(2) {
        assert_eq!(message(&mut client).1, number.to_string());
    }
    let _publisher = sender.join().unwrap();
    let metrics = gateway.metrics();
    assert_eq!(metrics.get("zmq2ws_history_messages"), f64::from(LIVE));
    assert!(metrics.get("zmq2ws_history_bytes") > 10_000.0);
    assert_eq!(metrics.get("zmq2ws_gaps_total{reason=\"history\"}"), 0.0);
}

#[test]
fn what_is_not_kept_any_more_is_told() {
    let gateway = Gateway::start(&["--format=json", "--history=10"]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut client = Raw::open(gateway.address, "/ws");
    publish(&publisher, "t", "0");
    let (id, _) = message(&mut client);
    (1..30).for_each(|number| publish(&publisher, "t", &number.to_string()));
    gateway.wait_for_metric(RECEIVED, |value| value == 30.0);
    for (since, missed, reason) in [
        (id.as_str(), serde_json::Value::from(19), "history"),
        ("k3x9-42", serde_json::Value::Null, "restart"),
    ] {
        let mut client = Raw::open(gateway.address, &format!("/ws?since={since}"));
        let gap = serde_json::json!({ "gap": { "missed": missed, "reason": reason } });
        assert_eq!(json(&client.message()), gap);
        (20..30).for_each(|number| assert_eq!(message(&mut client).1, number.to_string()));
        let sample = format!("zmq2ws_gaps_total{{reason=\"{reason}\"}}");
        gateway.wait_for_metric(&sample, |value| value == 1.0);
    }
}

#[test]
fn a_new_client_gets_the_last_value_of_each_topic() {
    let gateway = Gateway::start(&["--format=json", "--last-value", "--history=0"]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    for (topic, body) in [("a.x", "1"), ("b", "2"), ("a.y", "3"), ("a.x", "4"), ("c", "5")] {
        publish(&publisher, topic, body);
    }
    gateway.wait_for_metric(RECEIVED, |value| value == 5.0);
    let mut client = Raw::open(gateway.address, "/ws?topic=a.&topic=b");
    publish(&publisher, "a.y", "6");
    for body in ["2", "3", "4", "6"] {
        assert_eq!(message(&mut client).1, body);
    }
}

#[test]
fn who_falls_behind_gets_the_latest_of_each_topic_and_the_number_of_the_others() {
    const MESSAGES: u64 = 4_000;
    const TOPICS: u64 = 7;
    let gateway = Gateway::start(&["--max-lag=64KiB", "--slow-client=conflate", "--format=json"]);
    let mut client = Raw::open_on(connect_narrow(gateway.address), "/ws");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    for number in 0..MESSAGES {
        let body = format!("{number} {}", "x".repeat(4_000));
        publish(&publisher, &format!("topic {}", number % TOPICS), &body);
    }
    gateway.wait_for_metric(RECEIVED, |value| value == MESSAGES as f64);
    let (mut got, mut missed) = (Vec::new(), 0);
    while got.len() as u64 + missed < MESSAGES {
        let value = json(&client.message());
        match value["gap"]["missed"].as_u64() {
            Some(count) => missed += count,
            None => {
                let body = value["data"].as_str().unwrap();
                got.push(body.split(' ').next().unwrap().parse::<u64>().unwrap());
            }
        }
    }
    assert_eq!(got.len() as u64 + missed, MESSAGES);
    assert!(got.is_sorted() && missed > 1_000, "{missed} missed");
    assert_eq!(got[got.len() - TOPICS as usize..], Vec::from_iter(MESSAGES - TOPICS..MESSAGES));
}

/// What the clients of the next test share.
struct Place {
    address: Mutex<SocketAddr>,
    /// The gateway is dead, and not there again yet.
    is_dead: AtomicBool,
}

/// A connection of one of them.
enum Link {
    WebSocket(Raw),
    Events(Box<Events>),
    Polls(Polls),
}

/// Polls one after the other.
struct Polls {
    connection: Connection,
    /// After what the next one is to go on.
    since: Option<String>,
    /// What the last answer said and was not looked at yet.
    ready: VecDeque<serde_json::Value>,
}

impl Polls {
    fn next(&mut self) -> Option<serde_json::Value> {
        loop {
            if let Some(value) = self.ready.pop_front() {
                return Some(value);
            }
            let since = self.since.as_ref().map_or(String::new(), |id| format!("&since={id}"));
            let request = format!("GET /poll?timeout=60{since} HTTP/1.1\r\nHost: a\r\n\r\n");
            self.connection.stream().write_all(request.as_bytes()).ok()?;
            let response = self.connection.response(false).ok()?;
            assert_eq!(response.status, 200);
            let answer: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
            self.since = Some(answer["next"].as_str().unwrap().to_owned());
            if let Some(gap) = answer.get("gap") {
                self.ready.push_back(serde_json::json!({ "gap": gap }));
            }
            self.ready.extend(answer["messages"].as_array().unwrap().iter().cloned());
        }
    }
}

impl Link {
    /// Goes on after `last_id`; `None` where the gateway is gone.
    fn open(place: &Place, transport: &str, last_id: Option<&str>) -> Option<Self> {
        let address = *place.address.lock().unwrap();
        if transport == "sse" {
            let headers = last_id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
            let events = Events::try_open(address, "/sse?format=json", &headers)?;
            return Some(Self::Events(Box::new(events)));
        }
        if transport == "poll" {
            let stream = try_connect(address).ok()?;
            let (connection, since) = (Connection::on(stream), last_id.map(str::to_owned));
            return Some(Self::Polls(Polls { connection, since, ready: VecDeque::new() }));
        }
        let since = last_id.map_or(String::new(), |id| format!("&since={id}"));
        Raw::try_open(address, &format!("/ws?format=json{since}")).map(Self::WebSocket)
    }

    /// The next message or gap; `None` where the gateway was killed.
    fn next(&mut self) -> Option<serde_json::Value> {
        match self {
            Self::Events(events) => {
                let event = events.next().ok()?.expect("nobody is sent away");
                Some(serde_json::from_str(&event.data).unwrap())
            }
            Self::Polls(polls) => polls.next(),
            Self::WebSocket(client) => loop {
                let frame = client.next().ok()??;
                assert_ne!(frame.opcode, CLOSE, "nobody is sent away");
                if frame.opcode != PING {
                    return Some(json(&frame));
                }
                client.send_bytes(&[0x80 | PONG, 0x80, 0, 0, 0, 0]).ok()?;
            },
        }
    }
}

/// Takes every message until `end` comes, over as many connections as that needs, and fails unless the numbers are
/// without a hole, or a gap says where it is. Returns how many gaps there were because the gateway was new.
fn follow(place: &Place, transport: &str, hangs_up_every: usize) -> usize {
    let (mut last_id, mut next, mut restarts) = (None::<String>, None::<u64>, 0);
    loop {
        let mut link = wait_for("a gateway to connect to", || {
            Link::open(place, transport, last_id.as_deref())
        });
        for count in 1.. {
            let Some(value) = link.next() else { break };
            if let Some(gap) = value.get("gap") {
                match (gap["reason"].as_str().unwrap(), gap["missed"].as_u64()) {
                    ("restart", None) => (next, restarts) = (None, restarts + 1),
                    ("lag", Some(missed)) => next = next.map(|next| next + missed),
                    _ => panic!("everything is kept: {gap}"),
                }
                continue;
            }
            let body = value["data"].as_str().unwrap();
            if body == "end" {
                return restarts;
            }
            let number: u64 = body.parse().unwrap();
            assert_eq!(number, next.unwrap_or(number), "neither delivered nor told");
            next = Some(number + 1);
            last_id = Some(value["id"].as_str().unwrap().to_owned());
            if count % hangs_up_every == 0 {
                break;
            }
        }
        assert!(last_id.is_some() || place.is_dead.load(Ordering::Acquire), "an early end");
    }
}

#[test]
fn a_gateway_that_is_killed_under_load_loses_nothing_in_silence() {
    const CROWD: usize = 300;
    /// In equal parts, all that can resume: a ZeroMQ socket (ZWS) has no ids, and so nothing to go on after, nor is it told
    /// of what it missed.
    const TRANSPORTS: [&str; 3] = ["websocket", "sse", "poll"];
    let folder = TempDir::new();
    let bind = format!("--bind=ipc://{}", folder.file("feed"));
    let args = [bind.as_str(), "--history=1000000", "--history-bytes=64MiB"];
    let gateway = Gateway::start(&args);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let address = Mutex::new(gateway.address);
    let place = Arc::new(Place { address, is_dead: AtomicBool::new(false) });
    let clients: Vec<_> = (0..CROWD)
        .map(|number| {
            let place = Arc::clone(&place);
            let transport = TRANSPORTS[number % TRANSPORTS.len()];
            // Some hang up every now and then by themselves.
            let hangs_up_every = if number % 3 == 0 { 50 + number } else { usize::MAX };
            thread::spawn(move || follow(&place, transport, hangs_up_every))
        })
        .collect();
    for transport in TRANSPORTS {
        let clients = format!("zmq2ws_clients{{transport=\"{transport}\"}}");
        gateway.wait_for_metric(&clients, |value| value == (CROWD / TRANSPORTS.len()) as f64);
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let sender = thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            for number in 0_u64.. {
                if is_over.load(Ordering::Acquire) {
                    break;
                }
                publish(&publisher, "t", &number.to_string());
                pass(Duration::from_millis(2));
            }
            publish(&publisher, "t", "end");
            publisher
        }
    });
    let wait_for_load = |gateway: &Gateway| {
        for transport in TRANSPORTS {
            let delivered = format!("zmq2ws_messages_delivered_total{{transport=\"{transport}\"}}");
            gateway.wait_for_metric(&delivered, |value| value > 20_000.0);
        }
    };
    wait_for_load(&gateway);
    place.is_dead.store(true, Ordering::Release);
    gateway.signal(Signal::KILL);
    drop(gateway);
    let gateway = Gateway::start(&args);
    *place.address.lock().unwrap() = gateway.address;
    wait_for_load(&gateway);
    is_over.store(true, Ordering::Release);
    let restarts: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert_eq!(restarts, [1; CROWD], "each was told once");
    let _publisher = sender.join().unwrap();
}
