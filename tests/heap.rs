//! What an idle WebSocket takes of the heap.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

#[path = "support/allocator.rs"]
mod allocator;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use allocator::live_bytes;
use zmq2ws::Gateway;

/// Tables double when they are full: at a number right below a power of two they are used well, so that twice as many
/// clients take twice as much.
const CLIENTS: usize = 500;
const BYTES_MAX: usize = 250;
const PATIENCE: Duration = Duration::from_secs(30);
const REQUEST: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Lets so many clients in, one after the other.
fn connect(gateway: &mut Gateway, address: &str, clients: &mut Vec<TcpStream>, count: usize) {
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(REQUEST).unwrap();
        stream.set_nonblocking(true).unwrap();
        let begun = Instant::now();
        let mut answer = [0; 512];
        loop {
            gateway.turn(Some(Duration::from_millis(1))).unwrap();
            match stream.read(&mut answer) {
                Ok(len) => break assert!(answer[..len].starts_with(b"HTTP/1.1 101")),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert!(begun.elapsed() < PATIENCE, "a client is not let in");
        }
        clients.push(stream);
    }
}

#[test]
fn an_idle_websocket_takes_little_heap() {
    let builder = Gateway::builder().bind("tcp://127.0.0.1:*").listen(([127, 0, 0, 1], 0));
    let mut gateway = builder.max_clients(1_100).build().unwrap();
    let address = gateway.listen_addresses()[0].replace("http://", "");
    // The ends of the clients are descriptors: this table is the only heap that they take.
    let mut clients = Vec::with_capacity(2 * CLIENTS);
    connect(&mut gateway, &address, &mut clients, CLIENTS);
    let before = live_bytes();
    connect(&mut gateway, &address, &mut clients, CLIENTS);
    let each = (live_bytes() - before) / CLIENTS;
    println!("{each} bytes of heap for each idle WebSocket");
    assert!(each <= BYTES_MAX, "{each} bytes each");
}
