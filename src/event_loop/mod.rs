//! The loop: one thread, one poller, one turn after the other. Knows sources, listeners and connections, and nothing of
//! what they speak.

mod accept;
mod clock;
mod inbox;
mod registry;
mod upstream;

pub(crate) use inbox::{InboxLimits, Mailbox, Post, Stop, Unposted};

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use clock::Clock;
use inbox::Inbox;
use registry::{Ready, Registry, Slot};

use crate::connection::{Connections, Context, Interest};
use crate::error::DropReason;
use crate::hooks::Mapper;
use crate::http::{Date, Role};
use crate::intake::Intake;
use crate::net::{Listener, Stream};
use crate::source::Source;
use crate::topics::Demand;

/// The loop's one read buffer: what one client may say in a turn. Clients say little; more than this would only let one
/// of them hold up the others.
const SCRATCH_BYTES: usize = 16 << 10;

/// Connections that are closed in one turn.
const TURN_CLOSES_MAX: usize = 512;

/// What a gateway does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Told to stop: nobody new is accepted, what waits in the sources is taken in until the time given.
    Stopping {
        take_in_until: Instant,
        until: Instant,
    },
    /// Clients are said goodbye.
    Draining {
        until: Instant,
    },
    Stopped,
}

/// A place where clients come in.
struct BoundListener {
    /// `None` once it is closed for good.
    listener: Option<Listener>,
    role: Role,
}

/// What the loop is made of.
pub(crate) struct Parts {
    pub(crate) sources: Vec<Source>,
    pub(crate) listeners: Vec<(Listener, Role)>,
    pub(crate) context: Context,
    pub(crate) intake: Intake,
    /// Connections of any kind, clients or not.
    pub(crate) connections_max: usize,
    pub(crate) inbox: InboxLimits,
    pub(crate) mapper: Mapper,
    /// What connections are served that the host accepted.
    pub(crate) adopted_role: Role,
}

/// One gateway's loop.
pub(crate) struct EventLoop {
    registry: Registry,
    ready: Vec<Ready>,
    listeners: Vec<BoundListener>,
    sources: Vec<Source>,
    connections: Connections<Stream>,
    scratch: Box<[u8]>,
    clock: Clock,
    /// When accepting goes on after it was paused.
    accept_again: Option<Instant>,
    /// Until when the log has been told often enough.
    accept_warned_until: Option<Instant>,
    connections_max: usize,
    intake: Intake,
    /// The source that is drained next, so that a busy one does not starve the others.
    next_source: usize,
    phase: Phase,
    inbox: Inbox,
    mapper: Mapper,
    /// Messages of the host's own that were published.
    published: u64,
    /// Messages that were taken in and kept from clients by the host, or by what it made of them.
    unmapped: [u64; DropReason::ALL.len()],
    /// What connections are served that the host accepted.
    adopted_role: Role,
}

impl EventLoop {
    pub(crate) fn new(now: Instant, parts: Parts) -> io::Result<Self> {
        let registry = Registry::new()?;
        let readable = Interest { readable: true, writable: false };
        for (index, (listener, _)) in (0..).zip(&parts.listeners) {
            registry.add(listener, Slot::Listener(index), readable)?;
        }
        for (index, source) in (0..).zip(&parts.sources) {
            if let Some(messages) = source.fd() {
                registry.add(messages, Slot::Source(index), readable)?;
            }
            if let Some(monitor) = source.monitor_fd() {
                registry.add(monitor, Slot::Monitor(index), readable)?;
            }
        }
        let waker = registry.waker();
        let bound = |(listener, role)| BoundListener { listener: Some(listener), role };
        Ok(Self {
            registry,
            ready: Vec::new(),
            listeners: parts.listeners.into_iter().map(bound).collect(),
            sources: parts.sources,
            connections: Connections::new(parts.context),
            scratch: vec![0; SCRATCH_BYTES].into(),
            clock: Clock::new(now),
            accept_again: None,
            accept_warned_until: None,
            connections_max: parts.connections_max,
            intake: parts.intake,
            next_source: 0,
            phase: Phase::Serving,
            inbox: Inbox::new(parts.inbox, waker),
            mapper: parts.mapper,
            published: 0,
            unmapped: [0; DropReason::ALL.len()],
            adopted_role: parts.adopted_role,
        })
    }

