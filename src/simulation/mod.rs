//! The whole gateway but its sockets, driven by a seed: thousands of clients with one-byte reads and writes, stalls,
//! resets, nonsense and time steps, against an oracle that knows every message. The main proof; a failure prints its
//! seed, and `ZMQ2WS_SEED=… cargo test simulation` repeats it. `ZMQ2WS_SIMULATIONS` sets how many worlds are tried.

mod account;
mod client;
mod events;
mod pipe;
mod polls;
mod socket_io;
mod world;
mod zws;

use crate::feed::LagPolicy;
use crate::history;
use crate::test_random::Random;
use world::{Rules, World};

const NO_HISTORY: history::Limits =
    history::Limits { messages_max: 0, topics_max: 0, bytes_max: 0 };

fn worlds(default: usize) -> usize {
    std::env::var("ZMQ2WS_SIMULATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}

/// Lives a life of `steps` in which at most `clients_max` clients come and go, then lets everyone finish.
fn live(random: &mut Random, rules: Rules, clients_max: usize, steps: usize) {
    let mut world = World::new(random, rules);
    for _ in 0..steps {
        match random.below(10) {
            0 => world.connect(random, clients_max),
            1..=3 => world.publish(random),
            4 => world.act(random),
            5 if random.chance(20) => world.pass_seconds(random),
            _ => world.turn(random),
        }
    }
    world.finish(random);
}

#[test]
fn every_client_gets_exactly_its_messages_or_a_told_gap() {
    let mut random = Random::from_env();
    for _ in 0..worlds(12) {
        let rules = Rules {
            lag_bytes_max: [2_000, 20_000, 200_000][random.below(3)],
            lag_policy: LagPolicy::Skip,
            history: NO_HISTORY,
            last_value: false,
            memory_bytes_max: 64 << 20,
            pipe_bytes_max: [1, 50, 5_000][random.below(3)],
            visit_bytes_max: 20,
            misbehaves: random.chance(2),
        };
        live(&mut random, rules, 60, 3_000);
    }
}

/// With more room than anybody needs nothing is missed, so that each message is owed whose topic was wanted at the moment.
#[test]
fn who_keeps_changing_topics_gets_exactly_what_it_wanted() {
    let mut random = Random::from_env();
    for _ in 0..worlds(8) {
        let rules = Rules {
            lag_bytes_max: 64 << 20,
            lag_policy: LagPolicy::Skip,
            history: NO_HISTORY,
            last_value: false,
            memory_bytes_max: 1 << 30,
            pipe_bytes_max: [1, 50, 5_000, 50_000][random.below(4)],
            visit_bytes_max: 1_000,
            misbehaves: random.chance(2),
        };
        let mut world = World::new(&mut random, rules);
        for _ in 0..2_000 {
            match random.below(10) {
                0 => world.connect(&mut random, 60),
                1..=3 => world.publish(&mut random),
                4..=6 => world.act(&mut random),
                _ => world.turn(&mut random),
            }
        }
        world.finish(&mut random);
    }
}

/// Pages with Socket.IO go from polling to WebSocket in the middle of things, hang up, break the protocol and begin anew.
#[test]
fn nothing_is_lost_or_doubled_by_who_changes_from_polling_to_websocket() {
    let mut random = Random::from_env();
    for _ in 0..worlds(16) {
        let is_lenient = random.chance(2);
        let rules = Rules {
            lag_bytes_max: [20_000, 200_000][random.below(2)],
            lag_policy: LagPolicy::Skip,
            history: NO_HISTORY,
            last_value: random.chance(4),
            memory_bytes_max: 64 << 20,
            pipe_bytes_max: if is_lenient { 50_000 } else { [1, 50, 5_000][random.below(3)] },
            visit_bytes_max: if is_lenient { 20_000 } else { 20 },
            misbehaves: random.chance(2),
        };
        let passes_time = random.chance(2);
        let mut world = World::new(&mut random, rules);
        for _ in 0..2_000 {
            match random.below(10) {
                0 => world.open_page(&mut random, 30),
                1..=2 => world.publish(&mut random),
                3 => world.act(&mut random),
                4 if passes_time && random.chance(20) => world.pass_seconds(&mut random),
                5 if random.chance(40) => world.connect(&mut random, 3),
                _ => world.turn(&mut random),
            }
        }
        world.finish(&mut random);
    }
}

/// Clients come back at random moments, over restarts of the gateway, to histories of all sizes.
#[test]
fn nothing_is_lost_in_silence_by_who_comes_back() {
    let mut random = Random::from_env();
    for _ in 0..worlds(24) {
        let rules = Rules {
            lag_bytes_max: [2_000, 20_000, 2_000_000][random.below(3)],
            lag_policy: [LagPolicy::Skip, LagPolicy::Conflate][random.below(2)],
            history: history::Limits {
                messages_max: [0, 5, 100, 100_000][random.below(4)],
                topics_max: [100, 3][random.below(2)],
                bytes_max: [20_000, 1 << 20, 1 << 26][random.below(3)],
            },
            last_value: false,
            memory_bytes_max: 64 << 20,
            pipe_bytes_max: [50, 5_000, 50_000][random.below(3)],
            visit_bytes_max: 1_000,
            misbehaves: random.chance(2),
        };
        come_and_go(&mut random, rules);
    }
}

#[test]
fn a_new_client_gets_last_values_and_then_everything() {
    let mut random = Random::from_env();
    for _ in 0..worlds(12) {
        let rules = Rules {
            lag_bytes_max: [2_000, 200_000][random.below(2)],
            lag_policy: [LagPolicy::Skip, LagPolicy::Conflate][random.below(2)],
            history: history::Limits {
                messages_max: [0, 20, 100_000][random.below(3)],
                topics_max: 100,
                bytes_max: 1 << 26,
            },
            last_value: true,
            memory_bytes_max: 64 << 20,
            pipe_bytes_max: [50, 5_000, 50_000][random.below(3)],
            visit_bytes_max: 1_000,
            misbehaves: false,
        };
        come_and_go(&mut random, rules);
    }
}

fn come_and_go(random: &mut Random, rules: Rules) {
    let restarts = random.chance(2);
    let mut world = World::new(random, rules);
    for _ in 0..2_000 {
        match random.below(12) {
            0 if random.chance(4) => world.open_page(random, 10),
            0 => world.connect(random, 40),
            1 => world.reconnect(random, 120),
            2..=4 => world.publish(random),
            5 => world.act(random),
            6 if random.chance(20) => world.pass_seconds(random),
            7 if restarts && random.chance(60) => world.restart(random),
            _ => world.turn(random),
        }
    }
    // Perhaps in the middle of replays: what is kept is owed all the same, unless memory is so scarce that some are
    // given up meanwhile.
    if random.chance(2) && rules.memory_bytes_max >= 64 << 20 {
        world.stop(random);
    } else {
        world.finish(random);
    }
}

#[test]
fn clients_that_lag_are_disconnected_where_that_is_the_policy() {
    let mut random = Random::from_env();
    for _ in 0..worlds(10) {
        let rules = Rules {
            lag_bytes_max: 4_000,
            lag_policy: LagPolicy::Disconnect,
            history: NO_HISTORY,
            last_value: false,
            memory_bytes_max: 64 << 20,
            pipe_bytes_max: 500,
            visit_bytes_max: 20,
            misbehaves: false,
        };
        live(&mut random, rules, 40, 3_000);
    }
}

#[test]
fn memory_stays_within_its_limit_whatever_clients_do() {
    let mut random = Random::from_env();
    for _ in 0..worlds(10) {
        let rules = Rules {
            lag_bytes_max: 100_000,
            lag_policy: LagPolicy::Skip,
            history: NO_HISTORY,
            last_value: false,
            memory_bytes_max: 300_000,
            pipe_bytes_max: 100,
            visit_bytes_max: 20,
            misbehaves: true,
        };
        live(&mut random, rules, 60, 3_000);
    }
}

/// Too little memory for all who come back.
fn scarce_memory(random: &mut Random) -> Rules {
    Rules {
        lag_bytes_max: 100_000,
        lag_policy: [LagPolicy::Skip, LagPolicy::Conflate][random.below(2)],
        history: history::Limits {
            messages_max: 100_000,
            topics_max: 100,
            bytes_max: [100_000, 1 << 24][random.below(2)],
        },
        last_value: random.chance(2),
        memory_bytes_max: 300_000,
        pipe_bytes_max: 100,
        visit_bytes_max: 1_000,
        misbehaves: random.chance(2),
    }
}

/// What is under way to those who come back counts, too, and is given up before it is too much.
#[test]
fn memory_stays_within_its_limit_whoever_comes_back() {
    let mut random = Random::from_env();
    for _ in 0..worlds(12) {
        let rules = scarce_memory(&mut random);
        come_and_go(&mut random, rules);
    }
}

/// What a seed shows can be looked at again: neither addresses nor the seeds of hash tables decide anything. What was
/// drawn until the end depends on all that happened.
#[test]
fn a_seed_lives_the_same_life_each_time() {
    let mut random = Random::from_env();
    for _ in 0..worlds(4) {
        let seed = random.next();
        let [first, second] = [1, 1_000].map(|count| {
            let _other_addresses: Vec<_> = (0..count).map(|len| vec![0_u8; len]).collect();
            let mut random = Random::new(seed);
            let rules = scarce_memory(&mut random);
            come_and_go(&mut random, rules);
            random.next()
        });
        assert_eq!(first, second);
    }
}

#[test]
fn thousands_of_clients() {
    let mut random = Random::from_env();
    let rules = Rules {
        lag_bytes_max: 20_000,
        lag_policy: LagPolicy::Skip,
        history: NO_HISTORY,
        last_value: false,
        memory_bytes_max: 256 << 20,
        pipe_bytes_max: 2_000,
        visit_bytes_max: 20_000,
        misbehaves: true,
    };
    live(&mut random, rules, 2_000, worlds(1) * 5_000);
}
