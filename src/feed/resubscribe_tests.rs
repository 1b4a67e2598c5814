//! Subscribers that want something else every now and then, against the list of what they wanted when it was published.

use std::collections::VecDeque;

use super::tests::{Rig, Seen, assert_accounted, read_frames};
use super::*;
use crate::history;
use crate::test_random::Random;
use crate::topics::Filter;
use crate::wire::Format;

/// A client that does with its cursors what a session does.
struct Client {
    owner: Owner,
    topics: Vec<&'static str>,
    serving: Option<Subscription>,
    /// Follows when what is served has ended.
    next: Option<Option<Subscription>>,
    owed: VecDeque<u64>,
    bytes: Vec<u8>,
}

fn wish(topics: &[&str]) -> Option<Wish> {
    let prefixes: Vec<_> = topics.iter().map(|topic| topic.as_bytes().to_vec()).collect();
    let wire = WireFormat::WebSocket(Format::Json);
    (!prefixes.is_empty()).then(|| Wish { filter: Filter::new(prefixes, vec![]), wire })
}

impl Client {
    fn new(owner: u64) -> Self {
        let (topics, owed, bytes) = (Vec::new(), VecDeque::new(), Vec::new());
        Self { owner: Owner(owner), topics, serving: None, next: None, owed, bytes }
    }

