//! What idle clients take of the heap, and what a message takes that goes to many.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::allocator::live_bytes;
use crate::alone::alone;
use zmq2ws::Gateway;

/// Tables double when they are full: at a number right below a power of two they are used well, so that twice as many
/// clients take twice as much.
const CLIENTS: usize = 500;
const PATIENCE: Duration = Duration::from_secs(30);
const WEB_SOCKET: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const EVENTS: &str = "GET /sse HTTP/1.1\r\nHost: a\r\n\r\n";
/// The answer to its first request shows that it is there. Nothing of the second one is to be kept, which is as long as a
/// browser's.
const POLL: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /poll?timeout=60 HTTP/1.1\r\nHost: a\r\nUser-Agent: a browser that says much of itself, as all of them do\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en,de;q=0.5\r\n\r\n";

fn gateway() -> (Gateway, String) {
    let builder = Gateway::builder().bind("tcp://127.0.0.1:*").listen(([127, 0, 0, 1], 0));
    let gateway = builder.max_clients(1_100).build().unwrap();
    let address = gateway.listen_addresses()[0].replace("http://", "");
    (gateway, address)
}

fn turn(gateway: &mut Gateway) {
    gateway.turn(Some(Duration::from_millis(1))).unwrap();
}

/// Lets so many clients in, one after the other.
fn connect(
    gateway: &mut Gateway,
    address: &str,
    request: &str,
    clients: &mut Vec<TcpStream>,
    count: usize,
) {
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let begun = Instant::now();
        let mut answer = [0; 512];
        loop {
            turn(gateway);
            match stream.read(&mut answer) {
                Ok(len) => break assert!(answer[..len].starts_with(b"HTTP/1.1 ")),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert!(begun.elapsed() < PATIENCE, "a client is not let in");
        }
        // What came behind its first request is looked at without waiting.
        turn(gateway);
        clients.push(stream);
    }
}

fn bytes_of_each(request: &str) -> usize {
    let (mut gateway, address) = gateway();
    // The ends of the clients are descriptors: this table is the only heap that they take.
    let mut clients = Vec::with_capacity(2 * CLIENTS);
    connect(&mut gateway, &address, request, &mut clients, CLIENTS);
    let before = live_bytes();
    connect(&mut gateway, &address, request, &mut clients, CLIENTS);
    (live_bytes() - before) / CLIENTS
}

/// Reads what is there, and says whether `end` was the end of it.
fn ends_with(mut stream: &TcpStream, scratch: &mut [u8], end: &[u8]) -> bool {
    let mut has_ended = false;
    loop {
        match stream.read(scratch) {
            Ok(0) => panic!("the gateway closed a client"),
            Ok(len) => has_ended = scratch[..len].ends_with(end),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return has_ended,
            Err(error) => panic!("{error}"),
        }
    }
}

/// How much more than before was in use at any time while a message of so many bytes went to all of 1,000 polls.
fn bytes_of_a_message(body_bytes: usize) -> usize {
    let (mut gateway, address) = gateway();
    let publisher = zmq::Context::new().socket(zmq::XPUB).unwrap();
    publisher.connect(&gateway.endpoints()[0]).unwrap();
    publisher.set_rcvtimeo(0).unwrap();
    let begun = Instant::now();
    while publisher.recv_bytes(0).is_err() {
        assert!(begun.elapsed() < PATIENCE, "the gateway does not subscribe");
        turn(&mut gateway);
    }
    let mut clients = Vec::with_capacity(2 * CLIENTS);
    connect(&mut gateway, &address, POLL, &mut clients, 2 * CLIENTS);
    let mut scratch = vec![0; 1 << 20];
    let body = vec![b'x'; body_bytes];
    let mut waiting: Vec<&TcpStream> = clients.iter().collect();
    let before = live_bytes();
    publisher.send_multipart([&b"t"[..], &body], 0).unwrap();
    let begun = Instant::now();
    let mut most = before;
    while !waiting.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "messages do not arrive");
        turn(&mut gateway);
        most = most.max(live_bytes());
        waiting.retain(|stream| !ends_with(stream, &mut scratch, b"\"}\n"));
    }
    most - before
}

#[test]
fn clients_take_little_heap() {
    alone(|| {
        for (name, request, bytes_max) in
            [("WebSocket", WEB_SOCKET, 255), ("event stream", EVENTS, 255), ("poll", POLL, 350)]
        {
            let each = bytes_of_each(request);
            println!("{each} bytes of heap for each idle {name}");
            assert!(each <= bytes_max, "{each} bytes for each idle {name}");
        }
        for (body_bytes, bytes_max) in [(3_000, 1 << 19), (100_000, 1 << 20)] {
            let most = bytes_of_a_message(body_bytes);
            println!("{most} bytes for a message of {body_bytes} to {} polls", 2 * CLIENTS);
            assert!(most <= bytes_max, "{most} bytes for a message of {body_bytes}");
        }
    });
}
