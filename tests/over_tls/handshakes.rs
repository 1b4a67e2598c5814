//! Handshakes, and what comes in their place.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore, StreamOwned, SupportedProtocolVersion, version};

use crate::over_tls::{client, socket, websocket};
use crate::support::http::closed;
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::{Raw, frame};
use crate::support::{PATIENCE, pass, tls};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// What a client says first.
fn hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    tls::connection(&tls::identity().authority.client()).write_tls(&mut bytes).unwrap();
    bytes
}

/// Everything until the end, whichever that is.
fn rest(mut socket: impl Read) -> Vec<u8> {
    let mut rest = Vec::new();
    let result = socket.read_to_end(&mut rest);
    let is_late = result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    assert!(!is_late, "not closed within {PATIENCE:?}");
    rest
}

#[track_caller]
fn assert_healthy(mut client: impl Read + Write) {
    client.write_all(HEALTH).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok\n"), "{answer}");
}

fn config(version: &'static SupportedProtocolVersion, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(tls::identity().authority.der()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

#[test]
fn both_versions_are_spoken_and_http_1_1_is_agreed_on() {
    let gateway = Gateway::start_secure(&[]);
    for version in [&version::TLS12, &version::TLS13] {
        let mut client = client(gateway.address, &config(version, &[b"h2", b"http/1.1"]));
        client.conn.complete_io(&mut client.sock).unwrap();
        assert_eq!(client.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(client.conn.protocol_version(), Some(version.version));
        assert_healthy(client);
        assert_healthy(crate::over_tls::client(gateway.address, &config(version, &[])));
        let mut other = crate::over_tls::client(gateway.address, &config(version, &[b"h2"]));
        let error = other.conn.complete_io(&mut other.sock).unwrap_err().to_string();
        assert!(error.contains("NoApplicationProtocol"), "{error}");
    }
    // Who comes back with what it was given need not see the certificate.
    let config = config(&version::TLS13, &[]);
    assert_healthy(client(gateway.address, &config));
    let mut again = client(gateway.address, &config);
    again.conn.complete_io(&mut again.sock).unwrap();
    assert_eq!(again.conn.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
}

#[test]
fn a_handshake_that_never_ends_is_given_up() {
    let gateway = Gateway::start_secure(&["--handshake-timeout=300ms"]);
    let hello = hello();
    for part in [&b""[..], &hello[..1], &hello[..hello.len() - 1], &hello] {
        let mut socket = socket(gateway.address);
        socket.write_all(part).unwrap();
        rest(socket);
    }
    gateway.wait_for_metric(&closed("http", "handshake_timeout"), |value| value == 4.0);
    // A byte now and then does not move the deadline.
    let (mut dripping, start) = (socket(gateway.address), Instant::now());
    dripping.set_nonblocking(true).unwrap();
    for byte in hello.iter().cycle() {
        if dripping.write_all(&[*byte]).is_err() || matches!(dripping.read(&mut [0; 9]), Ok(0)) {
            break;
        }
        assert!(start.elapsed() < PATIENCE);
        pass(Duration::from_millis(20));
    }
    gateway.wait_for_metric(&closed("http", "handshake_timeout"), |value| value == 5.0);
    // Nor do requests that never end, over TLS.
    let mut slow = client(gateway.address, &tls::identity().authority.client());
    slow.write_all(b"GET / HT").unwrap();
    assert!(rest(slow).starts_with(b"HTTP/1.1 408 "));
}

/// Writes one byte at a time.
struct Dripping(TcpStream);

impl Read for Dripping {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(&mut buffer[..1])
    }
}

impl Write for Dripping {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..1])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn bytes_may_come_one_by_one() {
    let gateway = Gateway::start_secure(&[]);
    let connection = tls::connection(&tls::identity().authority.client());
    assert_healthy(StreamOwned::new(connection, Dripping(socket(gateway.address))));
}

#[test]
fn plain_http_is_told_what_it_met() {
    let gateway = Gateway::start_secure(&[]);
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "G", &"POST / HTTP/1.1\r\n".repeat(2_000)]
    {
        let mut socket = socket(gateway.address);
        let _ = socket.write_all(request.as_bytes());
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{answer}");
        assert_eq!(body, "This is an HTTPS port, and the request was plain HTTP\n");
    }
    gateway.wait_for_metric(&closed("http", "tls"), |value| value == 3.0);
}

