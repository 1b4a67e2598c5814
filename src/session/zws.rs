//! A ZeroMQ SUB socket on WebSocket (ZWS 2.0): a WebSocket whose client says all the time which topics it wants.
//! Knows no socket and no clock.
//!
//! ```text
//!             topics change, something is owed
//!   Settled ────────────────────────────────────▶ Changing: what was published before the change, as the topics were
//!      ▲                                              │     then; what changes meanwhile waits
//!      └───────────────── all of it is sent ──────────┘
//! ```

use std::collections::BTreeSet;
use std::time::Instant;

use super::websocket::WebSocket;
use super::{Output, Timing};
use crate::error::CloseReason;
use crate::feed::{Changed, Feeds, Owner, Subscription, Wish};
use crate::hooks::Allowed;
use crate::memory::Charge;
use crate::topics::{Filter, TOPIC_BYTES_MAX};
use crate::wire::WireFormat;
use crate::wire::websocket::{Decoder, Said};
use crate::wire::zws::{Protocol, REQUEST_HEAD_BYTES, Reader, Request};

/// How much of a client's message tells what it asks for, or that its topic is too long.
const REQUEST_BYTES_MAX: usize = REQUEST_HEAD_BYTES + TOPIC_BYTES_MAX + 1;

/// What a topic takes in a set, besides its bytes.
const TOPIC_ENTRY_BYTES: usize = 64;

/// One client.
#[derive(Debug)]
pub(crate) struct Zws {
    /// Has the cursor that is served.
    socket: WebSocket,
    protocol: Protocol,
    reader: Reader,
    owner: Owner,
    topics: Topics,
    cursors: Cursors,
    is_blocked: bool,
}

#[derive(Debug)]
enum Cursors {
    /// The socket has the only one, if there is one.
    Settled,
    /// The socket has one that ends; the next one, if there is one, takes its place then.
    Changing {
        next: Option<Subscription>,
        /// To be closed when that is drained, too.
        goodbye: Option<CloseReason>,
    },
}

/// What a client subscribed to. Each topic counts once, however often it is asked for: clients repeat themselves.
#[derive(Debug)]
pub(crate) struct Topics {
    prefixes: BTreeSet<Box<[u8]>>,
    count_max: usize,
    has_changed: bool,
    charge: Charge,
    bytes: usize,
    /// What it may have, where that is not everything.
    allowed: Option<Allowed>,
}

impl Topics {
    /// No topics yet, and room for `count_max`, of those that are `allowed`.
    pub(crate) fn with_limit(count_max: usize, charge: Charge, allowed: Option<Allowed>) -> Self {
        let prefixes = BTreeSet::new();
        Self { prefixes, count_max, has_changed: false, charge, bytes: 0, allowed }
    }

    fn apply(&mut self, request: Request<'_>) -> Result<(), CloseReason> {
        match request {
            Request::Subscribe(topic) => {
                if self.prefixes.contains(topic) {
                    return Ok(());
                }
                if topic.len() > TOPIC_BYTES_MAX || self.prefixes.len() >= self.count_max {
                    return Err(CloseReason::Topics);
                }
                // The empty one is everything that it may have.
                let is_allowed = |allowed: &Allowed| topic.is_empty() || allowed.allows(topic);
                if !self.allowed.as_ref().is_none_or(is_allowed) {
                    return Err(CloseReason::Denied);
                }
                self.prefixes.insert(topic.into());
                self.bytes += topic.len() + TOPIC_ENTRY_BYTES;
            }
            Request::Cancel(topic) => {
                if !self.prefixes.remove(topic) {
                    return Ok(());
                }
                self.bytes -= topic.len() + TOPIC_ENTRY_BYTES;
            }
        }
        self.charge.resize(self.bytes);
        self.has_changed = true;
        Ok(())
    }

    /// What they come to; `None` when there are none.
    fn wish(&self) -> Option<Wish> {
        let prefixes: Vec<_> = match &self.allowed {
            Some(allowed) if self.prefixes.contains(&b""[..]) => allowed.prefixes().to_vec(),
            _ => self.prefixes.iter().map(|topic| topic.to_vec()).collect(),
        };
        (!prefixes.is_empty())
            .then(|| Wish { filter: Filter::new(prefixes, Vec::new()), wire: WireFormat::Zws })
    }
}

impl Zws {
    /// A client that begins with `head`, the answer to its upgrade and the greeting, and is to be pinged for the first time
    /// at `ping_at`.
    pub(crate) fn new(
        protocol: Protocol,
        ping_at: Instant,
        head: Vec<u8>,
        owner: Owner,
        topics: Topics,
    ) -> Self {
        Self {
            socket: WebSocket::new(Some(ping_at), head, None),
            protocol,
            reader: Reader::new(protocol),
            owner,
            topics,
            cursors: Cursors::Settled,
            is_blocked: false,
        }
    }

