//! Turns one request into its outcome. Knows paths and the upgrade, but no answer's content.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use tungstenite::handshake::derive_accept_key;

use super::cors::{Cors, METHODS};
use super::engine_io::{EnginePost, engine_io};
use super::extensions::Malformed;
use super::query::{decode_path, poll_timeout};
use super::{
    After, BodyLength, Date, Deflate, Exchange, Field, HeldRequest, Method, Refusal, Request,
    Status, Subscribe, Version, assets::safe_path,
};
use crate::access::{OriginPolicy, is_loopback_peer};
use crate::message::Id;
use crate::metrics::Transport;
use crate::wire::Format;
use crate::wire::sse::Framing;
use crate::wire::zws;

/// What becomes of a request. The router makes it; the answer, or the session that it opens, consumes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its answer is written.
    Answered(After),
    /// A file, by its path relative to the folder of files; [`super::assets::write_page`] decides whether it exists, and
    /// with which methods.
    Page(String),
    /// The answer to a preflight: these methods.
    Preflight(&'static str),
    /// Whether the process lives.
    Health,
    /// Whether it can serve.
    Ready,
    /// The counters.
    Metrics,
    /// The connection becomes a WebSocket.
    WebSocket(Upgrade),
    /// The connection becomes an event stream; with HEAD only the head of one is sent.
    Events { subscribe: Subscribe, framing: Framing },
    /// The request waits for messages; with HEAD only the head of an answer is sent.
    Poll { subscribe: Subscribe, timeout: Duration, request: HeldRequest },
    /// Opens a session of Engine.IO, whose first packet is the answer.
    EngineOpen(Subscribe),
    /// The request waits for packets of the session `sid`.
    EnginePoll { sid: Vec<u8>, request: HeldRequest },
    /// The session is to have the body.
    EnginePost(EnginePost),
    /// The body of such a request is complete, or never will be.
    EngineBody { post: EnginePost, content: Result<Vec<u8>, Refusal> },
    /// The connection becomes a WebSocket of a session: of the one named `sid`, or of one that it opens.
    EngineSocket { sid: Option<Vec<u8>>, upgrade: Upgrade },
    /// The connection becomes the WebSocket of the session `sid`, which began with it.
    EngineBegun { sid: Vec<u8> },
    /// Nothing that exists; only a client that knows the session `sid` hears why.
    EngineRefused { sid: Vec<u8>, refusal: Refusal },
    /// The few figures that any client may see.
    Status,
}

impl Outcome {
    /// The transport and the subscribe request of a client that this lets in. `None` where it lets in no new client.
    pub(crate) fn newcomer(&mut self) -> Option<(Transport, &mut Subscribe)> {
        match self {
            Self::WebSocket(Upgrade { zws: Some(_), subscribe, .. }) => {
                Some((Transport::Zws, subscribe))
            }
            Self::WebSocket(Upgrade { subscribe, .. }) => Some((Transport::WebSocket, subscribe)),
            Self::Events { subscribe, .. } => Some((Transport::Sse, subscribe)),
            Self::Poll { subscribe, .. } => Some((Transport::Poll, subscribe)),
            Self::EngineOpen(subscribe) => Some((Transport::SocketIo, subscribe)),
            Self::EngineSocket { sid: None, upgrade } => {
                Some((Transport::SocketIo, &mut upgrade.subscribe))
            }
            _ => None,
        }
    }

    /// Whether the bytes behind the request may not be HTTP.
    pub(crate) fn is_upgrade(&self) -> bool {
        matches!(self, Self::WebSocket(_) | Self::EngineSocket { .. })
    }
}

