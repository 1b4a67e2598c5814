//! What a host program may have a say in: who may connect, what messages look like, what it hears of clients. Knows no
//! socket and no clock.
//!
//! Hooks are called on the loop's thread, one at a time. Nothing is called, built or kept for a hook that is not set.

mod access;
mod event;
mod guard;
mod message;
mod request;

use std::collections::HashMap;
use std::net::IpAddr;

pub(crate) use access::Verdict;
pub use access::{Access, Denial};
pub(crate) use event::Happened;
pub use event::{ClientId, ClientInfo, CloseCode, Event, Topics};
pub(crate) use guard::{Guarded, Panicked};
pub use message::Message;
pub(crate) use message::{Map, Mapper};
pub use request::Request;

pub(crate) use crate::http::Allowed;
use crate::metrics::Transport;

pub(crate) type Authorize = Box<dyn FnMut(&Request<'_>) -> Access + Send>;
pub(crate) type OnEvent = Box<dyn FnMut(&Event<'_>) + Send>;

/// The hooks about clients, and the tags that they gave to clients. A client is named by the number of its connection, or
/// of its session.
#[derive(Default)]
pub(crate) struct Hooks {
    authorize: Option<Guarded<Authorize>>,
    on_event: Option<Guarded<OnEvent>>,
    /// What the host calls clients that it gave a tag.
    tags: HashMap<u64, u64>,
}

impl Hooks {
    pub(crate) fn new(authorize: Option<Authorize>, on_event: Option<OnEvent>) -> Self {
        let authorize = authorize.map(|hook| Guarded::new("authorize", hook));
        let on_event = on_event.map(|hook| Guarded::new("on_event", hook));
        Self { authorize, on_event, ..Self::default() }
    }

    /// Whether the host decides about each request for messages.
    pub(crate) fn authorizes(&self) -> bool {
        self.authorize.is_some()
    }

    /// Asks whether the request of `connection` may have what it wants; without a hook every request may.
    pub(crate) fn authorize(
        &mut self,
        connection: u64,
        request: &Request<'_>,
    ) -> Result<Access, Panicked> {
        let Some(hook) = &mut self.authorize else { return Ok(Access::allow()) };
        let access = hook.call(|hook| hook(request))?;
        match access.tag {
            Some(tag) => self.tags.insert(connection, tag),
            None => self.tags.remove(&connection),
        };
        Ok(access)
    }

    /// The `connection` opened a `session`, which is the client that its tag is for.
    pub(crate) fn hand_tag_on(&mut self, connection: u64, session: u64) {
        if !self.tags.is_empty()
            && let Some(tag) = self.tags.remove(&connection)
        {
            self.tags.insert(session, tag);
        }
    }

    /// Tells what happened to a client.
    pub(crate) fn tell(
        &mut self,
        client: u64,
        transport: Transport,
        peer: Option<IpAddr>,
        happened: Happened<'_>,
    ) -> Result<(), Panicked> {
        if self.on_event.is_none() {
            return Ok(());
        }
        let client = self.client(client, transport, peer);
        let event = happened.to(&client);
        let Some(hook) = &mut self.on_event else { return Ok(()) };
        hook.call(|hook| hook(&event))
    }

    /// What the host learns of a client.
    pub(crate) fn client(
        &self,
        client: u64,
        transport: Transport,
        peer: Option<IpAddr>,
    ) -> ClientInfo {
        let tag = self.tags.get(&client).copied();
        ClientInfo { id: ClientId::new(client), transport, peer, tag }
    }

    /// A connection or a session has ended.
    pub(crate) fn forget(&mut self, client: u64) {
        if !self.tags.is_empty() {
            self.tags.remove(&client);
        }
    }
}
