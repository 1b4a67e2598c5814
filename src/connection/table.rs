//! All connections of a gateway, and which of them are to be visited: the loop without its poller, so that a test can
//! drive it with simulated streams and time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use slotmap::{Key, KeyData, SlotMap, new_key_type};

use super::context::Phase;
use super::drain::Drain;
use super::{Connection, Context, Interest, State, Visit};
use crate::error::CloseReason;
use crate::feed::Owner;
use crate::http::Serves;
use crate::metrics::Transport;
use crate::net::ByteStream;
use crate::timers::Timers;

new_key_type! {
    /// A connection. A key that outlives its connection finds nothing.
    pub(crate) struct ConnectionKey;
}

impl ConnectionKey {
    /// The key as a number whose upper half is not zero.
    pub(crate) fn to_number(self) -> u64 {
        self.data().as_ffi()
    }

    /// The key that was [`Self::to_number`].
    pub(crate) fn from_number(number: u64) -> Self {
        KeyData::from_ffi(number).into()
    }

    fn owner(self) -> Owner {
        Owner(self.to_number())
    }

    fn of_owner(Owner(number): Owner) -> Self {
        Self::from_number(number)
    }
}

/// Every connection.
pub(crate) struct Connections<S> {
    connections: SlotMap<ConnectionKey, Connection<S>>,
    pub(crate) context: Context,
    timers: Timers<ConnectionKey>,
    /// Connections whose visit was cut short.
    again: Vec<ConnectionKey>,
    /// Connections that wait for something else than the poller was told.
    changed: Vec<ConnectionKey>,
    closed: Vec<ConnectionKey>,
    per_ip: HashMap<IpAddr, usize>,
    drain: Option<Drain>,
}

