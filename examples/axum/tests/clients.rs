//! The program with its clients: what axum answers, and what the gateway goes on with.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// The handshake of a client that says which page it is on.
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Killed with the value.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program, and its address.
fn start() -> (Program, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zmq2ws-axum-example"));
    let command = command.arg("127.0.0.1:0").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = Program(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(program.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.strip_prefix("page http://").unwrap().trim().to_owned();
    (program, address)
}

/// Sends a request, with `behind` right behind it, and returns the head of its answer and the stream.
fn request(address: &str, target: &str, lines: &str, behind: &[u8]) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n{lines}\r\n");
    // In one piece, so that the server reads it with what comes behind.
    stream.write_all(&[head.as_bytes(), behind].concat()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (String::from_utf8(head).unwrap(), stream)
}

/// The next bytes, which must be these.
#[track_caller]
fn assert_reads(stream: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, expected);
}

#[test]
fn the_gateway_goes_on_where_axum_stopped() {
    let (mut program, address) = start();
    let (head, _) = request(&address, "/", "", b"");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    // A ping in the same segment as the request, which hyper has read when it hands over, and half of another.
    let pings = b"\x89\x82\0\0\0\0hi\x89\x82\0\0";
    let (head, mut client) = request(&address, "/live?topic=typed", HANDSHAKE, pings);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"));
    assert_reads(&mut client, b"\x8a\x02hi");
    client.write_all(b"\0\0yo").unwrap();
    assert_reads(&mut client, b"\x8a\x02yo");
    // It is a client: it has been answered.
    let (_, mut other) = request(&address, "/live?topic=other", HANDSHAKE, &pings[..8]);
    assert_reads(&mut other, b"\x8a\x02hi");
    for line in ["one", "two"] {
        writeln!(program.0.stdin.as_mut().unwrap(), "{line}").unwrap();
        assert_reads(&mut client, &[b"\x81\x03", line.as_bytes()].concat());
    }
    // At its end every client gets a goodbye, and no client got more than it asked for.
    drop(program.0.stdin.take());
    for mut client in [client, other] {
        assert_reads(&mut client, b"\x88\x02\x03\xe9");
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    assert!(program.0.wait().unwrap().success());
}

#[test]
fn who_may_not_or_asks_for_nonsense_is_answered_by_axum() {
    let (_program, address) = start();
    let foreign = format!("{HANDSHAKE}Origin: http://evil.example\r\n");
    let own = format!("{HANDSHAKE}Origin: http://{address}\r\n");
    for (target, lines, status) in [
        ("/live", "", 400),
        ("/live", &*foreign, 403),
        ("/live?format=xml", HANDSHAKE, 400),
        ("/live", &own, 101),
    ] {
        let (head, _) = request(&address, target, lines, b"");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{target} {lines}: {head}");
    }
}
