//! The clients of socket.io as they come from npm: no parse error, no reconnect, nothing lost, nothing twice.

use serde_json::{Value, json};

use crate::support::engine_io::{CLIENTS, stage};
use crate::support::node::Script;
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;

/// A client that prints what happens to it; none where there is no Node.
fn start(gateway: &Gateway, options: &Value) -> Option<Script> {
    let url = gateway.url("http");
    Script::start("socket_io.js", &["4", &url, &options.to_string()])
}

#[track_caller]
fn line(client: &Script) -> Value {
    serde_json::from_str(&client.line()).unwrap()
}

/// What comes next but the end of its upgrade, which may come at any time.
#[track_caller]
fn next(client: &Script) -> Value {
    let mut came = line(client);
    if came == json!(["upgrade", "websocket"]) {
        came = line(client);
    }
    came
}

#[track_caller]
fn expect(client: &Script, expected: &Value) {
    assert_eq!(next(client), *expected);
}

fn send(publisher: &Publisher, number: usize) {
    publisher.send(&[b"t", number.to_string().as_bytes()]);
}

/// The number that a message has, where it is one.
fn number(came: &Value) -> Option<usize> {
    (came[0] == "message").then(|| came[1].as_str().unwrap().parse().unwrap())
}

const WAYS: [(&str, &str); 3] = [
    ("polling", r#"{"transports": ["polling"]}"#),
    ("websocket", r#"{"transports": ["websocket"]}"#),
    ("both", "{}"),
];

fn options(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn messages_of_all_kinds_arrive_whatever_the_transport() {
    let (gateway, publisher) = stage(&["--ping-interval=200ms"]);
    for (way, text) in WAYS {
        let Some(mut client) = start(&gateway, &options(text)) else { return };
        assert_eq!(next(&client)[0], "connect", "{way}");
        let large = "é".repeat(700_000);
        for parts in [
            &[&b"t"[..], b"text"][..],
            &[b"connect", b"disconnect"],
            &[b"", b""],
            &[b"t", b"\xff\x00"],
            &[b"t", b"\xff", b"", b"\x01"],
            &[b"t\xfe", b"\xff"],
            &[b"t\xfe", b"text"],
            &[b"t", "\u{1e}\u{2028}\0".as_bytes()],
            &[b"t", large.as_bytes()],
            &[b"t", &[0xff; 300_000]],
        ] {
            publisher.send(parts);
            let argument = |bytes: &[u8]| match std::str::from_utf8(bytes) {
                Ok(text) => json!(text),
                Err(_) => json!({"hex": data_encoding::HEXLOWER.encode(bytes)}),
            };
            let body = argument(&parts[1..].concat());
            let came = next(&client);
            assert_eq!((&came[0], &came[1]), (&json!("message"), &body), "{way}");
            if std::str::from_utf8(parts[0]).is_ok() {
                assert_eq!(came[2], argument(parts[0]), "{way}");
            }
        }
        // What it says goes nowhere, attachments included.
        client.say(r#"emit ["hello", {"a": [1]}]"#);
        // It stays, over many pings.
        for _ in 0..5 {
            send(&publisher, 1);
            expect(&client, &json!(["message", "1", "t"]));
            crate::support::pass(std::time::Duration::from_millis(150));
        }
        client.say("disconnect");
        expect(&client, &json!(["disconnect", "io client disconnect"]));
        gateway.wait_for_metric(CLIENTS, |count| count == 0.0);
    }
}

/// While messages are published at speed: from the first that it gets, each of them, once, in order.
fn follow_across_the_upgrade(args: &[&str], count: usize, pace: usize) {
    let (gateway, publisher) = stage(args);
    let Some(client) = start(&gateway, &json!({})) else { return };
    let mut sent = 0;
    let mut expected = None;
    let mut has_connected = false;
    let mut upgraded_at = None;
    while expected != Some(count) {
        for _ in 0..pace {
            // Enough of them after the upgrade, too.
            if sent < count && (has_connected || sent < count / 10) {
                send(&publisher, sent);
                sent += 1;
            }
        }
        let came = line(&client);
        match came[0].as_str().unwrap() {
            "connect" => {
                assert!(!has_connected, "it connects once");
                has_connected = true;
            }
            "upgrade" => upgraded_at = Some(expected.unwrap_or(0)),
            "message" => {
                let number = number(&came).unwrap();
                assert_eq!(number, expected.unwrap_or(number), "nothing lost, nothing twice");
                expected = Some(number + 1);
            }
            _ => panic!("{came}"),
        }
    }
    let at = upgraded_at.expect("an upgrade");
    eprintln!("upgraded at message {at} of {count}");
}

#[test]
fn a_thousand_messages_across_the_upgrade() {
    for pace in [1, 2, 5] {
        follow_across_the_upgrade(&[], 1_000, pace);
    }
}

#[test]
fn a_thousand_messages_across_the_upgrade_while_pings_come() {
    follow_across_the_upgrade(&["--ping-interval=20ms", "--socket-io-recovery"], 1_000, 2);
}

#[test]
fn it_comes_back_when_the_gateway_does() {
    for (way, text) in WAYS {
        let (publisher, endpoint) = Publisher::bind("tcp://127.0.0.1:*");
        let connect = format!("--connect={endpoint}");
        let gateway = Gateway::start(&[&connect]);
        let Some(client) = start(&gateway, &options(text)) else { return };
        publisher.wait_for_subscription();
        assert_eq!(next(&client)[0], "connect", "{way}");
        send(&publisher, 1);
        expect(&client, &json!(["message", "1", "t"]));
        let listen = format!("--listen={}", gateway.address);
        drop(gateway);
        let gateway = Gateway::start(&[&connect, &listen]);
        let mut came = next(&client);
        while came[0] != "connect" {
            let told = ["disconnect", "reconnect_attempt", "connect_error", "reconnect"];
            assert!(told.contains(&came[0].as_str().unwrap()), "{way}: {came}");
            came = next(&client);
        }
        // A publisher that has not noticed the end of the first one passes on no second subscription.
        crate::support::wait_until("the new one to listen", || {
            send(&publisher, 2);
            gateway.metrics().get("zmq2ws_messages_received_total") > 0.0
        });
        let mut came = next(&client);
        while came[0] != "message" {
            assert_eq!(came[0], "reconnect", "{way}: {came}");
            came = next(&client);
        }
        assert_eq!(came, json!(["message", "2", "t"]));
    }
}

#[test]
fn a_gateway_that_stops_is_no_reason_to_stay_away() {
    for (way, text) in WAYS {
        let (gateway, publisher) = stage(&["--drain=2s"]);
        let Some(client) = start(&gateway, &options(text)) else { return };
        assert_eq!(next(&client)[0], "connect");
        send(&publisher, 1);
        expect(&client, &json!(["message", "1", "t"]));
        gateway.signal(rustix::process::Signal::TERM);
        let came = next(&client);
        assert_eq!(came[0], "disconnect", "{way}");
        assert_ne!(came[1], "io server disconnect", "{way}: it would never come back");
        assert_ne!(came[1], "parse error", "{way}");
        assert_eq!(next(&client)[0], "reconnect_attempt", "{way}");
    }
}

#[test]
fn who_was_cut_off_is_recovered() {
    for (way, text) in WAYS {
        let (gateway, publisher) = stage(&["--socket-io-recovery"]);
        let Some(mut client) = start(&gateway, &options(text)) else { return };
        let came = next(&client);
        assert_eq!((&came[0], &came[1]), (&json!("connect"), &json!(false)), "{way}");
        let mut expected = 0;
        let mut recoveries = 0;
        let mut sent = 0;
        while recoveries < 3 || expected < sent {
            if recoveries < 3 {
                send(&publisher, sent);
                sent += 1;
            }
            let came = next(&client);
            match came[0].as_str().unwrap() {
                "message" => {
                    assert_eq!(number(&came), Some(expected), "{way}: exactly what was missed");
                    expected += 1;
                    // In the middle of things, three times.
                    if expected % 40 == 0 && expected <= 120 {
                        client.say("cut");
                        (0..10).for_each(|ahead| send(&publisher, sent + ahead));
                        sent += 10;
                    }
                }
                "connect" => {
                    assert_eq!(came[1], true, "{way}: recovered");
                    recoveries += 1;
                }
                "disconnect" | "reconnect_attempt" | "reconnect" => {
                    assert_ne!(came[1], "parse error", "{way}");
                }
                _ => panic!("{way}: {came}"),
            }
        }
        assert_eq!(expected, sent);
    }
}

#[test]
fn options_of_a_page_reach_the_gateway() {
    let (gateway, publisher) = stage(&[]);
    let options = json!({
        "query": {"topic": "weather.", "format": "json"},
        "auth": {"token": "abc"},
        "extraHeaders": {"X-Custom": "yes"},
    });
    let Some(client) = start(&gateway, &options) else { return };
    assert_eq!(next(&client)[0], "connect");
    publisher.send(&[b"news", b"not wanted"]);
    publisher.send(&[b"weather.oslo", b"12"]);
    let came = next(&client);
    assert_eq!((&came[1]["topic"], &came[1]["data"]), (&json!("weather.oslo"), &json!("12")));
}

#[test]
fn a_namespace_that_is_not_there_is_refused_for_good() {
    let gateway = Gateway::start(&[]);
    let url = gateway.url("http") + "/nope";
    let Some(client) = Script::start("socket_io.js", &["4", &url, "{}"]) else { return };
    // It may be at its upgrade meanwhile, and gives that up.
    let mut came = next(&client);
    if came[0] == "upgradeError" {
        came = next(&client);
    }
    assert_eq!(came, json!(["connect_error", "Invalid namespace", null]));
}

#[test]
fn a_client_of_version_2_is_told_that_it_is_too_old() {
    let gateway = Gateway::start(&[]);
    let url = gateway.url("http");
    let options = r#"{"transports": ["polling"]}"#;
    let Some(client) = Script::start("socket_io.js", &["2", &url, options]) else { return };
    let came = next(&client);
    assert_eq!(came[0], "connect_error", "{came}");
    let response =
        crate::support::http::get(gateway.address, "/socket.io/?EIO=3&transport=polling&t=x&b64=1");
    let text = r#"{"code":5,"message":"Unsupported protocol version"}"#;
    assert_eq!((response.status, &*response.text()), (400, text));
}
