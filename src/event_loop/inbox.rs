//! What other threads want of the loop: messages to publish, connections to take over, questions, the end. Knows neither
//! what is asked nor what messages mean.
//!
//! The one lock of a gateway is here. It is held to move a few pointers, never while something is done; a loop that nobody
//! speaks to does not take it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::registry::Waker;
use crate::connection::{Connections, Newcomer};
use crate::message::PartLen;
use crate::net::Stream;

/// Connections that wait to be taken over: many turns' worth. A host that accepts faster is told so.
const NEWCOMERS_MAX: usize = 1_024;

/// What was read of them already: at least 64 that said as much as they may.
const NEWCOMER_BYTES_MAX: usize = 4 << 20;

/// How much may wait here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InboxLimits {
    pub(crate) messages_max: usize,
    pub(crate) bytes_max: usize,
}

/// A message of the host's: its topic, then the parts of its body, whose lengths are `lens`.
pub(crate) struct Post {
    pub(crate) topic_bytes: usize,
    pub(crate) lens: Vec<PartLen>,
    pub(crate) bytes: Vec<u8>,
}

impl Post {
    /// What a message takes here of so many bytes and parts, empty ones included.
    pub(crate) fn held_bytes_of(bytes: usize, parts: usize) -> usize {
        bytes.saturating_add(parts.saturating_mul(size_of::<PartLen>()))
    }

    pub(super) fn held_bytes(&self) -> usize {
        Self::held_bytes_of(self.bytes.len(), self.lens.len())
    }
}

/// Something to be done with all connections, on the loop's thread.
pub(crate) type Job = Box<dyn FnOnce(&mut Connections<Stream>) + Send>;

/// Why something was not put here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unposted {
    Full,
    Stopped,
}

/// When a gateway is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stop {
    /// How long that may take.
    pub(crate) within: Duration,
}

/// Speaks to a loop, from any thread.
#[derive(Clone)]
pub(crate) struct Mailbox {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Whether the loop was woken, or looks anyway: it is woken once for all that waits.
    has_news: AtomicBool,
    limits: InboxLimits,
    /// The loop never leaves the thread that made it.
    thread: ThreadId,
}

struct State {
    gate: Gate,
    /// Gone with the loop, so that no descriptor outlives it.
    waker: Option<Waker>,
    posts: VecDeque<Post>,
    /// Messages and bytes that were accepted and not published yet, those included that the loop has taken.
    held_messages: usize,
    held_bytes: usize,
    newcomers: VecDeque<Newcomer<Stream>>,
    /// Newcomers that were not taken over yet, and what was read of them, those included that the loop has taken.
    held_newcomers: usize,
    held_input_bytes: usize,
    jobs: VecDeque<Job>,
    stop: Option<Stop>,
}

/// What is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gate {
    Open,
    /// The gateway was told to stop: only questions.
    Stopping,
    Closed,
}

impl Mailbox {
    pub(super) fn new(limits: InboxLimits, waker: Waker) -> Self {
        let state = State {
            gate: Gate::Open,
            waker: Some(waker),
            posts: VecDeque::new(),
            held_messages: 0,
            held_bytes: 0,
            newcomers: VecDeque::new(),
            held_newcomers: 0,
            held_input_bytes: 0,
            jobs: VecDeque::new(),
            stop: None,
        };
        let (has_news, thread) = (AtomicBool::new(false), thread::current().id());
        Self { shared: Arc::new(Shared { state: Mutex::new(state), has_news, limits, thread }) }
    }

    pub(crate) fn limits(&self) -> InboxLimits {
        self.shared.limits
    }

    /// Whether this is the loop's own thread, which cannot wait for itself.
    pub(crate) fn is_own_thread(&self) -> bool {
        thread::current().id() == self.shared.thread
    }

    /// How many bytes a message may take that is posted now: something to know before it is made. None where there is no room
    /// for any.
    pub(crate) fn room_bytes(&self) -> Result<usize, Unposted> {
        let state = self.state();
        let InboxLimits { messages_max, bytes_max } = self.shared.limits;
        match state.gate {
            Gate::Open if state.held_messages >= messages_max => Ok(0),
            Gate::Open => Ok(bytes_max - state.held_bytes),
            Gate::Stopping | Gate::Closed => Err(Unposted::Stopped),
        }
    }

