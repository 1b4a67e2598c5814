//! Turns one request into what is to be done about it, a `Route`. Knows paths and the upgrade, but
//! no answer's content.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use tungstenite::handshake::derive_accept_key;

use super::cors::{Cors, METHODS};
use super::engine_io::EngineIo;
use super::extensions::Malformed;
use super::query::{decode_path, poll_timeout};
use super::{
    BodyLength, Deflate, Field, Method, Refusal, Request, Status, Version, Wanted,
    assets::safe_path,
};
use crate::access::{OriginPolicy, is_loopback_peer};
use crate::message::Id;
use crate::metrics::Transport;
use crate::wire::Format;
use crate::wire::sse::Framing;
use crate::wire::zws;

/// What a request asks for, and may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// A file, by its path relative to the folder of files; whether it exists, and with which
    /// methods, [`super::assets::write_page`] says.
    Page(String),
    /// A WebSocket: everything about the upgrade has been checked.
    WebSocket(Upgrade),
    /// An event stream, or with HEAD only what it would be like.
    Events(Events),
    /// A poll, or with HEAD only what its answer would be like.
    Poll(Poll),
    /// A step of an Engine.IO session.
    EngineIo(EngineIo),
    /// What a page of another origin may ask here: it may, by these methods.
    Preflight(&'static str),
    /// Whether the process lives.
    Health,
    /// Whether it can serve.
    Ready,
    /// The counters.
    Metrics,
    /// The few figures that any client may see.
    Status,
}

impl Route {
    /// By what transport it would let a client in, and what that client wants, unless it says so later, as ZeroMQ's
    /// sockets do. `None` where nobody comes in who is not in already.
    pub(crate) fn newcomer(&mut self) -> Option<(Transport, Option<&mut Wanted>)> {
        match self {
            Self::WebSocket(Upgrade { zws: Some(_), .. }) => Some((Transport::Zws, None)),
            Self::WebSocket(upgrade) => Some((Transport::WebSocket, Some(&mut upgrade.wanted))),
            Self::Events(events) => Some((Transport::Sse, Some(&mut events.wanted))),
            Self::Poll(poll) => Some((Transport::Poll, Some(&mut poll.wanted))),
            Self::EngineIo(asked) => asked.opened().map(|it| (Transport::SocketIo, Some(it))),
            // The host decides about the figures as it does about messages.
            Self::Status => Some((Transport::Http, None)),
            Self::Page(_) | Self::Preflight(_) | Self::Health | Self::Ready | Self::Metrics => None,
        }
    }

    /// Whether what comes behind the request may be no HTTP.
    pub(crate) fn is_upgrade(&self) -> bool {
        match self {
            Self::WebSocket(_) => true,
            Self::EngineIo(asked) => asked.is_upgrade(),
            _ => false,
        }
    }
}

/// A valid request for a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upgrade {
    /// What the client wants to see.
    pub(crate) wanted: Wanted,
    /// The value of `Sec-WebSocket-Accept`.
    pub(crate) accept: String,
    /// What the client, a ZeroMQ socket, speaks on it.
    pub(crate) zws: Option<zws::Protocol>,
    /// How messages may be deflated, where they may.
    pub(crate) deflate: Option<Deflate>,
}

/// A valid request for an event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Events {
    /// What the client wants to see, and after what: `Last-Event-ID` before `since=`.
    pub(crate) wanted: Wanted,
    /// How the client finds its end.
    pub(crate) framing: Framing,
}

/// A valid request to wait for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Poll {
    /// What the client wants to see.
    pub(crate) wanted: Wanted,
    /// How long it waits for that.
    pub(crate) timeout: Duration,
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    /// Everything; metrics to loopback peers only.
    All,
    /// Everything but the metrics, which have a listener of their own.
    Clients,
    /// Metrics, to anyone, and health.
    Operation,
}

