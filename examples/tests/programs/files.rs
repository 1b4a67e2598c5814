//! Files that are followed while everything that can happen to files happens.

use std::collections::HashMap;
use std::fs;
use std::thread;

use rustix::process::Signal;

use crate::folder::Folder;
use crate::process::Process;
use crate::{assert_said, bound_consumer, consumer, producer};

#[track_caller]
fn assert_next(consumer: &Process, expected: &[&str]) {
    assert_eq!(crate::lines(consumer, expected.len()), expected);
}

#[test]
fn whatever_happens_to_a_file_every_line_comes_once_and_in_order() {
    let folder = Folder::new();
    let (consumer, endpoint) = bound_consumer(&[]);
    let (log, pattern) = (folder.path("app.log"), folder.path("*.txt"));
    folder.append("old.txt", "from before\n");
    let producer = producer(&[
        "--host=h",
        "--files",
        &log,
        &pattern,
        "--lines=0",
        "--interval=5",
        "--connect",
        &endpoint,
    ]);
    producer.said(&format!("producer: {log}: is not there (yet)"));
    folder.append("app.log", "1\n2");
    assert_next(&consumer, &["h/app.log\t1"]);
    folder.append("app.log", "nd\n");
    assert_next(&consumer, &["h/app.log\t2nd"]);
    // Rotated; the writer goes on for a while where it was.
    folder.rename("app.log", "app.log.1");
    folder.append("app.log.1", "3\n");
    assert_next(&consumer, &["h/app.log\t3"]);
    folder.append("app.log", "4\n");
    assert_next(&consumer, &["h/app.log\t4"]);
    // Emptied, and written to at once.
    fs::write(folder.path("app.log"), "5\n6\n").unwrap();
    assert_next(&consumer, &["h/app.log\t5", "h/app.log\t6"]);
    // Removed and made again.
    fs::remove_file(folder.path("app.log")).unwrap();
    folder.append("app.log", "7\n");
    assert_next(&consumer, &["h/app.log\t7"]);
    // New, old, and renamed where the pattern finds it again.
    folder.append("new.txt", "8\n");
    assert_next(&consumer, &["h/new.txt\t8"]);
    folder.rename("new.txt", "renamed.txt");
    // Whatever finds this one has found that one, too.
    folder.append("z.txt", "9\n");
    assert_next(&consumer, &["h/z.txt\t9"]);
    folder.append("old.txt", "10\n");
    assert_next(&consumer, &["h/old.txt\t10"]);
    producer.signal(Signal::INT);
    let end = producer.end();
    assert_said(&end, "producer: h/app.log: 7 messages, ");
    assert_said(&end, "producer: h/new.txt: 1 messages, ");
    assert_said(&end, "producer: sent 10 messages, ");
    assert_said(&end, "producer: dropped 0 messages");
    consumer.signal(Signal::TERM);
    let end = consumer.end();
    assert_said(&end, "consumer: received 10 messages, ");
    assert!(end.stdout.is_empty(), "{end:#?}");
}

#[test]
fn lines_written_while_nobody_subscribes_are_sent_when_somebody_does() {
    let folder = Folder::new();
    for name in ["a.log", "b.log"] {
        folder.append(name, "old\n");
    }
    let [first, second, later] = ["a.log", "b.log", "later"].map(|name| folder.path(name));
    let pattern = folder.path("*.txt");
    let producer = producer(&[
        "--host=h",
        "--lines=0",
        "--bind=tcp://127.0.0.1:*",
        "--files",
        &first,
        &second,
        &later,
        &pattern,
    ]);
    let endpoint = producer.said("producer: bound to");
    producer.said(&format!("producer: {later}: is not there (yet)"));
    let text: String = (0..1000).map(|number| format!("{number}\n")).collect();
    for name in ["a.log", "b.log", "later", "new.txt"] {
        folder.append(name, &text);
    }
    let consumer = consumer(&["--count=4000", "--connect", &endpoint]);
    let end = consumer.end();
    assert_said(&end, "consumer: received 4000 messages, ");
    for name in ["a.log", "b.log", "later", "new.txt"] {
        let start = format!("h/{name}\t");
        let numbers = end.stdout.iter().filter_map(|line| line.strip_prefix(&start));
        assert!(numbers.eq(text.lines()), "{name}");
    }
    producer.signal(Signal::INT);
    assert_said(&producer.end(), "producer: dropped 0 messages");
}