    /// Whether the loop has ended, so that nothing is let in any more, not even questions.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().gate == Gate::Closed
    }

    /// Has a message published in one of the next turns.
    pub(crate) fn post(&self, post: Post) -> Result<(), Unposted> {
        let mut state = self.state();
        if state.gate != Gate::Open {
            return Err(Unposted::Stopped);
        }
        let InboxLimits { messages_max, bytes_max } = self.shared.limits;
        let bytes = state.held_bytes + post.held_bytes();
        if state.held_messages >= messages_max || bytes > bytes_max {
            return Err(Unposted::Full);
        }
        state.held_messages += 1;
        state.held_bytes = bytes;
        state.posts.push_back(post);
        self.wake(&state);
        Ok(())
    }

    /// Has a connection taken over in one of the next turns.
    pub(crate) fn bring(&self, newcomer: Newcomer<Stream>) -> Result<(), Unposted> {
        let mut state = self.state();
        if state.gate != Gate::Open {
            return Err(Unposted::Stopped);
        }
        let input_bytes = state.held_input_bytes + newcomer.input.len();
        if state.held_newcomers >= NEWCOMERS_MAX || input_bytes > NEWCOMER_BYTES_MAX {
            return Err(Unposted::Full);
        }
        state.held_newcomers += 1;
        state.held_input_bytes = input_bytes;
        state.newcomers.push_back(newcomer);
        self.wake(&state);
        Ok(())
    }

    /// Has something done in the next turn.
    pub(crate) fn ask(&self, job: Job) -> Result<(), Unposted> {
        let mut state = self.state();
        if state.gate == Gate::Closed {
            return Err(Unposted::Stopped);
        }
        state.jobs.push_back(job);
        self.wake(&state);
        Ok(())
    }

    /// Lets the loop stop. Nothing more is let in, but questions; of several times the shortest counts.
    pub(crate) fn stop(&self, stop: Stop) {
        let mut state = self.state();
        state.gate = state.gate.max(Gate::Stopping);
        state.stop = Some(state.stop.map_or(stop, |before| before.min(stop)));
        self.wake(&state);
    }

    fn wake(&self, state: &State) {
        if let Some(waker) = &state.waker
            && !self.shared.has_news.swap(true, Ordering::AcqRel)
            && let Err(error) = waker.wake()
        {
            log::error!("cannot wake the loop: {error}");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done with the lock held can panic half-way.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("thread", &self.shared.thread).finish_non_exhaustive()
    }
}

/// The loop's end of it.
pub(super) struct Inbox {
    mailbox: Mailbox,
    posts: VecDeque<Post>,
    newcomers: VecDeque<Newcomer<Stream>>,
    jobs: VecDeque<Job>,
}

impl Inbox {
    pub(super) fn new(limits: InboxLimits, waker: Waker) -> Self {
        Self {
            mailbox: Mailbox::new(limits, waker),
            posts: VecDeque::new(),
            newcomers: VecDeque::new(),
            jobs: VecDeque::new(),
        }
    }

    pub(super) fn mailbox(&self) -> Mailbox {
        self.mailbox.clone()
    }

    /// Takes what came since the last turn. Returns whether the loop is to stop, once for each time it is told.
    pub(super) fn collect(&mut self) -> Option<Stop> {
        // Before the look, so that who comes after it wakes the loop again.
        if !self.mailbox.shared.has_news.swap(false, Ordering::AcqRel) {
            return None;
        }
        let Self { mailbox, posts, newcomers, jobs } = self;
        let mut state = mailbox.state();
        posts.append(&mut state.posts);
        newcomers.append(&mut state.newcomers);
        jobs.append(&mut state.jobs);
        state.stop.take()
    }

    /// Whether something waits that was taken.
    pub(super) fn has_work(&self) -> bool {
        self.has_posts() || !self.newcomers.is_empty() || !self.jobs.is_empty()
    }

    pub(super) fn has_posts(&self) -> bool {
        self.posts_len() > 0
    }

    pub(super) fn posts_len(&self) -> usize {
        self.posts.len()
    }

    pub(super) fn pop_job(&mut self) -> Option<Job> {
        self.jobs.pop_front()
    }

    pub(super) fn pop_newcomer(&mut self) -> Option<Newcomer<Stream>> {
        let newcomer = self.newcomers.pop_front()?;
        let mut state = self.mailbox.state();
        state.held_newcomers -= 1;
        state.held_input_bytes -= newcomer.input.len();
        drop(state);
        Some(newcomer)
    }