    /// Something to speak to the loop with.
    pub(crate) fn mailbox(&self) -> Mailbox {
        self.inbox.mailbox()
    }

    /// The listeners that are open, with what they serve.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = (&Listener, Role)> {
        self.listeners.iter().filter_map(|bound| Some((bound.listener.as_ref()?, bound.role)))
    }

    /// Everyone who is connected.
    pub(crate) fn connections(&mut self) -> &mut Connections<Stream> {
        &mut self.connections
    }

    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Waits for at most `timeout`, then does everything that is to be done, within bounds: what is cut short goes on
    /// in the next turn, which does not wait. Returns whether the loop goes on.
    pub(crate) fn turn(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.poll(timeout)?;
        let now = self.clock.now();
        self.dispatch(now);
        self.handle_inbox(now);
        self.follow_demand(now);
        self.drain_sources(now);
        self.do_jobs();
        self.fire_timers(now);
        self.connections.flush(now);
        self.reap();
        self.connections.context.metrics.turn_took(self.clock.since_turn_began());
        Ok(self.phase != Phase::Stopped)
    }

    /// When a turn is needed at the latest though nothing became ready, in real time; in the past where at once. So it is as
    /// long as the last wait reported anything: of what is left of that, an edge-triggered poller around this one hears
    /// nothing.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let now = || self.clock.now();
        let deadline = if self.ready.is_empty() { self.deadline() } else { Some(now()) };
        deadline.map(|deadline| self.clock.to_real(deadline))
    }

    /// When a turn is needed at the latest, in the loop's time, where this poller itself is waited for.
    fn deadline(&self) -> Option<Instant> {
        let now = self.clock.now();
        if self.has_work() {
            return Some(now);
        }
        let phase = match self.phase {
            Phase::Serving => None,
            Phase::Stopping { take_in_until, .. } => Some(take_in_until),
            Phase::Draining { until } => Some(until),
            Phase::Stopped => Some(now),
        };
        let sources = self.sources.iter().filter_map(Source::next_deadline).min();
        let demand = self.connections.context.feeds.demand().and_then(Demand::next_deadline);
        [phase, sources, demand, self.accept_again, self.connections.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether something can go on without waiting: the poller will not say so.
    fn has_work(&self) -> bool {
        let has_demands = self.connections.context.feeds.demand().is_some_and(Demand::has_work);
        has_demands
            || self.inbox.has_work()
            || self.connections.has_work()
            || self.sources.iter().any(Source::needs_drain)
    }

    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let now = self.clock.now();
        let until_deadline =
            self.deadline().map(|deadline| deadline.saturating_duration_since(now));
        let timeout = [timeout, until_deadline].into_iter().flatten().min();
        self.registry.wait(timeout, &mut self.ready)?;
        // A host may have waited on its own before it called, but not beyond the deadline that it was told.
        self.clock.begin_turn(until_deadline);
        if let Some(time) = self.clock.new_second() {
            self.connections.context.date = Date::from_system_time(time);
        }
        Ok(())
    }

    /// Hands out what became ready: those who are connected first, then newcomers.
    fn dispatch(&mut self, now: Instant) {
        let ready = std::mem::take(&mut self.ready);
        self.connections.read_unread(now, &mut self.scratch);
        for Ready { slot, readable, writable } in &ready {
            match *slot {
                Slot::Connection(key) => {
                    if *readable {
                        self.connections.handle_readable(now, key, &mut self.scratch);
                    }
                    if *writable {
                        self.connections.handle_writable(key);
                    }
                }
                Slot::Monitor(index) => self.sources[usize::from(index)].handle_monitor(now),
                Slot::Source(index) => self.sources[usize::from(index)].note_ready(),
                Slot::Listener(_) => {}
            }
        }
        for Ready { slot, .. } in &ready {
            if let Slot::Listener(index) = *slot {
                self.accept(now, usize::from(index));
            }
        }
        self.ready = ready;
    }

    fn fire_timers(&mut self, now: Instant) {
        for source in &mut self.sources {
            if source.next_deadline().is_some_and(|deadline| deadline <= now) {
                source.handle_timeout(now);
            }
        }
        if self.accept_again.is_some_and(|deadline| deadline <= now) {
            self.resume_accepting();
        }
        self.connections.fire_timers(now);
        self.advance_phase(now);
    }

    /// Stops in order: nobody new, then what waits upstream, then goodbyes.
    fn advance_phase(&mut self, now: Instant) {
        if let Phase::Stopping { take_in_until, until } = self.phase {
            let is_taken_in =
                !self.inbox.has_posts() && !self.sources.iter().any(Source::needs_drain);
            if is_taken_in || take_in_until <= now {
                self.take_in_all_posts();
                self.connections.begin_shutdown(now, until);
                self.phase = Phase::Draining { until };
            }
        }
    }

    /// Begins to stop, or has less time for it than before.
    fn stop(&mut self, now: Instant, stop: Stop) {
        let end = now + stop.within;
        match &mut self.phase {
            Phase::Serving => {
                self.close_listeners(|role| role != Role::Operation);
                self.connections.stop_serving();
                let take_in_until = now + (end - now) / 4;
                self.phase = Phase::Stopping { take_in_until, until: end };
            }
            Phase::Stopping { take_in_until, until } => {
                *until = end.min(*until);
                *take_in_until = (now + (*until - now.min(*until)) / 4).min(*take_in_until);
            }
            Phase::Draining { until } => {
                *until = end.min(*until);
                self.connections.hurry(*until);
            }
            Phase::Stopped => {}
        }
    }

    fn close_listeners(&mut self, is_meant: impl Fn(Role) -> bool) {
        for bound in self.listeners.iter_mut().filter(|bound| is_meant(bound.role)) {
            if let Some(listener) = bound.listener.take() {
                self.registry.remove(&listener);
            }
        }
    }

    /// Tells the poller what changed, and closes what ended: nowhere else is a connection's socket closed.
    fn reap(&mut self) {
        while let Some((key, stream, interest)) = self.connections.pop_changed() {
            if let Err(error) = self.registry.modify(stream, Slot::Connection(key), interest) {
                log::warn!("a connection cannot be waited for: {error}");
                self.connections.abandon(key);
            }
        }
        let mut has_room = false;
        for _ in 0..TURN_CLOSES_MAX {
            let Some(stream) = self.connections.pop_closed() else { break };
            self.registry.remove(&stream);
            has_room = true;
        }
        if has_room {
            self.resume_accepting();
        }
        if matches!(self.phase, Phase::Draining { .. }) && self.connections.len() == 0 {
            self.phase = Phase::Stopped;
            if self.inbox.has_posts() {
                let count = self.inbox.posts_len();
                log::warn!(
                    "{count} messages of the host's are not published: mapping them takes too long"
                );
            }
            self.inbox.close();
        }
    }
}

impl AsFd for EventLoop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.registry.as_fd()
    }
}

impl Drop for EventLoop {
    /// Whatever was added to the poller is removed before its descriptor is closed.
    fn drop(&mut self) {
        self.inbox.close();
        self.close_listeners(|_| true);
        for source in &self.sources {
            self.registry.remove_source(source);
        }
        self.connections.close_all();
        while let Some(stream) = self.connections.pop_closed() {
            self.registry.remove(&stream);
        }
    }
}
