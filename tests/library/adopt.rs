//! Connections that the host accepted: sockets, streams around sockets, WebSockets whose handshake it has answered.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use zmq2ws::{Access, AdoptError, ClientStream, Denial, Transport};

use crate::support::http::{Connection, connect};
use crate::support::websocket::{PING, PONG, Raw, UPGRADE, upgrade_request};
use crate::support::{PATIENCE, tls, wait_until};
use crate::{builder, wait_for_clients};

/// Both ends of a connection to a listener of the host's: the client's and the host's.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = connect(listener.local_addr().unwrap());
    (client, listener.accept().unwrap().0)
}

#[test]
fn a_request_is_answered_wherever_the_host_stopped_reading() {
    let running = builder().spawn().unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for read in [0, 1, 10, request.len() - 1, request.len()] {
        let (mut client, host) = pair();
        let (already_read, rest) = request.split_at(read);
        client.write_all(rest.as_bytes()).unwrap();
        running.handle().adopt(host, already_read).unwrap();
        let mut connection = Connection::on(client);
        assert_eq!(connection.response(false).unwrap().text(), "ok\n", "{read}");
        assert_eq!(connection.request("GET", "/readyz", "").status, 200, "and it is kept");
    }
    let (client, host) = pair();
    running.handle().adopt(host, request.repeat(40)).unwrap();
    let mut connection = Connection::on(client);
    for _ in 0..40 {
        assert_eq!(connection.response(false).unwrap().status, 200);
    }
}

