//! `udp://`: what RADIO sockets send to a multicast group, or to this machine, on its way to WebSockets.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::process::{Process, example_path};
use crate::support::http::RECEIVED;
use crate::support::node::Script;
use crate::support::process::Gateway;
use crate::support::test_radio::{Radio, loopback_group};
use crate::support::websocket::{Raw, TEXT};
use crate::support::{one_at_a_time, pass, wait_for};

const MALFORMED: &str = "zmq2ws_messages_dropped_total{reason=\"malformed\"}";
const OVERFLOW: &str = "zmq2ws_messages_dropped_total{reason=\"overflow\"}";

/// A gateway that listens to a group of its own on loopback, and who sends there.
fn start(args: &[&str]) -> (Gateway, Radio) {
    let bind = format!("--bind={}", loopback_group());
    let gateway = Gateway::start(&[&[&*bind], args].concat());
    let radio = Radio::open(&gateway.endpoints[0]);
    (gateway, radio)
}

/// The next message in `json`, without its id.
#[track_caller]
fn json(client: &mut Raw) -> Value {
    let frame = client.message();
    assert_eq!(frame.opcode, TEXT);
    let mut message: Value = serde_json::from_slice(&frame.payload).unwrap();
    message.as_object_mut().unwrap().remove("id");
    message
}

#[test]
fn groups_are_topics_in_each_format() {
    let unicast = Gateway::start(&["--bind=udp://127.0.0.1:*"]);
    let to_unicast = Radio::open(&unicast.endpoints[0]);
    let (multicast, to_group) = start(&[]);
    for (gateway, radio) in [(unicast, to_unicast), (multicast, to_group)] {
        let mut raw = Raw::open(gateway.address, "/ws?topic=weather.");
        let mut in_json = Raw::open(gateway.address, "/ws?format=json&topic=weather.");
        let mut in_parts = Raw::open(gateway.address, "/ws?format=parts&exact=weather.oslo");
        radio.send(b"news", b"not wanted");
        radio.send(b"weather.oslo", b"4.5");
        radio.send(b"weather.lima", b"");
        radio.send(b"weather.", b"\xff");
        let largest = vec![b'x'; 65_507 - 1 - b"weather.oslo".len()];
        radio.send(b"weather.oslo", &largest);
        let bodies: [&[u8]; 4] = [b"4.5", b"", b"\xff", &largest];
        for body in bodies {
            assert_eq!(raw.message().payload, body);
        }
        assert_eq!(json(&mut in_json), json!({"topic": "weather.oslo", "data": "4.5"}));
        assert_eq!(json(&mut in_json), json!({"topic": "weather.lima", "data": ""}));
        assert_eq!(json(&mut in_json)["encoding"], "base64");
        assert_eq!(in_parts.message().payload, b"\0\0\0\x0cweather.oslo\0\0\0\x034.5");
        assert_eq!(in_parts.message().payload.len(), 65_507 - 1 + 8);
        assert_eq!(gateway.metrics().get(RECEIVED), 5.0);
        assert_eq!(gateway.metrics().get("zmq2ws_upstream_connections"), 0.0);
    }
}

#[test]
fn two_gateways_on_one_group_both_get_everything() {
    let (first, radio) = start(&[]);
    let connect = format!("--connect={}", first.endpoints[0]);
    let second = Gateway::start(&[&connect]);
    let mut clients = [&first, &second].map(|gateway| Raw::open(gateway.address, "/ws"));
    // More than one of them reads before the other has a turn, and less than the kernel keeps everywhere.
    for number in 0..300_u32 {
        radio.send(b"t", number.to_string().as_bytes());
    }
    for client in &mut clients {
        for number in 0..300_u32 {
            assert_eq!(client.message().payload, number.to_string().as_bytes());
        }
    }
}

