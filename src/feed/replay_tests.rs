//! Resuming, last values and conflation against a slow and obvious oracle: the list of every message.

use super::*;
use crate::history;
use crate::memory::Memory;
use crate::message::{Epoch, Id, Lost, Message, Part, Seq, TopicFrom};
use crate::test_random::Random;
use crate::topics::Filter;
use crate::wire::{Encoding, Format, Payload};

const EPOCH_SEED: u64 = 7;
const TOPICS: [&str; 5] = ["a", "ab", "abc", "b", "c"];

struct Rig {
    feeds: Feeds,
    memory: Memory,
    /// The topic of each message.
    all: Vec<&'static str>,
    /// What is lost before each message that is published.
    lost_upstream: Option<Lost>,
}

/// A subscriber and everything that it was sent.
struct Client {
    subscription: Subscription,
    prefix: &'static str,
    bytes: Vec<u8>,
    /// How many messages there were when it subscribed.
    joined: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Message(u64),
    Gap(Option<u64>, String),
}

fn keep(messages_max: usize, topics_max: usize, bytes_max: usize) -> history::Limits {
    history::Limits { messages_max, topics_max, bytes_max }
}

fn id(seq: u64) -> Option<Id> {
    Some(Id { epoch: Some(Epoch::from_seed(EPOCH_SEED)), seq: Seq(seq) })
}

const JSON: WireFormat = WireFormat::WebSocket(Format::Json);

impl Rig {
    fn new(lag_bytes_max: usize, lag_policy: LagPolicy, history: history::Limits) -> Self {
        Self::with_values(lag_bytes_max, lag_policy, history, false)
    }

    fn with_values(
        lag_bytes_max: usize,
        lag_policy: LagPolicy,
        history: history::Limits,
        last_value: bool,
    ) -> Self {
        let memory = Memory::with_limit(1 << 30);
        let encoding = Encoding::new(Epoch::from_seed(EPOCH_SEED), Payload::Auto);
        let limits = Limits { lag_bytes_max, lag_policy, history, last_value };
        let feeds = Feeds::new(limits, encoding, &memory, Memory::with_limit(1 << 30));
        Self { feeds, memory, all: Vec::new(), lost_upstream: None }
    }

    fn publish(&mut self, topic: &'static str, bytes: usize) {
        self.feeds.block_who_is_behind();
        self.all.push(topic);
        let parts = [Part::from(topic), Part::from(&vec![b'x'; bytes][..])];
        let seq = Seq(self.all.len() as u64);
        let mut message = Message::from_parts(seq, &parts, TopicFrom::Part);
        message.lost_upstream = self.lost_upstream;
        self.feeds.publish(&message);
        self.feeds.check_invariants();
    }

    fn join(&mut self, prefix: &'static str, since: Option<Id>) -> Client {
        self.join_with(prefix, since, JSON)
    }

    fn join_with(&mut self, prefix: &'static str, since: Option<Id>, wire: WireFormat) -> Client {
        let joined = self.all.len() as u64;
        let wish = Wish { filter: Filter::new(vec![prefix.into()], vec![]), wire };
        let subscription = self.feeds.subscribe(wish, Owner(joined), since);
        self.feeds.check_invariants();
        Client { subscription, prefix, bytes: Vec::new(), joined }
    }

    fn leave(&mut self, client: &Client) {
        self.feeds.unsubscribe(&client.subscription);
        self.feeds.check_invariants();
    }

    /// Sends at most `max` bytes.
    fn send(&mut self, client: &mut Client, max: usize) -> u64 {
        let (mut left, mut messages) = (max, 0);
        while left > 0 {
            match self.feeds.pending(&client.subscription) {
                Pending::Nothing => break,
                Pending::Later => {}
                Pending::Bytes(pending) => {
                    let sent = pending.len().min(left);
                    client.bytes.extend_from_slice(&pending[..sent]);
                    messages += self.feeds.advance(&client.subscription, sent);
                    left -= sent;
                }
            }
        }
        self.feeds.check_invariants();
        messages
    }

    fn seen(&mut self, client: &mut Client) -> Vec<Seen> {
        self.send(client, usize::MAX);
        seen(&client.bytes)
    }

    fn lag_gaps(&self) -> u64 {
        self.feeds.counts().gaps[crate::error::GapReason::Lag as usize]
    }

