//! Follows the counters that publishers put into their messages (`--sequence`), and says what was lost before a message.
//! Knows neither sockets nor clients.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::error::ParseError;
use crate::message::{Lost, Message};
use crate::topics::{Filter, TOPIC_BYTES_MAX};

/// Topics whose counter is kept, at the most: as many as the last values of topics, and with the longest topics 4 MB.
const TOPICS_MAX: usize = 10_000;

/// A counter that goes back has begun anew, unless it can have skipped so few messages as it wrapped around. A publisher
/// that loses more of them in one go than this, just when its counter wraps, is less likely than one that is restarted.
const WRAPPED_STEP_MAX: u64 = 1 << 16;

/// Where a message has its counter (`--sequence PART:TYPE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counter {
    /// Which part of the body it is, counted from 1, as the publisher sent them; 1 to 4095.
    pub(crate) part: usize,
    /// What the part holds, and nothing else.
    pub(crate) number: CounterType,
}

/// How a counter is written.
///
/// # Examples
///
/// ```
/// use zmq2ws::{CounterType, Gateway};
///
/// // As Bitcoin Core counts: the second part of the body, four bytes, little-endian.
/// let gateway = Gateway::builder()
///     .bind("tcp://127.0.0.1:*")
///     .sequence(2, CounterType::U32Le)
///     .build()?;
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CounterType {
    /// Four bytes, the least significant first.
    U32Le,
    /// Eight bytes, the least significant first.
    U64Le,
    /// Four bytes, the most significant first.
    U32Be,
    /// Eight bytes, the most significant first.
    U64Be,
}

impl Counter {
    pub(crate) const PARTS: RangeInclusive<usize> = 1..=4095;

    /// Which part of the body it is, counted from 0.
    pub(super) fn index(self) -> usize {
        self.part - 1
    }
}

impl FromStr for Counter {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let expected = || {
            ParseError::new(
                "expected PART:TYPE, the part of the body, counted from 1, and u32le, u64le, u32be or \
                 u64be, such as 2:u32le",
            )
        };
        let (part, number) = text.split_once(':').ok_or_else(expected)?;
        let is_plain = part.bytes().all(|byte| byte.is_ascii_digit());
        let part = part.parse().ok().filter(|part| is_plain && Self::PARTS.contains(part));
        let number = match number {
            "u32le" => CounterType::U32Le,
            "u64le" => CounterType::U64Le,
            "u32be" => CounterType::U32Be,
            "u64be" => CounterType::U64Be,
            _ => return Err(expected()),
        };
        Ok(Self { part: part.ok_or_else(expected)?, number })
    }
}

impl CounterType {
    fn read(self, bytes: &[u8]) -> Option<u64> {
        match self {
            Self::U32Le => bytes.try_into().ok().map(u32::from_le_bytes).map(u64::from),
            Self::U32Be => bytes.try_into().ok().map(u32::from_be_bytes).map(u64::from),
            Self::U64Le => bytes.try_into().ok().map(u64::from_le_bytes),
            Self::U64Be => bytes.try_into().ok().map(u64::from_be_bytes),
        }
    }

    /// The number before it begins anew with 0.
    fn max(self) -> u64 {
        match self {
            Self::U32Le | Self::U32Be => u32::MAX.into(),
            Self::U64Le | Self::U64Be => u64::MAX,
        }
    }

    fn len(self) -> usize {
        match self {
            Self::U32Le | Self::U32Be => 4,
            Self::U64Le | Self::U64Be => 8,
        }
    }
}

/// Why a message tells nothing of what was lost before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// The part is not there, or has another length.
    NoCounter,
    /// The topic is longer than those that are kept.
    LongTopic,
}

/// The counters of all topics.
///
/// Each source has its own, since two publishers count on their own. Of more topics than are kept, those are forgotten
/// first that were not seen for longest: half of the limit are `recent`; when there are more, they become the `older` ones,
/// whose predecessors go.
pub(super) struct Sequence {
    counter: Counter,
    recent: HashMap<Box<[u8]>, u64>,
    older: HashMap<Box<[u8]>, u64>,
    /// The number of the source and the topic, to look it up without an allocation.
    key: Vec<u8>,
}

impl Sequence {
    pub(super) fn new(counter: Counter) -> Self {
        Self { counter, recent: HashMap::new(), older: HashMap::new(), key: Vec::new() }
    }

