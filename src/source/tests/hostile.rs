//! Peers that die, flap, fall silent or break the protocol: none ends a subscription for good, and
//! none the process.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use super::super::connection::Connection;
use super::*;
use crate::test_random::Random;

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// What a hostile peer does with a connection; what it returns is kept open until it has done it a
/// few times.
type Crime = fn(&mut dyn Stream, &mut Random) -> Keep;

#[derive(PartialEq)]
enum Keep {
    Open,
    Closed,
}

/// A peer's errors are not ours: the source may hang up at any moment.
fn random_bytes(stream: &mut dyn Stream, random: &mut Random) -> Keep {
    let size = 1 + random.below(10_000);
    let _ = stream.write_all(&random.bytes(size));
    // Kept open, it may be a publisher of ZMTP 1 that is quiet.
    Keep::Closed
}

fn http(stream: &mut dyn Stream, _: &mut Random) -> Keep {
    let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    Keep::Closed
}

fn endless_stream(stream: &mut dyn Stream, random: &mut Random) -> Keep {
    let chunk = random.bytes(1 << 16);
    for _ in 0..256 {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    Keep::Closed
}

fn greeting_then_garbage(stream: &mut dyn Stream, random: &mut Random) -> Keep {
    let _ = stream.write_all(&greeting());
    random_bytes(stream, random)
}

fn half_a_greeting_then_silence(stream: &mut dyn Stream, _: &mut Random) -> Keep {
    let _ = stream.write_all(&greeting()[..20]);
    Keep::Open
}

fn nothing_at_all(_: &mut dyn Stream, _: &mut Random) -> Keep {
    Keep::Open
}

fn hang_up_at_once(_: &mut dyn Stream, _: &mut Random) -> Keep {
    Keep::Closed
}

fn wrong_socket_type(stream: &mut dyn Stream, _: &mut Random) -> Keep {
    shake_hands_quietly(stream, "REP");
    Keep::Open
}

fn silence_after_the_handshake(stream: &mut dyn Stream, _: &mut Random) -> Keep {
    shake_hands_quietly(stream, "PUB");
    // Kept open, it is a publisher that is quiet.
    Keep::Closed
}

fn garbage_after_the_handshake(stream: &mut dyn Stream, random: &mut Random) -> Keep {
    shake_hands_quietly(stream, "PUB");
    // A flags byte with reserved bits, then whatever comes.
    let _ = stream.write_all(&[0xff]);
    random_bytes(stream, random)
}

fn announce_2_to_the_63(stream: &mut dyn Stream, _: &mut Random) -> Keep {
    shake_hands_quietly(stream, "PUB");
    let _ = stream.write_all(&[2, 0x80, 0, 0, 0, 0, 0, 0, 0, b'x']);
    Keep::Open
}

fn announce_too_much_in_a_later_part(stream: &mut dyn Stream, _: &mut Random) -> Keep {
    shake_hands_quietly(stream, "PUB");
    let _ = stream.write_all(&[1, 1, b't', 3, 0, 0, 0, 0, 0xff, 0, 0, 0, b'x']);
    Keep::Open
}

fn end_within_a_message(stream: &mut dyn Stream, _: &mut Random) -> Keep {
    shake_hands_quietly(stream, "PUB");
    let _ = stream.write_all(&[1, 1, b't', 1, 200, b'x']);
    Keep::Closed
}

fn malformed_commands(stream: &mut dyn Stream, _: &mut Random) -> Keep {
    shake_hands_quietly(stream, "PUB");
    let _ = stream.write_all(
        b"\x04\x00\x04\x01\xff\x04\x05\x04PING\x04\x07\x04PONG\0\0\x04\x0b\x09SUBSCRIBEx",
    );
    Keep::Closed
}

const CRIMES: [(&str, Crime); 14] = [
    ("random bytes", random_bytes),
    ("http", http),
    ("endless stream", endless_stream),
    ("greeting then garbage", greeting_then_garbage),
    ("half a greeting then silence", half_a_greeting_then_silence),
    ("nothing at all", nothing_at_all),
    ("hang up at once", hang_up_at_once),
    ("wrong socket type", wrong_socket_type),
    ("silence after the handshake", silence_after_the_handshake),
    ("garbage after the handshake", garbage_after_the_handshake),
    ("announce 2^63", announce_2_to_the_63),
    ("announce too much in a later part", announce_too_much_in_a_later_part),
    ("end within a message", end_within_a_message),
    ("malformed commands", malformed_commands),
];

fn shake_hands_quietly(stream: &mut dyn Stream, socket_type: &str) {
    let _ = stream.write_all(&greeting());
    let _ = stream.read_exact(&mut [0; 64]);
    let _ = stream.write_all(&ready(socket_type));
}

fn hostile_config(socket: SocketKind) -> SourceConfig {
    SourceConfig { heartbeat: Duration::from_millis(100), ..config(socket) }
}

/// Commits `crime` on the next `times` connections, then closes everything.
fn criminal<S: Read + Write>(
    mut accept: impl FnMut() -> S + Send + 'static,
    crime: Crime,
    times: usize,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut random = Random::from_env();
        let mut kept = Vec::new();
        for _ in 0..times {
            let mut stream = accept();
            if crime(&mut stream, &mut random) == Keep::Open {
                kept.push(stream);
            }
        }
    })
}

