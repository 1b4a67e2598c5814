//! From a ZeroMQ socket to a WebSocket: shapes, formats, filters, order.

use std::thread;

use tungstenite::Message;

use crate::support::http::{CLIENTS, RECEIVED, wait_for_metric};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::{Raw, Tungstenite, tungstenite};
use crate::support::{Local, TempDir, wait_until};

/// The next message of a tungstenite client, as text.
#[track_caller]
fn text(client: &mut Tungstenite) -> String {
    match client.read().unwrap() {
        Message::Text(text) => text.as_str().to_owned(),
        other => panic!("no text: {other:?}"),
    }
}

#[track_caller]
fn binary(client: &mut Tungstenite) -> Vec<u8> {
    match client.read().unwrap() {
        Message::Binary(bytes) => bytes.to_vec(),
        other => panic!("not binary: {other:?}"),
    }
}

/// A message as the format `parts` carries it.
fn parts(parts: &[&[u8]]) -> Vec<u8> {
    let part = |part: &&[u8]| [&(part.len() as u32).to_be_bytes(), *part].concat();
    parts.iter().flat_map(part).collect()
}

#[test]
fn a_pub_socket_reaches_a_client_in_each_format() {
    let gateway = Gateway::start(&[]);
    let mut raw = tungstenite(gateway.address, "/ws?topic=weather");
    let mut json = tungstenite(gateway.address, "/?format=json&topic=weather");
    let mut in_parts = tungstenite(gateway.address, "/ws?format=parts&topic=weather");
    let context = zmq::Context::new();
    let socket = context.socket(zmq::PUB).unwrap();
    socket.connect(&gateway.endpoints[0]).unwrap();
    // PUB drops what nobody has asked for yet: nobody but the gateway sees these.
    wait_until("the subscription", || {
        socket.send_multipart(["probe", ""], 0).unwrap();
        gateway.metrics().get(RECEIVED) > 0.0
    });
    socket.send_multipart(["weather.oslo", "12 \"°C\""], 0).unwrap();
    socket.send_multipart([&b"weather.\xff"[..], b"a", b"", b"\x80"], 0).unwrap();
    assert_eq!(text(&mut raw), "12 \"°C\"");
    assert_eq!(binary(&mut raw), b"a\x80");
    let message: serde_json::Value = serde_json::from_str(&text(&mut json)).unwrap();
    assert_eq!(message["topic"], "weather.oslo");
    assert_eq!(message["data"], "12 \"°C\"");
    assert_eq!(message.as_object().unwrap().len(), 3, "id, topic and data: {message}");
    let first: Vec<_> = message["id"].as_str().unwrap().split('-').map(String::from).collect();
    let message: serde_json::Value = serde_json::from_str(&text(&mut json)).unwrap();
    assert_eq!(message["topic64"], "d2VhdGhlci7/");
    assert_eq!(message["data"], serde_json::json!(["a", "", "gA=="]));
    assert_eq!(message["encoding"], serde_json::json!(["utf8", "utf8", "base64"]));
    let second: Vec<_> = message["id"].as_str().unwrap().split('-').map(String::from).collect();
    assert_eq!(first[0], second[0]);
    assert_eq!(first[1].parse::<u64>().unwrap() + 1, second[1].parse::<u64>().unwrap());
    assert_eq!(binary(&mut in_parts), parts(&[b"weather.oslo", "12 \"°C\"".as_bytes()]));
    assert_eq!(binary(&mut in_parts), parts(&[b"weather.\xff", b"a", b"", b"\x80"]));
}

#[test]
fn payload_decides_about_text_and_binary() {
    for (payload, is_text) in [("auto", true), ("text", true), ("binary", false)] {
        let gateway = Gateway::start(&["--payload", payload]);
        let mut client = tungstenite(gateway.address, "/ws");
        let publisher = Publisher::connect(&gateway.endpoints[0]);
        publisher.send(&[b"t", "æ".as_bytes()]);
        publisher.send(&[b"t", b"\xff"]);
        match is_text {
            true => assert_eq!(text(&mut client), "æ"),
            false => assert_eq!(binary(&mut client), "æ".as_bytes()),
        }
        assert_eq!(binary(&mut client), b"\xff", "text that is not UTF-8 never goes as text");
    }
}

