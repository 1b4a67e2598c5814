//! What messages and gaps look like to a Socket.IO client.

use serde_json::{Value, json};

use crate::support::engine_io::{
    SEPARATOR, Session, body, connected_socket, event, opened_socket, stage, text, welcome,
};
use crate::support::http::get;
use crate::support::publisher::Publisher;
use crate::support::websocket::{BINARY, Raw, TEXT};

#[test]
fn a_message_is_an_event_with_body_and_topic() {
    let (gateway, publisher) = stage(&[]);
    let polling = Session::connected(gateway.address, "");
    let mut socket = connected_socket(gateway.address, "");
    for (parts, expected) in [
        (&[&b"weather.oslo"[..], b"12"][..], json!(["message", "12", "weather.oslo"])),
        (&[b"", b""], json!(["message", "", ""])),
        (&[b"t", b"one", b"two"], json!(["message", "onetwo", "t"])),
        // Without a topic of its own: the part is the body.
        (&[b"alone"], json!(["message", "alone", ""])),
        (
            &[b"q\"\\", "é\u{1e}\0\r\n\u{2028}".as_bytes()],
            json!(["message", "é\u{1e}\0\r\n\u{2028}", "q\"\\"]),
        ),
        (&[b"connect", b"disconnect"], json!(["message", "disconnect", "connect"])),
    ] {
        publisher.send(parts);
        let packet = socket.message();
        assert!(!text(&packet).contains(SEPARATOR), "it would tear the payload apart");
        let packet = text(&packet).strip_prefix('4').unwrap();
        assert_eq!(event(&format!("4{packet}")), expected);
        assert_eq!(event(&polling.take(1)[0]), expected);
    }
}

#[test]
fn a_body_that_is_no_text_is_attached() {
    let (gateway, publisher) = stage(&[]);
    let polling = Session::connected(gateway.address, "");
    let mut socket = connected_socket(gateway.address, "");
    let large = [0xff; 100_000].as_slice();
    for (parts, attachment) in [
        (&[&b"t"[..], b"\x01\x02\x03\xff"][..], &b"\x01\x02\x03\xff"[..]),
        (&[b"t", b"text", b"\xff", b""], b"text\xff"),
        (&[b"t", large], large),
    ] {
        publisher.send(parts);
        let head = r#"451-["message",{"_placeholder":true,"num":0},"t"]"#;
        assert_eq!(text(&socket.message()), head);
        let frame = socket.message();
        assert_eq!(frame.opcode, BINARY);
        assert!(frame.payload == attachment);
        let packets = polling.take(2);
        assert_eq!(packets[0], head);
        let base64 = packets[1].strip_prefix('b').unwrap();
        assert!(data_encoding::BASE64.decode(base64.as_bytes()).unwrap() == attachment);
    }
    assert_order_after(&publisher, &mut socket, &polling);
}

/// What is text again comes behind what was not.
fn assert_order_after(publisher: &Publisher, socket: &mut Raw, polling: &Session) {
    publisher.send(&[b"t", b"last"]);
    assert_eq!(body(text(&socket.message())), "last");
    assert_eq!(body(&polling.take(1)[0]), "last");
}

#[test]
fn a_topic_that_is_no_text_breaks_nobody() {
    let (gateway, publisher) = stage(&[]);
    for query in ["", "&format=json"] {
        let mut socket = connected_socket(gateway.address, query);
        publisher.send(&[b"\xff\xfe", b"12"]);
        let frame = socket.message();
        let packet = text(&frame);
        let attachments = match packet.strip_prefix("45") {
            None => 0,
            Some(rest) => rest.split('-').next().unwrap().parse().unwrap(),
        };
        assert!(attachments <= 2 && !packet.starts_with("450"), "{packet}");
        for _ in 0..attachments {
            assert_eq!(socket.message().opcode, BINARY);
        }
        publisher.send(&[b"t", b"next"]);
        assert!(text(&socket.message()).contains("next"));
    }
}

#[test]
fn with_format_json_the_argument_is_the_object() {
    let (gateway, publisher) = stage(&[]);
    let polling = Session::connected(gateway.address, "&format=json");
    publisher.send(&[b"weather.oslo", b"12"]);
    publisher.send(&[b"t", b"\xff", b"x"]);
    publisher.send(&[b"t\xff", b"a"]);
    let events: Vec<_> = polling.take(3).iter().map(|packet| event(packet)).collect();
    let id = events[0][1]["id"].as_str().unwrap().to_owned();
    assert!(id.ends_with("-1"), "{id}");
    let epoch = id.split_once('-').unwrap().0;
    assert_eq!(
        Value::from(events),
        json!([
            ["message", {"id": format!("{epoch}-1"), "topic": "weather.oslo", "data": "12"}],
            ["message", {"id": format!("{epoch}-2"), "topic": "t", "data": ["/w==", "x"],
                "encoding": ["base64", "utf8"]}],
            ["message", {"id": format!("{epoch}-3"), "topic64": "dP8=", "data": "a"}],
        ])
    );
}

#[test]
fn the_default_format_is_the_gateways() {
    let (gateway, publisher) = stage(&["--format=json"]);
    let session = Session::connected(gateway.address, "");
    let raw = Session::connected(gateway.address, "&format=raw");
    publisher.send(&[b"t", b"12"]);
    assert_eq!(event(&session.take(1)[0])[1]["data"], "12");
    assert_eq!(body(&raw.take(1)[0]), "12");
}

