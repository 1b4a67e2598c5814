//! Long-polling: each message and each gap as a line of JSON, and the answers that lines are put together to. Knows no
//! socket and no client.
//!
//! JSON escapes every control byte, so that a line ends where its object does.

use std::ops::Range;

use super::{json, write_id};
use crate::error::GapReason;
use crate::message::{Epoch, Message, Seq};

/// Appends `message` as a line.
pub(crate) fn write_message(out: &mut Vec<u8>, epoch: &Epoch, message: &Message<'_>) {
    json::write_message(out, epoch, message);
    out.push(b'\n');
}

/// Appends the notice that messages are missing here as a line.
pub(crate) fn write_gap(out: &mut Vec<u8>, missed: Option<u64>, reason: GapReason) {
    json::write_gap(out, missed, reason);
    out.push(b'\n');
}

/// How the line of a gap begins; that of a message begins with its id.
const GAP: &[u8] = b"{\"gap\":";

/// What stands in front of its reason.
const REASON: &[u8] = b",\"reason\":";

const HEAD: &[u8] = b"{\"messages\":[";

/// Where the objects stand in what [`Answer::finish`] returns.
pub(crate) const OBJECTS_AT: usize = HEAD.len();

/// An answer while it is put together.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Objects with commas between them.
    objects: Vec<u8>,
    messages: u64,
    /// The member `gap`, where there is one: what is missing in front of the messages.
    gap: Vec<u8>,
}

