//! Follows one name as `tail -F` does: the file that has the name, and those that had it before, until
//! they are read to their end. Knows no threads, no topics and no clock.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::claims::{Claims, Identity};
use crate::lines::{Budget, Lines};

/// How long a file that has lost its name is read on: writers notice a rotation one after the other, and
/// some only after a signal.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// How many files without their name are kept open, where as many may be. When reading is so far behind, the
/// name is not looked at until there is room again.
const RETIRED_MAX: usize = 16;

/// What is read of one file before it is the next one's turn.
const BYTES_PER_VISIT: u64 = 256 << 10;

/// How far back the last lines of a file are searched in any case: it takes some milliseconds.
const SEARCH_BYTES_MIN: u64 = 4 << 20;

/// How many bytes before the place that reading got to are compared, to see that they are still there.
const FOOTPRINT_BYTES: usize = 64;

/// Where to begin in a file that is there at the start. Later ones are read from their beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// At its beginning.
    All,
    /// So many complete lines before its end.
    Last(u64),
    /// So far from its beginning, if it is this file: where it was read to under another name.
    At(Identity, u64),
}

/// Receives what is found.
pub(crate) trait Sink {
    /// A line, without its end; false when no more is wanted.
    fn line(&mut self, line: &[u8]) -> bool;
    /// Something that the user should know.
    fn note(&mut self, text: &str);
}

/// What a visit left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visit {
    /// Read to the end, for now.
    AtEnd,
    /// There is more.
    More,
    /// The name is gone, and so is everything that had it.
    Gone,
    /// The sink wants no more.
    Stopped,
}

/// What all followers share.
pub(crate) struct Common {
    pub(crate) claims: Arc<Claims>,
    pub(crate) line_bytes_max: usize,
    /// For lines without their end.
    pub(crate) budget: Arc<Budget>,
    /// The program is to end: nothing is looked for any more.
    pub(crate) stop: Arc<AtomicBool>,
}

/// One name.
pub(crate) struct Follower {
    path: PathBuf,
    start: Start,
    common: Arc<Common>,
    /// The file that has the name, or had it last.
    current: Option<Source>,
    /// Files that had it before, oldest first.
    retired: VecDeque<(Source, Instant)>,
    missing_since: Option<Instant>,
    /// What was last said to be wrong with the name.
    trouble: Option<Trouble>,
    cut_lines: u64,
    has_changed: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    Absent,
    /// It is there, and may be of use some day: also who was found by a pattern is waited for.
    Useless(String),
}

/// An open file.
struct Source {
    file: File,
    identity: Identity,
    /// How far it is read.
    offset: u64,
    /// The last bytes before that.
    footprint: Vec<u8>,
    /// When it was last changed, as far as that was noticed.
    changed: Option<SystemTime>,
    lines: Lines,
}

