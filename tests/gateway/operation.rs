//! Publishers that fail, the end of the gateway, and what it writes about everybody.

use std::io::Write;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::http::{
    CLIENTS, Connection, RECEIVED, connect_narrow, exchange, try_get, wait_for_metric,
};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::{CLOSE, PING, PONG, Raw, TEXT, UPGRADE, frame};
use crate::support::{Local, wait_until};

/// Sends until something arrives, and returns what did.
fn first_message(client: &mut Raw, publisher: &Publisher, name: &str) {
    publisher.wait_for_subscription();
    publisher.send(&[b"t", name.as_bytes()]);
    assert_eq!(client.message().text(), name);
}

#[test]
fn a_publisher_that_flaps_is_connected_each_time() {
    let (first, endpoint) = Publisher::bind("tcp://127.0.0.1:*");
    let gateway = Gateway::start(&["--connect", &endpoint]);
    let mut client = Raw::open(gateway.address, "/ws");
    first_message(&mut client, &first, "first");
    drop(first);
    for name in ["second", "third", "fourth"] {
        gateway.wait_for_metric("zmq2ws_upstream_connections", |value| value == 0.0);
        let (publisher, _) = Publisher::bind(&endpoint);
        first_message(&mut client, &publisher, name);
    }
}

#[test]
fn a_good_publisher_is_heard_where_garbage_was_spoken_before() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let mut gateway = Gateway::start(&["--connect", &endpoint]);
    let mut client = Raw::open(gateway.address, "/ws");
    let greeting = [&b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL"[..], &[0; 48]].concat();
    let garbage: [&[u8]; 5] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &[0xff; 200],
        &[0; 200],
        // A good greeting, and then a part of four exabytes.
        &[&greeting[..], b"\x02\x40\0\0\0\0\0\0\0aaaa"].concat(),
        b"",
    ];
    for bytes in garbage {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(bytes);
    }
    drop(listener);
    let (publisher, _) = Publisher::bind(&endpoint);
    first_message(&mut client, &publisher, "at last");
    gateway.assert_runs();
}

#[test]
fn garbage_at_a_bound_endpoint_disturbs_no_good_publisher() {
    let mut gateway = Gateway::start(&[]);
    // Some garbage is a message of ZMTP 1.0, without a topic.
    let mut client = Raw::open(gateway.address, "/ws?exact=t");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let address = gateway.endpoints[0].strip_prefix("tcp://").unwrap();
    for number in 0..50_u8 {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let _ = stream.write_all(&vec![number.wrapping_mul(37); usize::from(number) * 10]);
        publisher.send(&[b"t", &[number]]);
        assert_eq!(client.message().payload, [number]);
    }
    gateway.assert_runs();
}

#[test]
fn what_was_taken_in_is_delivered_before_the_goodbye() {
    const MESSAGES: u64 = 600;
    let mut gateway = Gateway::start(&["--max-lag=16MiB", "--drain=20s"]);
    let clients: Vec<_> =
        (0..10).map(|_| Raw::open_on(connect_narrow(gateway.address), "/ws")).collect();
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    for number in 0..MESSAGES {
        publisher.send(&[b"t", &[&number.to_be_bytes()[..], &[0; 10_000]].concat()]);
    }
    gateway.wait_for_metric(RECEIVED, |value| value == MESSAGES as f64);
    gateway.signal(Signal::TERM);
    gateway.wait_for_log("stopping");
    let start = Instant::now();
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || {
                for number in 0..MESSAGES {
                    assert_eq!(client.message().payload[..8], number.to_be_bytes());
                }
                client.assert_closed(1001);
            })
        })
        .collect();
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(gateway.exit_status().code(), Some(0));
    eprintln!("10 clients that lagged got what they were owed in {:?}", start.elapsed());
}

#[test]
fn under_load_everybody_gets_whole_messages_in_order_and_1001() {
    let mut gateway = Gateway::start(&["--max-lag=16MiB", "--drain=10s"]);
    let clients: Vec<_> = (0..20).map(|_| Raw::open(gateway.address, "/ws")).collect();
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let publishing = thread::spawn(move || {
        for number in 0..100_000_u64 {
            publisher.send(&[b"t", &number.to_be_bytes(), &[0; 100]]);
            if number % 100 == 0 {
                crate::support::pass(Duration::from_millis(2));
            }
        }
    });
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || {
                let mut next = 0_u64;
                loop {
                    let frame = client.message();
                    if frame.opcode == CLOSE {
                        assert_eq!(frame.close_code(), 1001);
                        assert_eq!(client.next().unwrap(), None);
                        return next;
                    }
                    assert_eq!(frame.payload[..8], next.to_be_bytes());
                    next += 1;
                }
            })
        })
        .collect();
    gateway.wait_for_metric(RECEIVED, |value| value > 2000.0);
    gateway.signal(Signal::INT);
    let counts: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    assert!(counts.iter().all(|count| *count > 2000), "{counts:?}");
    assert_eq!(gateway.exit_status().code(), Some(0));
    publishing.join().unwrap();
}