    /// Takes a message, for which there is room again after [`Self::release`].
    pub(super) fn pop_post(&mut self) -> Option<Post> {
        self.posts.pop_front()
    }

    /// So many messages were published, that took so many bytes here.
    pub(super) fn release(&mut self, messages: usize, bytes: usize) {
        let mut state = self.mailbox.state();
        state.held_messages -= messages;
        state.held_bytes -= bytes;
    }

    /// Lets nothing in any more. Who waits for an answer hears that there is none.
    pub(super) fn close(&mut self) {
        let (posts, newcomers, jobs, waker);
        {
            let mut state = self.mailbox.state();
            state.gate = Gate::Closed;
            posts = std::mem::take(&mut state.posts);
            newcomers = std::mem::take(&mut state.newcomers);
            jobs = std::mem::take(&mut state.jobs);
            waker = state.waker.take();
        }
        // What the host put into them is dropped without the lock.
        drop((posts, newcomers, jobs, waker));
        self.posts.clear();
        self.newcomers.clear();
        self.jobs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::registry::{Ready, Registry};

    fn post(bytes: usize) -> Post {
        Post { topic_bytes: 0, lens: Vec::new(), bytes: vec![0; bytes] }
    }

    fn inbox() -> (Registry, Inbox) {
        let registry = Registry::new().unwrap();
        let inbox = Inbox::new(InboxLimits { messages_max: 3, bytes_max: 10 }, registry.waker());
        (registry, inbox)
    }

    #[test]
    fn what_is_accepted_is_bounded_until_it_is_published() {
        let (_registry, mut inbox) = inbox();
        let mailbox = inbox.mailbox();
        assert_eq!(mailbox.post(post(11)), Err(Unposted::Full));
        assert_eq!((mailbox.post(post(6)), mailbox.post(post(4))), (Ok(()), Ok(())));
        assert_eq!(mailbox.post(post(1)), Err(Unposted::Full));
        assert_eq!(mailbox.post(post(0)), Ok(()));
        assert_eq!(mailbox.post(post(0)), Err(Unposted::Full));
        assert_eq!(inbox.collect(), None);
        assert_eq!(mailbox.post(post(0)), Err(Unposted::Full), "taken is not published");
        assert_eq!(inbox.pop_post().unwrap().bytes.len(), 6);
        inbox.release(1, 6);
        assert_eq!(mailbox.post(post(6)), Ok(()));
    }

    #[test]
    fn the_loop_is_woken_once_for_all_that_waits() {
        let (mut registry, mut inbox) = inbox();
        let mailbox = inbox.mailbox();
        let mut ready: Vec<Ready> = Vec::new();
        for _ in 0..3 {
            mailbox.post(post(0)).unwrap();
            assert!(mailbox.shared.has_news.load(Ordering::Relaxed));
            // It would wait for a minute.
            registry.wait(Some(Duration::from_secs(60)), &mut ready).unwrap();
            inbox.collect();
            inbox.collect();
            inbox.posts.clear();
            inbox.release(1, 0);
        }
        mailbox.post(post(0)).unwrap();
        mailbox.post(post(0)).unwrap();
        registry.wait(Some(Duration::from_secs(60)), &mut ready).unwrap();
        inbox.collect();
        assert_eq!(inbox.posts.len(), 2);
        assert!(!mailbox.shared.has_news.load(Ordering::Relaxed));
    }

    #[test]
    fn who_stops_lets_in_questions_only_and_the_shortest_time_counts() {
        let (_registry, mut inbox) = inbox();
        let mailbox = inbox.mailbox();
        mailbox.post(post(1)).unwrap();
        let within = |seconds| Stop { within: Duration::from_secs(seconds) };
        [3, 2, 4].into_iter().for_each(|seconds| mailbox.stop(within(seconds)));
        assert_eq!(mailbox.post(post(1)), Err(Unposted::Stopped));
        assert_eq!(mailbox.ask(Box::new(|_| ())), Ok(()));
        assert_eq!(inbox.collect(), Some(within(2)));
        assert!(inbox.has_posts(), "what was accepted is kept");
        inbox.close();
        assert_eq!(mailbox.ask(Box::new(|_| ())), Err(Unposted::Stopped));
        mailbox.stop(within(1));
    }
}