    /// The messages numbered above `from` that start so.
    fn owed(&self, prefix: &str, from: u64) -> Vec<u64> {
        let is_owed = |seq: &u64| self.all[*seq as usize - 1].starts_with(prefix);
        (from + 1..=self.all.len() as u64).filter(is_owed).collect()
    }
}

fn numbers(seen: &[Seen]) -> Vec<u64> {
    let number = |seen: &Seen| match seen {
        Seen::Message(seq) => *seq,
        Seen::Gap(..) => panic!("a gap: {seen:?}"),
    };
    seen.iter().map(number).collect()
}

/// Reads unmasked text frames; everything must be whole.
fn seen(mut bytes: &[u8]) -> Vec<Seen> {
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
            Some(gap) => Seen::Gap(gap["missed"].as_u64(), gap["reason"].as_str().unwrap().into()),
            None => {
                let id: Id = json["id"].as_str().unwrap().parse().unwrap();
                Seen::Message(id.seq.0)
            }
        });
        bytes = &bytes[start + len..];
    }
    seen
}

/// Whoever comes back gets what it missed, then what is live, whatever lies between its visits; only what history
/// itself let go of may be missing, and is told.
#[test]
fn who_resumes_misses_nothing_that_is_kept() {
    let mut random = Random::from_env();
    for _ in 0..60 {
        let (messages_max, bytes_max) =
            [(10_000, 1 << 24), (50, 1 << 24), (10_000, 60_000)][random.below(3)];
        let is_kept = (messages_max, bytes_max) == (10_000, 1 << 24);
        let lag_bytes_max = [500, 20_000][random.below(2)];
        let mut rig = Rig::new(lag_bytes_max, LagPolicy::Skip, keep(messages_max, 0, bytes_max));
        let mut clients: Vec<(Client, u64)> = Vec::new();
        for _ in 0..400 {
            match random.below(8) {
                0 if clients.len() < 12 => {
                    let since = random.below(rig.all.len() + 1) as u64;
                    let prefix = ["", "a", "ab", "b"][random.below(4)];
                    clients.push((rig.join(prefix, id(since)), since));
                }
                1 if !clients.is_empty() && random.chance(4) => {
                    let (client, _) = clients.swap_remove(random.below(clients.len()));
                    rig.leave(&client);
                }
                2..=5 => {
                    let size = [10, 100, 3_000, 20_000][random.below(4)];
                    rig.publish(TOPICS[random.below(5)], random.below(size));
                }
                _ if !clients.is_empty() => {
                    let at = random.below(clients.len());
                    let max = [1, 10, 1_000, 1_000_000][random.below(4)];
                    rig.send(&mut clients[at].0, max);
                }
                _ => {}
            }
        }
        for (client, since) in &mut clients {
            let seen = rig.seen(client);
            let mut owed = rig.owed(client.prefix, *since).into_iter().peekable();
            let mut may_skip = false;
            for item in &seen {
                match item {
                    Seen::Message(seq) => {
                        if may_skip {
                            while owed.next_if(|next| next < seq).is_some() {}
                        }
                        may_skip = false;
                        assert_eq!(owed.next(), Some(*seq), "{seen:?}");
                    }
                    Seen::Gap(Some(missed), _) => {
                        assert_eq!(owed.by_ref().take(*missed as usize).count() as u64, *missed);
                    }
                    Seen::Gap(None, _) => may_skip = true,
                }
                let is_gap = matches!(item, Seen::Gap(..));
                let is_lag = matches!(item, Seen::Gap(_, reason) if reason == "lag");
                assert!(!is_gap || !is_kept || is_lag, "everything is kept: {item:?}");
            }
            assert!(may_skip || owed.next().is_none(), "neither delivered nor told");
        }
        clients.iter().for_each(|(client, _)| rig.leave(client));
        rig.feeds.release();
        rig.feeds.next_owner();
        assert_eq!(rig.memory.used_bytes(), 0, "nothing is held for nobody");
    }
}

#[test]
fn the_seam_between_replay_and_live_neither_loses_nor_doubles() {
    let mut rig = Rig::new(1_000, LagPolicy::Skip, keep(1_000, 0, 1 << 20));
    (0..50).for_each(|_| rig.publish("a", 100));
    let mut client = rig.join("", id(10));
    assert_eq!(rig.send(&mut client, 500), 4, "messages are counted when they begin");
    // Far more than the lag allowed: history makes up for it.
    (0..100).for_each(|_| rig.publish("a", 100));
    rig.send(&mut client, 500);
    (0..100).for_each(|_| rig.publish("a", 100));
    let seen = rig.seen(&mut client);
    assert_eq!(numbers(&seen), (11..=250).collect::<Vec<_>>());
    assert_eq!(rig.lag_gaps(), 0);
}