/// A valid request for a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upgrade {
    /// What the client asks to get; with ZWS it asks later.
    pub(crate) subscribe: Subscribe,
    /// The value of `Sec-WebSocket-Accept`.
    pub(crate) accept: String,
    /// The protocol that the client, a ZeroMQ socket, speaks on it.
    pub(crate) zws: Option<zws::Protocol>,
    /// How messages may be deflated, where they may.
    pub(crate) deflate: Option<Deflate>,
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
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
    pub(crate) role: Role,
    /// What every path begins with, but where operation has a listener of its own: empty, or `/` and a name.
    pub(crate) prefix: &'a [u8],
    /// The other end of the connection; `None` on a Unix socket.
    pub(crate) peer: Option<IpAddr>,
    /// Which browsers' pages may get messages.
    pub(crate) origin: &'a OriginPolicy,
    /// Topics that one client may ask for.
    pub(crate) topics_max: usize,
    /// Bytes that the body of one request may bring to a session of Engine.IO.
    pub(crate) payload_bytes_max: usize,
    /// Whether messages are deflated for clients that offer it.
    pub(crate) deflates: bool,
    /// The time of day; `None` leaves it out of answers.
    pub(crate) date: Option<Date>,
    /// Whether another request may follow on the connection.
    pub(crate) keeps_alive: bool,
}

#[cfg(test)]
impl<'a> Rules<'a> {
    /// Everything is served to whom `origin` lets in, and a client may ask for four topics.
    pub(super) fn plain(origin: &'a OriginPolicy) -> Self {
        let (role, prefix, peer) = (Role::All, b"", None);
        let (topics_max, deflates, date, keeps_alive) = (4, false, None, true);
        let payload_bytes_max = 4096;
        Self {
            role,
            prefix,
            peer,
            origin,
            topics_max,
            payload_bytes_max,
            deflates,
            date,
            keeps_alive,
        }
    }
}

/// A request, and what the rules say of it: what its path's route and its answer need to know, found out once.
pub(super) struct Asked<'r, 'a> {
    pub(super) request: &'r Request<'a>,
    pub(super) rules: &'r Rules<'r>,
    pub(super) exchange: Exchange<'a>,
    pub(super) is_origin_allowed: bool,
}

/// What the answer to `request` needs to know, and the outcome of the request.
///
/// # Errors
///
/// In this order: 413 for a body that is too large; 501 for a method that HTTP does not know (RFC 9110 section 15.6.2); 400 for a
/// broken percent escape in the path; 404; 405 for a method that the path does not know; 403 for
/// metrics. For a WebSocket the order is in [`upgrade`], for an event stream in [`events`], for a poll in
/// [`poll`]. Files answer 404 and 405 themselves.
pub(crate) fn route<'a>(
    request: &Request<'a>,
    rules: &Rules<'_>,
) -> (Exchange<'a>, Result<Outcome, Refusal>) {
    let path = path(request, rules);
    let is_origin_allowed = allows_origin(request, rules);
    // Pages that may connect see every answer, refusals too, except the metrics, which are for this host.
    let is_metrics = path.as_ref().is_ok_and(|path| &**path == b"/metrics");
    let cors = match rules.role {
        Role::Operation => Cors::Hidden,
        Role::All | Role::Clients if is_metrics => Cors::Hidden,
        Role::All | Role::Clients => {
            Cors::Origin(request.field("origin").once().filter(|_| is_origin_allowed))
        }
    };
    let mut exchange = Exchange { date: rules.date, cors, ..request.exchange() };
    exchange.keep_alive &= rules.keeps_alive;
    let asked = Asked { request, rules, exchange, is_origin_allowed };
    (exchange, asked.outcome(path))
}

