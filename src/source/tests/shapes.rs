//! Every socket type, transport and shape of message.

use super::*;
use crate::message::PARTS_MAX;
use crate::source::incoming::{SLOT_BYTES_KEPT_MAX, SLOTS_KEPT_MAX};
use crate::test_random::Random;

/// A source and a sender on `text`, of `kind`, the source attached by `attach`.
fn pair(text: &str, kind: SocketKind, attach: Attach) -> (zmq::Context, ZeroMq, zmq::Socket) {
    let context = zmq::Context::new();
    let socket = sender(&context, if kind == SocketKind::Sub { zmq::PUB } else { zmq::PUSH });
    let source = match attach {
        Attach::Bind => {
            let source = open(&context, text, attach, &config(kind));
            socket.connect(source.endpoint()).unwrap();
            source
        }
        Attach::Connect => {
            socket.bind(text).unwrap();
            let bound = socket.get_last_endpoint().unwrap().unwrap();
            open(&context, &bound, attach, &config(kind))
        }
    };
    (context, source, socket)
}

fn inproc_pull(message_bytes_max: usize) -> (zmq::Context, ZeroMq, zmq::Socket) {
    let context = zmq::Context::new();
    let config = SourceConfig { message_bytes_max, rcvhwm: 0, ..config(SocketKind::Pull) };
    let source = open(&context, "inproc://shapes", Attach::Bind, &config);
    let socket = sender(&context, zmq::PUSH);
    socket.connect("inproc://shapes").unwrap();
    (context, source, socket)
}

#[test]
fn both_socket_types_over_every_transport_bound_and_connected() {
    for kind in [SocketKind::Sub, SocketKind::Pull] {
        for attach in [Attach::Bind, Attach::Connect] {
            let path = socket_path(&format!("{kind:?}-{attach:?}"));
            for text in [
                "tcp://127.0.0.1:*",
                "inproc://both",
                &format!("ipc://{path}"),
                &format!("ipc://@{path}"),
            ] {
                if attach == Attach::Connect && text.starts_with("ipc://") {
                    let _ = std::fs::remove_file(&path);
                }
                let (_context, mut source, socket) = pair(text, kind, attach);
                receive_from(&mut source, &socket);
                assert!(source.counts().bytes >= 5, "{text}");
                if !text.starts_with("inproc") {
                    drive_until(&mut source, |counts| counts.connections == 1);
                }
            }
            let _ = std::fs::remove_file(&path);
        }
    }
}

#[test]
fn only_what_was_subscribed_to_arrives() {
    let context = zmq::Context::new();
    let socket = sender(&context, zmq::XPUB);
    socket.bind("inproc://prefixes").unwrap();
    let subscribe = vec![b"weather.".to_vec(), vec![0xff, 0]];
    let config = SourceConfig { subscribe, ..config(SocketKind::Sub) };
    let mut source = open(&context, "inproc://prefixes", Attach::Connect, &config);
    for _ in 0..2 {
        socket.recv_bytes(0).unwrap(); // a subscription has arrived
    }
    for topic in [&b"news"[..], b"weather.oslo", b"", &[0xff, 0, 1], b"weather"] {
        socket.send_multipart([topic, b"body"], 0).unwrap();
    }
    socket.send("weather.end", 0).unwrap();
    let body = b"body".to_vec();
    assert_eq!(
        receive(&mut source, 3),
        [
            vec![b"weather.oslo".to_vec(), body.clone()],
            vec![vec![0xff, 0, 1], body],
            vec![b"weather.end".to_vec()],
        ]
    );
}

#[test]
fn every_number_of_parts_up_to_the_limit() {
    let (_context, mut source, socket) = inproc_pull(1 << 20);
    for count in [1, 2, 3, 10, 1000, PARTS_MAX] {
        let parts: Vec<_> = (0..count).map(|n| n.to_string().into_bytes()).collect();
        socket.send_multipart(&parts, 0).unwrap();
        assert_eq!(receive(&mut source, 1), [parts]);
    }
    assert_eq!(source.counts().dropped, [0; DropReason::ALL.len()]);
}

#[test]
fn too_many_parts_are_dropped_and_counted() {
    let (_context, mut source, socket) = inproc_pull(1 << 20);
    for count in [PARTS_MAX + 1, 3 * PARTS_MAX + 7] {
        socket.send_multipart(vec![""; count], 0).unwrap();
    }
    socket.send("after", 0).unwrap();
    assert_eq!(receive(&mut source, 1), [[b"after"]]);
    assert_eq!(source.counts().dropped[DropReason::TooManyParts as usize], 2);
}

#[test]
fn empty_parts_anywhere() {
    let (_context, mut source, socket) = inproc_pull(1 << 20);
    for parts in [vec![""], vec!["", ""], vec!["a", "", "b", ""], vec!["", "x"]] {
        socket.send_multipart(&parts, 0).unwrap();
        let expected: Vec<_> = parts.iter().map(|part| part.as_bytes().to_vec()).collect();
        assert_eq!(receive(&mut source, 1), [expected]);
    }
}

