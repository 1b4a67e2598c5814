//! The loop: one thread, one poller, one turn after the other. Knows sources, listeners and connections, and nothing of
//! what they speak.

mod clock;
mod registry;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clock::Clock;
use registry::{Ready, Registry, Slot, Waker};

use crate::connection::{Connections, Context, Interest};
use crate::http::{Date, Serves};
use crate::intake::{Intake, IntakeCounts};
use crate::metrics::UpstreamMetrics;
use crate::net::{Accepted, Listener, Stream};
use crate::source::{Budget, Source};
use crate::topics::{Change, Demand, Filter};

/// The loop's one read buffer: what one client may say in a turn. Clients say little; more than this would only let one
/// of them hold up the others.
const SCRATCH_BYTES: usize = 16 << 10;

/// Clients that one listener may bring in a turn: about 1 ms of accepting.
const TURN_ACCEPTS_MAX: usize = 64;

/// Messages and bytes that are taken from a source before another one has its turn.
const DRAIN_STEP: Budget = Budget { messages: 64, bytes: 64 << 10 };

/// Messages read in one turn, each counted once and once more for each feed it goes to: about 0.5 ms of small ones.
const TURN_APPENDS_MAX: usize = 4 << 10;

/// Prefixes that publishers are asked for, or no more, in one turn: 0.3 ms for each source, 10 ms where somebody asks for
/// the longest.
const TURN_DEMANDS_MAX: usize = 256;

/// Reading or writing so many bytes to inflate them takes as long as appending a small message: JSON of 64 KiB takes
/// 120 to 150 µs.
const WORK_BYTES_PER_APPEND: usize = 64;

/// Connections to the listener for metrics and health that are let in when clients have taken everything else.
const OPERATION_CONNECTIONS: usize = 16;

/// Connections that are closed in one turn.
const TURN_CLOSES_MAX: usize = 512;

/// How long nobody is accepted after the descriptors ran out, unless a connection ends sooner.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How often it is said that nobody is accepted: a full process can be full for days.
const ACCEPT_WARNING_INTERVAL: Duration = Duration::from_secs(60);

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
struct Door {
    /// `None` once it is closed for good.
    listener: Option<Listener>,
    serves: Serves,
}

/// What the loop is made of.
pub(crate) struct Parts {
    pub(crate) sources: Vec<Source>,
    pub(crate) listeners: Vec<(Listener, Serves)>,
    pub(crate) context: Context,
    pub(crate) intake: Intake,
    /// How long stopping may take.
    pub(crate) drain: Duration,
    /// Connections of any kind, clients or not.
    pub(crate) connections_max: usize,
}

/// One gateway's loop.
pub(crate) struct EventLoop {
    registry: Registry,
    ready: Vec<Ready>,
    doors: Vec<Door>,
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
    drain: Duration,
    phase: Phase,
    stop: Arc<AtomicBool>,
}

/// Asks a loop to stop, from any thread.
#[derive(Debug, Clone)]
pub(crate) struct Stopper {
    stop: Arc<AtomicBool>,
    waker: Waker,
}

impl Stopper {
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            log::error!("cannot wake the loop: {error}");
        }
    }
}

impl EventLoop {
    pub(crate) fn new(now: Instant, parts: Parts) -> io::Result<Self> {
        let registry = Registry::new()?;
        let readable = Interest { readable: true, writable: false };
        for (index, (listener, _)) in (0..).zip(&parts.listeners) {
            registry.add(listener, Slot::Listener(index), readable)?;
        }
        for (index, source) in (0..).zip(&parts.sources) {
            registry.add(source.fd(), Slot::Source(index), readable)?;
            if let Some(monitor) = source.monitor_fd() {
                registry.add(monitor, Slot::Monitor(index), readable)?;
            }
        }
        let door = |(listener, serves)| Door { listener: Some(listener), serves };
        Ok(Self {
            registry,
            ready: Vec::new(),
            doors: parts.listeners.into_iter().map(door).collect(),
            sources: parts.sources,
            connections: Connections::new(parts.context),
            scratch: vec![0; SCRATCH_BYTES].into(),
            clock: Clock::new(now),
            accept_again: None,
            accept_warned_until: None,
            connections_max: parts.connections_max,
            intake: parts.intake,
            next_source: 0,
            drain: parts.drain,
            phase: Phase::Serving,
            stop: Arc::default(),
        })
    }

