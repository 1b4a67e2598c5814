//! The feeds against a slow and obvious oracle: every subscriber's list of what it should have got.

use std::collections::VecDeque;

use super::*;
use crate::error::CloseReason;
use crate::history;
use crate::memory::Memory;
use crate::message::{Epoch, Id, Message, Part, Seq, TopicFrom};
use crate::test_random::Random;
use crate::topics::Filter;
use crate::wire::{Encoding, Format, Payload};

pub(super) struct Rig {
    pub(super) feeds: Feeds,
    pub(super) memory: Memory,
    seq: u64,
}

const EPOCH_SEED: u64 = 7;

impl Rig {
    pub(super) fn new(
        lag_bytes_max: usize,
        lag_policy: LagPolicy,
        memory_bytes_max: usize,
    ) -> Self {
        Self::with_history(lag_bytes_max, lag_policy, memory_bytes_max, history::Limits::default())
    }

    pub(super) fn with_history(
        lag_bytes_max: usize,
        lag_policy: LagPolicy,
        memory_bytes_max: usize,
        history: history::Limits,
    ) -> Self {
        let memory = Memory::with_limit(memory_bytes_max);
        let encoding = Encoding::new(Epoch::from_seed(EPOCH_SEED), Payload::Auto);
        let wishes = Memory::with_limit(1 << 30);
        let limits = Limits { lag_bytes_max, lag_policy, history, last_value: false };
        let feeds = Feeds::new(limits, encoding, &memory, wishes);
        Self { feeds, memory, seq: 0 }
    }

    /// Publishes when who has not taken everything takes nothing.
    pub(super) fn publish(&mut self, topic: &str, body: &[u8]) -> u64 {
        self.feeds.block_who_is_behind();
        self.publish_to_ready(topic, body)
    }

    /// Publishes when nobody was served for a while.
    fn publish_to_ready(&mut self, topic: &str, body: &[u8]) -> u64 {
        self.seq += 1;
        let parts = [Part::from(topic), Part::from(body)];
        self.feeds.publish(&Message::from_parts(Seq(self.seq), &parts, TopicFrom::Part));
        self.feeds.check_invariants();
        self.seq
    }

    fn subscribe(&mut self, prefix: &str, owner: u64) -> Subscription {
        let filter = Filter::new(vec![prefix.into()], vec![]);
        let wish = Wish { filter, wire: WireFormat::WebSocket(Format::Json) };
        self.feeds.subscribe(wish, Owner(owner), None)
    }

    /// Sends at most `max` bytes to the subscriber.
    pub(super) fn send(&mut self, subscription: &Subscription, max: usize, into: &mut Vec<u8>) {
        let mut left = max;
        while left > 0 {
            let Pending::Bytes(pending) = self.feeds.pending(subscription) else { break };
            let sent = pending.len().min(left);
            into.extend_from_slice(&pending[..sent]);
            self.feeds.advance(subscription, sent);
            left -= sent;
        }
        self.feeds.check_invariants();
    }

    fn send_all(&mut self, subscription: &Subscription) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.send(subscription, usize::MAX, &mut bytes);
        bytes
    }
}

#[derive(Debug, PartialEq)]
pub(super) enum Seen {
    Message(u64),
    Gap(Option<u64>),
}

/// Reads unmasked text frames; everything must be whole.
pub(super) fn read_frames(mut bytes: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(bytes[0], 0x81, "a frame begins here");
        let (len, start) = match bytes[1] {
            126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
            127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize, 10),
            len => (usize::from(len), 2),
        };
        let json: serde_json::Value = serde_json::from_slice(&bytes[start..start + len]).unwrap();
        seen.push(match json.get("gap") {
            Some(gap) => Seen::Gap(gap["missed"].as_u64()),
            None => {
                let id: Id = json["id"].as_str().unwrap().parse().unwrap();
                Seen::Message(id.seq.0)
            }
        });
        bytes = &bytes[start + len..];
    }
    seen
}

/// What a client saw must be exactly what it was owed, with gaps of the told size in between.
pub(super) fn assert_accounted(owed: &mut VecDeque<u64>, seen: &[Seen]) {
    for item in seen {
        match item {
            Seen::Message(seq) => assert_eq!(owed.pop_front(), Some(*seq)),
            Seen::Gap(missed) => {
                owed.drain(..missed.expect("a lag gap is counted") as usize);
            }
        }
    }
}

