//! What is done to sessions from outside: the gateway stops; the host program looks at them, closes some, and hears of
//! them. Knows no socket and no clock.

use std::net::IpAddr;

use super::sessions::{Ended, Heard, SessionKey, Wake};
use super::{Carrier, Client, End, EngineIo, EngineSessions, Farewell, Probe};
use crate::error::CloseReason;
use crate::feed::{Feeds, Owner};
use crate::topics::Filter;
use crate::wire::engine_io::{self, Packet};
use crate::wire::socket_io;

impl EngineSessions {
    /// The owners that sessions are.
    pub(crate) fn owners(&self) -> impl Iterator<Item = Owner> {
        self.sessions.keys().map(SessionKey::owner)
    }

    /// No poll follows one that is answered from now on.
    pub(crate) fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// Says goodbye to the client that `owner` is. Returns the connection by which that is done: a WebSocket is the caller's
    /// to close.
    pub(crate) fn begin_leaving(&mut self, owner: Owner, feeds: &mut Feeds) -> Option<Owner> {
        if let Some(key) = SessionKey::of_owner(owner)
            && let Some(session) = self.sessions.get_mut(key)
        {
            session.is_leaving = true;
            if session.carrier == Carrier::Nobody {
                self.end(key, End::new(CloseReason::Shutdown), feeds);
            }
        }
        self.server_of(owner)
    }

    /// The clients, and their addresses.
    pub(crate) fn clients(&self) -> impl Iterator<Item = (Owner, Option<IpAddr>)> {
        let sessions = self.sessions.iter().filter(|(_, session)| session.farewell.is_none());
        sessions.map(|(key, session)| (key.owner(), session.ip))
    }

    /// The address of a client and the topics that it gets now, if any, of which the host program hears; `None` where it is
    /// gone.
    pub(crate) fn told(&mut self, key: SessionKey) -> Option<(Option<IpAddr>, Option<&Filter>)> {
        let session = self.sessions.get_mut(key).filter(|own| own.farewell.is_none())?;
        session.is_untold = false;
        let is_joined = matches!(session.client, Client::Joined { .. });
        Some((session.ip, is_joined.then_some(&session.wish.filter)))
    }

    /// Ends the session that `owner` is, for the host program: a WebSocket is told `code`, and a client that may not return
    /// that it is not to come back by itself. Says whether `owner` is a session.
    pub(crate) fn disconnect(
        &mut self,
        owner: Owner,
        code: u16,
        may_return: bool,
        feeds: &mut Feeds,
    ) -> bool {
        let Some(key) = SessionKey::of_owner(owner) else { return false };
        let session = self.sessions.get_mut(key).filter(|own| own.farewell.is_none());
        let Some(session) = session else { return true };
        let is_put_out = matches!(session.client, Client::Joined { .. }) && !may_return;
        let farewell = if is_put_out { Farewell::Disconnect } else { Farewell::Close };
        self.ended.push(Ended { owner, reason: CloseReason::Host, ip: session.ip });
        session.unsubscribe(feeds);
        session.farewell = Some(farewell);
        if let Some(Probe { owner, .. }) = session.probe.take() {
            self.wakes.push_back((owner, Wake::Disconnect { code, last_word: b"" }));
        }
        match std::mem::replace(&mut session.carrier, Carrier::Nobody) {
            // The next poll is told.
            Carrier::Nobody => {}
            Carrier::Poll(reader) => self.say_farewell(key, farewell, reader),
            Carrier::Socket(owner) => {
                let last_word = if is_put_out { socket_io::DISCONNECT } else { b"" };
                self.wakes.push_back((owner, Wake::Disconnect { code, last_word }));
                self.sessions.remove(key);
            }
        }
        true
    }

    /// Has the poll of `reader` answered with what is left to be said to the client.
    pub(super) fn say_farewell(&mut self, key: SessionKey, farewell: Farewell, reader: Owner) {
        let packet = match farewell {
            Farewell::Disconnect => {
                if let Some(session) = self.sessions.get_mut(key) {
                    session.farewell = Some(Farewell::Close);
                }
                socket_io::DISCONNECT
            }
            Farewell::Close => {
                self.sessions.remove(key);
                engine_io::CLOSE
            }
        };
        self.wakes.push_back((reader, Wake::Answer(key, packet)));
    }

    /// Takes the body of a request of a client that is to be told the end: nothing counts but that it knows.
    pub(super) fn hear_last(&mut self, key: SessionKey, payload: &[u8]) -> Heard {
        if engine_io::payload_packets(payload).any(|packet| packet == Some(Packet::Close)) {
            self.sessions.remove(key);
        }
        Heard::Said
    }
}

impl EngineIo {
    /// What the client gets is not what the host program heard last; it hears of it once, how often ever it changes.
    pub(super) fn note_change(&mut self, owner: Owner, feeds: &mut Feeds) {
        if !std::mem::replace(&mut self.is_untold, true) {
            feeds.note_change(owner, None);
        }
    }
}
