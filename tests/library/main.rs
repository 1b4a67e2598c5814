//! The gateway as a part of another program: what a host does, and what its clients see of that.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "in a test, a panic is the report"
)]

mod adopt;
mod allocations;
#[path = "../support/allocator.rs"]
mod allocator;
mod alone;
mod ask;
mod authorize;
mod descriptors;
mod events;
mod heap;
mod host_loop;
mod leaks;
mod panics;
mod publish;
mod socket_io;
mod stop;
#[path = "../support/mod.rs"]
mod support;
mod thousands;
mod traits;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use zmq2ws::{Builder, Gateway, Running};

/// A gateway without ZeroMQ, on a free port.
fn builder() -> Builder {
    Gateway::builder().listen(([127, 0, 0, 1], 0)).drain(Duration::from_secs(2))
}

fn address(running: &Running) -> SocketAddr {
    running.listen_addresses()[0].strip_prefix("http://").unwrap().parse().unwrap()
}

/// Is what a hook does that takes long.
fn be_busy(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Waits until so many clients are there, so that they get what is published next.
#[track_caller]
fn wait_for_clients(running: &Running, count: usize) {
    let handle = running.handle();
    support::wait_until("clients", || handle.stats().unwrap().clients == count);
}