#[test]
fn clients_that_never_read_do_not_keep_the_gateway() {
    let mut gateway = Gateway::start(&["--drain=1s", "--max-lag=16MiB"]);
    let stalled: Vec<_> =
        (0..20).map(|_| Raw::open_on(connect_narrow(gateway.address), "/ws")).collect();
    let _half = {
        let mut half = Connection::open(gateway.address);
        half.send("GET / HTT");
        half
    };
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher.send(&[b"t", &vec![0; 14 << 20]]);
    gateway.wait_for_metric("zmq2ws_feed_bytes", |value| value > 1e6);
    let start = Instant::now();
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_status().code(), Some(0));
    let took = start.elapsed();
    eprintln!("gone {took:?} after SIGTERM, with --drain=1s");
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(stalled);
}

#[test]
fn nobody_is_let_in_while_the_gateway_stops() {
    let context = zmq::Context::new();
    let toml = "bind = ['tcp://127.0.0.1:*']\nmetrics = '127.0.0.1:0'\nmax-lag = '16MiB'";
    let gateway = Local::start(&context, toml, |builder| builder.drain(Duration::from_secs(20)));
    let operation = gateway.metrics_address.unwrap();
    let mut client = Raw::open_on(connect_narrow(gateway.address), "/ws");
    // In before the end, asking only then.
    let mut late = Connection::open(gateway.address);
    late.send("GET /ws HTTP/1.1\r\nHost: a\r\n");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher.send(&[b"t", &vec![b'x'; 14 << 20]]);
    wait_for_metric(operation, "zmq2ws_feed_bytes", |value| value > 1e6);
    gateway.shutdown();
    wait_until("not ready", || try_get(operation, "/readyz") == Some(503));
    assert!(std::net::TcpStream::connect(gateway.address).is_err());
    late.send(format!("{UPGRADE}\r\n"));
    let refused = late.response(false).unwrap();
    assert_eq!((refused.status, refused.header("connection")), (503, Some("close")));
    assert_eq!(client.message().payload.len(), 14 << 20);
    client.assert_closed(1001);
    gateway.stop();
}

#[test]
fn logs_hold_no_request_line_no_token_and_no_control_byte() {
    let mut gateway = Gateway::start(&["--log=trace"]);
    let address = gateway.address;
    let authorized =
        format!("{UPGRADE}Authorization: Bearer SECRET\r\nCookie: zmq2ws_token=SECRET\r\n");
    let mut connection = Connection::open(address);
    connection.send(format!(
        "GET /ws?token=SECRET&topic=SECRET HTTP/1.1\r\nHost: SECRET\r\n{authorized}\r\n"
    ));
    let mut client = Raw::upgraded(connection);
    client.send(TEXT, b"SECRET \x1b[31m\n");
    client.send(PING, b"SECRET");
    assert_eq!(client.frame().opcode, PONG);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher.send(&[b"SECRET\n\x1b[31m\xff", b"SECRET\n2026 ERROR forged"]);
    client.frame();
    client.send(CLOSE, b"\x03\xe8SECRET");
    assert_eq!(client.frame().opcode, CLOSE);
    let mut violator = Raw::open(address, "/ws?token=SECRET");
    violator.send_bytes(&frame(TEXT, true, b"SECRET\xff")).unwrap();
    violator.assert_closed(1007);
    for request in [
        "GET /SECRET HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "SECRET /SECRET HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "SECRET\x1b[31m\r\n\r\n",
        "GET /ws?token=SECRET&format=SECRET HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        assert!(
            exchange(address, request).starts_with("HTTP/1.1 4") || request.starts_with("SECRET /")
        );
    }
    gateway.wait_for_metric(CLIENTS, |value| value == 0.0);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_status().code(), Some(0));
    let log = gateway.log();
    assert!(log.iter().any(|line| line.contains("TRACE")), "this is the log at trace level");
    for line in &log {
        assert!(!line.to_uppercase().contains("SECRET"), "{line}");
        assert!(!line.contains(|character: char| character.is_control()), "{line:?}");
        assert!(line.len() < 1000, "{line}");
    }
}

#[test]
fn hostile_topics_and_bodies_stay_inside_their_strings() {
    let gateway = Gateway::start(&["--format=json"]);
    let mut client = Raw::open(gateway.address, "/ws");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let all: String = (0..0x250).filter_map(char::from_u32).collect();
    let texts =
        [&*all, "\"},{\"id\":\"", "\\", "</script>", "\u{2028}\u{2029}\u{feff}", "\r\n\r\n"];
    for text in texts {
        publisher.send(&[text.as_bytes(), text.as_bytes()]);
        let value: serde_json::Value = serde_json::from_str(client.message().text()).unwrap();
        assert_eq!((value["topic"].as_str(), value["data"].as_str()), (Some(text), Some(text)));
        assert_eq!(value.as_object().unwrap().len(), 3);
    }
    // And ids that are none, or none of ours.
    for (id, status) in [
        ("x", 400),
        ("%00", 400),
        ("-", 400),
        ("k3x9-99999999999999999999999", 400),
        ("k3x9--1", 400),
        ("00000000-1", 101),
        ("00000000-18446744073709551615", 101),
    ] {
        let mut connection = Connection::open(gateway.address);
        let response = connection.request("HEAD", &format!("/ws?since={id}"), "");
        assert_eq!(response.status, 405);
        let mut connection = Connection::open(gateway.address);
        connection.send(format!("GET /ws?since={id} HTTP/1.1\r\nHost: a\r\n{UPGRADE}\r\n"));
        let response = connection.response(true).unwrap();
        assert!(matches!(response.status, 101 | 400), "{id}: {response:?}");
        assert_eq!(response.status, status, "{id}");
    }
}
