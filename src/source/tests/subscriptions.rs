//! Subscriptions that change while publishers come and go.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::*;

/// A publisher that listens at `endpoint` once that is free, and sees what it is asked for.
fn publisher(endpoint: &str) -> (zmq::Context, zmq::Socket) {
    let context = zmq::Context::new();
    let socket = sender(&context, zmq::XPUB);
    let end = Instant::now() + PATIENCE_OF_TESTS;
    while let Err(error) = socket.bind(endpoint) {
        assert!(Instant::now() < end, "{endpoint}: {error}");
        std::thread::yield_now();
    }
    (context, socket)
}

/// Everything that `socket` was asked for and not read yet: each prefix after a 1, or a 0 where that ends.
fn requests(socket: &zmq::Socket) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| socket.recv_bytes(zmq::DONTWAIT).ok()).collect()
}

/// Drives until `socket` was asked for exactly `prefixes`.
fn wait_for_prefixes(source: &mut ZeroMq, socket: &zmq::Socket, prefixes: &BTreeSet<Vec<u8>>) {
    let asked = RefCell::new(BTreeSet::new());
    let mut read = || {
        for request in requests(socket) {
            let mut asked = asked.borrow_mut();
            match request[0] {
                1 => asked.insert(request[1..].to_vec()),
                _ => asked.remove(&request[1..]),
            };
        }
    };
    drive(source, &mut |_| {}, &mut read, &mut |_| *asked.borrow() == *prefixes);
}

fn numbered(count: usize) -> BTreeSet<Vec<u8>> {
    (0..count).map(|number| format!("topic {number}.").into_bytes()).collect()
}

#[test]
fn thousands_of_subscriptions_outlive_a_publisher() {
    // libzmq sends 1000 unless it is told otherwise, and forgets the others.
    let mut prefixes = numbered(3000);
    let context = zmq::Context::new();
    let (_first_context, first) = publisher("tcp://127.0.0.1:*");
    let text = first.get_last_endpoint().unwrap().unwrap();
    let config = SourceConfig { subscribe: Vec::new(), ..config(SocketKind::Sub) };
    let mut source = open(&context, &text, Attach::Connect, &config);
    drive_until(&mut source, |counts| counts.connections == 1);
    prefixes.iter().for_each(|prefix| source.subscribe(prefix));
    wait_for_prefixes(&mut source, &first, &prefixes);
    drop(first);
    drive_until(&mut source, |counts| counts.connections == 0);
    // What changes while nobody is there is known to whoever comes.
    for prefix in numbered(1000) {
        source.unsubscribe(&prefix);
        prefixes.remove(&prefix);
    }
    assert_eq!(source.counts().subscriptions, 2000);
    let (_second_context, second) = publisher(&text);
    wait_for_prefixes(&mut source, &second, &prefixes);
    second.send_multipart(["topic 7.", "not wanted any more"], 0).unwrap();
    second.send_multipart(["topic 2007.", "wanted"], 0).unwrap();
    assert_eq!(receive(&mut source, 1)[0][1], b"wanted");
}

#[test]
fn subscriptions_outlive_an_endpoint_that_libzmq_gives_up() {
    let prefixes = numbered(3000);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("tcp://{}", listener.local_addr().unwrap());
    let config = SourceConfig { subscribe: Vec::new(), ..config(SocketKind::Sub) };
    let mut source = open(&zmq::Context::new(), &text, Attach::Connect, &config);
    prefixes.iter().for_each(|prefix| source.subscribe(prefix));
    let criminal = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        shake_hands(&mut stream, "PUB");
        stream.write_all(b"\x02\x80\0\0\0\0\0\0\0").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    drive_until(&mut source, |counts| counts.revived == 1);
    criminal.join().unwrap();
    let (_context, good) = publisher(&text);
    wait_for_prefixes(&mut source, &good, &prefixes);
}

#[test]
fn a_bound_source_tells_publishers_that_come_later() {
    let context = zmq::Context::new();
    let config = SourceConfig { subscribe: Vec::new(), ..config(SocketKind::Sub) };
    let mut source = open(&context, "tcp://127.0.0.1:*", Attach::Bind, &config);
    let prefixes = numbered(3000);
    prefixes.iter().for_each(|prefix| source.subscribe(prefix));
    for _ in 0..2 {
        let socket = sender(&context, zmq::XPUB);
        socket.connect(source.endpoint()).unwrap();
        wait_for_prefixes(&mut source, &socket, &prefixes);
    }
}

#[test]
fn changes_while_nobody_is_there_do_not_pile_up() {
    // Found and left again, so that nobody is there.
    let text = publisher("tcp://127.0.0.1:*").1.get_last_endpoint().unwrap().unwrap();
    let config = SourceConfig { subscribe: vec![b"always".to_vec()], ..config(SocketKind::Sub) };
    let mut source = open(&zmq::Context::new(), &text, Attach::Connect, &config);
    for _ in 0..50_000 {
        source.subscribe(b"now and then");
        source.unsubscribe(b"now and then");
    }
    source.subscribe(b"at last");
    let (_context, socket) = publisher(&text);
    let heard = RefCell::new(Vec::new());
    let mut read = || heard.borrow_mut().extend(requests(&socket));
    drive(&mut source, &mut |_| {}, &mut read, &mut |_| {
        heard.borrow().iter().any(|request| request == b"\x01at last")
    });
    assert!(heard.borrow().contains(&b"\x01always".to_vec()));
    let count = heard.borrow().len() as u64;
    assert!(count <= UNSENT_CHANGES_MAX + 10, "{count} changes had waited");
}