impl Asked<'_, '_> {
    fn outcome(&self, path: Result<Cow<'_, [u8]>, Refusal>) -> Result<Outcome, Refusal> {
        let Self { request, rules, .. } = self;
        request.check_body()?;
        if request.method == Method::Unknown {
            return Err(Refusal::new(Status::NotImplemented, "unknown method"));
        }
        match (&*path?, rules.role) {
            (b"/healthz", _) => readable(request, Outcome::Health),
            (b"/readyz", _) => readable(request, Outcome::Ready),
            (b"/metrics", Role::Operation) => readable(request, Outcome::Metrics),
            (b"/metrics", Role::All) => {
                let metrics = readable(request, Outcome::Metrics)?;
                let is_loopback =
                    rules.peer.is_some_and(|peer| is_loopback_peer(peer, request.is_forwarded()));
                let refusal =
                    Refusal::new(Status::Forbidden, "metrics are for loopback peers only");
                if is_loopback { Ok(metrics) } else { Err(refusal) }
            }
            (b"/metrics", Role::Clients) | (_, Role::Operation) => Err(not_found()),
            (b"/status", _) => status(self),
            (b"/ws", _) => web_socket(self),
            (b"/sse", _) => events(self),
            (b"/poll", _) => poll(self),
            (b"/socket.io/", _) => engine_io(self),
            (b"/", _) if asks_for_web_socket(request) => web_socket(self),
            (path, _) => safe_path(path).map(Outcome::Page).ok_or_else(not_found),
        }
    }
}

/// The path below the prefix, which is itself the way to `/`.
fn path<'a>(request: &Request<'a>, rules: &Rules<'_>) -> Result<Cow<'a, [u8]>, Refusal> {
    let prefix = if rules.role == Role::Operation { b"" } else { rules.prefix };
    let below = match request.path.strip_prefix(prefix).ok_or_else(not_found)? {
        b"" => b"/",
        below @ [b'/', ..] => below,
        _ => return Err(not_found()),
    };
    decode_path(below)
        .ok_or_else(|| Refusal::new(Status::BadRequest, "malformed percent escape in the path"))
}

