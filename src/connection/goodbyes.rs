//! Says goodbye to everyone while the gateway stops. Decides whom and how; when is not decided here.

use std::time::Instant;

use super::context::Phase;
use super::drain::Drain;
use super::table::ConnectionKey;
use super::{Connections, Context, SETTLED, State};
use crate::error::CloseReason;
use crate::net::ByteStream;

impl<S: ByteStream> Connections<S> {
    /// Closes everyone at once: there is no more time for goodbyes.
    pub(crate) fn close_all(&mut self) {
        let Context { engine, feeds, .. } = &mut self.context;
        let sessions: Vec<_> = engine.owners().collect();
        for owner in sessions {
            engine.end_unserved(owner, CloseReason::Shutdown, feeds);
        }
        let keys: Vec<_> = self.connections.keys().collect();
        for key in keys {
            self.visit(key, |connection, context| {
                connection.close(CloseReason::Shutdown, context);
                SETTLED
            });
        }
        self.follow_sessions();
    }

    /// From now on nobody is let in who is not in already, and nobody is told that we are ready.
    pub(crate) fn stop_serving(&mut self) {
        self.context.phase = Phase::Draining;
        self.context.engine.stop();
    }

    /// Starts to say goodbye to everyone, spread over a part of the time until `until`.
    pub(crate) fn begin_drain(&mut self, now: Instant, until: Instant) {
        let keys: Vec<_> = self.connections.keys().collect();
        let mut clients: Vec<_> = self.context.engine.owners().collect();
        for key in keys {
            self.visit(key, |connection, context| {
                match &mut connection.state {
                    State::Http(http) if http.is_idle() => {
                        connection.close(CloseReason::Shutdown, context);
                    }
                    State::Http(http) => http.close_after_answer(),
                    State::Session(session) if session.is_carrier() => {}
                    State::Session(_) => clients.push(key.owner()),
                    State::Lingering { .. } | State::Closed => {}
                }
                SETTLED
            });
        }
        self.drain = Some(Drain::new(now, until, clients));
    }

    /// Has the goodbyes be over by `until` at the latest.
    pub(crate) fn hurry(&mut self, until: Instant) {
        if let Some(drain) = &mut self.drain {
            drain.hurry(until);
        }
    }

    pub(super) fn advance_drain(&mut self, now: Instant) {
        while let Some(owner) = self.drain.as_mut().and_then(|drain| drain.pop_due(now)) {
            let Context { engine, feeds, .. } = &mut self.context;
            let Some(owner) = engine.begin_leaving(owner, feeds) else { continue };
            self.visit(ConnectionKey::of_owner(owner), |connection, context| {
                if let State::Session(session) = &mut connection.state {
                    session.close_when_drained(&context.feeds, CloseReason::Shutdown);
                }
                connection.flush(now, context)
            });
        }
        if self.drain.as_mut().is_some_and(|drain| drain.ends(now)) {
            self.close_all();
        }
    }
}
