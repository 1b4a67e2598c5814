//! Deflated feeds beside plain ones: the same messages, live and again, each deflated once, and only so many in a turn.
#![cfg(feature = "compress")]

use super::*;
use crate::history;
use crate::memory::Memory;
use crate::message::{Epoch, Id, Message, Part, Seq, TopicFrom};
use crate::test_inflate::inflate;
use crate::test_random::Random;
use crate::topics::Filter;
use crate::wire::websocket::split_frame;
use crate::wire::{Deflater, Encoding, Format, Payload};

const EPOCH_SEED: u64 = 7;

fn id(seq: u64) -> Option<Id> {
    Some(Id { epoch: Some(Epoch::from_seed(EPOCH_SEED)), seq: Seq(seq) })
}

struct Rig {
    feeds: Feeds,
    published: u64,
}

struct Client {
    subscription: Subscription,
    bytes: Vec<u8>,
}

impl Rig {
    fn new(lag_policy: LagPolicy) -> Self {
        let memory = Memory::with_limit(1 << 30);
        let mut encoding = Encoding::new(Epoch::from_seed(EPOCH_SEED), Payload::Auto);
        encoding.deflater = Deflater::new(100);
        let history = history::Limits { messages_max: 10_000, topics_max: 100, bytes_max: 1 << 28 };
        let limits = Limits { lag_bytes_max: 1 << 28, lag_policy, history, last_value: true };
        let feeds = Feeds::new(limits, encoding, &memory, Memory::with_limit(1 << 30));
        Self { feeds, published: 0 }
    }

    fn publish(&mut self, topic: &str, body: &[u8]) -> usize {
        self.feeds.block_who_is_behind();
        self.published += 1;
        let parts = [Part::from(topic), Part::from(body)];
        let message = Message::from_parts(Seq(self.published), &parts, TopicFrom::Part);
        let cost = self.feeds.publish(&message);
        self.feeds.check_invariants();
        cost
    }

    fn join(&mut self, prefix: &str, since: Option<Id>, wire: WireFormat) -> Client {
        let wish = Wish { filter: Filter::new(vec![prefix.into()], vec![]), wire };
        let subscription = self.feeds.subscribe(wish, Owner(0), since);
        Client { subscription, bytes: Vec::new() }
    }

    /// Sends at most `max` bytes, over as many turns as it takes.
    fn send(&mut self, client: &mut Client, mut max: usize) {
        while max > 0 {
            match self.feeds.pending(&client.subscription) {
                Pending::Nothing => break,
                Pending::Later => self.feeds.begin_turn(),
                Pending::Bytes(pending) => {
                    let sent = pending.len().min(max);
                    client.bytes.extend_from_slice(&pending[..sent]);
                    self.feeds.advance(&client.subscription, sent);
                    max -= sent;
                }
            }
        }
        self.feeds.check_invariants();
    }

    fn work_bytes(&self) -> usize {
        self.feeds.counts().deflated.work_bytes
    }
}

/// The frames, inflated where they say so, and how many of them did.
fn read(mut bytes: &[u8]) -> (Vec<(u8, Vec<u8>)>, usize) {
    let (mut frames, mut deflated) = (Vec::new(), 0);
    while !bytes.is_empty() {
        let first = bytes[0];
        let (_, payload, rest) = split_frame(bytes).expect("a whole frame");
        let is_deflated = first & 0x40 != 0;
        deflated += usize::from(is_deflated);
        let payload = if is_deflated { inflate(payload) } else { payload.to_vec() };
        frames.push((first & !0x40, payload));
        bytes = rest;
    }
    (frames, deflated)
}

/// Bytes that can be deflated more or less.
fn body(random: &mut Random, len: usize) -> Vec<u8> {
    let letters = 1 + random.below(70);
    let mut body = random.bytes(len);
    body.iter_mut().for_each(|byte| *byte = b' ' + (usize::from(*byte) % letters) as u8);
    body
}