#[test]
fn every_message_is_delivered_or_told_as_missed() {
    let mut random = Random::from_env();
    for _ in 0..60 {
        let lag_bytes_max = [300, 2_000, 40_000, 200_000][random.below(4)];
        let mut rig = Rig::new(lag_bytes_max, LagPolicy::Skip, 1 << 30);
        let topics = ["a", "ab", "b", ""];
        let mut clients = Vec::new();
        for step in 0..400 {
            match random.below(8) {
                0 if clients.len() < 12 => {
                    let prefix = topics[random.below(4)];
                    let subscription = rig.subscribe(prefix, step);
                    clients.push((prefix, subscription, VecDeque::new(), Vec::new()));
                }
                1 if !clients.is_empty() && random.chance(4) => {
                    let (_, subscription, ..) = clients.swap_remove(random.below(clients.len()));
                    rig.feeds.unsubscribe(&subscription);
                    rig.feeds.check_invariants();
                }
                2..=4 => {
                    let topic = ["a", "ab", "abc", "b", "c"][random.below(5)];
                    let size = [10, 100, 3_000, 20_000, 100_000][random.below(5)];
                    let body = vec![b'x'; random.below(size)];
                    let seq = rig.publish(topic, &body);
                    for (prefix, _, owed, _) in &mut clients {
                        if topic.starts_with(*prefix) {
                            owed.push_back(seq);
                        }
                    }
                }
                _ if !clients.is_empty() => {
                    let at = random.below(clients.len());
                    let (_, subscription, _, bytes) = &mut clients[at];
                    let max = [1, 10, 1_000, 1_000_000][random.below(4)];
                    rig.send(subscription, max, bytes);
                }
                _ => {}
            }
        }
        for (_, subscription, owed, bytes) in &mut clients {
            rig.send(subscription, usize::MAX, bytes);
            assert_accounted(owed, &read_frames(bytes));
            assert!(owed.is_empty(), "the rest was neither delivered nor told: {owed:?}");
        }
        for (_, subscription, ..) in &clients {
            rig.feeds.unsubscribe(subscription);
        }
        assert_eq!(rig.feeds.len(), 0);
        assert_eq!(rig.memory.used_bytes(), 0, "nothing is held for nobody");
    }
}

#[test]
fn a_stalled_subscriber_costs_no_more_than_the_lag_allowed() {
    let lag_bytes_max = 100_000;
    let mut rig = Rig::new(lag_bytes_max, LagPolicy::Skip, 1 << 30);
    let stalled: Vec<_> = (0..50).map(|owner| rig.subscribe("", owner)).collect();
    let healthy = rig.subscribe("", 99);
    let mut peak = 0;
    for _ in 0..5_000 {
        rig.publish("t", &[b'x'; 200]);
        assert_eq!(read_frames(&rig.send_all(&healthy)).len(), 1);
        peak = peak.max(rig.memory.used_bytes());
    }
    assert!(peak <= lag_bytes_max, "chunks and frame tables included: {peak}");
    for subscription in &stalled {
        let seen = read_frames(&rig.send_all(subscription));
        assert!(
            matches!(seen[0], Seen::Gap(Some(missed)) if missed as usize == 5_000 - (seen.len() - 1))
        );
    }
}

#[test]
fn a_frame_that_is_partly_sent_is_finished_before_the_gap_is_told() {
    for size in [500, 50_000] {
        let mut rig = Rig::new(60_000, LagPolicy::Skip, 1 << 30);
        let slow = rig.subscribe("", 0);
        let mut bytes = Vec::new();
        rig.publish("t", &vec![b'x'; size]);
        rig.send(&slow, 7, &mut bytes);
        assert!(rig.feeds.frame_rest_bytes(&slow) > size);
        for _ in 0..20 {
            rig.publish("t", &[b'y'; 10_000]);
        }
        let Pending::Bytes(rest) = rig.feeds.pending(&slow) else { panic!("a rest is owed") };
        let rest_bytes = rest.len();
        assert_eq!(rig.feeds.frame_rest_bytes(&slow), rest_bytes);
        rig.send(&slow, usize::MAX, &mut bytes);
        let seen = read_frames(&bytes);
        assert_eq!(seen[0], Seen::Message(1));
        let Seen::Gap(Some(missed)) = seen[1] else { panic!("no gap: {seen:?}") };
        assert_eq!(seen[2], Seen::Message(missed + 2));
        assert_eq!(seen.last(), Some(&Seen::Message(21)));
        assert_eq!(rig.feeds.frame_rest_bytes(&slow), 0);
    }
}

#[test]
fn a_message_above_the_lag_allowed_reaches_who_keeps_up() {
    let mut rig = Rig::new(1_000, LagPolicy::Skip, 1 << 30);
    let client = rig.subscribe("", 0);
    for _ in 0..3 {
        rig.publish("t", &[b'x'; 100_000]);
        assert_eq!(read_frames(&rig.send_all(&client)).len(), 1);
    }
}

#[test]
fn a_large_message_is_held_once_for_all_feeds() {
    let mut rig = Rig::new(1 << 20, LagPolicy::Skip, 1 << 30);
    for owner in 0..20 {
        rig.subscribe(&"t".repeat(owner + 1), owner as u64);
    }
    rig.publish(&"t".repeat(40), &[b'x'; 100_000]);
    assert_eq!(rig.feeds.len(), 20);
    assert!(rig.memory.used_bytes() < 110_000);
}

