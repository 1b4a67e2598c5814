//! The limits of feeds: what a slow subscriber may cost, and that a fast one pays nothing for it.

use super::*;
use crate::history;
use crate::memory::Memory;
use crate::message::{Epoch, Message, Part, Seq, TopicFrom};
use crate::topics::{Demand, Filter};
use crate::wire::{Encoding, Format, Payload};

struct Rig {
    feeds: Feeds,
    memory: Memory,
    seq: u64,
}

impl Rig {
    fn new(lag_bytes_max: usize, memory_bytes_max: usize) -> Self {
        Self::with_policy(lag_bytes_max, memory_bytes_max, LagPolicy::Skip)
    }

    fn with_policy(lag_bytes_max: usize, memory_bytes_max: usize, lag_policy: LagPolicy) -> Self {
        let memory = Memory::with_limit(memory_bytes_max);
        let encoding = Encoding::new(Epoch::from_seed(7), Payload::Auto);
        let history = history::Limits::default();
        let limits = Limits { lag_bytes_max, lag_policy, history, last_value: false };
        let feeds = Feeds::new(limits, encoding, &memory, Memory::with_limit(memory_bytes_max / 8));
        Self { feeds, memory, seq: 0 }
    }

    fn publish(&mut self, topic: &str, bytes: usize) {
        self.seq += 1;
        let body = vec![b'x'; bytes];
        let parts = [Part::from(topic), Part::from(&body[..])];
        self.feeds.publish(&Message::from_parts(Seq(self.seq), &parts, TopicFrom::Part));
    }

    fn subscribe(&mut self, prefix: &str, owner: u64) -> Subscription {
        let filter = Filter::new(vec![prefix.into()], vec![]);
        let wish = Wish { filter, wire: WireFormat::WebSocket(Format::Raw) };
        self.feeds.subscribe(wish, Owner(owner), None)
    }

    fn send(&mut self, subscription: &Subscription, max: usize) -> usize {
        let mut sent = 0;
        loop {
            let piece = match self.feeds.pending(subscription) {
                Pending::Bytes(bytes) => bytes.len().min(max - sent),
                Pending::Later | Pending::Nothing => 0,
            };
            if piece == 0 {
                return sent;
            }
            self.feeds.advance(subscription, piece);
            sent += piece;
        }
    }

    /// As the loop does: everyone with room is served until there is nothing to do.
    fn serve_everyone(&mut self, clients: &[Subscription]) {
        self.feeds.release();
        while let Some(Owner(owner)) = self.feeds.next_owner() {
            self.send(&clients[owner as usize], usize::MAX);
        }
    }

    fn gaps(&self) -> u64 {
        self.feeds.counts().gaps.iter().sum()
    }
}

/// The source pauses only when the feed says so: what it takes in until then must not push out what nobody was offered.
#[test]
fn who_keeps_up_loses_nothing_to_messages_of_half_the_lag_allowed() {
    for sizes in [&[500_000, 500_000][..], &[30_000, 30_000, 30_000, 900_000], &[60_000, 2_000_000]]
    {
        let mut rig = Rig::new(1 << 20, 1 << 30);
        let clients = [rig.subscribe("", 0)];
        for &bytes in sizes.iter().cycle().take(20) {
            if rig.feeds.is_congested() {
                rig.serve_everyone(&clients);
            }
            rig.publish("t", bytes);
        }
        assert_eq!(rig.gaps(), 0, "{sizes:?}");
    }
}

/// As above, when it is `--max-memory` that is reached first: many filters, each with a client that takes everything.
#[test]
fn who_keeps_up_loses_nothing_to_max_memory() {
    let mut rig = Rig::new(1 << 20, 8 << 20);
    let clients: Vec<_> = (0..64).map(|n| rig.subscribe(&"t".repeat(n + 1), n as u64)).collect();
    for _ in 0..1_000 {
        if rig.feeds.is_congested() {
            rig.serve_everyone(&clients);
        }
        rig.publish(&"t".repeat(100), 1_000);
    }
    assert_eq!(rig.gaps(), 0);
}