#[test]
fn settings_for_messages_hold_for_datagrams() {
    let (gateway, radio) = start(&["--topic-from=none", "--subscribe=a", "--max-message=100"]);
    let mut client = Raw::open(gateway.address, "/ws?format=json");
    radio.send(b"b", b"not subscribed to");
    radio.send(b"a", &[b'x'; 100]);
    radio.send(b"ab", &[b'x'; 98]);
    assert_eq!(json(&mut client)["data"][0], "ab");
    let metrics = gateway.metrics();
    assert_eq!(metrics.get(RECEIVED), 1.0);
    assert_eq!(metrics.get("zmq2ws_messages_dropped_total{reason=\"too_large\"}"), 1.0);

    let (gateway, radio) = start(&["--decode=zlib", "--sequence=1:u32le"]);
    let mut client = Raw::open(gateway.address, "/ws?format=json");
    for (group, count) in [("a", 1_u32), ("b", 7), ("a", 4)] {
        radio.send(group.as_bytes(), &count.to_le_bytes());
    }
    assert_eq!(json(&mut client), json!({"topic": "a", "data": "\u{1}\0\0\0"}));
    assert_eq!(json(&mut client)["topic"], "b");
    assert_eq!(json(&mut client), json!({"gap": {"missed": 2, "reason": "upstream"}}));
    assert_eq!(json(&mut client)["topic"], "a");

    let (gateway, radio) = start(&["--decode=zlib"]);
    let mut client = Raw::open(gateway.address, "/ws?format=json");
    let deflated = b"\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\0\x06\x2c\x02\x15";
    radio.send(b"a", deflated);
    assert_eq!(json(&mut client), json!({"topic": "a", "data": "hello"}));
}

#[test]
fn on_demand_only_what_clients_want_is_taken_in() {
    let (gateway, radio) = start(&["--on-demand"]);
    let mut client = Raw::open(gateway.address, "/ws?topic=a");
    gateway.wait_for_metric("zmq2ws_upstream_subscriptions", |count| count == 1.0);
    radio.send(b"b", b"not wanted");
    radio.send(b"ab", b"wanted");
    assert_eq!(client.message().payload, b"wanted");
    assert_eq!(gateway.metrics().get(RECEIVED), 1.0);
}

#[test]
fn hostile_datagrams_are_counted_and_ignored() {
    let (mut gateway, radio) = start(&[]);
    let mut client = Raw::open(gateway.address, "/ws");
    for len in 0..200_u8 {
        // Empty, or shorter than the group that is announced.
        radio.send_bytes(&vec![len; len.into()]);
    }
    radio.send(b"t", b"still here");
    assert_eq!(client.message().payload, b"still here");
    assert_eq!(gateway.metrics().get(MALFORMED), 200.0);
    gateway.wait_for_log("that no RADIO socket sends");
    let lines = gateway.log().iter().filter(|line| line.contains("RADIO")).count();
    assert!(lines <= 10, "{lines} lines for 200 datagrams");
    gateway.assert_runs();
}

#[test]
fn garbage_and_what_nobody_wants_take_from_the_turns_budget() {
    const ENDPOINTS: usize = 40;
    // Fewer than any system keeps for a socket.
    const DATAGRAMS: usize = 400;
    let binds = "'udp://127.0.0.1:*', ".repeat(ENDPOINTS);
    let toml = format!("bind = [{binds}]\nsubscribe = ['wanted']\nlisten = ['127.0.0.1:0']");
    let mut gateway = zmq2ws::Builder::from_toml(&toml, "test").unwrap().build().unwrap();
    for endpoint in gateway.endpoints() {
        let radio = Radio::open(&endpoint);
        for number in 0..DATAGRAMS {
            radio.send_bytes(if number % 2 == 0 { b"\xff" } else { b"\x08unwanted" });
        }
    }
    let mut turns = 0;
    while gateway.next_deadline().is_some_and(|deadline| deadline <= Instant::now()) {
        gateway.turn(Some(Duration::ZERO)).unwrap();
        turns += 1;
    }
    assert!(turns >= 4, "{} datagrams in {turns} turns", ENDPOINTS * DATAGRAMS);
}

#[test]
fn what_the_kernel_drops_while_the_gateway_stands_still_is_told() {
    let (gateway, radio) = start(&[]);
    let mut client = Raw::open(gateway.address, "/ws?format=json");
    radio.send(b"a", b"before");
    radio.send(b"b", b"before");
    assert_eq!(json(&mut client)["topic"], "a");
    assert_eq!(json(&mut client)["topic"], "b");
    gateway.signal(Signal::STOP);
    const FLOOD: u32 = 20_000;
    for number in 0..FLOOD {
        radio.send(b"a", format!("{number:01000}").as_bytes());
    }
    gateway.signal(Signal::CONT);
    let sent = f64::from(2 + FLOOD);
    gateway.wait_for_metric(OVERFLOW, |lost| lost > 0.0);
    let lost = gateway.metrics().get(OVERFLOW);
    gateway.wait_for_metric(RECEIVED, |received| received == sent - lost);
    gateway.wait_for_log("in the kernel");
    for topic in ["a", "a", "b"] {
        radio.send(topic.as_bytes(), b"after");
    }
    // One notice for each topic, before its first message since, wherever the client lagged beside that.
    let mut seen: Vec<Value> = Vec::new();
    while seen.iter().filter(|it| it["data"] == "after").count() < 3 {
        seen.push(json(&mut client));
    }
    let last: Vec<_> = seen[seen.len() - 5..].iter().map(|it| it["topic"].as_str()).collect();
    assert_eq!(last, [None, Some("a"), Some("a"), None, Some("b")]);
    for at in [5, 2] {
        let gap = json!({"gap": {"missed": null, "reason": "upstream"}});
        assert_eq!(seen[seen.len() - at], gap);
    }
    assert_eq!(gateway.metrics().get("zmq2ws_gaps_total{reason=\"upstream\"}"), 2.0);
}

