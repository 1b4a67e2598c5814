//! Messages deflated by permessage-deflate (RFC 7692): what is offered and agreed on, what comes deflated, live and again,
//! and what clients may send deflated.

use crate::support::http::{Connection, RECEIVED, closed, connect_narrow, exchange};
use crate::support::node::Script;
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::{
    BINARY, DEFLATE_AGREED, Frame, PING, PONG, Raw, TEXT, UPGRADE, frame, offering_request,
    upgrade_request,
};

const DELIVERED: &str = "zmq2ws_bytes_delivered_total{transport=\"websocket\"}";
const IN: &str = "zmq2ws_compress_in_bytes_total";
const OUT: &str = "zmq2ws_compress_out_bytes_total";

/// A body of about so many bytes, another one for each number.
fn body(number: usize, bytes: usize) -> String {
    let quote =
        format!("{{\"number\":{number},\"price\":{},\"side\":\"buy\"}},", number * 37 % 1_000);
    quote.repeat(1 + bytes / quote.len())
}

fn start(args: &[&str]) -> (Gateway, Publisher) {
    let gateway = Gateway::start(&[&["--compress"], args].concat());
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    (gateway, publisher)
}

/// Which extensions are agreed on with who offers these.
fn agreed(gateway: &Gateway, path: &str, offer: &str) -> Option<String> {
    let mut connection = Connection::open(gateway.address);
    connection.send(offering_request(path, offer));
    Raw::upgraded_with(connection).1
}

fn json(frame: &Frame) -> serde_json::Value {
    serde_json::from_slice(&frame.payload).unwrap()
}

#[test]
fn what_is_agreed_on_is_what_was_offered_and_can_be_met() {
    let (gateway, _publisher) = start(&[]);
    let window = format!("{DEFLATE_AGREED}; server_max_window_bits=15");
    for (offer, expected) in [
        ("permessage-deflate; client_max_window_bits", Some(DEFLATE_AGREED)),
        ("permessage-deflate; server_max_window_bits=15", Some(&window)),
        ("permessage-deflate; server_max_window_bits=12, permessage-deflate", Some(DEFLATE_AGREED)),
        ("permessage-deflate; server_max_window_bits=12", None),
        ("permessage-deflate; server_max_window_bits=99", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; unheard_of", None),
        ("bbf-usp-protocol", None),
    ] {
        assert_eq!(agreed(&gateway, "/ws", offer).as_deref(), expected, "{offer}");
    }
    // As many as fit into a request.
    let many = ["permessage-deflate;a"; 360].join(",");
    assert_eq!(agreed(&gateway, "/ws", &many), None);
    assert_eq!(
        agreed(&gateway, "/", &format!("{many}, permessage-deflate")).as_deref(),
        Some(DEFLATE_AGREED)
    );
    let refusal = |offer: &str| exchange(gateway.address, offering_request("/ws", offer));
    let thousand = ["permessage-deflate; server_max_window_bits=8"; 1_000].join(",");
    assert!(refusal(&thousand).starts_with("HTTP/1.1 431 "));
    for malformed in ["permessage-deflate; =", "permessage-deflate; a=\"", "a b", "\""] {
        let answer = refusal(malformed);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{malformed}: {answer}");
        assert!(answer.ends_with("malformed Sec-WebSocket-Extensions\n"), "{answer}");
    }
}

#[test]
fn nothing_is_deflated_unless_both_ends_want_it() {
    let off = Gateway::start(&[]);
    assert_eq!(agreed(&off, "/ws", "permessage-deflate"), None);
    assert_eq!(agreed(&off, "/ws", "permessage-deflate; ="), None);
    let (gateway, publisher) = start(&[]);
    let mut plain = Raw::open(gateway.address, "/ws");
    publisher.send(&[b"t", &[b'a'; 10_000]]);
    assert!(!plain.message().was_deflated);
    assert_eq!(gateway.metrics().get(IN), 0.0);
    // With what says by WebSocket what it wants, nothing is agreed on.
    let socket_io = "/socket.io/?EIO=4&transport=websocket";
    assert_eq!(agreed(&gateway, socket_io, "permessage-deflate"), None);
    let mut connection = Connection::open(gateway.address);
    connection.send(format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\n{UPGRADE}Sec-WebSocket-Protocol: ZWS2.0\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    ));
    assert_eq!(Raw::upgraded_with(connection).1, None);
}