/// Everyone who is left behind inside a frame keeps the same copy of it.
#[test]
fn rests_of_frames_are_kept_once_and_counted() {
    let mut rig = Rig::new(20_000, 1 << 30);
    let stalled: Vec<_> = (0..1_000).map(|n| rig.subscribe("", n)).collect();
    rig.publish("t", 8_000);
    for subscription in &stalled {
        assert_eq!(rig.send(subscription, 100), 100);
        rig.feeds.set_blocked(subscription, true);
    }
    for _ in 0..5 {
        rig.publish("t", 8_000);
    }
    assert!(stalled.iter().all(|own| rig.feeds.frame_rest_bytes(own) == 8_004 - 100));
    let used = rig.memory.used_bytes();
    assert!((8_004..20_000 + 2 * 8_192).contains(&used), "{used}");
}

/// "Those who keep the rest of a large frame are closed": not those who keep fifty bytes.
#[test]
fn relief_does_not_close_who_holds_next_to_nothing() {
    let mut rig = Rig::new(1 << 20, 1 << 20);
    let innocent = rig.subscribe("a", 0);
    let guilty = rig.subscribe("b", 1);
    rig.publish("a", 60);
    rig.send(&innocent, 10);
    rig.publish("b", 960_000);
    rig.send(&guilty, 10);
    rig.publish("b", 900_000);
    rig.send(&guilty, 10);
    rig.publish("b", 10);
    let expelled: Vec<_> = std::iter::from_fn(|| rig.feeds.pop_expelled()).collect();
    assert!(!expelled.iter().any(|(owner, _)| *owner == Owner(0)), "{expelled:?}");
}

/// A pass must cost what there is, not what there once was.
#[test]
fn a_pass_costs_the_same_after_a_crowd_has_left() {
    let mut feed = Feed::new(WireFormat::WebSocket(Format::Raw));
    let mut pool = ChunkPool::new(Memory::with_limit(1 << 30));
    for owner in 0..100_000 {
        feed.subscribe(Owner(owner), Arrears::default());
    }
    for slot in 1..100_000 {
        feed.unsubscribe(slot, &mut pool);
    }
    let begun = std::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(feed.next_in_pass(), None);
        feed.end_pass();
    }
    eprintln!("one pass over one subscriber: {:?}", begun.elapsed() / 100);
    assert!(
        feed.subscribers.capacity() < 1_000,
        "{} slots are looked at",
        feed.subscribers.capacity()
    );
}

