//! Clients that others wrote, as they come from npm: events and WebSocket.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::http::RECEIVED;
use crate::support::node::Script;
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::wait_until;

const MESSAGES: u64 = 1_000;

/// A body that no text has.
const BINARY: &[u8] = b"\xff\0\r\n\xc3";

#[track_caller]
fn event(script: &Script) -> Value {
    serde_json::from_str(&script.line()).unwrap()
}

fn start(library: &str, url: &str) -> Option<Script> {
    let script = Script::start("follow.js", &[library, url])?;
    assert_eq!(event(&script)["name"], "open");
    Some(script)
}

fn publish(publisher: &Publisher, body: impl AsRef<[u8]>) {
    publisher.send(&[b"t", body.as_ref()]);
}

/// Everything that was published arrives, in order.
fn gets_everything_in_order(publisher: &Publisher, client: &Script) -> Value {
    (0..MESSAGES).for_each(|number| publish(publisher, number.to_string()));
    for number in 0..MESSAGES {
        let event = event(client);
        assert_eq!(
            (&event["name"], &event["data"]),
            (&json!("message"), &json!(number.to_string()))
        );
    }
    for text in ["", "a\n\nid: forged\r\rdata: b\n", "\u{feff} \0\u{2028}é"] {
        publish(publisher, text);
    }
    publish(publisher, BINARY);
    for text in ["", "a\n\nid: forged\r\rdata: b\n", "\u{feff} \0\u{2028}é"] {
        let event = event(client);
        let data = event["data"].as_str().unwrap();
        // Line ends are not what an event can tell apart.
        assert_eq!(data.replace('\n', "\r"), text.replace('\n', "\r"));
    }
    let binary = event(client);
    assert_eq!(binary["name"], "binary");
    assert_eq!(binary["data"], data_encoding::BASE64.encode(BINARY));
    binary
}

#[test]
fn eventsource_gets_everything_and_is_told_when_the_gateway_was_another_one() {
    let (publisher, endpoint) = Publisher::bind("tcp://127.0.0.1:*");
    let connect = format!("--connect={endpoint}");
    let gateway = Gateway::start(&[&connect]);
    publisher.wait_for_subscription();
    let address = gateway.address;
    let url = gateway.url("http") + "/sse?format=raw";
    let Some(client) = start("eventsource", &url) else { return };
    let last = gets_everything_in_order(&publisher, &client);
    let (epoch, seq) = last["id"].as_str().unwrap().split_once('-').unwrap();
    assert_eq!(seq, (MESSAGES + 4).to_string());

    drop(gateway);
    let gateway = Gateway::start(&[&connect, &format!("--listen={address}")]);
    assert_eq!(event(&client)["name"], "open");
    let gap = event(&client);
    assert_eq!(gap["name"], "gap");
    assert_eq!(gap["data"], r#"{"gap":{"missed":null,"reason":"restart"}}"#);
    // A publisher that has not noticed the end of one gateway is not told that another one asks for the same.
    wait_until("the publisher to be asked again", || {
        publish(&publisher, "after");
        gateway.metrics().get(RECEIVED) > 0.0
    });
    let after = event(&client);
    assert_eq!(after["data"], "after");
    let (new_epoch, seq) = after["id"].as_str().unwrap().split_once('-').unwrap();
    assert_eq!(seq, "1");
    assert_ne!(new_epoch, epoch);
}

#[test]
fn ws_gets_everything_and_a_goodbye() {
    let gateway = Gateway::start(&[]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let Some(client) = start("ws", &(gateway.url("ws") + "/ws")) else { return };
    gets_everything_in_order(&publisher, &client);
    gateway.signal(Signal::TERM);
    assert_eq!(event(&client), json!({ "name": "close", "data": 1001 }));
}
