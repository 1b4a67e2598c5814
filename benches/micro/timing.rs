//! Measures how long something takes: medians of the thread's own time, so that neighbours on the machine do not count.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time that this thread has used.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How long `run` takes this thread.
pub(crate) fn time_of(run: impl FnOnce()) -> Duration {
    let begun = thread_time();
    run();
    thread_time() - begun
}

/// Nanoseconds of one operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) samples: usize,
    pub(crate) sample_time: Duration,
    /// Divides the number of clients in the larger figures.
    pub(crate) scale: usize,
}

impl Effort {
    pub(crate) const FULL: Self =
        Self { samples: 15, sample_time: Duration::from_millis(20), scale: 1 };
    pub(crate) const QUICK: Self =
        Self { samples: 5, sample_time: Duration::from_millis(2), scale: 20 };

    /// Runs `run` often enough for a sample to be long against the clock, once more to warm up, and as many samples.
    pub(crate) fn measure(&self, mut run: impl FnMut()) -> Figure {
        let mut count = 1u32;
        while time_of(|| (0..count).for_each(|_| run())) < self.sample_time {
            count = count.checked_mul(2).expect("the operation takes some time");
        }
        let sample = |_| {
            let time = time_of(|| (0..count).for_each(|_| run()));
            time.as_nanos() as f64 / f64::from(count)
        };
        Figure::of((0..self.samples).map(sample).collect())
    }
}

impl Figure {
    /// The middle of the samples, and their ends.
    pub(crate) fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_unstable_by(f64::total_cmp);
        Self {
            median: samples[samples.len() / 2],
            lowest: samples[0],
            highest: samples[samples.len() - 1],
        }
    }

    /// The figure of one of `count` things that were measured together.
    pub(crate) fn per(self, count: usize) -> Self {
        let count = count as f64;
        Self {
            median: self.median / count,
            lowest: self.lowest / count,
            highest: self.highest / count,
        }
    }

    /// Prints a row.
    pub(crate) fn print(&self, name: &str) {
        let Self { median, lowest, highest } = self;
        println!("  {name:<58} {median:>11.1} ns  ({lowest:.1} to {highest:.1})");
    }
}
