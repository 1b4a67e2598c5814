//! How connections end: with a goodbye, without one, or in the middle.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use rustix::process::Signal;

use crate::over_tls::{Client, client};
use crate::support::http::{CLIENTS, closed};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::tls;
use crate::support::websocket::upgrade_request;

fn open(gateway: &Gateway, request: &str) -> Client {
    let mut client = client(gateway.address, &tls::identity().authority.client());
    client.write_all(request.as_bytes()).unwrap();
    client
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn every_stream_ends_with_a_goodbye_when_the_gateway_stops() {
    let mut gateway = Gateway::start_secure(&[]);
    let requests = [upgrade_request("/ws"), get("/sse"), get("/poll")];
    let mut clients: Vec<_> = requests.iter().map(|request| open(&gateway, request)).collect();
    gateway.wait_for_metric(CLIENTS, |value| value == 1.0);
    gateway.wait_for_metric("zmq2ws_clients{transport=\"poll\"}", |value| value == 1.0);
    gateway.wait_for_metric("zmq2ws_clients{transport=\"sse\"}", |value| value == 1.0);
    gateway.signal(Signal::TERM);
    let mut ends = clients.iter_mut().map(|client| {
        let mut all = Vec::new();
        // An error where the goodbye is missing.
        client.read_to_end(&mut all).unwrap();
        all
    });
    assert!(ends.next().unwrap().ends_with(&[0x88, 2, 0x03, 0xe9]), "1001");
    assert!(ends.next().unwrap().ends_with(b"\r\n0\r\n\r\n"));
    assert!(ends.next().unwrap().ends_with(b"}\n") || ends.next().is_none());
    assert_eq!(gateway.exit_status().code(), Some(0));
}

#[test]
fn a_client_that_says_goodbye_first_gets_its_answer_and_one_back() {
    let gateway = Gateway::start_secure(&[]);
    // The socket stays open in both directions.
    let mut client = open(&gateway, &get("/healthz"));
    client.conn.send_close_notify();
    client.flush().unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    let mut socket = open(&gateway, &upgrade_request("/ws"));
    gateway.wait_for_metric(CLIENTS, |value| value == 1.0);
    socket.conn.send_close_notify();
    socket.flush().unwrap();
    socket.read_to_end(&mut Vec::new()).unwrap();
    gateway.wait_for_metric(&closed("websocket", "client"), |value| value == 1.0);
}

#[test]
fn a_client_that_goes_without_a_goodbye_has_gone() {
    let gateway = Gateway::start_secure(&[]);
    let socket = open(&gateway, &upgrade_request("/ws"));
    gateway.wait_for_metric(CLIENTS, |value| value == 1.0);
    socket.sock.shutdown(Shutdown::Write).unwrap();
    gateway.wait_for_metric(&closed("websocket", "client"), |value| value == 1.0);
    // In the middle of a record, too.
    let mut client = open(&gateway, &get("/healthz"));
    client.sock.write_all(&[23, 3, 3, 0, 100, 1, 2, 3]).unwrap();
    client.sock.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    assert!(answer.ends_with(b"ok\n"));
    gateway.wait_for_metric(&closed("http", "client"), |value| value >= 1.0);
}

#[test]
fn what_is_changed_on_the_way_ends_the_connection() {
    let gateway = Gateway::start_secure(&[]);
    let mut socket = open(&gateway, &upgrade_request("/ws"));
    gateway.wait_for_metric(CLIENTS, |value| value == 1.0);
    socket.sock.write_all(&[23, 3, 3, 0, 30]).unwrap();
    socket.sock.write_all(&[0; 30]).unwrap();
    let error = socket.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
    gateway.wait_for_metric(&closed("websocket", "tls"), |value| value == 1.0);
}

#[test]
fn a_large_message_arrives_whole_whoever_reads_slowly() {
    let gateway = Gateway::start_secure(&["--max-lag=8MiB"]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut client = open(&gateway, &upgrade_request("/ws"));
    gateway.wait_for_metric(CLIENTS, |value| value == 1.0);
    let body: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_be_bytes).collect();
    for _ in 0..5 {
        publisher.send(&[b"t", &body]);
    }
    let mut all = Vec::new();
    let mut piece = [0; 999];
    let head = b"\r\n\r\n";
    let wanted = 5 * (10 + body.len());
    let start = loop {
        let len = client.read(&mut piece).unwrap();
        all.extend_from_slice(&piece[..len]);
        if let Some(at) = all.windows(4).position(|window| window == head) {
            break at + 4;
        }
    };
    while all.len() < start + wanted {
        let len = client.read(&mut piece).unwrap();
        all.extend_from_slice(&piece[..len]);
    }
    for message in all[start..].chunks(10 + body.len()) {
        assert_eq!(message[..2], [0x82, 127]);
        assert!(message[10..] == body);
    }
}
