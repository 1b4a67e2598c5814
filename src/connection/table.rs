//! All connections of a gateway, and which of them are to be visited: the loop without its poller, so that a test can
//! drive it with simulated streams and time.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use slotmap::{Key, KeyData, SlotMap, SparseSecondaryMap, new_key_type};

use super::budget::HandshakeBudget;
use super::gathering::Gathering;
use super::shutdown::ShutdownSchedule;
use super::stream_buffers::{AlreadyRead, StreamBuffers};
use super::waiting_room::{Occupant, WaitingRoom};
use super::{Connection, Context, Interest, Phase, State, Step};
use crate::error::CloseReason;
use crate::feed::{News, Owner, TURN_TOPICS_MAX};
use crate::hooks::{self, ClientInfo, CloseCode, Guarded, Happened, Panicked};
use crate::http::{Exchange, Role, Subscribe};
use crate::metrics::Transport;
use crate::net::ByteStream;
use crate::session::Session;
use crate::session::engine_io::Ended;
use crate::timers::Timers;
use crate::wire::websocket::write_close;

/// Deadlines that one turn looks at, and connections that it gives up or closes, for the same reason that bounds its
/// visits: each costs a system call or two.
const TURN_TIMERS_MAX: usize = 64;
const TURN_CLOSES_MAX: usize = 64;

/// Connections that one turn reads though their descriptors are silent: as many as may be ready besides.
const TURN_UNREAD_MAX: usize = 128;

/// News that one turn tells: each may cost what a hook takes. No fewer than the changes of topics that a turn lets clients
/// make, so that these never pile up.
const TURN_NEWS_MAX: usize = TURN_TOPICS_MAX;

/// Holders that are closed for what one visit made grow: one is enough as a rule, since what all hold is of one size.
const VISIT_EXPULSIONS_MAX: usize = 4;

/// How late a deadline may be for the sake of others: those of thousands of pings are met together instead of one by one,
/// which would wake the loop for each. No timeout is meant to a twentieth of a second.
const TIMER_SLACK: Duration = Duration::from_millis(50);

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

    pub(super) fn owner(self) -> Owner {
        Owner(self.to_number())
    }

    pub(super) fn of_owner(Owner(number): Owner) -> Self {
        Self::from_number(number)
    }
}

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

/// Every connection.
pub(crate) struct Connections<S> {
    pub(super) connections: SlotMap<ConnectionKey, Connection<S>>,
    pub(crate) context: Context,
    /// What comes before anything that the streams of a few have.
    already_read: SparseSecondaryMap<ConnectionKey, AlreadyRead>,
    handshakes: HandshakeBudget,
    /// What streams keep for themselves.
    pub(super) stream_buffers: StreamBuffers,
    timers: Timers<ConnectionKey>,
    /// Nobody wakes up for a deadline before this.
    timers_rest_until: Option<Instant>,
    /// Connections whose visit was cut short, each once.
    again: VecDeque<ConnectionKey>,
    /// Connections that may have input which the poller does not tell of, each once.
    unread: VecDeque<ConnectionKey>,
    /// Connections that wait for something else than the poller was told.
    changed: Vec<ConnectionKey>,
    closed: Vec<ConnectionKey>,
    waiting_room: WaitingRoom,
    pub(super) shutdown: Option<ShutdownSchedule>,
    gathering: Gathering,
}

impl<S: ByteStream> Connections<S> {
    pub(crate) fn new(context: Context) -> Self {
        Self {
            connections: SlotMap::with_key(),
            already_read: SparseSecondaryMap::new(),
            handshakes: HandshakeBudget::default(),
            stream_buffers: StreamBuffers::within_half_of(&context.request_memory),
            timers: Timers::new(),
            timers_rest_until: None,
            again: VecDeque::new(),
            unread: VecDeque::new(),
            changed: Vec::new(),
            closed: Vec::new(),
            waiting_room: WaitingRoom::default(),
            gathering: Gathering::new(context.coalesce),
            context,
            shutdown: None,
        }
    }

