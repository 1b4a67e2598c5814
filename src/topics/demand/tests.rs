//! The demand against a slow and obvious one.

use std::collections::{BTreeSet, HashMap};

use super::*;
use crate::test_random::Random;

fn filter(prefixes: &[&str], exact: &[&str]) -> Filter {
    let owned = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    Filter::new(owned(prefixes), owned(exact))
}

fn demand(bounds: &[&str]) -> Demand {
    let bounds = bounds.iter().map(|text| text.as_bytes().to_vec()).collect();
    Demand::new(bounds, 1, Memory::with_limit(1 << 20))
}

/// Everything that is to be said, as `+prefix` and `-prefix`.
fn changes(demand: &mut Demand) -> Vec<String> {
    let changes = std::iter::from_fn(|| demand.pop_change());
    let text = |prefix: Rc<[u8]>| String::from_utf8(prefix.to_vec()).unwrap();
    changes
        .map(|change| match change {
            Change::Subscribe(prefix) => format!("+{}", text(prefix)),
            Change::Unsubscribe(prefix) => format!("-{}", text(prefix)),
        })
        .collect()
}

#[test]
fn the_first_subscribes_and_some_time_after_the_last_it_ends() {
    let (mut demand, now) = (demand(&[""]), Instant::now());
    let news = filter(&["news."], &[]);
    demand.add(&news, Seq(0));
    demand.add(&news, Seq(0));
    assert_eq!(changes(&mut demand), ["+news."]);
    demand.remove(&news);
    demand.advance(now);
    assert_eq!(demand.next_deadline(), None);
    demand.remove(&news);
    assert!(demand.has_work(), "it is to be told the time");
    demand.advance(now);
    assert_eq!(demand.next_deadline(), Some(now + LINGER));
    demand.advance(now + LINGER - Duration::from_nanos(1));
    assert!(!demand.has_work());
    demand.advance(now + LINGER);
    assert_eq!(changes(&mut demand), ["-news."]);
    assert!(demand.wants.is_empty() && demand.next_deadline().is_none());
    assert_eq!(demand.memory.used_bytes(), 0);
}

#[test]
fn somebody_who_comes_back_again_and_again_changes_nothing() {
    let (mut demand, mut now) = (demand(&[""]), Instant::now());
    let news = filter(&["news."], &[]);
    demand.add(&news, Seq(0));
    assert_eq!(changes(&mut demand), ["+news."]);
    for _ in 0..100 {
        demand.remove(&news);
        demand.advance(now);
        now += LINGER - Duration::from_millis(1);
        demand.advance(now);
        demand.add(&news, Seq(0));
        demand.advance(now);
        assert!(demand.timers.len() <= 1);
    }
    assert_eq!(changes(&mut demand), [""; 0]);
}

#[test]
fn broad_swallows_narrow_and_gives_it_back() {
    let (mut demand, now) = (demand(&[""]), Instant::now());
    let oslo = filter(&["news.oslo"], &["weather"]);
    demand.add(&oslo, Seq(0));
    demand.add(&filter(&["news.oslo.east"], &[]), Seq(0));
    assert_eq!(changes(&mut demand), ["+news.oslo", "+weather"]);
    let all = filter(&[], &[]);
    demand.add(&all, Seq(0));
    assert_eq!(changes(&mut demand), ["+", "-news.oslo", "-weather"]);
    demand.remove(&all);
    demand.advance(now);
    demand.advance(now + LINGER);
    assert_eq!(changes(&mut demand), ["+news.oslo", "+weather", "-"]);
    assert_eq!(demand.asked.len(), 2);
}