#[test]
fn filters_take_prefixes_and_whole_topics() {
    let gateway = Gateway::start(&[]);
    let clients = [
        ("/ws", "all"),
        ("/ws?topic=worker-1", "worker-1 worker-10 worker-1"),
        ("/ws?exact=worker-1", "worker-1 worker-1"),
        ("/ws?topic=worker-10&exact=worker-1", "worker-1 worker-10 worker-1"),
        ("/ws?topic=worker-1&topic=worker-10", "worker-1 worker-10 worker-1"),
        ("/ws?topic=%ff%00", "binary"),
        ("/ws?exact=a%20b&exact=a%2Bb", "space plus"),
        ("/ws?exact=a+b", "space"),
        ("/ws?exact=", "empty"),
    ];
    let mut clients = clients.map(|(path, expected)| (Raw::open(gateway.address, path), expected));
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let messages: [(&[u8], &str); 9] = [
        (b"worker", "worker"),
        (b"worker-1", "worker-1"),
        (b"worker-10", "worker-10"),
        (b"\xff\x00\x01", "binary"),
        (b"\xff\x01", "other"),
        (b"a b", "space"),
        (b"a+b", "plus"),
        (b"", "empty"),
        (b"worker-1", "worker-1"),
    ];
    for (topic, body) in messages {
        publisher.send(&[topic, body.as_bytes()]);
    }
    let all: Vec<_> = messages.iter().map(|(_, body)| *body).collect();
    let all = all.join(" ");
    for (client, expected) in &mut clients {
        let expected = if *expected == "all" { &all } else { *expected };
        let count = expected.split(' ').count();
        let bodies: Vec<_> = (0..count).map(|_| client.frame().text().to_owned()).collect();
        assert_eq!(bodies.join(" "), expected);
    }
    // Whoever wants nothing of this would have got more by now.
    gateway.wait_for_metric(RECEIVED, |value| value == messages.len() as f64);
    for (mut client, _) in clients {
        client.send(crate::support::websocket::PING, b"end");
        assert_eq!(client.frame().opcode, crate::support::websocket::PONG);
    }
}

#[test]
fn a_pull_socket_gets_its_share() {
    let gateway = Gateway::start(&["--socket=pull"]);
    let mut client = Raw::open(gateway.address, "/ws");
    let publisher = Publisher::push(&gateway.endpoints[0]);
    for number in 0..100 {
        publisher.send(&[b"t", format!("{number}").as_bytes()]);
    }
    for number in 0..100 {
        assert_eq!(client.frame().text(), number.to_string());
    }
}

#[test]
fn several_endpoints_of_every_kind_feed_one_gateway() {
    let folder = TempDir::new();
    let (tcp, tcp_endpoint) = Publisher::bind("tcp://127.0.0.1:*");
    let (ipc, ipc_endpoint) = Publisher::bind(&format!("ipc://{}", folder.file("out")));
    let gateway = Gateway::start(&[
        "--connect",
        &tcp_endpoint,
        &format!("--connect={ipc_endpoint}"),
        "--bind=tcp://127.0.0.1:*",
        &format!("--bind=ipc://{}", folder.file("in")),
    ]);
    assert_eq!(gateway.endpoints.len(), 4, "{:?}", gateway.endpoints);
    let to_tcp = Publisher::connect(&gateway.endpoints[2]);
    let to_ipc = Publisher::connect(&gateway.endpoints[3]);
    tcp.wait_for_subscription();
    ipc.wait_for_subscription();
    let mut client = Raw::open(gateway.address, "/ws");
    for round in 0..50 {
        for (publisher, name) in
            [(&tcp, "tcp"), (&ipc, "ipc"), (&to_tcp, "to-tcp"), (&to_ipc, "to-ipc")]
        {
            publisher.send(&[name.as_bytes(), format!("{name} {round}").as_bytes()]);
        }
    }
    let mut next = std::collections::HashMap::new();
    for _ in 0..200 {
        let frame = client.frame();
        let (name, round) = frame.text().split_once(' ').unwrap();
        let expected = next.entry(name.to_owned()).or_insert(0);
        assert_eq!(round, expected.to_string(), "the order of one source is kept: {name}");
        *expected += 1;
    }
    assert_eq!(next.len(), 4);
    assert!(gateway.metrics().get("zmq2ws_upstream_connections") >= 4.0);
}

