//! What a host asks of its gateway: figures, clients, closing some; from other threads and on its own.

use std::sync::mpsc;
use std::time::Duration;

use zmq2ws::{Access, AskError, CloseCode, Transport};

use crate::support::events::Events;
use crate::support::http::{Connection, get};
use crate::support::wait_until;
use crate::support::websocket::Raw;
use crate::{address, builder, wait_for_clients};

#[test]
fn figures_and_clients_are_what_they_are() {
    let running = builder().spawn().unwrap();
    let handle = running.handle();
    let mut socket = Raw::open(address(&running), "/ws");
    let mut events = Events::open(address(&running), "/sse");
    let page = get(address(&running), "/");
    wait_for_clients(&running, 2);
    handle.publish("t", ["12345"]).unwrap();
    assert_eq!(socket.message().text(), "12345");
    events.message();
    wait_until("everything is counted", || handle.stats().unwrap().messages_delivered == 2);
    let stats = handle.stats().unwrap();
    assert_eq!((stats.clients, stats.feeds, stats.history_messages), (2, 2, 1));
    assert_eq!(stats.of_transport(Transport::WebSocket).messages_delivered, 1);
    assert_eq!(stats.of_transport(Transport::Sse).clients, 1);
    assert!(stats.of_transport(Transport::Http).bytes_delivered >= page.body.len() as u64);
    let mut clients = handle.clients().unwrap();
    clients.sort_by_key(|client| client.transport.to_string());
    let seen: Vec<_> = clients.iter().map(|it| (it.transport, it.peer, it.tag)).collect();
    let peer = Some([127, 0, 0, 1].into());
    assert_eq!(seen, [(Transport::Sse, peer, None), (Transport::WebSocket, peer, None)]);
    assert_ne!(clients[0].id, clients[1].id);
}

#[test]
fn the_host_closes_whom_it_picks() {
    let allow = |request: &zmq2ws::Request<'_>| {
        Access::allow().with_tag(request.query("user").unwrap().parse().unwrap())
    };
    let running = builder().authorize(allow).spawn().unwrap();
    let handle = running.handle();
    let address = address(&running);
    let mut alice = Raw::open(address, "/ws?user=1");
    let mut bob = Raw::open(address, "/ws?user=2");
    let mut alices_events = Events::open(address, "/sse?user=1");
    let mut alices_poll = Connection::open(address);
    alices_poll.send("GET /poll?user=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_clients(&running, 4);
    let code = CloseCode::application(4_001).unwrap();
    let closed = handle.disconnect(|client| client.tag == Some(1), code).unwrap();
    assert_eq!(closed, 3);
    alice.assert_closed(4001);
    alices_events.assert_ended();
    assert!(alices_poll.response(false).unwrap().text().contains("\"messages\":[]"));
    wait_for_clients(&running, 1);
    handle.publish("t", ["still here"]).unwrap();
    assert_eq!(bob.message().text(), "still here");
    let panics = |_: &zmq2ws::ClientInfo| -> bool { panic!("on purpose") };
    assert_eq!(handle.disconnect(panics, CloseCode::POLICY), Ok(0));
    assert_eq!(handle.disconnect(|_| true, CloseCode::RESTART), Ok(1));
    bob.assert_closed(1012);
    let metrics = crate::support::http::metrics(address);
    assert_eq!(metrics.closed("websocket", "host"), 2.0);
}

#[test]
fn who_turns_the_gateway_cannot_wait_for_it_and_need_not() {
    let (sender, answers) = mpsc::channel();
    let slot: std::sync::Arc<std::sync::OnceLock<zmq2ws::Handle>> = std::sync::Arc::default();
    let in_hook = std::sync::Arc::clone(&slot);
    let mut gateway = builder()
        .map(move |message| {
            let handle = in_hook.get().unwrap();
            sender.send(handle.stats().map(drop)).unwrap();
            // What does not wait may be done here, too.
            if message.topic.as_deref() == Some(b"first") {
                handle.publish("second", ["b"]).unwrap();
            }
            Some(message)
        })
        .build()
        .unwrap();
    let handle = gateway.handle();
    slot.set(handle.clone()).unwrap();
    assert_eq!(handle.stats(), Err(AskError::OwnThread));
    assert_eq!(handle.clients(), Err(AskError::OwnThread));
    assert_eq!(handle.disconnect(|_| true, CloseCode::POLICY), Err(AskError::OwnThread));
    assert_eq!((gateway.clients(), gateway.stats().clients), (vec![], 0));
    handle.publish("first", ["a"]).unwrap();
    while gateway.stats().messages_published < 2 {
        gateway.turn(Some(Duration::from_millis(10))).unwrap();
    }
    assert_eq!(answers.try_iter().collect::<Vec<_>>(), [Err(AskError::OwnThread); 2]);
}

#[test]
fn who_asks_a_gateway_that_has_ended_hears_so() {
    let running = builder().spawn().unwrap();
    let handle = running.handle();
    handle.shutdown();
    running.join().unwrap();
    assert_eq!(handle.stats(), Err(AskError::Stopped));
    // It has ended, and is still there.
    let (sender, handles) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let mut gateway = builder().build().unwrap();
        gateway.handle().shutdown();
        while gateway.turn(None).unwrap() {}
        sender.send(gateway.handle()).unwrap();
        let _ = ended.recv();
    });
    assert_eq!(handles.recv().unwrap().clients(), Err(AskError::Stopped));
    drop(end);
    thread.join().unwrap();
}

/// It would not wait for itself: there is nothing to wait for.
#[test]
fn who_asks_on_the_thread_of_a_gateway_that_has_ended_hears_so_too() {
    let mut gateway = builder().build().unwrap();
    let handle = gateway.handle();
    handle.shutdown();
    assert_eq!(handle.stats(), Err(AskError::OwnThread));
    while gateway.turn(None).unwrap() {}
    assert_eq!(handle.stats(), Err(AskError::Stopped));
    let gateway = builder().build().unwrap();
    let handle = gateway.handle();
    drop(gateway);
    assert_eq!(handle.clients(), Err(AskError::Stopped));
}

/// Who waits when the host drops its gateway is not left waiting.
#[test]
fn who_waits_for_a_gateway_that_goes_hears_so() {
    let (sender, handles) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let gateway = builder().build().unwrap();
        let handle = gateway.handle();
        sender.send(handle.clone()).unwrap();
        // The question is there before the gateway goes; it is never turned.
        while handle.publish("t", ["b"]).is_ok() {
            std::thread::yield_now();
        }
        drop(gateway);
    });
    let handle = handles.recv().unwrap();
    let asking = std::thread::spawn({
        let handle = handle.clone();
        move || handle.stats()
    });
    assert_eq!(asking.join().unwrap(), Err(AskError::Stopped));
    thread.join().unwrap();
}
