//! What publishers are asked for when that follows what clients want.

use std::time::{Duration, Instant};

use crate::support::http::CLIENTS;
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::Raw;

const SUBSCRIPTIONS: &str = "zmq2ws_upstream_subscriptions";

/// How long a topic is asked for after its last client has left.
const LINGER: Duration = Duration::from_secs(5);

fn start(args: &[&str]) -> (Gateway, Publisher) {
    let gateway = Gateway::start(&[&["--on-demand"], args].concat());
    let publisher = Publisher::connect_unasked(&gateway.endpoints[0]);
    (gateway, publisher)
}

#[test]
fn a_topic_is_asked_for_as_long_as_somebody_wants_it() {
    let (gateway, publisher) = start(&[]);
    let mut first = Raw::open(gateway.address, "/ws?topic=news.");
    assert_eq!(publisher.request(), "+news.");
    publisher.send(&[b"news.oslo", b"snow"]);
    assert_eq!(first.message().text(), "snow");
    // Another format is another feed.
    let second = Raw::open(gateway.address, "/ws?topic=news.&format=json");
    let third = Raw::open(gateway.address, "/ws?exact=weather.oslo");
    assert_eq!(publisher.request(), "+weather.oslo", "the second asks for nothing new");
    assert_eq!(gateway.metrics().get(SUBSCRIPTIONS), 2.0);
    drop(first);
    gateway.wait_for_metric(CLIENTS, |clients| clients == 2.0);
    let left = Instant::now();
    drop(second);
    assert_eq!(publisher.request(), "-news.");
    assert!(left.elapsed() >= LINGER, "{:?}", left.elapsed());
    drop(third);
    assert_eq!(publisher.request(), "-weather.oslo");
    gateway.wait_for_metric(SUBSCRIPTIONS, |count| count == 0.0);
}

#[test]
fn a_client_that_comes_back_changes_nothing() {
    let (gateway, publisher) = start(&[]);
    let mut client = Raw::open(gateway.address, "/ws?topic=news.");
    assert_eq!(publisher.request(), "+news.");
    for _ in 0..10 {
        drop(client);
        gateway.wait_for_metric(CLIENTS, |clients| clients == 0.0);
        publisher.send(&[b"news.", b"meanwhile"]);
        client = Raw::open(gateway.address, "/ws?topic=news.");
    }
    publisher.send(&[b"news.", b"again"]);
    while client.message().text() != "again" {}
    let _other = Raw::open(gateway.address, "/ws?topic=weather.");
    assert_eq!(publisher.request(), "+weather.");
}

#[test]
fn who_wants_everything_swallows_the_others_and_gives_them_back() {
    let (gateway, publisher) = start(&[]);
    let mut narrow = Raw::open(gateway.address, "/ws?topic=news.");
    assert_eq!(publisher.request(), "+news.");
    let broad = Raw::open(gateway.address, "/ws");
    assert_eq!(publisher.request(), "+");
    assert_eq!(publisher.request(), "-news.");
    publisher.send(&[b"news.oslo", b"one"]);
    drop(broad);
    assert_eq!(publisher.request(), "+news.");
    publisher.send(&[b"news.oslo", b"two"]);
    assert_eq!(publisher.request(), "-");
    publisher.send(&[b"news.oslo", b"three"]);
    for text in ["one", "two", "three"] {
        assert_eq!(narrow.message().text(), text);
    }
}

#[test]
fn every_publisher_is_asked_whenever_it_comes_and_for_no_more_than_allowed() {
    let (publisher, endpoint) = Publisher::bind("tcp://127.0.0.1:*");
    let (second, second_endpoint) = Publisher::bind("tcp://127.0.0.1:*");
    let connect = format!("--connect={endpoint}");
    let connect_second = format!("--connect={second_endpoint}");
    let args =
        ["--on-demand", "--subscribe=news.", "--subscribe=weather.", &connect, &connect_second];
    let gateway = Gateway::start(&args);
    let _outside = Raw::open(gateway.address, "/ws?topic=sports.");
    let mut client = Raw::open(gateway.address, "/ws");
    for publisher in [&publisher, &second] {
        assert_eq!([publisher.request(), publisher.request()], ["+news.", "+weather."]);
    }
    drop(publisher);
    let (third, _) = Publisher::bind(&endpoint);
    assert_eq!([third.request(), third.request()], ["+news.", "+weather."]);
    third.send(&[b"sports.", b"not allowed"]);
    third.send(&[b"weather.oslo", b"snow"]);
    assert_eq!(client.message().text(), "snow");
}

#[test]
fn who_resumes_a_topic_that_was_not_asked_for_is_told() {
    let (gateway, publisher) = start(&[]);
    let mut news = Raw::open(gateway.address, "/ws?topic=news.&format=json");
    let _weather = Raw::open(gateway.address, "/ws?topic=weather.");
    assert_eq!([publisher.request(), publisher.request()], ["+news.", "+weather."]);
    publisher.send(&[b"news.oslo", b"one"]);
    let message: serde_json::Value = serde_json::from_str(news.message().text()).unwrap();
    let since = format!("format=json&since={}", message["id"].as_str().unwrap());
    drop(news);
    assert_eq!(publisher.request(), "-news.");
    publisher.send(&[b"news.oslo", b"that nobody takes in"]);
    let mut news = Raw::open(gateway.address, &format!("/ws?topic=news.&{since}"));
    assert_eq!(news.message().text(), r#"{"gap":{"missed":null,"reason":"history"}}"#);
    assert_eq!(publisher.request(), "+news.");
    let mut weather = Raw::open(gateway.address, &format!("/ws?topic=weather.&{since}"));
    publisher.send(&[b"weather.oslo", b"snow"]);
    assert!(weather.message().text().contains("snow"), "it was asked for all the time");
}

#[test]
fn without_it_everything_is_asked_for_from_the_start() {
    let gateway = Gateway::start(&[]);
    let publisher = Publisher::connect_unasked(&gateway.endpoints[0]);
    assert_eq!(publisher.request(), "+");
    assert_eq!(gateway.metrics().get(SUBSCRIPTIONS), 1.0);
}