#[test]
fn garbage_is_told_or_closed_and_the_gateway_lives() {
    let mut gateway = Gateway::start_secure(&["--handshake-timeout=300ms"]);
    let record = |kind: u8, payload: &[u8]| {
        let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 3, 3][..], &len, payload].concat()
    };
    // A handshake message of 64 KiB, in records of a byte each; its first four bytes say how long it is.
    let fragments = |bytes: usize| {
        let message = [&[1, 0, 0xff, 0xff][..], &vec![0; bytes]].concat();
        message.iter().flat_map(|byte| record(22, &[*byte])).collect::<Vec<_>>()
    };
    let hello = hello();
    let cases = [
        b"\0\0\0\0\0\0\0\0".to_vec(),
        vec![0x16; 4_000],
        vec![0xff; 100_000],
        record(23, b"no handshake"),
        record(21, &[1, 0]),
        record(22, b"nonsense"),
        record(22, b"").repeat(100),
        record(20, &[1]).repeat(100),
        record(22, &[1, 0xff, 0xff, 0xff]),
        record(22, &vec![0; 20_000]),
        fragments(10_000),
        [&hello[..], &hello].concat(),
        [&hello[..], &record(23, &[0; 100])].concat(),
        [&hello[..hello.len() / 2], &[0xff; 5_000]].concat(),
    ];
    for case in &cases {
        let mut socket = socket(gateway.address);
        let _ = socket.write_all(case);
        let answer = rest(socket);
        // Nothing, an alert, or the server's part of the handshake.
        assert!(answer.is_empty() || matches!(answer[0], 20..=23), "{:?}: {answer:?}", &case[..8]);
    }
    let mut seed = 42_u64;
    for _ in 0..200 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut bytes = hello.clone();
        let index = (seed >> 33) as usize % bytes.len();
        bytes[index] ^= (seed >> 20) as u8 | 1;
        let mut socket = socket(gateway.address);
        let _ = socket.write_all(&bytes);
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        rest(socket);
    }
    gateway.assert_runs();
    assert_healthy(client(gateway.address, &tls::identity().authority.client()));
    assert!(gateway.metrics().closed("http", "tls") >= 10.0);
}

#[test]
fn tiny_records_and_new_keys_without_end_disturb_nobody() {
    let gateway = Gateway::start_secure(&[]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut witness = Raw::open(gateway.address, "/ws");
    let mut hostile = websocket(socket(gateway.address));
    let before = gateway.anonymous_bytes();
    let text = frame(1, true, b"");
    for number in 0..3_000_u32 {
        // Each record one byte, and each key for one byte only.
        if number % 5 == 0 {
            hostile.conn.refresh_traffic_keys().unwrap();
        }
        for byte in &text {
            hostile.write_all(&[*byte]).unwrap();
        }
        if number % 100 == 0 {
            publisher.send(&[b"t", &number.to_be_bytes()]);
            assert_eq!(witness.message().payload, number.to_be_bytes());
        }
    }
    let grown = gateway.anonymous_bytes().saturating_sub(before);
    assert!(grown < 1 << 20, "{grown} bytes");
    // It has done nothing that is forbidden.
    hostile.write_all(&frame(8, true, &[3, 0xe8])).unwrap();
    let mut last = Vec::new();
    hostile.read_to_end(&mut last).unwrap();
    assert!(last.ends_with(&[0x88, 2, 3, 0xe8]), "{last:?}");
}

#[test]
fn new_keys_and_nothing_else_end_the_connection() {
    let gateway = Gateway::start_secure(&[]);
    let mut hostile = websocket(socket(gateway.address));
    for _ in 0..10_000 {
        hostile.conn.refresh_traffic_keys().unwrap();
        if hostile.conn.write_tls(&mut hostile.sock).is_err() {
            break;
        }
    }
    gateway.wait_for_metric(&closed("websocket", "tls"), |value| value == 1.0);
}