#[test]
fn what_history_lets_go_of_before_it_was_sent_is_told() {
    let mut rig = Rig::new(1_000, LagPolicy::Skip, keep(20, 0, 1 << 20));
    (0..20).for_each(|_| rig.publish("a", 100));
    let (mut all, mut some) = (rig.join("", id(0)), rig.join("a", id(0)));
    (0..10).for_each(|_| rig.publish("b", 100));
    for (client, missed, live) in [(&mut all, Some(10), 21..31), (&mut some, None, 31..31)] {
        let seen = rig.seen(client);
        assert_eq!(seen[0], Seen::Gap(missed, "lag".into()), "{seen:?}");
        assert_eq!(numbers(&seen[1..]), (11..=20).chain(live).collect::<Vec<_>>());
    }
    assert_eq!(rig.lag_gaps(), 2);
}

#[test]
fn the_answer_to_since() {
    let mut rig = Rig::new(100_000, LagPolicy::Skip, keep(5, 0, 1 << 20));
    (0..8).for_each(|_| rig.publish("a", 10));
    let other = |seq| Some(Id { epoch: None, seq: Seq(seq) });
    let gap = |missed, reason: &str| vec![Seen::Gap(missed, reason.into())];
    for (prefix, since, expected_gap, first) in [
        ("", id(8), vec![], 9),
        ("", id(3), vec![], 4),
        ("", id(5), vec![], 6),
        ("", id(2), gap(Some(1), "history"), 4),
        ("a", id(1), gap(None, "history"), 4),
        ("", id(9), gap(None, "restart"), 4),
        ("", other(8), gap(None, "restart"), 4),
        ("b", other(8), gap(None, "restart"), 9),
        ("", None, vec![], 9),
    ] {
        let mut client = rig.join(prefix, since);
        let seen = rig.seen(&mut client);
        let (gaps, messages) = seen.split_at(expected_gap.len());
        assert_eq!(
            (gaps, numbers(messages)),
            (&expected_gap[..], (first..9).collect()),
            "{since:?}"
        );
        rig.leave(&client);
    }
    let counts = rig.feeds.counts().gaps;
    assert_eq!(counts.iter().sum::<u64>(), 5);
}

#[test]
fn formats_that_cannot_tell_are_counted() {
    let mut rig = Rig::new(100_000, LagPolicy::Skip, keep(5, 0, 1 << 20));
    (0..8).for_each(|_| rig.publish("a", 10));
    let mut client = rig.join_with("", id(0), WireFormat::WebSocket(Format::Raw));
    assert_eq!(rig.send(&mut client, usize::MAX), 5);
    assert_eq!(client.bytes.len(), 5 * 12);
    assert_eq!(rig.feeds.counts().gaps.iter().sum::<u64>(), 1);
}

/// Each topic once, its last message, in order; then what is live, without a gap.
#[test]
fn a_new_client_gets_last_values_first() {
    let mut random = Random::from_env();
    for _ in 0..40 {
        let history = keep([0, 1_000][random.below(2)], 100, 1 << 20);
        let mut rig = Rig::with_values(1 << 20, LagPolicy::Skip, history, true);
        (0..random.below(40)).for_each(|_| rig.publish(TOPICS[random.below(5)], 100));
        let mut client = rig.join(["", "a", "b"][random.below(3)], None);
        for _ in 0..random.below(20) {
            rig.publish(TOPICS[random.below(5)], 100);
            rig.send(&mut client, random.below(300));
        }
        let seen = numbers(&rig.seen(&mut client));
        let live = rig.owed(client.prefix, client.joined);
        let values = &seen[..seen.len() - live.len()];
        assert_eq!(seen[values.len()..], live);
        assert!(values.is_sorted() && values.iter().all(|&seq| seq <= client.joined));
        for topic in TOPICS.iter().filter(|topic| topic.starts_with(client.prefix)) {
            let of_topic = |seq: &&u64| rig.all[**seq as usize - 1] == *topic;
            let last = (1..=client.joined).rev().find(|seq| of_topic(&seq));
            let was_replaced = live.iter().any(|seq| of_topic(&seq));
            let own: Vec<_> = values.iter().filter(of_topic).copied().collect();
            let is_right = own == Vec::from_iter(last) || (was_replaced && own.is_empty());
            assert!(is_right, "{topic}: {own:?}, not {last:?}");
        }
    }
}

