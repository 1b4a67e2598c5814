//! Taking in as a fuzzer sees it: any parts, under any settings. For tests only.

use std::time::Instant;

use super::decode::STREAMS_MAX;
use super::{Counter, CounterType, Decode, Intake, IntakeConfig, STREAM_WORK_BYTES};
use crate::message::{Part, TopicFrom};

/// Takes in messages that `input` decides: settings first, then parts, each with a byte for its length in front and for
/// whether another one follows.
///
/// # Panics
///
/// When a message becomes larger than allowed or costs more than it may, and when anything below panics.
pub(crate) fn fuzz_intake(now: Instant, input: &[u8]) {
    let (settings, mut rest) = input.split_at(input.len().min(3));
    let setting = |index: usize| settings.get(index).copied().unwrap_or_default();
    let message_bytes_max = 64 << (setting(0) % 8);
    let mut intake = Intake::new(IntakeConfig {
        topic_from: [TopicFrom::Part, TopicFrom::None, TopicFrom::Delimiter(b':')]
            [usize::from(setting(1) % 3)],
        decode: [Decode::Zlib, Decode::Gzip, Decode::Auto, Decode::None]
            [usize::from(setting(1) / 3 % 4)],
        counter: (setting(2) % 2 == 0).then(|| Counter {
            part: 1 + usize::from(setting(2) / 2 % 4),
            number: [
                CounterType::U32Le,
                CounterType::U64Le,
                CounterType::U32Be,
                CounterType::U64Be,
            ][usize::from(setting(2) / 8 % 4)],
        }),
        message_bytes_max,
    });
    let mut parts = Vec::new();
    while let Some((&head, behind)) = rest.split_first() {
        let (part, behind) = behind.split_at(behind.len().min(usize::from(head / 2)));
        parts.push(Part::from(part));
        rest = behind;
        if head % 2 == 0 || rest.is_empty() {
            check(now, &mut intake, &parts, message_bytes_max);
            parts.clear();
        }
    }
}

fn check(now: Instant, intake: &mut Intake, parts: &[Part], message_bytes_max: usize) {
    let received_bytes: usize = parts.iter().map(|part| part.len()).sum();
    let taken = intake.take_in(now, 0, parts);
    let message = taken.message;
    let bytes = message.topic().len() + message.body_bytes();
    assert!(bytes <= message_bytes_max.max(received_bytes), "{bytes} bytes");
    assert_eq!(message.body().count(), message.body_parts());
    assert_eq!(message.body().map(<[u8]>::len).sum::<usize>(), message.body_bytes());
    let work_bytes_max =
        6 * message_bytes_max.max(received_bytes) + STREAMS_MAX * STREAM_WORK_BYTES;
    assert!(taken.work_bytes <= work_bytes_max, "{}", taken.work_bytes);
}
