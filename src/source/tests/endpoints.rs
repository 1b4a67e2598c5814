//! Opening: what is bound, which options are set, and what every mistake of a user is answered
//! with.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use super::*;
use crate::test_random::Random;

fn sub() -> SourceConfig {
    config(SocketKind::Sub)
}

#[test]
fn socket_kinds_by_name() {
    assert_eq!("sub".parse(), Ok(SocketKind::Sub));
    assert_eq!("pull".parse(), Ok(SocketKind::Pull));
    assert!("SUB".parse::<SocketKind>().is_err());
}

#[test]
fn options_reach_the_socket() {
    let context = zmq::Context::new();
    let config = SourceConfig {
        rcvhwm: 7,
        heartbeat: Duration::from_millis(1500),
        message_bytes_max: 16 << 20,
        ..sub()
    };
    let text = endpoint("tcp://127.0.0.1:*", Attach::Bind);
    let source = ZeroMq::open(&context, &text, &config).unwrap();
    let socket = source.socket.zmq();
    assert_eq!(socket.get_rcvhwm(), Ok(7));
    assert_eq!(socket.get_maxmsgsize(), Ok(64 << 20));
    assert_eq!(socket.get_heartbeat_ivl(), Ok(0), "the kernel looks for dead hosts, not libzmq");
    assert_eq!(socket.get_handshake_ivl(), Ok(0), "libzmq ends ZMTP 1 and 2 with it");
    assert_eq!(socket.get_reconnect_ivl(), Ok(100));
    assert_eq!(socket.get_reconnect_ivl_max(), Ok(2000));
    assert_eq!(socket.get_linger(), Ok(0));
}

#[test]
fn extreme_settings_are_taken_to_the_nearest_possible() {
    let context = zmq::Context::new();
    for (message_bytes_max, maxmsgsize) in
        [(0, 1 << 20), (1 << 30, 4 << 30), (usize::MAX, i64::MAX)]
    {
        for heartbeat in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            let config = SourceConfig { message_bytes_max, heartbeat, rcvhwm: -1, ..sub() };
            let source = open(&context, "tcp://127.0.0.1:*", Attach::Bind, &config);
            assert_eq!(source.socket.zmq().get_maxmsgsize(), Ok(maxmsgsize));
        }
    }
}

#[test]
fn the_endpoint_tells_what_is_really_bound() {
    let context = zmq::Context::new();
    for text in ["tcp://127.0.0.1:*", "tcp://127.0.0.1:0"] {
        let source = open(&context, text, Attach::Bind, &sub());
        let port = source.endpoint().strip_prefix("tcp://127.0.0.1:").unwrap();
        assert_ne!(port.parse::<u16>().unwrap(), 0);
    }
    let text = "tcp://127.0.0.1:1";
    assert_eq!(open(&context, text, Attach::Connect, &sub()).endpoint(), text);
}

#[test]
fn all_addresses_are_both_families() {
    let context = zmq::Context::new();
    let mut source = open(&context, "tcp://*:*", Attach::Bind, &sub());
    let port = source.endpoint().rsplit(':').next().unwrap().to_owned();
    let mut hosts = vec!["127.0.0.1"];
    if TcpListener::bind("[::1]:0").is_ok() {
        hosts.push("[::1]");
    }
    for host in hosts {
        let socket = sender(&context, zmq::PUB);
        socket.set_ipv6(true).unwrap();
        socket.connect(&format!("tcp://{host}:{port}")).unwrap();
        receive_from(&mut source, &socket);
    }
}

#[test]
fn names_lead_to_ipv4_publishers() {
    let context = zmq::Context::new();
    let socket = sender(&context, zmq::PUB);
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let bound = socket.get_last_endpoint().unwrap().unwrap();
    let text = bound.replace("127.0.0.1", "localhost");
    receive_from(&mut open(&context, &text, Attach::Connect, &sub()), &socket);
    let text = bound.replace("127.0.0.1", "127.0.0.1:0;127.0.0.1");
    receive_from(&mut open(&context, &text, Attach::Connect, &sub()), &socket);
}

#[test]
fn a_publisher_on_ipv6() {
    if TcpListener::bind("[::1]:0").is_err() {
        assert_ne!(std::env::var("ZMQ2WS_TEST_REQUIRE").as_deref(), Ok("all"), "no IPv6 here");
        return println!("skipped: no IPv6 here");
    }
    let context = zmq::Context::new();
    let mut source = open(&context, "tcp://[::1]:*", Attach::Bind, &sub());
    let socket = sender(&context, zmq::PUB);
    socket.set_ipv6(true).unwrap();
    socket.connect(source.endpoint()).unwrap();
    receive_from(&mut source, &socket);
}