/// A piece that was made for an earlier client has what is out of date by now.
#[test]
fn who_comes_later_gets_no_value_that_was_replaced() {
    let mut rig = Rig::with_values(1 << 20, LagPolicy::Skip, keep(0, 100, 1 << 20), true);
    ["a", "b", "c"].into_iter().for_each(|topic| rig.publish(topic, 10));
    let mut earlier = rig.join("", None);
    rig.send(&mut earlier, 1);
    rig.publish("a", 10);
    let mut later = rig.join("", None);
    assert_eq!(numbers(&rig.seen(&mut later)), [2, 3, 4]);
    assert_eq!(numbers(&rig.seen(&mut earlier)), [1, 2, 3, 4]);
}

/// What was lost before somebody came is nothing that it missed; who fell behind did miss it.
#[test]
fn upstream_loss_is_told_to_who_was_there() {
    let kept = keep(100, 100, 1 << 20);
    let mut rig = Rig::with_values(1_000, LagPolicy::Conflate, kept, true);
    let mut there = rig.join("", None);
    rig.publish("a", 100);
    rig.lost_upstream = Some(Lost { missed: Some(3) });
    rig.publish("b", 100);
    let mut new = rig.join("", None);
    assert_eq!(numbers(&rig.seen(&mut new)), [1, 2], "no gap");
    let mut resuming = rig.join("", id(1));
    let told = [Seen::Gap(Some(3), "upstream".into()), Seen::Message(2)];
    assert_eq!(rig.seen(&mut resuming), told);
    assert_eq!(rig.seen(&mut there)[1..], told);
    rig.publish("a", 100);
    (0..30).for_each(|_| rig.publish("b", 100));
    let told = [Seen::Gap(Some(3), "upstream".into()), Seen::Message(3)];
    assert_eq!(rig.seen(&mut there)[3..5], told);
}

#[test]
fn last_values_come_before_what_history_has() {
    let mut rig = Rig::with_values(1 << 20, LagPolicy::Skip, keep(3, 100, 1 << 20), true);
    for topic in ["a", "b", "a", "c", "b", "ab", "c"] {
        rig.publish(topic, 10);
    }
    for (since, gap, expected) in [
        (id(0), Some("history"), [3, 5, 6, 7].as_slice()),
        (id(3), Some("history"), &[5, 6, 7]),
        (id(4), None, &[5, 6, 7]),
        (Some(Id { epoch: None, seq: Seq(4) }), Some("restart"), &[3, 5, 6, 7]),
    ] {
        let mut client = rig.join("", since);
        let seen = rig.seen(&mut client);
        let gaps: Vec<_> = gap.map(|reason| Seen::Gap(None, reason.into())).into_iter().collect();
        assert_eq!((&seen[..gaps.len()], &*numbers(&seen[gaps.len()..])), (&*gaps, expected));
        rig.leave(&client);
    }
}

/// What a client gets that fell behind: last values of what it missed, in order, and the rest as a number.
#[test]
fn conflation_accounts_for_everything() {
    let mut random = Random::from_env();
    for _ in 0..60 {
        let topics_max = [2, 100][random.below(2)];
        let mut rig = Rig::new(2_000, LagPolicy::Conflate, keep(0, topics_max, 1 << 20));
        let mut client = rig.join(["", "a", "b"][random.below(3)], None);
        for _ in 0..random.below(300) {
            let size = [10, 1_000, 12_000][random.below(3)];
            rig.publish(TOPICS[random.below(5)], random.below(size));
            if random.chance(5) {
                let max = [1, 100, 5_000][random.below(3)];
                rig.send(&mut client, max);
            }
        }
        let seen = rig.seen(&mut client);
        let owed = rig.owed(client.prefix, 0);
        let (mut delivered, mut missed, mut last) = (0, 0, 0);
        for item in &seen {
            match item {
                Seen::Message(seq) => {
                    assert!(*seq > last && owed.contains(seq), "in order, and owed: {seen:?}");
                    (delivered, last) = (delivered + 1, *seq);
                }
                Seen::Gap(count, reason) => {
                    assert_eq!(reason, "lag");
                    missed += count.expect("counted");
                }
            }
        }
        assert_eq!(delivered + missed, owed.len() as u64, "{seen:?}");
        let gaps = seen.iter().filter(|seen| matches!(seen, Seen::Gap(..))).count();
        assert_eq!(rig.lag_gaps(), gaps as u64);
        if topics_max == 100 {
            let got = |seq: &u64| seen.contains(&Seen::Message(*seq));
            let is_last = |seq: &&u64| {
                let topic = rig.all[**seq as usize - 1];
                owed.iter().rfind(|own| rig.all[**own as usize - 1] == topic) == Some(*seq)
            };
            assert!(owed.iter().filter(is_last).all(got), "the latest of each topic: {seen:?}");
        }
    }
}

