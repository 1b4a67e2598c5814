//! Which consumer gets which messages: either end binds, subscribers come late or are slow or are not there, a proxy is between.

use std::io::Write;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::folder::Folder;
use crate::{assert_said, bound_consumer, consumer, producer, proxy};

#[test]
fn producer_and_consumer_need_no_gateway_and_either_may_bind() {
    for consumer_binds in [true, false] {
        let (consumer, producer);
        let wait = ["--count=300", "--rate=0", "--host=h", "--topics=a,b,c", "--wait=40"];
        if consumer_binds {
            consumer = crate::consumer(&["--bind=tcp://127.0.0.1:*", "--count=300"]);
            let endpoint = consumer.said("consumer: bound to");
            producer = crate::producer(&[&["--connect", &endpoint], &wait[..]].concat());
        } else {
            producer = crate::producer(&[&["--bind=tcp://127.0.0.1:*"], &wait[..]].concat());
            let endpoint = producer.said("producer: bound to");
            assert!(!endpoint.ends_with(":0") && !endpoint.ends_with(":*"), "{endpoint}");
            consumer = crate::consumer(&["--connect", &endpoint, "--count=300"]);
        }
        let (consumer, producer) = (consumer.end(), producer.end());
        assert_said(&producer, "producer: sent 300 messages, ");
        assert_said(&consumer, "consumer: received 300 messages, ");
        let topic = |line: &String| line.split('\t').next().unwrap().to_owned();
        let topics: Vec<_> = consumer.stdout.iter().map(topic).collect();
        assert_eq!(topics, ["h/a", "h/b", "h/c"].repeat(100));
        let (_, body) = consumer.stdout[299].split_once('\t').unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["seq"], 299);
    }
}

#[test]
fn lines_of_standard_input_are_messages_and_cannot_command_a_terminal() {
    let consumer = consumer(&["--bind=tcp://127.0.0.1:*", "--topic=t", "--count=4"]);
    let endpoint = consumer.said("consumer: bound to");
    let mut producer = producer(&["--stdin", "--wait=40", "--connect", &endpoint]);
    let mut stdin = producer.stdin.take().unwrap();
    stdin.write_all(b"t one two  three\nother not wanted\nt\n").unwrap();
    stdin.write_all(b"t \x1b[2J\xe2\x80\xae\nt \xff").unwrap();
    drop(stdin);
    let end = producer.end();
    assert_said(&end, "producer: sent 4 messages, ");
    assert_said(&end, "producer: dropped 1 messages: 1 without a subscriber");
    let consumer = consumer.end();
    assert_said(&consumer, "consumer: received 4 messages, ");
    let expected = ["t\tone two  three", "t\t", "t\t\\u{1b}[2J\\u{202e}", "t\t0xff"];
    assert_eq!(consumer.stdout, expected);
}

/// A subscriber that reads when the test says so, and whose queue is tiny.
fn slow_subscriber(context: &zmq::Context) -> (zmq::Socket, String) {
    let socket = context.socket(zmq::SUB).unwrap();
    socket.set_rcvhwm(1).unwrap();
    socket.set_rcvbuf(4096).unwrap();
    socket.set_rcvtimeo(crate::PATIENCE.as_millis() as i32).unwrap();
    socket.set_subscribe(b"").unwrap();
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let endpoint = socket.get_last_endpoint().unwrap().unwrap();
    (socket, endpoint)
}

#[test]
fn files_wait_for_a_slow_subscriber() {
    const LINES: usize = 20_000;
    let folder = Folder::new();
    let line = |number: usize| format!("{number:0>200}");
    let text: String = (0..LINES).map(|number| line(number) + "\n").collect();
    folder.append("log", &text);
    let context = zmq::Context::new();
    let (socket, endpoint) = slow_subscriber(&context);
    let count = format!("--count={LINES}");
    let producer = producer(&[
        "--host=h",
        "--files",
        &folder.path("log"),
        "--lines=all",
        "--hwm=10",
        "--linger=60",
        &count,
        "--connect",
        &endpoint,
    ]);
    for number in 0..LINES {
        assert_eq!(socket.recv_multipart(0).unwrap()[1], line(number).as_bytes());
    }
    let end = producer.end();
    assert_said(&end, &format!("producer: sent {LINES} messages, "));
    assert_said(&end, "producer: dropped 0 messages");
}

#[test]
fn a_demo_does_not_wait_and_tells_that_somebody_missed_some() {
    let context = zmq::Context::new();
    let (socket, endpoint) = slow_subscriber(&context);
    let producer = producer(&[
        "--demo",
        "--rate=0",
        "--count=20000",
        "--size=1000",
        "--hwm=10",
        "--linger=0",
        "--connect",
        &endpoint,
        "--wait=60",
    ]);
    // A socket that binds asks for messages only when it is used.
    socket.recv_multipart(0).unwrap();
    let end = producer.end();
    assert_said(&end, "producer: sent 20000 messages, ");
    assert_said(&end, "producer: some subscriber's queue was full ");
    drop(socket);
}