fn allows_origin(request: &Request<'_>, rules: &Rules<'_>) -> bool {
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

/// `outcome`, where the method only reads.
fn readable(request: &Request<'_>, outcome: Outcome) -> Result<Outcome, Refusal> {
    match request.method {
        Method::Get | Method::Head => Ok(outcome),
        Method::Options | Method::Post | Method::Known | Method::Unknown => {
            Err(Refusal::method_not_allowed("GET, HEAD"))
        }
    }
}

pub(super) fn asks_for_web_socket(request: &Request<'_>) -> bool {
    request.list("upgrade").any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// The outcome of a request for a WebSocket. A refused upgrade closes: the bytes behind it may not be HTTP.
fn web_socket(asked: &Asked<'_, '_>) -> Result<Outcome, Refusal> {
    if asked.request.method != Method::Get {
        return Err(Refusal::method_not_allowed("GET"));
    }
    if !asks_for_web_socket(asked.request) {
        return Err(Refusal::upgrade_required("this path speaks WebSocket only"));
    }
    let upgrade = upgrade(asked).and_then(|it| with_extensions(it, asked));
    upgrade.map(Outcome::WebSocket).map_err(Refusal::and_close)
}

/// Takes up the extensions that the client offers, if any: 400 for a malformed list of them. ZeroMQ's sockets say by WebSocket
/// what they want, which would have to be inflated, so with them nothing is agreed on; nor with Engine.IO's.
fn with_extensions(upgrade: Upgrade, asked: &Asked<'_, '_>) -> Result<Upgrade, Refusal> {
    if !asked.rules.deflates || upgrade.zws.is_some() {
        return Ok(upgrade);
    }
    match Deflate::choose(asked.request.lines("sec-websocket-extensions")) {
        Ok(deflate) => Ok(Upgrade { deflate, ..upgrade }),
        Err(Malformed) => Err(bad("malformed Sec-WebSocket-Extensions")),
    }
}

/// Checks the client's half of the opening handshake, item by item of RFC 6455 section 4.2.1: 400
/// for what no version of the protocol allows, 426 for a version that is not 13 or not there, 400
/// for the key, 403 for the origin; only a client that may connect learns, by 400, what is wrong with the
/// query. Subprotocols other than ZWS are not taken up, which both ends may live with.
pub(super) fn upgrade(asked: &Asked<'_, '_>) -> Result<Upgrade, Refusal> {
    let Asked { request, rules, .. } = asked;
    if request.version == Version::Http10 {
        return Err(bad("a WebSocket needs HTTP/1.1"));
    }
    if !request.list("connection").any(|option| option.eq_ignore_ascii_case(b"upgrade")) {
        return Err(bad("Connection does not name Upgrade: does a proxy drop it?"));
    }
    if request.body != BodyLength::None {
        return Err(bad("an upgrade has no body"));
    }
    if request.field("sec-websocket-version") != Field::Once(b"13") {
        return Err(Refusal::upgrade_required("this server speaks WebSocket version 13"));
    }
    let Some(key) = request.field("sec-websocket-key").once().filter(|key| is_key(key)) else {
        return Err(bad("Sec-WebSocket-Key must be there once, 16 bytes in base64"));
    };
    if !asked.is_origin_allowed {
        return Err(foreign_origin());
    }
    let subscribe = Subscribe::from_query(request.query, rules.topics_max)?;
    // The slash in their names stands in no token (RFC 9110 section 5.6.2): the list is taken as it comes.
    let zws = zws::Protocol::choose(request.list("sec-websocket-protocol"));
    Ok(Upgrade { subscribe, accept: derive_accept_key(key), zws, deflate: None })
}

/// The subscribe request on a path that pages of other origins may ask, or `None` for a preflight: 405; 403 for the origin;
/// only a client that may connect learns, by 400, what is wrong with the query. Messages cannot wait for a body to end, so
/// there must be none.
fn shared(asked: &Asked<'_, '_>) -> Result<Option<Subscribe>, Refusal> {
    let Asked { request, rules, .. } = asked;
    if matches!(request.method, Method::Post | Method::Known | Method::Unknown) {
        return Err(Refusal::method_not_allowed(METHODS));
    }
    if !asked.is_origin_allowed {
        return Err(foreign_origin());
    }
    if request.method == Method::Options {
        return Ok(None);
    }
    if request.body != BodyLength::None {
        return Err(bad("a request for messages has no body"));
    }
    Subscribe::from_query(request.query, rules.topics_max).map(Some)
}

fn bad(reason: &'static str) -> Refusal {
    Refusal::new(Status::BadRequest, reason)
}

/// The outcome of a poll: as [`shared`] has it, then 400 for a format that polls have not, or a malformed time.
fn poll(asked: &Asked<'_, '_>) -> Result<Outcome, Refusal> {
    let Some(subscribe) = shared(asked)? else { return Ok(Outcome::Preflight(METHODS)) };
    if matches!(subscribe.format, Some(Format::Raw | Format::Parts)) {
        return Err(bad("polls have no format but json"));
    }
    let timeout = poll_timeout(asked.request.query)?;
    Ok(Outcome::Poll { subscribe, timeout, request: HeldRequest::new(&asked.exchange) })
}

/// The outcome of a request for the public figures: 405 for methods that do not read, 403 for an origin that gets no
/// messages.
fn status(asked: &Asked<'_, '_>) -> Result<Outcome, Refusal> {
    match asked.request.method {
        Method::Get | Method::Head | Method::Options if !asked.is_origin_allowed => {
            Err(foreign_origin())
        }
        Method::Get | Method::Head => Ok(Outcome::Status),
        Method::Options => Ok(Outcome::Preflight(METHODS)),
        Method::Post | Method::Known | Method::Unknown => Err(Refusal::method_not_allowed(METHODS)),
    }
}

/// The outcome of a request for events: as [`shared`] has it, then 400 for a format that events have not.
fn events(asked: &Asked<'_, '_>) -> Result<Outcome, Refusal> {
    let Some(mut subscribe) = shared(asked)? else { return Ok(Outcome::Preflight(METHODS)) };
    if subscribe.format == Some(Format::Parts) {
        return Err(bad("events have no format parts: expected raw or json"));
    }
    subscribe.since = last_event_id(asked.request).or(subscribe.since);
    let framing = match asked.request.version {
        Version::Http10 => Framing::Plain,
        Version::Http11 => Framing::Chunked,
    };
    Ok(Outcome::Events { subscribe, framing })
}

/// The id that a browser sends when it reconnects. An id that another server gave is an unknown id: the page could not mend
/// it.
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
