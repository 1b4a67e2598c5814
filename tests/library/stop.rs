//! How gateways end, and that several of them in one process know nothing of each other.

use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zmq2ws::{Gateway, Handle};

use crate::support::PATIENCE;
use crate::support::http::{connect_narrow, get};
use crate::support::websocket::Raw;
use crate::{address, builder, wait_for_clients};

#[test]
fn a_gateway_that_is_let_go_of_says_goodbye() {
    let running = builder().spawn().unwrap();
    let mut client = Raw::open(address(&running), "/ws");
    wait_for_clients(&running, 1);
    // It waits for the client's end, which is here: so it is let go of elsewhere.
    let dropped = thread::spawn(move || drop(running));
    client.assert_closed(1001);
    drop(client);
    dropped.join().unwrap();
}

#[test]
fn handles_come_and_go_and_the_gateway_stays() {
    let running = builder().spawn().unwrap();
    for _ in 0..3 {
        drop(running.handle());
    }
    let mut client = Raw::open(address(&running), "/ws");
    wait_for_clients(&running, 1);
    running.handle().publish("t", ["x"]).unwrap();
    assert_eq!(client.message().text(), "x");
}

/// Clients that read nothing would hold it up for a minute.
#[test]
fn the_earliest_end_counts() {
    let running = builder().drain(Duration::from_secs(60)).max_lag(64 << 20).spawn().unwrap();
    let client = Raw::open(address(&running), "/ws");
    wait_for_clients(&running, 1);
    let handle = running.handle();
    let begun = Instant::now();
    for _ in 0..2_000 {
        while handle.publish("t", [vec![0; 16 << 10]]).is_err() {
            thread::yield_now();
        }
    }
    handle.shutdown();
    handle.drain(Duration::from_secs(3_600));
    assert!(handle.stats().is_ok(), "it is still there");
    handle.drain(Duration::ZERO);
    running.join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    drop(client);
}

/// Both are told before the loop hears of either.
#[test]
fn the_configured_time_is_one_of_those_of_which_the_earliest_counts() {
    let day = Duration::from_secs(86_400);
    let orders: [fn(&Handle, Duration); 2] = [
        |handle, day| {
            handle.shutdown();
            handle.drain(day);
        },
        |handle, day| {
            handle.drain(day);
            handle.shutdown();
        },
    ];
    for stop in orders {
        let builder = builder().drain(Duration::from_millis(100)).write_timeout(day);
        let mut gateway = builder.max_lag(64 << 20).build().unwrap();
        let handle = gateway.handle();
        let address = gateway.listen_addresses()[0].replace("http://", "").parse().unwrap();
        let client = thread::spawn(move || Raw::open_on(connect_narrow(address), "/ws"));
        while !client.is_finished() {
            gateway.turn(Some(Duration::from_millis(1))).unwrap();
        }
        for _ in 0..1_000 {
            while handle.publish("t", [vec![0; 16 << 10]]).is_err() {
                gateway.turn(Some(Duration::ZERO)).unwrap();
            }
        }
        stop(&handle, day);
        // Its client reads nothing, so only the time ends it.
        let begun = Instant::now();
        while gateway.turn(Some(Duration::from_millis(10))).unwrap() {
            assert!(begun.elapsed() < PATIENCE, "it goes on");
        }
        drop(client.join().unwrap());
    }
}

