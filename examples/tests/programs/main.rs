//! The producer, the proxy and the consumer as processes, with each other.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod delivery;
mod files;
mod folder;
mod multicast;
#[path = "../../../tests/examples/process.rs"]
mod process;
mod show;

use std::time::Duration;

use process::{End, Process};

/// Long enough for a loaded machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

fn producer(args: &[&str]) -> Process {
    Process::start(env!("CARGO_BIN_EXE_producer"), args)
}

fn proxy(args: &[&str]) -> Process {
    Process::start(env!("CARGO_BIN_EXE_proxy"), args)
}

fn consumer(args: &[&str]) -> Process {
    Process::start(env!("CARGO_BIN_EXE_consumer"), args)
}

/// One that binds, and where.
fn bound_consumer(args: &[&str]) -> (Process, String) {
    let consumer = consumer(&[&["--bind=tcp://127.0.0.1:*"], args].concat());
    let endpoint = consumer.said("consumer: bound to");
    (consumer, endpoint)
}

#[track_caller]
fn assert_said(end: &End, start: &str) {
    assert_eq!(end.code, Some(0), "{end:#?}");
    assert!(end.stderr.iter().any(|line| line.starts_with(start)), "{start:?} in {end:#?}");
}

/// The next lines of standard output.
#[track_caller]
fn lines(process: &Process, count: usize) -> Vec<String> {
    (0..count).map(|_| process.printed("")).collect()
}
