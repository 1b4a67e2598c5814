//! What `authorize` sees of a request. Knows no route and no answer.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use crate::http::{self, Target};
use crate::metrics::Transport;

/// A request for messages, before anything is done about it; what the hook [`authorize`](crate::Builder::authorize) gets.
///
/// What is not UTF-8 counts as absent, and so does a header line that makes sense once and is there twice.
///
/// # Examples
///
/// ```
/// use zmq2ws::{Access, Denial, Gateway, Request, Transport};
///
/// fn authorize(request: &Request<'_>) -> Access {
///     log::debug!("{} {} from {:?}", request.method(), request.path(), request.peer());
///     // The host looked at its header fields before it answered the handshake.
///     if request.is_adopted() || request.cookie("session") == Some("of-alice") {
///         return Access::allow();
///     }
///     match (request.query("key").as_deref(), request.header("user-agent")) {
///         (Some("of-a-probe"), _) if request.transport() == Transport::Poll => Access::allow(),
///         (_, Some(agent)) if agent.starts_with("GoodBot/") => Access::allow_topics(["public."]),
///         _ => Access::deny(Denial::Forbidden),
///     }
/// }
///
/// let gateway = Gateway::builder().authorize(authorize).build()?;
/// # Ok::<(), zmq2ws::Error>(())
/// ```
pub struct Request<'a> {
    head: Head<'a>,
    transport: Transport,
    peer: Option<IpAddr>,
}

#[derive(Clone, Copy)]
enum Head<'a> {
    Http(&'a http::Request<'a>),
    /// Of a WebSocket whose handshake the host answered itself.
    Adopted(Target<'a>),
}

impl<'a> Request<'a> {
    pub(crate) fn new(
        head: &'a http::Request<'a>,
        transport: Transport,
        peer: Option<IpAddr>,
    ) -> Self {
        Self { head: Head::Http(head), transport, peer }
    }

    pub(crate) fn adopted(target: Target<'a>, peer: Option<IpAddr>) -> Self {
        Self { head: Head::Adopted(target), transport: Transport::WebSocket, peer }
    }

    /// `GET`, or `HEAD` where only the answer's head is asked for.
    pub fn method(&self) -> &'static str {
        match self.head {
            Head::Http(request) if request.method == http::Method::Head => "HEAD",
            _ => "GET",
        }
    }

    /// The path, such as `/ws`, percent escapes decoded.
    pub fn path(&self) -> Cow<'a, str> {
        let path = match self.head {
            Head::Http(request) => request.path,
            Head::Adopted(target) => target.path,
        };
        http::decode_path(path).and_then(text).unwrap_or(Cow::Borrowed("/"))
    }

    /// The first parameter `name` of the query, percent escapes and `+` decoded.
    pub fn query(&self, name: &str) -> Option<Cow<'a, str>> {
        let query = match self.head {
            Head::Http(request) => request.query,
            Head::Adopted(target) => target.query,
        };
        http::parameter(query, name).and_then(text)
    }

    /// The header field `name`, in any case of letters.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        match self.head {
            Head::Http(request) => std::str::from_utf8(request.field(name).once()?).ok(),
            Head::Adopted(_) => None,
        }
    }

    /// The first cookie `name`, without quotes around it.
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        let Head::Http(request) = self.head else { return None };
        let pairs = request.lines("cookie").flat_map(|line| line.split(|&byte| byte == b';'));
        let mut cookies = pairs.filter_map(|pair| {
            let (key, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
            (key.trim() == name).then(|| value.trim())
        });
        let value = cookies.next()?;
        let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        Some(unquoted.unwrap_or(value))
    }

    /// The address of the connection's other end, which is a proxy's where there is one; `None` on Unix sockets.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// What the client will be connected by.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether the host answered the handshake itself ([`Handle::adopt_websocket`](crate::Handle::adopt_websocket)), so that
    /// there are no header fields and no cookies here.
    pub fn is_adopted(&self) -> bool {
        matches!(self.head, Head::Adopted(_))
    }
}

fn text(bytes: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

/// Without the query and the header fields, which may hold secrets.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method())
            .field("path", &self.path())
            .field("transport", &self.transport)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_can_be_read() {
        let head = b"GET /w%73?topic=a&token=%c3%a9+b&token=2&bad=%ff HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n\
            X-A: 2\r\nCookie: a=1; session=\"s 1\" ;b\r\ncookie: session=2; =x;d=\r\nAccept: \xff\r\n\r\n";
        let head = http::parse_head(head, &http::Limits::default()).unwrap();
        let peer = Some(IpAddr::from([10, 0, 0, 1]));
        let request = Request::new(&head, Transport::WebSocket, peer);
        assert_eq!((request.method(), &*request.path()), ("GET", "/ws"));
        assert_eq!(request.query("token").as_deref(), Some("é b"), "the first");
        assert_eq!((request.query("bad"), request.query("none")), (None, None));
        assert_eq!((request.header("HOST"), request.header("x-a")), (Some("a"), None));
        assert_eq!((request.header("accept"), request.header("b")), (None, None));
        assert_eq!((request.cookie("session"), request.cookie("a")), (Some("s 1"), Some("1")));
        assert_eq!((request.cookie("d"), request.cookie("b")), (Some(""), None));
        assert_eq!((request.peer(), request.transport()), (peer, Transport::WebSocket));
        assert!(!format!("{request:?}").contains("session"));
    }

    #[test]
    fn an_adopted_websocket_has_a_target_only() {
        let target = Target::parse("GET", b"/live/ws?user=7").unwrap();
        let request = Request::adopted(target, None);
        assert!(request.is_adopted());
        assert_eq!((request.method(), &*request.path()), ("GET", "/live/ws"));
        assert_eq!(request.query("user").as_deref(), Some("7"));
        assert_eq!((request.header("host"), request.cookie("a")), (None, None));
    }
}