/// Each client of a deflated feed has a twin of a plain one, who comes, reads and goes on as it does.
#[test]
fn clients_of_both_kinds_get_the_same_live_and_again() {
    let mut random = Random::from_env();
    for _ in 0..40 {
        let mut rig = Rig::new([LagPolicy::Skip, LagPolicy::Conflate][random.below(2)]);
        let mut twins: Vec<(Client, Client)> = Vec::new();
        let mut deflated = 0;
        for _ in 0..200 {
            match random.below(8) {
                0 if twins.len() < 10 => {
                    let format = [Format::Raw, Format::Json, Format::Parts][random.below(3)];
                    let prefix = ["", "a", "ab", "b"][random.below(4)];
                    let since = match random.below(3) {
                        0 => None,
                        _ => id(random.below(rig.published as usize + 1) as u64),
                    };
                    let mut plain = rig.join(prefix, since, WireFormat::WebSocket(format));
                    let mut packed = rig.join(prefix, since, WireFormat::Deflated(format));
                    if since.is_none() {
                        // A last value is not sent where a later one comes first: whoever has fewer bytes to send gets
                        // to more of them.
                        rig.send(&mut plain, usize::MAX);
                        rig.send(&mut packed, usize::MAX);
                    }
                    twins.push((plain, packed));
                }
                1..=4 => {
                    let len = [10, 300, 3_000, 40_000][random.below(4)];
                    let body = body(&mut random, len);
                    rig.publish(["a", "ab", "b", "c"][random.below(4)], &body);
                }
                _ if !twins.is_empty() => {
                    let at = random.below(twins.len());
                    let max = [1, 10, 1_000, 1_000_000][random.below(4)];
                    let (plain, packed) = &mut twins[at];
                    rig.send(plain, max);
                    rig.send(packed, max);
                }
                _ => {}
            }
        }
        for (plain, packed) in &mut twins {
            rig.send(plain, usize::MAX);
            rig.send(packed, usize::MAX);
            let (expected, none) = read(&plain.bytes);
            let (frames, count) = read(&packed.bytes);
            assert!(frames == expected, "{} and {} frames", frames.len(), expected.len());
            assert_eq!(none, 0);
            deflated += count;
        }
        assert!(deflated > 0 || twins.is_empty());
    }
}

#[test]
fn a_message_is_deflated_once_for_all_who_want_its_format() {
    let mut rig = Rig::new(LagPolicy::Skip);
    let json = WireFormat::Deflated(Format::Json);
    let mut clients: Vec<_> =
        ["", "", "t", "to", "topic"].map(|it| rig.join(it, None, json)).into();
    rig.publish("topic", &[b'a'; 1_000]);
    let once = rig.feeds.counts().deflated;
    assert!((1_000..1_100).contains(&once.bytes_in) && once.bytes_out < 100, "{once:?}");
    for client in &mut clients {
        rig.send(client, usize::MAX);
        assert_eq!(read(&client.bytes).1, 1);
    }
    assert_eq!(rig.feeds.counts().deflated, once);
    // Nor at all where nobody wants it.
    rig.publish("other", &[b'a'; 1_000]);
    let twice = rig.feeds.counts().deflated;
    clients.drain(..2).for_each(|client| rig.feeds.unsubscribe(&client.subscription));
    rig.publish("other", &[b'a'; 1_000]);
    assert_eq!(rig.feeds.counts().deflated, twice);
}

#[test]
fn what_is_deflated_costs_more_of_a_turn() {
    let mut rig = Rig::new(LagPolicy::Skip);
    rig.join("", None, WireFormat::WebSocket(Format::Raw));
    assert_eq!(rig.publish("t", &[b'a'; 12_000]), 1);
    rig.join("", None, WireFormat::Deflated(Format::Raw));
    assert_eq!(rig.publish("t", &[b'a'; 99]), 2, "too short");
    let cost = rig.publish("t", &[b'a'; 12_000]);
    assert!((1_002..1_200).contains(&cost), "{cost}");
}

#[test]
fn one_turn_deflates_only_so_much_for_those_who_come_back() {
    let mut random = Random::from_env();
    let mut rig = Rig::new(LagPolicy::Skip);
    for _ in 0..300 {
        let body = body(&mut random, 2_000);
        rig.publish("t", &body);
    }
    assert_eq!(rig.work_bytes(), 0, "nobody wanted any of it");
    let wire = WireFormat::Deflated(Format::Raw);
    // Each is somewhere else, so that none has anything of what another one is sent.
    let mut clients: Vec<_> = (0..20).map(|at| rig.join("", id(15 * at), wire)).collect();
    let mut turns = 0;
    let mut unfinished = clients.len();
    while unfinished > 0 {
        let before = rig.work_bytes();
        rig.feeds.begin_turn();
        unfinished = 0;
        for client in &mut clients {
            // As long as a visit lasts.
            loop {
                match rig.feeds.pending(&client.subscription) {
                    Pending::Bytes(bytes) => {
                        client.bytes.extend_from_slice(bytes);
                        let sent = bytes.len();
                        rig.feeds.advance(&client.subscription, sent);
                    }
                    Pending::Later => {
                        unfinished += 1;
                        break;
                    }
                    Pending::Nothing => break,
                }
            }
        }
        let worked = rig.work_bytes() - before;
        assert!(worked <= (64 << 10) + 3_100, "{worked} bytes in one turn");
        turns += 1;
        assert!(turns < 1_000, "everybody has a turn");
    }
    for (at, client) in clients.iter().enumerate() {
        assert_eq!(read(&client.bytes).0.len(), 300 - 15 * at);
    }
}
