//! Cuts bytes into lines of bounded length. Knows no files.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What lines without their end may have together, bytes: each of thousands of files may have one.
pub(crate) const UNENDED_BYTES_MAX: usize = 64 << 20;

/// The line that is not complete yet, and what became of those that were.
pub(crate) struct Lines {
    partial: Vec<u8>,
    bytes_max: usize,
    /// The line under way has grown too long: its rest is passed over.
    is_cut: bool,
    cut_lines: u64,
    budget: Arc<Budget>,
}

/// Bytes that all lines under way may still take.
pub(crate) struct Budget(AtomicUsize);

impl Budget {
    pub(crate) fn with_limit(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(bytes_max)))
    }

    /// As many of `bytes` as there are.
    fn take(&self, bytes: usize) -> usize {
        let less = |left: usize| Some(left - left.min(bytes));
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        left.map_or(0, |left| left.min(bytes))
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Lines {
    /// Lines longer than `bytes_max` are cut there; those that come in pieces also where the budget ends.
    pub(crate) fn with_limit(bytes_max: usize, budget: &Arc<Budget>) -> Self {
        let (partial, budget) = (Vec::new(), Arc::clone(budget));
        Self { partial, bytes_max, is_cut: false, cut_lines: 0, budget }
    }

    /// Calls `take` with each line that is complete, without its line end, until that returns false;
    /// keeps the rest.
    pub(crate) fn push(&mut self, bytes: &[u8], take: &mut impl FnMut(&[u8]) -> bool) -> bool {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            let is_taken = if self.is_empty() && line.len() <= self.bytes_max {
                take(line)
            } else {
                self.keep(line);
                self.finish(take)
            };
            if !is_taken {
                return false;
            }
        }
        self.keep(rest);
        true
    }

    /// Calls `take` with the begin of a line that no more bytes will complete.
    pub(crate) fn finish(&mut self, take: &mut impl FnMut(&[u8]) -> bool) -> bool {
        self.cut_lines += u64::from(self.is_cut);
        let is_taken = take(&self.partial);
        self.forget();
        is_taken
    }

    /// Forgets a line under way; false where there was none.
    pub(crate) fn forget(&mut self) -> bool {
        let was_there = !self.is_empty();
        self.budget.give_back(self.partial.len());
        // A long line must not hold its memory for ever.
        self.partial = Vec::new();
        self.is_cut = false;
        was_there
    }

    /// Whether no line is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.partial.is_empty() && !self.is_cut
    }

    /// How many lines were cut since this was last asked.
    pub(crate) fn take_cut_lines(&mut self) -> u64 {
        std::mem::take(&mut self.cut_lines)
    }

    fn keep(&mut self, bytes: &[u8]) {
        // Once something was passed over, what follows it is no part of the line.
        let room = if self.is_cut { 0 } else { self.bytes_max - self.partial.len() };
        let kept = self.budget.take(bytes.len().min(room));
        self.is_cut |= kept < bytes.len();
        self.partial.extend_from_slice(&bytes[..kept]);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.budget.give_back(self.partial.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_limit(bytes_max: usize) -> Lines {
        Lines::with_limit(bytes_max, &Budget::with_limit(100))
    }

    fn collect(lines: &mut Lines, bytes: &[u8]) -> Vec<String> {
        let mut seen = Vec::new();
        lines.push(bytes, &mut |line| {
            seen.push(String::from_utf8_lossy(line).into_owned());
            true
        });
        seen
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        let text = b"one\n\ntwo three\r\n\xe6\x9d\xb1\nrest";
        let whole = collect(&mut with_limit(100), text);
        assert_eq!(whole, ["one", "", "two three\r", "東"]);
        for size in 1..text.len() {
            let mut lines = with_limit(100);
            let seen: Vec<_> =
                text.chunks(size).flat_map(|piece| collect(&mut lines, piece)).collect();
            assert_eq!(seen, whole, "pieces of {size}");
            assert!(!lines.is_empty());
            assert_eq!(collect(&mut lines, b"\n"), ["rest"]);
            assert!(lines.is_empty());
        }
    }

    #[test]
    fn a_long_line_is_cut_and_counted_and_the_next_is_whole() {
        for size in 1..12 {
            let mut lines = with_limit(4);
            let text = b"1234\n12345678\nnext\n123456";
            let seen: Vec<_> =
                text.chunks(size).flat_map(|piece| collect(&mut lines, piece)).collect();
            assert_eq!(seen, ["1234", "1234", "next"], "pieces of {size}");
            assert_eq!(lines.take_cut_lines(), 1);
            assert!(lines.partial.capacity() <= 8, "{}", lines.partial.capacity());
        }
    }

    #[test]
    fn lines_that_wait_for_their_end_have_one_budget_together() {
        let budget = Budget::with_limit(10);
        let [mut first, mut second] = [(); 2].map(|()| Lines::with_limit(8, &budget));
        assert!(collect(&mut first, b"1234567").is_empty());
        assert!(collect(&mut second, b"abcdefg").is_empty());
        assert!(collect(&mut second, b"h").is_empty());
        // What is whole needs none of it.
        let mut third = Lines::with_limit(8, &budget);
        assert_eq!(collect(&mut third, b"12345678\n"), ["12345678"]);
        assert_eq!(collect(&mut first, b"\n"), ["1234567"]);
        // There is room again, but not within this line.
        assert_eq!(collect(&mut second, b"i\n12345678"), ["abc"]);
        assert_eq!((first.take_cut_lines(), second.take_cut_lines()), (0, 1));
        assert_eq!(collect(&mut second, b"\n"), ["12345678"]);
        collect(&mut first, b"12345");
        drop(first);
        assert_eq!(budget.take(11), 10);
    }

    #[test]
    fn a_taker_who_has_enough_gets_no_more() {
        let mut seen = 0;
        let is_done = !with_limit(9).push(b"a\nb\nc\n", &mut |_| {
            seen += 1;
            seen < 2
        });
        assert!(is_done);
        assert_eq!(seen, 2);
    }

    #[test]
    fn what_nothing_completes_is_finished_or_forgotten() {
        let mut lines = with_limit(9);
        collect(&mut lines, b"half");
        let mut seen = Vec::new();
        lines.finish(&mut |line| {
            seen.extend_from_slice(line);
            true
        });
        assert_eq!(seen, b"half");
        assert!(lines.is_empty() && !lines.forget());
        collect(&mut lines, b"half");
        assert!(lines.forget());
        assert_eq!(collect(&mut lines, b"new\n"), ["new"]);
    }
}
