//! The examples of how a gateway is a part of another program: what their clients see.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tungstenite::{Message, WebSocket};

use crate::examples::{PATIENCE, example};
use crate::process::Process;

/// One of the examples, and its address.
fn embedder(name: &str, args: &[&str]) -> (Process, String) {
    let program = example(&format!("examples/{name}"), &[&["127.0.0.1:0"], args].concat());
    let address = program.printed("page http://");
    (program, address)
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn websocket(address: &str, path: &str, cookie: &str) -> WebSocket<TcpStream> {
    let url = format!("ws://{address}{path}");
    let mut request = tungstenite::client::IntoClientRequest::into_client_request(url).unwrap();
    request.headers_mut().insert("Cookie", cookie.parse().unwrap());
    tungstenite::client(request, connect(address)).unwrap().0
}

/// The next message; pings and pongs are none.
#[track_caller]
fn message(client: &mut WebSocket<TcpStream>) -> Message {
    loop {
        match client.read().unwrap() {
            Message::Ping(_) | Message::Pong(_) => {}
            message => return message,
        }
    }
}

#[track_caller]
fn assert_says(client: &mut WebSocket<TcpStream>, text: &str) {
    assert_eq!(message(client).to_text().unwrap(), text);
}

#[track_caller]
fn assert_closed(client: &mut WebSocket<TcpStream>, code: u16) {
    match message(client) {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), code),
        other => panic!("{other:?} instead of a close"),
    }
}

/// As above, behind whatever comes before.
#[track_caller]
fn assert_closed_after_all(client: &mut WebSocket<TcpStream>, code: u16) {
    loop {
        match message(client) {
            Message::Close(Some(frame)) => return assert_eq!(u16::from(frame.code), code),
            Message::Text(_) => {}
            other => panic!("{other:?} instead of a close"),
        }
    }
}

/// The answer to a request that ends its connection.
fn answer(address: &str, path: &str, lines: &str) -> String {
    let mut stream = connect(address);
    let lines = format!("Connection: close\r\n{lines}");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{lines}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Types a line where the program runs.
fn type_in(program: &mut Process, line: &str) {
    writeln!(program.stdin.as_ref().unwrap(), "{line}").unwrap();
}

/// An event stream that has been answered, so that its client gets what is published next.
fn events(address: &str, path: &str, lines: &str) -> BufReader<TcpStream> {
    let mut reader = BufReader::new(connect(address));
    write!(reader.get_mut(), "GET {path} HTTP/1.1\r\nHost: {address}\r\n{lines}\r\n").unwrap();
    assert!(line_of(&mut reader, "HTTP/1.1 ").starts_with("200"));
    line_of(&mut reader, "\r\n");
    reader
}

/// What follows `start` in the next line with it.
#[track_caller]
fn line_of(reader: &mut BufReader<TcpStream>, start: &str) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "no line with {start:?}");
        if let Some(rest) = line.strip_prefix(start) {
            return rest.trim().to_owned();
        }
    }
}

#[test]
fn embedded_serves_its_page_and_hands_over_what_is_live() {
    let (mut program, address) = embedder("embedded", &[]);
    let page = answer(&address, "/", "");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("/live/sse"), "{page}");
    assert!(answer(&address, "/healthz", "").starts_with("HTTP/1.1 404 "), "the host's paths");
    assert!(answer(&address, "/live/healthz", "").ends_with("\r\n\r\nok\n"));
    assert!(answer(&address, "/lively", "").starts_with("HTTP/1.1 404 "));
    // The next request on a connection is the gateway's, too.
    let mut kept = BufReader::new(connect(&address));
    for _ in 0..2 {
        write!(kept.get_mut(), "GET /live/readyz HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        assert_eq!(line_of(&mut kept, "HTTP/1.1 "), "200 OK");
    }
    let mut client = websocket(&address, "/live", "");
    let mut other = websocket(&address, "/live/ws?topic=other", "");
    let mut events = events(&address, "/live/sse?format=raw", "");
    type_in(&mut program, "hello");
    assert_says(&mut client, "hello");
    assert_eq!(line_of(&mut events, "data: "), "hello");
    let end = std::thread::spawn(move || program.end());
    assert_closed(&mut client, 1001);
    assert_closed(&mut other, 1001);
    // They are waited for.
    drop((client, other, events, kept));
    assert_eq!(end.join().unwrap().code, Some(0));
}

