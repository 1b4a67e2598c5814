//! Peers that are slow, silent or gone: every wait for them ends.

use std::io::Read;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustix::process::Signal;

use crate::support::http::{self, CLIENTS, Connection, closed, connect, connect_narrow};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::{PING, PONG, Raw};
use crate::support::{PATIENCE, pass};

#[test]
fn who_answers_pings_stays_and_who_does_not_is_closed() {
    let gateway = Gateway::start(&["--ping-interval=200ms", "--ping-timeout=3s"]);
    let mut silent = Raw::open(gateway.address, "/ws");
    let mut answering = Raw::open(gateway.address, "/ws");
    assert_eq!(silent.frame().opcode, PING);
    let asked = Instant::now();
    while gateway.metrics().closed("websocket", "ping_timeout") == 0.0 {
        let ping = answering.frame();
        assert_eq!(ping.opcode, PING);
        answering.send(PONG, &ping.payload);
        assert!(asked.elapsed() < PATIENCE, "a silent client is not closed");
    }
    assert!(asked.elapsed() > Duration::from_millis(2_500), "{:?}", asked.elapsed());
    // It is not told anything: nobody is there.
    assert!(!matches!(silent.next(), Ok(Some(_))));
    let ping = answering.frame();
    assert_eq!(ping.opcode, PING);
    assert_eq!(gateway.metrics().get(CLIENTS), 1.0);
}

#[test]
fn who_never_reads_is_closed_and_counted() {
    let gateway = Gateway::start(&["--write-timeout=500ms"]);
    let _stalled = Raw::open_on(connect_narrow(gateway.address), "/ws");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher.send(&[b"t", &vec![b'x'; 8 << 20]]);
    gateway.wait_for_metric(&closed("websocket", "write_timeout"), |value| value == 1.0);
    // What is left is the request that asks.
    assert!(gateway.metrics().get("zmq2ws_feed_bytes") < 1000.0, "nothing is kept for it");
}

#[test]
fn who_reads_slowly_is_not_closed() {
    const MESSAGE_BYTES: usize = 14 << 20;
    let gateway = Gateway::start(&["--write-timeout=2s", "--max-lag=16MiB"]);
    let mut slow = connect(gateway.address);
    sockopt::set_socket_recv_buffer_size(&slow, 64 << 10).unwrap();
    let mut connection = Connection::on(slow.try_clone().unwrap());
    connection.send(crate::support::websocket::upgrade_request("/ws"));
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    gateway.wait_for_metric(CLIENTS, |value| value == 1.0);
    publisher.send(&[b"t", &vec![b'x'; MESSAGE_BYTES]]);
    let start = Instant::now();
    let mut piece = [0; 64 << 10];
    let mut total = 0;
    // A little every now and then, for longer than the limit.
    while start.elapsed() < Duration::from_secs(3) {
        total += slow.read(&mut piece).unwrap();
        pass(Duration::from_millis(10));
    }
    while total < MESSAGE_BYTES {
        match slow.read(&mut piece).unwrap() {
            0 => panic!("closed after {total} bytes"),
            len => total += len,
        }
    }
}

#[test]
fn a_slow_request_is_given_up() {
    let gateway = Gateway::start(&["--handshake-timeout=400ms", "--keepalive-timeout=400ms"]);
    let mut silent = Connection::open(gateway.address);
    assert_eq!(silent.rest().unwrap(), b"", "nothing was asked, nothing is answered");
    for part in ["GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"] {
        let mut slow = Connection::open(gateway.address);
        slow.send(part);
        let response = slow.response(false).unwrap();
        assert_eq!(response.status, 408, "{part}");
        assert_eq!(slow.rest().unwrap(), b"");
    }
    // A byte now and then does not move the deadline.
    let start = Instant::now();
    let dripping = Connection::open(gateway.address);
    let mut reader = dripping.stream().try_clone().unwrap();
    let drip = thread::spawn(move || {
        use std::io::Write;
        while dripping.stream().write_all(b"G").is_ok() && start.elapsed() < PATIENCE {
            pass(Duration::from_millis(20));
        }
    });
    let mut answer = [0; 12];
    reader.read_exact(&mut answer).unwrap();
    reader.shutdown(Shutdown::Both).unwrap();
    drip.join().unwrap();
    assert!(start.elapsed() < PATIENCE);
    let mut idle = Connection::open(gateway.address);
    assert_eq!(idle.request("GET", "/healthz", "").status, 200);
    assert_eq!(idle.rest().unwrap(), b"", "an idle connection ends without a word");
    gateway.wait_for_metric(&closed("http", "keepalive_timeout"), |value| value == 1.0);
    gateway.wait_for_metric(&closed("http", "handshake_timeout"), |value| value >= 3.0);
}