#[test]
fn each_message_is_deflated_once_for_all_and_short_ones_not_at_all() {
    let (gateway, publisher) = start(&[]);
    let mut clients: Vec<_> =
        (0..10).map(|_| Raw::open_deflated(gateway.address, "/ws?format=json")).collect();
    let mut plain = Raw::open(gateway.address, "/ws?format=json");
    let mut raw = Raw::open_deflated(gateway.address, "/ws?topic=t");
    let bodies =
        [body(1, 3_000), "short".to_owned(), body(2, 400_000), "x".repeat(2 << 20), body(3, 100)];
    for body in &bodies {
        publisher.send(&[b"t", body.as_bytes()]);
    }
    for (at, body) in bodies.iter().enumerate() {
        let expected = plain.message();
        assert_eq!(json(&expected)["data"], body.as_str());
        // Too short to gain, and too large to be deflated while the others wait.
        let is_deflated = [true, false, true, false, false][at];
        for client in &mut clients {
            let message = client.message();
            assert!(message.payload == expected.payload, "the very same text");
            assert_eq!((message.opcode, message.was_deflated), (TEXT, is_deflated), "{at}");
        }
        let message = raw.message();
        assert!(message.payload == body.as_bytes());
        assert_eq!((message.opcode, message.was_deflated), (TEXT, is_deflated), "{at}");
    }
    let metrics = gateway.metrics();
    // Once for each of the two formats, not for each client; the object escapes each quote.
    let once = (bodies[0].len() + bodies[2].len()) as f64;
    let bytes_in = metrics.get(IN);
    assert!((2.0 * once..2.4 * once).contains(&bytes_in), "{bytes_in} of {once}");
    assert!(metrics.get(OUT) < bytes_in / 20.0);
    // The large and plain ones are nearly all that was sent.
    let plain_bytes = 12.0 * f64::from(2 << 20) + once;
    let delivered = metrics.get(DELIVERED);
    assert!((plain_bytes..1.1 * plain_bytes).contains(&delivered), "{delivered}");
}

#[test]
fn what_does_not_shrink_goes_as_it_is_with_its_own_opcode() {
    let (gateway, publisher) = start(&["--compress-min=1"]);
    let mut client = Raw::open_deflated(gateway.address, "/ws");
    let noise: Vec<u8> =
        (0..1_000_u32).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_be_bytes()).collect();
    let binary = [0xff; 1_000];
    for body in [&noise[..], &binary, b"", b"a"] {
        publisher.send(&[b"t", body]);
    }
    for (body, opcode, was_deflated) in [
        (&noise[..], BINARY, false),
        (&binary, BINARY, true),
        (b"", TEXT, false),
        (b"a", TEXT, false),
    ] {
        let payload = body.to_vec();
        assert_eq!(client.message(), Frame { opcode, was_deflated, payload });
    }
}

#[test]
fn who_comes_back_may_offer_it_or_not() {
    const MISSED: usize = 300;
    let (gateway, publisher) = start(&["--format=json", "--history=5000"]);
    let send = |number: usize| publisher.send(&[b"t", body(number, 1_000).as_bytes()]);
    let mut first = Raw::open_deflated(gateway.address, "/ws");
    send(0);
    let message = first.message();
    let id = json(&message)["id"].as_str().unwrap().to_owned();
    drop(first);
    (1..=MISSED).for_each(send);
    gateway.wait_for_metric(RECEIVED, |value| value == (MISSED + 1) as f64);
    let path = format!("/ws?since={id}");
    let mut plain = Raw::open(gateway.address, &path);
    let mut deflated: Vec<_> = (0..5).map(|_| Raw::open_deflated(gateway.address, &path)).collect();
    (MISSED + 1..=MISSED + 10).for_each(send);
    for number in 1..=MISSED + 10 {
        let expected = plain.message();
        assert_eq!(json(&expected)["data"], body(number, 1_000).as_str());
        for client in &mut deflated {
            let message = client.message();
            assert!(message.was_deflated && message.payload == expected.payload, "{number}");
        }
    }
    // One of another run is told of a gap, which is too short to be deflated.
    let mut lost = Raw::open_deflated(gateway.address, "/ws?since=00000000-1");
    let gap = lost.message();
    assert_eq!((json(&gap)["gap"]["reason"].as_str(), gap.was_deflated), (Some("restart"), false));
    assert!(lost.message().was_deflated);
}

#[test]
fn last_values_come_deflated() {
    let (gateway, publisher) = start(&["--last-value"]);
    for number in 0..6 {
        let topic = ["a", "b"][number % 2];
        publisher.send(&[topic.as_bytes(), body(number, 10_000).as_bytes()]);
    }
    gateway.wait_for_metric(RECEIVED, |value| value == 6.0);
    let mut client = Raw::open_deflated(gateway.address, "/ws");
    for number in [4, 5] {
        let message = client.message();
        assert!(message.was_deflated && message.payload == body(number, 10_000).as_bytes());
    }
}

