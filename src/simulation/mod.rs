//! The whole gateway but its sockets, driven by a seed: thousands of clients with one-byte reads and writes, stalls,
//! resets, nonsense and time steps, against an oracle that knows every message. The main proof; a failure prints its
//! seed, and `ZMQ2WS_SEED=… cargo test simulation` repeats it. `ZMQ2WS_SIMULATIONS` sets how many worlds are tried.

mod client;
mod events;
mod pipe;
mod world;

use crate::feed::LagPolicy;
use crate::test_random::Random;
use world::{Rules, World};

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
            memory_bytes_max: 64 << 20,
            pipe_bytes_max: [1, 50, 5_000][random.below(3)],
            visit_bytes_max: 20,
            misbehaves: random.chance(2),
        };
        live(&mut random, rules, 60, 3_000);
    }
}

#[test]
fn clients_that_lag_are_disconnected_where_that_is_the_policy() {
    let mut random = Random::from_env();
    for _ in 0..worlds(10) {
        let rules = Rules {
            lag_bytes_max: 4_000,
            lag_policy: LagPolicy::Disconnect,
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
            memory_bytes_max: 300_000,
            pipe_bytes_max: 100,
            visit_bytes_max: 20,
            misbehaves: true,
        };
        live(&mut random, rules, 60, 3_000);
    }
}

#[test]
fn thousands_of_clients() {
    let mut random = Random::from_env();
    let rules = Rules {
        lag_bytes_max: 20_000,
        lag_policy: LagPolicy::Skip,
        memory_bytes_max: 256 << 20,
        pipe_bytes_max: 2_000,
        visit_bytes_max: 20_000,
        misbehaves: true,
    };
    live(&mut random, rules, 2_000, worlds(1) * 5_000);
}