/// Binds a real publisher where a fake one was.
fn take_over(context: &zmq::Context, kind: zmq::SocketType, text: &str) -> zmq::Socket {
    let socket = sender(context, kind);
    let end = Instant::now() + PATIENCE_OF_TESTS;
    while let Err(error) = socket.bind(text) {
        assert!(Instant::now() < end, "{text}: {error}");
        thread::yield_now();
    }
    socket
}

/// The source outlives a publisher at `text` that commits `crime` three times; then a real one is
/// there.
fn survives(kind: SocketKind, name: &str, text: &str, criminal: JoinHandle<()>) {
    let context = zmq::Context::new();
    let mut source = open(&context, text, Attach::Connect, &hostile_config(kind));
    drive(&mut source, &mut |_| {}, &mut || {}, &mut |_| criminal.is_finished());
    criminal.join().unwrap();
    let sender_kind = if kind == SocketKind::Sub { zmq::PUB } else { zmq::PUSH };
    let socket = take_over(&context, sender_kind, text);
    receive_from(&mut source, &socket);
    assert!(source.counts().disconnects >= 1, "{name}: {:?}", source.counts());
    assert!(source.counts().connections <= 1, "{name}: {:?}", source.counts());
}

#[test]
fn a_connected_source_outlives_every_crime_over_tcp() {
    let threads = CRIMES.map(|(name, crime)| {
        thread::spawn(move || {
            for kind in [SocketKind::Sub, SocketKind::Pull] {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let text = format!("tcp://{}", listener.local_addr().unwrap());
                let criminal = criminal(move || listener.accept().unwrap().0, crime, 3);
                survives(kind, name, &text, criminal);
            }
        })
    });
    for (thread, (name, _)) in threads.into_iter().zip(CRIMES) {
        assert!(thread.join().is_ok(), "{name}");
    }
}

#[test]
fn a_connected_source_outlives_every_crime_over_ipc() {
    let threads = CRIMES.map(|(name, crime)| {
        thread::spawn(move || {
            let path = socket_path(&name.replace([' ', '^'], "-"));
            let listener = UnixListener::bind(&path).unwrap();
            let criminal = criminal(move || listener.accept().unwrap().0, crime, 3);
            survives(SocketKind::Sub, name, &format!("ipc://{path}"), criminal);
            let _ = std::fs::remove_file(&path);
        })
    });
    for (thread, (name, _)) in threads.into_iter().zip(CRIMES) {
        assert!(thread.join().is_ok(), "{name}");
    }
}

#[test]
fn a_bound_source_serves_its_publisher_through_every_crime() {
    for kind in [SocketKind::Sub, SocketKind::Pull] {
        let context = zmq::Context::new();
        let mut source = open(&context, "tcp://127.0.0.1:*", Attach::Bind, &hostile_config(kind));
        let sender_kind = if kind == SocketKind::Sub { zmq::PUB } else { zmq::PUSH };
        let socket = sender(&context, sender_kind);
        socket.connect(source.endpoint()).unwrap();
        receive_from(&mut source, &socket);
        let address = source.endpoint().strip_prefix("tcp://").unwrap().to_owned();
        let criminals: Vec<_> = CRIMES
            .into_iter()
            .map(|(_, crime)| {
                let address = address.clone();
                criminal(move || TcpStream::connect(&address).unwrap(), crime, 3)
            })
            .collect();
        let (mut sent, mut seen) = (0_u32, Vec::new());
        let mut numbers = |parts: &[Part]| {
            if let Some(number) = parts[0].strip_prefix(b"number ") {
                seen.push(u32::from_be_bytes(number.try_into().unwrap()));
            }
        };
        drive(
            &mut source,
            &mut numbers,
            &mut || {
                socket.send([b"number ", &sent.to_be_bytes()[..]].concat(), 0).unwrap();
                sent += 1;
            },
            &mut |_| criminals.iter().all(JoinHandle::is_finished),
        );
        socket.send("last", 0).unwrap();
        let last = std::cell::Cell::new(false);
        let mut until_last = |parts: &[Part]| {
            numbers(parts);
            last.set(last.get() || *parts[0] == *b"last");
        };
        drive(&mut source, &mut until_last, &mut || {}, &mut |_| last.get());
        assert!(seen.into_iter().eq(0..sent), "in order, without loss");
        drive_until(&mut source, |counts| counts.connections == 1);
    }
}

