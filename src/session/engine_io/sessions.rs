//! All Engine.IO sessions: by their ids, with their deadlines, and which connections have to act for them. Knows no socket
//! and no clock; randomness is handed in as a seed.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use data_encoding::BASE64URL_NOPAD;
use rand::SeedableRng;
use rand::rngs::StdRng;
use slotmap::{Key, KeyData, SlotMap, new_key_type};

use super::{
    Carrier, Client, End, EngineIo, Filling, Heartbeat, Joining, Noop, PROBE_STEP, Probe,
    SECRET_BYTES, new_secret,
};
use crate::access::AddressCounts;
use crate::error::CloseReason;
use crate::feed::{Feeds, Owner, Wish};
use crate::message::Id;
use crate::session::Timing;
use crate::timers::Timers;
use crate::wire::engine_io::{self, Packet};
use crate::wire::websocket::Said;

/// Marks an owner that is a session: tables have fewer than 2^31 places, so that no connection has this bit.
const SESSION_BIT: u64 = 1 << 31;

new_key_type! {
    /// A session. A key that outlives its session finds nothing.
    pub(crate) struct SessionKey;
}

impl SessionKey {
    pub(crate) fn owner(self) -> Owner {
        let number = self.data().as_ffi();
        debug_assert!(number & SESSION_BIT == 0, "there are fewer than 2^31 sessions");
        Owner(number | SESSION_BIT)
    }

    pub(crate) fn of_owner(Owner(number): Owner) -> Option<Self> {
        (number & SESSION_BIT != 0).then(|| KeyData::from_ffi(number & !SESSION_BIT).into())
    }
}

/// What a connection is to do for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Look for output.
    Look,
    /// The session has ended: answer its poll with this packet.
    Answer(SessionKey, &'static [u8]),
    /// Close the WebSocket.
    Close(CloseReason),
    /// Close the WebSocket for the host program, with this code, behind this packet.
    Disconnect { code: u16, last_word: &'static [u8] },
}

/// What became of the body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Said,
    /// The session goes on by a WebSocket meanwhile.
    TooLate,
    /// The session is not there any more.
    Gone,
}

/// A session that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) owner: Owner,
    pub(crate) reason: CloseReason,
    pub(crate) ip: Option<IpAddr>,
}

/// Every session.
pub(crate) struct EngineSessions {
    pub(super) sessions: SlotMap<SessionKey, EngineIo>,
    timers: Timers<SessionKey>,
    pub(super) wakes: VecDeque<(Owner, Wake)>,
    pub(super) ended: Vec<Ended>,
    /// How many sessions each address has.
    addresses: AddressCounts,
    random: StdRng,
    has_recovery: bool,
    pub(super) is_stopping: bool,
}

impl EngineSessions {
    /// `seed` must be random: ids are made of it that nobody may guess. An address may have `per_ip_max` sessions; 0 is no
    /// limit.
    pub(crate) fn new(seed: [u8; 32], has_recovery: bool, per_ip_max: usize) -> Self {
        Self {
            sessions: SlotMap::with_key(),
            timers: Timers::new(),
            wakes: VecDeque::new(),
            ended: Vec::new(),
            addresses: AddressCounts::with_limit(per_ip_max),
            random: StdRng::from_seed(seed),
            has_recovery,
            is_stopping: false,
        }
    }

    /// Whether clients may resume.
    pub(crate) fn has_recovery(&self) -> bool {
        self.has_recovery
    }

    /// Counts one more session of an address, if it may have one.
    pub(crate) fn admit(&mut self, ip: Option<IpAddr>) -> bool {
        self.addresses.admit(ip)
    }

