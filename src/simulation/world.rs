//! A simulated gateway with its clients and its time: does in a turn what the event loop does, with pipes for sockets.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::client::{Client, Published, Run, random_topic};
use super::pipe::{Pipe, SharedPipe, SimStream};
use super::socket_io::{Page, Surroundings, Terms};
use crate::connection::{Budget, ConnectionKey, Connections, Context, Interest, Pages, in_memory};
use crate::error::GapReason;
use crate::feed::{self, LagPolicy};
use crate::history;
use crate::http::Role;
use crate::memory::Memory;
use crate::message::{Epoch, Lost, Message, Part, Seq, TopicFrom};
use crate::test_random::Random;

/// What kind of world it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) lag_bytes_max: usize,
    pub(super) lag_policy: LagPolicy,
    pub(super) history: history::Limits,
    pub(super) last_value: bool,
    pub(super) memory_bytes_max: usize,
    /// What fits between the gateway and a client.
    pub(super) pipe_bytes_max: usize,
    /// How much one client gets at once, at the least: enough for the world to come to an end.
    pub(super) visit_bytes_max: usize,
    /// Whether clients break the protocol, reset and leave.
    pub(super) misbehaves: bool,
}

impl Rules {
    /// Whether there is so much room that nobody is closed who does nothing wrong.
    fn is_lenient(&self) -> bool {
        self.visit_bytes_max >= 20_000
            && self.memory_bytes_max >= 64 << 20
            && self.lag_policy != LagPolicy::Disconnect
    }
}

pub(super) struct World {
    rules: Rules,
    now: Instant,
    run: Run,
    connections: Connections<SimStream>,
    registered: BTreeMap<ConnectionKey, (SharedPipe, Interest)>,
    clients: Vec<Client>,
    pages: Vec<Page>,
    published: Vec<Published>,
    waiting: Vec<Published>,
    /// Whether anybody missed anything in an earlier run.
    has_missed: bool,
}

const SECOND: Duration = Duration::from_secs(1);

impl World {
    pub(super) fn new(random: &mut Random, rules: Rules) -> Self {
        let (run, context) = begin(random, &rules, 0);
        Self {
            rules,
            now: Instant::now(),
            run,
            connections: Connections::new(context),
            registered: BTreeMap::new(),
            clients: Vec::new(),
            pages: Vec::new(),
            published: Vec::new(),
            waiting: Vec::new(),
            has_missed: false,
        }
    }

    pub(super) fn connect(&mut self, random: &mut Random, clients_max: usize) {
        if self.clients.len() < clients_max {
            let pipe = self.accept(random);
            self.clients.push(Client::new(random, pipe, self.run));
        }
    }

    /// A page with a Socket.IO client is opened.
    pub(super) fn open_page(&mut self, random: &mut Random, pages_max: usize) {
        if self.pages.len() < pages_max {
            let terms = Terms {
                has_values: self.rules.last_value,
                tells_in_place: self.rules.lag_policy == LagPolicy::Skip,
                is_lenient: self.rules.is_lenient(),
            };
            self.pages.extend(Page::open(random, self.run, terms));
        }
    }

    /// Somebody goes, or is gone already, and comes back with what it saw last.
    pub(super) fn reconnect(&mut self, random: &mut Random, clients_max: usize) {
        if self.clients.is_empty() || self.clients.len() >= clients_max {
            return;
        }
        let at = random.below(self.clients.len());
        let Some(since) = self.clients[at].since(random, &self.published) else { return };
        self.clients[at].leave();
        let pipe = self.accept(random);
        let client = self.clients[at].again(random, pipe, self.run, since);
        self.clients.push(client);
    }

    /// The gateway is killed and starts again, with nothing of what it had.
    pub(super) fn restart(&mut self, random: &mut Random) {
        self.note_missed();
        self.clients.iter_mut().for_each(Client::leave);
        self.connections.close_all();
        self.reap();
        let (run, context) = begin(random, &self.rules, self.published.len());
        self.pages.iter_mut().for_each(|page| page.abandon(&self.published, run));
        self.run = run;
        self.connections = Connections::new(context);
    }