    fn change(&mut self, rig: &mut Rig, topics: &[&'static str]) {
        if self.next.is_some() {
            return;
        }
        let changed = rig.feeds.resubscribe(self.owner, self.serving.take(), wish(topics), false);
        self.topics = topics.to_vec();
        match changed.before {
            None => self.serving = changed.after,
            before => (self.serving, self.next) = (before, Some(changed.after)),
        }
        rig.feeds.check_invariants();
    }

    fn note(&mut self, topic: &str, seq: u64) {
        if self.topics.iter().any(|prefix| topic.starts_with(prefix)) {
            self.owed.push_back(seq);
        }
    }

    fn take(&mut self, rig: &mut Rig, max: usize) {
        if let Some(serving) = &self.serving {
            rig.send(serving, max, &mut self.bytes);
            if self.next.is_some() && rig.feeds.has_ended(serving) {
                rig.feeds.unsubscribe(serving);
                self.serving = self.next.take().flatten();
            }
        }
        rig.feeds.check_invariants();
    }

    fn take_all(&mut self, rig: &mut Rig) -> Vec<Seen> {
        // Replays let others come first again and again.
        (0..50).for_each(|_| self.take(rig, usize::MAX));
        assert!(self.next.is_none(), "what was owed is bounded");
        read_frames(&std::mem::take(&mut self.bytes))
    }
}

const TOPICS: [&str; 5] = ["a", "ab", "abc", "b", ""];

/// Lives a life and hands out what each client saw and was owed.
fn live(random: &mut Random, rig: &mut Rig, check: impl Fn(&mut VecDeque<u64>, &[Seen])) {
    let mut clients: Vec<_> = (0..6).map(Client::new).collect();
    for _ in 0..400 {
        let at = random.below(clients.len());
        match random.below(8) {
            0..2 => {
                let topics: Vec<_> =
                    (0..random.below(3)).map(|_| TOPICS[random.below(5)]).collect();
                clients[at].change(rig, &topics);
            }
            2..5 => {
                let topic = ["a", "ab", "abc", "b", "c"][random.below(5)];
                let size = [10, 100, 3_000, 20_000][random.below(4)];
                let seq = rig.publish(topic, &vec![b'x'; random.below(size)]);
                clients.iter_mut().for_each(|client| client.note(topic, seq));
            }
            _ => clients[at].take(rig, [1, 10, 1_000, 1_000_000][random.below(4)]),
        }
    }
    for client in &mut clients {
        let seen = client.take_all(rig);
        check(&mut client.owed, &seen);
        client.change(rig, &[]);
    }
    // What was replayed last is kept until a turn ends.
    while rig.feeds.next_owner().is_some() {}
    assert_eq!(rig.feeds.len(), 0, "who wants nothing has no feed");
    assert_eq!(rig.memory.used_bytes(), 0, "nothing is held for nobody");
}

#[test]
fn whoever_keeps_up_gets_what_it_wanted_when_it_was_published() {
    let mut random = Random::from_env();
    for _ in 0..60 {
        let mut rig = Rig::new(100 << 20, LagPolicy::Skip, 1 << 30);
        live(&mut random, &mut rig, |owed, seen| {
            let expected: Vec<_> = owed.iter().map(|&seq| Seen::Message(seq)).collect();
            assert_eq!(seen, expected);
        });
    }
}

#[test]
fn whoever_lags_is_told_of_what_it_missed_before_and_after_a_change() {
    let mut random = Random::from_env();
    for _ in 0..60 {
        let lag_bytes_max = [300, 2_000, 40_000][random.below(3)];
        let mut rig = Rig::new(lag_bytes_max, LagPolicy::Skip, 1 << 30);
        live(&mut random, &mut rig, |owed, seen| {
            assert_accounted(owed, seen);
            assert!(owed.is_empty(), "neither delivered nor told: {owed:?}");
        });
    }
}

#[test]
fn conflation_stops_where_a_change_begins() {
    let mut random = Random::from_env();
    for _ in 0..60 {
        let lag_bytes_max = [300, 2_000, 40_000][random.below(3)];
        let values = history::Limits { messages_max: 0, topics_max: 100, bytes_max: 1 << 26 };
        let mut rig = Rig::with_history(lag_bytes_max, LagPolicy::Conflate, 1 << 30, values);
        live(&mut random, &mut rig, |owed, seen| {
            let (mut last, mut missed) = (0, owed.len() as u64);
            for item in seen {
                match item {
                    Seen::Message(seq) => {
                        assert!(*seq > last && owed.contains(seq), "{seq} after {last}");
                        (last, missed) = (*seq, missed - 1);
                    }
                    Seen::Gap(told) => missed -= told.unwrap(),
                }
            }
            assert_eq!(missed, 0, "neither delivered nor told");
        });
    }
}

#[test]
fn what_was_wanted_before_holds_nothing_that_comes_after() {
    let mut rig = Rig::new(1 << 20, LagPolicy::Skip, 1 << 30);
    let mut client = Client::new(0);
    client.change(&mut rig, &["a"]);
    rig.publish("a", b"1");
    client.take(&mut rig, 5);
    client.change(&mut rig, &["b"]);
    assert_eq!(rig.feeds.len(), 2, "in the middle of a message");
    rig.publish("a", b"2");
    rig.publish("b", b"3");
    assert_eq!(client.take_all(&mut rig), [Seen::Message(1), Seen::Message(3)]);
    assert_eq!((rig.feeds.len(), rig.memory.used_bytes()), (2 - 1, 0));
}

#[test]
fn the_same_topics_are_no_change() {
    let mut rig = Rig::new(1 << 20, LagPolicy::Skip, 1 << 30);
    let mut client = Client::new(0);
    client.change(&mut rig, &["a", "ab"]);
    rig.publish("abc", b"1");
    client.change(&mut rig, &["abc", "a"]);
    assert!(client.next.is_none());
    assert_eq!(client.take_all(&mut rig), [Seen::Message(1)]);
}

#[test]
fn a_turn_changes_a_limited_number_of_topics() {
    let mut rig = Rig::new(1 << 20, LagPolicy::Skip, 1 << 30);
    let topics: Vec<String> = (0..128).map(|n| format!("{n:04}{}", "x".repeat(250))).collect();
    let mut client = Client::new(0);
    let mut changes = 0;
    while rig.feeds.has_time_for_changes() {
        let some: Vec<&str> = topics[changes % 2..].iter().map(String::as_str).collect();
        let changed = rig.feeds.resubscribe(client.owner, client.serving, wish(&some), false);
        client.serving = changed.after;
        changes += 1;
    }
    assert!((4..8).contains(&changes), "{changes}");
    rig.feeds.begin_turn();
    assert!(rig.feeds.has_time_for_changes());
}