#[test]
fn the_size_limit_is_over_all_parts_and_exact() {
    let (_context, mut source, socket) = inproc_pull(100);
    for sizes in [vec![100], vec![99, 1], vec![50, 0, 50]] {
        socket.send_multipart(sizes.iter().map(|&size| vec![b'x'; size]), 0).unwrap();
        assert_eq!(receive(&mut source, 1)[0].len(), sizes.len());
    }
    for sizes in [vec![101], vec![100, 1], vec![1; 101], vec![0, 101, 0]] {
        socket.send_multipart(sizes.iter().map(|&size| vec![b'x'; size]), 0).unwrap();
    }
    socket.send("after", 0).unwrap();
    assert_eq!(receive(&mut source, 1), [[b"after"]]);
    assert_eq!(source.counts().dropped[DropReason::TooLarge as usize], 4);
}

#[test]
fn a_body_of_64_mib_over_tcp() {
    let context = zmq::Context::new();
    let config = SourceConfig { message_bytes_max: 64 << 20, ..config(SocketKind::Pull) };
    let mut source = open(&context, "tcp://127.0.0.1:*", Attach::Bind, &config);
    let socket = sender(&context, zmq::PUSH);
    socket.connect(source.endpoint()).unwrap();
    let body = vec![7; 64 << 20];
    socket.send(&body[..], 0).unwrap();
    assert!(receive(&mut source, 1)[0][0] == body);
}

#[test]
fn a_message_above_the_limit_does_not_cost_the_connection() {
    let (_context, mut source, socket) = pair("tcp://127.0.0.1:*", SocketKind::Pull, Attach::Bind);
    socket.send(vec![1; (1 << 20) + 1], 0).unwrap();
    socket.send("after", 0).unwrap();
    assert_eq!(receive(&mut source, 1), [[b"after"]]);
    drive_until(&mut source, |counts| counts.connections == 1);
    assert_eq!(source.counts().dropped[DropReason::TooLarge as usize], 1);
    assert_eq!(source.counts().disconnects, 0);
}

#[test]
fn a_drain_stops_at_its_budget_and_says_so() {
    let (_context, mut source, socket) = inproc_pull(1 << 20);
    for _ in 0..10 {
        socket.send(vec![0; 100], 0).unwrap();
    }
    assert!(source.needs_drain());
    let mut drain = |messages, bytes| {
        let mut count = 0;
        let drained = source.drain(Budget { messages, bytes }, &mut |_| {
            count += 1;
            true
        });
        assert_eq!(source.needs_drain(), drained == Drained::More);
        (count, drained)
    };
    assert_eq!(drain(0, 1000), (0, Drained::More));
    assert_eq!(drain(3, 1000), (3, Drained::More));
    assert_eq!(drain(1000, 101), (2, Drained::More));
    assert_eq!(drain(1000, 1), (1, Drained::More));
    assert_eq!(drain(4, 1000), (4, Drained::More));
    assert_eq!(drain(1000, 1000), (0, Drained::Empty));
}

#[test]
fn slots_are_used_again_and_let_large_and_many_parts_go() {
    let (_context, mut source, socket) = inproc_pull(64 << 20);
    let mut addresses = std::collections::HashSet::new();
    for round in 0..100 {
        let (count, size) = match round {
            50 => (2, 32 << 20),
            60 => (PARTS_MAX, 1 << 10),
            70 => (PARTS_MAX + 1, 1 << 10),
            80 => (3, 32 << 20),
            _ => (2, 10),
        };
        socket.send_multipart(vec![vec![1; size]; count], 0).unwrap();
        while source.needs_drain() || source.counts().messages == 0 {
            let _ = source.drain(BUDGET, &mut |Arrival { parts, .. }| {
                assert_eq!(parts.len(), count);
                if count == 2 {
                    addresses.insert(parts.as_ptr());
                }
                true
            });
        }
        let (slots, bytes) = source.incoming.slots_held();
        assert!(slots <= SLOTS_KEPT_MAX && bytes <= SLOT_BYTES_KEPT_MAX, "{slots} {bytes}");
        source.needs_drain = true;
    }
    assert_eq!(source.counts().messages + source.counts().dropped.iter().sum::<u64>(), 100);
    assert!(addresses.len() <= 3, "the slots moved only to make room for more");
}

#[test]
fn random_messages_arrive_as_they_were_sent() {
    let mut random = Random::from_env();
    let (_context, mut source, socket) = pair("tcp://127.0.0.1:*", SocketKind::Pull, Attach::Bind);
    let sent: Vec<Vec<Vec<u8>>> = (0..500)
        .map(|_| {
            let parts = 1 + if random.chance(20) { random.below(300) } else { random.below(4) };
            (0..parts)
                .map(|_| {
                    let size =
                        if random.chance(50) { random.below(100_000) } else { random.below(300) };
                    random.bytes(size)
                })
                .collect()
        })
        .collect();
    let fits = |message: &&Vec<Vec<u8>>| message.iter().map(Vec::len).sum::<usize>() <= 1 << 20;
    let expected: Vec<_> = sent.iter().filter(fits).cloned().collect();
    for message in &sent {
        socket.send_multipart(message, 0).unwrap();
    }
    assert!(receive(&mut source, expected.len()) == expected);
    let bytes: usize = expected.iter().flatten().map(Vec::len).sum();
    assert_eq!(source.counts().bytes, bytes as u64);
}
