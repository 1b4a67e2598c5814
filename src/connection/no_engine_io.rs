//! In place of `engine_io` where the feature `socket-io` is left out: there are no sessions to do anything for.

use std::time::Instant;

use super::context::Asking;
use super::{Connections, Context};
use crate::error::CloseReason;
use crate::feed::Owner;
use crate::http::engine_io::EngineIo;
use crate::http::{After, Exchange, Refusal};
use crate::net::ByteStream;
use crate::session::engine_io::SessionKey;
use crate::session::http::Reply;

impl Context {
    pub(super) fn engine_step(
        &mut self,
        asked: EngineIo,
        _asking: &Asking<'_>,
        _out: &mut Vec<u8>,
    ) -> Reply {
        match asked {}
    }

    pub(super) fn tell_of_session(&mut self, _owner: Owner, _has_lagged: bool) -> bool {
        false
    }

    pub(super) fn take_payload(
        &mut self,
        _now: Instant,
        session: SessionKey,
        _content: Result<Vec<u8>, Refusal>,
        _out: &mut Vec<u8>,
        _exchange: Exchange,
    ) -> After {
        match session {}
    }

    pub(super) fn give_up_body(&mut self, _session: Option<SessionKey>, _reason: CloseReason) {}
}

impl<S: ByteStream> Connections<S> {
    pub(super) fn follow_sessions(&mut self) {}
}
