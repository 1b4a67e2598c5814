//! A message: where its topic ends and its body begins, its id, and what was lost before it. Knows no socket.

use std::fmt;
use std::str::FromStr;

use crate::error::ParseError;

/// A message of more parts is dropped, wherever it comes from. Real feeds have fewer than ten; 4,096 keeps a hostile one
/// from costing more than a quarter of a megabyte of slots.
pub(crate) const PARTS_MAX: usize = 4_096;

/// One ZeroMQ part. Small parts live inside it, large ones in libzmq's memory; neither is copied.
pub(crate) type Part = zmq::Message;

/// Counts every message that this gateway accepted, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Seq(pub u64);

/// Names one run of a gateway: eight characters of `0-9a-z`, new at each start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch([u8; Epoch::LEN]);

impl Epoch {
    const LEN: usize = 8;

    /// The epoch for a random `seed`.
    pub(crate) fn from_seed(mut seed: u64) -> Self {
        Self(std::array::from_fn(|_| {
            let digit = (seed % 36) as usize;
            seed /= 36;
            b"0123456789abcdefghijklmnopqrstuvwxyz"[digit]
        }))
    }

    /// The characters.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an epoch is made of ASCII digits and letters")
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a client resumes from, `EPOCH-SEQ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id {
    /// The run that gave the id; `None` for a run whose epoch cannot be this program's.
    pub epoch: Option<Epoch>,
    /// The message's number in that run.
    pub seq: Seq,
}

impl Id {
    /// An id that this program cannot have given to anybody.
    pub(crate) const FOREIGN: Self = Self { epoch: None, seq: Seq(0) };
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch.as_ref().map_or("", Epoch::as_str), self.seq.0)
    }
}

/// A text that is not `EPOCH-SEQ`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MalformedId;

impl FromStr for Id {
    type Err = MalformedId;

    /// Reads `EPOCH-SEQ`: 1 to 16 characters of `0-9a-z`, a hyphen, and a decimal u64 without sign or leading zeros.
    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let (epoch, seq) = text.split_once('-').ok_or(MalformedId)?;
        let epoch_is_valid = (1..=16).contains(&epoch.len())
            && epoch.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
        let seq_is_valid =
            seq.bytes().all(|byte| byte.is_ascii_digit()) && (seq == "0" || !seq.starts_with('0'));
        if !epoch_is_valid || !seq_is_valid {
            return Err(MalformedId);
        }
        let seq = seq.parse().map_err(|_| MalformedId)?;
        Ok(Self { epoch: epoch.as_bytes().try_into().ok().map(Epoch), seq: Seq(seq) })
    }
}

/// Where the topic of a message is (`--topic-from`).
///
/// # Examples
///
/// ```
/// use zmq2ws::{Gateway, TopicFrom};
///
/// // Messages such as `json-minimal-txpool_add:{…}`.
/// let gateway = Gateway::builder()
///     .bind("tcp://127.0.0.1:*")
///     .topic_from(TopicFrom::Delimiter(b':'))
///     .build()?;
/// assert_eq!(":".parse(), Ok(TopicFrom::Delimiter(b':')));
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicFrom {
    /// The first of several parts; a message of one part is all body.
    Part,
    /// Nowhere: every part is body.
    None,
    /// A message of one part is split at the first occurrence of this byte; several parts are as in [`Self::Part`].
    Delimiter(u8),
}

impl FromStr for TopicFrom {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match (text, text.as_bytes()) {
            ("part", _) => Ok(Self::Part),
            ("none", _) => Ok(Self::None),
            (_, [delimiter]) => Ok(Self::Delimiter(*delimiter)),
            _ => Err(ParseError::new("expected 'part', 'none' or one ASCII character such as ':'")),
        }
    }
}

/// Messages of a topic that its publisher sent and this gateway never got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    /// How many, where that is known.
    pub missed: Option<u64>,
}

/// One message, borrowed from the parts that a source received, or from where it was kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    /// Its number.
    pub seq: Seq,
    /// What was lost upstream right before it: who gets the message has missed this.
    pub lost_upstream: Option<Lost>,
    /// `None` where the message has none.
    topic: Option<&'a [u8]>,
    /// The byte between topic and body, where both came in one part.
    delimiter: Option<u8>,
    body: Body<'a>,
}

/// The parts of a body, in order.
#[derive(Debug, Clone, Copy)]
enum Body<'a> {
    /// As they came: the start of the body where it is not a whole part, then whole parts.
    Parts { head: Option<&'a [u8]>, rest: &'a [Part] },
    /// One after the other, with the length of each.
    Flat { lens: &'a [PartLen], bytes: &'a [u8] },
}

/// The length of a part, bytes, as it is kept: little-endian, and not aligned.
pub(crate) type PartLen = [u8; 4];