    /// What was lost between the last message of this topic from `source` and this one, whose body is as it was sent.
    pub(super) fn lost_before(
        &mut self,
        source: usize,
        message: &Message<'_>,
    ) -> Result<Option<Lost>, Unread> {
        let Counter { number, .. } = self.counter;
        let part = message.body().nth(self.counter.index());
        let current = part.and_then(|part| number.read(part)).ok_or(Unread::NoCounter)?;
        if message.topic().len() > TOPIC_BYTES_MAX {
            return Err(Unread::LongTopic);
        }
        let previous = self.exchange(source, message.topic(), current);
        Ok(previous.and_then(|previous| lost_between(previous, current, number.max())))
    }

    /// Forgets the topics that `filter` matches. Looks at all of them, about 0.5 ms.
    pub(super) fn forget(&mut self, filter: &Filter) {
        for counters in [&mut self.recent, &mut self.older] {
            counters.retain(|key, _| !filter.matches(&key[size_of::<usize>()..]));
        }
    }

    /// What is wrong, for the log.
    pub(super) fn complaint(&self, unread: Unread) -> String {
        let Counter { part, number } = self.counter;
        let reason = match unread {
            Unread::NoCounter => {
                format!(
                    "part {part} of the body is no counter of {} bytes (sequence)",
                    number.len()
                )
            }
            Unread::LongTopic => {
                format!("sequence follows no topic of more than {TOPIC_BYTES_MAX} bytes")
            }
        };
        format!("{reason}: what is lost upstream is not seen")
    }

    /// Notes the topic's counter and returns the one before, where it is known.
    fn exchange(&mut self, source: usize, topic: &[u8], current: u64) -> Option<u64> {
        self.key.clear();
        self.key.extend_from_slice(&source.to_ne_bytes());
        self.key.extend_from_slice(topic);
        if let Some(counter) = self.recent.get_mut(&*self.key) {
            return Some(std::mem::replace(counter, current));
        }
        let (key, previous) = match self.older.remove_entry(&*self.key) {
            Some((key, previous)) => (key, Some(previous)),
            None => (self.key.as_slice().into(), None),
        };
        if self.recent.len() == TOPICS_MAX / 2 {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, current);
        previous
    }
}