#[test]
fn lines_that_come_faster_than_they_are_sent_end_nothing() {
    for (name, line) in [("embedded", "y\n"), ("auth", "public.y y\n")] {
        let (program, _) = embedder(name, &[]);
        // Ten times as many as may wait.
        program.stdin.as_ref().unwrap().write_all(line.repeat(100_000).as_bytes()).unwrap();
        assert_eq!(program.end().code, Some(0));
    }
}

/// One byte a second is no request.
#[test]
fn a_head_that_never_ends_keeps_no_thread_of_embedded() {
    let (program, address) = embedder("embedded", &[]);
    let mut stream = connect(&address);
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let begun = Instant::now();
    loop {
        let _ = stream.write_all(b"G");
        match stream.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => break,
            Ok(_) => panic!("an answer to no request"),
        }
        assert!(begun.elapsed() < PATIENCE, "it is read for ever");
    }
    drop(stream);
    assert_eq!(program.end().code, Some(0));
}

#[test]
fn datagrams_that_come_faster_than_they_are_read_do_not_stop_own_loop() {
    let (program, address) = embedder("own_loop", &["127.0.0.1:0"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(program.printed("datagrams ")).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let _ = socket.send(b"flood");
                }
            });
        }
        let mut client = websocket(&address, "/ws", "");
        for _ in 0..1_000 {
            assert_says(&mut client, "flood");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let mut client = websocket(&address, "/ws", "");
    socket.send(b"").unwrap();
    assert_closed_after_all(&mut client, 1001);
    drop(client);
    assert_eq!(program.end().code, Some(0));
}

#[test]
fn own_loop_turns_the_gateway_between_datagrams() {
    let (program, address) = embedder("own_loop", &["127.0.0.1:0"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(program.printed("datagrams ")).unwrap();
    let mut client = websocket(&address, "/ws", "");
    let mut events = events(&address, "/sse?format=raw&topic=datagram", "");
    for text in ["one", "two"] {
        socket.send(text.as_bytes()).unwrap();
        assert_says(&mut client, text);
        assert_eq!(line_of(&mut events, "data: "), text);
    }
    socket.send(b"").unwrap();
    assert_closed(&mut client, 1001);
    drop((client, events));
    assert_eq!(program.end().code, Some(0));
}

#[test]
fn inproc_publishes_to_its_own_gateway() {
    let (mut program, address) = embedder("inproc", &[]);
    let mut client = websocket(&address, "/ws?topic=typed", "");
    let mut other = websocket(&address, "/ws?topic=other", "");
    for line in ["one", "", "three"] {
        type_in(&mut program, line);
        assert_says(&mut client, line);
    }
    let end = std::thread::spawn(move || program.end());
    assert_closed(&mut client, 1001);
    assert_closed(&mut other, 1001);
    drop((client, other));
    assert_eq!(end.join().unwrap().code, Some(0));
}

#[test]
fn auth_lets_in_who_has_a_session_to_what_it_may_have() {
    let (mut program, address) = embedder("auth", &[]);
    let status = |path: &str, cookie: &str| answer(&address, path, cookie)[9..12].to_owned();
    assert_eq!(status("/sse", ""), "401");
    assert_eq!(status("/sse", "Cookie: session=guessed\r\n"), "401");
    assert_eq!(status("/poll?topic=of-alice.", "Cookie: session=09ab\r\n"), "403");
    let mut alice = websocket(&address, "/ws", "session=5f1c");
    let mut bob = websocket(&address, "/ws", "session=09ab");
    let mut bobs_events = events(&address, "/sse?format=raw", "Cookie: session=09ab\r\n");
    type_in(&mut program, "secret.of-nobody 0");
    type_in(&mut program, "of-alice.secret 42");
    type_in(&mut program, "public.news hello");
    assert_says(&mut alice, "42");
    assert_says(&mut alice, "hello");
    assert_says(&mut bob, "hello");
    assert_eq!(line_of(&mut bobs_events, "data: "), "hello");
    type_in(&mut program, "/logout bobby");
    type_in(&mut program, "public.news still here");
    assert_says(&mut bob, "still here");
    assert_says(&mut alice, "still here");
    type_in(&mut program, "/logout bob");
    assert_closed(&mut bob, 1008);
    drop((bob, bobs_events));
    assert_eq!(status("/sse", "Cookie: session=09ab\r\n"), "401", "he cannot come back");
    type_in(&mut program, "public.news again");
    assert_says(&mut alice, "again");
    let end = std::thread::spawn(move || program.end());
    assert_closed(&mut alice, 1001);
    drop(alice);
    assert_eq!(end.join().unwrap().code, Some(0));
}