impl Answer {
    /// Takes lines from the front of `lines` and returns how many bytes they are. A gap right before its message has to
    /// be the first thing in an answer: it is left, with all that follows, where something was taken already.
    pub(crate) fn take(&mut self, lines: &[u8]) -> usize {
        let mut taken = 0;
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            let object = line.strip_suffix(b"\n").unwrap_or(line);
            if !object.starts_with(GAP) {
                if !self.objects.is_empty() {
                    self.objects.push(b',');
                }
                self.objects.extend_from_slice(object);
                self.messages += 1;
            } else if self.is_empty() {
                self.gap = object[1..object.len() - 1].to_vec();
            } else if line.len() == lines.len() {
                // What was missed behind the messages is told only once, and so with them.
                self.note_lag();
            } else {
                break;
            }
            taken += line.len();
        }
        taken
    }

    /// Takes the one message of `line`, but for its object, which is to be put where objects stand; returns where in `line`
    /// it is. `None` where its gap has to wait, as with [`Self::take`].
    pub(crate) fn take_without_object(&mut self, line: &[u8]) -> Option<Range<usize>> {
        let mut start = 0;
        if line.starts_with(GAP) {
            if !self.is_empty() {
                return None;
            }
            start = line.iter().position(|&byte| byte == b'\n')? + 1;
            self.gap = line[1..start - 2].to_vec();
        }
        self.messages += 1;
        Some(start..line.len() - 1)
    }

    /// Notes that more is missing, because of lag, and nobody knows how much. An answer tells of one gap: what was the
    /// reason of an earlier one stays it.
    pub(crate) fn note_lag(&mut self) {
        let reason_at = self.gap.windows(REASON.len()).position(|bytes| bytes == REASON);
        let mut line = Vec::new();
        json::write_gap(&mut line, None, GapReason::Lag);
        let mut gap = line[1..line.len() - 1].to_vec();
        if let Some(reason_at) = reason_at {
            let own_at = gap.windows(REASON.len()).position(|bytes| bytes == REASON);
            gap.truncate(own_at.unwrap_or(gap.len()));
            gap.extend_from_slice(&self.gap[reason_at..]);
        }
        self.gap = gap;
    }

    /// Whether there is nothing to tell.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages == 0 && self.gap.is_empty()
    }

    /// How many messages it has.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// How many bytes its messages have.
    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// The answer after which the client is to go on behind the message `next`.
    pub(crate) fn finish(self, epoch: &Epoch, next: Seq) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.objects.len() + self.gap.len() + 64);
        out.extend_from_slice(HEAD);
        out.extend_from_slice(&self.objects);
        out.extend_from_slice(b"],\"next\":\"");
        write_id(&mut out, epoch, next);
        out.push(b'"');
        if !self.gap.is_empty() {
            out.push(b',');
            out.extend_from_slice(&self.gap);
        }
        out.extend_from_slice(b"}\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Part, TopicFrom};

    fn lines(seqs: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        for &seq in seqs {
            match seq {
                0 => write_gap(&mut out, Some(3), GapReason::Upstream),
                _ => {
                    let parts = [Part::from("t"), Part::from("a\nb")];
                    let message = Message::from_parts(Seq(seq), &parts, TopicFrom::Part);
                    write_message(&mut out, &Epoch::from_seed(0), &message);
                }
            }
        }
        out
    }

    fn finished(answer: Answer) -> serde_json::Value {
        let bytes = answer.finish(&Epoch::from_seed(0), Seq(9));
        serde_json::from_slice(&bytes).unwrap()
    }

    fn object(seq: u64) -> serde_json::Value {
        serde_json::json!({"id": format!("00000000-{seq}"), "topic": "t", "data": "a\nb"})
    }

    #[test]
    fn an_answer_has_its_messages_in_order_and_says_where_to_go_on() {
        let mut answer = Answer::default();
        assert!(answer.is_empty());
        let both = lines(&[1, 2]);
        assert_eq!(answer.take(&both), both.len());
        assert_eq!(answer.messages(), 2);
        let expected =
            serde_json::json!({"messages": [object(1), object(2)], "next": "00000000-9"});
        assert_eq!(finished(answer), expected);
        let empty = Answer::default().finish(&Epoch::from_seed(0), Seq(0));
        assert_eq!(empty, b"{\"messages\":[],\"next\":\"00000000-0\"}\n");
    }

    #[test]
    fn a_gap_stands_in_front_of_its_messages_or_waits_for_the_next_answer() {
        let gap = serde_json::json!({"missed": 3, "reason": "upstream"});
        let mut answer = Answer::default();
        let own = lines(&[0, 4, 5, 0, 6]);
        assert_eq!(answer.take(&own), lines(&[0, 4, 5]).len());
        let json = finished(answer);
        assert_eq!(json["messages"], serde_json::json!([object(4), object(5)]));
        assert_eq!(json["gap"], gap);
    }

    #[test]
    fn a_large_message_is_put_where_objects_stand() {
        for (line, gap) in [
            (lines(&[4]), serde_json::Value::Null),
            (lines(&[0, 4]), serde_json::json!({"missed": 3, "reason": "upstream"})),
        ] {
            let mut answer = Answer::default();
            let at = answer.take_without_object(&line).unwrap();
            assert_eq!(answer.messages(), 1);
            let mut bytes = answer.finish(&Epoch::from_seed(0), Seq(9));
            bytes.splice(OBJECTS_AT..OBJECTS_AT, line[at].iter().copied());
            let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(json["messages"], serde_json::json!([object(4)]));
            assert_eq!((&json["gap"], &json["next"]), (&gap, &"00000000-9".into()));
        }
        let mut answer = Answer::default();
        answer.take(&lines(&[0]));
        assert_eq!(answer.take_without_object(&lines(&[0, 4])), None, "one gap in an answer");
    }

    #[test]
    fn a_gap_that_is_told_once_is_told_in_the_answer_at_hand() {
        let mut answer = Answer::default();
        answer.take(&lines(&[7]));
        let alone = lines(&[0]);
        assert_eq!(answer.take(&alone), alone.len());
        let json = finished(answer);
        assert_eq!(json["gap"], serde_json::json!({"missed": null, "reason": "lag"}));
        assert_eq!(json["messages"], serde_json::json!([object(7)]));
    }

    #[test]
    fn a_second_gap_keeps_the_reason_of_the_first() {
        let mut answer = Answer::default();
        answer.take(&lines(&[0, 7]));
        answer.note_lag();
        assert_eq!(
            finished(answer)["gap"],
            serde_json::json!({"missed": null, "reason": "upstream"})
        );
    }
}
