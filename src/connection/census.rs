//! What the host program asks of all connections: to take one over, who there is, whom to close, what happened. Knows no
//! poller.

use std::net::IpAddr;
use std::time::Instant;

use super::already_read::AlreadyRead;
use super::table::ConnectionKey;
use super::{Connections, Context, SETTLED, State, Visit};
use crate::error::CloseReason;
use crate::feed::{News, Owner, TURN_TOPICS_MAX};
use crate::hooks::{self, ClientInfo, CloseCode, Guarded, Happened, Panicked};
use crate::http::{Serves, Subscribe};
use crate::metrics::Transport;
use crate::net::ByteStream;
use crate::wire::websocket::write_close;

/// News that one turn tells: each may cost what a hook takes. No fewer than the changes of topics that a turn lets clients
/// make, so that these never pile up.
const TURN_NEWS_MAX: usize = TURN_TOPICS_MAX;

/// A connection that the host accepted.
pub(crate) struct Newcomer<S> {
    pub(crate) stream: S,
    /// `None` for a Unix socket.
    pub(crate) ip: Option<IpAddr>,
    /// What the host has read of it already.
    pub(crate) input: Vec<u8>,
    /// Set where the host has answered the handshake of a WebSocket.
    pub(crate) upgraded: Option<Upgraded>,
}

/// What the request asked for that the host has answered.
pub(crate) struct Upgraded {
    pub(crate) target: Vec<u8>,
    pub(crate) subscribe: Subscribe,
}

impl<S: ByteStream> Connections<S> {
    /// Takes a connection over, unless its address has too many already, or it has sent too much: that one is told so and
    /// dropped. What it has sent waits for [`Self::begin`].
    pub(crate) fn adopt(
        &mut self,
        now: Instant,
        mut newcomer: Newcomer<S>,
        serves: Serves,
    ) -> Option<ConnectionKey> {
        let input = std::mem::take(&mut newcomer.input);
        let Ok(already_read) = AlreadyRead::new(input, &self.context.request_memory) else {
            self.turn_newcomer_away(newcomer, "too many unfinished requests");
            return None;
        };
        if !self.admits(newcomer.ip, serves) {
            self.turn_newcomer_away(newcomer, "too many connections from this address");
            return None;
        }
        let Newcomer { stream, ip, upgraded, .. } = newcomer;
        let key = self.insert(now, stream, ip, serves);
        self.keep_already_read(key, already_read);
        if let Some(upgraded) = upgraded {
            self.visit(key, |connection, context| {
                connection.open_adopted(&connection.peer(now), upgraded, context);
                SETTLED
            });
        }
        Some(key)
    }

    /// Starts to serve a connection that was taken over: with what it is owed already, then with what it has sent.
    pub(crate) fn begin(&mut self, now: Instant, key: ConnectionKey, scratch: &mut [u8]) {
        self.visit(key, |connection, context| connection.flush(now, context));
        self.handle_readable(now, key, scratch);
    }

    /// Tells a connection that is not taken over, as well as that can be done at once.
    pub(crate) fn turn_newcomer_away(&mut self, newcomer: Newcomer<S>, reason: &'static str) {
        let Newcomer { mut stream, upgraded, .. } = newcomer;
        if upgraded.is_none() {
            return self.turn_away(&mut stream, reason);
        }
        // Counted as a refusal, told as a WebSocket is.
        let _ = self.context.turn_down(reason);
        let mut goodbye = Vec::new();
        write_close(&mut goodbye, CloseReason::Refused.close_code());
        let _ = stream.write(&goodbye);
        let _ = stream.shutdown_write();
        let _ = stream.read(&mut [0; 4096]);
    }

    /// Everyone who gets messages now.
    pub(crate) fn clients(&self) -> Vec<ClientInfo> {
        self.owners().map(|(_, client)| client).collect()
    }

    /// The clients, and what they are in the table or among the sessions.
    fn owners(&self) -> impl Iterator<Item = (Owner, ClientInfo)> {
        let Context { engine, hooks, .. } = &self.context;
        let own = self.connections.iter().filter_map(|(key, connection)| {
            let State::Session(session) = &connection.state else { return None };
            // A session is one client, whatever connections it has.
            let is_client = !session.is_carrier();
            is_client.then(|| (key.owner(), session.transport(), connection.ip))
        });
        let of_sessions = engine.clients().map(|(owner, ip)| (owner, Transport::SocketIo, ip));
        own.chain(of_sessions)
            .map(|(owner, transport, ip)| (owner, hooks.client(owner.0, transport, ip)))
    }

    /// Closes the clients that `filter` picks, and returns how many.
    pub(crate) fn disconnect(
        &mut self,
        mut filter: Guarded<impl FnMut(&ClientInfo) -> bool>,
        code: CloseCode,
    ) -> usize {
        let mut picked = Vec::new();
        for (owner, client) in self.owners() {
            if filter.call(|filter| filter(&client)) == Ok(true) {
                picked.push(owner);
            }
        }
        for &owner in &picked {
            let Context { engine, feeds, .. } = &mut self.context;
            if engine.disconnect(owner, code.number(), code.may_return(), feeds) {
                continue;
            }
            self.visit(ConnectionKey::of_owner(owner), |connection, _| {
                if let State::Session(session) = &mut connection.state {
                    session.disconnect(code.number());
                }
                Visit { bytes_sent: 0, is_cut: true }
            });
        }
        picked.len()
    }

    /// Tells the host what happened to clients beyond their coming and going.
    pub(super) fn tell_news(&mut self, now: Instant) {
        for _ in 0..TURN_NEWS_MAX {
            let Some(news) = self.context.feeds.pop_news() else { return };
            let (owner, change) = match news {
                News::Lagged(owner) => (owner, None),
                News::Changed(owner, wish) => (owner, Some(wish)),
            };
            if self.context.tell_of_session(owner, change.is_none()) {
                continue;
            }
            let key = ConnectionKey::of_owner(owner);
            let Some(connection) = self.connections.get(key) else { continue };
            let State::Session(session) = &connection.state else { continue };
            let (transport, ip) = (session.transport(), connection.ip);
            let happened = match &change {
                None => Happened::Lagged,
                Some(wish) => {
                    let filter = wish.as_ref().map(|wish| &wish.filter);
                    Happened::Subscribed(hooks::Topics::new(filter))
                }
            };
            let told = self.context.hooks.tell(key.to_number(), transport, ip, happened);
            if told == Err(Panicked) {
                self.visit(key, |connection, context| {
                    if let State::Session(session) = &mut connection.state {
                        session.close(CloseReason::Hook);
                    }
                    connection.flush(now, context)
                });
            }
        }
    }
}
