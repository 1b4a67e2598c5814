//! From a ZeroMQ socket to an event stream: formats, resuming, lag, the end.

use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::events::Events;
use crate::support::http::{Connection, RECEIVED, closed, connect, connect_narrow, exchange};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::Raw;
use crate::support::{pass, wait_until};

const CLIENTS: &str = "zmq2ws_clients{transport=\"sse\"}";

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn messages_come_as_events_in_each_format() {
    let gateway = Gateway::start(&[]);
    let mut default = Events::open(gateway.address, "/sse?topic=weather");
    let mut raw =
        Events::open(gateway.address, "/sse?format=raw&exact=weather.oslo&topic=weather.%ff");
    let mut old = Connection::open(gateway.address);
    old.send("GET /sse?format=raw&topic=weather HTTP/1.0\r\n\r\n");
    let mut old = Events::opened(old);
    assert_eq!(default.head.header("cache-control"), Some("no-store, no-transform"));
    assert_eq!(default.head.header("x-accel-buffering"), Some("no"));
    assert_eq!(default.head.header("vary"), Some("Origin"));
    assert!(default.head.header("date").is_some());
    assert_eq!(default.head.header("transfer-encoding"), Some("chunked"));
    assert_eq!(old.head.header("transfer-encoding"), None);
    assert_eq!(old.head.header("connection"), Some("close"));
    for client in [&mut default, &mut raw, &mut old] {
        // Bytes at once, for whoever waits for some: before there is any message.
        client.wait_for_comments(1);
        assert!((1000..=3000).contains(&client.reader.retry.unwrap()));
    }
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher.send(&[b"news", b"not wanted"]);
    publisher.send(&[b"weather.oslo", "12 \"°C\"".as_bytes()]);
    publisher.send(&[b"weather.\xff\r\n", b"a\r\rdata: forged\r\n\r\nid: 7", b"", b"\x80"]);
    publisher.send(&[b"weather.\xff\r\n", b"a\r", b"\nid: 7\n\nevent: gap\rdata: x"]);

    let first = default.event();
    let (epoch, seq) = first.id.split_once('-').unwrap();
    let seq: u64 = seq.parse().unwrap();
    assert_eq!(first.name, "message");
    assert_eq!(
        first.data,
        format!(r#"{{"id":"{}","topic":"weather.oslo","data":"12 \"°C\""}}"#, first.id)
    );
    let second = default.event();
    assert_eq!((&*second.name, second.id.clone()), ("message", format!("{epoch}-{}", seq + 1)));
    assert_eq!(json(&second.data)["topic64"], "d2VhdGhlci7/DQo=");
    assert_eq!(json(&second.data)["encoding"], serde_json::json!(["utf8", "utf8", "base64"]));
    let third = json(&default.event().data);
    assert_eq!(third["data"], serde_json::json!(["a\r", "\nid: 7\n\nevent: gap\rdata: x"]));

    for client in [&mut raw, &mut old] {
        let event = client.event();
        assert_eq!((&*event.name, &*event.data, &event.id), ("message", "12 \"°C\"", &first.id));
        let event = client.event();
        assert_eq!((&*event.name, &event.id), ("binary", &second.id));
        let body = data_encoding::BASE64.decode(event.data.as_bytes()).unwrap();
        assert_eq!(body, b"a\r\rdata: forged\r\n\r\nid: 7\x80");
        assert_eq!(client.message(), "a\nid: 7\n\nevent: gap\ndata: x");
    }
    let metrics = gateway.metrics();
    assert_eq!(metrics.get(CLIENTS), 3.0);
    assert_eq!(metrics.get("zmq2ws_messages_delivered_total{transport=\"sse\"}"), 9.0);
}

#[test]
fn the_gateways_format_is_the_default_where_events_have_it() {
    for (format, expected) in [("raw", "message body"), ("parts", "json"), ("json", "json")] {
        let gateway = Gateway::start(&["--format", format]);
        let mut client = Events::open(gateway.address, "/sse");
        let publisher = Publisher::connect(&gateway.endpoints[0]);
        publisher.send(&[b"t", b"message body"]);
        let data = client.message();
        let is_json = data.starts_with("{\"id\":");
        assert_eq!(if is_json { "json" } else { &*data }, expected, "{format}");
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let gateway = Gateway::start(&[]);
    for (method, target, headers, status) in [
        ("GET", "/sse?format=parts", "", 400),
        ("GET", "/sse?format=xml", "", 400),
        ("GET", "/sse?since=x", "", 400),
        ("GET", "/sse?topic=%", "", 400),
        ("GET", "/sse", "Content-Length: 1\r\n\r\nx", 400),
        ("GET", "/sse", "Origin: http://elsewhere.example\r\n", 403),
        ("POST", "/sse", "Content-Length: 0\r\n", 405),
        ("DELETE", "/sse", "", 405),
        ("GET", "/sse/", "", 404),
        ("HEAD", "/sse?format=raw", "", 200),
        ("HEAD", "/sse?format=parts", "", 400),
        ("OPTIONS", "/sse", "", 204),
    ] {
        let mut connection = Connection::open(gateway.address);
        connection.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
        let response = connection.response(method == "HEAD").unwrap();
        assert_eq!(response.status, status, "{method} {target} {headers}: {response:?}");
        if status == 405 {
            assert_eq!(response.header("allow"), Some("GET, HEAD, OPTIONS"));
        }
        // None of them ends the connection, as none of them is a stream.
        if !headers.contains("\r\n\r\n") {
            assert_eq!(connection.request("GET", "/healthz", "").status, 200, "{method} {target}");
        }
    }
    assert_eq!(gateway.metrics().get(CLIENTS), 0.0);
}

#[test]
fn who_comes_back_with_an_id_that_is_unknown_is_told_and_goes_on() {
    let gateway = Gateway::start(&[]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut clients: Vec<_> = ["1", "\u{e9}", "00000000-1", "k3x9-18446744073709551616", "%"]
        .map(|id| {
            let header = format!("Last-Event-ID: {id}\r\n");
            Events::open_on(connect(gateway.address), "/sse?format=raw", &header)
        })
        .into();
    clients.push(Events::open(gateway.address, "/sse?format=raw&since=00000000-1"));
    publisher.send(&[b"t", b"first"]);
    let mut id = String::new();
    for mut client in clients {
        let gap = client.event();
        assert_eq!((&*gap.name, &*gap.id), ("gap", ""));
        assert_eq!(gap.data, r#"{"gap":{"missed":null,"reason":"restart"}}"#);
        let first = client.event();
        assert_eq!(first.data, "first");
        id = first.id;
    }
    // The header is what the browser saw last, the query what the page once began with.
    let header = format!("Last-Event-ID: {id}\r\n");
    let mut client =
        Events::open_on(connect(gateway.address), "/sse?format=raw&since=00000000-1", &header);
    publisher.send(&[b"t", b"second"]);
    assert_eq!(client.message(), "second");
    assert_eq!(gateway.metrics().get("zmq2ws_gaps_total{reason=\"restart\"}"), 6.0);
}

#[test]
fn every_message_that_a_slow_reader_missed_is_told_in_each_format() {
    const STALLED: u64 = 4000;
    const LIVE: u64 = 300;
    let gateway = Gateway::start(&["--max-lag=256KiB"]);
    let clients = ["/sse?format=json", "/sse?format=raw"]
        .map(|path| Events::open_on(connect_narrow(gateway.address), path, ""));
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let publish = |number: u64| {
        publisher.send(&[b"t", format!("{number} {}", "x".repeat(4000)).as_bytes()]);
    };
    (0..STALLED).for_each(publish);
    gateway.wait_for_metric(RECEIVED, |value| value == STALLED as f64);
    let readers = clients.map(|mut client| {
        thread::spawn(move || {
            let (mut next, mut missed) = (0, 0);
            while next < STALLED + LIVE {
                let event = client.event();
                if event.name == "gap" {
                    let gap = &json(&event.data)["gap"];
                    assert_eq!(gap["reason"], "lag");
                    let count = gap["missed"].as_u64().unwrap();
                    missed += count;
                    next += count;
                } else {
                    let data = match event.data.starts_with('{') {
                        true => json(&event.data)["data"].as_str().unwrap().to_owned(),
                        false => event.data,
                    };
                    assert_eq!(data.len(), 4001 + next.to_string().len());
                    assert_eq!(data.split(' ').next().unwrap(), next.to_string());
                    next += 1;
                    assert_eq!(event.id.split_once('-').unwrap().1, next.to_string());
                }
            }
            missed
        })
    });
    for number in STALLED..STALLED + LIVE {
        publish(number);
        pass(Duration::from_micros(500));
    }
    for reader in readers {
        let missed = reader.join().unwrap();
        assert!(missed > 100, "{missed}");
    }
    assert!(gateway.metrics().get("zmq2ws_gaps_total{reason=\"lag\"}") >= 2.0);
}

#[test]
fn who_lags_too_much_gets_a_whole_end_where_that_is_the_policy() {
    let gateway = Gateway::start(&["--max-lag=256KiB", "--slow-client=disconnect"]);
    let mut slow = Events::open_on(connect_narrow(gateway.address), "/sse?format=raw", "");
    let mut fast = Raw::open(gateway.address, "/ws");
    let reader = thread::spawn(move || while fast.message().payload != b"last" {});
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut number = 0_u64;
    wait_until("the slow client to lag", || {
        for _ in 0..100 {
            publisher.send(&[b"t", format!("{number:05000}").as_bytes()]);
            number += 1;
        }
        gateway.metrics().get("zmq2ws_gaps_total{reason=\"lag\"}") > 0.0
    });
    publisher.send(&[b"t", b"last"]);
    let mut next = 0_u64;
    while let Some(event) = slow.next().unwrap() {
        assert_eq!(event.data.parse(), Ok(next), "whole events, in order");
        next += 1;
    }
    assert!(next < number, "not everything");
    gateway.wait_for_metric(&closed("sse", "lag"), |value| value == 1.0);
    reader.join().unwrap();
}

/// By `--slow-client=conflate`, which WebSocket's tests look at more closely.
#[test]
fn who_falls_behind_gets_the_latest_of_each_topic_as_events() {
    const MESSAGES: u64 = 4_000;
    const TOPICS: u64 = 7;
    let gateway = Gateway::start(&["--max-lag=64KiB", "--slow-client=conflate"]);
    let mut client = Events::open_on(connect_narrow(gateway.address), "/sse", "");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    for number in 0..MESSAGES {
        let topic = format!("topic {}", number % TOPICS);
        publisher.send(&[topic.as_bytes(), format!("{number:04000}").as_bytes()]);
    }
    gateway.wait_for_metric(RECEIVED, |value| value == MESSAGES as f64);
    let (mut got, mut missed) = (Vec::new(), 0);
    while got.len() as u64 + missed < MESSAGES {
        let event = client.event();
        let value = json(&event.data);
        match &*event.name {
            "gap" => missed += value["gap"]["missed"].as_u64().unwrap(),
            _ => got.push(value["data"].as_str().unwrap().parse::<u64>().unwrap()),
        }
    }
    assert_eq!(got.len() as u64 + missed, MESSAGES);
    assert!(got.is_sorted() && missed > 1_000, "{missed} missed");
    assert_eq!(got[got.len() - TOPICS as usize..], Vec::from_iter(MESSAGES - TOPICS..MESSAGES));
}

#[test]
fn no_body_forges_a_field_or_an_event() {
    let gateway = Gateway::start(&["--topic-from=none"]);
    let mut raw = Events::open(gateway.address, "/sse?format=raw");
    let mut json_client = Events::open(gateway.address, "/sse");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let texts = [
        "",
        "\u{feff}",
        "\u{feff}id: 7\n",
        " one space\n  two",
        "a\0b\nid: \0",
        ":comment\r:another\r\n",
        "data: x\ndata:\nevent: gap\nretry: 1\n\n",
        "\n\n\n",
        "\r\n\r\n",
        "\n\r",
        "\u{2028}\u{2029}\u{85}\u{b}\u{c}",
        "ends with cr\r",
    ];
    // A surrogate as CESU-8 has it, alone; a byte that no text has; a character that is cut.
    let binaries: [&[u8]; 3] = [b"\xed\xa0\x80", b"a\n\xff\nid: 1", b"\xe2\x82"];
    for body in texts.iter().map(|text| text.as_bytes()).chain(binaries) {
        publisher.send(&[body]);
    }
    let mut seq = 0;
    for text in texts {
        seq += 1;
        let event = raw.event();
        assert_eq!(event.data, text.replace("\r\n", "\n").replace('\r', "\n"), "{text:?}");
        assert_eq!(event.name, "message");
        assert_eq!(event.id.split_once('-').unwrap().1, seq.to_string());
        assert_eq!(json(&json_client.message())["data"], text);
    }
    for body in binaries {
        let event = raw.event();
        assert_eq!(event.name, "binary");
        assert_eq!(data_encoding::BASE64.decode(event.data.as_bytes()).unwrap(), body);
        assert_eq!(json(&json_client.message())["encoding"], "base64");
    }
}

#[test]
fn comments_keep_a_stream_alive_on_which_nothing_happens() {
    let gateway = Gateway::start(&["--ping-interval=100ms", "--ping-timeout=1s"]);
    let mut client = Events::open(gateway.address, "/sse");
    client.wait_for_comments(5);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher.send(&[b"t", b"after silence"]);
    assert_eq!(json(&client.message())["data"], "after silence");
    client.wait_for_comments(7);
}

#[test]
fn who_leaves_is_noticed_and_who_talks_too_much_is_ended() {
    let gateway = Gateway::start(&["--max-inbound=1000"]);
    let mut client = Events::open(gateway.address, "/sse");
    client.stream.write_all(&[b'x'; 1000]).unwrap();
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher.send(&[b"t", b"still here"]);
    client.message();
    client.stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    client.assert_ended();
    gateway.wait_for_metric(&closed("sse", "too_large"), |value| value == 1.0);
    let client = Events::open(gateway.address, "/sse");
    client.stream.shutdown(Shutdown::Write).unwrap();
    gateway.wait_for_metric(&closed("sse", "client"), |value| value == 1.0);
    gateway.wait_for_metric("zmq2ws_feeds", |value| value == 0.0);
}

#[test]
fn a_stream_may_follow_other_requests() {
    let gateway = Gateway::start(&[]);
    let mut connection = Connection::open(gateway.address);
    connection
        .send("HEAD /sse HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.send("GET /sse?format=raw HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        connection.response(true).unwrap().header("content-type"),
        Some("text/event-stream")
    );
    assert_eq!(connection.response(false).unwrap().text(), "ok\n");
    let mut client = Events::opened(connection);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher.send(&[b"t", b"through"]);
    assert_eq!(client.message(), "through");
}

#[test]
fn at_the_end_streams_get_what_they_are_owed_and_a_whole_end() {
    const MESSAGES: u64 = 400;
    let mut gateway = Gateway::start(&["--max-lag=16MiB", "--drain=20s"]);
    let mut clients: Vec<_> = (0..6)
        .map(|_| Events::open_on(connect_narrow(gateway.address), "/sse?format=raw", ""))
        .collect();
    for _ in 0..3 {
        let mut old = Connection::on(connect_narrow(gateway.address));
        old.send("GET /sse?format=raw HTTP/1.0\r\n\r\n");
        clients.push(Events::opened(old));
    }
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    for number in 0..MESSAGES {
        publisher.send(&[b"t", format!("{number:010000}").as_bytes()]);
    }
    gateway.wait_for_metric(RECEIVED, |value| value == MESSAGES as f64);
    gateway.signal(Signal::TERM);
    gateway.wait_for_log("stopping");
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || {
                for number in 0..MESSAGES {
                    assert_eq!(client.message().parse(), Ok(number));
                }
                client.assert_ended();
            })
        })
        .collect();
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(gateway.exit_status().code(), Some(0));
}

#[test]
fn what_a_terminal_shows_is_readable() {
    let mut gateway = Gateway::start(&[]);
    let address = gateway.address;
    let reader = thread::spawn(move || exchange(address, "GET /sse?format=raw HTTP/1.0\r\n\r\n"));
    gateway.wait_for_metric(CLIENTS, |value| value == 1.0);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher.send(&[b"weather.oslo", b"4.5"]);
    gateway.wait_for_metric(RECEIVED, |value| value == 1.0);
    gateway.signal(Signal::TERM);
    let text = reader.join().unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1;
    let (retry, rest) = body.split_once('\n').unwrap();
    assert!(retry.starts_with("retry: "), "{text}");
    let (comment, rest) = rest.split_once('\n').unwrap();
    assert_eq!(comment, ": zmq2ws");
    let (id, data) = rest.split_once('\n').unwrap();
    assert!(id.starts_with("id: ") && id.ends_with("-1"), "{text}");
    assert_eq!(data, "data: 4.5\n\n");
    assert_eq!(gateway.exit_status().code(), Some(0));
}