/// Sends `count` messages, `rate` a second or as fast as it can, and says what became of them.
fn account(count: u64, rate: Option<u64>) {
    let (gateway, radio) = start(&["--max-lag=128MiB"]);
    let client = Raw::open(gateway.address, "/ws");
    let reader = thread::spawn(move || count_until_end(client));
    let start = Instant::now();
    for number in 0..count {
        // A millisecond's messages at once.
        if let Some(rate) = rate
            && number % (rate / 1000) == 0
        {
            let due = start + Duration::from_millis(number / (rate / 1000));
            pass(due.saturating_duration_since(Instant::now()));
        }
        radio.send(b"t", format!("{number:064}").as_bytes());
    }
    let took = start.elapsed();
    let taken_in = || {
        let metrics = gateway.metrics();
        (metrics.get(RECEIVED) as u64, metrics.get(OVERFLOW) as u64)
    };
    let (received, lost) = wait_for("every message to be received or counted as lost", || {
        let (received, lost) = taken_in();
        (received + lost == count).then_some((received, lost))
    });
    // Now there is room for this one.
    radio.send(b"t", b"end");
    assert_eq!(reader.join().unwrap(), received, "the client gets what the gateway gets");
    let sent_per_second = count as f64 / took.as_secs_f64();
    eprintln!(
        "{count} messages of 64 bytes over multicast on loopback, {sent_per_second:.0} a second: {received} received, {lost} \
         lost in the kernel and counted"
    );
}

fn count_until_end(mut client: Raw) -> u64 {
    (0..).find(|_| client.message().payload == b"end").unwrap()
}

#[test]
fn every_message_is_received_or_counted_as_lost() {
    let _turn = one_at_a_time();
    account(300_000, None);
    account(100_000, Some(50_000));
    account(50_000, Some(10_000));
}

#[test]
fn real_radio_sockets() {
    for endpoint in [loopback_group(), "udp://127.0.0.1:*".into()] {
        let gateway = Gateway::start(&[&format!("--bind={endpoint}")]);
        let Some(mut script) = Script::start("radio.js", &[&gateway.endpoints[0]]) else { return };
        let mut client = Raw::open(gateway.address, "/ws?format=parts");
        let longest_group = "g".repeat(255);
        // libzmq sends no more than 8 KiB in one datagram.
        let large = "ab".repeat(7_500);
        for (group, body) in [
            ("weather.oslo", "342e35"),
            ("weather.oslo", ""),
            ("", "00ff"),
            (&*longest_group, &*large),
        ] {
            script.say(&format!("{group} {body}"));
            let payload = client.message().payload;
            let (group_len, rest) = payload.split_at(4);
            assert_eq!(group_len, (group.len() as u32).to_be_bytes());
            let (heard_group, rest) = rest.split_at(group.len());
            assert_eq!(heard_group, group.as_bytes());
            let heard: String = rest[4..].iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(heard, body);
        }
        assert_eq!(gateway.metrics().get(MALFORMED), 0.0);
    }
}

#[test]
fn real_dish_sockets_and_the_gateway_hear_the_same_from_the_example_producer() {
    let (gateway, _) = start(&[]);
    let endpoint = &*gateway.endpoints[0];
    let Some(dish) = Script::start("dish.js", &[endpoint, "h/a"]) else { return };
    assert_eq!(dish.line(), "listening");
    let mut client = Raw::open(gateway.address, "/ws?topic=h/a");
    let args = ["--host=h", "--topics=a,b", "--rate=200", "--count=40", "--connect", endpoint];
    let producer = Process::start(example_path("producer"), &args);
    for _ in 0..20 {
        let body = client.message().payload;
        let in_hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(dish.line(), format!("h/a {in_hex}"));
    }
    let end = producer.end();
    assert!(end.stderr.iter().any(|line| line.starts_with("producer: sent 40 ")), "{end:#?}");
}