/// Prefixes as deep as a request may ask for, on a thread with little stack.
#[test]
fn deep_prefixes_do_not_exhaust_the_stack() {
    let deep = || {
        let mut rig = Rig::new(1 << 20, 1 << 30);
        let depth = crate::topics::TOPIC_BYTES_MAX;
        let clients: Vec<_> =
            (0..depth).map(|n| rig.subscribe(&"a".repeat(n + 1), n as u64)).collect();
        rig.publish(&"a".repeat(depth), 10);
        for subscription in clients.iter().take(depth / 2).rev() {
            rig.feeds.unsubscribe(subscription);
        }
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(deep).unwrap().join().unwrap();
}

/// A client that is told to go but cannot be told yet, in the middle of a frame, is not told again for
/// every message: nothing bounds that list.
#[test]
fn who_is_to_be_disconnected_is_named_once() {
    let mut rig = Rig::with_policy(20_000, 1 << 30, LagPolicy::Disconnect);
    let stalled: Vec<_> = (0..100).map(|n| rig.subscribe("", n)).collect();
    rig.publish("t", 5_000);
    for subscription in &stalled {
        rig.send(subscription, 100);
        rig.feeds.set_blocked(subscription, true);
    }
    (0..100).for_each(|_| rig.publish("t", 30_000));
    let expelled = std::iter::from_fn(|| rig.feeds.pop_expelled()).count();
    assert!(expelled <= stalled.len(), "{expelled} for {} clients", stalled.len());
}

/// "A slow client never delays another": what is held for those who take nothing is no reason to pause.
#[test]
fn what_stalled_clients_hold_does_not_pause_the_source() {
    let mut rig = Rig::new(1 << 20, 8 << 20);
    let stalled: Vec<_> = (0..6).map(|n| rig.subscribe(&format!("s{n}"), n)).collect();
    for (n, subscription) in stalled.iter().enumerate() {
        rig.feeds.set_blocked(subscription, true);
        (0..100).for_each(|_| rig.publish(&format!("s{n}"), 8_000));
    }
    rig.feeds.release();
    while rig.feeds.next_owner().is_some() {}
    assert!(!rig.feeds.is_congested() && rig.memory.used_bytes() > 4 << 20);
    let _client = rig.subscribe("t", 6);
    let taken_in = (0..1_000).take_while(|_| {
        rig.publish("t", 10);
        !rig.feeds.is_congested()
    });
    let taken_in = taken_in.count();
    assert!(taken_in >= 100, "paused after {taken_in} messages of 10 bytes");
}

/// The memory is held by who stalls in the middle of large frames; who keeps up must not pay first.
#[test]
fn who_keeps_up_does_not_pay_for_rests_that_others_keep() {
    let mut rig = Rig::new(1 << 20, 1 << 20);
    for n in 0..2 {
        let guilty = rig.subscribe("b", n);
        rig.publish("b", 500_000);
        rig.send(&guilty, 10);
        rig.feeds.set_blocked(&guilty, true);
    }
    let innocent = rig.subscribe("a", 2);
    rig.publish("a", 60_000);
    assert!(
        rig.feeds.pending(&innocent) != Pending::Nothing,
        "lost 60,000 bytes that nobody had offered it"
    );
}

/// The loop asks after each message: many filters match the same topic.
#[test]
fn who_keeps_up_loses_nothing_to_one_step_of_a_drain() {
    let mut rig = Rig::new(1 << 20, 8 << 20);
    let clients: Vec<_> = (0..200).map(|n| rig.subscribe(&"t".repeat(n + 1), n as u64)).collect();
    for _ in 0..160 {
        if rig.feeds.is_congested() {
            rig.serve_everyone(&clients);
        }
        rig.publish(&"t".repeat(200), 7_900);
    }
    assert_eq!(rig.gaps(), 0);
}

/// Clients are let in until their filters have used up what they may: what messages may use is not touched by that.
#[test]
fn filters_leave_room_for_messages() {
    let mut rig = Rig::new(64 << 10, 1 << 20);
    let innocent = rig.subscribe("t", 0);
    let mut count = 0;
    while rig.feeds.has_room_for_wishes() {
        count += 1;
        rig.subscribe(&format!("{count}{}", "x".repeat(6_000)), count);
    }
    rig.publish("t", 100);
    assert!(
        rig.feeds.pending(&innocent) != Pending::Nothing,
        "{count} filters, and nobody gets anything"
    );
}

/// Who was cut short by our budget has room: nothing may push out what it was not offered yet.
#[test]
fn congestion_lasts_while_somebody_with_room_was_served_only_in_part() {
    let mut rig = Rig::new(10_000, 1 << 30);
    let client = rig.subscribe("t", 0);
    while !rig.feeds.is_congested() {
        rig.publish("t", 1_000);
    }
    rig.feeds.release();
    for _ in 0..3 {
        assert_eq!(rig.feeds.next_owner(), Some(Owner(0)), "it is returned to");
        assert_eq!(rig.send(&client, 1), 1);
        assert!(rig.feeds.is_congested());
    }
    rig.serve_everyone(&[client]);
    assert!(!rig.feeds.is_congested());
}

/// Prefixes that are given up are not counted any more, but wait to be said to publishers.
#[test]
fn who_comes_and_goes_with_new_filters_does_not_make_what_publishers_are_told_grow() {
    let mut rig = Rig::new(64 << 10, 1 << 20);
    let wish_memory = Memory::with_limit(64 << 10);
    let encoding = Encoding::new(Epoch::from_seed(7), Payload::Auto);
    let history = history::Limits::default();
    let limits =
        Limits { lag_bytes_max: 64 << 10, lag_policy: LagPolicy::Skip, history, last_value: false };
    let demand = Demand::new(vec![Vec::new()], 1, wish_memory.clone());
    rig.feeds = Feeds::new(limits, encoding, &rig.memory, wish_memory).on_demand(demand);
    let mut count = 0_u64;
    while rig.feeds.has_room_for_wishes() {
        let subscription = rig.subscribe(&format!("topic {count}"), 0);
        rig.feeds.unsubscribe(&subscription);
        count += 1;
        assert!(count < 20_000, "all of that is kept");
    }
    let demand = rig.feeds.demand_mut().unwrap();
    while demand.pop_change().is_some() {}
    assert!(rig.feeds.has_room_for_wishes(), "it goes on once that was said");
}