    fn accept(&mut self, random: &mut Random) -> SharedPipe {
        let room = 1 + random.below(self.rules.pipe_bytes_max);
        self.accept_with_room(random, room)
    }

    fn accept_with_room(&mut self, random: &mut Random, room: usize) -> SharedPipe {
        let pipe = Pipe::new(room, random.next());
        let stream = SimStream(Rc::clone(&pipe));
        let key = self.connections.accept(self.now, stream, None, Role::All).unwrap();
        let interest = Interest { readable: true, writable: false };
        self.registered.insert(key, (Rc::clone(&pipe), interest));
        pipe
    }

    /// A message waits upstream.
    pub(super) fn publish(&mut self, random: &mut Random) {
        let topic = random_topic(random).to_owned();
        let size = [20, 200, 2_000, 30_000][random.below(4)];
        let filler = filler(random, size);
        let number = self.published.len() + self.waiting.len() + 1;
        let missed = random.chance(2).then(|| random.next());
        let lost = random.chance(8).then_some(Lost { missed });
        let body = format!("{number}|{filler}").into_bytes();
        self.waiting.push(Published { topic, lost, body });
    }

    /// Some clients do something.
    pub(super) fn act(&mut self, random: &mut Random) {
        for _ in 0..random.below(4) {
            if !self.clients.is_empty() {
                let at = random.below(self.clients.len());
                self.clients[at].act(random, self.rules.misbehaves);
            }
            if !self.pages.is_empty() {
                let at = random.below(self.pages.len());
                self.pages[at].act(random, &self.published, self.rules.misbehaves);
            }
        }
    }

    pub(super) fn pass_seconds(&mut self, random: &mut Random) {
        self.now += SECOND * random.below(12) as u32;
        self.pages.iter_mut().for_each(Page::excuse);
    }

    /// One turn of the loop, then clients read.
    pub(super) fn turn(&mut self, random: &mut Random) {
        self.now += Duration::from_millis(random.below(20) as u64);
        let mut scratch = [0; 512];
        for (key, readable, writable) in self.ready() {
            if readable {
                self.connections.handle_readable(self.now, key, &mut scratch);
            }
            if writable {
                self.connections.handle_writable(key);
            }
        }
        self.note_new_clients();
        self.note_new_topics();
        self.take_in();
        self.connections.fire_timers(self.now);
        self.connections.flush(self.now);
        let (feeds, deadline) = (&self.connections.context.feeds, self.connections.next_deadline());
        assert!(
            !feeds.has_fresh() || feeds.has_work() || deadline <= Some(self.now + SECOND),
            "what waits for more is sent in time"
        );
        self.note_new_clients();
        self.note_new_topics();
        self.reap();
        if random.chance(20) {
            self.connections.context.feeds.check_invariants();
        }
        let used = self.connections.context.memory.used_bytes();
        // Notices of gaps are made between two messages, and are not relieved before the next.
        let notices = self.clients.len() * 160;
        assert!(
            used <= self.rules.memory_bytes_max + notices,
            "{used} bytes are used of {} and {notices} for notices",
            self.rules.memory_bytes_max
        );
        for client in &mut self.clients {
            client.read(random);
        }
        self.step_pages(random);
    }

    fn step_pages(&mut self, random: &mut Random) {
        let mut pages = std::mem::take(&mut self.pages);
        let published = std::mem::take(&mut self.published);
        for page in &mut pages {
            let accept = &mut |random: &mut Random| {
                let narrowest = if self.rules.is_lenient() { 5_000 } else { 1 };
                let room = narrowest + random.below(self.rules.pipe_bytes_max);
                self.accept_with_room(random, room)
            };
            page.step(random, &mut Surroundings { published: &published, accept });
        }
        (self.pages, self.published) = (pages, published);
    }

