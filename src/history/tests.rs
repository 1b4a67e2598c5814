//! What is kept against a slow and obvious oracle: a list of every message.

use super::*;
use crate::message::{Message, Part, Seq, TopicFrom};
use crate::test_random::Random;

/// What is to be seen of a message again.
type Seen = (u64, Vec<u8>, bool, Vec<u8>, Vec<Vec<u8>>, Vec<Vec<u8>>);

fn seen(message: &Message<'_>) -> Seen {
    let body = message.body().map(<[u8]>::to_vec).collect();
    let (topic, matched) = (message.topic().to_vec(), message.matched().to_vec());
    assert_eq!(message.body_bytes(), message.body().map(<[u8]>::len).sum::<usize>());
    assert_eq!(message.body_parts(), message.body().count());
    let mut parts = Vec::new();
    message.for_each_part(|pieces, _| parts.push(pieces.concat()));
    (message.seq.0, topic, message.has_topic(), matched, body, parts)
}

/// Makes up a message and hands it out with what it is.
fn with_random_message(random: &mut Random, seq: u64, act: impl FnOnce(&Message<'_>)) -> Seen {
    let size = [1, 10, 300, 5_000][random.below(4)];
    let mut parts: Vec<Part> =
        (0..random.below(3)).map(|_| Part::from(random.bytes(random_len(size, seq)))).collect();
    parts.insert(0, Part::from(["a", "b", "c", "dd", "e:f", ":"][random.below(6)]));
    let from = [TopicFrom::Part, TopicFrom::None, TopicFrom::Delimiter(b':')][random.below(3)];
    let message = Message::from_parts(Seq(seq), &parts, from);
    act(&message);
    seen(&message)
}

fn random_len(size: usize, seq: u64) -> usize {
    seq as usize * 7919 % size
}

fn limits(messages_max: usize, topics_max: usize, bytes_max: usize) -> Limits {
    Limits { messages_max, topics_max, bytes_max }
}

#[test]
fn the_ring_keeps_the_newest_messages_as_they_were() {
    let mut random = Random::from_env();
    for _ in 0..60 {
        let messages_max = [1, 2, 10, 1_000][random.below(4)];
        let bytes_max = [10, 500, 8_000, 200_000][random.below(4)];
        let mut ring = History::with_limits(limits(messages_max, 0, bytes_max));
        let mut all = Vec::new();
        for seq in 1..500 {
            all.push(with_random_message(&mut random, seq, |message| ring.record(message)));
            assert!(ring.held_bytes() <= bytes_max, "{} bytes", ring.held_bytes());
            assert!(ring.len() <= messages_max);
            assert_eq!(ring.first().0 + ring.len() as u64, seq + 1);
            let from = random.below(seq as usize + 3) as u64;
            let kept: Vec<_> = ring.iter_from(Seq(from)).map(|message| seen(&message)).collect();
            let first = from.max(ring.first().0).max(1).min(seq + 1) as usize;
            assert_eq!(kept, all[first - 1..], "from {from} on, {first} to {seq} are kept");
        }
        let is_roomy = bytes_max == 200_000 && messages_max <= 10;
        assert!(!is_roomy || ring.len() == messages_max, "nothing is let go of without need");
    }
}

#[test]
fn a_message_larger_than_the_ring_leaves_no_hole() {
    let mut ring = History::with_limits(limits(10, 0, 1_000));
    let parts = |bytes: usize| [Part::from(&vec![b'x'; bytes][..])];
    for (seq, bytes) in [(1, 10), (2, 2_000), (3, 10)] {
        ring.record(&Message::from_parts(Seq(seq), &parts(bytes), TopicFrom::Part));
    }
    assert_eq!((ring.first(), ring.len()), (Seq(3), 1));
}

#[test]
fn a_ring_of_no_messages_is_empty() {
    let mut ring = History::with_limits(limits(0, 0, 1_000));
    ring.record(&Message::from_parts(Seq(1), &[Part::from("a")], TopicFrom::Part));
    assert_eq!((ring.first(), ring.len(), ring.held_bytes()), (Seq(2), 0, 0));
    assert_eq!(ring.iter_from(Seq(0)).count(), 0);
}

#[test]
fn most_of_the_bytes_allowed_are_used() {
    let mut ring = History::with_limits(limits(1_000_000, 0, 1 << 20));
    let parts = [Part::from("topic"), Part::from(&[b'x'; 1_000][..])];
    for seq in 1..5_000 {
        ring.record(&Message::from_parts(Seq(seq), &parts, TopicFrom::Part));
    }
    assert!(ring.len() > 850, "{} messages", ring.len());
}

#[test]
fn the_last_value_of_each_topic_is_kept_in_order() {
    let mut random = Random::from_env();
    for _ in 0..60 {
        let topics_max = [1, 2, 4, 100][random.below(4)];
        let mut values = LastValues::with_limits(limits(0, topics_max, 1 << 20));
        let mut all: Vec<Seen> = Vec::new();
        for seq in 1..300 {
            all.push(with_random_message(&mut random, seq, |message| values.record(message)));
            let from = random.below(seq as usize + 3) as u64;
            let kept: Vec<_> = values.iter_from(Seq(from)).map(|message| seen(&message)).collect();
            let is_last = |own: &&Seen| all[own.0 as usize..].iter().all(|other| other.1 != own.1);
            let mut expected: Vec<_> = all.iter().filter(is_last).cloned().collect();
            // Of too many topics those go that were not updated for the longest time.
            expected.drain(..expected.len().saturating_sub(topics_max));
            expected.retain(|message| message.0 >= from);
            assert_eq!(kept, expected);
        }
    }
}

#[test]
fn last_values_stay_within_their_bytes() {
    let mut random = Random::from_env();
    for _ in 0..40 {
        let bytes_max = [100, 1_000, 10_000][random.below(3)];
        let mut values = LastValues::with_limits(limits(0, 100, bytes_max));
        let mut all: Vec<Seen> = Vec::new();
        for seq in 1..300 {
            all.push(with_random_message(&mut random, seq, |message| values.record(message)));
            assert!(values.held_bytes() <= bytes_max);
            for message in values.iter_from(Seq(0)) {
                let kept = seen(&message);
                let is_last = all[kept.0 as usize..].iter().all(|other| other.1 != kept.1);
                assert!(is_last && all[kept.0 as usize - 1] == kept);
            }
        }
    }
}

#[test]
fn the_steady_state_of_last_values_does_not_grow() {
    let mut values = LastValues::with_limits(limits(0, 100, 1 << 20));
    let mut held = Vec::new();
    for seq in 1..10_000 {
        let parts = [Part::from(&format!("{}", seq % 50)[..]), Part::from(&[b'x'; 100][..])];
        values.record(&Message::from_parts(Seq(seq), &parts, TopicFrom::Part));
        held.push(values.held_bytes());
    }
    assert_eq!(held[1_000], held[9_998]);
}