/// Drives `source` for so long.
fn drive_for(source: &mut ZeroMq, time: Duration) {
    let end = Instant::now() + time;
    drive(source, &mut |_| {}, &mut || {}, &mut |_| Instant::now() >= end);
}

#[test]
fn a_publisher_that_answers_no_pings_stays_connected() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("tcp://{}", listener.local_addr().unwrap());
    let context = zmq::Context::new();
    let mut source = open(&context, &text, Attach::Connect, &hostile_config(SocketKind::Sub));
    let publisher = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // ZMTP 3.0, which has no PING.
        let mut greeting = greeting();
        greeting[11] = 0;
        stream.write_all(&greeting).unwrap();
        stream.read_exact(&mut [0; 64]).unwrap();
        stream.write_all(&ready("PUB")).unwrap();
        stream
    });
    drive_for(&mut source, Duration::from_millis(1500));
    let mut stream = publisher.join().unwrap();
    stream.write_all(b"\x00\x05hello").unwrap();
    assert_eq!(receive(&mut source, 1), [[b"hello"]]);
    assert_eq!(source.counts().disconnects, 0);
}

#[test]
fn a_full_queue_outlasts_many_heartbeats() {
    const COUNT: u32 = 64;
    let contexts = [zmq::Context::new(), zmq::Context::new()];
    let socket = sender(&contexts[0], zmq::PUB);
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let text = socket.get_last_endpoint().unwrap().unwrap();
    let config = SourceConfig { rcvhwm: 4, ..hostile_config(SocketKind::Sub) };
    let mut source = open(&contexts[1], &text, Attach::Connect, &config);
    receive_from(&mut source, &socket);
    let goal = source.counts().messages + u64::from(COUNT);
    let mut expected = 0;
    for number in 0..COUNT {
        let mut message = vec![0; 1 << 20];
        message[..4].copy_from_slice(&number.to_be_bytes());
        socket.send(message, 0).unwrap();
    }
    // More than libzmq's queue and the kernel's buffers hold, and more than three heartbeats.
    let end = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < end {
        let mut items = [zmq::PollItem::from_fd(source.monitor_fd().as_raw_fd(), zmq::POLLIN)];
        zmq::poll(&mut items, 10).unwrap();
        source.handle_monitor(Instant::now());
    }
    drive(
        &mut source,
        &mut |parts| {
            assert_eq!(parts[0][..4], u32::to_be_bytes(expected), "in order, without loss");
            expected += 1;
        },
        &mut || {},
        &mut |source| source.counts().messages >= goal,
    );
    assert_eq!(source.counts().disconnects, 0);
}