#[test]
fn who_never_takes_its_answer_is_closed() {
    let folder = crate::support::TempDir::new();
    std::fs::write(folder.file("large.bin"), vec![b'x'; 8 << 20]).unwrap();
    let www = folder.path().to_str().unwrap();
    let gateway = Gateway::start(&["--www", www, "--write-timeout=500ms"]);
    let mut stalled = Connection::on(connect_narrow(gateway.address));
    stalled.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    gateway.wait_for_metric(&closed("http", "write_timeout"), |value| value == 1.0);
}

#[test]
fn a_close_that_the_client_never_finishes_ends() {
    let gateway = Gateway::start(&[]);
    let before = gateway.descriptors();
    let mut client = Raw::open(gateway.address, "/ws");
    client.send_bytes(&[0xff; 14]).unwrap();
    assert_eq!(client.frame().close_code(), 1002);
    assert_eq!(client.next().unwrap(), None);
    // The client keeps its side open; the gateway does not wait for ever.
    crate::support::wait_until("its descriptor", || gateway.descriptors() == before);
}

#[test]
fn a_half_closed_websocket_ends() {
    let gateway = Gateway::start(&[]);
    let mut client = Raw::open(gateway.address, "/ws");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.next().unwrap(), None);
    gateway.wait_for_metric(&closed("websocket", "client"), |value| value == 1.0);
}

/// Clients that answer pings until they are told to end; each says how many it answered.
fn answering_clients(gateway: &Gateway, count: usize) -> Vec<thread::JoinHandle<usize>> {
    let answer = |mut client: Raw| {
        let mut pings = 0;
        while let Ok(Some(frame)) = client.next() {
            match frame.opcode {
                PING => {
                    client.send(PONG, &frame.payload);
                    pings += 1;
                }
                _ => return pings,
            }
        }
        panic!("closed after {pings} pings");
    };
    let open = || {
        let mut client = Raw::open(gateway.address, "/ws");
        assert_eq!(client.frame().opcode, PING);
        client.send(PONG, &[]);
        client
    };
    (0..count).map(|_| open()).map(|client| thread::spawn(move || answer(client))).collect()
}

#[test]
fn nobody_is_closed_because_the_process_was_stopped_for_a_while() {
    let gateway = Gateway::start(&["--ping-interval=300ms", "--ping-timeout=2s"]);
    let clients = answering_clients(&gateway, 20);
    gateway.wait_for_metric(CLIENTS, |value| value == 20.0);
    gateway.signal(Signal::STOP);
    pass(Duration::from_secs(4));
    gateway.signal(Signal::CONT);
    let metrics = gateway.metrics();
    assert_eq!(metrics.closed("websocket", "ping_timeout"), 0.0);
    assert_eq!(gateway.metrics().get(CLIENTS), 20.0);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher.send(&[b"t", b"end"]);
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn a_connection_that_asks_nothing_holds_no_place_for_ever() {
    let gateway = Gateway::start(&["--handshake-timeout=500ms", "--max-clients=1"]);
    // As many as there may be beside clients, and more.
    let idle: Vec<_> = (0..140).map(|_| connect(gateway.address)).collect();
    assert_eq!(http::get(gateway.address, "/healthz").status, 200);
    drop(idle);
}

#[test]
fn who_was_asked_before_a_pause_may_answer_after_it() {
    let gateway = Gateway::start(&["--ping-interval=200ms", "--ping-timeout=3s"]);
    let mut client = Raw::open(gateway.address, "/ws");
    let ping = client.frame();
    // Alone, so that the loop waits for nothing but the answer.
    gateway.signal(Signal::STOP);
    pass(Duration::from_secs(5));
    // So that the loop has something to do at once when it goes on.
    let mut other = Connection::open(gateway.address);
    other.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    gateway.signal(Signal::CONT);
    assert_eq!(other.response(false).unwrap().status, 200);
    // The client, too, may need a moment.
    pass(Duration::from_millis(300));
    client.send(PONG, &ping.payload);
    assert_eq!(client.frame().opcode, PING, "it is asked again");
    assert_eq!(gateway.metrics().closed("websocket", "ping_timeout"), 0.0);
}
