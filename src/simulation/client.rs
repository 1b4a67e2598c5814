//! A simulated client: what it asks for, how it behaves, and what it must have seen in the end.

mod reading;

pub(super) use reading::{number_of, take_frame};

use super::account::{Account, Seen};
use super::pipe::SharedPipe;
use super::polls;
use super::zws::Subscriptions;
use crate::message::{Epoch, Lost};
use crate::test_random::Random;
use crate::wire::Format;
use crate::wire::sse::Framing;
use crate::wire::zws::Protocol;

/// A published message, as the oracle knows it.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) topic: String,
    /// What its publisher lost right before it.
    pub(super) lost: Option<Lost>,
    pub(super) body: Vec<u8>,
}

/// One run of the gateway, as the oracle knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) epoch: Epoch,
    /// How many messages were published before it began.
    pub(super) begins_after: usize,
}

/// What a client comes back with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    pub(super) run: Run,
    /// The last message that it saw or could know of, counted over all runs.
    pub(super) number: usize,
}

/// What it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    WebSocket,
    Sse(Framing),
    Zws(Protocol),
    Poll,
}

impl Transport {
    /// One for a new client that has `format`.
    fn random(random: &mut Random, format: Format) -> Self {
        match (format, random.below(4)) {
            (Format::Raw, 0) => Self::Zws(Protocol::Plain),
            (Format::Raw, 1) => Self::Zws(Protocol::Null),
            _ => Self::that_resumes(random, format),
        }
    }

    /// One for a client that comes back with an id.
    fn that_resumes(random: &mut Random, format: Format) -> Self {
        match (format, random.below(7)) {
            (Format::Parts, _) | (_, 0..3) => Self::WebSocket,
            (Format::Json, 5..) => Self::Poll,
            (_, 3) => Self::Sse(Framing::Plain),
            _ => Self::Sse(Framing::Chunked),
        }
    }
}

/// What stands for the code of a close where there is none.
const NO_CODE: u16 = 0;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) pipe: SharedPipe,
    pub(super) run: Run,
    since: Option<Since>,
    prefixes: Vec<&'static str>,
    exact: Vec<&'static str>,
    /// What it wants on ZWS, in place of both.
    pub(super) subscriptions: Subscriptions,
    transport: Transport,
    format: Format,
    /// Whether it offers to have messages deflated.
    offers_deflate: bool,
    received: Vec<u8>,
    /// How many bytes it reads at a time; 0 while it is stalled.
    appetite: usize,
    /// The close code that it has to get for what it did.
    pub(super) expected_close: Option<u16>,
    /// It left by itself, so that what it was sent may end anywhere.
    has_left: bool,
    answers_pings: bool,
    /// How much of `received` was searched for pings.
    searched: usize,
}

const TOPICS: [&str; 6] = ["a", "ab", "abc", "b", "ba", ""];

/// A masked frame; the mask is as good as any.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | payload.len() as u8, 1, 2, 3, 4];
    bytes.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ [1, 2, 3, 4][i % 4]));
    bytes
}

fn offers_deflate(random: &mut Random, transport: Transport) -> bool {
    cfg!(feature = "compress") && transport == Transport::WebSocket && random.chance(2)
}

pub(super) fn random_topic(random: &mut Random) -> &'static str {
    TOPICS[random.below(TOPICS.len())]
}