#[test]
fn disconnect_expels_who_lags_once_there_is_something_lost() {
    let mut rig = Rig::new(1_000, LagPolicy::Disconnect, 1 << 30);
    let _slow = rig.subscribe("", 5);
    let fast = rig.subscribe("", 6);
    for _ in 0..30 {
        rig.publish("t", &[b'x'; 100]);
        rig.send_all(&fast);
    }
    assert_eq!(rig.feeds.pop_expelled(), Some((Owner(5), CloseReason::Lag)));
    assert!(std::iter::from_fn(|| rig.feeds.pop_expelled()).all(|(owner, _)| owner == Owner(5)));
}

#[test]
fn memory_above_the_limit_is_taken_from_who_lags_most() {
    let mut rig = Rig::new(1 << 20, LagPolicy::Skip, 2 << 20);
    let slow: Vec<_> = (0..8).map(|n| rig.subscribe(&format!("{n}"), n)).collect();
    for round in 0..200 {
        for n in 0..8 {
            if n < 7 || round % 20 == 0 {
                rig.publish(&format!("{n}"), &[b'x'; 5_000]);
            }
        }
        assert!(rig.memory.used_bytes() <= 2 << 20);
    }
    let seen = read_frames(&rig.send_all(&slow[7]));
    assert_eq!(seen.len(), 10, "the least lagging lost nothing: {seen:?}");
    assert!(matches!(read_frames(&rig.send_all(&slow[0]))[0], Seen::Gap(Some(_))));
}

#[test]
fn feeds_take_turns_and_blocked_subscribers_are_left_out() {
    let mut rig = Rig::new(1 << 20, LagPolicy::Skip, 1 << 30);
    let crowd: Vec<_> = (0..500).map(|owner| rig.subscribe("a", owner)).collect();
    let few: Vec<_> = (500..503).map(|owner| rig.subscribe("ab", owner)).collect();
    rig.feeds.set_blocked(&crowd[3], true);
    assert_eq!(rig.feeds.lag(), (0, 0));
    rig.publish_to_ready("ab", b"x");
    let (lagging, lag_bytes) = rig.feeds.lag();
    assert!(lagging == 503 && (40..100).contains(&lag_bytes), "{lagging} {lag_bytes}");
    let mut order = Vec::new();
    rig.feeds.release();
    while let Some(Owner(owner)) = rig.feeds.next_owner() {
        order.push(owner);
        let subscription =
            if owner < 500 { &crowd[owner as usize] } else { &few[owner as usize - 500] };
        rig.send_all(subscription);
    }
    assert_eq!(order.len(), 502);
    assert_eq!(rig.feeds.lag(), (1, lag_bytes));
    assert!(!order.contains(&3));
    let last_of_few = order.iter().position(|&owner| owner == 502).unwrap();
    assert!(last_of_few < 40, "three did not wait for five hundred: {last_of_few}");
    assert!(!rig.feeds.has_work());
}

#[test]
fn congestion_lasts_until_everyone_with_room_was_served() {
    let mut rig = Rig::new(10_000, LagPolicy::Skip, 1 << 30);
    let ready = rig.subscribe("", 0);
    let blocked = rig.subscribe("", 1);
    rig.feeds.set_blocked(&blocked, true);
    while !rig.feeds.is_congested() {
        rig.publish_to_ready("t", &[b'x'; 1_000]);
    }
    assert!(rig.seq <= 6);
    rig.feeds.release();
    assert_eq!(rig.feeds.next_owner(), Some(Owner(0)));
    rig.send_all(&ready);
    assert_eq!(rig.feeds.next_owner(), None);
    assert!(!rig.feeds.is_congested());
}

#[test]
fn resuming_is_answered_with_what_is_known() {
    let mut rig = Rig::new(10_000, LagPolicy::Skip, 1 << 30);
    rig.publish("t", b"1");
    rig.publish("t", b"2");
    let epoch = Epoch::from_seed(EPOCH_SEED);
    let mut first = |id: String| {
        let filter = Filter::new(vec![], vec![]);
        let wish = Wish { filter, wire: WireFormat::WebSocket(Format::Json) };
        let subscription = rig.feeds.subscribe(wish, Owner(0), Some(id.parse().unwrap()));
        let bytes = rig.send_all(&subscription);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let ask = |rest: &str| format!("{}-{rest}", epoch.as_str());
    assert_eq!(first(ask("2")), "");
    assert!(first(ask("1")).contains(r#""missed":1,"reason":"history""#));
    assert!(first("00000000-2".into()).contains(r#""missed":null,"reason":"restart""#));
    assert!(first(ask("9")).contains("restart"));
}