#[test]
fn the_kernel_probes_the_host_of_every_publisher() {
    use rustix::net::sockopt;
    let context = zmq::Context::new();
    for attach in [Attach::Connect, Attach::Bind] {
        for (millis, seconds) in [(0, 0), (100, 1), (5000, 5)] {
            let config = SourceConfig {
                heartbeat: Duration::from_millis(millis),
                ..config(SocketKind::Sub)
            };
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let text = match attach {
                Attach::Connect => format!("tcp://{}", listener.local_addr().unwrap()),
                Attach::Bind => "tcp://127.0.0.1:*".to_owned(),
            };
            let mut source = open(&context, &text, attach, &config);
            let address = source.endpoint().strip_prefix("tcp://").unwrap().to_owned();
            let _peer = match attach {
                Attach::Connect => listener.accept().unwrap().0,
                Attach::Bind => TcpStream::connect(&address).unwrap(),
            };
            drive_until(&mut source, |counts| counts.connections == 1);
            let is_connected = |it: &Connection| rustix::net::getpeername(it.fd()).is_ok();
            let connection = (0..4096)
                .filter_map(|fd| source.connection_at(fd))
                .find(is_connected)
                .expect("the connection has a descriptor");
            let fd = connection.fd();
            assert_eq!(sockopt::socket_keepalive(fd), Ok(seconds > 0), "{attach:?} {millis}");
            if seconds > 0 {
                assert_eq!(sockopt::tcp_keepidle(fd), Ok(Duration::from_secs(seconds)));
                assert_eq!(sockopt::tcp_keepintvl(fd), Ok(Duration::from_secs(seconds)));
                assert_eq!(sockopt::tcp_keepcnt(fd), Ok(3));
                assert_eq!(sockopt::tcp_user_timeout(fd), Ok(3 * millis as u32));
            }
        }
    }
}

#[test]
fn a_descriptor_that_became_another_file_is_left_alone() {
    let context = zmq::Context::new();
    let source = open(&context, "tcp://127.0.0.1:*", Attach::Bind, &config(SocketKind::Sub));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(other.local_addr().unwrap()).unwrap();
    let (accepted, _) = other.accept().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let closed = -1;
    let fds = [client.as_raw_fd(), accepted.as_raw_fd(), file.as_raw_fd(), closed];
    assert!(fds.into_iter().all(|fd| source.connection_at(fd).is_none()));
}

/// What publishers of ZMTP 1 and 2 send to begin with, and their message "hello".
const OLD_PUBLISHERS: [(&[u8], &[u8]); 2] = [
    // No version, and an empty identity.
    (b"\x01\x00", b"\x06\x00hello"),
    // ZMTP 2.0, PUB, and an empty identity.
    (b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x01\x00\x00", b"\x00\x05hello"),
];

#[test]
fn publishers_of_zmtp_1_and_2_stay_connected() {
    for attach in [Attach::Connect, Attach::Bind] {
        for (greeting, message) in OLD_PUBLISHERS {
            let context = zmq::Context::new();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let text = match attach {
                Attach::Connect => format!("tcp://{}", listener.local_addr().unwrap()),
                Attach::Bind => "tcp://127.0.0.1:*".to_owned(),
            };
            let mut source = open(&context, &text, attach, &config(SocketKind::Sub));
            let mut stream = match attach {
                Attach::Connect => listener.accept().unwrap().0,
                Attach::Bind => {
                    TcpStream::connect(source.endpoint().strip_prefix("tcp://").unwrap()).unwrap()
                }
            };
            stream.write_all(greeting).unwrap();
            drive_for(&mut source, 4 * HURRY.handshake);
            stream.write_all(message).unwrap();
            assert_eq!(receive(&mut source, 1), [[b"hello"]], "{attach:?} {greeting:?}");
            assert_eq!(source.counts().disconnects, 0, "{attach:?} {greeting:?}");
        }
    }
}

#[test]
fn a_bound_source_ends_connections_that_never_finish_the_handshake() {
    let context = zmq::Context::new();
    let mut source = open(&context, "tcp://127.0.0.1:*", Attach::Bind, &config(SocketKind::Sub));
    let address = source.endpoint().strip_prefix("tcp://").unwrap().to_owned();
    let greeting = greeting();
    let begun: Vec<_> = [0, 10, 11, 20, 64]
        .into_iter()
        .map(|len| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(&greeting[..len]).unwrap();
            stream
        })
        .collect();
    let mut finished = TcpStream::connect(&address).unwrap();
    shake_hands(&mut finished, "PUB");
    drive_until(&mut source, |counts| counts.disconnects == begun.len() as u64);
    drive_for(&mut source, 2 * HURRY.handshake);
    assert_eq!(source.counts().connections, 1);
}

