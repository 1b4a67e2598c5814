//! A hundred files through one producer at full speed, every line accounted for at both ends of the way.

use std::collections::HashMap;
use std::thread;
use std::time::Instant;

use rustix::process::Signal;

use crate::examples::folder::Folder;
use crate::examples::{WS_CLIENTS, assert_ended, example, gateway_with, messages, wait_for_metric};

const THREADS: usize = 10;
const FILES: usize = 100;
const LINES: usize = 500;

fn append(folder: &Folder, file: usize, lines: std::ops::Range<usize>) {
    let text: String = lines.map(|line| format!("{line} {}\n", "x".repeat(80))).collect();
    folder.append(&format!("{file}.log"), &text);
}

/// Which line of which file is next.
#[derive(Default)]
struct Account(HashMap<String, usize>);

impl Account {
    #[track_caller]
    fn add(&mut self, topic: &str, body: &str) {
        let next = self.0.entry(topic.to_owned()).or_default();
        let number = body.split(' ').next().unwrap().parse();
        assert_eq!(number, Ok(*next), "{topic}: every line once and in order");
        *next += 1;
    }

    #[track_caller]
    fn assert_complete(&self) {
        assert_eq!(self.0.len(), FILES);
        assert!(self.0.values().all(|&lines| lines == LINES), "{:?}", self.0);
    }
}

/// Reads as many messages as there are lines.
fn read_websocket(url: &str) -> Account {
    let mut account = Account::default();
    for json in messages(url).take(FILES * LINES) {
        // A gap has neither topic nor data.
        let field = |name: &str| json[name].as_str().unwrap_or_else(|| panic!("{json}"));
        account.add(field("topic"), field("data"));
    }
    account
}

#[test]
fn ten_threads_and_a_hundred_files_lose_no_line_on_the_way_to_a_websocket() {
    let folder = Folder::new();
    // Half of it is there; the rest is written while it is read.
    (0..FILES).for_each(|file| append(&folder, file, 0..LINES / 2));
    let producer = example(
        "producer",
        &[
            "--files",
            &folder.path("*.log"),
            "--lines=all",
            "--host=h",
            &format!("--threads={THREADS}"),
            "--subscriptions=2",
            "--bind=tcp://127.0.0.1:*",
        ],
    );
    let endpoint = producer.said("producer: bound to");
    let consumer = &["--connect", &endpoint, &format!("--count={}", FILES * LINES)];
    // Nothing is sent before its subscription, the second of two.
    let (_gateway, address, _) = gateway_with(&["--connect", &endpoint, "--max-lag=64MiB"]);
    let url = format!("ws://{address}/ws?format=json");
    let client = thread::spawn(move || read_websocket(&url));
    wait_for_metric(&address, WS_CLIENTS, "1");
    let start = Instant::now();
    let consumer = example("consumer", consumer);
    thread::scope(|scope| {
        for part in 0..4 {
            let folder = &folder;
            scope.spawn(move || {
                for line in LINES / 2..LINES {
                    let files = (0..FILES).filter(|file| file % 4 == part);
                    files.for_each(|file| append(folder, file, line..line + 1));
                }
            });
        }
    });
    let consumer = consumer.end();
    assert_ended(&consumer, &format!("consumer: received {} messages, ", FILES * LINES));
    let mut account = Account::default();
    for line in &consumer.stdout {
        let (topic, body) = line.split_once('\t').unwrap();
        account.add(topic, body);
    }
    account.assert_complete();
    client.join().unwrap().assert_complete();
    let took = start.elapsed();
    eprintln!("{THREADS} threads, {FILES} files, {} lines: {took:?}", FILES * LINES);
    producer.signal(Signal::INT);
    let producer = producer.end();
    assert_ended(&producer, &format!("producer: sent {} messages, ", FILES * LINES));
    assert_ended(&producer, "producer: dropped 0 messages");
}
