//! What the consumer shows, and what is refused.

use rustix::process::Signal;

use crate::{assert_said, bound_consumer, consumer, producer, proxy};

#[test]
fn a_table_shows_the_rate_of_each_producer_and_topic() {
    let (consumer, endpoint) = bound_consumer(&["--stats", "--interval=50"]);
    let hosts = ["web1", "web2"].map(|host| {
        producer(&["--host", host, "--demo", "--topics=a,b", "--rate=200", "--connect", &endpoint])
    });
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 4 {
        let line = consumer.printed("");
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        if let [producer, topic, rate, _, _] = &words[..]
            && rate.parse::<f64>().is_ok_and(|rate| rate > 0.0)
        {
            assert!(["web1", "web2"].contains(&&producer[..]), "{line}");
            seen.insert((producer.clone(), topic.clone()));
        }
    }
    for producer in hosts {
        producer.signal(Signal::INT);
        assert_said(&producer.end(), "producer: sent ");
    }
    consumer.signal(Signal::INT);
    assert_said(&consumer.end(), "consumer: received ");
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    for (end, reason) in [
        (producer(&["--bind=tcp://192.0.2.1:1"]).end(), "cannot bind tcp://192.0.2.1:1: "),
        (producer(&["--connect=udp://127.0.0.1:0"]).end(), "the port must be from 1 to 65535"),
        (producer(&["--files", "/nowhere/***"]).end(), "/nowhere/***: "),
        (consumer(&["--bind=ipc:///dev/null"]).end(), "cannot bind ipc:///dev/null: "),
        (consumer(&["--bind=ipc:///nowhere/x"]).end(), "cannot bind ipc:///nowhere/x: "),
        (
            proxy(&["--from-bind=tcp://127.0.0.1:*", "--to-bind=tcp://192.0.2.1:1"]).end(),
            "cannot bind tcp://192.0.2.1:1: ",
        ),
    ] {
        assert_eq!(end.code, Some(1), "{end:#?}");
        assert!(end.stderr.last().unwrap().contains(reason), "{reason}: {end:#?}");
    }
    for end in [
        producer(&["--bind=udp://239.192.1.1:5556"]).end(),
        producer(&["--connect=carrier-pigeon://roof"]).end(),
        consumer(&["--connect=tcp://127.0.0.1"]).end(),
        proxy(&["--from-connect=udp://239.192.1.1:5556"]).end(),
    ] {
        assert_eq!(end.code, Some(2), "{end:#?}");
    }
}

#[test]
fn multicast_that_this_build_has_not_is_refused_with_the_command_to_build_it() {
    if zmq::has("pgm") == Some(true) {
        return;
    }
    let to = "--connect=epgm://127.0.0.1;239.192.1.1:5556";
    let ends = [
        ("producer", producer(&["--demo", to]).end()),
        ("consumer", consumer(&[to]).end()),
        ("proxy", proxy(&["--from-bind=tcp://127.0.0.1:*", &to.replace("--", "--from-")]).end()),
    ];
    for (name, end) in ends {
        assert_eq!(end.code, Some(1), "{end:#?}");
        assert!(end.stdout.is_empty(), "{end:#?}");
        let [.., line] = &end.stderr[..] else { panic!("{name} says nothing") };
        assert!(
            line.starts_with(&format!("{name}: cannot connect to epgm://127.0.0.1;")),
            "{line}"
        );
        let command = "cargo install --path examples --config .cargo/system-libzmq.toml";
        assert!(line.ends_with(command), "{line}");
    }
}

#[test]
fn an_interface_that_is_not_there_is_told_with_what_to_do() {
    let mut endpoints = vec!["udp://nowhere0;239.192.1.1:5556"];
    if zmq::has("pgm") == Some(true) {
        endpoints.push("epgm://nowhere0;239.192.1.1:5556");
    }
    for endpoint in endpoints {
        let to = format!("--connect={endpoint}");
        for end in [producer(&["--demo", &to]).end(), consumer(&[&to]).end()] {
            assert_eq!(end.code, Some(1), "{end:#?}");
            let line = end.stderr.last().unwrap();
            assert!(line.contains(endpoint) && line.contains("`ip address`"), "{line}");
        }
    }
}

#[test]
fn a_producer_that_nobody_has_subscribed_to_yet_can_be_stopped() {
    let producer = producer(&["--files", "/nowhere/log", "--bind=tcp://127.0.0.1:*"]);
    producer.said("producer: bound to");
    producer.signal(Signal::INT);
    assert_said(&producer.end(), "producer: sent 0 messages, ");
}

#[test]
fn the_last_table_has_everything() {
    let (consumer, endpoint) = bound_consumer(&["--stats", "--interval=3600000", "--count=40"]);
    let args = ["--host=h", "--demo", "--topics=a,b", "--rate=0", "--count=40", "--connect"];
    let producer = producer(&[&args[..], &[&endpoint, "--wait=60"]].concat());
    assert_said(&producer.end(), "producer: sent 40 messages, ");
    let end = consumer.end();
    assert_said(&end, "consumer: received 40 messages, ");
    let totals = |line: &String| line.split_whitespace().last().map(str::to_owned);
    let totals: Vec<_> = end.stdout.iter().filter_map(totals).collect();
    assert_eq!(totals, ["MESSAGES", "20", "20", "40"], "{end:#?}");
}
