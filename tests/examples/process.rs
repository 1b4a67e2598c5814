//! A program under test: what it prints, how it ends, and that it does end. Knows no program.
#![allow(dead_code, reason = "each test target uses a part of this")]

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;

/// Killed with the value.
pub(crate) struct Process {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

/// What a process left.
#[derive(Debug)]
pub(crate) struct End {
    /// `None` after a signal.
    pub(crate) code: Option<i32>,
    /// Lines that had not been waited for.
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

/// Where cargo puts one of the programs in `examples/`, which it builds before it runs all tests.
#[track_caller]
pub(crate) fn example_path(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --workspace --bins --examples` first",
        path.display()
    );
    path
}

impl Process {
    /// Starts `program` in an environment without settings of the gateway.
    pub(crate) fn start(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ZMQ2WS_") {
                command.env_remove(name);
            }
        }
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().map(lines).unwrap();
        let stderr = child.stderr.take().map(lines).unwrap();
        Self { child, stdin, stdout, stderr }
    }

    /// What follows `label` in the next line of standard output that starts with it.
    #[track_caller]
    pub(crate) fn printed(&self, label: &str) -> String {
        wait_for(&self.stdout, label)
    }

    /// As [`Self::printed`], on standard error.
    #[track_caller]
    pub(crate) fn said(&self, label: &str) -> String {
        wait_for(&self.stderr, label)
    }

    /// Waits until it has read nothing for a while, as one does that waits for somebody.
    #[track_caller]
    pub(crate) fn wait_until_it_reads_no_more(&self) {
        const WHILE: Duration = Duration::from_millis(300);
        let read = || {
            let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap();
            io.lines().next().unwrap().to_owned()
        };
        let deadline = Instant::now() + PATIENCE;
        let (mut last, mut since) = (read(), Instant::now());
        while since.elapsed() < WHILE {
            assert!(Instant::now() < deadline, "it goes on reading: {last}");
            thread::yield_now();
            let now = read();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub(crate) fn end(mut self) -> End {
        self.stdin = None;
        let (stdout, stderr) = (rest(&self.stdout), rest(&self.stderr));
        // Both outputs are closed, so it is about to end, if it has not.
        End { code: self.child.wait().unwrap().code(), stdout, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines as they come, to the end, so that the writer never waits for a reader.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

#[track_caller]
fn wait_for(lines: &Receiver<String>, label: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => match line.strip_prefix(label) {
                Some(rest) => return rest.trim().to_owned(),
                None => seen.push(line),
            },
            Err(error) => panic!("no line with {label:?} ({error}); seen: {seen:#?}"),
        }
    }
}

/// All lines up to the end of the stream.
#[track_caller]
fn rest(lines: &Receiver<String>) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => seen.push(line),
            Err(RecvTimeoutError::Disconnected) => return seen,
            Err(RecvTimeoutError::Timeout) => panic!("the program does not end; seen: {seen:#?}"),
        }
    }
}
