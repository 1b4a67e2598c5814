//! A thousand clients that a host handed over, beside a thousand that the gateway accepted: nobody can tell them apart.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use zmq2ws::{Access, ClientInfo, CloseCode, Handle, Transport};

use crate::support::host::Doorman;
use crate::support::http::connect;
use crate::support::websocket::UPGRADE;
use crate::support::{raise_descriptor_limit, wait_until};
use crate::{address, builder, wait_for_clients};

const EACH: usize = 1_000;
const MESSAGES: usize = 30;

/// Clients of one kind are alike but for their user, and there are ten of those.
const USERS: usize = 10;

/// Clients of this kind have been answered by the host before it hands them over.
const UPGRADED: usize = 4;

fn kind(number: usize) -> usize {
    number / USERS % 5
}

/// What a client asks for.
fn target(number: usize) -> String {
    let target = match kind(number) {
        0 => "/ws?format=json",
        1 => "/ws?format=parts&topic=even.",
        2 => "/sse?exact=odd.7",
        3 => "/sse?format=raw",
        _ => "/ws?topic=odd.&topic=even.2",
    };
    format!("{target}&user={}", number % USERS)
}

/// A client whose request has been answered.
struct Client {
    /// But for the time.
    head: String,
    stream: TcpStream,
}

impl Client {
    fn open(address: SocketAddr, number: usize) -> Self {
        let mut stream = connect(address);
        let upgrade = if target(number).starts_with("/ws") { UPGRADE } else { "" };
        let request = format!("GET {} HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n", target(number));
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let lines = head.lines().filter(|line| !line.starts_with("Date: "));
        Self { head: lines.collect::<Vec<_>>().join("\n"), stream }
    }

    /// One whose handshake is over when the gateway gets it.
    fn upgraded(listener: &TcpListener, handle: &Handle, number: usize) -> Self {
        let stream = connect(listener.local_addr().unwrap());
        let (host, _) = listener.accept().unwrap();
        handle.adopt_websocket(host, &target(number), []).unwrap();
        Self { head: String::new(), stream }
    }

    /// Everything that comes behind the head, but for the time of coming back, which is drawn for each event stream.
    fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).unwrap();
        if let Some(at) = bytes.windows(7).position(|seven| seven == b"retry: ") {
            bytes.drain(at + 7..at + 11);
        }
        bytes
    }
}

fn publish(handle: &Handle, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let parity = if number % 2 == 0 { "even" } else { "odd" };
        handle.publish(format!("{parity}.{number}"), [format!("message {number}")]).unwrap();
    }
}

/// How many clients there are of each transport and user.
fn census(clients: &[ClientInfo]) -> BTreeMap<(String, Option<u64>), usize> {
    let mut counts = BTreeMap::new();
    for client in clients {
        assert_eq!(client.peer, Some([127, 0, 0, 1].into()));
        *counts.entry((client.transport.to_string(), client.tag)).or_default() += 1;
    }
    counts
}

#[test]
fn nobody_can_tell_the_adopted_from_the_accepted() {
    const AWAY: usize = 3;
    raise_descriptor_limit(8 * EACH as u64);
    let by_user = |request: &zmq2ws::Request<'_>| {
        Access::allow().with_tag(request.query("user").unwrap().parse().unwrap())
    };
    let builder = builder().max_clients(2 * EACH).authorize(by_user);
    let running = builder.drain(Duration::from_secs(4)).spawn().unwrap();
    let handle = running.handle();
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (doorman, upgrading) = (Doorman::start(listener(), handle.clone()), listener());
    let accepted = |number| Client::open(address(&running), number);
    let mut accepted: Vec<_> = (0..EACH).map(accepted).collect();
    wait_for_clients(&running, EACH);
    let of_accepted = census(&handle.clients().unwrap());
    let adopted = |number| match kind(number) {
        UPGRADED => Client::upgraded(&upgrading, &handle, number),
        _ => Client::open(doorman.address(), number),
    };
    let mut adopted: Vec<_> = (0..EACH).map(adopted).collect();
    wait_for_clients(&running, 2 * EACH);

    // Counted alike; and there is room for no more, whoever brings it.
    let doubled = of_accepted.iter().map(|(key, count)| (key.clone(), 2 * count)).collect();
    assert_eq!(census(&handle.clients().unwrap()), doubled);
    let stats = handle.stats().unwrap();
    assert_eq!((stats.connections, stats.feeds), (2 * EACH, 5));
    let of_transport =
        [Transport::WebSocket, Transport::Sse].map(|it| stats.of_transport(it).clients);
    assert_eq!(of_transport, [2 * EACH / 5 * 3, 2 * EACH / 5 * 2]);
    for address in [address(&running), doorman.address()] {
        assert!(Client::open(address, 0).head.starts_with("HTTP/1.1 503 "));
    }

    // Served, sent away and said goodbye alike.
    publish(&handle, 0..MESSAGES / 2);
    wait_until("all to have got it", || {
        let stats = handle.stats().unwrap();
        stats.messages_published == MESSAGES as u64 / 2 && stats.clients_lagging == 0
    });
    let is_away = |client: &ClientInfo| client.tag == Some(AWAY as u64);
    let code = CloseCode::application(4_000).unwrap();
    assert_eq!(handle.disconnect(is_away, code), Ok(2 * EACH / USERS));
    wait_until("their end", || handle.stats().unwrap().clients == 2 * EACH - 2 * EACH / USERS);
    publish(&handle, MESSAGES / 2..MESSAGES);
    handle.shutdown();
    for (number, (accepted, adopted)) in accepted.iter_mut().zip(&mut adopted).enumerate() {
        let stream = accepted.rest();
        assert!(stream == adopted.rest(), "{number}: {} is not the same", target(number));
        if kind(number) != UPGRADED {
            assert_eq!(accepted.head, adopted.head, "{number}");
        }
        let has = |message: &str| {
            let text = format!("message {message}");
            stream.windows(text.len()).any(|window| window == text.as_bytes())
        };
        let is_away = number % USERS == AWAY;
        assert_eq!(
            (has("7"), has("29")),
            (kind(number) != 1, !is_away && !matches!(kind(number), 1 | 2))
        );
        let end: &[u8] = match (kind(number), is_away) {
            (2 | 3, _) => b"\r\n0\r\n\r\n",
            (_, true) => b"\x88\x02\x0f\xa0",
            (_, false) => b"\x88\x02\x03\xe9",
        };
        assert!(stream.ends_with(end), "{number}: {:?}", String::from_utf8_lossy(&stream));
    }
    running.join().unwrap();
}