impl Follower {
    /// `start` is for the file that has the name now, if there is one.
    pub(crate) fn new(path: PathBuf, start: Start, common: Arc<Common>) -> Self {
        Self {
            path,
            start,
            common,
            current: None,
            retired: VecDeque::new(),
            missing_since: None,
            trouble: None,
            cut_lines: 0,
            has_changed: false,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many lines were cut since this was last asked.
    pub(crate) fn take_cut_lines(&mut self) -> u64 {
        std::mem::take(&mut self.cut_lines)
    }

    /// Whether there was anything new since this was last asked.
    pub(crate) fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// Looks what the name stands for, and gives the sink what was appended.
    ///
    /// Where one writer goes from a file to its successor, its lines stay in order: a file's successor is
    /// read no further than it was when the file itself was measured.
    pub(crate) fn visit(&mut self, now: Instant, buffer: &mut [u8], sink: &mut impl Sink) -> Visit {
        if self.may_retire() {
            self.look(now, &mut |text| sink.note(text));
        }
        let visit = self.read(buffer, sink);
        if visit == Visit::AtEnd { self.tidy(now, sink) } else { visit }
    }

    /// Looks what the name stands for, and opens it. To be called as soon as there is a follower: what was
    /// there by then, and how much it was, tells where reading begins.
    pub(crate) fn look(&mut self, now: Instant, note: &mut impl FnMut(&str)) {
        let found = fs::metadata(&self.path);
        let known = self.current.as_ref().map(|source| source.identity);
        let trouble = match found {
            Ok(data) if known == Some(Identity::of(&data)) => {
                self.missing_since = None;
                None
            }
            Ok(data) if !data.is_file() => Some(Trouble::Useless("is no regular file".to_owned())),
            Ok(_) => self.open(now, note).err().as_ref().map(Trouble::of),
            Err(error) => Some(Trouble::of(&error)),
        };
        if trouble.is_some() && self.missing_since.is_none() {
            self.missing_since = Some(now);
        }
        if self.trouble != trouble {
            if let Some(trouble) = &trouble {
                note(trouble.words());
            }
            self.trouble = trouble;
        }
        // From here on, what is absent now is read from its beginning when it comes.
        self.start = Start::All;
    }

    /// Whether the file that has the name may become one that had it. The first always may: for that, there is
    /// room.
    fn may_retire(&self) -> bool {
        self.retired.is_empty()
            || (self.retired.len() < RETIRED_MAX && self.common.claims.has_room())
    }

    fn open(&mut self, now: Instant, note: &mut impl FnMut(&str)) -> io::Result<()> {
        // What has become a pipe since it was looked at must not be waited for.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?;
        let data = file.metadata()?;
        if !data.is_file() {
            return Err(io::Error::other("is no regular file"));
        }
        let identity = Identity::of(&data);
        let offset = match self.start {
            Start::Last(lines) => last_lines(&file, data.len(), lines, &self.common)?,
            Start::At(of, offset) if of == identity && offset <= data.len() => offset,
            Start::All | Start::At(..) => 0,
        };
        self.common.claims.open(identity);
        let lines = Lines::with_limit(self.common.line_bytes_max, &self.common.budget);
        let mut successor =
            Source { file, identity, offset, footprint: Vec::new(), changed: None, lines };
        successor.step_to(offset);
        if let Some(replaced) = self.current.replace(successor) {
            note("has been replaced; following the new file");
            self.retired.push_back((replaced, now));
        } else if self.trouble.is_some() {
            note("has appeared; following it");
        }
        self.missing_since = None;
        self.has_changed = true;
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], sink: &mut impl Sink) -> Visit {
        let retired = self.retired.iter_mut().map(|(source, _)| source);
        let mut sources: Vec<&mut Source> = retired.chain(&mut self.current).collect();
        // Measured newest first, and read oldest first: see `visit`.
        let mut lens: Vec<u64> = sources.iter().rev().map(|source| source.len()).collect();
        lens.reverse();
        for index in 0..sources.len() {
            // A writer of the successor completes no line here any more.
            let is_left = lens[index + 1..].iter().any(|&len| len > 0);
            let offset = sources[index].offset;
            let visit = sources[index].read(lens[index], buffer, sink);
            self.has_changed |= sources[index].offset != offset;
            self.cut_lines += sources[index].lines.take_cut_lines();
            if visit != Visit::AtEnd {
                return visit;
            }
            if is_left && !sources[index].end(sink) {
                return Visit::Stopped;
            }
        }
        Visit::AtEnd
    }

    /// Closes what is read to its end and has had no name for a while.
    fn tidy(&mut self, now: Instant, sink: &mut impl Sink) -> Visit {
        while let Some((_, since)) = self.retired.front() {
            if now.saturating_duration_since(*since) < GRACE {
                break;
            }
            if let Some((mut source, _)) = self.retired.pop_front() {
                self.common.claims.close(source.identity, source.offset);
                if !source.end(sink) {
                    return Visit::Stopped;
                }
            }
        }
        let is_lost =
            self.missing_since.is_some_and(|since| now.saturating_duration_since(since) >= GRACE);
        if !is_lost || !self.retired.is_empty() {
            return Visit::AtEnd;
        }
        // Open, it would keep its place on the disk.
        if let Some(mut source) = self.current.take() {
            self.common.claims.close(source.identity, source.offset);
            if !source.end(sink) {
                return Visit::Stopped;
            }
        }
        if self.trouble == Some(Trouble::Absent) { Visit::Gone } else { Visit::AtEnd }
    }
}

impl Trouble {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Absent,
            _ => Self::Useless(format!("cannot be read: {error}")),
        }
    }

    fn words(&self) -> &str {
        match self {
            Self::Absent => "is not there (yet)",
            Self::Useless(words) => words,
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let retired = self.retired.iter().map(|(source, _)| source);
        for source in retired.chain(&self.current) {
            self.common.claims.close(source.identity, source.offset);
        }
    }
}

