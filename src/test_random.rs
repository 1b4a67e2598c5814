//! Randomness for tests: small, seeded, printed when a test fails. Never part of the program.

/// A splitmix64 generator (Steele, Lea, Flood 2014): good enough to choose cases, and the same on every machine.
#[derive(Debug)]
pub(crate) struct Random {
    /// What a failing test prints; `None` for a generator that another one seeds.
    seed: Option<u64>,
    state: u64,
}

impl Random {
    /// The seed in `ZMQ2WS_SEED`, or one of its own.
    pub(crate) fn from_env() -> Self {
        match std::env::var("ZMQ2WS_SEED").ok().and_then(|seed| seed.parse().ok()) {
            Some(seed) => Self::fresh(seed),
            None => Self::fresh(std::hash::BuildHasher::hash_one(
                &std::collections::hash_map::RandomState::new(),
                0,
            )),
        }
    }

    fn fresh(seed: u64) -> Self {
        Self { seed: Some(seed), state: seed }
    }

    /// A generator that is itself a part of a test with a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed: None, state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `n` times.
    pub(crate) fn chance(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if let Some(seed) = self.seed.filter(|_| std::thread::panicking()) {
            eprintln!("repeat with ZMQ2WS_SEED={seed}");
        }
    }
}
