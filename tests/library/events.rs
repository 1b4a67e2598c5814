//! What the host hears of clients, what it makes of messages, and what its panics cost.

use std::sync::mpsc::{self, Receiver};

use zmq2ws::{Builder, Event, LagPolicy};

use crate::support::events::Events;
use crate::support::http::{Connection, connect_narrow, metrics};
use crate::support::websocket::{BINARY, CLOSE, Raw, UPGRADE};
use crate::support::{PATIENCE, wait_until};
use crate::{address, builder, wait_for_clients};

/// What happened, as text: who by number in the order of coming.
pub(super) fn listening(builder: Builder) -> (Builder, Receiver<String>) {
    let (sender, events) = mpsc::channel();
    let mut known = Vec::new();
    let hook = move |event: &Event<'_>| {
        let (client, what) = match event {
            Event::Connected { client, .. } => {
                known.push(client.id);
                (client, format!("connected by {}", client.transport))
            }
            Event::Subscribed { client, topics, .. } => {
                let text = |topic: &[u8]| String::from_utf8(topic.to_vec()).unwrap();
                let prefixes: Vec<_> = topics.prefixes().map(text).collect();
                let exact: Vec<_> = topics.exact().map(text).collect();
                (client, format!("gets {prefixes:?} {exact:?}"))
            }
            Event::Lagged { client, .. } => (client, "lags".into()),
            Event::Closed { client, reason, .. } => (client, format!("closed: {reason}")),
            _ => return,
        };
        let number = known.iter().position(|id| *id == client.id).unwrap();
        sender.send(format!("{number} {what}")).unwrap();
    };
    (builder.on_event(hook), events)
}

#[track_caller]
pub(super) fn assert_next(events: &Receiver<String>, expected: &[&str]) {
    for expected in expected {
        assert_eq!(events.recv_timeout(PATIENCE).as_deref(), Ok(*expected));
    }
}

#[test]
fn clients_come_subscribe_and_go() {
    let (builder, events) = listening(builder());
    let running = builder.spawn().unwrap();
    let address = address(&running);
    crate::support::http::get(address, "/");
    let client = Raw::open(address, "/ws?topic=b&topic=a&exact=x&exact=ab");
    assert_next(&events, &["0 connected by websocket", "0 gets [\"a\", \"b\"] [\"x\"]"]);
    drop(client);
    let gone = events.recv_timeout(PATIENCE).unwrap();
    assert!(gone == "0 closed: client" || gone == "0 closed: reset", "{gone}");
    let mut stream = Events::open(address, "/sse");
    assert_next(&events, &["1 connected by sse", "1 gets [\"\"] []"]);
    // A poll is a client as long as it waits; its connection may poll again.
    let mut poll = Connection::open(address);
    for path in ["/poll?topic=c&timeout=0", "/poll?topic=d&timeout=0"] {
        poll.request("GET", path, "");
    }
    assert_next(&events, &["2 connected by poll", "2 gets [\"c\"] []", "2 closed: done"]);
    drop(poll);
    let (third, fourth) = (events.recv().unwrap(), events.recv().unwrap());
    assert_eq!((&*third, &*fourth), ("2 connected by poll", "2 gets [\"d\"] []"));
    assert_next(&events, &["2 closed: done"]);
    running.handle().shutdown();
    stream.assert_ended();
    assert_next(&events, &["1 closed: shutdown"]);
    running.join().unwrap();
    assert!(events.recv().is_err(), "nothing else");
}

#[test]
fn a_zeromq_socket_is_heard_of_whenever_it_changes_its_mind() {
    let (builder, events) = listening(builder());
    let running = builder.spawn().unwrap();
    let mut connection = Connection::open(address(&running));
    let head = "GET /ws HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Protocol: ZWS2.0\r\n";
    connection.send(format!("{head}{UPGRADE}\r\n"));
    let mut client = Raw::upgraded(connection);
    client.frame();
    assert_next(&events, &["0 connected by zws"]);
    client.send(BINARY, b"\0");
    for (request, topics) in [
        (&b"\0\x01b"[..], "[\"b\"]"),
        (b"\0\x01a", "[\"a\", \"b\"]"),
        (b"\0\0b", "[\"a\"]"),
        (b"\0\0a", "[]"),
    ] {
        client.send(BINARY, request);
        assert_next(&events, &[&format!("0 gets {topics} []")]);
    }
}

