//! The host program's say about clients: it may refuse them, limits their topics, and hears of their coming and going. Knows
//! no socket.

use super::Context;
use super::context::Peer;
use crate::error::CloseReason;
use crate::feed::Wish;
use crate::hooks::{self, Access, Allowed, Happened, Panicked, Verdict};
use crate::http::{Outcome, Refusal, Request, Status, Subscribe, Target, Upgrade};
use crate::metrics::Transport;

impl Context {
    /// Lets the host decide about a request for messages, and limits it to the topics that the host allows.
    pub(super) fn authorize(
        &mut self,
        peer: &Peer,
        request: &Request<'_>,
        mut outcome: Outcome,
    ) -> Result<Outcome, Refusal> {
        if !self.hooks.authorizes() {
            return Ok(outcome);
        }
        let is_upgrade = outcome.is_upgrade();
        // The host decides about the public figures as it does about messages.
        let mut every_topic = Subscribe::default();
        let asked = match &mut outcome {
            Outcome::Status => Some((Transport::Http, &mut every_topic)),
            outcome => outcome.newcomer(),
        };
        let Some((transport, subscribe)) = asked else { return Ok(outcome) };
        let request = hooks::Request::new(request, transport, peer.ip);
        let access = self.hooks.authorize(peer.connection, &request).map_err(|Panicked| {
            Refusal::closing(Status::ServiceUnavailable, "nobody can decide about this now")
        })?;
        match limit(access, subscribe, transport) {
            Ok(()) => Ok(outcome),
            // A refused upgrade closes: the bytes behind it may not be HTTP.
            Err(refusal) if is_upgrade => Err(refusal.and_close()),
            Err(refusal) => Err(refusal),
        }
    }

    /// As [`Self::authorize`], for a WebSocket whose handshake the host has answered. Fails with the reason to close it.
    pub(super) fn authorize_adopted(
        &mut self,
        peer: &Peer,
        target: &[u8],
        mut subscribe: Subscribe,
    ) -> Result<Outcome, CloseReason> {
        self.admit_client().map_err(|_| CloseReason::Refused)?;
        if self.hooks.authorizes() {
            let target = Target::parse("GET", target).map_err(|_| CloseReason::Denied)?;
            let request = hooks::Request::adopted(target, peer.ip);
            let access = self.hooks.authorize(peer.connection, &request);
            let access = access.map_err(|Panicked| CloseReason::Hook)?;
            limit(access, &mut subscribe, Transport::WebSocket).map_err(|_| CloseReason::Denied)?;
        }
        let accept = String::new();
        Ok(Outcome::WebSocket(Upgrade { subscribe, accept, zws: None, deflate: None }))
    }

    /// Tells the host that a connection is about to become a client's, which gets the messages of `wish`.
    pub(super) fn announce(
        &mut self,
        peer: &Peer,
        transport: Transport,
        wish: Option<&Wish>,
    ) -> Result<(), Panicked> {
        let &Peer { connection, ip, .. } = peer;
        self.hooks.tell(connection, transport, ip, Happened::Connected)?;
        let Some(wish) = wish else { return Ok(()) };
        let topics = hooks::Topics::new(Some(&wish.filter));
        self.hooks.tell(connection, transport, ip, Happened::Subscribed(topics))
    }
}

/// Applies the host's decision. A client of ZWS asks for topics later: it is limited then.
fn limit(access: Access, subscribe: &mut Subscribe, transport: Transport) -> Result<(), Refusal> {
    let prefixes = match access.verdict {
        Verdict::Allow => return Ok(()),
        Verdict::AllowTopics(prefixes) => prefixes,
        Verdict::Deny(denial) => return Err(denial.refusal()),
    };
    let foreign = || Refusal::new(Status::Forbidden, "this client may not have these topics");
    let allowed = Allowed::new(prefixes).ok_or_else(foreign)?;
    if transport == Transport::Zws {
        subscribe.allowed = Some(allowed);
    } else if !subscribe.limit_to(allowed) {
        return Err(foreign());
    }
    Ok(())
}
