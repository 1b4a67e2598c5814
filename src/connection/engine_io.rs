//! What requests do for Engine.IO's sessions: open them, wait for packets, bring some, become their WebSockets; and what
//! connections do for them. Knows no socket.

#[cfg(test)]
mod socket_tests;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Instant;

use super::context::{Asking, asked};
use super::{ConnectionKey, Connections, Context, State, Visit};
use crate::error::CloseReason;
use crate::feed::Owner;
use crate::hooks::{Happened, Panicked, Topics};
use crate::http::engine_io::{BAD_REQUEST, EngineIo, EngineStep, UNKNOWN_SESSION};
use crate::http::{After, BodyLength, Exchange, Refusal, Status, Upgrade, response};
use crate::metrics::Transport;
use crate::net::ByteStream;
use crate::session::Session;
use crate::session::engine_io::{Ended, EngineOpening, Heard, PACKETS, SessionKey};
use crate::session::http::{HeldRequest, Opening, Reply};
use crate::wire::socket_io::Arguments;
use crate::wire::{Format, WireFormat, engine_io, websocket};

impl Context {
    /// Does one step of a session.
    pub(super) fn engine_step(
        &mut self,
        asked: EngineIo,
        asking: &Asking<'_>,
        out: &mut Vec<u8>,
    ) -> Reply {
        let is_upgrade = matches!(asked.step, EngineStep::Upgrade(_));
        let exchange = asking.exchange;
        let reply = match asked.sid {
            None => self.open_engine(asked.step, asking, out),
            Some(sid) => match self.engine.find(&sid) {
                Some(session) => self.go_on_with(session, asked.step, asking, out),
                None => Err(UNKNOWN_SESSION),
            },
        };
        reply.unwrap_or_else(|refusal| {
            // What comes behind a request to upgrade may be no HTTP.
            let refusal = if is_upgrade { refusal.and_close() } else { refusal };
            Reply::Answered(refusal.write(out, exchange))
        })
    }