impl<'a> Message<'a> {
    /// Finds the topic in `parts`.
    ///
    /// # Panics
    ///
    /// When `parts` is empty: ZeroMQ has no message without a part.
    pub(crate) fn from_parts(seq: Seq, parts: &'a [Part], topic_from: TopicFrom) -> Self {
        let (first, rest) = parts.split_first().expect("a ZeroMQ message has at least one part");
        let first: &[u8] = first;
        let message = |topic, head, rest| Self {
            seq,
            lost_upstream: None,
            topic,
            delimiter: None,
            body: Body::Parts { head, rest },
        };
        let whole = message(None, None, parts);
        match topic_from {
            TopicFrom::None => whole,
            _ if !rest.is_empty() => message(Some(first), None, rest),
            TopicFrom::Part => whole,
            TopicFrom::Delimiter(delimiter) => {
                match first.iter().position(|&byte| byte == delimiter) {
                    None => whole,
                    Some(end) => {
                        let body = &first[end + 1..];
                        message(Some(&first[..end]), Some(body), rest).split_at(Some(delimiter))
                    }
                }
            }
        }
    }

    /// The same message with another body: `bytes` are its parts, whose lengths are `lens`.
    pub(crate) fn with_flat_body<'b>(&self, lens: &'b [PartLen], bytes: &'b [u8]) -> Message<'b>
    where
        'a: 'b,
    {
        Message { body: Body::Flat { lens, bytes }, ..*self }
    }

    /// The same message for somebody who missed nothing of what was lost before it.
    pub(crate) fn without_loss(self) -> Self {
        Self { lost_upstream: None, ..self }
    }

    /// A message that was kept: `bytes` are the body's parts, whose lengths are `lens`.
    pub(crate) fn from_flat(
        seq: Seq,
        lost_upstream: Option<Lost>,
        topic: Option<&'a [u8]>,
        lens: &'a [PartLen],
        bytes: &'a [u8],
    ) -> Self {
        Self { seq, lost_upstream, topic, delimiter: None, body: Body::Flat { lens, bytes } }
    }

    /// The same message, whose topic and body were one part with `delimiter` between them.
    pub(crate) fn split_at(self, delimiter: Option<u8>) -> Self {
        Self { delimiter, ..self }
    }

    /// The byte between topic and body, where both came in one part.
    pub(crate) fn delimiter(&self) -> Option<u8> {
        self.delimiter
    }

    /// The topic; empty where the message has none.
    pub(crate) fn topic(&self) -> &'a [u8] {
        self.topic.unwrap_or_default()
    }

    /// Whether the message has a topic, be it an empty one.
    pub(crate) fn has_topic(&self) -> bool {
        self.topic.is_some()
    }

    /// What filters look at: the topic, or the first part's bytes where there is no topic, as ZeroMQ itself does.
    pub(crate) fn matched(&self) -> &'a [u8] {
        self.topic.or_else(|| self.body().next()).unwrap_or_default()
    }

    /// The parts of the body, in order; there is always at least one.
    pub(crate) fn body(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        self.body
    }

    /// How many parts the body has.
    pub(crate) fn body_parts(&self) -> usize {
        match self.body {
            Body::Parts { head, rest } => usize::from(head.is_some()) + rest.len(),
            Body::Flat { lens, .. } => lens.len(),
        }
    }

    /// Calls `each` with every part as ZeroMQ has it, topic included, and whether more follow. A part that was split
    /// into topic and body comes in the pieces that make it whole again, every other one in one piece.
    pub(crate) fn for_each_part(&self, mut each: impl FnMut(&[&[u8]], bool)) {
        let mut body = self.body();
        let mut body_parts = self.body_parts();
        match (self.topic, self.delimiter) {
            (Some(topic), Some(delimiter)) => {
                body_parts -= 1;
                each(&[topic, &[delimiter], body.next().unwrap_or_default()], body_parts > 0);
            }
            (Some(topic), None) => each(&[topic], true),
            (None, _) => {}
        }
        for part in body {
            body_parts -= 1;
            each(&[part], body_parts > 0);
        }
    }

    /// How many bytes the body has in all its parts.
    pub(crate) fn body_bytes(&self) -> usize {
        match self.body {
            Body::Parts { .. } => self.body().map(<[u8]>::len).sum(),
            Body::Flat { bytes, .. } => bytes.len(),
        }
    }
}