impl Source {
    fn len(&self) -> u64 {
        self.file.metadata().map_or(self.offset, |data| data.len())
    }

    /// Reads on, as far as `len` and this visit's budget go.
    fn read(&mut self, len: u64, buffer: &mut [u8], sink: &mut impl Sink) -> Visit {
        if len < self.offset || !self.is_untouched() {
            let lost =
                if self.lines.forget() { ", and with it the line that was begun" } else { "" };
            sink.note(&format!("has been truncated{lost}; following it from its beginning"));
            self.step_to(0);
        }
        let budget_end = self.offset + BYTES_PER_VISIT;
        while self.offset < len.min(budget_end) {
            let wanted = (len.min(budget_end) - self.offset).min(buffer.len() as u64) as usize;
            let read = match self.file.read_at(&mut buffer[..wanted], self.offset) {
                // Truncated since it was measured: the next visit finds out.
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    sink.note(&format!("cannot be read: {error}"));
                    break;
                }
            };
            self.step_over(&buffer[..read]);
            if !self.lines.push(&buffer[..read], &mut |line| sink.line(line)) {
                return Visit::Stopped;
            }
        }
        if self.offset < len && self.offset == budget_end { Visit::More } else { Visit::AtEnd }
    }

    /// Whether what was read is still there: a file may be truncated and grow again between two visits.
    fn is_untouched(&mut self) -> bool {
        let changed = self.file.metadata().and_then(|data| data.modified()).ok();
        if changed.is_some() && changed == self.changed {
            return true;
        }
        self.changed = changed;
        let start = self.offset - self.footprint.len() as u64;
        let mut found = [0; FOOTPRINT_BYTES];
        let found = &mut found[..self.footprint.len()];
        // What cannot be read is found out by reading on.
        self.file.read_exact_at(found, start).is_err() || found == self.footprint
    }

    /// Goes on behind `bytes`.
    fn step_over(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as u64;
        let new = &bytes[bytes.len().saturating_sub(FOOTPRINT_BYTES)..];
        let kept = FOOTPRINT_BYTES - new.len();
        let surplus = self.footprint.len().saturating_sub(kept);
        self.footprint.drain(..surplus);
        self.footprint.extend_from_slice(new);
    }

    /// Goes on from `offset`.
    fn step_to(&mut self, offset: u64) {
        let mut footprint = vec![0; offset.min(FOOTPRINT_BYTES as u64) as usize];
        let start = offset - footprint.len() as u64;
        let is_read = self.file.read_exact_at(&mut footprint, start);
        self.footprint = if is_read.is_ok() { footprint } else { Vec::new() };
        self.offset = offset;
    }

    /// Gives the sink a last line without an end.
    fn end(&mut self, sink: &mut impl Sink) -> bool {
        self.lines.is_empty() || self.lines.finish(&mut |line| sink.line(line))
    }
}

/// Where the last `lines` complete lines begin. A line without an end comes on top of them.
///
/// What is searched is bounded by how long lines can be, and by no less than `SEARCH_BYTES_MIN`: among lines that
/// will be cut, it may begin later.
fn last_lines(file: &File, len: u64, lines: u64, common: &Common) -> io::Result<u64> {
    const BLOCK_BYTES: u64 = 64 << 10;
    let line_bytes_max = common.line_bytes_max as u64 + 1;
    let search_bytes = lines.saturating_add(1).saturating_mul(line_bytes_max);
    let floor = len.saturating_sub(search_bytes.max(SEARCH_BYTES_MIN));
    let mut block = vec![0; BLOCK_BYTES as usize];
    let mut ends_seen = 0;
    let mut first_seen = len;
    let mut end = len;
    while end > floor {
        if common.stop.load(Ordering::Relaxed) {
            return Ok(len);
        }
        let start = end.saturating_sub(BLOCK_BYTES).max(floor);
        let block = &mut block[..(end - start) as usize];
        file.read_exact_at(block, start)?;
        for (index, _) in block.iter().enumerate().rev().filter(|&(_, &byte)| byte == b'\n') {
            let line_start = start + index as u64 + 1;
            if ends_seen == lines {
                return Ok(line_start);
            }
            ends_seen += 1;
            first_seen = line_start;
        }
        end = start;
    }
    Ok(if floor > 0 && first_seen < len { first_seen } else { floor })
}

#[cfg(test)]
mod tests;
