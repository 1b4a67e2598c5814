//! RFC 6455 over the wire: the upgrade, what a client may send, and what it gets to hear.

use std::io::Write;

use crate::support::http::{self, Connection, exchange};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::{
    BINARY, CLOSE, PING, PONG, Raw, TEXT, UPGRADE, frame, tungstenite, upgrade_request,
};

const CONTINUATION: u8 = 0;

#[test]
fn refused_upgrades_are_answered_and_closed() {
    let gateway = Gateway::start(&["--origin=https://good.example"]);
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    for (line, headers, status) in [
        ("GET /ws HTTP/1.0", vec![upgrade, version, key], "400"),
        ("GET /ws HTTP/1.1", vec!["Upgrade: websocket\r\n", version, key], "400"),
        ("GET /ws HTTP/1.1", vec![upgrade, version], "400"),
        ("GET /ws HTTP/1.1", vec![upgrade, version, "Sec-WebSocket-Key: short\r\n"], "400"),
        ("GET /ws?format=xml HTTP/1.1", vec![UPGRADE], "400"),
        ("GET /ws?since=%00%ff HTTP/1.1", vec![UPGRADE], "400"),
        ("GET /ws?topic=%zz HTTP/1.1", vec![UPGRADE], "400"),
        ("GET /ws HTTP/1.1", vec![], "426"),
        ("GET /ws HTTP/1.1", vec![upgrade, key], "426"),
        ("GET / HTTP/1.1", vec![upgrade, key, "Sec-WebSocket-Version: 8\r\n"], "426"),
        ("GET /ws HTTP/1.1", vec![UPGRADE, "Origin: https://evil.example\r\n"], "403"),
        ("GET / HTTP/1.1", vec![UPGRADE, "Origin: null\r\n"], "403"),
        ("POST /ws HTTP/1.1", vec![UPGRADE], "405"),
    ] {
        let request = format!("{line}\r\nHost: a\r\n{}Connection: close\r\n\r\n", headers.concat());
        let answer = exchange(gateway.address, &request);
        assert_eq!(answer.get(9..12), Some(status), "{request}{answer}");
        if status == "426" {
            assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{answer}");
        }
        if status == "405" {
            assert!(answer.contains("\r\nAllow: GET\r\n"), "{answer}");
        }
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    // Nothing was made for any of them.
    assert_eq!(gateway.metrics().get("zmq2ws_feeds"), 0.0);
    let mut good = Connection::open(gateway.address);
    good.send(format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{UPGRADE}Origin: https://good.example\r\n\r\n"
    ));
    Raw::upgraded(good);
}

#[test]
fn an_upgrade_in_segments_of_one_byte_works_on_both_paths() {
    let gateway = Gateway::start(&[]);
    for path in ["/", "/ws"] {
        let mut connection = Connection::open(gateway.address);
        let mut bytes = upgrade_request(path).into_bytes();
        bytes.extend(frame(TEXT, true, "grüße".as_bytes()));
        bytes.extend(frame(PING, true, b"slowly"));
        for byte in bytes {
            connection.send([byte]);
        }
        let mut client = Raw::upgraded(connection);
        let pong = client.frame();
        assert_eq!((pong.opcode, pong.text()), (PONG, "slowly"));
    }
}

#[test]
fn frames_behind_the_upgrade_are_not_lost() {
    let gateway = Gateway::start(&[]);
    let mut connection = Connection::open(gateway.address);
    let mut bytes = upgrade_request("/ws").into_bytes();
    bytes.extend(frame(TEXT, true, b"ignored"));
    bytes.extend(frame(PING, true, b"early"));
    connection.send(bytes);
    let mut client = Raw::upgraded(connection);
    let pong = client.frame();
    assert_eq!((pong.opcode, pong.text()), (PONG, "early"));
    client.send(CLOSE, &[]);
    assert_eq!(client.frame().opcode, CLOSE);
    assert_eq!(client.next().unwrap(), None);
}