#[test]
fn who_lags_is_heard_of_once_for_each_stretch() {
    for (policy, end) in [(LagPolicy::Skip, "0 closed: "), (LagPolicy::Disconnect, "0 closed: lag")]
    {
        let builder = builder().max_lag(64 << 10).history(0).slow_client(policy);
        let (builder, events) = listening(builder);
        let running = builder.spawn().unwrap();
        let handle = running.handle();
        let mut client = Raw::open_on(connect_narrow(address(&running)), "/ws");
        assert_next(&events, &["0 connected by websocket", "0 gets [\"\"] []"]);
        let mut sent = 0;
        let lag = loop {
            while handle.publish("t", [vec![0; 16 << 10]]).is_err() {
                std::thread::yield_now();
            }
            sent += 1;
            assert!(sent < 10_000, "nobody lags");
            if let Ok(event) = events.try_recv() {
                break event;
            }
        };
        assert_eq!(lag, "0 lags");
        // Of the same stretch nothing more is told.
        for _ in 0..50 {
            while handle.publish("t", [vec![0; 16 << 10]]).is_err() {
                std::thread::yield_now();
            }
        }
        if policy == LagPolicy::Disconnect {
            while client.frame().opcode != CLOSE {}
        }
        drop(client);
        let next = events.recv_timeout(PATIENCE).unwrap();
        assert!(next.starts_with(end), "{policy:?}: {next}");
    }
}

#[test]
fn messages_are_what_the_host_makes_of_them() {
    let running = builder()
        .map(|mut message| {
            match message.topic.as_deref() {
                Some(b"drop") => return None,
                Some(b"panic") => panic!("on purpose"),
                Some(b"grow") => message.parts.push(vec![0; 2_000].into()),
                Some(b"move") => message.topic = Some(b"moved".into()),
                _ => message.parts.iter_mut().for_each(|it| it.to_mut().make_ascii_uppercase()),
            }
            Some(message)
        })
        .max_message(1_000)
        .spawn()
        .unwrap();
    let mut client = Raw::open(address(&running), "/ws?format=json");
    let mut moved = Raw::open(address(&running), "/ws?format=raw&exact=moved");
    wait_for_clients(&running, 2);
    let handle = running.handle();
    for topic in ["a", "drop", "panic", "grow", "move", "b"] {
        handle.publish(topic, ["body"]).unwrap();
    }
    // What is dropped leaves no hole in the numbers: history is of what was sent.
    for expected in [
        "-1\",\"topic\":\"a\",\"data\":\"BODY\"}",
        "-2\",\"topic\":\"moved\",\"data\":\"body\"}",
        "-3\",\"topic\":\"b\",\"data\":\"BODY\"}",
    ] {
        let frame = client.message();
        assert!(frame.text().ends_with(expected), "{}", frame.text());
    }
    assert_eq!(moved.message().text(), "body");
    let metrics = metrics(address(&running));
    let dropped = |reason: &str| {
        metrics.get(&format!("zmq2ws_messages_dropped_total{{reason=\"{reason}\"}}"))
    };
    assert_eq!((dropped("map"), dropped("too_large")), (2.0, 1.0));
    assert_eq!(metrics.get("zmq2ws_messages_published_total"), 6.0);
    assert_eq!(handle.stats().unwrap().messages_dropped, 3);
}

#[test]
fn a_panic_closes_the_client_that_it_was_told_of_and_nobody_else() {
    let mut count = 0;
    let hook = move |event: &Event<'_>| {
        if let Event::Connected { .. } = event {
            count += 1;
            assert!(count != 2, "on purpose");
        }
    };
    let running = builder().on_event(hook).spawn().unwrap();
    let mut first = Raw::open(address(&running), "/ws");
    Raw::open(address(&running), "/ws").assert_closed(1011);
    let mut third = Raw::open(address(&running), "/ws");
    let handle = running.handle();
    wait_until("two clients", || handle.stats().unwrap().clients == 2);
    handle.publish("t", ["x"]).unwrap();
    assert_eq!((first.message().text(), third.message().text()), ("x", "x"));
}