#[test]
fn a_client_may_deflate_what_it_says_where_that_was_agreed_on() {
    let (gateway, publisher) = start(&[]);
    const DEFLATED: u8 = 0x40;
    let mut client = Raw::open_deflated(gateway.address, "/ws");
    // What it would inflate to, if anything, nobody asks; a control frame may come in the middle of it.
    client.send(TEXT | DEFLATED, b"\xff\xfe no deflate at all");
    client.send_bytes(&frame(BINARY | DEFLATED, false, &[0; 4_000])).unwrap();
    client.send(PING, b"between");
    client.send_bytes(&frame(0, true, &[0; 96])).unwrap();
    client.send(TEXT, "and plainly é".as_bytes());
    let pong = client.frame();
    assert_eq!((pong.opcode, pong.text()), (PONG, "between"));
    publisher.send(&[b"t", b"still there"]);
    assert_eq!(client.message().text(), "still there");
    for (first, payload, code) in [
        (PING | DEFLATED, &b""[..], 1002),
        (DEFLATED, b"", 1002),
        (TEXT | 0x20, b"", 1002),
        (TEXT | 0x10, b"", 1002),
        (TEXT, b"\xff", 1007),
        (TEXT | DEFLATED, &[0; 4_097], 1009),
    ] {
        let mut client = Raw::open_deflated(gateway.address, "/ws");
        client.send(first, payload);
        client.assert_closed(code);
    }
    // On a continuation it says nothing; before anything was agreed on neither.
    let mut client = Raw::open_deflated(gateway.address, "/ws");
    client.send_bytes(&frame(TEXT | DEFLATED, false, b"a")).unwrap();
    client.send(DEFLATED, b"b");
    client.assert_closed(1002);
    let mut connection = Connection::open(gateway.address);
    connection.send(upgrade_request("/ws"));
    let mut client = Raw::upgraded(connection);
    client.send(TEXT | DEFLATED, b"a");
    client.assert_closed(1002);
    gateway.wait_for_metric(&closed("websocket", "protocol"), |count| count == 6.0);
}

/// A client that reads nothing is left behind like any other, is told so, and delays nobody.
#[test]
fn who_lags_is_told_and_goes_on() {
    const COUNT: usize = 1_000;
    let (gateway, publisher) = start(&["--format=json", "--max-lag=64KiB", "--history=0"]);
    let mut reader = Raw::open_deflated(gateway.address, "/ws");
    let mut connection = Connection::on(connect_narrow(gateway.address));
    connection.send(offering_request("/ws", "permessage-deflate"));
    let mut stalled = Raw::upgraded_with(connection).0;
    // Digits become about half as long: together they are more than the kernel takes for one client.
    let body = |number: usize| -> String {
        let digits =
            (0..2_500_u32).map(|at| at.wrapping_mul(0x9e37_79b9).rotate_left(number as u32));
        digits.map(|digits| format!("{digits:08x}")).collect()
    };
    for number in 0..COUNT {
        publisher.send(&[b"t", body(number).as_bytes()]);
        let message = reader.message();
        assert!(message.was_deflated);
        assert_eq!(json(&message)["data"], body(number).as_str());
    }
    let (mut seen, mut missed) = (0, 0);
    while seen + missed < COUNT {
        let message = json(&stalled.message());
        match message["gap"]["missed"].as_u64() {
            Some(count) => missed += usize::try_from(count).unwrap(),
            None => {
                assert_eq!(message["data"], body(seen + missed).as_str());
                seen += 1;
            }
        }
    }
    assert!(missed > 0, "{seen} seen");
}

#[test]
fn the_package_ws_inflates_and_deflates() {
    let (gateway, publisher) = start(&["--max-inbound=1KiB"]);
    let url = gateway.url("ws") + "/ws";
    let Some(deflating) = Script::start("deflate.js", &[&url, "yes"]) else { return };
    let Some(plain) = Script::start("deflate.js", &[&url, "no"]) else { return };
    assert_eq!(deflating.line(), "\"permessage-deflate\"");
    assert_eq!(plain.line(), "\"\"");
    // What the plain one says is too long: deflated it is not.
    assert_eq!(plain.line(), "{\"code\":1009}");
    for number in 0..100 {
        publisher.send(&[b"t", body(number, 5_000).as_bytes()]);
    }
    publisher.send(&[b"t", &[0xff; 3_000]]);
    let mut last = serde_json::Value::Null;
    for number in 0..100 {
        last = serde_json::from_str(&deflating.line()).unwrap();
        assert_eq!(last["body"], body(number, 5_000).as_str());
    }
    assert!(last["bytes"].as_u64().unwrap() < 100 * 500, "{}", last["bytes"]);
    last = serde_json::from_str(&deflating.line()).unwrap();
    assert_eq!((&last["body"], &last["isBinary"]), (&"ff".repeat(3_000).into(), &true.into()));
    assert_eq!(gateway.metrics().get("zmq2ws_clients{transport=\"websocket\"}"), 1.0);
}
