//! Socket.IO in a gateway that is a part of another program: a session is one client to its host, whatever connections it
//! has.

use std::sync::mpsc;

use serde_json::json;
use zmq2ws::{Access, Builder, CloseCode, Denial, Handle, LagPolicy, Request, Transport};

use crate::events::{assert_next, listening};
use crate::support::engine_io::{
    POLLING, SEPARATOR, Session, WEBSOCKET, body, connected_socket, event, opened_socket, packets,
    text, welcome,
};
use crate::support::http::{Connection, connect, connect_narrow, metrics};
use crate::support::node::Script;
use crate::support::websocket::{CLOSE, Raw, TEXT, UPGRADE, upgrade_request};
use crate::support::{PATIENCE, wait_until};
use crate::{address, builder, wait_for_clients};

/// What a request is answered with, by its parameter `user`.
fn by_user(request: &Request<'_>) -> Access {
    assert_eq!(request.transport(), Transport::SocketIo);
    match request.query("user").as_deref() {
        Some("alice") => Access::allow().with_tag(1),
        Some("bob") => Access::allow_topics(["pub.", "bob."]).with_tag(2),
        Some("nothing") => Access::allow_topics([] as [&str; 0]),
        Some("late") => Access::deny(Denial::NotFound),
        Some("often") => Access::deny(Denial::TooManyRequests),
        Some("panic") => panic!("on purpose"),
        _ => Access::deny(Denial::Unauthorized),
    }
}

fn publish(handle: &Handle, topics: &[&str]) {
    for topic in topics {
        handle.publish(topic, [topic]).unwrap();
    }
}

/// Both ends of a connection to a listener of the host's, of which the gateway gets one, with what was read of it.
fn handed_over(handle: &Handle, request: String) -> Connection {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = connect(listener.local_addr().unwrap());
    handle.adopt(listener.accept().unwrap().0, request).unwrap();
    Connection::on(client)
}

