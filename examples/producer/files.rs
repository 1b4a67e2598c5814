//! The threads that follow files, and the one that looks for more of them. Knows no sockets.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use zmq2ws_examples::text;

use crate::claims::Claims;
use crate::fan_in::Feeder;
use crate::follower::{Follower, Sink, Start, Visit};
use crate::pace::{Pace, wait_until};
use crate::patterns::{Assignment, Patterns};
use crate::say;

/// What is read of a file at once: larger saves nothing that can be seen.
const READ_BYTES: usize = 64 << 10;

/// What all threads share.
pub(crate) struct Shared {
    pub(crate) pace: Pace,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) claims: Arc<Claims>,
    /// Where to begin in files that are there at the start.
    pub(crate) start: Start,
    pub(crate) line_bytes_max: usize,
    /// How often files that had nothing new are looked at.
    pub(crate) look_interval: Duration,
    pub(crate) cut_lines: AtomicU64,
}

/// Looks for files until the program ends: at the start, and then at every interval.
pub(crate) fn find_files(
    patterns: &mut Patterns,
    threads: &[Sender<(Assignment, Start)>],
    gone: &Receiver<PathBuf>,
    shared: &Shared,
) {
    let mut start = shared.start;
    while !shared.stop.load(Ordering::Relaxed) {
        let found = patterns.look(|| shared.stop.load(Ordering::Relaxed));
        found.notes.iter().for_each(|note| say(note));
        for (thread, assignment) in found.assignments {
            // A thread ends only when the program does.
            let _ = threads[thread].send((assignment, start));
        }
        start = Start::All;
        if !patterns.has_globs() {
            return;
        }
        match gone.recv_timeout(shared.look_interval) {
            Ok(path) => {
                patterns.forget(&path);
                gone.try_iter().for_each(|path| patterns.forget(&path));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Follows the files that are assigned to one thread.
pub(crate) fn follow_files(
    assignments: &Receiver<(Assignment, Start)>,
    gone: &Sender<PathBuf>,
    feeder: &Feeder,
    shared: &Shared,
) {
    let mut files: Vec<(Follower, Assignment)> = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut is_searching = true;
    while !shared.stop.load(Ordering::Relaxed) && !shared.pace.is_over() {
        let mut has_more = false;
        let mut index = 0;
        while let Some((follower, assignment)) = files.get_mut(index) {
            let mut sink = LineSink { assignment, feeder, pace: &shared.pace };
            let visit = follower.visit(Instant::now(), &mut buffer, &mut sink);
            let cut_lines = follower.take_cut_lines();
            shared.cut_lines.fetch_add(cut_lines, Ordering::Relaxed);
            match visit {
                Visit::Stopped => return,
                Visit::Gone if assignment.is_found => {
                    let _ = gone.send(follower.path().to_owned());
                    files.swap_remove(index);
                    continue;
                }
                Visit::More => has_more = true,
                Visit::AtEnd | Visit::Gone => {}
            }
            index += 1;
        }
        let wait = if has_more { Duration::ZERO } else { shared.look_interval };
        is_searching &= take_in(assignments, wait, &mut files, shared);
        if !is_searching {
            // Nobody finds more files: waiting is all that is left.
            wait_until(Instant::now() + wait, &shared.stop);
        }
    }
}

/// Waits for new assignments; false when there will be none.
fn take_in(
    assignments: &Receiver<(Assignment, Start)>,
    wait: Duration,
    files: &mut Vec<(Follower, Assignment)>,
    shared: &Shared,
) -> bool {
    let mut next = assignments.recv_timeout(wait);
    while let Ok((assignment, start)) = next {
        let claims = Arc::clone(&shared.claims);
        let path = assignment.path.clone();
        files.push((Follower::new(path, start, shared.line_bytes_max, claims), assignment));
        next = assignments.recv_timeout(Duration::ZERO);
    }
    next != Err(RecvTimeoutError::Disconnected)
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

    fn note(&mut self, note: &str) {
        say(&format!(
            "{}: {note}",
            text::shown(self.assignment.path.as_os_str().as_encoded_bytes())
        ));
    }
}
