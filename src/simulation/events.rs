//! What a simulated client of Server-Sent Events reads in the bytes that it got.

use super::account::Seen;
use crate::message::{Id, Lost};
use crate::test_events::{Chunks, Event, Reader};
use crate::wire::sse::Framing;

/// What an event says.
pub(super) enum Content {
    Message(Id),
    Gap(Seen),
}

/// Whether `head` is the answer that a stream follows.
pub(super) fn is_head(head: &[u8]) -> bool {
    let head = std::str::from_utf8(head).unwrap();
    head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Type: text/event-stream\r\n")
}

/// The events that came whole, and whether the stream said that it ends.
pub(super) fn read(bytes: &[u8], framing: Framing) -> (Vec<Event>, bool) {
    let (mut chunks, mut reader) = (Chunks::default(), Reader::default());
    let events = match framing {
        Framing::Plain => reader.read(bytes),
        Framing::Chunked => reader.read(&chunks.read(bytes)),
    };
    if let Some(retry) = reader.retry {
        assert!((1_000..=3_000).contains(&retry), "{retry}");
    } else {
        assert!(events.is_empty(), "the time to come back is what is said first");
    }
    (events, chunks.has_ended())
}

pub(super) fn content(event: &Event) -> Content {
    match &*event.name {
        "message" => Content::Message(event.id.parse().unwrap()),
        "gap" => {
            let json: serde_json::Value = serde_json::from_str(&event.data).unwrap();
            Content::Gap(gap(&json))
        }
        other => panic!("no such event is sent here: {other}"),
    }
}

/// What a notice of a gap says.
pub(super) fn gap(json: &serde_json::Value) -> Seen {
    let gap = &json["gap"];
    let missed = gap["missed"].as_u64();
    match gap["reason"].as_str().unwrap() {
        "upstream" => Seen::Upstream(Lost { missed }),
        reason => Seen::Gap(missed.map(|missed| missed as usize), reason == "lag"),
    }
}
