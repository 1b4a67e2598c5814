//! What a request to Engine.IO asks for, and the refusals that its clients know: in the reference server's order, so that
//! they are told the same.

use super::query::text_parameter;
use super::route::{Upgrade, upgrade};
use super::{BodyLength, Method, Refusal, Request, Rules, Status, Wanted};
use crate::wire::Format;

/// The methods that are served, and asking about them.
pub(super) const METHODS: &str = "GET, POST, OPTIONS";

/// A request that may be met, if its session is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineIo {
    /// The session that it belongs to; none yet where it opens one.
    pub(crate) sid: Option<Vec<u8>>,
    /// What it does.
    pub(crate) step: EngineStep,
}

/// What a request does for its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EngineStep {
    /// It waits for packets; or opens a session whose client wants this.
    Poll(Wanted),
    /// Its body has packets.
    Post {
        /// Whether the body is of a type that has none.
        is_binary: bool,
    },
    /// It becomes a WebSocket.
    Upgrade(Upgrade),
    /// Nothing that there is, which is told to nobody who does not know a session.
    Nothing(Refusal),
}

/// The session is not there, or not any more.
pub(crate) const UNKNOWN_SESSION: Refusal =
    Refusal::engine_io(Status::BadRequest, 1, "Session ID unknown");
/// Not now, or not so.
pub(crate) const BAD_REQUEST: Refusal = bad_request("Bad request");
pub(super) const FORBIDDEN: Refusal = Refusal::engine_io(Status::Forbidden, 4, "Forbidden");

const fn bad_request(reason: &'static str) -> Refusal {
    Refusal::engine_io(Status::BadRequest, 3, reason)
}

/// The step that `request` asks for; its origin was checked.
pub(super) fn engine_io(request: &Request<'_>, rules: &Rules<'_>) -> Result<EngineIo, Refusal> {
    let refusal = |code, reason| Err(Refusal::engine_io(Status::BadRequest, code, reason));
    let is_websocket = match text_parameter(request.query, b"transport").as_deref() {
        Some(b"polling") => false,
        Some(b"websocket") => true,
        _ => return refusal(0, "Transport unknown"),
    };
    let sid = text_parameter(request.query, b"sid").filter(|sid| !sid.is_empty());
    let is_upgrade = super::route::asks_for_web_socket(request);
    if sid.is_none() {
        if request.method != Method::Get {
            return refusal(2, "Bad handshake method");
        }
        if is_websocket != is_upgrade {
            return Err(BAD_REQUEST);
        }
    }
    // Who comes for a session knows by now which version it speaks, and may leave it out.
    match text_parameter(request.query, b"EIO").as_deref() {
        Some(b"4") => {}
        None if sid.is_some() => {}
        _ => return refusal(5, "Unsupported protocol version"),
    }
    let step = match (request.method, is_websocket, is_upgrade) {
        (Method::Get, true, true) => {
            let upgrade = upgrade(request, rules).map_err(|refusal| bad_request(refusal.reason))?;
            EngineStep::Upgrade(upgrade)
        }
        (Method::Get, false, false) if request.body == BodyLength::None => {
            let wanted = Wanted::from_query(request.query, rules.topics_max);
            EngineStep::Poll(wanted.map_err(|refusal| bad_request(refusal.reason))?)
        }
        (Method::Post, false, false) => {
            let content_type = request.field("content-type").once().unwrap_or_default();
            let is_binary = content_type.eq_ignore_ascii_case(b"application/octet-stream");
            EngineStep::Post { is_binary }
        }
        (Method::Get | Method::Post, ..) => EngineStep::Nothing(BAD_REQUEST),
        _ => EngineStep::Nothing(Refusal::method_not_allowed(METHODS)),
    };
    if let EngineStep::Poll(wanted) | EngineStep::Upgrade(Upgrade { wanted, .. }) = &step
        && wanted.format == Some(Format::Parts)
    {
        return Err(bad_request("Socket.IO has no format parts: expected raw or json"));
    }
    Ok(EngineIo { sid, step })
}
