//! Messages of the host's own: their order, their limits, their place among others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use zmq2ws::{Gateway, PublishError, TopicFrom};

use crate::support::publisher::Publisher;
use crate::support::websocket::Raw;
use crate::{address, builder, wait_for_clients};

#[test]
fn what_threads_publish_comes_in_order_and_is_numbered() {
    const EACH: usize = 500;
    let running = builder().spawn().unwrap();
    let mut all = Raw::open(address(&running), "/ws?format=json");
    let mut some = Raw::open(address(&running), "/ws?format=parts&topic=thread-1");
    wait_for_clients(&running, 2);
    let publish = |thread: usize| {
        let handle = running.handle();
        move || {
            for number in 0..EACH {
                let topic = format!("thread-{thread}");
                handle.publish(topic, [format!("{number}"), "°C".into()]).unwrap();
            }
        }
    };
    let threads: Vec<_> = (0..3).map(|number| thread::spawn(publish(number))).collect();
    let mut next = [0; 3];
    for seq in 1..=3 * EACH {
        let frame = all.message();
        let text = frame.text();
        assert!(text.contains(&format!("-{seq}\",\"topic\":\"thread-")), "{text}");
        let at = text.find("thread-").unwrap() + "thread-".len();
        let thread: usize = text[at..=at].parse().unwrap();
        assert!(text.ends_with(&format!("\"data\":[\"{}\",\"°C\"]}}", next[thread])), "{text}");
        next[thread] += 1;
    }
    for number in 0..EACH {
        let text = number.to_string();
        let len = text.len() as u8;
        let expected =
            [b"\0\0\0\x08thread-1\0\0\0", &[len][..], text.as_bytes(), b"\0\0\0\x03\xc2\xb0C"];
        assert_eq!(some.message().payload, expected.concat());
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let stats = running.handle().stats().unwrap();
    assert_eq!((stats.messages_published, stats.messages_received), (3 * EACH as u64, 0));
}

#[test]
fn a_topic_is_what_the_host_says_whatever_topics_from_zeromq_are() {
    let running = builder().topic_from(TopicFrom::None).spawn().unwrap();
    let mut client = Raw::open(address(&running), "/ws?format=json&exact=a");
    wait_for_clients(&running, 1);
    let handle = running.handle();
    handle.publish("b", ["no"]).unwrap();
    handle.publish("a", [] as [&str; 0]).unwrap();
    handle.publish(b"a", [[0xff_u8]]).unwrap();
    assert!(client.message().text().ends_with("\"topic\":\"a\",\"data\":\"\"}"));
    assert!(client.message().text().contains("\"data\":\"/w==\""));
}

#[test]
fn what_waits_for_the_loop_is_bounded_in_number_and_bytes() {
    let builder = builder().inbox_messages(3).inbox_bytes(2_008).max_message(1_000);
    let mut gateway = builder.build().unwrap();
    let handle = gateway.handle();
    let publish = |bytes: usize| handle.publish("t", [vec![0; bytes]]);
    assert_eq!(publish(1_000), Err(PublishError::TooLarge), "with its topic");
    assert_eq!(handle.publish("t", vec![""; 4_097]), Err(PublishError::TooLarge));
    assert_eq!((publish(999), publish(999)), (Ok(()), Ok(())));
    assert_eq!(publish(0), Err(PublishError::Full), "bytes");
    gateway.turn(Some(Duration::ZERO)).unwrap();
    for _ in 0..3 {
        assert_eq!(publish(1), Ok(()));
    }
    assert_eq!(publish(1), Err(PublishError::Full), "messages");
    gateway.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(publish(1), Ok(()));
    assert_eq!(gateway.stats().messages_published, 5);
    handle.shutdown();
    assert_eq!(publish(1), Err(PublishError::Stopped));
    drop(gateway);
    assert_eq!(publish(1), Err(PublishError::Stopped));
}

#[test]
fn empty_parts_take_room_too() {
    let gateway = builder().inbox_bytes(1 << 20).build().unwrap();
    let handle = gateway.handle();
    let parts = vec![""; 4_096];
    // What says how long each is takes 16 KiB.
    for _ in 0..64 {
        assert_eq!(handle.publish("", &parts), Ok(()));
    }
    assert_eq!(handle.publish("", &parts), Err(PublishError::Full));
    assert_eq!(handle.publish("", ["one"]), Err(PublishError::Full));
    // What can never be published is told apart from what can be later.
    assert_eq!(handle.publish("", [vec![0; 1 << 20]]), Err(PublishError::TooLarge));
    assert_eq!(handle.publish("", vec![""; 4_097]), Err(PublishError::TooLarge));
    let small = builder().inbox_bytes(4 << 10).build().unwrap();
    assert_eq!(small.handle().publish("", vec![""; 1_025]), Err(PublishError::TooLarge));
    assert_eq!(small.handle().publish("", vec![""; 1_024]), Ok(()));
}

/// A turn takes in thousands of messages that cost a microsecond.
#[test]
fn a_slow_map_does_not_hold_up_a_turn() {
    let calls: Arc<AtomicUsize> = Arc::default();
    let called = Arc::clone(&calls);
    let builder = builder().bind("tcp://127.0.0.1:*").map(move |message| {
        called.fetch_add(1, Ordering::Relaxed);
        crate::be_busy(Duration::from_millis(2));
        Some(message)
    });
    let mut gateway = builder.build().unwrap();
    let handle = gateway.handle();
    let endpoint = gateway.endpoints()[0].clone();
    let publisher = thread::spawn(move || {
        let publisher = Publisher::connect(&endpoint);
        (0..20).for_each(|_| publisher.send(&[b"zeromq", b"x"]));
        publisher
    });
    (0..20).for_each(|_| handle.publish("host", ["x"]).unwrap());
    let mut turns = 0;
    while calls.load(Ordering::Relaxed) < 40 {
        let before = calls.load(Ordering::Relaxed);
        gateway.turn(Some(Duration::from_millis(10))).unwrap();
        let in_turn = calls.load(Ordering::Relaxed) - before;
        assert!(in_turn <= 5, "{in_turn} calls in a turn");
        turns += 1;
        assert!(turns < 3_000, "it goes on");
    }
    drop(publisher.join().unwrap());
}

/// The loop would wait for a minute.
#[test]
fn who_publishes_wakes_the_loop() {
    let mut gateway = Gateway::builder().build().unwrap();
    let handle = gateway.handle();
    gateway.turn(Some(Duration::ZERO)).unwrap();
    let publisher = thread::spawn(move || handle.publish("t", ["b"]).unwrap());
    while gateway.stats().messages_published == 0 {
        let begun = std::time::Instant::now();
        gateway.turn(Some(Duration::from_secs(60))).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
    publisher.join().unwrap();
}

/// Each turn finds as much as the host may publish.
#[test]
fn neither_the_host_nor_zeromq_keeps_the_other_waiting() {
    let builder = builder().bind("tcp://127.0.0.1:*").inbox_messages(50_000);
    let mut gateway = builder.build().unwrap();
    let handle = gateway.handle();
    let endpoint = gateway.endpoints()[0].clone();
    let publisher = thread::spawn(move || {
        let publisher = Publisher::connect(&endpoint);
        (0..5_000).for_each(|_| publisher.send(&[b"zeromq", b"x"]));
        publisher
    });
    // It needs turns to connect; what it sends waits in ZeroMQ.
    while !publisher.is_finished() && gateway.stats().messages_received == 0 {
        gateway.turn(Some(Duration::from_millis(1))).unwrap();
    }
    let publisher = publisher.join().unwrap();
    let (mut floods, mut turns) = (0, 0);
    while gateway.stats().messages_received < 5_000 {
        while handle.publish("host", ["x"]).is_ok() {}
        floods += 1;
        let before = gateway.stats();
        gateway.turn(Some(Duration::from_millis(1))).unwrap();
        let after = gateway.stats();
        let (published, received) = (
            after.messages_published - before.messages_published,
            after.messages_received - before.messages_received,
        );
        assert!(published > 0, "the host waits");
        turns += u64::from(received > 0);
        assert!(floods < 100_000, "ZeroMQ waits");
    }
    assert!(turns < 100, "5,000 messages in {turns} turns: less than a fair share");
    drop(publisher);
}

#[test]
fn what_was_accepted_is_delivered_before_the_end() {
    let running = builder().spawn().unwrap();
    let mut client = Raw::open(address(&running), "/ws");
    wait_for_clients(&running, 1);
    let handle = running.handle();
    (0..5_000).for_each(|number| handle.publish("t", [number.to_string()]).unwrap());
    handle.shutdown();
    for number in 0..5_000 {
        assert_eq!(client.message().text(), number.to_string());
    }
    client.assert_closed(1001);
    running.join().unwrap();
}