#[test]
fn bounds_are_never_exceeded() {
    let mut demand = demand(&["news.", "news.oslo", "weather."]);
    demand.add(&filter(&["sports.", "news.paris", "w"], &["news", "weather.oslo"]), Seq(0));
    assert_eq!(changes(&mut demand), ["+news.paris", "+weather."]);
    demand.add(&filter(&[], &[]), Seq(0));
    assert_eq!(changes(&mut demand), ["+news.", "-news.paris"]);
    demand.add(&filter(&["other"], &[]), Seq(0));
    assert_eq!(changes(&mut demand), [""; 0]);
    demand.remove(&filter(&["other"], &[]));
    assert!(!demand.has_work());
}

#[test]
fn what_was_not_asked_for_all_the_time_is_not_covered() {
    let (mut demand, mut now) = (demand(&["a"]), Instant::now());
    let (ab, abc, outside) = (filter(&["ab"], &[]), filter(&[], &["abc"]), filter(&["b"], &[]));
    assert!(!demand.covers(&ab, Seq(7)));
    assert!(demand.covers(&outside, Seq(7)), "it is never asked for: nothing of it is missed");
    demand.add(&ab, Seq(7));
    assert!(!demand.covers(&ab, Seq(7)), "perhaps there was something before it was asked for");
    assert!(demand.covers(&ab, Seq(8)));
    assert!(demand.covers(&abc, Seq(8)), "the broader one covers it");
    assert!(!demand.covers(&filter(&["a"], &[]), Seq(8)));
    // Wanted while it is covered, and later alone: without a pause.
    demand.add(&abc, Seq(20));
    demand.remove(&ab);
    demand.advance(now);
    now += LINGER;
    demand.advance(now);
    assert!(demand.covers(&abc, Seq(8)));
    assert!(!demand.covers(&ab, Seq(8)));
    demand.remove(&abc);
    demand.advance(now);
    assert!(demand.covers(&abc, Seq(8)), "it is asked for still");
    demand.advance(now + LINGER);
    assert!(!demand.covers(&abc, Seq(30)));
}

#[test]
fn what_nobody_wants_makes_room_for_others() {
    let (mut demand, now) = (demand(&[""]), Instant::now());
    for number in 0..10 {
        demand.add(&filter(&[&format!("topic {number}")], &[]), Seq(0));
    }
    for number in 1..10 {
        demand.remove(&filter(&[&format!("topic {number}")], &[]));
        if number == 5 {
            demand.advance(now);
        }
    }
    changes(&mut demand);
    demand.give_up_idle();
    demand.check_invariants();
    assert_eq!(changes(&mut demand).len(), 9);
    assert_eq!(demand.wants.len(), 1);
    demand.advance(now + LINGER);
    assert!(!demand.has_work() && demand.next_deadline().is_none());
}

/// Filters, each with the time until which it counts where nobody has it any more.
type Filters = Vec<(Filter, Option<Instant>)>;

fn is_wanted(topic: &[u8], bounds: &Filter, filters: &Filters, now: Instant) -> bool {
    bounds.matches(topic)
        && filters.iter().any(|(filter, until)| {
            let has_prefix = filter.prefixes.iter().any(|prefix| topic.starts_with(prefix));
            // Publishers know prefixes only.
            let has_exact =
                filter.exact.iter().any(|it| bounds.matches(it) && topic.starts_with(it));
            until.is_none_or(|until| until > now) && (has_prefix || has_exact)
        })
}

/// What publishers know.
#[derive(Default)]
struct Publisher(BTreeSet<Rc<[u8]>>);

impl Publisher {
    fn sends(&self, topic: &[u8]) -> bool {
        self.0.iter().any(|prefix| topic.starts_with(prefix))
    }

    fn hear(&mut self, change: &Change) {
        match change {
            Change::Subscribe(prefix) => assert!(self.0.insert(Rc::clone(prefix)), "{change:?}"),
            Change::Unsubscribe(prefix) => assert!(self.0.remove(prefix), "{change:?}"),
        }
    }
}

