//! What a simulated client of ZWS asks for, when the gateway follows it, and what it reads in the bytes that it got.

use std::collections::BTreeSet;

use super::account::Seen;
use super::client::{Published, frame, number_of, random_topic, take_frame};
use crate::test_random::Random;
use crate::wire::zws::Protocol;

type Topics = BTreeSet<&'static str>;

/// What one client asked for, and what the gateway made of it.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// After each request: what it wants.
    asked: Vec<Topics>,
    /// What the gateway followed, and how many messages were published before.
    followed: Vec<(usize, Topics)>,
    /// How much of `asked` the gateway has passed by.
    passed: usize,
}

impl Subscriptions {
    /// What it says first.
    pub(super) fn greet(&mut self, random: &mut Random, protocol: Protocol) -> Vec<u8> {
        self.asked.push(Topics::new());
        let mut bytes = match protocol {
            Protocol::Plain => frame(0x82, b"\0\x01ab"),
            Protocol::Null => frame(0x82, b"\x02\x05READY\x0bSocket-Type\0\0\0\x03SUB"),
        };
        if random.chance(2) {
            bytes.extend(self.change(random));
        }
        bytes
    }

    /// Asks for something else, perhaps for many things one after the other.
    pub(super) fn change(&mut self, random: &mut Random) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..[1, 1, 2, 20][random.below(4)] {
            let topic = random_topic(random);
            let mut wanted = self.asked.last().unwrap().clone();
            let flag = if random.chance(2) {
                wanted.remove(topic);
                0
            } else {
                wanted.insert(topic);
                1
            };
            bytes.extend(frame(0x82, &[&[0, flag], topic.as_bytes()].concat()));
            self.asked.push(wanted);
        }
        bytes
    }

    /// The gateway follows `topics` after so many messages: they must be what was asked for, in the order of asking.
    pub(super) fn note_followed(&mut self, topics: Vec<Vec<u8>>, published: usize) {
        let topics: BTreeSet<_> = topics.into_iter().collect();
        let is_same = |asked: &Topics| {
            asked.len() == topics.len() && asked.iter().all(|it| topics.contains(it.as_bytes()))
        };
        if self.followed.last().is_some_and(|(_, last)| is_same(last)) {
            return;
        }
        let asked = self.asked[self.passed..].iter().position(is_same);
        self.passed += asked.expect("nothing is followed that was not asked for");
        self.followed.push((published, self.asked[self.passed].clone()));
    }

    /// Whether a message was wanted when it was published, as far as the gateway could know.
    pub(super) fn wanted(&self, topic: &str, number: usize) -> bool {
        let then = self.followed.iter().rev().find(|(published, _)| *published < number);
        then.is_some_and(|(_, topics)| topics.iter().any(|prefix| topic.starts_with(prefix)))
    }

    /// In the end the gateway follows what was asked for last.
    pub(super) fn check_followed(&self) {
        let last = self.followed.last().map(|(_, topics)| topics);
        assert_eq!(last, self.asked.last(), "every request was heard");
    }
}

/// The messages and control frames that came whole.
pub(super) fn read(mut bytes: &[u8], protocol: Protocol, published: &[Published]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut has_greeting = false;
    let mut topic: Option<&[u8]> = None;
    while let Some((first, payload, rest)) = take_frame(bytes) {
        bytes = rest;
        match (first, payload) {
            (0x89, _) => seen.push(Seen::Ping),
            (0x8a, _) => seen.push(Seen::Pong),
            (0x88, _) => seen.push(Seen::Close(u16::from_be_bytes([payload[0], payload[1]]))),
            (0x82, greeting) if !has_greeting => {
                match protocol {
                    Protocol::Plain => assert_eq!(greeting, [0]),
                    Protocol::Null => assert!(greeting.starts_with(b"\x02\x05READY")),
                }
                has_greeting = true;
            }
            (0x82, [1, part @ ..]) => assert_eq!(topic.replace(part), None),
            (0x82, [0, part @ ..]) => {
                let number = number_of(part, published);
                let topic = topic.take().expect("a topic came before");
                assert_eq!(topic, published[number - 1].topic.as_bytes());
                seen.push(Seen::Message(number));
            }
            other => panic!("no such frame is ever sent: {other:?}"),
        }
        let is_control = first & 8 != 0;
        assert!(!is_control || topic.is_none(), "a message is not torn apart");
    }
    seen
}
