//! The pieces that a message or a request passes, each on its own.

use std::net::{IpAddr, Ipv4Addr};

use super::Upstream;
use crate::access::OriginPolicy;
use crate::feed::{self, LagPolicy, Owner, Pending, Subscription, Wish};
use crate::history;
use crate::http::{self, HeadScanner, Outcome, Role, Rules, parse_head, route};
use crate::memory::Memory;
use crate::message::{Epoch, Seq};
use crate::topics::{Filter, TopicIndex};
use crate::wire::{Encoding, Format, Payload, WireFormat};

fn encoding() -> Encoding {
    Encoding::new(Epoch::from_seed(1), Payload::Auto)
}

/// Encodes one message again and again, into the same buffer.
pub struct Encode {
    upstream: Upstream,
    wire: WireFormat,
    encoding: Encoding,
    out: Vec<u8>,
}

impl Encode {
    /// `upstream` in `format`, in a WebSocket's frame.
    pub fn new(format: Format, upstream: Upstream) -> Self {
        Self {
            upstream,
            wire: WireFormat::WebSocket(format),
            encoding: encoding(),
            out: Vec::new(),
        }
    }

    /// Encodes once, and returns the frame.
    pub fn run(&mut self) -> &[u8] {
        self.out.clear();
        let message = self.upstream.message(Seq(123_456));
        self.wire.write_message(&mut self.out, &mut self.encoding, &message);
        &self.out
    }
}

fn filter(prefix: Option<&[u8]>, exact: Option<&[u8]>) -> Filter {
    let owned = |topic: Option<&[u8]>| topic.map(<[u8]>::to_vec).into_iter().collect();
    Filter::new(owned(prefix), owned(exact))
}

/// The topic index, and a list of the same filters to hold it against.
#[derive(Default)]
pub struct Topics {
    index: TopicIndex<u32>,
    filters: Vec<Filter>,
    matches: Vec<u32>,
}

impl Topics {
    /// Files one more filter, of one prefix.
    pub fn add_prefix(&mut self, prefix: &[u8]) {
        let filter = filter(Some(prefix), None);
        self.index.insert(&filter, self.filters.len() as u32);
        self.filters.push(filter);
    }

    /// How many filters match, by the index.
    pub fn look_up(&mut self, topic: &[u8]) -> usize {
        self.matches.clear();
        self.index.matches(topic, &mut self.matches);
        self.matches.len()
    }

    /// How many filters match, by looking at each.
    pub fn scan(&self, topic: &[u8]) -> usize {
        self.filters.iter().filter(|filter| filter.matches(topic)).count()
    }
}

/// Feeds with subscribers whose sockets take everything at once.
pub struct Feeds {
    feeds: feed::Feeds,
    subscriptions: Vec<Subscription>,
    seq: Seq,
}

impl Feeds {
    /// No feed yet, and room in the table of this bench for `subscribers`, so that it does not grow under way.
    pub fn with_room(subscribers: usize) -> Self {
        let limits = feed::Limits {
            lag_bytes_max: 1 << 20,
            lag_policy: LagPolicy::Skip,
            history: history::Limits { messages_max: 1_000, topics_max: 0, bytes_max: 8 << 20 },
            last_value: false,
        };
        let memory = Memory::with_limit(512 << 20);
        let feeds = feed::Feeds::new(limits, encoding(), &memory, Memory::with_limit(512 << 20));
        Self { feeds, subscriptions: Vec::with_capacity(subscribers), seq: Seq(0) }
    }

    /// Adds a subscriber to the raw feed of a filter; of neither prefix nor exact topic is everything.
    pub fn subscribe(&mut self, prefix: Option<&[u8]>, exact: Option<&[u8]>) {
        let wish = Wish { filter: filter(prefix, exact), wire: WireFormat::WebSocket(Format::Raw) };
        let owner = Owner(self.subscriptions.len() as u64);
        self.subscriptions.push(self.feeds.subscribe(wish, owner, None));
    }

    /// Appends a message to every feed that wants it, and returns how many there are.
    pub fn append(&mut self, upstream: &Upstream) -> usize {
        self.seq.0 += 1;
        self.feeds.publish(&upstream.message(self.seq))
    }

    /// Gives every subscriber what it is owed, and returns how many messages that was.
    pub fn advance(&mut self) -> u64 {
        let mut messages = 0;
        self.feeds.release();
        while let Some(Owner(number)) = self.feeds.next_owner() {
            let subscription = &self.subscriptions[number as usize];
            if let Pending::Bytes(bytes) = self.feeds.pending(subscription) {
                let sent = bytes.len();
                messages += self.feeds.advance(subscription, sent);
            }
        }
        messages
    }
}

/// Reads a request as a connection does, as far as its route. Returns whether it becomes a WebSocket.
///
/// # Panics
///
/// When the request is refused: that is not what is to be measured.
pub fn parse_request(input: &[u8]) -> bool {
    let limits = http::Limits::default();
    let head_len = HeadScanner::default().scan(input, &limits).ok().flatten();
    let head = &input[..head_len.expect("a whole request")];
    let request = parse_head(head, &limits).expect("a request that is not refused");
    let origin = OriginPolicy::SameHost;
    let peer = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let rules = Rules {
        role: Role::All,
        prefix: b"",
        peer,
        origin: &origin,
        topics_max: 128,
        payload_bytes_max: 4096,
        deflates: false,
        date: None,
        keeps_alive: true,
    };
    let outcome = route(&request, &rules).1.expect("a request that is not refused");
    matches!(outcome, Outcome::WebSocket(_))
}
