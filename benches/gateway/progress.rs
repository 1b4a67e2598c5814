//! How far clients are, all together: the slowest, the fastest, and how long each message took to both. Knows no sockets.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::Result;

/// Who wants to know what clients got.
pub(crate) trait Arrivals {
    /// A client that had got `before` messages now has got `after`.
    fn advance(&mut self, before: u64, after: u64, now: Instant);
}

/// Messages that can be under way at once. A power of two; the publisher's window is below it.
const RING: usize = 1 << 14;

/// Latencies from when a message was due until somebody had it, nanoseconds.
pub(crate) struct Latencies {
    pub(crate) first: Histogram<u32>,
    pub(crate) last: Histogram<u32>,
}

impl Latencies {
    fn new() -> Result<Self> {
        Ok(Self { first: Histogram::new(3)?, last: Histogram::new(3)? })
    }
}

/// Counts deliveries. Messages are numbered from 1.
pub(crate) struct Progress {
    /// How many clients have got just so many messages, by that number; and when each message was due.
    clients_at: Vec<u32>,
    due: Vec<Instant>,
    published: u64,
    /// What the slowest and the fastest client have got.
    slowest: u64,
    fastest: u64,
    pub(crate) deliveries: u64,
    pub(crate) latencies: Latencies,
}

impl Progress {
    pub(crate) const WINDOW_MAX: u64 = RING as u64 - 1;

    pub(crate) fn new(clients: usize, now: Instant) -> Result<Self> {
        let mut clients_at = vec![0; RING];
        clients_at[0] = u32::try_from(clients)?;
        Ok(Self {
            clients_at,
            due: vec![now; RING],
            published: 0,
            slowest: 0,
            fastest: 0,
            deliveries: 0,
            latencies: Latencies::new()?,
        })
    }

    /// Forgets latencies so far: a measurement begins.
    pub(crate) fn begin(&mut self) {
        self.latencies.first.reset();
        self.latencies.last.reset();
    }

    /// The number of the next message, which was due at `due`.
    pub(crate) fn publish(&mut self, due: Instant) -> u64 {
        self.published += 1;
        self.due[slot(self.published)] = due;
        self.published
    }

    /// What the fastest client has got.
    pub(crate) fn fastest(&self) -> u64 {
        self.fastest
    }

    pub(crate) fn published(&self) -> u64 {
        self.published
    }

    /// Messages that some client has not got yet.
    pub(crate) fn under_way(&self) -> u64 {
        self.published - self.slowest
    }
}

impl Arrivals for Progress {
    fn advance(&mut self, before: u64, after: u64, now: Instant) {
        if before == after {
            return;
        }
        self.deliveries += after - before;
        self.clients_at[slot(before)] -= 1;
        self.clients_at[slot(after)] += 1;
        while self.fastest < after {
            self.fastest += 1;
            record(&mut self.latencies.first, now - self.due[slot(self.fastest)]);
        }
        while self.slowest < self.fastest && self.clients_at[slot(self.slowest)] == 0 {
            self.slowest += 1;
            record(&mut self.latencies.last, now - self.due[slot(self.slowest)]);
        }
    }
}

fn slot(number: u64) -> usize {
    number as usize % RING
}

fn record(histogram: &mut Histogram<u32>, latency: Duration) {
    // It grows to any value, so it takes this one.
    let _ = histogram.record(latency.as_nanos() as u64);
}
