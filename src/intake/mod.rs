//! What is done to a message between source and feeds: its number, what was lost before it, its body inflated. Knows
//! neither sockets nor clients.

mod decode;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod losses;
mod sequence;
mod topic_log;

use std::time::Instant;

pub use decode::Decode;
use decode::Decoder;
#[cfg(fuzzing)]
pub(crate) use fuzz::fuzz_intake;
use losses::Losses;
pub(crate) use sequence::Counter;
pub use sequence::CounterType;
use sequence::Sequence;
use topic_log::TopicLog;

use crate::message::{Lost, Message, Part, PartLen, Seq, TopicFrom};
use crate::topics::Filter;

/// How messages are taken in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IntakeConfig {
    pub(crate) topic_from: TopicFrom,
    pub(crate) decode: Decode,
    pub(crate) counter: Option<Counter>,
    /// A message larger than this, topic and inflated body together, keeps the parts that make it so as they came.
    pub(crate) message_bytes_max: usize,
}

/// What was found while messages were taken in; only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct IntakeCounts {
    /// Parts that were to be inflated and were passed on as they came.
    pub(crate) decode_failures: u64,
    /// Messages whose counter could not be read or kept.
    pub(crate) counters_unread: u64,
}

/// Beginning a stream takes as long as inflating so many bytes: 2 to 4 µs.
const STREAM_WORK_BYTES: usize = 1 << 10;

/// A message that was taken in.
pub(crate) struct Taken<'a> {
    pub(crate) message: Message<'a>,
    /// What was read and written to inflate its body, in vain or not, with [`STREAM_WORK_BYTES`] for each stream.
    pub(crate) work_bytes: usize,
}

/// Takes in the messages of all sources.
pub(crate) struct Intake {
    topic_from: TopicFrom,
    last_seq: Seq,
    sequence: Option<Sequence>,
    losses: Losses,
    decoder: Option<Decoder>,
    decode_log: TopicLog,
    counter_log: TopicLog,
    counts: IntakeCounts,
}

impl Intake {
    pub(crate) fn new(config: IntakeConfig) -> Self {
        let IntakeConfig { topic_from, decode, counter, message_bytes_max } = config;
        Self {
            topic_from,
            last_seq: Seq(0),
            sequence: counter.map(Sequence::new),
            losses: Losses::default(),
            decoder: Decoder::new(decode, counter.map(Counter::index), message_bytes_max),
            decode_log: TopicLog::default(),
            counter_log: TopicLog::default(),
            counts: IntakeCounts::default(),
        }
    }

    pub(crate) fn counts(&self) -> &IntakeCounts {
        &self.counts
    }

    /// Begins anew to count what is lost of the topics that `filter` matches.
    pub(crate) fn forget(&mut self, filter: &Filter) {
        if let Some(sequence) = &mut self.sequence {
            sequence.forget(filter);
        }
    }

