//! Cuts bytes into lines of bounded length. Knows no files.

/// The line that is not complete yet, and what became of those that were.
pub(crate) struct Lines {
    partial: Vec<u8>,
    bytes_max: usize,
    /// The line under way has grown too long: its rest is passed over.
    is_cut: bool,
    cut_lines: u64,
}

impl Lines {
    /// Lines longer than `bytes_max` are cut there.
    pub(crate) fn with_limit(bytes_max: usize) -> Self {
        Self { partial: Vec::new(), bytes_max, is_cut: false, cut_lines: 0 }
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

    /// Calls `take` with what there is of a line that nothing will complete any more.
    pub(crate) fn finish(&mut self, take: &mut impl FnMut(&[u8]) -> bool) -> bool {
        self.cut_lines += u64::from(self.is_cut);
        let is_taken = take(&self.partial);
        self.forget();
        is_taken
    }

    /// Forgets a line under way; false where there was none.
    pub(crate) fn forget(&mut self) -> bool {
        let was_there = !self.is_empty();
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
        let room = self.bytes_max - self.partial.len();
        self.is_cut |= bytes.len() > room;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let whole = collect(&mut Lines::with_limit(100), text);
        assert_eq!(whole, ["one", "", "two three\r", "東"]);
        for size in 1..text.len() {
            let mut lines = Lines::with_limit(100);
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
            let mut lines = Lines::with_limit(4);
            let text = b"1234\n12345678\nnext\n123456";
            let seen: Vec<_> =
                text.chunks(size).flat_map(|piece| collect(&mut lines, piece)).collect();
            assert_eq!(seen, ["1234", "1234", "next"], "pieces of {size}");
            assert_eq!(lines.take_cut_lines(), 1);
            assert!(lines.partial.capacity() <= 8, "{}", lines.partial.capacity());
        }
    }

    #[test]
    fn a_taker_who_has_enough_gets_no_more() {
        let mut seen = 0;
        let is_done = !Lines::with_limit(9).push(b"a\nb\nc\n", &mut |_| {
            seen += 1;
            seen < 2
        });
        assert!(is_done);
        assert_eq!(seen, 2);
    }

    #[test]
    fn what_nothing_completes_is_finished_or_forgotten() {
        let mut lines = Lines::with_limit(9);
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
