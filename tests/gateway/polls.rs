//! From a ZeroMQ socket to polls: waiting, going on, gaps, pages of other origins, who gives up, the end.

use rustix::process::Signal;

use crate::support::http::{Connection, Response, reset};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
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
        if !headers.contains("\r\n\r\n") {
            assert_eq!(connection.request("GET", "/healthz", "").status, 200, "{method} {target}");
        }
    }
}

#[test]
fn pages_of_other_origins_see_the_answer_where_they_may() {
    let gateway = Gateway::start(&["--origin", "https://dashboard.example"]);
    let mut client = Connection::open(gateway.address);
    let origin = "Origin: https://dashboard.example\r\n";
    let response = client.request("GET", "/poll?timeout=0", origin);
    let allowed = response.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://dashboard.example"));
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