    pub(super) fn handle_input(
        &mut self,
        now: Instant,
        input: &mut [u8],
        timing: &Timing,
        message_bytes_max: usize,
    ) {
        let decoder = Decoder::with_limit(message_bytes_max).keeping(REQUEST_BYTES_MAX);
        let Self { socket, reader, topics, .. } = self;
        socket.handle_messages(now, input, timing, decoder, |said| {
            let Said::Binary(message) = said else { return Err(CloseReason::Protocol) };
            match reader.read(message) {
                Ok(None) => Ok(()),
                Ok(Some(request)) => topics.apply(request),
                Err(_) => Err(CloseReason::Protocol),
            }
        });
    }

    pub(super) fn note_alive(&mut self, now: Instant, timing: &Timing) {
        self.socket.note_alive(now, timing);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), CloseReason> {
        self.socket.handle_timeout(now)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.socket.next_deadline()
    }

    pub(super) fn output<'a>(&'a mut self, feeds: &'a mut Feeds) -> Output<'a> {
        self.end_change(feeds);
        self.begin_change(feeds);
        let is_put_off = self.wants_change() && !feeds.has_time_for_changes();
        match self.socket.output(feeds) {
            Output::Idle if is_put_off => Output::Later,
            output => output,
        }
    }

    /// Whether what changed could be followed now.
    fn wants_change(&self) -> bool {
        let is_settled = matches!(self.cursors, Cursors::Settled);
        self.topics.has_changed && is_settled && self.socket.stream.is_open()
    }

    /// Goes on with the next cursor once the one before has ended.
    fn end_change(&mut self, feeds: &mut Feeds) {
        let Cursors::Changing { next, goodbye } = &mut self.cursors else { return };
        match &self.socket.stream.subscription {
            Some(before) if !feeds.has_ended(before) => return,
            Some(_) => {}
            // It is closed.
            None => return self.end(feeds),
        }
        let (next, goodbye) = (next.take(), *goodbye);
        self.cursors = Cursors::Settled;
        self.socket.stream.end(feeds);
        self.socket.stream.subscription = next;
        if let Some(reason) = goodbye {
            self.socket.stream.close_when_drained(feeds, reason);
        }
    }

    /// Follows what the client asked for since the last change. One change at a time: what is owed of the one before bounds
    /// what is kept, however often the client changes its mind.
    fn begin_change(&mut self, feeds: &mut Feeds) {
        if !self.wants_change() || !feeds.has_time_for_changes() {
            return;
        }
        self.topics.has_changed = false;
        let wish = self.topics.wish();
        if wish.is_some() && !feeds.has_room_for_wishes() {
            self.socket.stream.close(CloseReason::Memory);
            return;
        }
        let before = self.socket.stream.subscription.take();
        let Changed { before, after } =
            feeds.resubscribe(self.owner, before, wish, self.is_blocked);
        if before.is_some() {
            self.socket.stream.subscription = before;
            self.cursors = Cursors::Changing { next: after, goodbye: None };
        } else {
            self.socket.stream.subscription = after;
        }
    }

    pub(super) fn advance(
        &mut self,
        now: Instant,
        feeds: &mut Feeds,
        sent: usize,
        timing: &Timing,
    ) -> u64 {
        let messages = self.socket.advance(now, feeds, sent, timing);
        if self.protocol == Protocol::Plain {
            // libzmq does not answer pings then; they still show when its host is gone.
            self.socket.note_alive(now, timing);
        }
        messages
    }

    pub(super) fn close(&mut self, reason: CloseReason) {
        self.socket.stream.close(reason);
    }

    pub(super) fn disconnect(&mut self, code: u16) {
        self.socket.disconnect(code);
    }

    pub(super) fn close_when_drained(&mut self, feeds: &Feeds, reason: CloseReason) {
        match &mut self.cursors {
            Cursors::Settled => self.socket.stream.close_when_drained(feeds, reason),
            Cursors::Changing { goodbye, .. } => *goodbye = Some(reason),
        }
    }

    pub(super) fn set_blocked(&mut self, feeds: &mut Feeds, is_blocked: bool) {
        self.is_blocked = is_blocked;
        self.socket.stream.set_blocked(feeds, is_blocked);
        if let Cursors::Changing { next: Some(next), .. } = &self.cursors {
            feeds.set_blocked(next, is_blocked);
        }
    }

    pub(super) fn end(&mut self, feeds: &mut Feeds) {
        self.socket.stream.end(feeds);
        if let Cursors::Changing { next: Some(next), .. } =
            std::mem::replace(&mut self.cursors, Cursors::Settled)
        {
            feeds.unsubscribe(&next);
        }
    }

    /// The topics that the cursors follow; `None` while some that changed wait.
    #[cfg(test)]
    pub(crate) fn followed_topics(&self) -> Option<Vec<Vec<u8>>> {
        let topics = self.topics.prefixes.iter().map(|topic| topic.to_vec());
        (!self.topics.has_changed).then(|| topics.collect())
    }
}