    fn ready(&self) -> Vec<(ConnectionKey, bool, bool)> {
        let readiness = |(key, (pipe, interest)): (&ConnectionKey, &(SharedPipe, Interest))| {
            let pipe = pipe.borrow();
            let readable = interest.readable && pipe.is_readable();
            let writable = interest.writable && pipe.is_writable();
            (readable || writable).then_some((*key, readable, writable))
        };
        self.registered.iter().filter_map(readiness).collect()
    }

    /// Remembers from which message on those who became clients are owed everything.
    fn note_new_clients(&self) {
        for (key, (pipe, _)) in &self.registered {
            let mut pipe = pipe.borrow_mut();
            if pipe.upgraded_at.is_none() && self.connections.is_client(*key) {
                pipe.upgraded_at = Some(self.published.len());
            }
        }
    }

    /// Remembers from which message on who speaks ZWS is owed something else.
    fn note_new_topics(&mut self) {
        for (key, (pipe, _)) in &self.registered {
            let client = self.clients.iter_mut().find(|client| Rc::ptr_eq(&client.pipe, pipe));
            if let (Some(client), Some(topics)) = (client, self.connections.followed_topics(*key)) {
                client.subscriptions.note_followed(topics, self.published.len());
            }
        }
    }

    fn take_in(&mut self) {
        for published in std::mem::take(&mut self.waiting) {
            // What waits behind a message that could not be taken in is still in order.
            if !self.waiting.is_empty() || self.connections.context.feeds.is_congested() {
                self.waiting.push(published);
                continue;
            }
            let parts =
                [Part::from(published.topic.as_bytes()), Part::from(published.body.as_slice())];
            let seq = Seq((self.published.len() + 1 - self.run.begins_after) as u64);
            let mut message = Message::from_parts(seq, &parts, TopicFrom::Part);
            message.lost_upstream = published.lost;
            self.published.push(published);
            self.connections.context.feeds.publish(&message);
        }
    }

    fn reap(&mut self) {
        while let Some((key, _, interest)) = self.connections.pop_changed() {
            self.registered.get_mut(&key).unwrap().1 = interest;
        }
        while let Some(stream) = self.connections.pop_closed() {
            self.registered.retain(|_, (pipe, _)| !Rc::ptr_eq(pipe, &stream.0));
        }
    }

    /// Nothing new happens, everyone reads; then every client's account must be right, and nothing may be left behind.
    pub(super) fn finish(mut self, random: &mut Random) {
        self.clients.iter_mut().for_each(Client::recover);
        self.pages.iter_mut().for_each(Page::recover);
        let mut quiet_turns = 0;
        let mut turns = 0;
        while quiet_turns < 3 {
            self.turn(random);
            let is_quiet = self.waiting.is_empty()
                && self.ready().is_empty()
                && !self.connections.has_work()
                && !self.connections.context.feeds.has_fresh()
                && self.clients.iter().all(|client| client.pipe.borrow().to_client.is_empty())
                && self.pages.iter_mut().all(Page::is_quiet);
            quiet_turns = if is_quiet { quiet_turns + 1 } else { 0 };
            turns += 1;
            // The narrowest client takes a byte in a turn.
            assert!(turns < 2_000_000, "the loop spins");
        }
        self.check_accounts();
        self.say_goodbye(random, 20 * SECOND);
        assert_eq!(self.connections.len(), 0, "nobody is left");
        let context = &self.connections.context;
        assert_eq!(context.feeds.len(), 0, "no feed is left");
        assert_eq!(context.memory.used_bytes(), 0, "no memory is held");
    }

