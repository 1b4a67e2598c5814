//! What TLS costs the gateway, beside a gateway without it: CPU for each message that a client gets.

use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::http::{CLIENTS, Connection};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::upgrade_request;
use crate::support::{one_at_a_time, pass, tls};

const CLIENT_COUNT: usize = 50;

/// Reads until the end, which is a goodbye, and returns how many bytes came.
fn count(mut stream: impl Read) -> usize {
    let (mut piece, mut count) = (vec![0; 64 << 10], 0);
    loop {
        match stream.read(&mut piece).unwrap() {
            0 => return count,
            len => count += len,
        }
    }
}

fn read_all(stream: TcpStream, is_secure: bool) -> thread::JoinHandle<usize> {
    let request = upgrade_request("/ws");
    if is_secure {
        let connection = tls::connection(&tls::identity().authority.client());
        let mut client = rustls::StreamOwned::new(connection, stream);
        std::io::Write::write_all(&mut client, request.as_bytes()).unwrap();
        return thread::spawn(move || count(client));
    }
    let mut connection = Connection::on(stream);
    connection.send(request);
    thread::spawn(move || count(connection.into_parts().0))
}

/// The gateway's CPU for each delivery of `messages` of `bytes`, with `pause` between two.
fn cost(is_secure: bool, messages: usize, bytes: usize, pause: Duration) -> Duration {
    let args = ["--max-lag=200MiB", "--rcvhwm=1000000", "--history=0"];
    let mut gateway =
        if is_secure { Gateway::start_secure(&args) } else { Gateway::start_plain(&args) };
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let readers: Vec<_> = (0..CLIENT_COUNT)
        .map(|_| read_all(TcpStream::connect(gateway.address).unwrap(), is_secure))
        .collect();
    gateway.wait_for_metric(CLIENTS, |value| value == CLIENT_COUNT as f64);
    let (before, body) = (gateway.cpu_time(), vec![b'x'; bytes]);
    let start = Instant::now();
    for number in 0..messages {
        publisher.send(&[b"t", &body]);
        pass((start + pause * number as u32).saturating_duration_since(Instant::now()));
    }
    let delivered = "zmq2ws_messages_delivered_total{transport=\"websocket\"}";
    let wanted = messages * CLIENT_COUNT;
    gateway.wait_for_metric(delivered, |value| value == wanted as f64);
    let took = gateway.cpu_time() - before;
    gateway.signal(Signal::TERM);
    assert!(gateway.exit_status().success());
    for reader in readers {
        assert!(reader.join().unwrap() >= messages * bytes, "everything arrives");
    }
    took / wanted as u32
}

#[test]
#[ignore = "long"]
fn cpu_for_each_delivery_with_and_without_tls() {
    let _turn = one_at_a_time();
    // The clock of processes ticks a hundred times a second: figures need some work.
    let (rounds, share) = if cfg!(debug_assertions) { (1, 20) } else { (3, 1) };
    for (what, messages, bytes, pause) in [
        ("flat out, 64 B", 400_000 / share, 64, Duration::ZERO),
        ("flat out, 1 KiB", 80_000 / share, 1_024, Duration::ZERO),
        ("200 a second, 64 B", 2_000 / share, 64, Duration::from_millis(5)),
        ("200 a second, 1 KiB", 2_000 / share, 1_024, Duration::from_millis(5)),
    ] {
        for _ in 0..rounds {
            let [plain, secure] = [false, true].map(|it| cost(it, messages, bytes, pause));
            let ratio = secure.as_secs_f64() / plain.as_secs_f64();
            eprintln!("{what}: {plain:?} plain, {secure:?} over TLS, {ratio:.2} times");
        }
    }
}