/// What decides about a request besides the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// What the listener serves.
    pub(crate) serves: Serves,
    /// What every path begins with, but where operation has a listener of its own: empty, or `/` and a name.
    pub(crate) prefix: &'a [u8],
    /// The other end of the connection; `None` on a Unix socket.
    pub(crate) peer: Option<IpAddr>,
    /// Which browsers' pages may get messages.
    pub(crate) origin: &'a OriginPolicy,
    /// Topics that one client may ask for.
    pub(crate) topics_max: usize,
    /// Whether messages are deflated for clients that offer it.
    pub(crate) deflates: bool,
}

#[cfg(test)]
impl<'a> Rules<'a> {
    /// Everything is served to whom `origin` lets in, and a client may ask for four topics.
    pub(super) fn plain(origin: &'a OriginPolicy) -> Self {
        let (serves, prefix, peer) = (Serves::All, b"", None);
        Self { serves, prefix, peer, origin, topics_max: 4, deflates: false }
    }
}

/// The route of `request`.
///
/// # Errors
///
/// In this order: 413 for a body that is too large; 501 for a method that HTTP does not know (RFC 9110 section 15.6.2); 400 for a
/// broken percent escape in the path; 404; 405 for a method that the path does not know; 403 for
/// metrics. For a WebSocket the order is in [`upgrade`], for an event stream in [`events`], for a poll in
/// [`poll`]. Files answer 404 and 405 themselves.
pub(crate) fn route(request: &Request<'_>, rules: &Rules<'_>) -> Result<Route, Refusal> {
    request.check_body()?;
    if request.method == Method::Unknown {
        return Err(Refusal::new(Status::NotImplemented, "unknown method"));
    }
    match (&*path(request, rules)?, rules.serves) {
        (b"/healthz", _) => readable(request, Route::Health),
        (b"/readyz", _) => readable(request, Route::Ready),
        (b"/metrics", Serves::Operation) => readable(request, Route::Metrics),
        (b"/metrics", Serves::All) => {
            let metrics = readable(request, Route::Metrics)?;
            let is_loopback =
                rules.peer.is_some_and(|peer| is_loopback_peer(peer, request.is_forwarded()));
            let refusal = Refusal::new(Status::Forbidden, "metrics are for loopback peers only");
            if is_loopback { Ok(metrics) } else { Err(refusal) }
        }
        (b"/metrics", Serves::Clients) | (_, Serves::Operation) => Err(not_found()),
        (b"/status", _) => status(request, rules),
        (b"/ws", _) => web_socket(request, rules),
        (b"/sse", _) => events(request, rules),
        (b"/poll", _) => poll(request, rules),
        (b"/socket.io/", _) => super::engine_io::route(request, rules),
        (b"/", _) if asks_for_web_socket(request) => web_socket(request, rules),
        (path, _) => safe_path(path).map(Route::Page).ok_or_else(not_found),
    }
}

/// The path below the prefix, which is itself the way to `/`.
fn path<'a>(request: &Request<'a>, rules: &Rules<'_>) -> Result<Cow<'a, [u8]>, Refusal> {
    let prefix = if rules.serves == Serves::Operation { b"" } else { rules.prefix };
    let below = match request.path.strip_prefix(prefix).ok_or_else(not_found)? {
        b"" => b"/",
        below @ [b'/', ..] => below,
        _ => return Err(not_found()),
    };
    decode_path(below)
        .ok_or_else(|| Refusal::new(Status::BadRequest, "malformed percent escape in the path"))
}

/// What pages of other origins may see of the answer to `request`: where they may connect they see every answer, refusals
/// too, but for the metrics, which are for this host's own and not for whatever page is looked at there.
pub(crate) fn cors<'a>(request: &Request<'a>, rules: &Rules<'_>) -> Cors<'a> {
    let is_operation = rules.serves == Serves::Operation
        || path(request, rules).is_ok_and(|path| &*path == b"/metrics");
    if is_operation {
        return Cors::Hidden;
    }
    Cors::Origin(request.field("origin").once().filter(|_| allows_origin(request, rules)))
}

