//! Reads the subscribe request in a query: topics, format, where to resume. Knows no transport.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use super::{Refusal, Status};
use crate::message::Id;
use crate::topics::TOPIC_BYTES_MAX;
use crate::wire::Format;

/// What a client asks to get. No prefix and no exact topic together mean everything, and so does an
/// empty prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Subscribe {
    /// `topic=`: starts of topics, in the order given, doubles included.
    pub(crate) prefixes: Vec<Vec<u8>>,
    /// `exact=`: whole topics, in the order given, doubles included.
    pub(crate) exact: Vec<Vec<u8>>,
    /// `format=`, where given.
    pub(crate) format: Option<Format>,
    /// `since=`, where given.
    pub(crate) since: Option<Id>,
    /// The prefixes that the host limits the client to, where it does.
    pub(crate) allowed: Option<Allowed>,
}

impl Subscribe {
    /// Reads `name=value` pairs between `&`, names and values percent-encoded, `+` a space. Topics
    /// are bytes and need not be UTF-8. Unknown parameters are ignored, whatever they hold, so that
    /// clients of later versions get in.
    ///
    /// # Errors
    ///
    /// 400 for an unknown format, a malformed id, either of them twice, a broken percent escape in
    /// a known parameter, a topic above [`TOPIC_BYTES_MAX`], and more than `topics_max` topics and
    /// exact topics together, doubles included.
    pub(crate) fn from_query(query: &[u8], topics_max: usize) -> Result<Self, Refusal> {
        let mut subscribe = Self::default();
        let mut topics_left = topics_max;
        for pair in query.split(|&byte| byte == b'&') {
            let equals = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
            let (name, value) = (&pair[..equals], pair.get(equals + 1..).unwrap_or_default());
            let Some(name) = percent_decode(name, Plus::Space) else { continue };
            let value = || {
                percent_decode(value, Plus::Space)
                    .ok_or_else(|| bad("malformed percent escape in the query"))
            };
            match &*name {
                b"topic" | b"exact" => {
                    topics_left =
                        topics_left.checked_sub(1).ok_or_else(|| bad("too many topics"))?;
                    let is_exact = &*name == b"exact";
                    let topics =
                        if is_exact { &mut subscribe.exact } else { &mut subscribe.prefixes };
                    let topic = value()?;
                    if topic.len() > TOPIC_BYTES_MAX {
                        return Err(bad("a topic may have 255 bytes at most"));
                    }
                    topics.push(topic.into_owned());
                }
                b"format" => {
                    let reason = "unknown format: expected raw, json or parts";
                    set_once(&mut subscribe.format, &value()?, reason)?;
                }
                b"since" => {
                    let reason = "malformed since: expected an id such as k3x9-42";
                    set_once(&mut subscribe.since, &value()?, reason)?;
                }
                _ => {}
            }
        }
        Ok(subscribe)
    }

    /// Limits the request to what is `allowed`, which is what it gets of everything. Returns whether it asks for nothing else.
    pub(crate) fn limit_to(&mut self, allowed: Allowed) -> bool {
        let Self { prefixes, exact, .. } = self;
        let is_everything = prefixes.iter().any(Vec::is_empty);
        let is_limited = if is_everything || (prefixes.is_empty() && exact.is_empty()) {
            *prefixes = allowed.prefixes().to_vec();
            exact.clear();
            true
        } else {
            prefixes.iter().chain(&*exact).all(|topic| allowed.allows(topic))
        };
        self.allowed = Some(allowed);
        is_limited
    }
}

/// The prefixes that a client is limited to: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowed(Box<[Vec<u8>]>);

impl Allowed {
    /// `None` where nothing is allowed.
    pub(crate) fn new(prefixes: Vec<Vec<u8>>) -> Option<Self> {
        (!prefixes.is_empty()).then(|| Self(prefixes.into()))
    }

    /// Whether `topic`, whole or the start of others, is allowed.
    pub(crate) fn allows(&self, topic: &[u8]) -> bool {
        self.0.iter().any(|prefix| topic.starts_with(prefix))
    }

    /// What a client gets that asks for everything.
    pub(crate) fn prefixes(&self) -> &[Vec<u8>] {
        &self.0
    }
}

/// The value of the first parameter `name`; `None` where it is not there, or has a broken percent escape.
pub(crate) fn parameter<'a>(query: &'a [u8], name: &str) -> Option<Cow<'a, [u8]>> {
    query.split(|&byte| byte == b'&').find_map(|pair| {
        let equals = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        let key = percent_decode(&pair[..equals], Plus::Space)?;
        let value = pair.get(equals + 1..).unwrap_or_default();
        (*key == *name.as_bytes()).then(|| percent_decode(value, Plus::Space))
    })?
}

/// A path with its percent escapes replaced; `None` where one is broken.
pub(crate) fn decode_path(path: &[u8]) -> Option<Cow<'_, [u8]>> {
    percent_decode(path, Plus::Plus)
}

/// How long a poll waits unless it says so: below the 30 s after which some proxies give up.
const POLL_SECONDS: u64 = 25;

