//! A message as the host program sees and changes it (`map`). Knows neither sources nor clients.

use std::borrow::Cow;

use super::Guarded;
use crate::error::DropReason;
use crate::message::{Message as Own, PARTS_MAX, PartLen};

/// A message on its way to clients; what the hook [`map`](crate::Builder::map) gets and returns. What is not changed is not
/// copied.
///
/// # Examples
///
/// ```
/// use zmq2ws::Gateway;
///
/// let gateway = Gateway::builder()
///     .map(|mut message| {
///         // Every topic below one of this site's; what has none stays without.
///         if let Some(topic) = &mut message.topic {
///             topic.to_mut().splice(..0, *b"site-7.");
///         }
///         message.parts.push(b"seen by site 7".into());
///         Some(message)
///     })
///     .build()?;
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message<'a> {
    /// The topic; `None` where the message has none, so that filters match the start of its first part.
    pub topic: Option<Cow<'a, [u8]>>,
    /// The body: one part or more. None at all counts as one that is empty.
    pub parts: Vec<Cow<'a, [u8]>>,
}

pub(crate) type Map = Box<dyn for<'a> FnMut(Message<'a>) -> Option<Message<'a>> + Send>;

/// Hands every message to the host program, if it wants that, and keeps what becomes of it.
pub(crate) struct Mapper {
    hook: Option<Guarded<Map>>,
    message_bytes_max: usize,
    topic: Option<Vec<u8>>,
    lens: Vec<PartLen>,
    bytes: Vec<u8>,
}

impl Mapper {
    pub(crate) fn new(hook: Option<Map>, message_bytes_max: usize) -> Self {
        let hook = hook.map(|hook| Guarded::new("map", hook));
        Self { hook, message_bytes_max, topic: None, lens: Vec::new(), bytes: Vec::new() }
    }

    /// Whether the host wants to see messages, which may take any time.
    pub(crate) fn is_set(&self) -> bool {
        self.hook.is_some()
    }

    /// What is to go to clients in place of `message`, or why nothing is.
    pub(crate) fn map<'a>(&'a mut self, message: Own<'a>) -> Result<Own<'a>, DropReason> {
        let Some(hook) = &mut self.hook else { return Ok(message) };
        let topic = message.has_topic().then(|| Cow::Borrowed(message.topic()));
        let view = Message { topic, parts: message.body().map(Cow::Borrowed).collect() };
        let Ok(Some(Message { topic, parts })) = hook.call(|hook| hook(view)) else {
            return Err(DropReason::Map);
        };
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if topic.as_ref().map_or(0, |topic| topic.len()) + bytes > self.message_bytes_max {
            return Err(DropReason::TooLarge);
        }
        if parts.len() > PARTS_MAX {
            return Err(DropReason::TooManyParts);
        }
        self.lens.clear();
        self.bytes.clear();
        for part in &parts {
            self.lens.push((part.len() as u32).to_le_bytes());
            self.bytes.extend_from_slice(part);
        }
        if parts.is_empty() {
            self.lens.push([0; 4]);
        }
        self.topic = topic.map(Cow::into_owned);
        let topic = self.topic.as_deref();
        let delimiter = message.delimiter().filter(|_| topic.is_some());
        let mapped =
            Own::from_flat(message.seq, message.lost_upstream, topic, &self.lens, &self.bytes);
        Ok(mapped.split_at(delimiter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Part, Seq, TopicFrom};

    /// Topic, parts of the body, all parts.
    type Shape = (Option<String>, Vec<String>, Vec<String>);

    fn mapped(
        hook: impl for<'a> FnMut(Message<'a>) -> Option<Message<'a>> + Send + 'static,
        from: TopicFrom,
        parts: &[&str],
    ) -> Result<Shape, DropReason> {
        let mut mapper = Mapper::new(Some(Box::new(hook)), 20);
        let parts: Vec<_> = parts.iter().map(|part| Part::from(*part)).collect();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let message = mapper.map(Own::from_parts(Seq(7), &parts, from))?;
        assert_eq!(message.seq, Seq(7));
        let mut whole = Vec::new();
        message.for_each_part(|pieces, _| whole.push(text(&pieces.concat())));
        let topic = message.has_topic().then(|| text(message.topic()));
        Ok((topic, message.body().map(text).collect(), whole))
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn messages_are_changed_dropped_or_left_alone() {
        let part = TopicFrom::Part;
        let same = mapped(|message| Some(message), part, &["t", "a", ""]);
        assert_eq!(same, Ok((Some("t".into()), owned(&["a", ""]), owned(&["t", "a", ""]))));
        let body = mapped(|message| Some(message), part, &["body"]);
        assert_eq!(body, Ok((None, owned(&["body"]), owned(&["body"]))));
        let changed = mapped(
            |mut message| {
                message.parts.iter_mut().for_each(|part| part.to_mut().make_ascii_uppercase());
                Some(message)
            },
            TopicFrom::Delimiter(b':'),
            &["t:b"],
        );
        assert_eq!(changed, Ok((Some("t".into()), owned(&["B"]), owned(&["t:B"]))));
        let retold = mapped(
            |mut message| {
                message.topic = Some(b"new"[..].into());
                message.parts.clear();
                Some(message)
            },
            part,
            &["b"],
        );
        assert_eq!(retold, Ok((Some("new".into()), owned(&[""]), owned(&["new", ""]))));
        assert_eq!(mapped(|_| None, part, &["b"]), Err(DropReason::Map));
    }

    #[test]
    fn what_panics_or_becomes_too_large_is_dropped() {
        let panicked = mapped(|_| panic!("on purpose"), TopicFrom::Part, &["b"]);
        assert_eq!(panicked, Err(DropReason::Map));
        let grown = mapped(
            |mut message| {
                message.parts.push(vec![0; 20].into());
                Some(message)
            },
            TopicFrom::Part,
            &["b"],
        );
        assert_eq!(grown, Err(DropReason::TooLarge));
    }

    #[test]
    fn a_message_may_not_become_one_of_more_parts_than_others_have() {
        let outcome = |count| {
            let outcome = mapped(
                move |mut message| {
                    message.parts.resize(count, b"".into());
                    Some(message)
                },
                TopicFrom::Part,
                &["b"],
            );
            outcome.map(|(_, parts, _)| parts.len())
        };
        assert_eq!(outcome(PARTS_MAX), Ok(PARTS_MAX));
        assert_eq!(outcome(PARTS_MAX + 1), Err(DropReason::TooManyParts));
    }
}