/// What was lost between two messages with these counters, the second of which may be `max` at the most.
///
/// ZeroMQ neither repeats nor reorders what one publisher sends. So a counter that stands still or goes back belongs to
/// another run of the publisher, or to a second one with the same topic, and how many are missed is not known.
fn lost_between(previous: u64, current: u64, max: u64) -> Option<Lost> {
    let step = current.wrapping_sub(previous) & max;
    let has_begun_anew =
        current == 0 || (current <= previous && step > WRAPPED_STEP_MAX) || step == 0;
    match step {
        1 => None,
        _ if has_begun_anew => Some(Lost { missed: None }),
        _ => Some(Lost { missed: Some(step - 1) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Part, Seq, TopicFrom};

    const LOST_SOME: Option<Lost> = Some(Lost { missed: None });

    fn lost(missed: u64) -> Option<Lost> {
        Some(Lost { missed: Some(missed) })
    }

    /// Bitcoin Core's framing: topic, body, counter.
    fn lost_before(sequence: &mut Sequence, topic: &str, counter: u32) -> Option<Lost> {
        let parts = [Part::from(topic), Part::from("body"), counter.to_le_bytes()[..].into()];
        let message = Message::from_parts(Seq(1), &parts, TopicFrom::Part);
        sequence.lost_before(0, &message).unwrap()
    }

    #[test]
    fn skips_are_counted_and_restarts_are_not() {
        const MAX: u64 = u32::MAX as u64;
        for (previous, current, expected) in [
            (0, 1, None),
            (7, 8, None),
            (7, 9, lost(1)),
            (7, 800, lost(792)),
            (0, MAX, lost(MAX - 1)),
            // Wrapping around is no loss, and does not hide one.
            (MAX, 0, None),
            (MAX, 1, lost(1)),
            (MAX - 2, 2, lost(4)),
            // Another run of the publisher.
            (MAX - 1, 0, LOST_SOME),
            (7, 0, LOST_SOME),
            (0, 0, LOST_SOME),
            (7, 7, LOST_SOME),
            (7, 6, LOST_SOME),
            (1 << 31, 3, LOST_SOME),
            (MAX - WRAPPED_STEP_MAX, 1, LOST_SOME),
        ] {
            assert_eq!(lost_between(previous, current, MAX), expected, "{previous} {current}");
        }
        assert_eq!(lost_between(u64::MAX, 0, u64::MAX), None);
        assert_eq!(lost_between(u64::MAX - 1, 1, u64::MAX), lost(2));
        assert_eq!(lost_between(0, u64::MAX, u64::MAX), lost(u64::MAX - 1));
    }

    #[test]
    fn each_topic_of_each_source_counts_on_its_own() {
        let mut sequence = Sequence::new("2:u32le".parse().unwrap());
        assert_eq!(lost_before(&mut sequence, "rawtx", 50), None, "the first one seen");
        assert_eq!(lost_before(&mut sequence, "rawblock", 3), None);
        assert_eq!(lost_before(&mut sequence, "rawtx", 51), None);
        assert_eq!(lost_before(&mut sequence, "rawblock", 5), lost(1));
        assert_eq!(lost_before(&mut sequence, "rawtx", 53), lost(1));
        let parts = [Part::from("rawtx"), Part::from(""), 9_u32.to_le_bytes()[..].into()];
        let message = Message::from_parts(Seq(1), &parts, TopicFrom::Part);
        assert_eq!(sequence.lost_before(1, &message), Ok(None));
    }

    #[test]
    fn a_message_without_its_counter_is_told_and_changes_nothing() {
        let mut sequence = Sequence::new("2:u32le".parse().unwrap());
        assert_eq!(lost_before(&mut sequence, "t", 1), None);
        let unread = |sequence: &mut Sequence, parts: &[Part]| {
            let message = Message::from_parts(Seq(1), parts, TopicFrom::Part);
            sequence.lost_before(0, &message).unwrap_err()
        };
        let part = |text: &str| Part::from(text);
        assert_eq!(unread(&mut sequence, &[part("t"), part("body")]), Unread::NoCounter);
        assert_eq!(unread(&mut sequence, &[part("t"), part(""), part("123")]), Unread::NoCounter);
        assert_eq!(unread(&mut sequence, &[part("t"), part(""), part("12345")]), Unread::NoCounter);
        let long = "t".repeat(TOPIC_BYTES_MAX + 1);
        assert_eq!(
            unread(&mut sequence, &[part(&long), part(""), part("1234")]),
            Unread::LongTopic
        );
        assert_eq!(lost_before(&mut sequence, "t", 3), lost(1));
    }

    #[test]
    fn those_not_seen_for_longest_are_forgotten_first() {
        let mut sequence = Sequence::new("2:u32le".parse().unwrap());
        lost_before(&mut sequence, "often", 0);
        lost_before(&mut sequence, "once", 0);
        for number in 0..3 * TOPICS_MAX as u32 {
            lost_before(&mut sequence, &number.to_string(), 0);
            if number.is_multiple_of(100) {
                assert_eq!(lost_before(&mut sequence, "often", number / 100 + 1), None);
            }
            assert!(sequence.recent.len() + sequence.older.len() <= TOPICS_MAX);
        }
        assert_eq!(lost_before(&mut sequence, "once", 9), None, "as if it were the first");
        assert_eq!(lost_before(&mut sequence, "often", 1000), lost(699));
    }

    #[test]
    fn what_was_not_asked_for_meanwhile_is_not_lost() {
        let mut sequence = Sequence::new("2:u32le".parse().unwrap());
        lost_before(&mut sequence, "hashtx", 1);
        lost_before(&mut sequence, "rawtx", 1);
        lost_before(&mut sequence, "sequence", 1);
        sequence.forget(&Filter::new(vec![b"hash".to_vec(), b"s".to_vec()], Vec::new()));
        assert_eq!(lost_before(&mut sequence, "hashtx", 9), None);
        assert_eq!(lost_before(&mut sequence, "sequence", 9), None);
        assert_eq!(lost_before(&mut sequence, "rawtx", 9), lost(7));
    }

    #[test]
    fn counters_are_read_in_each_form() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        let read = |text: &str, bytes| text.parse::<Counter>().unwrap().number.read(bytes);
        assert_eq!(read("1:u32le", &bytes[..4]), Some(0x0403_0201));
        assert_eq!(read("1:u32be", &bytes[..4]), Some(0x0102_0304));
        assert_eq!(read("1:u64le", &bytes), Some(0x0807_0605_0403_0201));
        assert_eq!(read("1:u64be", &bytes), Some(0x0102_0304_0506_0708));
        assert_eq!(read("1:u64be", &bytes[..7]), None);
    }

    #[test]
    fn texts_that_name_no_counter_are_refused() {
        assert_eq!("4095:u64be".parse::<Counter>().unwrap().part, 4095);
        for text in
            ["", "2", "2:", ":u32le", "0:u32le", "4096:u32le", "+2:u32le", "2:u16le", "2:U32LE"]
        {
            assert!(text.parse::<Counter>().is_err(), "{text}");
        }
    }
}