    /// Numbers a message of the host's own, which is neither counted by a publisher nor to be inflated: `bytes` are the
    /// parts of its body, whose lengths are `lens`.
    pub(crate) fn take_in_own<'a>(
        &mut self,
        topic: &'a [u8],
        lens: &'a [PartLen],
        bytes: &'a [u8],
    ) -> Message<'a> {
        self.last_seq.0 += 1;
        Message::from_flat(self.last_seq, None, Some(topic), lens, bytes)
    }

    /// The message that was taken in last is none after all: its number goes to the next, so that there is no hole.
    pub(crate) fn give_back(&mut self) {
        self.last_seq.0 -= 1;
    }

    /// Messages were lost that the source with the number `source` should have received, of topics that nobody knows. So
    /// the next message of each topic says that some may be missing, unless it has a counter that knows.
    pub(crate) fn note_loss(&mut self, source: usize) {
        self.losses.note(source);
    }

    /// Makes a message of the `parts` that the source with the number `source` received.
    pub(crate) fn take_in<'a>(
        &'a mut self,
        now: Instant,
        source: usize,
        parts: &'a [Part],
    ) -> Taken<'a> {
        self.last_seq.0 += 1;
        let mut message = Message::from_parts(self.last_seq, parts, self.topic_from);
        let is_counted = self.sequence.as_mut().is_some_and(|sequence| {
            match sequence.lost_before(source, &message) {
                Ok(lost) => message.lost_upstream = lost,
                Err(unread) => {
                    self.counts.counters_unread += 1;
                    let complaint = || sequence.complaint(unread);
                    self.counter_log.warn(now, message.topic(), complaint);
                    return false;
                }
            }
            true
        });
        if !is_counted && self.losses.may_concern(source, message.topic()) {
            message.lost_upstream = Some(Lost { missed: None });
        }
        let Some(decoder) = &mut self.decoder else { return Taken { message, work_bytes: 0 } };
        let outcome = decoder.decode(&message);
        self.counts.decode_failures += outcome.failures;
        if let Some(failure) = outcome.last_failure {
            self.decode_log.warn(now, message.topic(), || failure.complaint());
        }
        let message = match outcome.is_changed {
            true => message.with_flat_body(decoder.lens(), decoder.bytes()),
            false => message,
        };
        let work_bytes = outcome.work_bytes + outcome.streams * STREAM_WORK_BYTES;
        Taken { message, work_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_random::Random;

    fn intake(decode: Decode, counter: Option<&str>) -> Intake {
        Intake::new(IntakeConfig {
            topic_from: TopicFrom::Part,
            decode,
            counter: counter.map(|text| text.parse().unwrap()),
            message_bytes_max: 1 << 20,
        })
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Default::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn messages_are_numbered_from_one() {
        let mut intake = intake(Decode::None, None);
        for number in 1..4 {
            let parts = [Part::from("t"), Part::from("b")];
            let taken = intake.take_in(Instant::now(), 0, &parts);
            assert_eq!(taken.message.seq, Seq(number));
            assert_eq!((taken.message.lost_upstream, taken.work_bytes), (None, 0));
        }
    }

    #[test]
    fn what_has_no_topic_is_matched_by_its_inflated_body() {
        let mut intake = intake(Decode::Zlib, None);
        let parts = [Part::from(zlib(b"{\"a\":1}"))];
        let taken = intake.take_in(Instant::now(), 0, &parts);
        assert_eq!((taken.message.topic(), taken.message.matched()), (&b""[..], &b"{\"a\":1}"[..]));
        assert_eq!(taken.work_bytes, STREAM_WORK_BYTES + parts[0].len() + 7);
    }

    #[test]
    fn a_counter_is_read_before_the_body_is_inflated() {
        let mut intake = intake(Decode::Zlib, Some("3:u32be"));
        // Two parts that become one: the counter is the third that was sent.
        let stream = zlib(b"body");
        let (head, tail) = stream.split_at(5);
        let mut lost = |counter: u32| {
            let parts =
                [Part::from("t"), head.into(), tail.into(), counter.to_be_bytes()[..].into()];
            let message = intake.take_in(Instant::now(), 0, &parts).message;
            assert!(message.body().eq([&b"body"[..], &counter.to_be_bytes()]));
            message.lost_upstream
        };
        assert_eq!((lost(5), lost(6)), (None, None));
        assert_eq!(lost(9), Some(Lost { missed: Some(2) }));
        assert_eq!(lost(0), Some(Lost { missed: None }));
    }

    #[test]
    fn a_loss_is_told_once_for_each_topic_and_by_counters_where_there_are_any() {
        let lost_before = |intake: &mut Intake, source: usize, parts: &[&str]| {
            let parts: Vec<_> = parts.iter().map(|part| Part::from(*part)).collect();
            intake.take_in(Instant::now(), source, &parts).message.lost_upstream
        };
        let unknown = Some(Lost { missed: None });
        let mut plain = intake(Decode::None, None);
        assert_eq!(lost_before(&mut plain, 0, &["a", ""]), None);
        plain.note_loss(0);
        for (source, topic, lost) in
            [(1, "a", None), (0, "a", unknown), (0, "a", None), (0, "b", unknown), (0, "b", None)]
        {
            assert_eq!(lost_before(&mut plain, source, &[topic, ""]), lost, "{source} {topic}");
        }
        plain.note_loss(0);
        assert_eq!(lost_before(&mut plain, 0, &["a", ""]), unknown);
        let mut counted = intake(Decode::None, Some("1:u32le"));
        counted.note_loss(0);
        for (count, lost) in
            [("\x01\0\0\0", None), ("\x02\0\0\0", None), ("no counter", unknown), ("?", None)]
        {
            assert_eq!(lost_before(&mut counted, 0, &["a", count]), lost, "{count}");
        }
    }

    #[test]
    fn what_cannot_be_inflated_or_counted_is_counted_and_passed_on() {
        let mut intake = intake(Decode::Gzip, Some("2:u32le"));
        let parts = [Part::from("t"), Part::from("no gzip"), Part::from("no counter")];
        let message = intake.take_in(Instant::now(), 0, &parts).message;
        assert!(message.body().eq([&b"no gzip"[..], b"no counter"]));
        let expected = IntakeCounts { decode_failures: 1, counters_unread: 1 };
        assert_eq!(*intake.counts(), expected);
    }

    #[test]
    fn no_parts_make_taking_in_panic_or_grow() {
        let mut random = Random::from_env();
        let now = Instant::now();
        for _ in 0..1_000 {
            let mut input = random.bytes(3);
            for _ in 0..random.below(8) {
                let len = random.below(120);
                let plain = random.bytes(len / 30);
                let part = match random.below(6) {
                    0 => random.bytes(len),
                    1 => vec![0x78, 0x9c],
                    2 => 7_u32.to_le_bytes().to_vec(),
                    3 => zlib(&vec![b'a'; random.below(30_000)]),
                    4 => zlib(&plain)[..random.below(8)].to_vec(),
                    _ => zlib(&plain),
                };
                let part = &part[..part.len().min(127)];
                input.push((2 * part.len() + random.below(2)) as u8);
                input.extend(part);
            }
            fuzz::fuzz_intake(now, &input);
        }
    }
}