#[test]
fn only_what_was_asked_for_arrives() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::connected(gateway.address, "&topic=weather.&exact=n");
    let mut socket = connected_socket(gateway.address, "&exact=news&topic=weather.o");
    for topic in ["news", "weather", "weather.oslo", "n", "weather.rome", "news"] {
        publisher.send(&[topic.as_bytes(), topic.as_bytes()]);
    }
    let polled: Vec<_> = session.take(3).iter().map(|packet| body(packet)).collect();
    assert_eq!(polled, ["weather.oslo", "n", "weather.rome"]);
    for topic in ["news", "weather.oslo", "news"] {
        assert_eq!(body(text(&socket.message())), topic);
    }
}

#[test]
fn nothing_comes_before_the_main_namespace_is_entered() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::open(gateway.address);
    let (mut socket, _) = opened_socket(gateway.address, "");
    publisher.send(&[b"t", b"too early"]);
    gateway.wait_for_metric("zmq2ws_messages_received_total", |count| count == 1.0);
    session.connect();
    socket.send(TEXT, b"40");
    welcome(text(&socket.message()));
    publisher.send(&[b"t", b"in time"]);
    assert_eq!(body(&session.take(1)[0]), "in time");
    assert_eq!(body(text(&socket.message())), "in time");
}

/// What a gap's event says.
fn gap(packet: &str) -> Value {
    let event = event(packet);
    assert_eq!(event[0], "gap", "{packet}");
    assert_eq!(event.as_array().unwrap().len(), 2, "{packet}");
    event[1].clone()
}

#[test]
fn who_comes_back_with_an_id_gets_what_it_missed() {
    let (gateway, publisher) = stage(&["--history=3"]);
    let session = Session::connected(gateway.address, "&format=json");
    for number in 1..=5 {
        publisher.send(&[b"t", format!("{number}").as_bytes()]);
    }
    let epoch = event(&session.take(5)[0])[1]["id"].as_str().unwrap().replace("-1", "");
    let since = |id: &str| {
        let session = Session::open_with(gateway.address, &format!("&since={id}"));
        session.assert_posts("40");
        let mut packets = Vec::new();
        while !packets.last().is_some_and(|last: &String| last.contains("\"5\"")) {
            packets.extend(session.packets());
        }
        welcome(&packets.remove(0));
        packets
    };
    let kept = since(&format!("{epoch}-2"));
    let bodies: Vec<_> = kept.iter().map(|packet| body(packet)).collect();
    assert_eq!(bodies, ["3", "4", "5"]);
    for (id, missed) in [
        (format!("{epoch}-1"), json!({"missed": 1, "reason": "history"})),
        ("zzzzzzzz-1".to_owned(), json!({"missed": null, "reason": "restart"})),
    ] {
        let packets = since(&id);
        assert_eq!(gap(&packets[0]), missed);
        assert_eq!(packets.len(), 4, "{packets:?}");
    }
}

#[test]
fn who_lags_is_told_how_much_it_missed() {
    let (gateway, publisher) = stage(&["--max-lag=100000", "--history=0"]);
    let session = Session::connected(gateway.address, "&format=json");
    let filler = "x".repeat(10_000);
    for number in 1..=200 {
        publisher.send(&[b"t", format!("{number}|{filler}").as_bytes()]);
    }
    gateway.wait_for_metric("zmq2ws_messages_received_total", |count| count == 200.0);
    publisher.send(&[b"t", b"last"]);
    let (mut seen, mut missed, mut is_over) = (0, 0, false);
    while !is_over {
        for packet in session.packets() {
            let event = event(&packet);
            if event[0] == "gap" {
                assert_eq!(event[1]["reason"], "lag");
                missed += event[1]["missed"].as_u64().unwrap();
            } else {
                is_over = event[1]["data"] == "last";
                seen += 1;
            }
        }
    }
    assert_eq!(seen + missed, 201);
    assert!(missed > 100, "{missed}");
}

#[test]
fn a_loss_upstream_is_told_in_its_place() {
    let (gateway, publisher) = stage(&["--sequence=2:u32le"]);
    let session = Session::connected(gateway.address, "");
    publisher.send(&[b"t", b"a", &1_u32.to_le_bytes()]);
    publisher.send(&[b"t", b"b", &5_u32.to_le_bytes()]);
    let packets = session.take(3);
    assert!(packets[0].contains("a\\u0001") || packets[0].contains("\"message\""), "{packets:?}");
    assert_eq!(gap(&packets[1]), json!({"missed": 3, "reason": "upstream"}));
}

#[test]
fn a_new_client_gets_last_values() {
    let (gateway, publisher) = stage(&["--last-value"]);
    publisher.send(&[b"a", b"old"]);
    publisher.send(&[b"a", b"1"]);
    publisher.send(&[b"b", b"2"]);
    gateway.wait_for_metric("zmq2ws_messages_received_total", |count| count == 3.0);
    let session = Session::open(gateway.address);
    session.assert_posts("40");
    let packets = session.take(3);
    welcome(&packets[0]);
    assert_eq!((&*body(&packets[1]), &*body(&packets[2])), ("1", "2"));
}

#[test]
fn messages_are_counted() {
    let (gateway, publisher) = stage(&[]);
    let session = Session::connected(gateway.address, "");
    session.assert_hears(&publisher);
    let sample = "zmq2ws_messages_delivered_total{transport=\"socketio\"}";
    gateway.wait_for_metric(sample, |count| count == 1.0);
    assert_eq!(get(gateway.address, "/metrics").text().matches(&*session.sid).count(), 0);
}