/// All of them take ten times as long as stopping may.
#[test]
fn a_slow_map_does_not_hold_up_the_end() {
    let running = builder()
        .drain(Duration::from_secs(1))
        .map(|message| {
            crate::be_busy(Duration::from_millis(2));
            Some(message)
        })
        .spawn()
        .unwrap();
    (0..5_000).for_each(|_| running.handle().publish("t", ["x"]).unwrap());
    let begun = Instant::now();
    drop(running);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn gateways_of_one_process_do_not_know_each_other() {
    let context = zmq::Context::new();
    let start = || builder().zmq_context(&context).bind("tcp://127.0.0.1:*").spawn().unwrap();
    let (one, other) = (start(), start());
    let mut clients = [&one, &other].map(|it| Raw::open(address(it), "/ws?format=json"));
    wait_for_clients(&one, 1);
    wait_for_clients(&other, 1);
    one.handle().publish("t", ["of one"]).unwrap();
    other.handle().publish("t", ["of the other"]).unwrap();
    let texts = clients.each_mut().map(|client| client.message().text().to_owned());
    assert!(texts[0].contains("of one") && texts[1].contains("of the other"), "{texts:?}");
    // Each counts for itself, and in an epoch of its own.
    assert!(texts.iter().all(|text| text.contains("-1\",\"topic\"")), "{texts:?}");
    assert_ne!(texts[0][..15], texts[1][..15]);
    let stats = one.handle().stats().unwrap();
    assert_eq!((stats.clients, stats.messages_published), (1, 1));
    one.handle().shutdown();
    one.join().unwrap();
    clients[0].assert_closed(1001);
    other.handle().publish("t", ["and on"]).unwrap();
    assert!(clients[1].message().text().contains("and on"));
}

/// Its sockets would say for ever that there is something to read, and its host wait for them as long.
#[test]
fn a_context_that_its_host_terminates_is_let_go_of_and_the_gateway_stays() {
    let context = zmq::Context::new();
    // Terminated is all that it can be: the last one that is dropped would do so again.
    std::mem::forget(context.clone());
    let builder = builder().zmq_context(&context).bind("tcp://127.0.0.1:*");
    let mut gateway = builder.connect("inproc://nobody").build().unwrap();
    let address = gateway.listen_addresses()[0].replace("http://", "").parse().unwrap();
    let client = thread::spawn(move || Raw::open(address, "/ws"));
    while !client.is_finished() {
        gateway.turn(Some(Duration::from_millis(1))).unwrap();
    }
    let ready_status = |gateway: &mut Gateway| {
        let asked = thread::spawn(move || get(address, "/readyz").status);
        while !asked.is_finished() {
            gateway.turn(Some(Duration::from_millis(1))).unwrap();
        }
        asked.join().unwrap()
    };
    assert_eq!(ready_status(&mut gateway), 200);
    let host = thread::spawn(move || { context }.destroy().unwrap());
    let begun = Instant::now();
    while !host.is_finished() {
        gateway.turn(Some(Duration::from_millis(1))).unwrap();
        assert!(begun.elapsed() < PATIENCE, "the host waits for it");
    }
    host.join().unwrap();
    assert_eq!(ready_status(&mut gateway), 503, "clients had better go elsewhere");
    // What is left to be done is done, and then nothing wakes it.
    let is_idle = |gateway: &Gateway| {
        let is_due = gateway.next_deadline().is_some_and(|it| it <= Instant::now());
        let mut waited = [PollFd::new(gateway, PollFlags::IN)];
        !is_due && poll(&mut waited, Some(&Timespec::default())).unwrap() == 0
    };
    while !is_idle(&gateway) {
        gateway.turn(Some(Duration::ZERO)).unwrap();
        assert!(begun.elapsed() < PATIENCE, "it spins");
    }
    gateway.handle().publish("t", ["goes on"]).unwrap();
    gateway.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(client.join().unwrap().message().text(), "goes on");
    assert_eq!((gateway.endpoints().len(), gateway.stats().upstream_connections), (2, 0));
}

#[test]
fn what_cannot_be_opened_is_told_to_who_spawns() {
    let error = builder().bind("tcp://203.0.113.1:1").spawn().unwrap_err().to_string();
    assert!(error.starts_with("cannot use ZeroMQ endpoint 'tcp://203.0.113.1:1': "), "{error}");
    let error = builder().max_lag(0).spawn().unwrap_err().to_string();
    assert!(error.starts_with("max_lag: '0': "), "{error}");
}