/// How long a poll may wait: many proxies give up after 60 s.
const POLL_SECONDS_MAX: u64 = 60;

/// Reads `timeout=`, whole seconds: 25 where it is not given, 60 where it is more.
///
/// # Errors
///
/// 400 for what is no number, or given twice.
pub(super) fn poll_timeout(query: &[u8]) -> Result<Duration, Refusal> {
    let reason = "malformed timeout: expected one number of whole seconds such as 25";
    let mut seconds = None;
    for pair in query.split(|&byte| byte == b'&') {
        let equals = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        let (name, value) = (&pair[..equals], pair.get(equals + 1..).unwrap_or_default());
        if percent_decode(name, Plus::Space).as_deref() != Some(b"timeout") {
            continue;
        }
        let digits = percent_decode(value, Plus::Space).ok_or_else(|| bad(reason))?;
        if seconds.is_some() || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(bad(reason));
        }
        let text = std::str::from_utf8(&digits).map_err(|_| bad(reason))?;
        // What is too long for a number is more than may be.
        seconds = Some(text.parse().unwrap_or(u64::MAX).min(POLL_SECONDS_MAX));
    }
    Ok(Duration::from_secs(seconds.unwrap_or(POLL_SECONDS)))
}

/// Sets what may be given once, or refuses with `reason`.
fn set_once<T: FromStr>(
    slot: &mut Option<T>,
    value: &[u8],
    reason: &'static str,
) -> Result<(), Refusal> {
    if slot.is_some() {
        return Err(bad("format and since may be given once each"));
    }
    let value = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    *slot = Some(value.ok_or_else(|| bad(reason))?);
    Ok(())
}

fn bad(reason: &'static str) -> Refusal {
    Refusal::new(Status::BadRequest, reason)
}

/// What `+` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    /// Itself, as in paths.
    Plus,
    /// A space, as in queries (application/x-www-form-urlencoded).
    Space,
}

/// `bytes` with percent escapes replaced, once; `None` where `%` is not followed by two hexadecimal
/// digits.
pub(super) fn percent_decode(bytes: &[u8], plus: Plus) -> Option<Cow<'_, [u8]>> {
    let is_escaped = |byte: &u8| *byte == b'%' || (*byte == b'+' && plus == Plus::Space);
    if !bytes.iter().any(is_escaped) {
        return Some(Cow::Borrowed(bytes));
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'%' => {
                let [high, low, tail @ ..] = tail else { return None };
                decoded.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                rest = tail;
            }
            b'+' if plus == Plus::Space => decoded.push(b' '),
            byte => decoded.push(*byte),
        }
    }
    Some(Cow::Owned(decoded))
}

fn hex_digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    Some(u8::try_from(digit).expect("a hexadecimal digit is below 16"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Seq;

    fn subscribe(query: &str) -> Result<Subscribe, &'static str> {
        Subscribe::from_query(query.as_bytes(), 4).map_err(|refusal| {
            assert_eq!(refusal.status, Status::BadRequest);
            refusal.reason
        })
    }

    fn topics(query: &str) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let subscribe = subscribe(query).unwrap();
        (subscribe.prefixes, subscribe.exact)
    }

    #[test]
    fn topics_are_bytes() {
        assert_eq!(topics("topic=a%2fb&exact=%ff%00&topic=c+d%2B"), {
            (vec![b"a/b".to_vec(), b"c d+".to_vec()], vec![b"\xff\0".to_vec()])
        });
        assert_eq!(topics("topic=\u{e9}=1"), (vec!["\u{e9}=1".as_bytes().to_vec()], vec![]));
        assert_eq!(topics("t%6fpic=a"), (vec![b"a".to_vec()], vec![]));
    }

    #[test]
    fn an_empty_topic_is_everything_and_no_topic_is_none() {
        assert_eq!(topics("topic="), (vec![vec![]], vec![]));
        assert_eq!(topics("topic"), (vec![vec![]], vec![]));
        for query in ["", "&", "&&=&=x", "Topic=a", "topics=a", "token=secret", "x=%zz&%zz=1"] {
            assert_eq!(subscribe(query), Ok(Subscribe::default()), "{query:?}");
        }
    }

    #[test]
    fn format_and_since() {
        let all = subscribe("since=k3x9-42&format=json").unwrap();
        assert_eq!(all.format, Some(Format::Json));
        assert_eq!(all.since.unwrap().seq, Seq(42));
    }

    #[test]
    fn refusals() {
        for query in [
            "format=xml",
            "format=",
            "format",
            "format=JSON",
            "format=raw&format=raw",
            "format=%ff",
            "since=",
            "since=1",
            "since=k3x9-1&since=k3x9-1",
            "since=k3x9-%00",
            "topic=%",
            "topic=%2",
            "topic=%g0",
            "topic=%+1",
            "exact=a%zz",
            "topic=a&topic=b&exact=c&exact=d&topic=a",
        ] {
            assert!(subscribe(query).is_err(), "{query:?}");
        }
        assert_eq!(subscribe("topic&topic&topic&exact").map(|it| it.prefixes.len()), Ok(3));
    }
}
