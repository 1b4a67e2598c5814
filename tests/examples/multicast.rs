//! Files to a multicast group, and from there through the gateway to WebSockets: each line arrives, or is counted and told.

use std::collections::HashMap;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use crate::examples::folder::Folder;
use crate::examples::{
    WS_CLIENTS, assert_ended, example, gateway_with, messages, metric, wait_for_metric,
};
use crate::process::Process;

const FILES: usize = 10;
const CLIENTS: usize = 3;

/// So many lines of each file, short ones, any system keeps until they are read.
const CALM_LINES: usize = 15;

/// So many more of each come while the gateway stands still: no system keeps them.
const FLOOD_LINES: usize = 2_000;

const RECEIVED: &str = "zmq2ws_messages_received_total";
const LOST: &str = "zmq2ws_messages_dropped_total{reason=\"overflow\"}";
const GAPS: &str = "zmq2ws_gaps_total{reason=\"upstream\"}";

/// What a client was sent up to the last line of every file.
#[derive(Debug, Default, PartialEq)]
struct Account {
    ids: Vec<String>,
    missed: usize,
    gaps: usize,
    next: HashMap<String, usize>,
}

impl Account {
    fn read(url: &str) -> Self {
        let mut account = Self::default();
        let mut is_told = false;
        let mut messages = messages(url);
        while !account.is_complete() {
            let json = messages.next().unwrap();
            if json.get("gap").is_some() {
                let expected = serde_json::json!({"missed": null, "reason": "upstream"});
                assert_eq!(json["gap"], expected);
                is_told = true;
                account.gaps += 1;
                continue;
            }
            account.add(&json, std::mem::take(&mut is_told));
        }
        account
    }

    fn add(&mut self, json: &Value, is_told: bool) {
        let topic = json["topic"].as_str().unwrap();
        let line = json["data"].as_str().unwrap();
        let number: usize = line.split(' ').next().unwrap().parse().unwrap();
        let next = self.next.entry(topic.to_owned()).or_default();
        assert!(number == *next || (is_told && number > *next), "{topic}: {number} after {next}");
        self.missed += number - *next;
        *next = number + 1;
        self.ids.push(json["id"].as_str().unwrap().to_owned());
    }

    fn is_complete(&self) -> bool {
        let all = CALM_LINES + FLOOD_LINES + 1;
        self.next.len() == FILES && self.next.values().all(|&next| next == all)
    }
}

fn append(folder: &Folder, lines: std::ops::Range<usize>, bytes: usize) {
    let text: String = lines.map(|line| format!("{line} {}\n", "x".repeat(bytes))).collect();
    (0..FILES).for_each(|file| folder.append(&format!("{file}.log"), &text));
}

/// What the consumer of `examples/` makes of the same group.
fn assert_consumer_accounts(consumer: Process, sent: usize) {
    consumer.signal(Signal::INT);
    let end = consumer.end();
    assert_eq!(end.code, Some(0), "{end:#?}");
    let count = |start: &str| -> usize {
        let rest = end.stderr.iter().find_map(|line| line.strip_prefix(start));
        rest.unwrap_or_else(|| panic!("{start} in {end:#?}"))
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let received = count("consumer: received ");
    assert_eq!(received + count("consumer: datagrams: "), sent);
}

#[test]
fn every_line_by_udp_reaches_every_websocket_or_is_counted_and_told() {
    let folder = Folder::new();
    append(&folder, 0..CALM_LINES, 60);
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    let group = format!("--bind=udp://127.0.0.1;239.251.{high}.{low}:*");
    let (gateway, address, endpoint) = gateway_with(&[&group, "--max-lag=64MiB"]);
    let url = format!("ws://{address}/ws?format=json");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let url = url.clone();
            thread::spawn(move || Account::read(&url))
        })
        .collect();
    wait_for_metric(&address, WS_CLIENTS, &CLIENTS.to_string());
    let consumer = example("consumer", &["--quiet", "--connect", &endpoint]);
    consumer.said("consumer: listening on");
    let producer = example(
        "producer",
        &[
            "--files",
            &folder.path("*.log"),
            "--lines=all",
            "--host=h",
            "--threads=2",
            "--multicast-kbits=1000000",
            "--connect",
            &endpoint,
        ],
    );
    wait_for_metric(&address, RECEIVED, &(FILES * CALM_LINES).to_string());
    assert_eq!(metric(&address, LOST), 0);

    gateway.signal(Signal::STOP);
    append(&folder, CALM_LINES..CALM_LINES + FLOOD_LINES, 1000);
    producer.wait_until_it_reads_no_more();
    gateway.signal(Signal::CONT);
    // After the flood there is room for one line of each.
    let sent = FILES * (CALM_LINES + FLOOD_LINES);
    crate::examples::wait_until("all to be received or lost", || {
        metric(&address, RECEIVED) + metric(&address, LOST) == sent as u64
    });
    let last = CALM_LINES + FLOOD_LINES;
    append(&folder, last..last + 1, 60);

    let accounts: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let (received, lost) = (metric(&address, RECEIVED), metric(&address, LOST));
    let sent = sent + FILES;
    assert!(lost > 0, "the flood is larger than what a system keeps");
    for account in &accounts {
        assert_eq!((account.ids.len() as u64, account.missed as u64), (received, lost));
        assert_eq!(account, &accounts[0]);
    }
    assert_eq!(received + lost, sent as u64);
    // Told once, in the bytes that all of them share.
    assert_eq!(metric(&address, GAPS), accounts[0].gaps as u64);
    eprintln!("{sent} lines by multicast: {received} received, {lost} lost and counted");
    producer.signal(Signal::INT);
    let producer = producer.end();
    assert_ended(&producer, &format!("producer: sent {sent} messages, "));
    assert_ended(&producer, "producer: dropped 0 messages");
    assert_consumer_accounts(consumer, sent);
}