    /// Connections that have not ended.
    pub(crate) fn len(&self) -> usize {
        self.connections.len() - self.closed.len()
    }

    /// Takes a new client, unless its address has too many already: that one is told so and dropped.
    pub(crate) fn accept(
        &mut self,
        now: Instant,
        mut stream: S,
        ip: Option<IpAddr>,
        role: Role,
    ) -> Option<ConnectionKey> {
        if !self.context.admission.admit(ip, role) {
            self.turn_away(&mut stream, "too many connections from this address");
            return None;
        }
        Some(self.insert(now, stream, ip, role))
    }

    /// Takes a client that was let in.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        stream: S,
        ip: Option<IpAddr>,
        role: Role,
    ) -> ConnectionKey {
        let context = &mut self.context;
        let key = self
            .connections
            .insert_with_key(|key| Connection::new(now, key.owner(), stream, ip, role, context));
        let (count, connections) = (self.connections.len(), &self.connections);
        self.waiting_room.enter(key, count, |key| occupant(connections, key));
        self.reconcile(key, Step::IDLE);
        key
    }

    /// Tells a client that is not let in, as well as that can be done without waiting for its request.
    pub(crate) fn turn_away(&mut self, stream: &mut S, reason: &'static str) {
        let mut answer = Vec::new();
        let refusal = self.context.turn_down(reason);
        let _ = refusal.write(&mut answer, Exchange::refused(b"", None));
        // Whether it arrives or not, the client is dropped. What it has sent already is read, since the kernel sends a
        // reset for unread input, which could overtake the answer.
        let _ = stream.write(&answer);
        let _ = stream.shutdown_write();
        let _ = stream.read(&mut [0; 4096]);
    }

    /// Closes the connection that has waited longest without becoming a client, to make room. Fails when there is none.
    pub(crate) fn evict(&mut self) -> bool {
        let connections = &self.connections;
        let Some(key) = self.waiting_room.take_waiting(|key| occupant(connections, key)) else {
            return false;
        };
        self.step(key, |connection, context| {
            connection.close(CloseReason::Evicted, context);
            Step::IDLE
        });
        true
    }

    #[cfg(test)]
    pub(super) fn get(&self, key: ConnectionKey) -> Option<&Connection<S>> {
        self.connections.get(key)
    }

    #[cfg(test)]
    pub(super) fn timers_len(&self) -> usize {
        self.timers.len()
    }

    /// Whether the connection has become a client's: what is published from now on is owed to it.
    #[cfg(test)]
    pub(crate) fn is_client(&self, key: ConnectionKey) -> bool {
        self.get(key).is_some_and(|connection| matches!(connection.state, State::Session(_)))
    }

    /// The topics that a client of ZWS gets from now on, where that is not to change yet.
    #[cfg(test)]
    pub(crate) fn followed_topics(&self, key: ConnectionKey) -> Option<Vec<Vec<u8>>> {
        match &self.get(key)?.state {
            State::Session(Session::Zws(session)) => session.followed_topics(),
            _ => None,
        }
    }

    /// The stream of a connection, for who registers it with a poller.
    pub(crate) fn stream(&self, key: ConnectionKey) -> Option<&S> {
        self.connections.get(key).map(|connection| &connection.stream)
    }

    pub(crate) fn handle_readable(&mut self, now: Instant, key: ConnectionKey, scratch: &mut [u8]) {
        let is_greeting = self.stream(key).is_some_and(ByteStream::is_greeting);
        if !self.handshakes.admit(is_greeting) {
            return;
        }
        let already_read = self.read_already_read(key, scratch);
        self.step(key, |connection, context| match already_read {
            Some(len) => connection.handle_input(now, &mut scratch[..len], context),
            None => connection.handle_readable(now, scratch, context),
        });
        self.keep_buffers_within_memory(now, key);
    }

    /// Has a connection that was taken over begin with this.
    pub(super) fn keep_already_read(&mut self, key: ConnectionKey, input: Option<AlreadyRead>) {
        if let Some(input) = input {
            self.already_read.insert(key, input);
        }
    }

    /// The next piece of what a connection had sent before it was taken over, while there is any.
    fn read_already_read(&mut self, key: ConnectionKey, scratch: &mut [u8]) -> Option<usize> {
        let (len, is_last) = self.already_read.get_mut(key)?.read(scratch);
        if is_last {
            self.already_read.remove(key);
        }
        Some(len)
    }

    /// Reads what streams hold of which their descriptors do not tell, and what was read of them already.
    pub(crate) fn read_unread(&mut self, now: Instant, scratch: &mut [u8]) {
        for _ in 0..self.unread.len().min(TURN_UNREAD_MAX) {
            let Some(key) = self.unread.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.is_unread = false;
            if connection.interest().readable {
                self.handle_readable(now, key, scratch);
            }
        }
    }

    /// Writing is done by [`Self::flush`], within the turn's bounds.
    pub(crate) fn handle_writable(&mut self, key: ConnectionKey) {
        self.step(key, |_, _| Step { bytes_sent: 0, is_cut: true });
    }

    /// When [`Self::fire_timers`] and [`Self::flush`] are to be called at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let drain = self.shutdown.as_ref().map(ShutdownSchedule::next_deadline);
        let timers = [self.timers.next_deadline(), self.context.engine.next_deadline()];
        let timers = timers.into_iter().flatten().min();
        let timers =
            timers.map(|deadline| self.timers_rest_until.map_or(deadline, |it| it.max(deadline)));
        let deadlines = [timers, drain, self.gathering.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    pub(crate) fn fire_timers(&mut self, now: Instant) {
        let mut has_fired = false;
        for _ in 0..TURN_TIMERS_MAX {
            let Context { engine, feeds, timing, .. } = &mut self.context;
            let has_fired_session = engine.fire_timer(now, feeds, timing);
            has_fired |= has_fired_session;
            let Some((deadline, key)) = self.timers.pop_due(now) else {
                if has_fired_session {
                    continue;
                }
                if has_fired {
                    self.timers_rest_until = Some(now + TIMER_SLACK);
                }
                break;
            };
            has_fired = true;
            // Only the entry that was queued last for a connection means something.
            let is_current =
                self.connections.get(key).is_some_and(|own| own.scheduled == Some(deadline));
            if is_current {
                self.connections[key].scheduled = None;
                self.step(key, |connection, context| connection.handle_timeout(now, context));
                self.keep_buffers_within_memory(now, key);
            }
        }
        self.advance_shutdown(now);
    }

    /// Whether there is something to do that does not wait for anything.
    pub(crate) fn has_work(&self) -> bool {
        let feeds = &self.context.feeds;
        let has_visits = !self.again.is_empty() || feeds.has_work() || feeds.has_expelled();
        let has_news =
            !self.unread.is_empty() || feeds.has_news() || self.context.engine.has_news();
        has_visits || has_news || !self.closed.is_empty()
    }

    /// Serves those whose visit was cut short and the subscribers of feeds that grew, as many as a turn allows, and
    /// goes on there the next time.
    pub(crate) fn flush(&mut self, now: Instant) {
        self.context.feeds.begin_turn();
        self.handshakes = HandshakeBudget::default();
        self.follow_sessions();
        let budget = self.context.budget;
        let mut bytes_left = budget.turn_bytes_max;
        // Each of the two has half of the turn for itself.
        for _ in 0..self.again.len().min(budget.turn_visits_max / 2 + 1) {
            let Some(key) = self.again.pop_front() else { break };
            if let Some(connection) = self.connections.get_mut(key) {
                connection.is_queued = false;
            }
            let work = |it: &mut Connection<S>, context: &mut _| it.work(now, context);
            bytes_left = bytes_left.saturating_sub(self.step(key, work));
            self.keep_buffers_within_memory(now, key);
            if bytes_left <= budget.turn_bytes_max / 2 {
                break;
            }
        }
        for _ in 0..budget.turn_visits_max {
            let Some(owner) = self.next_owner(now) else { break };
            let Some(owner) = self.context.engine.server_of(owner) else { continue };
            let key = ConnectionKey::of_owner(owner);
            let flush = |it: &mut Connection<S>, context: &mut _| it.flush(now, context);
            bytes_left = bytes_left.saturating_sub(self.step(key, flush));
            self.keep_buffers_within_memory(now, key);
            if bytes_left == 0 {
                break;
            }
        }
        // Who has to go already makes room first: only then it shows whether anybody else has to. What happened to clients is
        // told while they are there.
        self.tell_news(now);
        self.expel(now);
        self.context.feeds.keep_within_memory();
        self.tell_news(now);
        self.expel(now);
        // Who came in this turn has had a chance to say something before it has to make room.
        self.waiting_room.open();
    }

    /// The subscriber that is to be served next, if any need not wait for more messages.
    fn next_owner(&mut self, now: Instant) -> Option<Owner> {
        self.release_feeds(now);
        loop {
            let owner = self.context.feeds.next_owner();
            // Feeds may have grown while they were being served.
            if owner.is_some() || !self.release_feeds(now) {
                return owner;
            }
        }
    }

    /// Lets feeds that grew be served once they have waited long enough for more. What waits longer would hold up the
    /// sources, or those who leave.
    fn release_feeds(&mut self, now: Instant) -> bool {
        let Context { feeds, admission, .. } = &mut self.context;
        let is_urgent = feeds.is_congested() || admission.phase == Phase::Draining;
        let is_over = self.gathering.is_over(now, feeds.has_fresh(), is_urgent);
        if is_over {
            feeds.release();
        }
        is_over
    }

    /// Closes those that the feeds gave up.
    fn expel(&mut self, now: Instant) {
        for _ in 0..TURN_CLOSES_MAX {
            let Some((owner, reason)) = self.context.feeds.pop_expelled() else { return };
            let Context { engine, feeds, .. } = &mut self.context;
            let Some(server) = engine.server_of(owner) else {
                engine.end_unserved(owner, reason, feeds);
                continue;
            };
            let key = ConnectionKey::of_owner(server);
            self.step(key, |connection, context| match &mut connection.state {
                // Waiting for it to read a goodbye would keep what is to be freed.
                _ if reason == CloseReason::Memory => connection.expel(now, context),
                State::Session(session) => {
                    session.close(reason);
                    connection.flush(now, context)
                }
                State::Http(_) | State::Lingering { .. } | State::Closed => Step::IDLE,
            });
        }
    }

    /// Drops a connection that cannot be waited for.
    pub(crate) fn abandon(&mut self, key: ConnectionKey) {
        self.step(key, |connection, context| {
            connection.close(CloseReason::Reset, context);
            Step::IDLE
        });
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
            self.context.hooks.forget(key.to_number());
            self.already_read.remove(key);
            self.context.admission.release(connection.ip, connection.role);
            return Some(connection.stream);
        }
    }

    /// Takes a connection over, unless its address has too many already, or it has sent too much: that one is told so and
    /// dropped. What it has sent waits for [`Self::begin`].
    pub(crate) fn adopt(
        &mut self,
        now: Instant,
        mut newcomer: Newcomer<S>,
        role: Role,
    ) -> Option<ConnectionKey> {
        let input = std::mem::take(&mut newcomer.input);
        let Ok(already_read) = AlreadyRead::new(input, &self.context.request_memory) else {
            self.turn_newcomer_away(newcomer, "too many unfinished requests");
            return None;
        };
        if !self.context.admission.admit(newcomer.ip, role) {
            self.turn_newcomer_away(newcomer, "too many connections from this address");
            return None;
        }
        let Newcomer { stream, ip, upgraded, .. } = newcomer;
        let key = self.insert(now, stream, ip, role);
        self.keep_already_read(key, already_read);
        if let Some(upgraded) = upgraded {
            self.step(key, |connection, context| {
                connection.open_adopted(&connection.peer(now), upgraded, context);
                Step::IDLE
            });
        }
        Some(key)
    }

    /// Starts to serve a connection that was taken over: with what it is owed already, then with what it has sent.
    pub(crate) fn begin(&mut self, now: Instant, key: ConnectionKey, scratch: &mut [u8]) {
        self.step(key, |connection, context| connection.flush(now, context));
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
            self.step(ConnectionKey::of_owner(owner), |connection, _| {
                if let State::Session(session) = &mut connection.state {
                    session.disconnect(code.number());
                }
                Step { bytes_sent: 0, is_cut: true }
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
                self.step(key, |connection, context| {
                    if let State::Session(session) = &mut connection.state {
                        session.close(CloseReason::Hook);
                    }
                    connection.flush(now, context)
                });
            }
        }
    }

    /// Has connections act for the sessions that they carry, within the turn's bounds, and counts those sessions that ended.
    pub(super) fn follow_sessions(&mut self) {
        while let Some((owner, wake)) = self.context.engine.pop_wake() {
            self.step(ConnectionKey::of_owner(owner), |connection, _| {
                if let State::Session(Session::EngineIo(carrier)) = &mut connection.state {
                    carrier.wake(wake);
                }
                Step { bytes_sent: 0, is_cut: true }
            });
        }
        while let Some(Ended { owner: Owner(client), reason, ip }) = self.context.engine.pop_ended()
        {
            let Context { metrics, hooks, .. } = &mut self.context;
            metrics.client_closed(Transport::SocketIo, reason);
            // Whether that panics makes no difference to it.
            let _ = hooks.tell(client, Transport::SocketIo, ip, Happened::Closed(reason));
            hooks.forget(client);
            log::debug!("socketio session ended: {reason}");
        }
    }

    /// Closes those who have held something for longest where that is too much, and where a few of them are not enough
    /// the one whose visit made it grow.
    pub(super) fn keep_buffers_within_memory(&mut self, now: Instant, grown: ConnectionKey) {
        for _ in 0..VISIT_EXPULSIONS_MAX {
            let Some(oldest) = self.stream_buffers.oldest() else { return };
            if !self.stream_buffers.is_exceeded() {
                return;
            }
            self.expel_holder(now, oldest);
        }
        if self.stream_buffers.is_exceeded() {
            self.expel_holder(now, grown);
        }
    }

    fn expel_holder(&mut self, now: Instant, key: ConnectionKey) {
        self.step(key, |connection, context| {
            let visit = match connection.state {
                State::Session(_) => connection.expel(now, context),
                _ => Step::IDLE,
            };
            if connection.stream.held_bytes() > 0 {
                connection.close(CloseReason::Memory, context);
            }
            visit
        });
    }

    /// Closes everyone at once: there is no more time for goodbyes.
    pub(crate) fn close_all(&mut self) {
        let Context { engine, feeds, .. } = &mut self.context;
        let sessions: Vec<_> = engine.owners().collect();
        for owner in sessions {
            engine.end_unserved(owner, CloseReason::Shutdown, feeds);
        }
        let keys: Vec<_> = self.connections.keys().collect();
        for key in keys {
            self.step(key, |connection, context| {
                connection.close(CloseReason::Shutdown, context);
                Step::IDLE
            });
        }
        self.follow_sessions();
    }

    /// From now on nobody is let in who is not in already, and nobody is told that we are ready.
    pub(crate) fn stop_serving(&mut self) {
        self.context.admission.phase = Phase::Draining;
        self.context.engine.stop();
    }

    /// Starts to say goodbye to everyone, spread over a part of the time until `until`.
    pub(crate) fn begin_shutdown(&mut self, now: Instant, until: Instant) {
        let keys: Vec<_> = self.connections.keys().collect();
        let mut clients: Vec<_> = self.context.engine.owners().collect();
        for key in keys {
            self.step(key, |connection, context| {
                match &mut connection.state {
                    State::Http(http) if http.is_idle() => {
                        connection.close(CloseReason::Shutdown, context);
                    }
                    State::Http(http) => http.close_after_answer(),
                    State::Session(session) if session.is_carrier() => {}
                    State::Session(_) => clients.push(key.owner()),
                    State::Lingering { .. } | State::Closed => {}
                }
                Step::IDLE
            });
        }
        self.shutdown = Some(ShutdownSchedule::new(now, until, clients));
    }

    /// Has the goodbyes be over by `until` at the latest.
    pub(crate) fn hurry(&mut self, until: Instant) {
        if let Some(drain) = &mut self.shutdown {
            drain.hurry(until);
        }
    }

    pub(super) fn advance_shutdown(&mut self, now: Instant) {
        while let Some(owner) = self.shutdown.as_mut().and_then(|drain| drain.pop_due(now)) {
            let Context { engine, feeds, .. } = &mut self.context;
            let Some(owner) = engine.begin_leaving(owner, feeds) else { continue };
            self.step(ConnectionKey::of_owner(owner), |connection, context| {
                if let State::Session(session) = &mut connection.state {
                    session.close_when_drained(&context.feeds, CloseReason::Shutdown);
                }
                connection.flush(now, context)
            });
        }
        if self.shutdown.as_mut().is_some_and(|drain| drain.ends(now)) {
            self.close_all();
        }
    }

    /// Lets a connection act, and returns how many bytes it sent.
    pub(super) fn step(
        &mut self,
        key: ConnectionKey,
        act: impl FnOnce(&mut Connection<S>, &mut Context) -> Step,
    ) -> usize {
        let Some(connection) = self.connections.get_mut(key).filter(|it| !it.is_closed()) else {
            return 0;
        };
        let visit = act(connection, &mut self.context);
        self.reconcile(key, visit);
        visit.bytes_sent
    }

    /// Notes what follows from a visit.
    fn reconcile(&mut self, key: ConnectionKey, visit: Step) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        // What is closed is dropped before the turn ends.
        let held_bytes = if connection.is_closed() { 0 } else { connection.stream.held_bytes() };
        if held_bytes > 0 || connection.is_holding {
            connection.is_holding = held_bytes > 0;
            self.stream_buffers.note(key, held_bytes);
        }
        if connection.is_closed() {
            self.closed.push(key);
            return;
        }
        if visit.is_cut && !std::mem::replace(&mut connection.is_queued, true) {
            self.again.push_back(key);
        }
        let interest = connection.interest();
        if interest != connection.registered {
            self.changed.push(key);
        }
        if interest.readable
            && (connection.stream.may_hold_input() || self.already_read.contains_key(key))
            && !std::mem::replace(&mut connection.is_unread, true)
        {
            self.unread.push_back(key);
        }
        if let Some(deadline) = connection.next_deadline()
            && connection.scheduled.is_none_or(|scheduled| deadline < scheduled)
        {
            connection.scheduled = Some(deadline);
            self.timers.schedule(deadline, key);
            self.forget_stale_timers();
        }
    }

    /// Entries of connections that ended, or whose deadline came nearer, stay until they are due; not too many of them.
    fn forget_stale_timers(&mut self) {
        if self.timers.len() > 4 * self.connections.len() + 1024 {
            let connections = &self.connections;
            self.timers.retain(|deadline, key| {
                connections.get(*key).is_some_and(|own| own.scheduled == Some(deadline))
            });
        }
    }
}

fn occupant<S: ByteStream>(
    connections: &SlotMap<ConnectionKey, Connection<S>>,
    key: ConnectionKey,
) -> Occupant {
    connections.get(key).map_or(Occupant::Gone, Connection::occupant)
}