    /// The gateway stops while everyone still has something to get, which everyone then reads.
    pub(super) fn stop(mut self, random: &mut Random) {
        while !self.waiting.is_empty() {
            self.turn(random);
        }
        self.clients.iter_mut().for_each(Client::recover);
        self.pages.iter_mut().for_each(Page::recover);
        // Who kept the gateway waiting for too long is closed for that, the others show that they live.
        (0..3).for_each(|_| self.turn(random));
        self.say_goodbye(random, 600 * SECOND);
        self.check_accounts();
    }

    fn note_missed(&mut self) {
        // What was lost upstream is nothing that anybody was owed.
        let gaps = self.connections.context.feeds.counts().gaps;
        let gaps = gaps.iter().sum::<u64>() - gaps[GapReason::Upstream as usize];
        self.has_missed |= gaps > 0 || self.rules.lag_policy == LagPolicy::Conflate;
    }

    fn check_accounts(&mut self) {
        self.note_missed();
        for client in &self.clients {
            let pipe = client.pipe.borrow();
            let is_alive = !pipe.server_ended && !client.has_left();
            drop(pipe);
            client.check(&self.published, is_alive, self.has_missed, self.rules.last_value);
        }
        for page in &self.pages {
            page.check(&self.published, !page.is_stopping());
        }
    }

    fn say_goodbye(&mut self, random: &mut Random, drain: Duration) {
        let alive: Vec<bool> =
            self.clients.iter().map(|client| !client.pipe.borrow().server_ended).collect();
        let owed: Vec<bool> = self.pages.iter_mut().map(Page::begin_stop).collect();
        self.connections.stop_serving();
        self.connections.begin_shutdown(self.now, self.now + drain);
        let mut turns = 0;
        while self.connections.len() > 0 {
            self.turn(random);
            for client in &mut self.clients {
                let mut pipe = client.pipe.borrow_mut();
                pipe.client_ended |= pipe.server_ended && pipe.to_client.is_empty();
            }
            self.pages.iter_mut().for_each(Page::follow_ends);
            turns += 1;
            assert!(turns < 100_000, "the drain ends");
        }
        self.step_pages(random);
        for (page, is_owed) in self.pages.iter().zip(owed) {
            assert!(!is_owed || page.was_said_goodbye(), "{page:?}");
        }
        for (client, was_alive) in self.clients.iter_mut().zip(alive) {
            client.read_at_most(usize::MAX);
            let was_served = was_alive && client.pipe.borrow().upgraded_at.is_some();
            if was_served && client.is_owed_goodbye() {
                assert!(client.was_said_goodbye(&self.published), "{client:?}");
            }
        }
    }
}

/// Less than `size` letters: all the same, or such that they become half as many bytes when they are deflated.
fn filler(random: &mut Random, size: usize) -> String {
    let len = random.below(size);
    if random.chance(2) {
        return "x".repeat(len);
    }
    random.bytes(len).into_iter().map(|byte| char::from(b'a' + byte % 16)).collect()
}

/// A run of the gateway, after so many messages.
fn begin(random: &mut Random, rules: &Rules, begins_after: usize) -> (Run, Context) {
    let feed_limits = feed::Limits {
        lag_bytes_max: rules.lag_bytes_max,
        lag_policy: rules.lag_policy,
        history: rules.history,
        last_value: rules.last_value,
    };
    let seed = random.next();
    let mut context = Context {
        request_memory: Memory::with_limit(100_000),
        budget: Budget {
            visit_bytes_max: rules.visit_bytes_max + random.below(5_000),
            turn_visits_max: 400 + random.below(rules.visit_bytes_max),
            turn_bytes_max: 40_000 + rules.visit_bytes_max + random.below(20_000),
        },
        coalesce: Duration::from_millis([0, 5, 1_000][random.below(3)]),
        ..in_memory::context(seed, feed_limits, rules.memory_bytes_max)
    };
    context.site.pages = Pages::None;
    context.feeds.limit_turn_topics(1 + random.below(50));
    (Run { epoch: Epoch::from_seed(seed), begins_after }, context)
}