impl<'a> Iterator for Body<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Self::Parts { head, rest } => head.take().or_else(|| {
                let (part, others) = rest.split_first()?;
                *rest = others;
                Some(part)
            }),
            Self::Flat { lens, bytes } => {
                let (len, others) = lens.split_first()?;
                let (part, behind) = bytes.split_at(u32::from_le_bytes(*len) as usize);
                (*lens, *bytes) = (others, behind);
                Some(part)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &[&str]) -> Vec<Part> {
        parts.iter().map(|part| Part::from(*part)).collect()
    }

    /// Topic, what filters see, and the body's parts joined by `|`.
    fn seen(from: TopicFrom, texts: &[&str]) -> (String, String, String) {
        let parts = parts(texts);
        let message = Message::from_parts(Seq(1), &parts, from);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let body: Vec<_> = message.body().map(text).collect();
        assert_eq!(body.len(), message.body_parts());
        assert_eq!(body.concat().len(), message.body_bytes());
        (text(message.topic()), text(message.matched()), body.join("|"))
    }

    fn row(topic: &str, matched: &str, body: &str) -> (String, String, String) {
        (topic.into(), matched.into(), body.into())
    }

    #[test]
    fn topic_from_part() {
        assert_eq!(seen(TopicFrom::Part, &["body"]), row("", "body", "body"));
        assert_eq!(seen(TopicFrom::Part, &["t", "a", ""]), row("t", "t", "a|"));
        assert_eq!(seen(TopicFrom::Part, &["", ""]), row("", "", ""));
    }

    #[test]
    fn topic_from_none() {
        assert_eq!(seen(TopicFrom::None, &["body"]), row("", "body", "body"));
        assert_eq!(seen(TopicFrom::None, &["t", "a"]), row("", "t", "t|a"));
    }

    #[test]
    fn topic_from_delimiter() {
        let colon = TopicFrom::Delimiter(b':');
        assert_eq!(seen(colon, &["t:a:b"]), row("t", "t", "a:b"));
        assert_eq!(seen(colon, &[":b"]), row("", "", "b"));
        assert_eq!(seen(colon, &["t:"]), row("t", "t", ""));
        assert_eq!(seen(colon, &["plain"]), row("", "plain", "plain"));
        assert_eq!(seen(colon, &["a:b", "c"]), row("a:b", "a:b", "c"));
    }

    #[test]
    fn another_body_keeps_the_topic_and_is_matched_where_there_is_none() {
        let changed = |from, texts: &[&str]| {
            let parts = parts(texts);
            let message = Message::from_parts(Seq(7), &parts, from);
            let message = message.with_flat_body(&[[3, 0, 0, 0], [0; 4], [2, 0, 0, 0]], b"newer");
            let body: Vec<_> = message.body().collect();
            assert_eq!(body, [&b"new"[..], b"", b"er"]);
            assert_eq!((message.seq, message.body_parts(), message.body_bytes()), (Seq(7), 3, 5));
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            (text(message.topic()), text(message.matched()))
        };
        let row = |topic: &str, matched: &str| (topic.to_owned(), matched.to_owned());
        assert_eq!(changed(TopicFrom::Part, &["t", "body"]), row("t", "t"));
        assert_eq!(changed(TopicFrom::Part, &["", "body"]), row("", ""));
        assert_eq!(changed(TopicFrom::Part, &["body"]), row("", "new"));
        assert_eq!(changed(TopicFrom::None, &["t", "body"]), row("", "new"));
        assert_eq!(changed(TopicFrom::Delimiter(b':'), &["t:body"]), row("t", "t"));
        assert_eq!(changed(TopicFrom::Delimiter(b':'), &[":body"]), row("", ""));
    }

    #[test]
    fn parts_can_be_had_as_they_were_sent() {
        for texts in [&["t:a:b"][..], &[":"], &["plain"], &[""], &["t:", "b"], &["", "", "c"]] {
            for from in [TopicFrom::Part, TopicFrom::None, TopicFrom::Delimiter(b':')] {
                let parts = parts(texts);
                let mut seen = Vec::new();
                Message::from_parts(Seq(1), &parts, from).for_each_part(|pieces, more| {
                    seen.push((String::from_utf8(pieces.concat()).unwrap(), more));
                });
                let last = texts.len() - 1;
                let sent = texts.iter().enumerate().map(|(at, &text)| (text.into(), at < last));
                assert_eq!(seen, sent.collect::<Vec<(String, bool)>>(), "{from:?}");
            }
        }
        let parts = parts(&["t:body"]);
        let message = Message::from_parts(Seq(1), &parts, TopicFrom::Delimiter(b':'));
        let mut seen = Vec::new();
        let inflated = message.with_flat_body(&[[5, 0, 0, 0]], b"newer");
        inflated.for_each_part(|pieces, more| seen.push((pieces.concat(), more)));
        assert_eq!(seen, [(b"t:newer".to_vec(), false)]);
    }

    #[test]
    fn topic_from_text() {
        assert_eq!("part".parse(), Ok(TopicFrom::Part));
        assert_eq!(" ".parse(), Ok(TopicFrom::Delimiter(b' ')));
        assert!("".parse::<TopicFrom>().is_err());
        assert!("é".parse::<TopicFrom>().is_err());
    }

    #[test]
    fn ids_are_read_strictly() {
        let epoch = Epoch::from_seed(u64::MAX);
        let text = format!("{}-42", epoch.as_str());
        assert_eq!(text.parse(), Ok(Id { epoch: Some(epoch), seq: Seq(42) }));
        assert_eq!("k3x9-0".parse(), Ok(Id { epoch: None, seq: Seq(0) }));
        for malformed in [
            "",
            "-",
            "k-",
            "-1",
            "k3x9",
            "k-01",
            "k-+1",
            "k--1",
            "K-1",
            "k-18446744073709551616",
            "k-1 ",
        ] {
            assert_eq!(malformed.parse::<Id>(), Err(MalformedId), "{malformed:?}");
        }
    }
}
