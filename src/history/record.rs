//! A message as bytes: where its topic and the parts of its body end, what was lost before it, and then all of them.
//! Knows not where it is kept.

use crate::message::{Lost, Message, PartLen, Seq};

/// The topic's length and the number of parts.
const HEADER_BYTES: usize = 2 * size_of::<PartLen>();

/// Stands for the length of a topic where there is none; `--max-message` is far below.
const NO_TOPIC: u32 = u32::MAX;

/// Set in the number of parts where what was lost upstream follows it: 8 bytes, little-endian.
const LOST: u32 = 1 << 31;

/// Set in the number of parts, which is then one, where that part was split into topic and body; with the byte between
/// them.
const SPLIT: u32 = 1 << 30;
const DELIMITER_SHIFT: u32 = 16;

/// Stands for a number that is not known.
const UNKNOWN: u64 = u64::MAX;

/// How many bytes `message` takes as a record.
pub(super) fn record_bytes(message: &Message<'_>) -> usize {
    let lens_bytes = message.body_parts() * size_of::<PartLen>();
    let lost_bytes = message.lost_upstream.map_or(0, |_| size_of::<u64>());
    HEADER_BYTES + lost_bytes + lens_bytes + message.topic().len() + message.body_bytes()
}

/// Appends `message`, all but its number.
pub(super) fn write_record(out: &mut Vec<u8>, message: &Message<'_>) {
    let topic_len = if message.has_topic() { length(message.topic().len()) } else { NO_TOPIC };
    out.extend_from_slice(&topic_len.to_le_bytes());
    let parts = match message.delimiter() {
        None => length(message.body_parts()),
        Some(delimiter) => 1 | SPLIT | u32::from(delimiter) << DELIMITER_SHIFT,
    };
    match message.lost_upstream {
        None => out.extend_from_slice(&parts.to_le_bytes()),
        Some(Lost { missed }) => {
            out.extend_from_slice(&(parts | LOST).to_le_bytes());
            out.extend_from_slice(&missed.unwrap_or(UNKNOWN).to_le_bytes());
        }
    }
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
    let (topic_len, parts) = (word(0), word(1));
    let has_lost = parts & LOST != 0;
    let (parts, delimiter) = match parts & !LOST {
        split if split & SPLIT != 0 => (1, Some((split >> DELIMITER_SHIFT) as u8)),
        parts => (parts, None),
    };
    let lost_upstream = has_lost.then(|| {
        let missed = u64::from(word(2)) | u64::from(word(3)) << 32;
        Lost { missed: (missed != UNKNOWN).then_some(missed) }
    });
    let lens_start = if has_lost { 4 } else { 2 };
    let lens: &[PartLen] = &words[lens_start..lens_start + parts as usize];
    let bytes = &record[size_of_val(&words[..lens_start]) + size_of_val(lens)..];
    let (topic, body) = match topic_len {
        NO_TOPIC => (None, bytes),
        len => {
            let (topic, body) = bytes.split_at(len as usize);
            (Some(topic), body)
        }
    };
    Message::from_flat(seq, lost_upstream, topic, lens, body).split_at(delimiter)
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("--max-message is below 4 GiB")
}
