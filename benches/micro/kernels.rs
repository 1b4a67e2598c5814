//! Single pieces: encoding, the topic index, a feed, a request.

use std::hint::black_box;

use zmq2ws::Format;
use zmq2ws::bench_internals::{Encode, Feeds, Topics, Upstream, parse_request};

use crate::timing::Effort;

/// A text as feeds carry them: JSON, in which every fifth character or so needs an escape.
fn json_text(bytes: usize) -> Vec<u8> {
    let text = br#"{"symbol":"EURUSD","bid":1.08423,"ask":1.08425,"venue":"some place","ts":1712345678901}"#;
    text.iter().copied().cycle().take(bytes).collect()
}

/// A text in which nothing needs an escape.
fn plain_text(bytes: usize) -> Vec<u8> {
    b"the quick brown fox jumps over the lazy dog; ".iter().copied().cycle().take(bytes).collect()
}

pub(crate) fn encoding(effort: &Effort) {
    for (format, name) in [(Format::Raw, "raw"), (Format::Parts, "parts"), (Format::Json, "json")] {
        for bytes in [64, 1 << 10, 64 << 10] {
            encode(effort, format, &plain_text(bytes), &format!("{name}, {bytes} B of plain text"));
            // What a body holds matters to this format only.
            if format == Format::Json {
                encode(effort, format, &json_text(bytes), &format!("{name}, {bytes} B of JSON"));
            }
        }
    }
}

fn encode(effort: &Effort, format: Format, body: &[u8], name: &str) {
    let mut encode = Encode::new(format, Upstream::new(b"topic", body));
    let figure = effort.measure(|| {
        black_box(encode.run());
    });
    figure.print(name);
}

pub(crate) fn topics(effort: &Effort) {
    for count in [1, 100, 10_000, 100_000] {
        let mut topics = Topics::default();
        (0..count).for_each(|number| topics.add_prefix(topic(number).as_bytes()));
        // Every prefix in turn, so that all of the index is used; a prefix of few digits matches more.
        let matching: Vec<_> =
            (0..1024).map(|at| format!("{}/x", topic(at * count / 1024))).collect();
        let missing: Vec<_> = matching.iter().map(|topic| topic.replace("line", "lime")).collect();
        for (kind, list) in [("matching", &matching), ("not matching", &missing)] {
            for topic in list {
                assert_eq!(topics.look_up(topic.as_bytes()), topics.scan(topic.as_bytes()));
            }
            let mut next = list.iter().cycle();
            let index = effort.measure(|| {
                let topic = next.next().map_or("", |topic| topic);
                black_box(topics.look_up(topic.as_bytes()));
            });
            index.print(&format!("index of {count} prefixes, {kind}"));
            let scan = effort.measure(|| {
                let topic = next.next().map_or("", |topic| topic);
                black_box(topics.scan(topic.as_bytes()));
            });
            scan.print(&format!("scan of {count} prefixes, {kind}"));
        }
    }
}

fn topic(number: usize) -> String {
    format!("plant/{}/line/{number:06}", number % 16)
}

pub(crate) fn feed(effort: &Effort) {
    for bytes in [64, 1 << 10] {
        let upstream = Upstream::new(b"topic", &plain_text(bytes));
        for subscribers in [1, 1_000] {
            let mut feeds = Feeds::with_room(subscribers);
            (0..subscribers).for_each(|_| feeds.subscribe(None, None));
            let figure = effort.measure(|| {
                feeds.append(&upstream);
                assert_eq!(feeds.advance(), subscribers as u64);
            });
            figure.print(&format!("{bytes} B to {subscribers} subscribers, per message"));
            if subscribers > 1 {
                figure.per(subscribers).print(&format!("{bytes} B, per message and subscriber"));
            }
            let batch = effort.measure(|| {
                (0..50).for_each(|_| {
                    feeds.append(&upstream);
                });
                assert_eq!(feeds.advance(), 50 * subscribers as u64);
            });
            let each = batch.per(50 * subscribers);
            each.print(&format!(
                "{bytes} B, 50 at once, per message and subscriber ({subscribers})"
            ));
        }
    }
}

/// What Chromium sends for `new WebSocket('ws://localhost:8080/ws?topic=weather.')`.
pub(crate) const UPGRADE: &[u8] = b"GET /ws?topic=weather. HTTP/1.1\r\nHost: localhost:8080\r\n\
    Connection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\nOrigin: http://localhost:8080\r\nSec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

pub(crate) fn requests(effort: &Effort) {
    let small = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert!(parse_request(UPGRADE) && !parse_request(small));
    effort
        .measure(|| {
            black_box(parse_request(black_box(UPGRADE)));
        })
        .print("the upgrade request of Chromium");
    effort
        .measure(|| {
            black_box(parse_request(black_box(small)));
        })
        .print("a small GET");
}
