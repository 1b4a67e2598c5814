//! Many clients over the real table of connections, with streams in memory: heap, allocations, and time without system
//! calls.

use std::time::{Duration, Instant};

use zmq2ws::bench_internals::{Feeds, Sessions, Upstream};

use crate::allocator::{allocations, live_bytes};
use crate::kernels::UPGRADE;
use crate::timing::{Effort, Figure, time_of};

const PING_INTERVAL: Duration = Duration::from_secs(25);

fn request(target: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(UPGRADE);
    text.replace("/ws?topic=weather.", target).into_bytes()
}

fn message(topic: &str) -> Upstream {
    Upstream::new(topic.as_bytes(), &[b'x'; 64])
}

/// Sessions that all want everything: what each takes, what a message costs, what pings cost.
pub(crate) fn idle(effort: &Effort) {
    let count = 200_000 / effort.scale;
    let mut sessions = Sessions::with_room(Instant::now(), count);
    let everything = request("/ws");
    let before = live_bytes();
    for _ in 0..count {
        sessions.connect(&everything);
    }
    assert_eq!(sessions.count(), count);
    print_bytes(
        &format!("{count} sessions: heap of each, unused room in tables included"),
        before,
        count,
    );

    let upstream = message("topic");
    for _ in 0..3 {
        sessions.publish(&upstream);
        sessions.forget_output();
    }
    let rounds = effort.samples;
    let mut allocated = 0;
    let mut samples = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let before = allocations();
        let time = time_of(|| {
            sessions.publish(&upstream);
        });
        allocated += allocations() - before;
        samples.push(time.as_nanos() as f64 / count as f64);
        assert_eq!(sessions.forget_output(), count * 66);
    }
    Figure::of(samples).print("a message, per delivery");
    println!("  allocations in {} deliveries: {allocated}", rounds * count);
    pings(&mut sessions, count);
    sessions.drop_buffers();
    print_bytes("heap of each after that", before, count);
}

/// Two rounds of pings, in steps of a tenth of a second; the second is measured, when their times have spread.
fn pings(sessions: &mut Sessions, count: usize) {
    let step = Duration::from_millis(100);
    let mut busy = Duration::ZERO;
    let mut answered = 0;
    for step_number in 0..2 * 250 {
        let pinging = time_of(|| sessions.pass_time(step));
        let answers = sessions.answer_pings();
        let reading = time_of(|| sessions.read_answers());
        if step_number >= 250 {
            busy += pinging + reading;
            answered += answers;
        }
    }
    assert_eq!(sessions.count(), count, "nobody is given up");
    let share = busy.as_secs_f64() / PING_INTERVAL.as_secs_f64() * 10_000.0 / count as f64;
    let each = busy.as_nanos() as f64 / answered as f64;
    println!(
        "  pings: {answered} and their answers took {busy:.1?}, {each:.0} ns each: {:.4} % of a core for 10,000",
        share * 100.0
    );
}

/// A distinct filter for each client: half are prefixes, half exact topics.
pub(crate) fn distinct_filters(effort: &Effort) {
    let count = 100_000 / effort.scale;
    let topic = |number: usize| format!("plant/{}/line/{number:06}", number % 16);
    let upstreams: Vec<_> = (0..count).map(|number| message(&topic(number))).collect();

    let mut feeds = Feeds::with_room(count);
    let before = live_bytes();
    for number in 0..count {
        let topic = topic(number);
        let (prefix, exact) = if number % 2 == 0 { (true, false) } else { (false, true) };
        feeds.subscribe(prefix.then_some(topic.as_bytes()), exact.then_some(topic.as_bytes()));
    }
    print_bytes(&format!("{count} feeds: heap of each with its place in the index"), before, count);
    for upstream in &upstreams {
        assert_eq!((feeds.append(upstream), feeds.advance()), (1, 1));
    }
    print_bytes("the same after a message to each", before, count);
    drop(feeds);

    let mut sessions = Sessions::with_room(Instant::now(), count);
    let before = live_bytes();
    for number in 0..count {
        let kind = if number % 2 == 0 { "topic" } else { "exact" };
        sessions.connect(&request(&format!("/ws?{kind}={}", topic(number))));
    }
    assert_eq!(sessions.feeds(), count);
    print_bytes("heap of each feed with its one session", before, count);
    for (number, upstream) in upstreams.iter().enumerate() {
        assert_eq!(sessions.publish(upstream), 1);
        assert_eq!(sessions.forget_output_of(number), 66);
    }
    sessions.drop_buffers();
    print_bytes("the same after a message to each", before, count);

    let mut single = Sessions::with_room(Instant::now(), 1);
    single.connect(&request(&format!("/ws?topic={}", topic(0))));
    let one = effort.measure(|| {
        single.publish(&upstreams[0]);
        single.forget_output_of(0);
    });
    one.print("a message to the only feed, of one client");
    // As many clients as the caches hold, then all of them, in an order that no prefetcher knows.
    for used in [1, 1_000, count] {
        let mut number = 0;
        let figure = effort.measure(|| {
            number = (number + 7_919) % used;
            sessions.publish(&upstreams[number]);
            sessions.forget_output_of(number);
        });
        figure.print(&format!("a message to one of {used} among {count} feeds"));
        println!("    {:.2} x the only feed", figure.median / one.median);
    }
}

/// Ten feeds match each message, beside none or many that do not.
pub(crate) fn feeds_that_do_not_match(effort: &Effort) {
    const TOPICS: usize = 10_000;
    const MATCHING: usize = 10;
    let topic = |number: usize| format!("a/{number:05}");
    let upstreams: Vec<_> = (0..TOPICS).map(|number| message(&topic(number))).collect();
    let mut alone = None;
    for filters in [MATCHING, 100, 1_000] {
        let mut sessions = Sessions::with_room(Instant::now(), 1_000);
        for client in 0..1_000 {
            let filter = client % filters;
            // The first ones match everything, each in a feed of its own for a topic beside it that never comes.
            let target = if filter < MATCHING {
                format!("/ws?topic=a/&topic=never/{filter}")
            } else {
                format!("/ws?topic=a/{filter:03}/")
            };
            // The same ten clients get the messages, whatever else there is.
            if filter < MATCHING && client >= MATCHING {
                sessions.connect(&request("/ws?topic=never"));
            } else {
                sessions.connect(&request(&target));
            }
        }
        let mut number = 0;
        let figure = effort.measure(|| {
            number = (number + 7_919) % TOPICS;
            assert_eq!(sessions.publish(&upstreams[number]), MATCHING);
            (0..MATCHING).for_each(|client| {
                sessions.forget_output_of(client);
            });
        });
        figure.print(&format!(
            "a message to {MATCHING} of {} feeds, 1,000 clients, {TOPICS} topics",
            sessions.feeds()
        ));
        let alone = *alone.get_or_insert(figure.median);
        println!("    {:.2} x without others", figure.median / alone);
    }
}

fn print_bytes(name: &str, before: usize, count: usize) {
    let bytes = (live_bytes() - before) as f64 / count as f64;
    println!("  {name:<58} {bytes:>11.1} B");
}
