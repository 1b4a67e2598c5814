//! From a ZeroMQ socket to polls: waiting, going on, gaps, who gives up, who does not read, the end.

use rustix::process::Signal;

use crate::support::http::{Connection, RECEIVED, Response, closed, connect_narrow, reset};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::Raw;
use crate::support::{one_at_a_time, raise_descriptor_limit, wait_until};

const CLIENTS: &str = "zmq2ws_clients{transport=\"poll\"}";

fn json(response: &Response) -> serde_json::Value {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    serde_json::from_slice(&response.body).unwrap()
}

fn ask(connection: &mut Connection, query: &str) {
    connection.send(format!("GET /poll{query} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
}

fn answer(connection: &mut Connection) -> serde_json::Value {
    json(&connection.response(false).unwrap())
}

fn poll(connection: &mut Connection, query: &str) -> serde_json::Value {
    ask(connection, query);
    answer(connection)
}

fn bodies(answer: &serde_json::Value) -> Vec<&str> {
    answer["messages"].as_array().unwrap().iter().map(|it| it["data"].as_str().unwrap()).collect()
}

#[test]
fn a_poll_waits_and_the_next_one_goes_on_from_there() {
    let gateway = Gateway::start(&[]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut client = Connection::open(gateway.address);
    ask(&mut client, "?topic=weather");
    gateway.wait_for_metric(CLIENTS, |count| count == 1.0);
    publisher.send(&[b"news", b"not wanted"]);
    publisher.send(&[b"weather.oslo", b"12"]);
    let response = client.response(false).unwrap();
    let first = json(&response);
    let message = first["messages"][0].clone();
    assert_eq!((&message["topic"], &message["data"]), (&"weather.oslo".into(), &"12".into()));
    assert_eq!(message["id"], first["next"]);
    assert_eq!(first.get("gap"), None);
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("vary"), Some("Origin"));
    assert!(response.header("date").is_some());

    // Published while nobody waits: kept, and there at once, in one answer.
    gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
    for body in ["13", "14", "15"] {
        publisher.send(&[b"weather.oslo", body.as_bytes()]);
    }
    gateway.wait_for_metric("zmq2ws_history_messages", |count| count == 5.0);
    let since = |answer: &serde_json::Value| {
        format!("?topic=weather&since={}&timeout=0", answer["next"].as_str().unwrap())
    };
    let second = poll(&mut client, &since(&first));
    assert_eq!(bodies(&second), ["13", "14", "15"]);
    // Nothing is there: an answer all the same, from which one can go on.
    let third = poll(&mut client, &since(&second));
    assert_eq!((bodies(&third).len(), &third["next"]), (0, &second["next"]));
    let metrics = gateway.metrics();
    assert_eq!(metrics.get("zmq2ws_messages_delivered_total{transport=\"poll\"}"), 4.0);
    assert_eq!(metrics.get("zmq2ws_feeds"), 0.0);
}

#[test]
fn requests_behind_a_poll_are_answered_after_it() {
    let gateway = Gateway::start(&[]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut client = Connection::open(gateway.address);
    ask(&mut client, "");
    ask(&mut client, "?timeout=0");
    client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    gateway.wait_for_metric(CLIENTS, |count| count == 1.0);
    publisher.send(&[b"t", b"a"]);
    assert_eq!(bodies(&answer(&mut client)), ["a"]);
    assert_eq!(bodies(&answer(&mut client)), [""; 0]);
    assert_eq!(client.response(false).unwrap().text(), "ok\n");
}

#[test]
fn without_history_a_poll_gets_the_next_message_and_is_told_of_the_rest() {
    let gateway = Gateway::start(&["--history", "0"]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut client = Connection::open(gateway.address);
    ask(&mut client, "");
    gateway.wait_for_metric(CLIENTS, |count| count == 1.0);
    publisher.send(&[b"t", b"1"]);
    let first = answer(&mut client);
    assert_eq!((bodies(&first), first.get("gap")), (vec!["1"], None));
    publisher.send(&[b"t", b"2"]);
    gateway.wait_for_metric("zmq2ws_messages_received_total", |count| count == 2.0);
    let second = poll(&mut client, &format!("?since={}", first["next"].as_str().unwrap()));
    assert_eq!(second["gap"], serde_json::json!({"missed": 1, "reason": "history"}));
    let query = format!("?since={}&timeout=0", second["next"].as_str().unwrap());
    assert_eq!(poll(&mut client, &query).get("gap"), None, "told once");
    let other = poll(&mut client, "?since=zzzzzzzz-7");
    assert_eq!(other["gap"], serde_json::json!({"missed": null, "reason": "restart"}));
}

#[test]
fn a_topic_that_begins_to_be_asked_for_gives_no_gap() {
    let gateway = Gateway::start(&["--on-demand"]);
    let mut client = Connection::open(gateway.address);
    let mut last = poll(&mut client, "?topic=a&timeout=0");
    for _ in 0..3 {
        let query = format!("?topic=a&timeout=0&since={}", last["next"].as_str().unwrap());
        last = poll(&mut client, &query);
        assert_eq!(last.get("gap"), None);
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let gateway = Gateway::start(&["--format", "raw"]);
    for (method, target, headers, status) in [
        ("GET", "/poll?format=parts", "", 400),
        ("GET", "/poll?format=raw", "", 400),
        ("GET", "/poll?since=x", "", 400),
        ("GET", "/poll?timeout=", "", 400),
        ("GET", "/poll?timeout=-1", "", 400),
        ("GET", "/poll?timeout=1&timeout=1", "", 400),
        ("GET", "/poll", "Content-Length: 1\r\n\r\nx", 400),
        ("GET", "/poll?timeout=0", "Origin: http://elsewhere.example\r\n", 403),
        ("POST", "/poll", "Content-Length: 0\r\n", 405),
        ("GET", "/poll/", "", 404),
        ("GET", "/poll?timeout=0&format=json", "", 200),
        ("GET", "/poll?timeout=00", "", 200),
        ("HEAD", "/poll", "", 200),
        ("OPTIONS", "/poll", "", 204),
    ] {
        let mut connection = Connection::open(gateway.address);
        connection.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
        let response = connection.response(method == "HEAD").unwrap();
        assert_eq!(response.status, status, "{method} {target} {headers}: {response:?}");
        if status == 405 {
            assert_eq!(response.header("allow"), Some("GET, HEAD, OPTIONS"));
        }
        if !headers.contains("\r\n\r\n") {
            assert_eq!(connection.request("GET", "/healthz", "").status, 200, "{method} {target}");
        }
    }
}

#[test]
fn who_gives_up_waiting_is_noticed_and_there_may_be_only_so_many() {
    let gateway = Gateway::start(&["--max-clients", "2"]);
    let mut clients: Vec<_> = (0..2).map(|_| Connection::open(gateway.address)).collect();
    clients.iter_mut().for_each(|client| ask(client, "?topic=a"));
    gateway.wait_for_metric(CLIENTS, |count| count == 2.0);
    let refused = Connection::open(gateway.address).request("GET", "/poll", "");
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    reset(clients.pop().unwrap().into_parts().0);
    gateway.wait_for_metric(CLIENTS, |count| count == 1.0);
    drop(clients);
    gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
    wait_until("no feed is left", || gateway.metrics().get("zmq2ws_feeds") == 0.0);
    let metrics = gateway.metrics();
    assert_eq!((metrics.closed("poll", "reset"), metrics.closed("poll", "client")), (1.0, 1.0));
}

#[test]
fn waiting_polls_are_answered_when_the_gateway_stops() {
    let mut gateway = Gateway::start(&[]);
    let mut client = Connection::open(gateway.address);
    ask(&mut client, "");
    gateway.wait_for_metric(CLIENTS, |count| count == 1.0);
    gateway.signal(Signal::TERM);
    let response = client.response(false).unwrap();
    assert_eq!(bodies(&json(&response)), [""; 0]);
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(client.rest().unwrap(), b"");
    assert!(gateway.exit_status().success());
}

#[test]
fn what_was_lost_upstream_is_told_in_front_of_what_came_behind_it() {
    let gateway = Gateway::start(&["--sequence=2:u32le"]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let publish = |number: u32| {
        publisher.send(&[b"t", number.to_string().as_bytes(), &number.to_le_bytes()]);
    };
    let numbers = |answer: &serde_json::Value| -> Vec<String> {
        let messages = answer["messages"].as_array().unwrap();
        messages.iter().map(|it| it["data"][0].as_str().unwrap().to_owned()).collect()
    };
    let mut client = Connection::open(gateway.address);
    publish(1);
    publish(2);
    gateway.wait_for_metric("zmq2ws_messages_received_total", |count| count == 2.0);
    let first = poll(&mut client, "?timeout=0");
    // While it waits, and then while it does not.
    ask(&mut client, &format!("?since={}", first["next"].as_str().unwrap()));
    gateway.wait_for_metric(CLIENTS, |count| count == 1.0);
    publish(6);
    let waited = answer(&mut client);
    assert_eq!(waited["gap"], serde_json::json!({"missed": 3, "reason": "upstream"}));
    assert_eq!(numbers(&waited), ["6"]);
    for number in [7, 10, 11] {
        publish(number);
    }
    gateway.wait_for_metric("zmq2ws_messages_received_total", |count| count == 6.0);
    // A gap stands in front of all of an answer: it takes another one.
    let mut next = waited["next"].as_str().unwrap().to_owned();
    let mut told = Vec::new();
    while told.len() < 3 {
        let answer = poll(&mut client, &format!("?timeout=0&since={next}"));
        if let Some(gap) = answer.get("gap") {
            told.push(format!("gap {}", gap["missed"]));
            assert_eq!(gap["reason"], "upstream");
        }
        told.push(numbers(&answer).join(" "));
        next = answer["next"].as_str().unwrap().to_owned();
    }
    assert_eq!(told, ["7", "gap 2", "10 11"]);
}

#[test]
fn last_values_come_first_and_once() {
    let gateway = Gateway::start(&["--last-value", "--history=0"]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    for (topic, body) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
        publisher.send(&[topic.as_bytes(), body.as_bytes()]);
    }
    gateway.wait_for_metric("zmq2ws_messages_received_total", |count| count == 4.0);
    let mut client = Connection::open(gateway.address);
    let first = poll(&mut client, "?topic=a&topic=b");
    assert_eq!((bodies(&first), first.get("gap")), (vec!["2", "3"], None));
    let query = format!("?topic=a&topic=b&since={}", first["next"].as_str().unwrap());
    let second = poll(&mut client, &format!("{query}&timeout=0"));
    assert_eq!((bodies(&second).len(), second.get("gap")), (0, None));
    ask(&mut client, &query);
    gateway.wait_for_metric(CLIENTS, |count| count == 1.0);
    publisher.send(&[b"a", b"5"]);
    assert_eq!(bodies(&answer(&mut client)), ["5"]);
}

#[test]
fn connections_go_on_behind_an_answer_as_http_has_it() {
    let gateway = Gateway::start(&[]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    for (version, headers, goes_on) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
    ] {
        let mut client = Connection::open(gateway.address);
        client.send(format!("GET /poll HTTP/{version}\r\nHost: localhost\r\n{headers}\r\n"));
        gateway.wait_for_metric(CLIENTS, |count| count == 1.0);
        publisher.send(&[b"t", b"body"]);
        let response = client.response(false).unwrap();
        let case = format!("{version} {headers}: {response:?}");
        assert_eq!(bodies(&json(&response)), ["body"]);
        assert_eq!(response.header("transfer-encoding"), None, "{case}");
        if goes_on {
            assert_ne!(response.header("connection"), Some("close"), "{case}");
            assert_eq!(client.request("GET", "/healthz", "").status, 200, "{case}");
        } else {
            assert_eq!(response.header("connection"), Some("close"), "{case}");
            assert_eq!(client.rest().unwrap(), b"", "{case}");
        }
    }
}

#[test]
fn who_does_not_read_a_large_answer_is_let_go_of_when_memory_is_short() {
    let gateway = Gateway::start(&["--max-memory=64MiB", "--max-message=16MiB"]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut fine = Raw::open(gateway.address, "/ws?topic=t");
    let body = vec![b'x'; 12 << 20];
    let mut stalled = Vec::new();
    for count in 1..=8 {
        let mut client = Connection::on(connect_narrow(gateway.address));
        let delivered = "zmq2ws_messages_delivered_total{transport=\"poll\"}";
        let before = gateway.metrics().get(delivered);
        ask(&mut client, "?topic=t");
        gateway.wait_for_metric("zmq2ws_feeds", |feeds| feeds == 2.0);
        publisher.send(&[b"t", &body]);
        assert_eq!(fine.message().payload.len(), body.len());
        gateway.wait_for_metric(RECEIVED, |received| received == f64::from(count));
        gateway.wait_for_metric(delivered, |delivered| delivered == before + 1.0);
        stalled.push(client);
    }
    gateway.wait_for_metric(&closed("poll", "memory"), |count| count > 0.0);
    gateway.wait_for_metric("zmq2ws_feed_bytes", |bytes| bytes <= f64::from(64 << 20));
    // Who polls and reads is served meanwhile.
    let mut client = Connection::open(gateway.address);
    ask(&mut client, "?topic=small");
    gateway.wait_for_metric("zmq2ws_feeds", |feeds| feeds == 2.0);
    publisher.send(&[b"small", b"message"]);
    assert_eq!(bodies(&answer(&mut client)), ["message"]);
    drop(stalled);
    gateway.wait_for_metric("zmq2ws_feed_bytes", |bytes| bytes < f64::from(20 << 20));
}

#[test]
fn who_gives_up_is_noticed_whatever_was_asked_for_behind_the_poll() {
    let gateway = Gateway::start(&[]);
    for (behind, ends_by_reset) in [
        ("", false),
        ("", true),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", false),
        ("GET /", true),
    ] {
        let mut client = Connection::open(gateway.address);
        client.send(format!("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n{behind}"));
        gateway.wait_for_metric(CLIENTS, |count| count == 1.0);
        if ends_by_reset {
            reset(client.into_parts().0);
        } else {
            drop(client);
        }
        gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
    }
    assert_eq!(gateway.metrics().get("zmq2ws_feeds"), 0.0);
    // More behind it than is read: a reset is noticed, and nobody is busy with it.
    let mut client = Connection::open(gateway.address);
    client.send(format!("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n{}", "x".repeat(100_000)));
    gateway.wait_for_metric(CLIENTS, |count| count == 1.0);
    gateway.wait_until_calm();
    reset(client.into_parts().0);
    gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
    gateway.wait_until_calm();
}

#[test]
fn a_thousand_polls_get_one_message() {
    let _turn = one_at_a_time();
    raise_descriptor_limit(4096);
    let gateway = Gateway::start(&[]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut clients: Vec<_> = (0..1000).map(|_| Connection::open(gateway.address)).collect();
    for body in ["small".to_owned(), "x".repeat(300_000)] {
        clients.iter_mut().for_each(|client| ask(client, "?timeout=60"));
        gateway.wait_for_metric(CLIENTS, |count| count == 1000.0);
        publisher.send(&[b"t", body.as_bytes()]);
        for client in &mut clients {
            assert_eq!(bodies(&answer(client)), [&body]);
        }
        gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
        let held = gateway.metrics().get("zmq2ws_feed_bytes");
        assert!(held < 2_000_000.0, "{held} bytes are held");
    }
}