#[test]
fn many_threads_lose_no_line_of_many_files() {
    const FILES: usize = 30;
    const LINES: usize = 400;
    let folder = Folder::new();
    for file in 0..FILES {
        folder.append(&format!("{file}.log"), "0\n");
    }
    let count = format!("--count={}", FILES * LINES);
    let (consumer, endpoint) = bound_consumer(&[&count]);
    let pattern = folder.path("*.log");
    let producer = producer(&[
        "--host=h",
        "--files",
        &pattern,
        "--lines=all",
        "--threads=7",
        "--interval=5",
        "--connect",
        &endpoint,
    ]);
    // The producer misses a file that is renamed before a look.
    let first = crate::lines(&consumer, FILES);
    // Written while they are read: each file at its own pace, rotated once in the middle.
    thread::scope(|scope| {
        for file in 0..FILES {
            let folder = &folder;
            scope.spawn(move || {
                let name = format!("{file}.log");
                for line in 1..LINES {
                    if line == LINES / 2 {
                        folder.rename(&name, &format!("{file}.old"));
                    }
                    folder.append(&name, &format!("{line}\n"));
                }
            });
        }
    });
    let end = consumer.end();
    assert_said(&end, &format!("consumer: received {} messages, ", FILES * LINES));
    let mut next: HashMap<&str, usize> = HashMap::new();
    for line in first.iter().chain(&end.stdout) {
        let (topic, number) = line.split_once('\t').unwrap();
        let next = next.entry(topic).or_default();
        assert_eq!(number.parse(), Ok(*next), "{topic}");
        *next += 1;
    }
    assert_eq!(next.len(), FILES);
    producer.signal(Signal::INT);
    let end = producer.end();
    assert_said(&end, &format!("producer: sent {} messages, ", FILES * LINES));
    assert_said(&end, &format!("producer: h/0.log: {LINES} messages, "));
}

#[test]
fn long_lines_are_cut_and_told_and_only_the_last_lines_are_old_news() {
    let folder = Folder::new();
    folder.append("log", "1\n2\n0123456789\nlast\n");
    let (consumer, endpoint) = bound_consumer(&["--count=2"]);
    let producer = producer(&[
        "--host=h",
        "--files",
        &folder.path("log"),
        "--lines=2",
        "--max-line=4",
        "--count=2",
        "--connect",
        &endpoint,
    ]);
    assert_said(&producer.end(), "producer: cut 1 lines");
    assert_eq!(consumer.end().stdout, ["h/log\t0123", "h/log\tlast"]);
}

#[test]
fn files_of_one_name_have_one_topic_and_paths_tell_them_apart() {
    let folder = Folder::new();
    for name in ["a", "b"] {
        fs::create_dir(folder.path(name)).unwrap();
        folder.append(&format!("{name}/log"), "x\n");
    }
    for (topic_from, expected) in [
        ("name", ["h/log".to_owned(), "h/log".to_owned()]),
        ("path", ["a/log", "b/log"].map(|name| format!("h{}", folder.path(name)))),
    ] {
        let (consumer, endpoint) = bound_consumer(&["--count=2"]);
        let producer = producer(&[
            "--host=h",
            "--files",
            &folder.path("*/log"),
            "--lines=all",
            "--count=2",
            "--topic-from",
            topic_from,
            "--connect",
            &endpoint,
        ]);
        if topic_from == "name" {
            assert!(producer.said("producer: /").contains("have the same topic"));
        }
        assert_said(&producer.end(), "producer: sent 2 messages, ");
        let lines = consumer.end().stdout;
        let mut topics: Vec<_> =
            lines.iter().map(|line| line.split('\t').next().unwrap()).collect();
        topics.sort_unstable();
        assert_eq!(topics, expected);
    }
}

#[test]
fn files_leave_descriptors_for_subscribers() {
    let folder = Folder::new();
    for file in 0..200 {
        folder.append(&format!("{file:03}.log"), "x\n");
    }
    let pattern = folder.path("*.log");
    let producer = Process::start(
        "sh",
        &[
            "-c",
            "ulimit -n 64; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_producer"),
            "--bind=tcp://127.0.0.1:*",
            "--subscriptions=10",
            "--lines=all",
            "--host=h",
            "--files",
            &pattern,
        ],
    );
    let endpoint = producer.said("producer: bound to");
    let note = producer.said("producer: more than 15 files: ");
    assert!(note.contains("limit of open files (`ulimit -Hn` is 64)"), "{note}");
    let all = ["--count=15", "--connect", &endpoint];
    let consumers: Vec<_> = (0..10).map(|_| consumer(&all)).collect();
    for consumer in consumers {
        assert_eq!(consumer.end().stdout.len(), 15);
    }
    producer.signal(Signal::INT);
    assert_said(&producer.end(), "producer: sent 15 messages, ");
}