#[test]
fn adopted_clients_are_clients() {
    let running = builder().spawn().unwrap();
    let handle = running.handle();
    let (client, host) = pair();
    handle.adopt(host, upgrade_request("/ws")).unwrap();
    let mut tcp = Raw::upgraded(Connection::on(client));
    let (near, mut unix) = UnixStream::pair().unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    handle.adopt(near, "GET /sse?format=raw HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_for_clients(&running, 2);
    handle.publish("t", ["hello"]).unwrap();
    assert_eq!(tcp.message().text(), "hello");
    let mut seen = String::new();
    while !seen.contains("data: hello\n") {
        let mut piece = [0; 1024];
        let len = unix.read(&mut piece).unwrap();
        assert_ne!(len, 0);
        seen += std::str::from_utf8(&piece[..len]).unwrap();
    }
    let peers: Vec<_> = handle.clients().unwrap().iter().map(|client| client.peer).collect();
    assert!(peers.contains(&None) && peers.contains(&Some([127, 0, 0, 1].into())), "{peers:?}");
    handle.shutdown();
    tcp.assert_closed(1001);
}

#[test]
fn limits_are_for_adopted_connections_too() {
    let running = builder().max_clients(1).max_clients_per_ip(2).spawn().unwrap();
    let handle = running.handle();
    let adopt = |request: String| {
        let (client, host) = pair();
        handle.adopt(host, request).unwrap();
        Connection::on(client)
    };
    let mut first = Raw::upgraded(adopt(upgrade_request("/ws")));
    let mut second = adopt(upgrade_request("/ws"));
    assert_eq!(second.response(true).unwrap().status, 503, "max-clients");
    let waiting = adopt("GET /".into());
    let mut third = adopt("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".into());
    assert_eq!(third.response(false).unwrap().status, 503, "max-clients-per-ip");
    // What is refused after its handshake hears it as a WebSocket.
    let (client, host) = pair();
    handle.adopt_websocket(host, "/live", []).unwrap();
    let mut refused = Raw::on(client);
    refused.assert_closed(1013);
    drop(waiting);
    wait_until("room for its address", || handle.stats().unwrap().connections == 1);
    let (client, host) = pair();
    handle.adopt_websocket(host, "/live", []).unwrap();
    Raw::on(client).assert_closed(1013);
    handle.publish("t", ["x"]).unwrap();
    assert_eq!(first.message().text(), "x");
}

#[test]
fn what_is_no_connection_is_refused() {
    let running = builder().spawn().unwrap();
    let handle = running.handle();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (pipe, _writer) = io::pipe().unwrap();
    assert!(matches!(handle.adopt(listener, []), Err(AdoptError::Stream(_))));
    assert!(matches!(handle.adopt(datagrams, []), Err(AdoptError::Stream(_))));
    assert!(matches!(handle.adopt(pipe, []), Err(AdoptError::Stream(_))));
    for (target, reason) in [
        ("/ws?format=xml", "unknown format: expected raw, json or parts"),
        ("/ws?topic=%", "malformed percent escape in the query"),
        ("nonsense", "the request target is neither a path nor a URL"),
    ] {
        let error = handle.adopt_websocket(pair().1, target, []).unwrap_err();
        assert!(matches!(error, AdoptError::Target(told) if told == reason), "{error}");
    }
    handle.shutdown();
    assert!(matches!(handle.adopt(pair().1, []), Err(AdoptError::Stopped)));
    running.join().unwrap();
}

/// As much as a host may hand over with a connection, in pings of which each has another number.
fn pings() -> Vec<u8> {
    let pings = (0..(64 << 10) / 10).map(|number: u32| {
        let mut ping = b"\x89\x84\0\0\0\0".to_vec();
        ping.extend(number.to_be_bytes());
        ping
    });
    pings.flatten().collect()
}

#[test]
fn what_a_host_has_read_is_bounded() {
    let gateway = builder().build().unwrap();
    let handle = gateway.handle();
    let adopt = |bytes: usize| handle.adopt(UnixStream::pair().unwrap().0, vec![b'x'; bytes]);
    assert!(matches!(adopt((64 << 10) + 1), Err(AdoptError::TooMuch)));
    let upgraded = handle.adopt_websocket(pair().1, "/", vec![0; (64 << 10) + 1]);
    assert!(matches!(upgraded, Err(AdoptError::TooMuch)));
    // All that wait together, too.
    for _ in 0..64 {
        adopt(64 << 10).unwrap();
    }
    assert!(matches!(adopt(1), Err(AdoptError::Full)));
    adopt(0).unwrap();
}

/// The latest ping of what is read at once is answered.
#[test]
fn what_a_host_has_read_is_taken_a_turns_share_at_a_time() {
    let running = builder().spawn().unwrap();
    let pings = pings();
    let mut client = upgraded(&running, "/", &pings);
    let last = &pings[pings.len() - 4..];
    let mut answers = 1;
    while client.frame().payload != last {
        answers += 1;
    }
    assert!(answers >= 4, "{answers} answers");
    client.send(PING, b"and on");
    assert_eq!(client.frame().payload, b"and on");
}

/// Who asks for more than it takes holds what requests may take of the memory.
#[test]
fn what_a_host_has_read_takes_nobody_elses_room() {
    let builder = builder().max_memory(1 << 20).max_message(1 << 16).max_lag(1 << 16);
    let running = builder.history_bytes(1 << 16).spawn().unwrap();
    let requests = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1_700);
    let _greedy: Vec<_> = (0..4)
        .map(|_| {
            let (near, far) = UnixStream::pair().unwrap();
            running.handle().adopt(near, requests.clone()).unwrap();
            far
        })
        .collect();
    let count = || {
        let stats = running.handle().stats().unwrap();
        (stats.connections as u64, stats.connections_refused)
    };
    wait_until("they are let in or not", || count().0 + count().1 == 4);
    let (served, refused) = count();
    assert!(served > 0 && refused > 0, "{served} and {refused}");
    let mut bystander = Connection::on(connect(crate::address(&running)));
    bystander.send("GET /healthz HTTP/1.1\r\nHo");
    wait_until("half a request", || count().0 == served + 1);
    bystander.send("st: a\r\n\r\n");
    assert_eq!(bystander.response(false).unwrap().status, 200);
}

/// An upgraded connection of the host's.
fn upgraded(running: &zmq2ws::Running, target: &str, already_read: &[u8]) -> Raw {
    let (client, host) = pair();
    running.handle().adopt_websocket(host, target, already_read).unwrap();
    Raw::on(client)
}

