//! Who may connect, and to which topics, as the host decides: on every transport, before anything is made for the client.

use std::sync::mpsc;

use zmq2ws::{Access, Denial, Gateway, Request, Running};

use crate::support::events::Events;
use crate::support::http::{Connection, get};
use crate::support::websocket::{BINARY, Raw, UPGRADE};
use crate::{address, builder, wait_for_clients};

/// What a request is answered with, by what its cookie `user` says.
fn by_cookie(request: &Request<'_>) -> Access {
    match request.cookie("user") {
        Some("alice") => Access::allow(),
        Some("bob") => Access::allow_topics(["pub.", "bob."]),
        Some("nothing") => Access::allow_topics([] as [&str; 0]),
        Some("late") => Access::deny(Denial::NotFound),
        Some("often") => Access::deny(Denial::TooManyRequests),
        Some("now") => Access::deny(Denial::Unavailable),
        Some("mallory") => Access::deny(Denial::Forbidden),
        Some("panic") => panic!("on purpose"),
        _ => Access::deny(Denial::Unauthorized),
    }
}

fn running() -> Running {
    builder().authorize(by_cookie).spawn().unwrap()
}

/// The status that a request for messages gets, by each transport.
fn statuses(running: &Running, query: &str, user: &str) -> [u16; 4] {
    let zws = format!("{UPGRADE}Sec-WebSocket-Protocol: ZWS2.0\r\n");
    [("/ws", UPGRADE), ("/ws", &*zws), ("/sse", ""), ("/poll", "")].map(|(path, lines)| {
        let mut connection = Connection::open(address(running));
        let head = format!("GET {path}{query} HTTP/1.1\r\nHost: a\r\nCookie: a=b; user={user}\r\n");
        connection.send(format!("{head}{lines}\r\n"));
        connection.response(true).unwrap().status
    })
}

#[test]
fn who_is_denied_is_told_why_and_nothing_is_made_for_it() {
    let running = running();
    for (user, status) in [
        ("mallory", 403),
        ("late", 404),
        ("often", 429),
        ("now", 503),
        ("panic", 503),
        ("nothing", 403),
        ("nobody", 401),
    ] {
        let denied = statuses(&running, "?timeout=0", user);
        let zws = if user == "nothing" { 403 } else { status };
        assert_eq!(denied, [status, zws, status, status], "{user}");
    }
    let stats = running.handle().stats().unwrap();
    assert_eq!((stats.clients, stats.feeds), (0, 0));
    assert_eq!(statuses(&running, "?timeout=0", "alice")[..3], [101, 101, 200]);
    let mut connection = Connection::open(address(&running));
    let response = connection.request("GET", "/sse", "");
    assert_eq!((response.status, response.header("www-authenticate")), (401, Some("Bearer")));
}

#[test]
fn pages_and_health_are_not_asked_for() {
    let (sender, asked) = mpsc::channel();
    let hook = move |request: &Request<'_>| {
        sender.send((request.method().to_owned(), request.path().into_owned())).unwrap();
        Access::allow()
    };
    let running = builder().authorize(hook).spawn().unwrap();
    for path in ["/", "/healthz", "/readyz", "/metrics"] {
        assert_eq!(get(address(&running), path).status, 200);
    }
    let mut connection = Connection::open(address(&running));
    connection.request("OPTIONS", "/sse", "Origin: http://localhost\r\n");
    // What is refused anyway is not asked for either.
    assert_eq!(connection.request("GET", "/sse?format=xml", "").status, 400);
    assert_eq!(connection.request("GET", "/sse", "Origin: http://evil\r\n").status, 403);
    assert_eq!(connection.request("HEAD", "/poll", "").status, 200);
    drop(running);
    assert_eq!(asked.iter().collect::<Vec<_>>(), [("HEAD".to_owned(), "/poll".to_owned())]);
}

#[test]
fn who_is_limited_gets_what_it_may_and_is_refused_the_rest() {
    let running = running();
    for query in ["?topic=secret.", "?exact=secret", "?topic=pub.&topic=pu", "?exact=pub"] {
        let denied = statuses(&running, query, "bob");
        assert_eq!((denied[0], denied[2], denied[3]), (403, 403, 403), "{query}");
    }
    let cookie = "Cookie: user=bob\r\n";
    let upgrade = |query: &str| {
        let mut connection = Connection::open(address(&running));
        let head = format!("GET /ws{query} HTTP/1.1\r\nHost: a\r\n{cookie}{UPGRADE}\r\n");
        connection.send(head);
        Raw::upgraded(connection)
    };
    let mut everything = upgrade("");
    let mut some = upgrade("?topic=bob.&exact=pub.news");
    let mut events = Events::open_on(
        crate::support::http::connect(address(&running)),
        "/sse?format=raw",
        cookie,
    );
    wait_for_clients(&running, 3);
    let handle = running.handle();
    for topic in ["secret.x", "pub.news", "pub.other", "bob.x"] {
        handle.publish(topic, [topic]).unwrap();
    }
    for expected in ["pub.news", "pub.other", "bob.x"] {
        assert_eq!(everything.message().text(), expected);
        assert_eq!(events.message(), expected);
    }
    assert_eq!((some.message().text(), some.message().text()), ("pub.news", "bob.x"));
}

#[test]
fn a_zeromq_socket_is_limited_whenever_it_subscribes() {
    let running = running();
    let open = || {
        let mut connection = Connection::open(address(&running));
        let head =
            "GET /ws HTTP/1.1\r\nHost: a\r\nCookie: user=bob\r\nSec-WebSocket-Protocol: ZWS2.0\r\n";
        connection.send(format!("{head}{UPGRADE}\r\n"));
        let mut client = Raw::upgraded(connection);
        assert_eq!(client.frame().opcode, BINARY);
        client.send(BINARY, b"\0");
        client
    };
    let mut client = open();
    // The empty prefix asks for everything, of which it gets what it may.
    client.send(BINARY, b"\0\x01");
    wait_for_clients(&running, 1);
    let handle = running.handle();
    crate::support::wait_until("its feed", || handle.stats().unwrap().feeds == 1);
    for topic in ["secret", "pub.x", "bob.y"] {
        handle.publish(topic, ["b"]).unwrap();
    }
    for expected in [&b"\x01pub.x"[..], b"\0b", b"\x01bob.y", b"\0b"] {
        assert_eq!(client.message().payload, expected);
    }
    let mut other = open();
    other.send(BINARY, b"\0\x01pub.");
    other.send(BINARY, b"\0\x01secret");
    other.assert_closed(1008);
    let metrics = crate::support::http::metrics(address(&running));
    assert_eq!(metrics.closed("zws", "denied"), 1.0);
}

#[test]
fn a_hook_sees_who_asks_for_what() {
    let (sender, seen) = mpsc::channel();
    let hook = move |request: &Request<'_>| {
        let query = request.query("token").map(std::borrow::Cow::into_owned);
        let agent = request.header("user-agent").map(str::to_owned);
        sender.send((request.transport(), query, agent, request.peer())).unwrap();
        Access::deny(Denial::Forbidden)
    };
    let running = Gateway::builder().listen(([127, 0, 0, 1], 0)).authorize(hook).spawn().unwrap();
    let mut connection = Connection::open(address(&running));
    connection.request("GET", "/poll?token=a%20b", "User-Agent: test\r\n");
    let (transport, token, agent, peer) = seen.recv().unwrap();
    assert_eq!(transport, zmq2ws::Transport::Poll);
    assert_eq!((token.as_deref(), agent.as_deref()), (Some("a b"), Some("test")));
    assert_eq!(peer, Some([127, 0, 0, 1].into()));
}