#[test]
fn inproc_reaches_a_gateway_inside_the_process() {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::XPUB).unwrap();
    socket.bind("inproc://feed").unwrap();
    let gateway = Local::start(&context, "connect = ['inproc://feed']", |builder| builder);
    assert_eq!(socket.recv_bytes(0).unwrap(), b"\x01");
    let mut client = Raw::open(gateway.address, "/ws");
    // More than any budget of a turn: the descriptor will not tell of the rest.
    for number in 0..5_000 {
        socket.send_multipart(["t", &number.to_string()], 0).unwrap();
    }
    for number in 0..5_000 {
        assert_eq!(client.frame().text(), number.to_string());
    }
    drop(socket);
    gateway.stop();
}

#[test]
fn messages_of_one_to_a_thousand_parts_keep_their_parts() {
    let gateway = Gateway::start(&[]);
    let mut client = tungstenite(gateway.address, "/ws?format=parts");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let all: Vec<Vec<u8>> = (0..1000).map(|number| vec![b'x'; number % 7]).collect();
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    for count in [1, 2, 3, 10, 100, 999, 1000] {
        publisher.send(&all[..count]);
        let got = binary(&mut client);
        match count {
            // What has one part has no topic, which comes as an empty one.
            1 => assert_eq!(got, parts(&[b"", all[0]])),
            _ => assert_eq!(got, parts(&all[..count])),
        }
    }
    publisher.send(&[b"", b"", b""]);
    assert_eq!(binary(&mut client), parts(&[b"", b"", b""]));
}

#[test]
fn a_body_of_64_mib_passes_where_it_may() {
    let _turn = crate::support::one_at_a_time();
    // As binary, since a test build takes seconds to look whether it is UTF-8.
    let gateway = Gateway::start(&[
        "--max-message=65MiB",
        "--topic-from=none",
        "--max-memory=1GiB",
        "--payload=binary",
    ]);
    let mut clients = [(); 2].map(|()| tungstenite(gateway.address, "/ws"));
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let body: Vec<u8> = (0..64 << 20).map(|index: u32| (index % 251) as u8 | 0x80).collect();
    publisher.send(&[&body]);
    publisher.send(&[b"after"]);
    for client in &mut clients {
        assert!(binary(client) == body, "64 MiB arrive as they were sent");
        assert_eq!(binary(client), b"after");
    }
}

#[test]
fn a_message_above_the_limit_is_dropped_and_counted_and_the_next_arrives() {
    let gateway = Gateway::start(&["--max-message=1000"]);
    let mut client = Raw::open(gateway.address, "/ws");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher.send(&[b"t", &[b'x'; 999]]);
    publisher.send(&[b"t", b"y", &[b'x'; 999]]);
    gateway.wait_for_metric("zmq2ws_messages_dropped_total{reason=\"too_large\"}", |it| it == 1.0);
    publisher.send(&[b"t", b"next"]);
    assert_eq!(client.frame().payload, [b'x'; 999]);
    assert_eq!(client.frame().text(), "next");
    // One part far above the limit ends the connection in libzmq, which the publisher makes anew.
    publisher.send(&[&vec![b'x'; (1 << 20) + 1]]);
    let before = gateway.metrics().get(RECEIVED);
    wait_until("the publisher to be back", || {
        publisher.send(&[b"t", b"again"]);
        gateway.metrics().get(RECEIVED) > before
    });
    assert_eq!(client.frame().text(), "again");
}

#[test]
fn order_is_kept_over_twenty_thousand_messages_for_several_clients() {
    const MESSAGES: usize = 20_000;
    let gateway = Gateway::start(&["--max-lag=64MiB"]);
    let paths = ["/ws", "/ws?topic=t", "/ws?exact=t1&exact=t0", "/ws?topic=t&format=parts"];
    let clients = paths.map(|path| {
        let mut client = Raw::open(gateway.address, path);
        thread::spawn(move || {
            for number in 0..MESSAGES {
                let frame = client.frame();
                let body = &frame.payload[frame.payload.len() - 8..];
                assert_eq!(body, format!("{number:08}").as_bytes());
            }
        })
    });
    wait_for_metric(gateway.address, CLIENTS, |value| value == 4.0);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    for number in 0..MESSAGES {
        let topic = if number % 2 == 0 { "t0" } else { "t1" };
        publisher.send(&[topic.as_bytes(), format!("{number:08}").as_bytes()]);
    }
    for client in clients {
        client.join().unwrap();
    }
    let metrics = gateway.metrics();
    assert_eq!(metrics.get("zmq2ws_gaps_total{reason=\"lag\"}"), 0.0);
    let delivered = metrics.get("zmq2ws_messages_delivered_total{transport=\"websocket\"}");
    assert_eq!(delivered, (4 * MESSAGES) as f64);
}
