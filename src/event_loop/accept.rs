//! Lets connections in, as far as there is room: those of listeners and those that the host brings. Knows nothing of what
//! they speak.

use std::io;
use std::time::{Duration, Instant};

use super::registry::Slot;
use super::{BoundListener, EventLoop, Phase};
use crate::connection::{ConnectionKey, Interest};
use crate::http::Role;
use crate::net::Accepted;

/// Clients that one listener may bring in a turn: about 1 ms of accepting.
const TURN_ACCEPTS_MAX: usize = 64;

/// Connections to the listener for metrics and health that are let in when clients have taken everything else.
const OPERATION_CONNECTIONS: usize = 16;

/// How long nobody is accepted after the descriptors ran out, unless a connection ends sooner.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How often it is said that nobody is accepted: a full process can be full for days.
const ACCEPT_WARNING_INTERVAL: Duration = Duration::from_secs(60);

impl EventLoop {
    /// Answers what the host asks: after what it published before, so that the answer knows of that.
    pub(super) fn do_jobs(&mut self) {
        while let Some(job) = self.inbox.pop_job() {
            job(&mut self.connections);
        }
    }

    /// Takes what the host wants, and takes over the connections that it brings.
    pub(super) fn handle_inbox(&mut self, now: Instant) {
        if let Some(stop) = self.inbox.collect() {
            self.stop(now, stop);
        }
        for _ in 0..TURN_ACCEPTS_MAX {
            let Some(newcomer) = self.inbox.pop_newcomer() else { return };
            if self.phase != Phase::Serving {
                self.connections.turn_newcomer_away(newcomer, "draining");
                continue;
            }
            if !self.has_room(self.adopted_role) {
                self.connections.turn_newcomer_away(newcomer, "too many connections");
                continue;
            }
            let adopted = self.connections.adopt(now, newcomer, self.adopted_role);
            let Some(key) = adopted else { continue };
            match self.wait_for(key) {
                Ok(()) => self.connections.begin(now, key, &mut self.scratch),
                Err(error) => log::warn!("a connection of the host's cannot be served: {error}"),
            }
        }
    }

    /// Starts to wait for a connection, or drops it.
    fn wait_for(&mut self, key: ConnectionKey) -> io::Result<()> {
        let Some(stream) = self.connections.stream(key) else { return Ok(()) };
        let readable = Interest { readable: true, writable: false };
        let added = self.registry.add(stream, Slot::Connection(key), readable);
        if added.is_err() {
            self.connections.abandon(key);
        }
        added
    }

    pub(super) fn accept(&mut self, now: Instant, index: usize) {
        for _ in 0..TURN_ACCEPTS_MAX {
            let Some(BoundListener { listener: Some(listener), role }) = self.listeners.get(index)
            else {
                return;
            };
            let role = *role;
            let Accepted { mut stream, ip } = match listener.accept() {
                Ok(Some(accepted)) => accepted,
                Ok(None) => return,
                Err(error) => return self.pause_accepting(now, &error.to_string()),
            };
            if !self.has_room(role) {
                self.connections.turn_away(&mut stream, "too many connections");
                return self.pause_accepting(now, "there are as many connections as allowed");
            }
            let Some(key) = self.connections.accept(now, stream, ip, role) else { continue };
            if let Err(error) = self.wait_for(key) {
                return self.pause_accepting(now, &error.to_string());
            }
            // Most clients have sent their request by now: that saves a turn for each of them.
            self.connections.handle_readable(now, key, &mut self.scratch);
        }
    }

    /// Whether one more may come in, perhaps in the place of somebody who only waits.
    fn has_room(&mut self, role: Role) -> bool {
        let reserve = if role == Role::Operation { OPERATION_CONNECTIONS } else { 0 };
        self.connections.len() < self.connections_max + reserve || self.connections.evict()
    }

    /// Stops accepting until a connection ends or some time has passed. Those inside are served on; those outside wait
    /// in the listener's queue.
    fn pause_accepting(&mut self, now: Instant, reason: &str) {
        if self.accept_warned_until.is_none_or(|until| until <= now) {
            log::warn!("nobody is accepted until connections end: {reason}");
            self.accept_warned_until = Some(now + ACCEPT_WARNING_INTERVAL);
        }
        self.accept_again = Some(now + ACCEPT_PAUSE);
        self.set_accepting(false);
    }

    pub(super) fn resume_accepting(&mut self) {
        if self.accept_again.take().is_some() {
            self.set_accepting(true);
        }
    }

    fn set_accepting(&self, readable: bool) {
        for (index, bound) in (0..).zip(&self.listeners) {
            let Some(listener) = &bound.listener else { continue };
            let interest = Interest { readable, writable: false };
            if let Err(error) = self.registry.modify(listener, Slot::Listener(index), interest) {
                log::error!("{}: cannot change what is waited for: {error}", listener.url());
            }
        }
    }
}
