//! The steps that requests take for Engine.IO's sessions: they open one, wait for packets, bring some, or become its
//! WebSocket. Knows no socket.

#[cfg(test)]
mod socket_tests;
#[cfg(test)]
mod tests;

use std::time::Instant;

use super::Context;
use super::context::{Asking, Peer, wish};
use crate::error::CloseReason;
use crate::feed::Owner;
use crate::hooks::{Happened, Panicked, Topics};
use crate::http::engine_io::{BAD_REQUEST, UNKNOWN_SESSION};
use crate::http::{
    After, BodyLength, Exchange, Outcome, Refusal, Status, Subscribe, Upgrade, response,
};
use crate::metrics::Transport;
use crate::session::Session;
use crate::session::engine_io::{EngineCarrier, Heard, PACKETS, SessionKey};
use crate::wire::socket_io::Arguments;
use crate::wire::{Format, WireFormat, engine_io, websocket};

impl Context {
    /// Does one step of a session, and returns what else becomes of the request.
    pub(super) fn engine_step(
        &mut self,
        outcome: Outcome,
        asking: &Asking<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, Refusal> {
        let is_upgrade = outcome.is_upgrade();
        self.go_on_with(outcome, asking, out).map_err(|refusal| match is_upgrade {
            // What comes behind a request to upgrade may not be HTTP.
            true => refusal.and_close(),
            false => refusal,
        })
    }

    fn go_on_with(
        &mut self,
        outcome: Outcome,
        asking: &Asking<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, Refusal> {
        match outcome {
            Outcome::EngineOpen(subscribe) => {
                let (_, packet) = self.open_engine(subscribe, asking.peer, true)?;
                let after = response::write_text(out, asking.exchange, PACKETS, &packet);
                Ok(Outcome::Answered(after))
            }
            Outcome::EngineSocket { sid: None, upgrade } => {
                let Upgrade { subscribe, accept, .. } = upgrade;
                let (sid, packet) = self.open_engine(subscribe, asking.peer, false)?;
                response::write_switching_protocols(out, &accept, None, None);
                websocket::write_frame(out, websocket::TEXT, &packet);
                Ok(Outcome::EngineBegun { sid: sid.into_bytes() })
            }
            Outcome::EngineSocket { sid: Some(sid), upgrade } => {
                self.find_session(&sid)?;
                // Where the session has one already, this one is closed as soon as it is there.
                response::write_switching_protocols(out, &upgrade.accept, None, None);
                Ok(Outcome::EngineSocket { sid: Some(sid), upgrade })
            }
            Outcome::EngineRefused { sid, refusal } => {
                self.find_session(&sid)?;
                Err(refusal)
            }
            Outcome::EnginePoll { sid, request } => {
                let session = self.find_polling_session(&sid)?;
                match self.engine.admit_poll(session, &mut self.feeds) {
                    true => Ok(Outcome::EnginePoll { sid, request }),
                    false => Err(BAD_REQUEST),
                }
            }
            Outcome::EnginePost(post) => {
                let session = self.find_polling_session(&post.sid)?;
                let bytes_max = post.bytes_max as u64;
                if matches!(asking.request.body, BodyLength::Length(len) if len > bytes_max) {
                    return Err(too_large());
                }
                match self.engine.admit_post(session, post.is_binary, &mut self.feeds) {
                    true => Ok(Outcome::EnginePost(post)),
                    false => Err(BAD_REQUEST),
                }
            }
            outcome => Ok(outcome),
        }
    }

    fn find_session(&self, sid: &[u8]) -> Result<SessionKey, Refusal> {
        self.engine.find(sid).ok_or(UNKNOWN_SESSION)
    }

    fn find_polling_session(&self, sid: &[u8]) -> Result<SessionKey, Refusal> {
        let session = self.find_session(sid)?;
        if self.engine.is_upgraded(session) { Err(BAD_REQUEST) } else { Ok(session) }
    }

    /// Opens a session. Returns its id and its first packet, which says how to go on.
    fn open_engine(
        &mut self,
        subscribe: Subscribe,
        peer: &Peer,
        has_upgrades: bool,
    ) -> Result<(String, Vec<u8>), Refusal> {
        self.admit_client()?;
        if !self.engine.admit(peer.ip) {
            return Err(self.turn_down("too many sessions from this address"));
        }
        let is_json = subscribe.format.or(self.format) == Some(Format::Json);
        let arguments = match (is_json, self.engine.has_recovery()) {
            (false, false) => Arguments::Raw,
            (false, true) => Arguments::RawAndOffset,
            (true, false) => Arguments::Json,
            (true, true) => Arguments::JsonAndOffset,
        };
        let (wish, since) = wish(subscribe, WireFormat::SocketIo(arguments));
        let (session, sid) =
            self.engine.open(peer.now, peer.ip, wish, since, &self.feeds, &self.timing);
        self.metrics.client_opened(Transport::SocketIo);
        self.announce_session(session, peer)?;
        let open = engine_io::Open {
            sid: &sid,
            has_upgrades,
            ping_interval: self.timing.ping_interval,
            ping_timeout: self.timing.ping_timeout,
            payload_bytes_max: self.limits.inbound_bytes_max,
        };
        let packet = open.to_packet();
        Ok((sid, packet))
    }

    /// Has a connection carry the session that its request named. The answer to an upgrade is in `head`.
    pub(super) fn open_carrier(
        &mut self,
        now: Instant,
        owner: Owner,
        outcome: Outcome,
        head: Vec<u8>,
    ) -> Session {
        let timing = self.timing;
        let engine = &mut self.engine;
        let known = "the session was found when the request was answered";
        Session::EngineIo(match outcome {
            Outcome::EnginePoll { sid, request } => {
                let session = engine.find(&sid).expect(known);
                EngineCarrier::poll(now, session, owner, request, self.shared())
            }
            Outcome::EngineBegun { sid } => {
                EngineCarrier::begin(engine.find(&sid).expect(known), owner, head, engine)
            }
            Outcome::EngineSocket { sid: Some(sid), .. } => {
                let session = engine.find(&sid).expect(known);
                EngineCarrier::probe(now, session, owner, head, &timing, engine)
            }
            outcome => unreachable!("{outcome:?} opens no session"),
        })
    }

    /// Tells that a session is there; where that panics, it ends.
    fn announce_session(&mut self, session: SessionKey, peer: &Peer) -> Result<(), Refusal> {
        let client = session.owner().0;
        self.hooks.hand_tag_on(peer.connection, client);
        let told = self.hooks.tell(client, Transport::SocketIo, peer.ip, Happened::Connected);
        told.map_err(|Panicked| {
            self.engine.end_session(session, CloseReason::Hook, &mut self.feeds);
            Refusal::closing(Status::ServiceUnavailable, "this client cannot be served")
        })
    }

    /// Tells that a session misses something, or else what topics it gets from now on. Where that panics, it ends. Says
    /// whether `owner` is a session.
    pub(super) fn tell_of_session(&mut self, owner: Owner, has_lagged: bool) -> bool {
        let Some(session) = SessionKey::of_owner(owner) else { return false };
        let Self { engine, hooks, feeds, .. } = self;
        let Some((ip, filter)) = engine.told(session) else { return true };
        let happened = match has_lagged {
            true => Happened::Lagged,
            false => Happened::Subscribed(Topics::new(filter)),
        };
        let told = hooks.tell(owner.0, Transport::SocketIo, ip, happened);
        if told == Err(Panicked) {
            engine.end_session(session, CloseReason::Hook, feeds);
        }
        true
    }

    /// Gives a session the body that it was to have, or tells it that there is none, and appends the answer.
    pub(super) fn take_payload(
        &mut self,
        now: Instant,
        sid: &[u8],
        content: Result<Vec<u8>, Refusal>,
        out: &mut Vec<u8>,
        exchange: Exchange<'_>,
    ) -> After {
        let session = self.engine.find(sid);
        let payload = match content {
            Ok(payload) => payload,
            Err(refusal) => {
                session.into_iter().for_each(|session| self.engine.end_post(session));
                return refusal.write(out, exchange);
            }
        };
        let Some(session) = session else { return UNKNOWN_SESSION.write(out, exchange) };
        let Self { engine, feeds, timing, .. } = self;
        match engine.hear_payload(now, session, &payload, feeds, timing) {
            Heard::Said => response::write_text(out, exchange, "text/html", b"ok"),
            Heard::TooLate => BAD_REQUEST.write(out, exchange),
            Heard::Gone => UNKNOWN_SESSION.write(out, exchange),
        }
    }

    /// A body will not be complete: the session that it was for, if it still exists, ends.
    pub(super) fn give_up_body(&mut self, sid: Option<&[u8]>, reason: CloseReason) {
        if let Some(session) = sid.and_then(|sid| self.engine.find(sid)) {
            self.engine.end_session(session, reason, &mut self.feeds);
        }
    }
}

fn too_large() -> Refusal {
    Refusal::new(Status::ContentTooLarge, "the payload is too large: see maxPayload")
}