#[test]
fn who_is_conflated_in_the_middle_of_a_replay_is_told_the_rest() {
    let mut rig = Rig::new(1_000, LagPolicy::Conflate, keep(10, 100, 1 << 20));
    (0..10).for_each(|_| rig.publish("a", 100));
    let mut client = rig.join("", id(0));
    rig.send(&mut client, 300);
    for topic in ["b", "c"].into_iter().cycle().take(40) {
        rig.publish(topic, 100);
    }
    let seen = rig.seen(&mut client);
    let missed: u64 =
        seen.iter().filter_map(|it| if let Seen::Gap(n, _) = it { *n } else { None }).sum();
    let got = seen.iter().filter(|it| matches!(it, Seen::Message(_))).count();
    assert_eq!(missed + got as u64, 50, "{seen:?}");
    assert_eq!(seen.last(), Some(&Seen::Message(50)));
}

/// Ten thousand who resume at once keep numbers, not messages, and hold one copy of a frame that is under way.
#[test]
fn a_crowd_that_resumes_costs_no_memory_for_its_backlog() {
    for bytes in [1_000, 100_000] {
        let mut rig = Rig::new(100_000, LagPolicy::Skip, keep(100, 0, 1 << 24));
        (0..100).for_each(|_| rig.publish("a", bytes));
        let mut crowd: Vec<_> = (0..1_000).map(|_| rig.join("", id(0))).collect();
        for client in &mut crowd {
            rig.send(client, bytes + bytes / 2);
        }
        let used = rig.memory.used_bytes();
        assert!(used < 3 * bytes + 1_000, "{used} bytes for {} clients", crowd.len());
    }
}

/// The gateway comes back by itself to those who replay; passes are for the others.
#[test]
fn who_replays_is_left_out_of_passes_and_holds_up_nobody() {
    let mut rig = Rig::new(10_000, LagPolicy::Skip, keep(1_000, 0, 1 << 24));
    (0..500).for_each(|_| rig.publish("a", 1_000));
    let mut resuming = rig.join("", id(0));
    let mut live = rig.join("", None);
    rig.send(&mut resuming, 10);
    for _ in 0..100 {
        rig.publish("a", 1_000);
        rig.feeds.set_blocked(&live.subscription, false);
        rig.feeds.set_blocked(&resuming.subscription, false);
        rig.feeds.release();
        assert_eq!(rig.feeds.next_owner(), Some(Owner(500)), "the live one");
        rig.send(&mut live, usize::MAX);
        assert_eq!(rig.feeds.next_owner(), None);
        assert!(!rig.feeds.is_congested());
    }
    assert_eq!(numbers(&rig.seen(&mut live)), (501..=600).collect::<Vec<_>>());
    assert_eq!(numbers(&rig.seen(&mut resuming)), (1..=600).collect::<Vec<_>>());
}

#[test]
fn a_piece_is_followed_by_the_turn_of_others_and_a_search_without_find_too() {
    let mut rig = Rig::new(1 << 20, LagPolicy::Skip, keep(10_000, 0, 1 << 24));
    (0..5_000).for_each(|_| rig.publish("a", 100));
    let laters = |rig: &mut Rig, client: &Client| {
        let mut laters = 0;
        loop {
            match rig.feeds.pending(&client.subscription) {
                Pending::Nothing => return laters,
                Pending::Later => laters += 1,
                Pending::Bytes(bytes) => {
                    let len = bytes.len();
                    assert!(len < 32 << 10, "{len} bytes in one piece");
                    rig.feeds.advance(&client.subscription, len);
                }
            }
        }
    };
    let (all, nothing) = (rig.join("", id(0)), rig.join("b", id(0)));
    assert!(laters(&mut rig, &all) > 20);
    assert_eq!(laters(&mut rig, &nothing), 5);
}