#[test]
fn a_stop_does_not_wait_for_who_reads_nothing() {
    let folder = Folder::new();
    folder.append("log", &("x".repeat(1000) + "\n").repeat(20_000));
    let context = zmq::Context::new();
    let (socket, endpoint) = slow_subscriber(&context);
    let producer = producer(&[
        "--host=h",
        "--files",
        &folder.path("log"),
        "--lines=all",
        "--hwm=10",
        "--linger=0",
        "--connect",
        &endpoint,
    ]);
    assert_eq!(socket.recv_multipart(0).unwrap()[0], b"h/log");
    producer.wait_until_it_reads_no_more();
    let start = Instant::now();
    producer.signal(Signal::INT);
    let end = producer.end();
    // Not one timeout for each message that was read.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_said(&end, "producer: sent ");
    let is_told = |line: &String| line.contains("not sent before the end");
    assert!(end.stderr.iter().any(is_told), "{end:#?}");
}

#[test]
fn what_nobody_subscribes_to_is_counted() {
    let end =
        producer(&["--demo", "--bind=tcp://127.0.0.1:*", "--rate=0", "--count=100", "--wait=0"])
            .end();
    assert_said(&end, "producer: dropped 100 messages: 100 without a subscriber");
    assert_said(&end, "producer: sent 0 messages, ");
}

#[test]
fn a_topic_that_nobody_subscribes_to_is_not_counted_as_sent() {
    let folder = Folder::new();
    folder.append("log", &"x\n".repeat(1000));
    let (consumer, endpoint) = bound_consumer(&["--topic=web2/", "--count=1"]);
    let produce = |host: &str, args: &[&str]| {
        let all = ["--host", host, "--connect", &endpoint];
        producer(&[&all[..], args].concat()).end()
    };
    let files = ["--lines=all", "--count=1000", "--files", &folder.path("log")];
    let demo = ["--demo", "--rate=0", "--count=1000", "--wait=60"];
    for args in [&files[..], &demo[..]] {
        let end = produce("web1", args);
        assert_said(&end, "producer: dropped 1000 messages: 1000 without a subscriber");
        assert_said(&end, "producer: sent 0 messages, ");
    }
    let last = ["--demo", "--count=1", "--wait=60"];
    assert_said(&produce("web2", &last), "producer: dropped 0 messages");
    assert_said(&consumer.end(), "consumer: received 1 messages, ");
}

#[test]
fn everyone_who_is_waited_for_gets_everything() {
    let args = ["--demo", "--bind=tcp://127.0.0.1:*", "--rate=0", "--count=50", "--wait=60"];
    let producer = producer(&[&args[..], &["--subscriptions=3"]].concat());
    let endpoint = producer.said("producer: bound to");
    let all = ["--count=50", "--connect", &endpoint];
    let consumers = [consumer(&all), consumer(&all), consumer(&all)];
    for consumer in consumers {
        assert_eq!(consumer.end().stdout.len(), 50);
    }
    assert_said(&producer.end(), "producer: sent 50 messages, ");
}

#[test]
fn a_proxy_forwards_everything_between_many_and_many() {
    let proxy = proxy(&["--from-bind=tcp://127.0.0.1:*", "--to-bind=tcp://127.0.0.1:*"]);
    let from = proxy.said("proxy: from: bound to");
    let to = proxy.said("proxy: to: bound to");
    let consumers = [
        consumer(&["--connect", &to, "--topic=h1/", "--topic=h2/", "--count=2000"]),
        consumer(&["--connect", &to, "--topic=h1/weather.", "--count=1000"]),
    ];
    let produce = |host: &str| {
        producer(&[
            "--host",
            host,
            "--demo",
            "--rate=0",
            "--count=1000",
            "--connect",
            &from,
            "--subscriptions=3",
            "--wait=60",
            "--delivery=wait",
        ])
    };
    // Through a proxy, each prefix is asked for once: everybody has another.
    let producers = [produce("h1"), produce("h2")];
    for producer in producers {
        assert_said(&producer.end(), "producer: sent 1000 messages, ");
    }
    for (consumer, count) in consumers.into_iter().zip([2000, 1000]) {
        assert_said(&consumer.end(), &format!("consumer: received {count} messages, "));
    }
    proxy.signal(Signal::TERM);
    let end = proxy.end();
    assert_said(&end, "proxy: forwarded 2000 messages, ");
    assert_said(&end, "proxy: what a consumer had no room for (--to-hwm) ");
}

#[test]
fn a_proxy_connects_where_others_bind() {
    let (consumer, to) = bound_consumer(&["--count=100"]);
    let args = ["--demo", "--rate=0", "--count=100", "--bind=tcp://127.0.0.1:*", "--wait=60"];
    let producer = producer(&args);
    let from = producer.said("producer: bound to");
    let proxy = proxy(&["--from-connect", &from, "--to-connect", &to]);
    assert_said(&producer.end(), "producer: sent 100 messages, ");
    assert_said(&consumer.end(), "consumer: received 100 messages, ");
    proxy.signal(Signal::INT);
    assert_said(&proxy.end(), "proxy: forwarded 100 messages, ");
}