#[test]
fn a_websocket_whose_handshake_is_answered_goes_on_from_there() {
    let running = builder().spawn().unwrap();
    let ping = b"\x89\x82\0\0\0\0hi";
    let mut client = upgraded(&running, "/live/feed?topic=a&format=json&since=old-1", &ping[..3]);
    client.send_bytes(&ping[3..]).unwrap();
    let mut other = upgraded(&running, "/", b"");
    assert!(client.frame().text().contains("\"gap\""), "since= is followed");
    let pong = client.frame();
    assert_eq!((pong.opcode, &*pong.payload), (PONG, &b"hi"[..]));
    wait_for_clients(&running, 2);
    let handle = running.handle();
    handle.publish("b", ["no"]).unwrap();
    handle.publish("abc", ["yes"]).unwrap();
    assert!(client.message().text().ends_with("\"topic\":\"abc\",\"data\":\"yes\"}"));
    assert_eq!((other.message().text(), other.message().text()), ("no", "yes"));
    other.send(PING, b"again");
    assert_eq!(other.frame().opcode, PONG);
    handle.shutdown();
    client.assert_closed(1001);
}

#[test]
fn the_host_decides_about_websockets_that_it_upgraded_as_well() {
    let running = builder()
        .authorize(|request| match request.query("user").as_deref() {
            Some("alice") if request.is_adopted() => Access::allow_topics(["a."]),
            Some("panic") => panic!("on purpose"),
            _ => Access::deny(Denial::Forbidden),
        })
        .spawn()
        .unwrap();
    let mut alice = upgraded(&running, "/live?user=alice", b"");
    upgraded(&running, "/live?user=bob", b"").assert_closed(1008);
    upgraded(&running, "/live?user=alice&topic=b.", b"").assert_closed(1008);
    upgraded(&running, "/live?user=panic", b"").assert_closed(1011);
    wait_for_clients(&running, 1);
    running.handle().publish("b.x", ["no"]).unwrap();
    running.handle().publish("a.x", ["yes"]).unwrap();
    assert_eq!(alice.message().text(), "yes");
}

/// As TLS does it: what goes over the socket are records, of which whole ones are read and kept, and as many as fit are
/// written; what is on the socket looks like nothing else.
struct Sealed {
    socket: UnixStream,
    opened: VecDeque<u8>,
    sealed_input: Vec<u8>,
    output: Vec<u8>,
}

const KEY: u8 = 0x5a;

fn seal(bytes: &[u8]) -> Vec<u8> {
    let mut record = (bytes.len() as u32).to_be_bytes().to_vec();
    record.extend(bytes.iter().map(|byte| byte ^ KEY));
    record
}

impl Sealed {
    fn wrapped(socket: UnixStream) -> ClientStream {
        ClientStream::wrapped(socket.try_clone().unwrap(), Self::new(socket))
    }

    fn new(socket: UnixStream) -> Self {
        Self { socket, opened: VecDeque::new(), sealed_input: Vec::new(), output: Vec::new() }
    }

    fn open_records(&mut self) {
        while let Some((len, rest)) = self.sealed_input.split_first_chunk::<4>() {
            let len = u32::from_be_bytes(*len) as usize;
            let Some(record) = rest.get(..len) else { return };
            self.opened.extend(record.iter().map(|byte| byte ^ KEY));
            self.sealed_input.drain(..4 + len);
        }
    }
}

impl Read for Sealed {
    /// A few bytes at a time, so that most of a record stays inside.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.opened.is_empty() {
            let mut piece = [0; 16 << 10];
            match self.socket.read(&mut piece)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                len => self.sealed_input.extend_from_slice(&piece[..len]),
            }
            self.open_records();
        }
        let len = buffer.len().min(7);
        self.opened.read(&mut buffer[..len])
    }
}

impl Write for Sealed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // As TLS libraries do: first what waits, and then a record that is kept until it has left.
        self.flush()?;
        self.output = seal(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            let len = self.socket.write(&self.output)?;
            self.output.drain(..len);
        }
        Ok(())
    }
}

/// Reads records until the other end says nothing more.
fn unseal_all(mut client: UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    let (mut rest, mut plain) = (&bytes[..], Vec::new());
    while let Some((len, behind)) = rest.split_first_chunk::<4>() {
        let (record, next) = behind.split_at(u32::from_be_bytes(*len) as usize);
        plain.extend(record.iter().map(|byte| byte ^ KEY));
        rest = next;
    }
    assert!(rest.is_empty(), "half a record");
    plain
}