impl Client {
    /// Connects and asks for something, perhaps with a request in front.
    pub(super) fn new(random: &mut Random, pipe: SharedPipe, run: Run) -> Self {
        let mut some = |max: usize| -> Vec<&'static str> {
            (0..random.below(max)).map(|_| random_topic(random)).collect()
        };
        let (prefixes, exact) = (some(3), some(3));
        let format = [Format::Raw, Format::Json, Format::Parts][random.below(3)];
        let transport = Transport::random(random, format);
        let mut client = Self {
            pipe,
            run,
            since: None,
            prefixes,
            exact,
            subscriptions: Subscriptions::default(),
            transport,
            format,
            offers_deflate: offers_deflate(random, transport),
            received: Vec::new(),
            appetite: 1 + random.below(5_000),
            expected_close: None,
            has_left: false,
            answers_pings: !random.chance(10),
            searched: 0,
        };
        client.ask(random);
        client
    }

    /// The same client, which comes back, perhaps over another transport.
    pub(super) fn again(
        &self,
        random: &mut Random,
        pipe: SharedPipe,
        run: Run,
        since: Since,
    ) -> Self {
        let transport = Transport::that_resumes(random, self.format);
        let mut client = Self {
            pipe,
            run,
            since: Some(since),
            transport,
            offers_deflate: offers_deflate(random, transport),
            subscriptions: Subscriptions::default(),
            prefixes: self.prefixes.clone(),
            exact: self.exact.clone(),
            received: Vec::new(),
            appetite: 1 + random.below(5_000),
            expected_close: None,
            has_left: false,
            searched: 0,
            ..*self
        };
        client.ask(random);
        client
    }

    fn ask(&mut self, random: &mut Random) {
        let request = self.request(random);
        self.send(&request);
        if let Transport::Zws(protocol) = self.transport {
            let greeting = self.subscriptions.greet(random, protocol);
            self.send(&greeting);
        }
    }

    /// Goes away: what it was sent may end anywhere.
    pub(super) fn leave(&mut self) {
        self.has_left = true;
        self.pipe.borrow_mut().is_reset = true;
    }

    /// What it can come back with: the last message that it saw, or, where its format has no ids, any one that it may
    /// have heard of.
    pub(super) fn since(&self, random: &mut Random, published: &[Published]) -> Option<Since> {
        if let Transport::Zws(_) = self.transport {
            return None;
        }
        let joined = self.pipe.borrow().upgraded_at?;
        let number = match self.tells_gaps() {
            true => {
                let of_message = |seen: &Seen| match seen {
                    Seen::Message(number) => Some(*number),
                    _ => None,
                };
                let last = self.seen(published)?.iter().rev().find_map(of_message);
                last.or(self.since.map(|since| since.number)).unwrap_or(joined)
            }
            false => self.run.begins_after + random.below(joined - self.run.begins_after + 1),
        };
        let run = match self.since {
            Some(since) if number <= self.run.begins_after && number == since.number => since.run,
            _ => self.run,
        };
        Some(Since { run, number })
    }

    /// What it asks for, but for where to begin.
    fn query(&self) -> String {
        let mut query = match self.format {
            Format::Raw => "format=raw".to_owned(),
            Format::Json => "format=json".to_owned(),
            Format::Parts => "format=parts".to_owned(),
        };
        self.prefixes.iter().for_each(|topic| query += &format!("&topic={topic}"));
        self.exact.iter().for_each(|topic| query += &format!("&exact={topic}"));
        query
    }

    fn request(&self, random: &mut Random) -> Vec<u8> {
        let mut query = self.query();
        let mut headers = String::new();
        if let Some(Since { run, number }) = self.since {
            let id = format!("{}-{}", run.epoch.as_str(), number - run.begins_after);
            match self.transport {
                Transport::Sse(_) if random.chance(2) => {
                    headers = format!("Last-Event-ID: {id}\r\n");
                }
                _ => query += &format!("&since={id}"),
            }
        }
        let mut request = String::new();
        if random.chance(5) {
            request += "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
        }
        if let Transport::Zws(protocol) = self.transport {
            headers = format!("Sec-WebSocket-Protocol: {}\r\n", protocol.name());
        }
        if self.offers_deflate {
            headers += "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
        }
        request += &match self.transport {
            Transport::WebSocket | Transport::Zws(_) => format!(
                "GET /ws?{query} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
            ),
            Transport::Poll => poll_request(&query),
            Transport::Sse(Framing::Plain) => format!("GET /sse?{query} HTTP/1.0\r\n{headers}\r\n"),
            Transport::Sse(Framing::Chunked) => {
                format!("GET /sse?{query} HTTP/1.1\r\nHost: a\r\n{headers}\r\n")
            }
        };
        request.into_bytes()
    }

    pub(super) fn send(&self, bytes: &[u8]) {
        self.pipe.borrow_mut().to_server.extend(bytes);
    }

    /// Does something that clients do.
    pub(super) fn act(&mut self, random: &mut Random, misbehaves: bool) {
        if self.expected_close.is_some() || self.has_left {
            return;
        }
        match (random.below(if misbehaves { 14 } else { 5 }), self.transport) {
            (0, _) => self.appetite = 0,
            (1, _) => self.appetite = 1 + random.below(20_000),
            (5..9, Transport::Sse(_)) => self.misbehave(&[0xaa; 2_000], NO_CODE),
            (2..10, Transport::Sse(_)) => {}
            (3..6, Transport::Zws(_)) => {
                let requests = self.subscriptions.change(random);
                self.send(&requests);
            }
            (7, Transport::Zws(_)) => self.misbehave(&frame(0x82, b"\x03"), 1002),
            (2, Transport::Poll) => self.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
            (3..10, Transport::Poll) => {}
            (2, _) => self.send(&frame(0x89, b"are you there")),
            (3, _) => self.send(&frame(0x81, "what clients say goes nowhere é".as_bytes())),
            (4, _) => self.send(&frame(0x8a, b"")),
            (5, _) => {
                // A text in fragments with a ping in between, and half of what comes next.
                self.send(&frame(0x01, b"\xc3"));
                self.send(&frame(0x89, b""));
                self.send(&frame(0x80, b"\xa9"));
            }
            // Deflated, it is nobody's business what it is.
            (6, _) if self.offers_deflate => self.send(&frame(0xc1, b"\xff")),
            (6, _) => self.misbehave(&frame(0xc1, b"reserved bit"), 1002),
            (7, _) => self.misbehave(&frame(0x81, b"\xff\xfe"), 1007),
            (8, _) => {
                self.misbehave(&[0x82, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3, 4], 1009);
            }
            (9, _) => self.misbehave(&frame(0x88, b"\x03\xe8"), 1000),
            (10, _) => {
                self.has_left = true;
                self.pipe.borrow_mut().client_ended = true;
            }
            (11, _) => self.leave(),
            _ => {}
        }
    }

    /// Sends `bytes`, for which `code` is the answer, and sometimes a lot more.
    fn misbehave(&mut self, bytes: &[u8], code: u16) {
        self.send(bytes);
        self.send(&[0xaa; 3_000]);
        self.expected_close = Some(code);
    }

    /// Reads what its appetite allows, and answers pings.
    pub(super) fn read(&mut self, random: &mut Random) {
        let appetite = if self.appetite == 0 { 0 } else { 1 + random.below(self.appetite) };
        self.read_at_most(appetite);
    }

    pub(super) fn read_at_most(&mut self, max: usize) {
        {
            let mut pipe = self.pipe.borrow_mut();
            let len = pipe.to_client.len().min(max);
            if len == 0 {
                return;
            }
            self.received.extend(pipe.to_client.drain(..len));
        }
        if self.transport == Transport::Poll {
            self.poll_again();
            return;
        }
        // Bodies are ASCII, so that these bytes are a ping, or a length and a pong too many.
        let pings =
            self.received[self.searched..].windows(2).filter(|two| two == b"\x89\x00").count();
        self.searched = self.received.len() - 1;
        for _ in 0..if self.answers_pings { pings } else { 0 } {
            self.send(&frame(0x8a, b""));
        }
    }

    /// Asks for what comes behind each answer that is whole now.
    fn poll_again(&mut self) {
        while let Some((answer, len)) = polls::read(&self.received[self.searched..]) {
            self.searched += len;
            if let Some(answer) = answer {
                let epoch = answer.next.epoch.unwrap();
                let since = format!("&since={}-{}", epoch.as_str(), answer.next.seq.0);
                self.send(poll_request(&(self.query() + &since)).as_bytes());
            }
        }
    }

    /// From now on it reads as fast as it can, and behaves.
    pub(super) fn recover(&mut self) {
        self.appetite = usize::MAX / 2;
        let mut pipe = self.pipe.borrow_mut();
        pipe.room_bytes = pipe.room_bytes.max(4_000);
    }

    pub(super) fn has_left(&self) -> bool {
        self.has_left
    }

    /// Whether it did nothing for which it may be closed in another way.
    pub(super) fn is_owed_goodbye(&self) -> bool {
        self.expected_close.is_none() && !self.has_left && self.answers_pings
    }

    fn tells_gaps(&self) -> bool {
        self.format == Format::Json || matches!(self.transport, Transport::Sse(_))
    }

    fn wants(&self, topic: &str) -> bool {
        (self.prefixes.is_empty() && self.exact.is_empty())
            || self.prefixes.iter().any(|prefix| topic.starts_with(prefix))
            || self.exact.contains(&topic)
    }

    /// Compares what was received with what was owed. `is_alive` is whether the gateway still serves the client, which
    /// then must have got everything; `may_miss` is whether anybody missed anything; `has_values` whether a new client
    /// gets last values first.
    pub(super) fn check(
        &self,
        published: &[Published],
        is_alive: bool,
        may_miss: bool,
        has_values: bool,
    ) {
        let Some(joined) = self.pipe.borrow().upgraded_at else { return };
        let Some(seen) = self.seen(published) else {
            assert!(!is_alive, "a client that is served got its upgrade");
            return;
        };
        if self.transport == Transport::Poll && has_values {
            // What comes behind the first last values is replayed from history.
            let is_message = |it: &&Seen| matches!(it, Seen::Message(_));
            assert!(seen.iter().filter(is_message).is_sorted_by_key(Seen::number));
            return;
        }
        let is_told = self.tells_gaps();
        let is_zws = matches!(self.transport, Transport::Zws(_));
        let wants = |number: usize| match &*published[number - 1].topic {
            topic if is_zws => self.subscriptions.wanted(topic, number),
            topic => self.wants(topic),
        };
        if is_zws && is_alive {
            self.subscriptions.check_followed();
        }
        let account = Account {
            published,
            wants: &wants,
            joined,
            since: self.since.map(|since| since.number),
            first: self.run.begins_after + 1,
            has_values: has_values && !is_zws,
            is_told,
            may_miss: !is_told && may_miss,
        };
        let closed_with = account.check(&seen, is_alive);
        if let (Some(expected), Some(code)) = (self.expected_close, closed_with) {
            assert!(code == expected || code == 1013 || code == 1001, "{code}, not {expected}");
        }
    }

    /// Whether it was told in the end, as well as its transport can, that the gateway stops.
    pub(super) fn was_said_goodbye(&self, published: &[Published]) -> bool {
        let last = self.seen(published).and_then(|seen| seen.into_iter().next_back());
        match self.transport {
            Transport::WebSocket | Transport::Zws(_) => last == Some(Seen::Close(1001)),
            Transport::Sse(Framing::Chunked) => last == Some(Seen::Close(NO_CODE)),
            Transport::Sse(Framing::Plain) | Transport::Poll => self.pipe.borrow().server_ended,
        }
    }
}

fn poll_request(query: &str) -> String {
    format!("GET /poll?{query}&timeout=20 HTTP/1.1\r\nHost: a\r\n\r\n")
}
