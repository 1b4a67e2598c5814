//! What a simulated client has read, whatever it speaks.

use super::{Client, NO_CODE, Published, Transport};
use crate::connection::in_memory::COMPRESS_MIN;
use crate::message::Id;
use crate::simulation::account::Seen;
use crate::simulation::events::{self, Content};
use crate::simulation::{polls, zws};
use crate::test_events::Event;
use crate::test_inflate::inflate;
use crate::wire::Format;

impl Client {
    /// The frames received; `None` where there was no upgrade. What is not whole at the end is left out.
    pub(super) fn seen(&self, published: &[Published]) -> Option<Vec<Seen>> {
        let mut bytes = self.received.as_slice();
        if self.transport == Transport::Poll {
            return Some(self.read_answers(&polls::read_all(bytes), published));
        }
        loop {
            let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
            let is_last = bytes.starts_with(b"HTTP/1.1 101") || events::is_head(&bytes[..head]);
            bytes = &bytes[head..];
            if is_last {
                break;
            }
            // The answer to the request in front.
            bytes = bytes.strip_prefix(b"ok\n")?;
        }
        if let Transport::Sse(framing) = self.transport {
            let (events, has_ended) = events::read(bytes, framing);
            let seen = events.iter().map(|event| self.read_event(event, published));
            return Some(seen.chain(has_ended.then_some(Seen::Close(NO_CODE))).collect());
        }
        if let Transport::Zws(protocol) = self.transport {
            return Some(zws::read(bytes, protocol, published));
        }
        let mut seen = Vec::new();
        while let Some((first, payload, rest)) = take_frame(bytes) {
            seen.push(if self.offers_deflate {
                self.read_deflated(first, payload, published)
            } else {
                self.read_frame(first, payload, published)
            });
            bytes = rest;
        }
        Some(seen)
    }

    fn read_answers(&self, answers: &[polls::Answer], published: &[Published]) -> Vec<Seen> {
        let mut seen = Vec::new();
        for (at, answer) in answers.iter().enumerate() {
            assert_eq!(answer.next.epoch, Some(self.run.epoch));
            if answer.json.get("gap").is_some() {
                match events::gap(&answer.json) {
                    // Between two polls it is the client that lags.
                    Seen::Gap(missed, is_lag) if is_lag || at > 0 => {
                        seen.push(Seen::Gap(missed, true));
                    }
                    // One gap may stand for two: what it lagged while it waited is in it, too.
                    Seen::Gap(None, _) => {
                        seen.extend([Seen::Gap(None, false), Seen::Gap(None, true)]);
                    }
                    other => seen.push(other),
                }
                if seen.last() == Some(&Seen::Gap(None, true)) {
                    // What it lagged while it waited is in it wherever that is: behind the last values that made up for
                    // some of it, too.
                    let next = self.run.begins_after + answer.next.seq.0 as usize;
                    seen.push(Seen::ToldUpTo(next));
                }
            }
            for message in answer.json["messages"].as_array().unwrap() {
                seen.push(self.read_object(message, published));
            }
        }
        seen
    }

    fn read_event(&self, event: &Event, published: &[Published]) -> Seen {
        match events::content(event) {
            Content::Gap(gap) => gap,
            Content::Message(id) => {
                let seen = match self.format {
                    Format::Json => self.read_json(event.data.as_bytes(), published),
                    _ => Seen::Message(number_of(event.data.as_bytes(), published)),
                };
                assert_eq!(seen, Seen::Message(self.number_in_run(id)));
                seen
            }
        }
    }

    fn read_json(&self, text: &[u8], published: &[Published]) -> Seen {
        let json: serde_json::Value = serde_json::from_slice(text).unwrap();
        if json.get("gap").is_some() {
            return events::gap(&json);
        }
        self.read_object(&json, published)
    }

    fn read_object(&self, json: &serde_json::Value, published: &[Published]) -> Seen {
        let number = number_of(json["data"].as_str().unwrap().as_bytes(), published);
        assert_eq!(self.number_in_run(json["id"].as_str().unwrap().parse().unwrap()), number);
        assert_eq!(json["topic"], published[number - 1].topic.as_str());
        Seen::Message(number)
    }

    /// Which message has `id`, counted over all runs.
    fn number_in_run(&self, id: Id) -> usize {
        assert_eq!(id.epoch, Some(self.run.epoch));
        self.run.begins_after + id.seq.0 as usize
    }

    /// All but short messages are deflated: those of the world always become shorter.
    fn read_deflated(&self, first: u8, payload: &[u8], published: &[Published]) -> Seen {
        match first {
            0xc1 | 0xc2 => {
                let message = inflate(payload);
                assert!(message.len() >= COMPRESS_MIN && message.len() > payload.len());
                self.read_frame(first & !0x40, &message, published)
            }
            _ => {
                assert!(payload.len() < COMPRESS_MIN, "{} bytes as they are", payload.len());
                self.read_frame(first, payload, published)
            }
        }
    }

    fn read_frame(&self, first: u8, payload: &[u8], published: &[Published]) -> Seen {
        match (first, self.format) {
            (0x89, _) => Seen::Ping,
            (0x8a, _) => Seen::Pong,
            (0x88, _) => Seen::Close(u16::from_be_bytes([payload[0], payload[1]])),
            (0x81, Format::Raw) => Seen::Message(number_of(payload, published)),
            (0x81, Format::Json) => self.read_json(payload, published),
            (0x82, Format::Parts) => {
                let topic_len = u32::from_be_bytes(payload[..4].try_into().unwrap()) as usize;
                let number = number_of(&payload[4 + topic_len + 4..], published);
                assert_eq!(&payload[4..4 + topic_len], published[number - 1].topic.as_bytes());
                Seen::Message(number)
            }
            other => panic!("no such frame is ever sent: {other:?}"),
        }
    }
}

pub(in crate::simulation) fn number_of(body: &[u8], published: &[Published]) -> usize {
    let text = std::str::from_utf8(body).unwrap();
    let number: usize = text.split('|').next().unwrap().parse().unwrap();
    assert!(body == published[number - 1].body, "the whole body of {number}");
    number
}

/// Cuts one unmasked frame off the front.
pub(in crate::simulation) fn take_frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert!(second < 0x80, "a server does not mask");
    let (len, start) = match second {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
        len => (usize::from(len), 2),
    };
    Some((first, bytes.get(start..start + len)?, &bytes[start + len..]))
}