pub(super) fn allows_origin(request: &Request<'_>, rules: &Rules<'_>) -> bool {
    match request.field("origin") {
        Field::Absent => rules.origin.allows(None, request.host),
        Field::Once(origin) => rules.origin.allows(Some(origin), request.host),
        Field::Repeated => false,
    }
}

fn foreign_origin() -> Refusal {
    Refusal::new(Status::Forbidden, "this origin may not connect: see --origin")
}

fn not_found() -> Refusal {
    Refusal::new(Status::NotFound, "there is nothing at this path")
}

/// `route`, where the method only reads.
fn readable(request: &Request<'_>, route: Route) -> Result<Route, Refusal> {
    match request.method {
        Method::Get | Method::Head => Ok(route),
        Method::Options | Method::Post | Method::Known | Method::Unknown => {
            Err(Refusal::method_not_allowed("GET, HEAD"))
        }
    }
}

pub(super) fn asks_for_web_socket(request: &Request<'_>) -> bool {
    request.list("upgrade").any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// The WebSocket's route. Whoever tried to upgrade and may not is cut off: what it sends next may
/// not be HTTP.
fn web_socket(request: &Request<'_>, rules: &Rules<'_>) -> Result<Route, Refusal> {
    if request.method != Method::Get {
        return Err(Refusal::method_not_allowed("GET"));
    }
    if !asks_for_web_socket(request) {
        return Err(Refusal::upgrade_required("this path speaks WebSocket only"));
    }
    let upgrade = upgrade(request, rules).and_then(|it| with_extensions(it, request, rules));
    upgrade.map(Route::WebSocket).map_err(Refusal::and_close)
}

/// Takes up what the client offers of extensions, if any: 400 for a list of them that is none. ZeroMQ's sockets say by
/// WebSocket what they want, which would have to be inflated, so with them nothing is agreed on; nor with Engine.IO's.
fn with_extensions(
    upgrade: Upgrade,
    request: &Request<'_>,
    rules: &Rules<'_>,
) -> Result<Upgrade, Refusal> {
    if !rules.deflates || upgrade.zws.is_some() {
        return Ok(upgrade);
    }
    match Deflate::choose(request.lines("sec-websocket-extensions")) {
        Ok(deflate) => Ok(Upgrade { deflate, ..upgrade }),
        Err(Malformed) => Err(bad("malformed Sec-WebSocket-Extensions")),
    }
}

/// Checks the client's half of the opening handshake, item by item of RFC 6455 section 4.2.1: 400
/// for what no version of the protocol allows, 426 for a version that is not 13 or not there, 400
/// for the key, 403 for the origin; only who may connect learns, by 400, what is wrong with the
/// query. Subprotocols other than ZWS are not taken up, which both ends may live with.
pub(super) fn upgrade(request: &Request<'_>, rules: &Rules<'_>) -> Result<Upgrade, Refusal> {
    let bad = |reason| Err(Refusal::new(Status::BadRequest, reason));
    if request.version == Version::Http10 {
        return bad("a WebSocket needs HTTP/1.1");
    }
    if !request.list("connection").any(|option| option.eq_ignore_ascii_case(b"upgrade")) {
        return bad("Connection does not name Upgrade: does a proxy drop it?");
    }
    if request.body != BodyLength::None {
        return bad("an upgrade has no body");
    }
    if request.field("sec-websocket-version") != Field::Once(b"13") {
        return Err(Refusal::upgrade_required("this server speaks WebSocket version 13"));
    }
    let Some(key) = request.field("sec-websocket-key").once().filter(|key| is_key(key)) else {
        return bad("Sec-WebSocket-Key must be there once, 16 bytes in base64");
    };
    if !allows_origin(request, rules) {
        return Err(foreign_origin());
    }
    let wanted = Wanted::from_query(request.query, rules.topics_max)?;
    // The slash in their names stands in no token (RFC 9110 section 5.6.2): the list is taken as it comes.
    let zws = zws::Protocol::choose(request.list("sec-websocket-protocol"));
    Ok(Upgrade { wanted, accept: derive_accept_key(key), zws, deflate: None })
}

/// What `request` wants of a path that pages of other origins may ask, or nothing where it only asks whether it may:
/// 405; 403 for the origin; only who may connect learns, by 400, what is wrong with the query. Messages cannot wait for
/// a body to end, so there must be none.
fn shared(request: &Request<'_>, rules: &Rules<'_>) -> Result<Option<Wanted>, Refusal> {
    if matches!(request.method, Method::Post | Method::Known | Method::Unknown) {
        return Err(Refusal::method_not_allowed(METHODS));
    }
    if !allows_origin(request, rules) {
        return Err(foreign_origin());
    }
    if request.method == Method::Options {
        return Ok(None);
    }
    if request.body != BodyLength::None {
        return Err(bad("a request for messages has no body"));
    }
    Wanted::from_query(request.query, rules.topics_max).map(Some)
}

fn bad(reason: &'static str) -> Refusal {
    Refusal::new(Status::BadRequest, reason)
}

/// The poll's route: as [`shared`] has it, then 400 for a format that polls have not, or a malformed time.
fn poll(request: &Request<'_>, rules: &Rules<'_>) -> Result<Route, Refusal> {
    let Some(wanted) = shared(request, rules)? else { return Ok(Route::Preflight(METHODS)) };
    if matches!(wanted.format, Some(Format::Raw | Format::Parts)) {
        return Err(bad("polls have no format but json"));
    }
    let timeout = poll_timeout(request.query)?;
    Ok(Route::Poll(Poll { wanted, timeout }))
}

/// The route of the public figures: 405 for methods that do not read, 403 for an origin that gets no messages.
fn status(request: &Request<'_>, rules: &Rules<'_>) -> Result<Route, Refusal> {
    match request.method {
        Method::Get | Method::Head | Method::Options if !allows_origin(request, rules) => {
            Err(foreign_origin())
        }
        Method::Get | Method::Head => Ok(Route::Status),
        Method::Options => Ok(Route::Preflight(METHODS)),
        Method::Post | Method::Known | Method::Unknown => Err(Refusal::method_not_allowed(METHODS)),
    }
}

/// The event stream's route: as [`shared`] has it, then 400 for a format that events have not.
fn events(request: &Request<'_>, rules: &Rules<'_>) -> Result<Route, Refusal> {
    let Some(mut wanted) = shared(request, rules)? else { return Ok(Route::Preflight(METHODS)) };
    if wanted.format == Some(Format::Parts) {
        return Err(bad("events have no format parts: expected raw or json"));
    }
    wanted.since = last_event_id(request).or(wanted.since);
    let framing = match request.version {
        Version::Http10 => Framing::Plain,
        Version::Http11 => Framing::Chunked,
    };
    Ok(Route::Events(Events { wanted, framing }))
}

/// The id that a browser sends when it comes back. What is none of ours was given by somebody else, which is nothing that
/// its page could mend: it is an id that is not known.
fn last_event_id(request: &Request<'_>) -> Option<Id> {
    let id = match request.field("last-event-id") {
        Field::Absent | Field::Once(b"") => return None,
        Field::Once(id) => std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()),
        Field::Repeated => None,
    };
    Some(id.unwrap_or(Id::FOREIGN))
}

/// Whether `key` decodes to 16 bytes. Unused bits of its last digit may be set: some clients draw
/// digits at random.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(key, [digits @ .., b'=', b'='] if digits.len() == 22 && digits.iter().all(is_digit))
}

#[cfg(test)]
mod tests;