    pub(crate) fn stopper(&self) -> Stopper {
        Stopper { stop: Arc::clone(&self.stop), waker: self.registry.waker() }
    }

    /// The listeners that are open, with what they serve.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = (&Listener, Serves)> {
        self.doors.iter().filter_map(|door| Some((door.listener.as_ref()?, door.serves)))
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
        self.follow_demand(now);
        self.drain_sources(now);
        self.fire_timers(now);
        self.connections.flush(now);
        self.reap();
        self.connections.context.metrics.turn_took(self.clock.since_turn_began());
        Ok(self.phase != Phase::Stopped)
    }

    /// When a turn is needed at the latest though nothing became ready, in real time; in the past where at once.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadline().map(|deadline| self.clock.to_real(deadline))
    }

    /// As [`Self::next_deadline`], in the loop's time.
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
        has_demands || self.connections.has_work() || self.sources.iter().any(Source::needs_drain)
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

    fn accept(&mut self, now: Instant, index: usize) {
        for _ in 0..TURN_ACCEPTS_MAX {
            let Some(Door { listener: Some(listener), serves }) = self.doors.get(index) else {
                return;
            };
            let serves = *serves;
            let Accepted { mut stream, ip } = match listener.accept() {
                Ok(Some(accepted)) => accepted,
                Ok(None) => return,
                Err(error) => return self.pause_accepting(now, &error.to_string()),
            };
            if !self.has_room(serves) {
                self.connections.turn_away(&mut stream, "too many connections");
                return self.pause_accepting(now, "there are as many connections as allowed");
            }
            let Some(key) = self.connections.accept(now, stream, ip, serves) else { continue };
            let Some(stream) = self.connections.stream(key) else { continue };
            let readable = Interest { readable: true, writable: false };
            if let Err(error) = self.registry.add(stream, Slot::Connection(key), readable) {
                self.connections.abandon(key);
                return self.pause_accepting(now, &error.to_string());
            }
            // Most clients have sent their request by now: that saves a turn for each of them.
            self.connections.handle_readable(now, key, &mut self.scratch);
        }
    }

    /// Whether one more may come in, perhaps in the place of somebody who only waits.
    fn has_room(&mut self, serves: Serves) -> bool {
        let reserve = if serves == Serves::Operation { OPERATION_CONNECTIONS } else { 0 };
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

    fn resume_accepting(&mut self) {
        if self.accept_again.take().is_some() {
            self.set_accepting(true);
        }
    }

    fn set_accepting(&self, readable: bool) {
        for (index, door) in (0..).zip(&self.doors) {
            let Some(listener) = &door.listener else { continue };
            let interest = Interest { readable, writable: false };
            if let Err(error) = self.registry.modify(listener, Slot::Listener(index), interest) {
                log::error!("{}: cannot change what is waited for: {error}", listener.url());
            }
        }
    }

    /// Asks publishers for what clients want, where that is not the same all the time.
    fn follow_demand(&mut self, now: Instant) {
        let Some(demand) = self.connections.context.feeds.demand_mut() else { return };
        demand.advance(now);
        let mut begun = Vec::new();
        for change in std::iter::from_fn(|| demand.pop_change()).take(TURN_DEMANDS_MAX) {
            if let Change::Subscribe(prefix) = &change {
                begun.push(prefix.to_vec());
            }
            for source in &mut self.sources {
                match &change {
                    Change::Subscribe(prefix) => source.subscribe(prefix),
                    Change::Unsubscribe(prefix) => source.unsubscribe(prefix),
                }
            }
        }
        if !begun.is_empty() {
            // What nobody asked for meanwhile is not lost. All at once: it takes a look at every topic.
            self.intake.forget(&Filter::new(begun, Vec::new()));
        }
    }

    /// Takes in messages, a step of each source after the other, as long as clients with room keep up.
    fn drain_sources(&mut self, now: Instant) {
        let count = self.sources.len();
        let mut appends_left = TURN_APPENDS_MAX;
        let mut idle = 0;
        while idle < count && appends_left > 0 && !self.connections.context.feeds.is_congested() {
            let index = self.next_source;
            self.next_source = (index + 1) % count;
            if self.sources[index].needs_drain() {
                self.drain_step(now, index, &mut appends_left);
                idle = 0;
            } else {
                idle += 1;
            }
        }
        self.connections.context.metrics.upstream = self.upstream_metrics();
    }

    fn drain_step(&mut self, now: Instant, index: usize, appends_left: &mut usize) {
        let Self { sources, connections, intake, .. } = self;
        let feeds = &mut connections.context.feeds;
        let passed_over = sources[index].counts().passed_over;
        // Whether there is more, the source knows itself.
        let _ = sources[index].drain(DRAIN_STEP, &mut |arrival| {
            if arrival.follows_loss {
                intake.note_loss(index);
            }
            let taken = intake.take_in(now, index, arrival.parts);
            // A message that nobody wants costs as much as one append.
            let inflating = taken.work_bytes / WORK_BYTES_PER_APPEND;
            let appends = 1 + feeds.publish(&taken.message) + inflating;
            *appends_left = appends_left.saturating_sub(appends);
            *appends_left > 0 && !feeds.is_congested()
        });
        // Otherwise a flood of what nobody wants, or of garbage, would hold the turn up for as long as it lasts.
        let passed_over = sources[index].counts().passed_over - passed_over;
        *appends_left =
            appends_left.saturating_sub(usize::try_from(passed_over).unwrap_or(usize::MAX));
    }

    fn upstream_metrics(&self) -> UpstreamMetrics {
        let &IntakeCounts { decode_failures, counters_unread } = self.intake.counts();
        let mut sum = UpstreamMetrics { decode_failures, counters_unread, ..Default::default() };
        for source in &self.sources {
            let counts = source.counts();
            sum.received_messages += counts.messages;
            sum.received_bytes += counts.bytes;
            sum.connections += counts.connections;
            // Every source asks for the same.
            sum.subscriptions = counts.subscriptions;
            sum.reconnects += counts.revived;
            sum.refused += counts.refused;
            for (sum, count) in sum.dropped_messages.iter_mut().zip(counts.dropped) {
                *sum += count;
            }
        }
        sum
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
        if self.phase == Phase::Serving && self.stop.load(Ordering::Acquire) {
            self.close_listeners(|serves| serves != Serves::Operation);
            self.connections.stop_serving();
            let (take_in_until, until) = (now + self.drain / 4, now + self.drain);
            self.phase = Phase::Stopping { take_in_until, until };
        }
        if let Phase::Stopping { take_in_until, until } = self.phase {
            let is_taken_in = !self.sources.iter().any(Source::needs_drain);
            if is_taken_in || take_in_until <= now {
                self.connections.begin_drain(now, until);
                self.phase = Phase::Draining { until };
            }
        }
    }

    fn close_listeners(&mut self, is_meant: impl Fn(Serves) -> bool) {
        for door in self.doors.iter_mut().filter(|door| is_meant(door.serves)) {
            if let Some(listener) = door.listener.take() {
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
        self.close_listeners(|_| true);
        for source in &self.sources {
            self.registry.remove(source.fd());
            if let Some(monitor) = source.monitor_fd() {
                self.registry.remove(monitor);
            }
        }
        self.connections.abandon_all();
        while let Some(stream) = self.connections.pop_closed() {
            self.registry.remove(&stream);
        }
    }
}
