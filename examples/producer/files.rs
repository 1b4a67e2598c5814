//! The threads that follow files, and who looks for more of them. Knows no sockets.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use zmq2ws_examples::text;

use crate::fan_in::Feeder;
use crate::follower::{Common, Follower, Sink, Start, Visit};
use crate::pace::{Pace, wait_until};
use crate::patterns::{Assignment, Patterns};
use crate::rhythm::Rhythm;
use crate::say;

/// What is read of a file at once: larger saves nothing that can be seen.
const READ_BYTES: usize = 64 << 10;

/// What all threads share.
pub(crate) struct Shared {
    pub(crate) pace: Pace,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) common: Arc<Common>,
    /// How often files that had nothing new are looked at.
    pub(crate) look_interval: Duration,
    pub(crate) cut_lines: AtomicU64,
}

/// A new search follows a search after so many times as long as that took: it takes less than a tenth of one
/// core, also where patterns match a large tree.
const PAUSE_PER_SEARCH: u32 = 10;

/// What is followed, and opened already.
struct Followed {
    follower: Follower,
    assignment: Assignment,
    rhythm: Rhythm,
}

/// Looks for files, and gives each to one of the threads.
pub(crate) struct Finder<'a> {
    patterns: Patterns,
    threads: Vec<Sender<Followed>>,
    gone: Receiver<PathBuf>,
    shared: &'a Shared,
}

/// Where a thread's files come from, and where it tells which are gone.
pub(crate) struct Inbox {
    files: Receiver<Followed>,
    gone: Sender<PathBuf>,
}

impl<'a> Finder<'a> {
    /// Also returns what each of the threads is to have.
    pub(crate) fn new(
        patterns: Patterns,
        threads: usize,
        shared: &'a Shared,
    ) -> (Self, Vec<Inbox>) {
        let (is_gone, gone) = mpsc::channel();
        let inbox = |_| {
            let (sender, files) = mpsc::channel();
            (sender, Inbox { files, gone: is_gone.clone() })
        };
        let (threads, inboxes) = (0..threads).map(inbox).unzip();
        (Self { patterns, threads, gone, shared }, inboxes)
    }

    /// Opens the files that are not followed yet, before any thread reads: later writes are new.
    pub(crate) fn look(&mut self, start: Start) {
        let now = Instant::now();
        let found = self.patterns.look(|| self.shared.stop.load(Ordering::Relaxed));
        found.notes.iter().for_each(|note| say(note));
        for (thread, assignment) in found.assignments {
            let (path, common) = (assignment.path.clone(), Arc::clone(&self.shared.common));
            let start = assignment.resume.unwrap_or(start);
            let mut follower = Follower::new(path, start, common);
            follower.look(now, &mut |text| note(&assignment, text));
            let rhythm = Rhythm::new(now, self.shared.look_interval);
            // A thread ends only when the program does.
            let _ = self.threads[thread].send(Followed { follower, assignment, rhythm });
        }
    }

    /// Looks at every interval, until the program ends.
    pub(crate) fn run(&mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) && self.patterns.has_globs() {
            let start = Instant::now();
            self.look(Start::All);
            let pause = (start.elapsed() * PAUSE_PER_SEARCH).max(self.shared.look_interval);
            match self.gone.recv_timeout(pause) {
                Ok(path) => {
                    self.patterns.forget(&path);
                    self.gone.try_iter().for_each(|path| self.patterns.forget(&path));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// Follows the files that are assigned to one thread.
pub(crate) fn follow_files(inbox: &Inbox, feeder: &Feeder, shared: &Shared) {
    let mut files: Vec<Followed> = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut is_searching = true;
    let mut wait = Duration::ZERO;
    while !shared.stop.load(Ordering::Relaxed) && !shared.pace.is_over() {
        is_searching &= take_in(&inbox.files, wait, &mut files);
        if !is_searching {
            // No more files will be found: only waiting is left.
            wait_until(Instant::now() + wait, &shared.stop);
        }
        let now = Instant::now();
        let mut has_more = false;
        let mut index = 0;
        while let Some(followed) = files.get_mut(index) {
            let Followed { follower, assignment, rhythm } = followed;
            if !rhythm.is_due(now) {
                index += 1;
                continue;
            }
            let mut sink = LineSink { assignment, feeder, pace: &shared.pace };
            let visit = follower.visit(now, &mut buffer, &mut sink);
            let cut_lines = follower.take_cut_lines();
            shared.cut_lines.fetch_add(cut_lines, Ordering::Relaxed);
            match visit {
                Visit::Stopped => return,
                Visit::Gone if assignment.is_found => {
                    let _ = inbox.gone.send(follower.path().to_owned());
                    files.swap_remove(index);
                    continue;
                }
                Visit::More => has_more = true,
                Visit::AtEnd | Visit::Gone => rhythm.looked(now, follower.take_change()),
            }
            index += 1;
        }
        wait = if has_more { Duration::ZERO } else { shared.look_interval };
    }
}

/// Waits for new files; false when there will be none.
fn take_in(inbox: &Receiver<Followed>, wait: Duration, files: &mut Vec<Followed>) -> bool {
    let mut next = inbox.recv_timeout(wait);
    while let Ok(followed) = next {
        files.push(followed);
        next = inbox.recv_timeout(Duration::ZERO);
    }
    !matches!(next, Err(RecvTimeoutError::Disconnected))
}

fn note(assignment: &Assignment, text: &str) {
    let path = text::shown(assignment.path.as_os_str().as_encoded_bytes());
    say(&format!("{path}: {text}"));
}

/// Sends each line when it is due.
struct LineSink<'a> {
    assignment: &'a Assignment,
    feeder: &'a Feeder,
    pace: &'a Pace,
}

impl Sink for LineSink<'_> {
    fn line(&mut self, line: &[u8]) -> bool {
        self.pace.next().is_some() && self.feeder.send(&self.assignment.topic, line)
    }

    fn note(&mut self, text: &str) {
        note(self.assignment, text);
    }
}
