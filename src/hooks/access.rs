//! What `authorize` says: whether a request may have messages, and of which topics. Knows no request.

use crate::http::{Refusal, Status};
use crate::topics::TOPIC_BYTES_MAX;

/// Whether a client may connect, and what it may ask for; what the hook [`authorize`](crate::Builder::authorize) returns.
///
/// # Examples
///
/// ```
/// use zmq2ws::{Access, Denial};
///
/// let anything = Access::allow();
/// let some = Access::allow_topics(["weather.", "news."]).with_tag(42);
/// let nothing = Access::deny(Denial::Unauthorized);
/// # let _ = (anything, some, nothing);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Access {
    pub(crate) verdict: Verdict,
    pub(super) tag: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allow,
    AllowTopics(Vec<Vec<u8>>),
    Deny(Denial),
}

impl Access {
    /// The client may connect and ask for any topic.
    pub fn allow() -> Self {
        Self { verdict: Verdict::Allow, tag: None }
    }

    /// The client may connect and ask for topics that start with one of `prefixes`, later on ZWS as well, and whenever it
    /// joins on Socket.IO. Who asks for everything gets these prefixes; who asks for anything else is refused with 403, and
    /// on ZWS closed with 1008. An empty prefix allows everything; no prefix at all denies with 403.
    ///
    /// Prefixes of more than 255 bytes, which no client can ask for, are left out.
    pub fn allow_topics(prefixes: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        let prefixes = prefixes.into_iter().map(Into::into);
        let prefixes = prefixes.filter(|prefix: &Vec<u8>| prefix.len() <= TOPIC_BYTES_MAX);
        Self { verdict: Verdict::AllowTopics(prefixes.collect()), tag: None }
    }

    /// The client may not connect.
    pub fn deny(denial: Denial) -> Self {
        Self { verdict: Verdict::Deny(denial), tag: None }
    }

    /// Has the host know the client again: its number for a user or a session, which [`ClientInfo::tag`] tells.
    ///
    /// [`ClientInfo::tag`]: crate::ClientInfo::tag
    pub fn with_tag(self, tag: u64) -> Self {
        Self { tag: Some(tag), ..self }
    }
}

/// What a client is told that may not connect.
///
/// # Examples
///
/// ```
/// use zmq2ws::{Access, Denial, Gateway};
///
/// let gateway = Gateway::builder()
///     .authorize(|request| match request.peer() {
///         Some(ip) if ip.is_loopback() => Access::allow(),
///         _ => Access::deny(Denial::NotFound),
///     })
///     .build()?;
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Denial {
    /// 401: it has to say who it is. The challenge is `Bearer`, which browsers leave to the page.
    Unauthorized,
    /// 403: it may not, whoever it is.
    Forbidden,
    /// 404: there is nothing here, as far as it is concerned.
    NotFound,
    /// 429: it asks too often.
    TooManyRequests,
    /// 503: not now.
    Unavailable,
}

impl Denial {
    /// The answer.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Unauthorized => Refusal::unauthorized("say who you are"),
            Self::Forbidden => Refusal::new(Status::Forbidden, "this client may not connect"),
            Self::NotFound => Refusal::new(Status::NotFound, "there is nothing at this path"),
            Self::TooManyRequests => Refusal::new(Status::TooManyRequests, "too many requests"),
            Self::Unavailable => Refusal::new(Status::ServiceUnavailable, "not now"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::http::{Allowed, Subscribe};

    fn narrowed(allowed: &[&str], query: &str) -> Option<(Vec<String>, Vec<String>)> {
        let allowed = allowed.iter().map(|prefix| prefix.as_bytes().to_vec()).collect();
        let mut subscribe = Subscribe::from_query(query.as_bytes(), 10).unwrap();
        let texts = |topics: Vec<Vec<u8>>| {
            topics.into_iter().map(|it| String::from_utf8(it).unwrap()).collect()
        };
        let is_allowed = subscribe.limit_to(Allowed::new(allowed)?);
        is_allowed.then(|| (texts(subscribe.prefixes), texts(subscribe.exact)))
    }

    fn topics(prefixes: &[&str], exact: &[&str]) -> Option<(Vec<String>, Vec<String>)> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Some((owned(prefixes), owned(exact)))
    }

    #[test]
    fn who_asks_for_everything_gets_what_is_allowed() {
        for query in ["", "topic=", "topic=&exact=x", "topic=secret&topic="] {
            assert_eq!(narrowed(&["a.", "b."], query), topics(&["a.", "b."], &[]), "{query}");
        }
    }

    #[test]
    fn who_asks_for_something_else_is_refused() {
        assert_eq!(narrowed(&["a."], "topic=a.b&exact=a.c"), topics(&["a.b"], &["a.c"]));
        for query in ["topic=a", "exact=a", "topic=a.b&topic=b", "exact=a.b&exact=b"] {
            assert_eq!(narrowed(&["a."], query), None, "{query}");
        }
        assert_eq!(narrowed(&[""], "topic=x"), topics(&["x"], &[]));
        assert_eq!(narrowed(&[], ""), None, "nothing is not everything");
    }
}