#[test]
fn a_given_up_endpoint_is_connected_anew_exactly_once() {
    for kind in [SocketKind::Sub, SocketKind::Pull] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let text = format!("tcp://{}", listener.local_addr().unwrap());
        let context = zmq::Context::new();
        let mut source = open(&context, &text, Attach::Connect, &config(kind));
        let publisher = thread::spawn(move || {
            let socket_type = if kind == SocketKind::Sub { "PUB" } else { "PUSH" };
            let (mut first, _) = listener.accept().unwrap();
            shake_hands(&mut first, socket_type);
            first.write_all(b"\x00\x03one\x02\x80\0\0\0\0\0\0\0").unwrap();
            let (mut second, _) = listener.accept().unwrap();
            shake_hands(&mut second, socket_type);
            second.write_all(b"\x00\x03two").unwrap();
            (listener, second)
        });
        assert_eq!(receive(&mut source, 2), [[b"one"], [b"two"]]);
        let (listener, _second) = publisher.join().unwrap();
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "no third connection");
        let counts = source.counts();
        assert_eq!((counts.revived, counts.disconnects, counts.connections), (1, 1, 1));
    }
}

#[test]
fn what_a_publisher_sent_before_it_died_still_arrives() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("tcp://{}", listener.local_addr().unwrap());
    let context = zmq::Context::new();
    let mut source = open(&context, &text, Attach::Connect, &config(SocketKind::Sub));
    let publisher = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        shake_hands(&mut stream, "PUB");
        for n in 0..100 {
            stream.write_all(&[0, 1, n]).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        listener
    });
    let expected: Vec<_> = (0..100).map(|n| vec![vec![n]]).collect();
    assert_eq!(receive(&mut source, 100), expected);
    publisher.join().unwrap();
}

#[test]
fn a_flapping_publisher_is_heard_every_time() {
    let context = zmq::Context::new();
    let socket = sender(&context, zmq::PUB);
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let text = socket.get_last_endpoint().unwrap().unwrap();
    drop(socket);
    let mut source = open(&context, &text, Attach::Connect, &config(SocketKind::Sub));
    for _ in 0..5 {
        let socket = take_over(&context, zmq::PUB, &text);
        receive_from(&mut source, &socket);
        drop(socket);
        drive_until(&mut source, |counts| counts.connections == 0);
    }
    assert!(source.counts().disconnects >= 5);
    assert_eq!(source.counts().revived, 0, "libzmq's own doing");
}

#[test]
fn a_flood_of_connections_leaves_the_count_right() {
    let context = zmq::Context::new();
    let mut source = open(&context, "tcp://127.0.0.1:*", Attach::Bind, &config(SocketKind::Sub));
    let address = source.endpoint().strip_prefix("tcp://").unwrap().to_owned();
    let flood = thread::spawn(move || {
        for _ in 0..3000 {
            drop(TcpStream::connect(&address).unwrap());
        }
    });
    // The monitor is not read meanwhile, and then in more than one turn.
    flood.join().unwrap();
    drive_until(&mut source, |counts| counts.disconnects == 3000);
    assert_eq!(source.counts().connections, 0);
}

#[test]
fn closing_amid_a_flood_of_connections_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("tcp://{}", listener.local_addr().unwrap());
    drop(listener);
    let address = text.strip_prefix("tcp://").unwrap().to_owned();
    let (stop, stopped) = mpsc::channel::<()>();
    let flood = thread::spawn(move || {
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            let _ = TcpStream::connect(&address);
        }
    });
    let (done, end) = mpsc::channel();
    thread::spawn(move || {
        for _ in 0..50 {
            let context = zmq::Context::new();
            // The port is still in use for a moment after each end.
            let mut source = std::iter::repeat_with(|| {
                ZeroMq::open(&context, &endpoint(&text, Attach::Bind), &config(SocketKind::Sub))
            })
            .find_map(Result::ok)
            .expect("an endless iterator");
            drive_until(&mut source, |counts| counts.disconnects > 0);
        }
        done.send(()).unwrap();
    });
    assert_eq!(end.recv_timeout(PATIENCE_OF_TESTS), Ok(()), "libzmq's I/O thread is stuck");
    drop(stop);
    flood.join().unwrap();
}

#[test]
fn connecting_anew_asks_to_be_drained() {
    let context = zmq::Context::new();
    let socket = sender(&context, zmq::PUB);
    socket.bind("inproc://anew").unwrap();
    let mut source = open(&context, "inproc://anew", Attach::Connect, &config(SocketKind::Sub));
    receive_from(&mut source, &socket);
    while source.drain(BUDGET, &mut |_| true) == Drained::More {}
    // libzmq reports nothing about inproc, so the end is made up.
    let now = Instant::now();
    source.link.handle_event(now, Event::Down);
    source.handle_timeout(now + HURRY.revive_min);
    assert_eq!(source.counts().revived, 1);
    assert!(source.needs_drain());
    receive_from(&mut source, &socket);
}