#[test]
fn a_session_goes_on_over_connections_of_the_hosts() {
    let running = builder().spawn().unwrap();
    let handle = running.handle();
    let mut poll = handed_over(&handle, format!("GET {POLLING} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let open = packets(&poll.response(false).unwrap()).remove(0);
    let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap();
    let path = format!("{POLLING}&sid={sid}");
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n");
    let mut post = handed_over(&handle, format!("{head}4"));
    post.send("0");
    assert_eq!(post.response(false).unwrap().text(), "ok");
    welcome(&packets(&poll.request("GET", &path, ""))[0]);
    poll.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let mut socket =
        Raw::upgraded(handed_over(&handle, upgrade_request(&format!("{WEBSOCKET}&sid={sid}"))));
    socket.send(TEXT, b"2probe");
    assert_eq!(text(&socket.frame()), "3probe");
    assert_eq!(packets(&poll.response(false).unwrap()), ["6"]);
    socket.send(TEXT, b"5");
    publish(&handle, &["t"]);
    assert_eq!(body(text(&socket.message())), "t");
    assert_eq!(handle.clients().unwrap().len(), 1);
    handle.shutdown();
    socket.assert_closed(1001);
}

/// A builder whose hook also says which paths it was asked for.
fn asking(builder: Builder) -> (Builder, mpsc::Receiver<String>) {
    let (sender, asked) = mpsc::channel();
    let hook = move |request: &Request<'_>| {
        sender.send(request.path().into_owned()).unwrap();
        by_user(request)
    };
    (builder.authorize(hook), asked)
}

#[test]
fn who_is_denied_opens_no_session() {
    let running = builder().authorize(by_user).spawn().unwrap();
    for (query, status) in [
        ("&user=late", 404),
        ("&user=often", 429),
        ("&user=panic", 503),
        ("&user=nothing", 403),
        ("&user=bob&topic=secret", 403),
        ("&user=bob&topic=pub.&exact=pub", 403),
        ("", 401),
    ] {
        for (path, fields) in [(POLLING, ""), (WEBSOCKET, UPGRADE)] {
            let mut connection = Connection::open(address(&running));
            let target = format!("{path}{query}");
            let response = connection.request("GET", &target, fields);
            assert_eq!(response.status, status, "{target}");
            // What comes behind a request to upgrade may be no HTTP.
            let closes = !fields.is_empty() || status == 503;
            assert_eq!(response.header("connection") == Some("close"), closes, "{target}");
        }
    }
    let stats = running.handle().stats().unwrap();
    assert_eq!((stats.clients, stats.of_transport(Transport::SocketIo).closed), (0, 0));
    assert_eq!(running.handle().clients().unwrap(), []);
}

#[test]
fn a_session_is_asked_for_once() {
    let (builder, asked) = asking(builder());
    let running = builder.spawn().unwrap();
    let address = address(&running);
    let session = Session::connected(address, "&user=alice");
    let mut socket = session.probed();
    session.assert_posts("3");
    socket.send(TEXT, b"5");
    publish(&running.handle(), &["t"]);
    assert_eq!(body(text(&socket.message())), "t");
    // What nobody knows is refused without a question.
    let mut stranger = Connection::open(address);
    let unknown = format!("{POLLING}&user=alice&sid=abc");
    assert_eq!(stranger.request("GET", &unknown, "").status, 400);
    assert_eq!(stranger.request("POST", &format!("{POLLING}&user=alice"), "").status, 400);
    connected_socket(address, "&user=alice");
    drop(running);
    assert_eq!(asked.iter().collect::<Vec<_>>(), ["/socket.io/", "/socket.io/"]);
}

#[test]
fn who_is_limited_gets_what_it_may_whenever_it_joins() {
    let running = builder().authorize(by_user).spawn().unwrap();
    let (handle, address) = (running.handle(), address(&running));
    let topics = ["secret", "pub.a", "pu", "bob.b"];
    let session = Session::connected(address, "&user=bob");
    let mut socket = connected_socket(address, "&user=bob&topic=");
    let mut some = connected_socket(address, "&user=bob&topic=bob.");
    let polled = || session.take(2).iter().map(|packet| body(packet)).collect::<Vec<_>>();
    for _ in 0..2 {
        publish(&handle, &topics);
        assert_eq!(polled(), ["pub.a", "bob.b"]);
        assert_eq!(body(text(&socket.message())), "pub.a");
        assert_eq!(body(text(&socket.message())), "bob.b");
        assert_eq!(body(text(&some.message())), "bob.b");
        // It leaves and joins again; what it says then counts for nothing.
        session.assert_posts(
            &["41", "40{\"topic\":\"secret\",\"query\":{\"topic\":\"\"}}"].join("\u{1e}"),
        );
        welcome(&session.take(1)[0]);
        for socket in [&mut socket, &mut some] {
            socket.send(TEXT, b"41");
            socket.send(TEXT, b"40{\"topic\":\"secret\"}");
            welcome(text(&socket.message()));
        }
    }
    // The request for the upgrade says what it likes.
    let mut upgraded =
        Raw::open(address, &format!("{WEBSOCKET}&sid={}&user=alice&topic=secret", session.sid));
    upgraded.send(TEXT, b"2probe");
    assert_eq!(text(&upgraded.frame()), "3probe");
    upgraded.send(TEXT, b"5");
    publish(&handle, &topics);
    assert_eq!(body(text(&upgraded.message())), "pub.a");
    upgraded.send(TEXT, b"41");
    upgraded.send(TEXT, b"40");
    assert_eq!(body(text(&upgraded.message())), "bob.b");
    welcome(text(&upgraded.message()));
    publish(&handle, &topics);
    assert_eq!(body(text(&upgraded.message())), "pub.a");
}

#[test]
fn who_resumes_is_limited_too() {
    let running = builder().socket_io_recovery(true).authorize(by_user).spawn().unwrap();
    let (handle, address) = (running.handle(), address(&running));
    let mut socket = opened_socket(address, "&user=alice").0;
    socket.send(TEXT, b"40");
    let pid = welcome(text(&socket.message()))["pid"].as_str().unwrap().to_owned();
    publish(&handle, &["secret", "pub.a", "secret", "bob.b"]);
    let first = event(text(&socket.message()));
    let offset = first[3].as_str().unwrap();
    drop(socket);
    // What another client may have does not come with its private id.
    let auth = json!({"pid": pid, "offset": offset});
    let session = Session::open_with(address, "&user=bob");
    session.assert_posts(&format!("40{auth}"));
    let came = session.take(3);
    assert_eq!((&*body(&came[0]), &*body(&came[1])), ("pub.a", "bob.b"));
    assert_eq!(welcome(&came[2])["pid"], json!(pid));
    let mut socket = opened_socket(address, "&user=bob").0;
    socket.send(TEXT, format!("40{auth}").as_bytes());
    assert_eq!(body(text(&socket.message())), "pub.a");
    assert_eq!(body(text(&socket.message())), "bob.b");
    welcome(text(&socket.message()));
    publish(&handle, &["secret", "pub.c"]);
    assert_eq!(body(text(&socket.message())), "pub.c");
    assert_eq!(body(&session.take(1)[0]), "pub.c");
}

#[test]
fn a_session_comes_joins_leaves_and_goes() {
    let (builder, events) = listening(builder());
    let running = builder.spawn().unwrap();
    let address = address(&running);
    let session = Session::open_with(address, "&topic=b&topic=a&exact=x");
    assert_next(&events, &["0 connected by socketio"]);
    session.connect();
    assert_next(&events, &["0 gets [\"a\", \"b\"] [\"x\"]"]);
    session.assert_posts("41");
    assert_next(&events, &["0 gets [] []"]);
    session.assert_posts("40");
    assert_next(&events, &["0 gets [\"a\", \"b\"] [\"x\"]"]);
    welcome(&session.take(1)[0]);
    // What carries it is nobody's business, and no client of its own.
    let mut socket = session.probed();
    socket.send(TEXT, b"5");
    publish(&running.handle(), &["a"]);
    assert_eq!(body(text(&socket.message())), "a");
    let mut other = opened_socket(address, "").0;
    assert_next(&events, &["1 connected by socketio"]);
    other.send(TEXT, b"40");
    welcome(text(&other.message()));
    assert_next(&events, &["1 gets [\"\"] []"]);
    other.send(TEXT, b"1");
    assert_next(&events, &["1 closed: client"]);
    // However often it changes its mind at once, the host hears what came of it.
    let fickle = Session::connected(address, "&topic=f");
    assert_next(&events, &["2 connected by socketio", "2 gets [\"f\"] []"]);
    fickle.assert_posts(&["41", "40", "41", "40", "41"].join("\u{1e}"));
    assert_next(&events, &["2 gets [] []"]);
    fickle.assert_posts("1");
    assert_next(&events, &["2 closed: client"]);
    let violator = Session::open(address);
    violator.assert_posts("nonsense");
    assert_next(&events, &["3 connected by socketio", "3 closed: protocol"]);
    running.handle().shutdown();
    socket.assert_closed(1001);
    assert_next(&events, &["0 closed: shutdown"]);
    running.join().unwrap();
    assert!(events.recv().is_err(), "nothing else");
}

/// A WebSocket, and a session that nobody serves at the moment.
#[test]
fn a_gateway_that_is_dropped_tells_of_every_client_that_it_stops() {
    let (builder, events) = listening(builder());
    let mut gateway = builder.build().unwrap();
    let address = gateway.listen_addresses()[0].strip_prefix("http://").unwrap().parse().unwrap();
    let opening = std::thread::spawn(move || {
        (Raw::open(address, "/ws"), crate::support::http::get(address, POLLING).status)
    });
    while !opening.is_finished() || gateway.clients().len() < 2 {
        gateway.turn(Some(std::time::Duration::from_millis(1))).unwrap();
    }
    let (_socket, status) = opening.join().unwrap();
    drop(gateway);
    let mut told: Vec<_> = events.try_iter().filter(|it| it.contains("closed")).collect();
    told.sort();
    assert_eq!(
        (status, &*told),
        (200, &["0 closed: shutdown", "1 closed: shutdown"].map(String::from)[..])
    );
}

#[test]
fn a_session_that_lags_is_heard_of_once_for_each_stretch() {
    let with = |policy| builder().max_lag(64 << 10).history(0).slow_client(policy);
    for is_polling in [true, false] {
        for policy in [LagPolicy::Skip, LagPolicy::Disconnect] {
            let (builder, events) = listening(with(policy));
            let running = builder.spawn().unwrap();
            let handle = running.handle();
            let large = || {
                while handle.publish("t", [vec![b'x'; 16 << 10]]).is_err() {
                    std::thread::yield_now();
                }
            };
            let session = is_polling.then(|| Session::connected(address(&running), ""));
            let mut socket = (!is_polling).then(|| {
                let mut socket = Raw::open_on(connect_narrow(address(&running)), WEBSOCKET);
                socket.send(TEXT, b"40");
                socket
            });
            assert_next(&events, &["0 connected by socketio", "0 gets [\"\"] []"]);
            let mut sent = 0;
            let lag = loop {
                large();
                sent += 1;
                assert!(sent < 10_000, "nobody lags");
                if let Ok(event) = events.try_recv() {
                    break event;
                }
            };
            assert_eq!(lag, "0 lags");
            // Of the same stretch nothing more is told.
            (0..50).for_each(|_| large());
            if policy == LagPolicy::Disconnect {
                socket.iter_mut().for_each(|socket| while socket.frame().opcode != CLOSE {});
                assert_next(&events, &["0 closed: lag"]);
            } else {
                session.iter().for_each(|session| session.assert_posts("1"));
                drop(socket);
                let next = events.recv_timeout(PATIENCE).unwrap();
                assert!(next.starts_with("0 closed: "), "{next}");
            }
        }
    }
}

#[test]
fn the_host_lists_each_session_once() {
    let running = builder().authorize(by_user).spawn().unwrap();
    let (handle, address) = (running.handle(), address(&running));
    let session = Session::connected(address, "&user=alice");
    let _waiting = session.ask();
    let _probe = session.probed();
    let _socket = connected_socket(address, "&user=bob");
    let upgraded = Session::connected(address, "&user=bob");
    let mut carrier = upgraded.probed();
    carrier.send(TEXT, b"5");
    let _idle = Session::open_with(address, "&user=alice");
    wait_for_clients(&running, 4);
    let mut clients = handle.clients().unwrap();
    clients.sort_by_key(|client| (client.tag, client.id));
    let tags: Vec<_> = clients.iter().map(|client| client.tag.unwrap()).collect();
    assert_eq!(tags, [1, 1, 2, 2]);
    let peer = Some([127, 0, 0, 1].into());
    let is_right = |it: &zmq2ws::ClientInfo| (it.transport, it.peer) == (Transport::SocketIo, peer);
    assert!(clients.iter().all(is_right), "{clients:?}");
    clients.dedup_by_key(|client| client.id);
    assert_eq!(clients.len(), 4);
    assert_eq!(handle.stats().unwrap().of_transport(Transport::SocketIo).clients, 4);
    session.assert_posts("1");
    wait_for_clients(&running, 3);
    assert_eq!(handle.clients().unwrap().len(), 3);
}

#[test]
fn the_host_puts_out_whom_it_picks() {
    let (builder, events) = listening(builder().authorize(by_user));
    let running = builder.spawn().unwrap();
    let (handle, address) = (running.handle(), address(&running));
    let waits = Session::connected(address, "&user=alice");
    let mut waiting = waits.ask();
    let between = Session::connected(address, "&user=alice");
    let knows = Session::connected(address, "&user=alice");
    let expected = Session::open_with(address, "&user=alice");
    let mut poll = expected.ask();
    let probing = Session::connected(address, "&user=alice");
    let mut probe = probing.probed();
    let mut socket = connected_socket(address, "&user=alice");
    let mut outside = opened_socket(address, "&user=alice").0;
    let mut bob = connected_socket(address, "&user=bob");
    wait_for_clients(&running, 8);
    let code = CloseCode::application(4_001).unwrap();
    assert_eq!(handle.disconnect(|client| client.tag == Some(1), code), Ok(7));
    // It is over at once, also for whom its client has not heard of that.
    assert_eq!(handle.disconnect(|client| client.tag == Some(1), code), Ok(0));
    assert_eq!(handle.clients().unwrap().len(), 1);
    wait_for_clients(&running, 1);
    assert_eq!(packets(&waiting.response(false).unwrap()), ["41"]);
    assert_eq!(waits.packets(), ["1"]);
    assert_eq!(packets(&poll.response(false).unwrap()), ["1"], "it had not joined");
    publish(&handle, &["bob.late"]);
    for session in [&between, &probing] {
        // Nothing counts any more that it says.
        session.assert_posts(&["41", "40"].join(&SEPARATOR.to_string()));
        session.socket().assert_closed(1002);
        assert_eq!((session.packets(), session.packets()), (vec!["41".into()], vec!["1".into()]));
    }
    // As soon as a client knows, it is forgotten.
    assert_eq!(knows.packets(), ["41"]);
    knows.assert_posts("1");
    for session in [waits, between, knows, expected, probing] {
        session.assert_gone();
    }
    probe.assert_closed(4001);
    assert_eq!(text(&socket.frame()), "41");
    socket.assert_closed(4001);
    outside.assert_closed(4001);
    assert_eq!(body(text(&bob.message())), "bob.late");
    assert_eq!(handle.disconnect(|_| true, CloseCode::POLICY), Ok(1));
    assert_eq!(text(&bob.message()), "41");
    bob.assert_closed(1008);
    assert_eq!(metrics(address).closed("socketio", "host"), 8.0);
    let ends = events.try_iter().filter(|event| event.ends_with("closed: host")).count();
    assert_eq!(ends, 8);
    // Nobody asks any more what is left of a session.
    handle.shutdown();
    running.join().unwrap();
}

#[test]
fn who_may_return_is_not_put_out() {
    let running = builder().spawn().unwrap();
    let (handle, address) = (running.handle(), address(&running));
    for (code, number) in [(CloseCode::RESTART, 1012), (CloseCode::TRY_AGAIN_LATER, 1013)] {
        let session = Session::connected(address, "");
        let mut waiting = session.ask();
        let between = Session::connected(address, "");
        let mut socket = connected_socket(address, "");
        wait_for_clients(&running, 3);
        assert_eq!(handle.disconnect(|_| true, code), Ok(3));
        assert_eq!(packets(&waiting.response(false).unwrap()), ["1"]);
        assert_eq!(between.packets(), ["1"]);
        socket.assert_closed(number);
    }
}

#[test]
fn what_nobody_asks_for_any_more_is_forgotten() {
    let times = std::time::Duration::from_millis(50);
    let running = builder().ping_interval(times).ping_timeout(times).spawn().unwrap();
    let (handle, address) = (running.handle(), address(&running));
    let session = Session::connected(address, "");
    assert_eq!(handle.disconnect(|_| true, CloseCode::POLICY), Ok(1));
    // A POST does not end it, and is answered as long as it is there.
    wait_until("nobody knows it", || session.post("3").status == 400);
    session.assert_gone();
    let closed = metrics(address);
    assert_eq!(closed.closed("socketio", "host"), 1.0);
    assert_eq!(closed.closed("socketio", "ping_timeout"), 0.0);
}

#[test]
fn a_panic_ends_the_session_that_it_was_told_of_and_nobody_else() {
    let hook = |event: &zmq2ws::Event<'_>| {
        if let zmq2ws::Event::Connected { client, .. } = event {
            assert!(client.tag != Some(2), "on purpose");
        }
        if let zmq2ws::Event::Subscribed { topics, .. } = event {
            assert!(topics.prefixes().all(|prefix| prefix != b"panic"), "on purpose");
        }
    };
    let running = builder().authorize(by_user).on_event(hook).spawn().unwrap();
    let (handle, address) = (running.handle(), address(&running));
    for (path, fields) in [(POLLING, ""), (WEBSOCKET, UPGRADE)] {
        let mut connection = Connection::open(address);
        let target = format!("{path}&user=bob");
        assert_eq!(connection.request("GET", &target, fields).status, 503);
    }
    let mut fine = connected_socket(address, "&user=alice");
    let mut socket = opened_socket(address, "&user=alice&topic=panic").0;
    socket.send(TEXT, b"40");
    welcome(text(&socket.frame()));
    socket.assert_closed(1011);
    let session = Session::open_with(address, "&user=alice&topic=panic");
    let mut waiting = session.ask();
    session.assert_posts("40");
    let told = packets(&waiting.response(false).unwrap());
    assert!(told[0].starts_with("40{") || told == ["1"], "{told:?}");
    session.assert_gone();
    wait_for_clients(&running, 1);
    publish(&handle, &["x"]);
    assert_eq!(body(text(&fine.message())), "x");
    assert_eq!(metrics(address).closed("socketio", "hook"), 4.0);
}

#[test]
fn the_client_from_npm_stays_away_when_it_is_put_out() {
    let running = builder().spawn().unwrap();
    let (handle, address) = (running.handle(), address(&running));
    for transports in ["polling", "websocket"] {
        let options = json!({"transports": [transports]}).to_string();
        let url = format!("http://{address}");
        let Some(client) = Script::start("socket_io.js", &["4", &url, &options]) else { return };
        let expect = |line: &str| assert_eq!(client.line(), line, "{transports}");
        let connected = format!("[\"connect\",false,\"{transports}\"]");
        expect(&connected);
        // It comes back by itself.
        assert_eq!(handle.disconnect(|_| true, CloseCode::RESTART), Ok(1));
        expect("[\"disconnect\",\"transport close\"]");
        expect("[\"reconnect_attempt\"]");
        expect("[\"reconnect\"]");
        expect(&connected);
        assert_eq!(handle.disconnect(|_| true, CloseCode::POLICY), Ok(1));
        expect("[\"disconnect\",\"io server disconnect\"]");
        wait_for_clients(&running, 0);
    }
}
