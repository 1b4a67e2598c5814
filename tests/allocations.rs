//! In the steady state a message costs no allocation, however many clients it goes to.
#![allow(unsafe_code)] // A global allocator that counts.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use zmq2ws::{Gateway, Settings};

struct Counting;

/// Allocations and reallocations of the whole process: the test has one thread beside libzmq's, which use malloc.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CLIENTS: usize = 50;
const MESSAGES_PER_ROUND: usize = 20;
const BODY_BYTES: usize = 100;
const PATIENCE: Duration = Duration::from_secs(30);

struct Client {
    stream: TcpStream,
    received: usize,
}

/// Reads what is there.
fn read(client: &mut Client, scratch: &mut [u8]) {
    loop {
        match client.stream.read(scratch) {
            Ok(0) => panic!("the gateway closed a client"),
            Ok(len) => client.received += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Turns the gateway until every client has `bytes` more, and returns how many allocations its turns took.
fn turn_until(gateway: &mut Gateway, clients: &mut [Client], bytes: usize) -> usize {
    let mut scratch = [0; 65_536];
    let begun = Instant::now();
    let mut allocations = 0;
    while clients.iter().any(|client| client.received < bytes) {
        assert!(begun.elapsed() < PATIENCE, "messages do not arrive");
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        gateway.turn(Some(Duration::from_millis(1))).unwrap();
        allocations += ALLOCATIONS.load(Ordering::Relaxed) - before;
        clients.iter_mut().for_each(|client| read(client, &mut scratch));
    }
    clients.iter_mut().for_each(|client| client.received -= bytes);
    allocations
}

fn connect(address: &str, format: &str) -> Client {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /ws?format={format} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_nonblocking(true).unwrap();
    Client { stream, received: 0 }
}

#[test]
fn a_message_costs_no_allocation_in_the_steady_state() {
    let settings = Settings::from_toml(
        "bind = ['tcp://127.0.0.1:*']\nlisten = ['127.0.0.1:0']\nmax-clients = 200",
        "test.toml",
    );
    let mut gateway = Gateway::new(settings.unwrap().into_config().unwrap()).unwrap();
    let publisher = zmq::Context::new().socket(zmq::XPUB).unwrap();
    publisher.connect(&gateway.endpoints()[0]).unwrap();
    publisher.set_rcvtimeo(0).unwrap();
    let begun = Instant::now();
    while publisher.recv_bytes(0).is_err() {
        assert!(begun.elapsed() < PATIENCE, "the gateway does not subscribe");
        gateway.turn(Some(Duration::from_millis(1))).unwrap();
    }

    let address = gateway.listen_addresses()[0].replace("http://", "");
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| connect(&address, "raw")).collect();
    let upgrade_bytes = "HTTP/1.1 101 Switching Protocols\r\nX-Content-Type-Options: nosniff\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        .len();
    let connecting = turn_until(&mut gateway, &mut clients, upgrade_bytes);
    assert!(connecting > CLIENTS, "the counter counts");

    let mut round = || {
        for _ in 0..MESSAGES_PER_ROUND {
            publisher.send("topic", zmq::SNDMORE).unwrap();
            publisher.send([b'x'; BODY_BYTES].as_slice(), 0).unwrap();
        }
        turn_until(&mut gateway, &mut clients, MESSAGES_PER_ROUND * (BODY_BYTES + 2))
    };
    // Until every table has found its size, and history is full.
    for _ in 0..100 {
        round();
    }
    let allocations: usize = (0..50).map(|_| round()).sum();
    let deliveries = 50 * MESSAGES_PER_ROUND * CLIENTS;
    println!("{allocations} allocations for {deliveries} deliveries");
    assert_eq!(allocations, 0);
}
