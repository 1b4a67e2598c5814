//! A message as bytes: where its topic and the parts of its body end, and then all of them. Knows not where it is kept.

use crate::message::{Message, PartLen, Seq};

/// The topic's length and the number of parts.
const HEADER_BYTES: usize = 2 * size_of::<PartLen>();

/// Stands for the length of a topic where there is none; `--max-message` is far below.
const NO_TOPIC: u32 = u32::MAX;

/// How many bytes `message` takes as a record.
pub(super) fn record_bytes(message: &Message<'_>) -> usize {
    let lens_bytes = message.body_parts() * size_of::<PartLen>();
    HEADER_BYTES + lens_bytes + message.topic().len() + message.body_bytes()
}

/// Appends `message`, all but its number.
pub(super) fn write_record(out: &mut Vec<u8>, message: &Message<'_>) {
    let topic_len = if message.has_topic() { length(message.topic().len()) } else { NO_TOPIC };
    out.extend_from_slice(&topic_len.to_le_bytes());
    out.extend_from_slice(&length(message.body_parts()).to_le_bytes());
    for part in message.body() {
        out.extend_from_slice(&length(part.len()).to_le_bytes());
    }
    out.extend_from_slice(message.topic());
    message.body().for_each(|part| out.extend_from_slice(part));
}

/// The message of a record, which is `record` from its first byte to its last.
pub(super) fn read_record(seq: Seq, record: &[u8]) -> Message<'_> {
    let (words, _) = record.as_chunks();
    let word = |at: usize| u32::from_le_bytes(words[at]);
    let (topic_len, parts) = (word(0), word(1) as usize);
    let lens: &[PartLen] = &words[2..2 + parts];
    let bytes = &record[HEADER_BYTES + size_of_val(lens)..];
    if topic_len == NO_TOPIC {
        return Message::from_flat(seq, None, lens, bytes);
    }
    let (topic, body) = bytes.split_at(topic_len as usize);
    Message::from_flat(seq, Some(topic), lens, body)
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("--max-message is below 4 GiB")
}