#[test]
fn of_a_flood_of_pings_the_latest_is_answered() {
    const PINGS: u32 = 20_000;
    let gateway = Gateway::start(&[]);
    let mut client = Raw::open(gateway.address, "/ws");
    let flood: Vec<u8> =
        (0..PINGS).flat_map(|number| frame(PING, true, &number.to_be_bytes())).collect();
    client.send_bytes(&flood).unwrap();
    let (mut pongs, mut last) = (0, None);
    while last != Some(PINGS - 1) {
        let pong = client.frame();
        assert_eq!(pong.opcode, PONG);
        let number = u32::from_be_bytes(pong.payload.try_into().unwrap());
        assert!(last < Some(number), "pongs keep their order");
        last = Some(number);
        pongs += 1;
    }
    assert!(pongs <= PINGS / 20, "{pongs} pongs for {PINGS} pings");
}

#[test]
fn a_close_is_echoed_and_nothing_follows() {
    let gateway = Gateway::start(&[]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let cases: [&[u8]; 5] = [
        &1000_u16.to_be_bytes(),
        &1001_u16.to_be_bytes(),
        &4321_u16.to_be_bytes(),
        &[&3000_u16.to_be_bytes(), "auf wiedersehen €".as_bytes()].concat(),
        &[],
    ];
    for payload in cases {
        let mut client = Raw::open(gateway.address, "/ws");
        client.send(CLOSE, payload);
        // What comes behind a close frame is not looked at.
        client.send_bytes(&[0xff; 100]).unwrap();
        publisher.send(&[b"t", b"too late, or just in time"]);
        let close = loop {
            let frame = client.frame();
            if frame.opcode != TEXT {
                break frame;
            }
        };
        assert_eq!(close.opcode, CLOSE);
        let code = &payload[..payload.len().min(2)];
        assert_eq!(close.payload.get(..2).unwrap_or_default(), code, "the code comes back");
        publisher.send(&[b"t", b"too late"]);
        assert_eq!(client.next().unwrap(), None);
    }
    gateway.wait_for_metric(&http::closed("websocket", "client"), |value| value == 5.0);
}

/// What no client may send, and the code that it gets.
fn violations() -> Vec<(&'static str, Vec<u8>, u16)> {
    let masked = |first: u8, second: u8| vec![first, second | 0x80, 0, 0, 0, 0];
    let huge = |len: u64| [&[0x82, 0xff][..], &len.to_be_bytes(), &[0; 4]].concat();
    let first_fragment = || frame(TEXT, false, b"a");
    vec![
        ("not masked", vec![0x81, 0x01, b'a'], 1002),
        ("RSV1", masked(0xc1, 0), 1002),
        ("RSV2", masked(0xa1, 0), 1002),
        ("RSV3", masked(0x91, 0), 1002),
        ("opcode 3", masked(0x83, 0), 1002),
        ("opcode 11", masked(0x8b, 0), 1002),
        ("a fragmented ping", masked(0x09, 0), 1002),
        ("a long ping", frame(PING, true, &[b'x'; 126]), 1002),
        ("a continuation of nothing", frame(CONTINUATION, true, b"a"), 1002),
        ("a message in a message", [first_fragment(), frame(TEXT, true, b"b")].concat(), 1002),
        ("a close of one byte", frame(CLOSE, true, &[3]), 1002),
        ("close code 999", frame(CLOSE, true, &999_u16.to_be_bytes()), 1002),
        ("close code 1005", frame(CLOSE, true, &1005_u16.to_be_bytes()), 1002),
        ("close code 5000", frame(CLOSE, true, &5000_u16.to_be_bytes()), 1002),
        ("a reason that is not UTF-8", frame(CLOSE, true, b"\x03\xe8\xff"), 1007),
        ("text that is not UTF-8", frame(TEXT, true, b"\xff"), 1007),
        ("text that ends too early", frame(TEXT, true, b"\xe2\x82"), 1007),
        (
            "fragments that are not UTF-8",
            [frame(TEXT, false, b"\xe2"), frame(CONTINUATION, true, b"a")].concat(),
            1007,
        ),
        ("a surrogate", frame(TEXT, true, b"\xed\xa0\x80"), 1007),
        ("a large message", frame(BINARY, true, &[0; 4097]), 1009),
        (
            "fragments that are too large",
            [frame(BINARY, false, &[0; 4096]), frame(CONTINUATION, false, b"a")].concat(),
            1009,
        ),
        ("four exabytes", huge(1 << 62), 1009),
    ]
}

#[test]
fn each_violation_has_its_close_code() {
    let gateway = Gateway::start(&[]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut bystander = Raw::open(gateway.address, "/ws");
    for (what, bytes, code) in violations() {
        eprintln!("{what}");
        let mut client = Raw::open(gateway.address, "/ws");
        client.send_bytes(&bytes).unwrap();
        client.assert_closed(code);
        publisher.send(&[b"t", what.as_bytes()]);
        assert_eq!(bystander.message().text(), what);
    }
    let metrics = gateway.metrics();
    let count = |code| violations().iter().filter(|it| it.2 == code).count() as f64;
    assert_eq!(metrics.closed("websocket", "protocol"), count(1002));
    assert_eq!(metrics.closed("websocket", "invalid_data"), count(1007));
    assert_eq!(metrics.closed("websocket", "too_large"), count(1009));
}

#[test]
fn a_close_code_arrives_though_the_client_goes_on_sending() {
    let gateway = Gateway::start(&[]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let codes = [1002, 1007, 1009];
    let violation = |code| violations().into_iter().find(|it| it.2 == code).unwrap().1;
    for code in codes {
        let mut client = Raw::open(gateway.address, "/ws");
        publisher.send(&[b"t", b"before"]);
        client.send_bytes(&violation(code)).unwrap();
        // Unread input turns a close into a reset, which may destroy what was sent before it.
        let garbage = vec![0x55; 10 << 20];
        client.send_bytes(&garbage).expect("the gateway takes what it discards");
        let first = client.frame();
        if first.opcode == TEXT {
            client.assert_closed(code);
        } else {
            assert_eq!(first.close_code(), code);
            assert_eq!(client.next().unwrap(), None);
        }
    }
}

#[test]
fn what_clients_say_is_discarded() {
    let gateway = Gateway::start(&["--max-inbound=1000"]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut listener = Raw::open(gateway.address, "/ws");
    let mut talker = Raw::open(gateway.address, "/ws");
    for _ in 0..500 {
        talker.send(TEXT, &[b'x'; 1000]);
        talker.send(BINARY, &[0xff; 1000]);
        // "€" in three fragments, with a ping in between.
        talker.send_bytes(&frame(TEXT, false, b"\xe2")).unwrap();
        talker.send_bytes(&frame(CONTINUATION, false, b"\x82")).unwrap();
        talker.send(PONG, b"unasked");
        talker.send_bytes(&frame(CONTINUATION, true, b"\xac")).unwrap();
    }
    talker.send(PING, b"still here");
    assert_eq!(talker.frame().text(), "still here");
    publisher.send(&[b"t", b"only this"]);
    assert_eq!(listener.frame().text(), "only this", "clients hear nothing of each other");
    talker.send(TEXT, &[b'x'; 1001]);
    assert_eq!(talker.frame().text(), "only this");
    talker.assert_closed(1009);
}

#[test]
fn an_endless_message_takes_no_memory() {
    let gateway = Gateway::start(&["--max-inbound=1GiB"]);
    let mut client = Raw::open(gateway.address, "/ws");
    client.send(PING, b"");
    assert_eq!(client.frame().opcode, PONG);
    let before = gateway.anonymous_bytes();
    let mut head = frame(BINARY, false, &[0; 70_000])[..14].to_vec();
    head[2..10].copy_from_slice(&(1_u64 << 30).to_be_bytes());
    client.send_bytes(&head).unwrap();
    let piece = vec![0; 1 << 20];
    for _ in 0..100 {
        client.stream.write_all(&piece).unwrap();
    }
    // Another client's answer comes when this one's input has been read for a while.
    gateway.metrics();
    let grown = gateway.anonymous_bytes().saturating_sub(before);
    eprintln!("100 MiB of a 1 GiB frame: grown by {grown} bytes");
    assert!(grown < 1 << 20, "grown by {grown} bytes");
}

#[test]
fn tungstenite_closes_cleanly() {
    let gateway = Gateway::start(&[]);
    let mut client = tungstenite(gateway.address, "/ws");
    client.send(tungstenite::Message::Ping("are you there".into())).unwrap();
    assert_eq!(client.read().unwrap(), tungstenite::Message::Pong("are you there".into()));
    client.close(None).unwrap();
    assert!(client.read().unwrap().is_close());
    let end = client.read().unwrap_err();
    assert!(matches!(end, tungstenite::Error::ConnectionClosed), "{end:?}");
}