impl<S: ByteStream> Connections<S> {
    pub(crate) fn new(context: Context) -> Self {
        Self {
            connections: SlotMap::with_key(),
            context,
            timers: Timers::new(),
            again: Vec::new(),
            changed: Vec::new(),
            closed: Vec::new(),
            per_ip: HashMap::new(),
            drain: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Takes a new client, unless its address has too many already: that one is told so and dropped.
    pub(crate) fn accept(
        &mut self,
        now: Instant,
        mut stream: S,
        ip: Option<IpAddr>,
        serves: Serves,
    ) -> Option<ConnectionKey> {
        if let Some(ip) = ip
            && self.context.limits.clients_per_ip_max > 0
        {
            let count = self.per_ip.entry(ip).or_insert(0);
            if *count >= self.context.limits.clients_per_ip_max {
                self.context.metrics.connections_refused += 1;
                self.context.write_refusal(&mut stream);
                return None;
            }
            *count += 1;
        }
        let connection = Connection::new(now, stream, ip, serves, &mut self.context);
        let key = self.connections.insert(connection);
        self.settle(key, Visit::Settled);
        Some(key)
    }

    #[cfg(test)]
    pub(super) fn get(&self, key: ConnectionKey) -> Option<&Connection<S>> {
        self.connections.get(key)
    }

    /// The stream of a connection, for who registers it with a poller.
    pub(crate) fn stream(&self, key: ConnectionKey) -> Option<&S> {
        self.connections.get(key).map(|connection| &connection.stream)
    }

    pub(crate) fn handle_readable(&mut self, now: Instant, key: ConnectionKey, scratch: &mut [u8]) {
        self.visit(key, |connection, context| {
            connection.handle_readable(now, key.owner(), scratch, context)
        });
    }

    pub(crate) fn handle_writable(&mut self, now: Instant, key: ConnectionKey) {
        self.visit(key, |connection, context| connection.work(now, key.owner(), context));
    }

    /// When [`Self::fire_timers`] is to be called at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let drain = self.drain.as_ref().map(Drain::next_deadline);
        [self.timers.next_deadline(), drain].into_iter().flatten().min()
    }

    pub(crate) fn fire_timers(&mut self, now: Instant) {
        while let Some((deadline, key)) = self.timers.pop_due(now) {
            // Only the entry that was queued last for a connection means something.
            let is_current =
                self.connections.get(key).is_some_and(|own| own.scheduled == Some(deadline));
            if is_current {
                self.connections[key].scheduled = None;
                self.visit(key, |connection, context| {
                    connection.handle_timeout(now, key.owner(), context)
                });
            }
        }
        self.advance_drain(now);
    }

    /// Whether [`Self::flush`] has something to do.
    pub(crate) fn has_work(&self) -> bool {
        !self.again.is_empty() || self.context.feeds.has_work()
    }

    /// Serves the subscribers of feeds that grew, as many as a turn allows, and goes on there the next time.
    pub(crate) fn flush(&mut self, now: Instant) {
        let bytes_before = self.context.metrics.delivered_bytes(Transport::WebSocket);
        for key in std::mem::take(&mut self.again) {
            self.visit(key, |connection, context| connection.work(now, key.owner(), context));
        }
        let budget = self.context.budget;
        for _ in 0..budget.turn_visits_max {
            let Some(owner) = self.context.feeds.next_owner() else { break };
            let key = ConnectionKey::of_owner(owner);
            self.visit(key, |connection, context| connection.flush(now, context));
            let bytes = self.context.metrics.delivered_bytes(Transport::WebSocket) - bytes_before;
            if bytes > budget.turn_bytes_max {
                break;
            }
        }
        self.expel(now);
    }

    /// Closes those that the feeds gave up.
    fn expel(&mut self, now: Instant) {
        while let Some((owner, reason)) = self.context.feeds.pop_expelled() {
            let key = ConnectionKey::of_owner(owner);
            self.visit(key, |connection, context| {
                match &mut connection.state {
                    // Waiting for it to read a goodbye would keep what is to be freed.
                    _ if reason == CloseReason::Memory => connection.close(reason, context),
                    State::Session(session) => session.close(reason),
                    State::Http(_) | State::Lingering { .. } | State::Closed => {}
                }
                connection.flush(now, context)
            });
        }
    }

    /// Drops a connection that cannot be waited for.
    pub(crate) fn abandon(&mut self, key: ConnectionKey) {
        self.visit(key, |connection, context| {
            connection.close(CloseReason::Reset, context);
            Visit::Settled
        });
    }

    /// Drops all connections where they are.
    pub(crate) fn abandon_all(&mut self) {
        let keys: Vec<_> = self.connections.keys().collect();
        keys.into_iter().for_each(|key| self.abandon(key));
    }

    /// From now on nobody is let in who is not in already, and nobody is told that we are ready.
    pub(crate) fn stop_serving(&mut self) {
        self.context.phase = Phase::Draining;
    }

    /// Starts to say goodbye to everyone, spread over a part of the time until `until`.
    pub(crate) fn begin_drain(&mut self, now: Instant, until: Instant) {
        let keys: Vec<_> = self.connections.keys().collect();
        let mut sessions = Vec::new();
        for key in keys {
            self.visit(key, |connection, context| {
                match &mut connection.state {
                    State::Http(http) if http.is_idle() => {
                        connection.close(CloseReason::Shutdown, context);
                    }
                    State::Http(http) => http.close_after_answer(),
                    State::Session(_) => sessions.push(key),
                    State::Lingering { .. } | State::Closed => {}
                }
                Visit::Settled
            });
        }
        self.drain = Some(Drain::new(now, until, sessions));
    }

    fn advance_drain(&mut self, now: Instant) {
        while let Some(key) = self.drain.as_mut().and_then(|drain| drain.pop_due(now)) {
            self.visit(key, |connection, context| {
                if let State::Session(session) = &mut connection.state {
                    session.close_when_drained(&context.feeds, CloseReason::Shutdown);
                }
                connection.flush(now, context)
            });
        }
        if self.drain.as_ref().is_some_and(|drain| drain.is_over(now)) {
            let keys: Vec<_> = self.connections.keys().collect();
            for key in keys {
                self.visit(key, |connection, context| {
                    connection.close(CloseReason::Shutdown, context);
                    Visit::Settled
                });
            }
        }
    }

    /// Takes one change of what a connection waits for, to be told to the poller.
    pub(crate) fn pop_changed(&mut self) -> Option<(ConnectionKey, &S, Interest)> {
        while let Some(key) = self.changed.pop() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let interest = connection.interest();
            if !connection.is_closed() && interest != connection.registered {
                connection.registered = interest;
                return Some((key, &self.connections[key].stream, interest));
            }
        }
        None
    }

    /// Takes one connection that has ended, to be forgotten by the poller and dropped.
    pub(crate) fn pop_closed(&mut self) -> Option<S> {
        loop {
            let key = self.closed.pop()?;
            let Some(connection) = self.connections.remove(key) else { continue };
            if let Some(ip) = connection.ip
                && let Some(count) = self.per_ip.get_mut(&ip)
            {
                *count -= 1;
                if *count == 0 {
                    self.per_ip.remove(&ip);
                }
            }
            return Some(connection.stream);
        }
    }

    fn visit(
        &mut self,
        key: ConnectionKey,
        act: impl FnOnce(&mut Connection<S>, &mut Context) -> Visit,
    ) {
        if let Some(connection) = self.connections.get_mut(key) {
            let visit = act(connection, &mut self.context);
            self.settle(key, visit);
        }
    }

    /// Notes what follows from a visit.
    fn settle(&mut self, key: ConnectionKey, visit: Visit) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.is_closed() {
            self.closed.push(key);
            return;
        }
        if visit == Visit::Cut {
            self.again.push(key);
        }
        if connection.interest() != connection.registered {
            self.changed.push(key);
        }
        if let Some(deadline) = connection.next_deadline()
            && connection.scheduled.is_none_or(|scheduled| deadline < scheduled)
        {
            connection.scheduled = Some(deadline);
            self.timers.schedule(deadline, key);
        }
    }
}