    /// Opens a session, whose first packet says how to go on.
    fn open_engine(
        &mut self,
        step: EngineStep,
        asking: &Asking<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Reply, Refusal> {
        let (wanted, accept) = match step {
            EngineStep::Poll(wanted) => (wanted, None),
            EngineStep::Upgrade(Upgrade { wanted, accept, .. }) => (wanted, Some(accept)),
            EngineStep::Post { .. } => return Err(BAD_REQUEST),
            EngineStep::Nothing(refusal) => return Err(refusal),
        };
        self.room_for_client()?;
        if !self.engine.admit(asking.ip) {
            return Err(self.turn_down("too many sessions from this address"));
        }
        let is_json = wanted.format.or(self.format) == Some(Format::Json);
        let arguments = match (is_json, self.engine.has_recovery()) {
            (false, false) => Arguments::Raw,
            (false, true) => Arguments::RawAndOffset,
            (true, false) => Arguments::Json,
            (true, true) => Arguments::JsonAndOffset,
        };
        let asked = asked(wanted, WireFormat::SocketIo(arguments));
        let (session, sid) =
            self.engine.open(asking.now, asking.ip, asked, &self.feeds, &self.timing);
        self.metrics.client_opened(Transport::SocketIo);
        self.announce_session(session, asking.ip)?;
        let open = engine_io::Open {
            sid: &sid,
            has_upgrades: accept.is_none(),
            ping_interval: self.timing.ping_interval,
            ping_timeout: self.timing.ping_timeout,
            payload_bytes_max: self.limits.inbound_bytes_max,
        };
        let packet = open.to_packet();
        Ok(match accept {
            None => {
                let after = response::write_text(out, asking.exchange, PACKETS, &packet);
                Reply::Answered(after)
            }
            Some(accept) => {
                response::write_switching_protocols(out, &accept, None, None);
                websocket::write_frame(out, websocket::TEXT, &packet);
                let opening = EngineOpening::Socket { session, begins: true };
                Reply::Session(Opening::EngineIo(opening))
            }
        })
    }

    /// Tells that a session is there; where that panics, it ends.
    fn announce_session(&mut self, session: SessionKey, ip: Option<IpAddr>) -> Result<(), Refusal> {
        let client = session.owner().0;
        self.hooks.hand_tag_to(client);
        let told = self.hooks.tell_of(client, Transport::SocketIo, ip, Happened::Connected);
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
        let told = hooks.tell_of(owner.0, Transport::SocketIo, ip, happened);
        if told == Err(Panicked) {
            engine.end_session(session, CloseReason::Hook, feeds);
        }
        true
    }

    fn go_on_with(
        &mut self,
        session: SessionKey,
        step: EngineStep,
        asking: &Asking<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Reply, Refusal> {
        let held = HeldRequest::new(&asking.exchange);
        match step {
            EngineStep::Nothing(refusal) => Err(refusal),
            EngineStep::Upgrade(Upgrade { accept, .. }) => {
                // Where the session has one already, this one is closed as soon as it is there.
                response::write_switching_protocols(out, &accept, None, None);
                let opening = EngineOpening::Socket { session, begins: false };
                Ok(Reply::Session(Opening::EngineIo(opening)))
            }
            _ if self.engine.is_upgraded(session) => Err(BAD_REQUEST),
            EngineStep::Poll(_) => {
                if !self.engine.admit_poll(session, &mut self.feeds) {
                    return Err(BAD_REQUEST);
                }
                let opening = EngineOpening::Poll(session, held);
                Ok(Reply::Session(Opening::EngineIo(opening)))
            }
            EngineStep::Post { is_binary } => {
                let bytes_max = self.limits.inbound_bytes_max;
                if matches!(asking.request.body, BodyLength::Length(len) if len > bytes_max as u64)
                {
                    return Err(too_large());
                }
                if !self.engine.admit_post(session, is_binary, &mut self.feeds) {
                    return Err(BAD_REQUEST);
                }
                Ok(Reply::Collect(session, held, bytes_max))
            }
        }
    }

    /// Gives a session the body that it was to have, or tells it that there is none, and appends the answer.
    pub(super) fn take_payload(
        &mut self,
        now: Instant,
        session: SessionKey,
        content: Result<Vec<u8>, Refusal>,
        out: &mut Vec<u8>,
        exchange: Exchange<'_>,
    ) -> After {
        let payload = match content {
            Ok(payload) => payload,
            Err(refusal) => {
                self.engine.end_post(session);
                return refusal.write(out, exchange);
            }
        };
        let Self { engine, feeds, timing, .. } = self;
        match engine.hear_payload(now, session, &payload, feeds, timing) {
            Heard::Said => response::write_text(out, exchange, "text/html", b"ok"),
            Heard::TooLate => BAD_REQUEST.write(out, exchange),
            Heard::Gone => UNKNOWN_SESSION.write(out, exchange),
        }
    }

    /// A body will not be complete: its session, which there may be, ends.
    pub(super) fn give_up_body(&mut self, session: Option<SessionKey>, reason: CloseReason) {
        if let Some(session) = session {
            self.engine.end_session(session, reason, &mut self.feeds);
        }
    }
}

impl<S: ByteStream> Connections<S> {
    /// Has connections act for the sessions that they carry, within the turn's bounds, and counts those sessions that ended.
    pub(super) fn follow_sessions(&mut self) {
        while let Some((owner, wake)) = self.context.engine.pop_wake() {
            self.visit(ConnectionKey::of_owner(owner), |connection, _| {
                if let State::Session(Session::EngineIo(carrier)) = &mut connection.state {
                    carrier.wake(wake);
                }
                Visit { bytes_sent: 0, is_cut: true }
            });
        }
        while let Some(Ended { owner: Owner(client), reason, ip }) = self.context.engine.pop_ended()
        {
            let Context { metrics, hooks, .. } = &mut self.context;
            metrics.client_closed(Transport::SocketIo, reason);
            // Whether that panics makes no difference to it.
            let _ = hooks.tell_of(client, Transport::SocketIo, ip, Happened::Closed(reason));
            hooks.forget(client);
            log::debug!("socketio session ended: {reason}");
        }
    }
}

fn too_large() -> Refusal {
    Refusal::new(Status::ContentTooLarge, "the payload is too large: see maxPayload")
}