#[test]
fn publishers_are_asked_for_exactly_what_is_wanted() {
    let mut random = Random::from_env();
    let topics: Vec<Vec<u8>> = (1_u32..1 << 6)
        .map(|number| (0..number.ilog2()).map(|bit| b"ab"[(number >> bit & 1) as usize]).collect())
        .collect();
    for _ in 0..30 {
        let words = |random: &mut Random, most: usize| -> Vec<Vec<u8>> {
            (0..random.below(most)).map(|_| topics[random.below(topics.len())].clone()).collect()
        };
        let bounds = words(&mut random, 3);
        let mut demand = Demand::new(bounds.clone(), 2, Memory::with_limit(1 << 20));
        let bounds = Filter::new(bounds, Vec::new());
        let (mut now, mut seq) = (Instant::now(), 0);
        let mut filters = Filters::new();
        let mut publisher = Publisher::default();
        let mut sent_since: HashMap<&[u8], u64> = HashMap::new();
        for _ in 0..300 {
            now += Duration::from_millis(random.below(2_000) as u64);
            seq += random.below(2) as u64;
            let alive: Vec<_> = (0..filters.len()).filter(|&at| filters[at].1.is_none()).collect();
            if random.chance(2) && !alive.is_empty() {
                let leaver = &mut filters[alive[random.below(alive.len())]];
                demand.remove(&leaver.0);
                leaver.1 = Some(now + LINGER);
            } else {
                let filter = Filter::new(words(&mut random, 3), words(&mut random, 3));
                demand.add(&filter, Seq(seq));
                filters.push((filter, None));
            }
            if random.chance(50) {
                demand.give_up_idle();
                filters.retain(|(_, until)| until.is_none());
            }
            demand.advance(now);
            demand.check_invariants();
            let sent = |topic: &&Vec<u8>| publisher.sends(topic);
            let before: BTreeSet<_> = topics.iter().filter(sent).collect();
            let wanted = |topic: &&&Vec<u8>| is_wanted(topic, &bounds, &filters, now);
            let kept: Vec<_> = before.iter().filter(wanted).collect();
            while let Some(change) = demand.pop_change() {
                publisher.hear(&change);
                assert!(kept.iter().all(|topic| publisher.sends(topic)), "{change:?}");
            }
            assert_eq!(publisher.0.len(), demand.asked.len());
            for topic in &topics {
                let is_sent = publisher.sends(topic);
                assert_eq!(is_sent, is_wanted(topic, &bounds, &filters, now), "{topic:?}");
                match is_sent {
                    true => _ = sent_since.entry(topic).or_insert(seq),
                    false => _ = sent_since.remove(&**topic),
                }
            }
            let since = Seq(random.below(seq as usize + 2) as u64);
            let filter = Filter::new(words(&mut random, 2), words(&mut random, 2));
            if demand.covers(&filter, since) {
                let mut owed = topics.iter().filter(|it| bounds.matches(it) && filter.matches(it));
                assert!(owed.all(|topic| sent_since.get(&**topic).is_some_and(|it| *it < since.0)));
            }
        }
        for (filter, _) in filters.iter().filter(|(_, until)| until.is_none()) {
            demand.remove(filter);
        }
        demand.give_up_idle();
        std::iter::from_fn(|| demand.pop_change()).for_each(|change| publisher.hear(&change));
        assert!(publisher.0.is_empty() && demand.wants.is_empty());
        assert_eq!(demand.memory.used_bytes(), 0);
    }
}

#[test]
fn who_waited_from_the_beginning_goes_on_without_a_gap() {
    let mut demand = demand(&[""]);
    let (news, sport) = (filter(&["news."], &[]), filter(&["sport."], &[]));
    demand.add(&news, Seq(7));
    demand.add(&sport, Seq(7));
    assert!(!demand.covers(&news, Seq(7)), "it may have been published before it was asked for");
    demand.hand_out(&news, Seq(7));
    assert!(demand.covers(&news, Seq(7)));
    assert!(!demand.covers(&sport, Seq(7)) && !demand.covers(&news, Seq(6)));
}
