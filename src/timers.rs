//! Deadlines by key, earliest first. Knows no clock: time is handed in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// A queue of deadlines. An entry is never cancelled: who takes a due one checks whether it still means something.
///
/// That keeps a moved deadline free of charge: a connection whose deadline moved away is looked at once at the old
/// time and queued again, instead of being found and moved on every byte it receives.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord> Timers<K> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    /// Queues `key` for `deadline`, beside whatever is queued for it already.
    pub(crate) fn schedule(&mut self, deadline: Instant, key: K) {
        self.heap.push(Reverse((deadline, key)));
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Takes one entry that is due at `now`, with the deadline it was queued for.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next_deadline()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Drops the entries that are not worth keeping.
    pub(crate) fn retain(&mut self, keep: impl Fn(Instant, &K) -> bool) {
        self.heap.retain(|Reverse((deadline, key))| keep(*deadline, key));
    }

    /// How many entries are queued.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn due_entries_come_in_order_and_no_earlier() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut timers = Timers::new();
        for millis in [30, 10, 20, 10] {
            timers.schedule(at(millis), millis);
        }
        assert_eq!(timers.next_deadline(), Some(at(10)));
        assert_eq!(timers.pop_due(at(9)), None);
        let due: Vec<_> = std::iter::from_fn(|| timers.pop_due(at(20))).collect();
        assert_eq!(due, [(at(10), 10), (at(10), 10), (at(20), 20)]);
        assert_eq!(timers.len(), 1);
    }
}