#[test]
fn what_cannot_be_bound_is_told_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (text, part_of_reason) in [
        (format!("tcp://{address}"), "stop the other program"),
        ("tcp://192.0.2.1:5556".into(), "not an address of this machine"),
        ("tcp://no-such-interface0:5556".into(), "bind an IP address, or * for all"),
        ("ipc:///no/such/directory/x.sock".into(), "its directory does not exist"),
        ("ipc:///dev/null/x.sock".into(), "Not a directory"),
    ] {
        let error = why_not(&text, Attach::Bind, &sub());
        assert!(error.contains(&text) && error.contains(part_of_reason), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_path_through_a_loop_of_links_is_an_error() {
    let link = socket_path("loop");
    std::os::unix::fs::symlink(&link, &link).unwrap();
    let error = why_not(&format!("ipc://{link}/x.sock"), Attach::Bind, &sub());
    assert!(error.contains("symbolic links"), "{error}");
    fs::remove_file(&link).unwrap();
}

#[test]
fn binding_deletes_no_file_directory_or_link() {
    let path = socket_path("precious");
    let refused = |part_of_reason: &str| {
        let error = why_not(&format!("ipc://{path}"), Attach::Bind, &sub());
        assert!(error.contains(&path) && error.contains(part_of_reason), "{error}");
        assert!(fs::symlink_metadata(&path).is_ok(), "still there");
    };
    fs::write(&path, "precious").unwrap();
    refused("not a socket");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("not a socket");
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    refused("not a socket");
    fs::remove_file(&path).unwrap();
    let datagram = UnixDatagram::bind(&path).unwrap();
    refused("another kind");
    drop(datagram);
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_socket_somebody_listens_on_is_left_alone_and_a_stale_one_taken_over() {
    let path = socket_path("listened");
    let listener = UnixListener::bind(&path).unwrap();
    let error = why_not(&format!("ipc://{path}"), Attach::Bind, &sub());
    assert!(error.contains("another process is listening"), "{error}");
    drop(listener);
    assert!(Path::new(&path).exists(), "stale");
    let context = zmq::Context::new();
    let mut source = open(&context, &format!("ipc://{path}"), Attach::Bind, &sub());
    let socket = sender(&context, zmq::PUB);
    socket.connect(source.endpoint()).unwrap();
    receive_from(&mut source, &socket);
    fs::remove_file(&path).unwrap();
}

#[test]
fn names_bound_twice_are_errors() {
    let context = zmq::Context::new();
    for text in ["inproc://twice".to_owned(), format!("ipc://@{}", socket_path("twice"))] {
        let _first = open(&context, &text, Attach::Bind, &sub());
        let second = ZeroMq::open(&context, &endpoint(&text, Attach::Bind), &sub());
        let error = second.err().unwrap().to_string();
        assert!(error.contains("choose another"), "{error}");
    }
}

#[test]
fn a_failed_bind_leaves_nothing_behind() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("tcp://{}", taken.local_addr().unwrap());
    let context = zmq::Context::new();
    let end = Instant::now() + PATIENCE_OF_TESTS;
    let mut refusals = 0;
    // A context has 1,023 sockets, and a source takes three. Closed ones come back a little later.
    while refusals < 400 {
        assert!(Instant::now() < end, "after {refusals}: sockets are not given back");
        let opened = ZeroMq::open(&context, &endpoint(&text, Attach::Bind), &sub());
        let error = opened.err().unwrap().to_string();
        refusals += usize::from(error.contains("stop the other program"));
    }
}

#[test]
fn no_text_that_is_read_brings_the_process_down() {
    let context = zmq::Context::new();
    let mut random = Random::from_env();
    let directory = socket_path("fuzz");
    fs::create_dir(&directory).unwrap();
    let absolute = format!("ipc://{directory}/");
    let schemes = ["tcp://", "inproc://", &absolute, "ipc://@", "udp://", "epgm://", "pgm://"];
    let pieces = [
        "127.0.0.1",
        "239.192.1.1",
        "[::1]",
        "[fe80::1%lo]",
        "0.0.0.0",
        "255.255.255.255",
        "*",
        ":",
        ":",
        ":0",
        ":*",
        ";",
        "1",
        "65535",
        "%",
        "[",
        "]",
        "@",
        "/",
        "/..",
        ".",
        "é",
        " ",
        "\u{202e}",
        "lo",
        "-",
    ];
    let mut opened = 0;
    for _ in 0..3000 {
        let mut text = schemes[random.below(schemes.len())].to_owned();
        text.extend((0..random.below(6)).map(|_| pieces[random.below(pieces.len())]));
        for attach in [Attach::Connect, Attach::Bind] {
            let Ok(endpoint) = Endpoint::parse(&text, attach) else { continue };
            // Kept by the context for whoever binds the name, also after the source is closed.
            if endpoint.is_inproc() && attach == Attach::Connect {
                continue;
            }
            for socket in [SocketKind::Sub, SocketKind::Pull] {
                if let Ok(mut source) = Source::open(&context, &endpoint, &config(socket)) {
                    let _ = source.drain(BUDGET, &mut |_| true);
                    source.handle_timeout(Instant::now());
                    opened += 1;
                }
            }
        }
    }
    assert!(opened > 100, "{opened}: too few to mean anything");
    fs::remove_dir_all(&directory).unwrap();
}