    /// Opens a session, which was admitted, that waits for its client to join, and returns its id with it.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        ip: Option<IpAddr>,
        wish: Wish,
        since: Option<Id>,
        feeds: &Feeds,
        timing: &Timing,
    ) -> (SessionKey, String) {
        let secret = new_secret(&mut self.random);
        let mut wish_charge = feeds.wish_charge();
        wish_charge.resize(size_of::<EngineIo>() + wish.filter.heap_bytes());
        let key = self.sessions.insert(EngineIo {
            secret,
            ip,
            wish,
            _wish_charge: wish_charge,
            since,
            subscription: None,
            has_left: false,
            welcome: None,
            carrier: Carrier::Nobody,
            probe: None,
            is_posting: false,
            client: Client::Expected { until: now + timing.handshake_timeout },
            own: Vec::new(),
            heartbeat: Heartbeat::Quiet { ping_at: now + timing.ping_interval },
            is_leaving: false,
            farewell: None,
            is_untold: false,
            scheduled: None,
        });
        self.schedule(key);
        let number = key.data().as_ffi().to_be_bytes();
        (key, BASE64URL_NOPAD.encode(&[&number[..], &secret].concat()))
    }

    /// The session with the id `sid`: its place, and what nobody can guess.
    pub(crate) fn find(&self, sid: &[u8]) -> Option<SessionKey> {
        let bytes = BASE64URL_NOPAD.decode(sid).ok()?;
        let (number, secret) = bytes.split_first_chunk()?;
        let number = u64::from_be_bytes(*number);
        let key = SessionKey::from(KeyData::from_ffi(number));
        let own = &self.sessions.get(key)?.secret;
        // All bytes are compared, so that time does not tell how many were right.
        let differences = own.iter().zip(secret).fold(0, |sum, (a, b)| sum | (a ^ b));
        let is_own = secret.len() == SECRET_BYTES && differences == 0;
        // A number is read as a key also where it is none that we gave out.
        (is_own && key.data().as_ffi() == number).then_some(key)
    }

    /// Whether a WebSocket carries the session, so that polling is over.
    pub(crate) fn is_upgraded(&self, key: SessionKey) -> bool {
        let carrier = self.sessions.get(key).map(|session| session.carrier);
        matches!(carrier, Some(Carrier::Socket(_)))
    }

    /// Whether one more connection may wait for packets. The second one that does ends the session.
    pub(crate) fn admit_poll(&mut self, key: SessionKey, feeds: &mut Feeds) -> bool {
        let is_free =
            self.sessions.get(key).is_some_and(|session| session.carrier == Carrier::Nobody);
        if !is_free {
            self.end(key, End::new(CloseReason::Protocol), feeds);
        }
        is_free
    }

    /// The connection `reader` waits for packets.
    pub(crate) fn hold(&mut self, now: Instant, key: SessionKey, reader: Owner, feeds: &mut Feeds) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Some(farewell) = session.farewell {
            return self.say_farewell(key, farewell, reader);
        }
        session.carrier = Carrier::Poll(reader);
        session.set_blocked(feeds, false);
        if let Some(Probe { is_answered: true, noop, .. }) = &mut session.probe
            && *noop == Noop::Idle
        {
            *noop = Noop::At(now + PROBE_STEP);
            self.schedule(key);
        }
    }

    /// What answers the poll of `reader`, as far as there is something.
    pub(super) fn fill(&mut self, key: SessionKey, reader: Owner, feeds: &mut Feeds) -> Filling {
        let is_stopping = self.is_stopping;
        let session = self.sessions.get_mut(key);
        let Some(session) = session.filter(|own| own.carrier == Carrier::Poll(reader)) else {
            return Filling::Nothing;
        };
        let filling = session.fill(reader, is_stopping, feeds);
        if let Filling::Some { is_last: true, .. } = &filling {
            self.end(key, End::new(CloseReason::Shutdown), feeds);
        }
        filling
    }

    /// Whether one more request may bring packets. The second one at a time, and one `of_binary`, end the session.
    pub(crate) fn admit_post(
        &mut self,
        key: SessionKey,
        of_binary: bool,
        feeds: &mut Feeds,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(key) else { return false };
        if session.is_posting || of_binary {
            self.end(key, End::new(CloseReason::Protocol), feeds);
            return false;
        }
        session.is_posting = true;
        true
    }

    /// The body of a request will not come; nobody is to blame.
    pub(crate) fn end_post(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.is_posting = false;
        }
    }

    /// Takes the body of a request.
    pub(crate) fn hear_payload(
        &mut self,
        now: Instant,
        key: SessionKey,
        payload: &[u8],
        feeds: &mut Feeds,
        timing: &Timing,
    ) -> Heard {
        let Some(session) = self.sessions.get_mut(key) else { return Heard::Gone };
        session.is_posting = false;
        if matches!(session.carrier, Carrier::Socket(_)) {
            return Heard::TooLate;
        }
        if session.farewell.is_some() {
            return self.hear_last(key, payload);
        }
        for packet in engine_io::payload_packets(payload) {
            let Some(packet) = packet else {
                self.end(key, End::new(CloseReason::Protocol), feeds);
                break;
            };
            if let Err(end) = self.hear(now, key, &packet, feeds, timing) {
                self.end(key, end, feeds);
                break;
            }
        }
        Heard::Said
    }

    fn hear(
        &mut self,
        now: Instant,
        key: SessionKey,
        packet: &Packet<'_>,
        feeds: &mut Feeds,
        timing: &Timing,
    ) -> Result<(), End> {
        let Self { sessions, random, has_recovery, .. } = self;
        let Some(session) = sessions.get_mut(key) else { return Ok(()) };
        let joining = Joining { owner: key.owner(), random, has_recovery: *has_recovery };
        session.hear(now, packet, joining, feeds, timing)?;
        self.schedule(key);
        self.look(key);
        Ok(())
    }

    /// The WebSocket `owner` comes for the session: the first that does is probed.
    pub(crate) fn attach(
        &mut self,
        now: Instant,
        key: SessionKey,
        owner: Owner,
        timing: &Timing,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(key) else { return false };
        let is_over = session.farewell.is_some();
        if is_over || session.probe.is_some() || matches!(session.carrier, Carrier::Socket(_)) {
            return false;
        }
        let until = now + timing.handshake_timeout;
        session.probe = Some(Probe { owner, until, is_answered: false, noop: Noop::Idle });
        self.schedule(key);
        true
    }

    /// The session begins with the WebSocket `owner`.
    pub(crate) fn begin_with(&mut self, key: SessionKey, owner: Owner) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.carrier = Carrier::Socket(owner);
        }
    }

    /// Takes a message from the WebSocket `owner`. Returns whether it is to be told that the probe arrived. Fails where the
    /// WebSocket is to be closed, be it the session's or not.
    pub(super) fn hear_socket(
        &mut self,
        now: Instant,
        key: SessionKey,
        owner: Owner,
        said: Said<'_>,
        feeds: &mut Feeds,
        timing: &Timing,
    ) -> Result<bool, CloseReason> {
        let gone = CloseReason::Protocol;
        let packet = match said {
            Said::Text(text) => Packet::from_text(text),
            Said::Binary(_) => Some(Packet::Binary),
        };
        let Some(session) = self.sessions.get_mut(key) else { return Err(gone) };
        if session.carrier == Carrier::Socket(owner) {
            let Some(packet) = packet else { return Err(gone) };
            let heard = self.hear(now, key, &packet, feeds, timing);
            return heard.map(|()| false).map_err(|end| end.reason);
        }
        let Some(probe) = session.probe.as_mut().filter(|probe| probe.owner == owner) else {
            return Err(gone);
        };
        match packet {
            Some(Packet::Ping(b"probe")) if !probe.is_answered => {
                (probe.is_answered, probe.noop) = (true, Noop::Due);
                self.look(key);
                Ok(true)
            }
            Some(Packet::Upgrade) if probe.is_answered => {
                self.upgrade(key, owner, feeds);
                Ok(false)
            }
            _ => {
                session.probe = None;
                Err(gone)
            }
        }
    }

    fn upgrade(&mut self, key: SessionKey, owner: Owner, feeds: &mut Feeds) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Carrier::Poll(reader) = session.carrier {
            self.wakes.push_back((reader, Wake::Answer(key, engine_io::NOOP)));
        }
        session.probe = None;
        session.carrier = Carrier::Socket(owner);
        session.set_blocked(feeds, true);
    }

    /// The session that the WebSocket `owner` carries.
    pub(super) fn carried_by(&mut self, key: SessionKey, owner: Owner) -> Option<&mut EngineIo> {
        let session = self.sessions.get_mut(key)?;
        (session.carrier == Carrier::Socket(owner)).then_some(session)
    }

    /// The WebSocket `owner` has ended.
    pub(super) fn detach_socket(
        &mut self,
        key: SessionKey,
        owner: Owner,
        reason: CloseReason,
        feeds: &mut Feeds,
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.carrier == Carrier::Socket(owner) {
            session.carrier = Carrier::Nobody;
            self.end(key, End::new(reason), feeds);
        } else if session.probe.is_some_and(|probe| probe.owner == owner) {
            session.probe = None;
        }
    }

    /// Ends the session: a request for it was broken off, or its answer was, or there is no room for it.
    pub(crate) fn end_session(&mut self, key: SessionKey, reason: CloseReason, feeds: &mut Feeds) {
        self.end(key, End::new(reason), feeds);
    }

    /// The connection that serves the session that `owner` is, where one does; `owner` itself where it is a connection.
    pub(crate) fn server_of(&self, owner: Owner) -> Option<Owner> {
        let Some(key) = SessionKey::of_owner(owner) else { return Some(owner) };
        match self.sessions.get(key)?.carrier {
            Carrier::Nobody => None,
            Carrier::Poll(owner) | Carrier::Socket(owner) => Some(owner),
        }
    }

    /// Ends the session that `owner` is, which nobody serves, or nobody is to serve any more.
    pub(crate) fn end_unserved(&mut self, owner: Owner, reason: CloseReason, feeds: &mut Feeds) {
        if let Some(key) = SessionKey::of_owner(owner) {
            self.end(key, End::new(reason), feeds);
        }
    }

    pub(super) fn end(&mut self, key: SessionKey, end: End, feeds: &mut Feeds) {
        let Some(mut session) = self.sessions.remove(key) else { return };
        session.unsubscribe(feeds);
        if session.farewell.is_none() {
            self.ended.push(Ended { owner: key.owner(), reason: end.reason, ip: session.ip });
        }
        match session.carrier {
            Carrier::Nobody => {}
            Carrier::Poll(reader) => {
                self.wakes.push_back((reader, Wake::Answer(key, end.packet)));
            }
            Carrier::Socket(owner) => self.wakes.push_back((owner, Wake::Close(end.reason))),
        }
        if let Some(Probe { owner, .. }) = session.probe {
            self.wakes.push_back((owner, Wake::Close(end.reason)));
        }
    }

    fn look(&mut self, key: SessionKey) {
        // Whoever said many things at once need not look as often.
        if let Some(owner) = self.server_of(key.owner())
            && self.wakes.back() != Some(&(owner, Wake::Look))
        {
            self.wakes.push_back((owner, Wake::Look));
        }
    }

    /// Takes a connection that has to act.
    pub(crate) fn pop_wake(&mut self) -> Option<(Owner, Wake)> {
        self.wakes.pop_front()
    }

    /// Takes a session that has ended.
    pub(crate) fn pop_ended(&mut self) -> Option<Ended> {
        let ended = self.ended.pop()?;
        self.addresses.release(ended.ip);
        Some(ended)
    }

    /// Whether there is something to take.
    pub(crate) fn has_news(&self) -> bool {
        !self.wakes.is_empty() || !self.ended.is_empty()
    }

    /// When [`Self::fire_timer`] is to be called at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// Does what is due for one session; says whether there was one to look at.
    pub(crate) fn fire_timer(&mut self, now: Instant, feeds: &mut Feeds, timing: &Timing) -> bool {
        let Some((deadline, key)) = self.timers.pop_due(now) else { return false };
        let session = self.sessions.get_mut(key);
        let Some(session) = session.filter(|own| own.scheduled == Some(deadline)) else {
            return true;
        };
        session.scheduled = None;
        if let Some(Probe { owner, until, .. }) = session.probe
            && until <= now
        {
            session.probe = None;
            self.wakes.push_back((owner, Wake::Close(CloseReason::HandshakeTimeout)));
        }
        match session.handle_timeout(now, timing) {
            Ok(()) => {
                self.look(key);
                self.schedule(key);
            }
            Err(end) => self.end(key, end, feeds),
        }
        true
    }

    fn schedule(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Some(deadline) = session.next_deadline()
            && session.scheduled.is_none_or(|scheduled| deadline < scheduled)
        {
            session.scheduled = Some(deadline);
            self.timers.schedule(deadline, key);
        }
        if self.timers.len() > 4 * self.sessions.len() + 1024 {
            let sessions = &self.sessions;
            self.timers.retain(|deadline, key| {
                sessions.get(*key).is_some_and(|own| own.scheduled == Some(deadline))
            });
        }
    }
}