#[test]
fn what_a_stream_has_read_ahead_is_not_forgotten() {
    let running = builder().spawn().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    // One record, then silence: what is left of it no descriptor tells of.
    let requests = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3)
        + "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    far.write_all(&seal(requests.as_bytes())).unwrap();
    running.handle().adopt(Sealed::wrapped(near), []).unwrap();
    let answers = String::from_utf8(unseal_all(far)).unwrap();
    assert_eq!(answers.matches("ok\n").count(), 4, "{answers}");
}

#[test]
fn a_stream_that_takes_nothing_loses_nothing() {
    const MESSAGES: usize = 400;
    let running = builder().max_lag(32 << 20).spawn().unwrap();
    let handle = running.handle();
    let (near, mut far) = UnixStream::pair().unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    far.write_all(&seal(upgrade_request("/ws").as_bytes())).unwrap();
    handle.adopt(Sealed::wrapped(near), []).unwrap();
    wait_for_clients(&running, 1);
    // Nobody reads: far more than the socket takes.
    for number in 0..MESSAGES {
        let body = vec![(number % 256) as u8; 10_000];
        while handle.publish("t", [&body]).is_err() {
            thread::yield_now();
        }
    }
    wait_until("a full socket", || handle.stats().unwrap().clients_lagging == 1);
    assert_eq!(handle.stats().unwrap().messages_published, MESSAGES as u64);
    handle.shutdown();
    let bytes = unseal_all(far);
    let start = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut rest = &bytes[start..];
    for number in 0..MESSAGES {
        let (head, behind) = rest.split_at(4);
        assert_eq!(&head[1..], [126, 0x27, 0x10], "message {number}");
        let (body, next) = behind.split_at(10_000);
        assert!(body.iter().all(|&byte| byte == (number % 256) as u8), "message {number}");
        rest = next;
    }
    assert_eq!(rest, b"\x88\x02\x03\xe9");
    running.join().unwrap();
}

#[test]
fn the_end_of_a_stream_is_the_clients_end() {
    let running = builder().spawn().unwrap();
    let handle = running.handle();
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(&seal(format!("GET /ws HTTP/1.1\r\nHost: a\r\n{UPGRADE}\r\n").as_bytes()))
        .unwrap();
    handle.adopt(Sealed::wrapped(near), []).unwrap();
    wait_for_clients(&running, 1);
    far.shutdown(Shutdown::Both).unwrap();
    wait_until("its end", || handle.stats().unwrap().clients == 0);
    assert_eq!(handle.stats().unwrap().of_transport(Transport::WebSocket).closed, 1);
}

/// By rustls, as any host would: the client is told of the end by TLS, not only by TCP.
#[test]
fn a_host_accepts_tls_and_its_client_gets_close_notify() {
    let running = builder().spawn().unwrap();
    let handle = running.handle();
    let authority = tls::Authority::new();
    let [chain, key] = authority.issue();
    let chain = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let (client, mut host) = pair();
    let request = upgrade_request("/ws");
    let client = thread::spawn(move || {
        let mut client = StreamOwned::new(tls::connection(&authority.client()), client);
        client.write_all(request.as_bytes()).unwrap();
        let mut read = Vec::new();
        // Fails unless the end is told.
        client.read_to_end(&mut read).unwrap();
        read
    });
    let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut host).unwrap();
    }
    let socket = host.try_clone().unwrap();
    let stream = StreamOwned::new(connection, host);
    let stream = ClientStream::wrapped_with_end(socket, stream, |it| it.conn.send_close_notify());
    handle.adopt(stream, []).unwrap();
    wait_for_clients(&running, 1);
    handle.publish("t", ["by way of rustls"]).unwrap();
    handle.shutdown();
    let read = client.join().unwrap();
    assert!(read.ends_with(b"\x81\x10by way of rustls\x88\x02\x03\xe9"), "{read:?}");
    running.join().unwrap();
}
