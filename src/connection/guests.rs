//! What the host program says of clients and hears of them: who may come in, who came, who left. Knows no socket.

use std::net::IpAddr;
use std::time::Instant;

use super::context::asked;
use super::{Connection, Context, State, Upgraded};
use crate::error::CloseReason;
use crate::feed::Owner;
use crate::hooks::{self, Access, Allowed, Happened, Panicked, Verdict};
use crate::http::{Refusal, Request, Route, Status, Target, Wanted};
use crate::metrics::Transport;
use crate::session::http::{Asked, Opening};
use crate::wire::{Format, WireFormat};

impl Context {
    /// Lets the host decide about a request for messages. What it may have of everything is put into what it wants; who
    /// changes its mind later is limited to what is returned.
    pub(super) fn authorize(
        &mut self,
        request: &Request<'_>,
        route: &mut Route,
        ip: Option<IpAddr>,
    ) -> Result<Option<Allowed>, Refusal> {
        if !self.hooks.authorizes() {
            return Ok(None);
        }
        let is_upgrade = route.is_upgrade();
        let Some((transport, wanted)) = route.newcomer() else { return Ok(None) };
        // Whoever tried to upgrade and may not is cut off: what it sends next may not be HTTP.
        let refuse = |refusal: Refusal| match is_upgrade {
            true => refusal.and_close(),
            false => refusal,
        };
        match self.hooks.authorize(&hooks::Request::new(request, transport, ip)) {
            Ok(access) => limit(access, wanted).map_err(refuse),
            Err(Panicked) => Err(Refusal::closing(
                Status::ServiceUnavailable,
                "nobody can decide about this now",
            )),
        }
    }

    /// As [`Self::authorize`], for a WebSocket whose handshake the host has answered. Fails with what it is closed for.
    pub(super) fn admit_adopted(
        &mut self,
        target: &[u8],
        mut wanted: Wanted,
        ip: Option<IpAddr>,
    ) -> Result<Opening, CloseReason> {
        self.room_for_client().map_err(|_| CloseReason::Refused)?;
        if self.hooks.authorizes() {
            let target = Target::parse("GET", target).map_err(|_| CloseReason::Denied)?;
            let request = hooks::Request::adopted(target, ip);
            let access = self.hooks.authorize(&request).map_err(|Panicked| CloseReason::Hook)?;
            limit(access, Some(&mut wanted)).map_err(|_| CloseReason::Denied)?;
        }
        let format = wanted.format.or(self.format).unwrap_or(Format::Raw);
        Ok(Opening::WebSocket(asked(wanted, WireFormat::WebSocket(format))))
    }
}

/// Applies what the host said: the topics that it allows, where these are not all.
fn limit(access: Access, wanted: Option<&mut Wanted>) -> Result<Option<Allowed>, Refusal> {
    let prefixes = match access.verdict {
        Verdict::Allow => return Ok(None),
        Verdict::AllowTopics(prefixes) => prefixes,
        Verdict::Deny(denial) => return Err(denial.refusal()),
    };
    let foreign = || Refusal::new(Status::Forbidden, "this client may not have these topics");
    let allowed = Allowed::new(prefixes).ok_or_else(foreign)?;
    if wanted.is_some_and(|wanted| !allowed.narrow(wanted)) {
        return Err(foreign());
    }
    Ok(Some(allowed))
}

impl<S> Connection<S> {
    /// Makes a WebSocket of a new connection whose handshake the host has answered. Who may not come in is told why.
    pub(super) fn open_adopted(
        &mut self,
        now: Instant,
        owner: Owner,
        upgraded: Upgraded,
        context: &mut Context,
    ) {
        let State::Http(http) = std::mem::replace(&mut self.state, State::Closed) else { return };
        let Upgraded { target, wanted } = upgraded;
        self.state = State::Session(match context.admit_adopted(&target, wanted, self.ip) {
            Ok(opening) => {
                let announced = self.announce(&opening, context);
                let mut session = context.open_session(now, opening, *http, owner);
                if let Err(Panicked) = announced {
                    session.close(CloseReason::Hook);
                }
                session
            }
            Err(reason) => context.open_refused(now, reason),
        });
    }

    /// Tells that the connection is about to become a client's.
    pub(super) fn announce(
        &self,
        opening: &Opening,
        context: &mut Context,
    ) -> Result<(), Panicked> {
        let hooks = &mut context.hooks;
        let (transport, asked) = match opening {
            Opening::WebSocket(asked) => (Transport::WebSocket, Some(asked)),
            Opening::Sse(asked, _) => (Transport::Sse, Some(asked)),
            Opening::Poll(asked, ..) => (Transport::Poll, Some(asked)),
            Opening::Zws(..) => (Transport::Zws, None),
            // They carry a client that was told of when its session was opened.
            Opening::EngineIo(_) => return Ok(()),
        };
        hooks.tell(transport, self.ip, Happened::Connected)?;
        let Some(Asked { wish, .. }) = asked else { return Ok(()) };
        let topics = hooks::Topics::new(Some(&wish.filter));
        hooks.tell(transport, self.ip, Happened::Subscribed(topics))
    }

    /// Tells that the client is one no more. Whether that panics makes no difference to it.
    pub(super) fn announce_end(
        &self,
        transport: Transport,
        reason: CloseReason,
        context: &mut Context,
    ) {
        if transport != Transport::Http {
            let _ = context.hooks.tell(transport, self.ip, Happened::Closed(reason));
        }
    }
}
