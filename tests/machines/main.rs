//! More than one gateway: processes that share a port, proxies and balancers in front, hosts with links that break.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "in a test, a panic is the report")]

mod balancers;
mod layout;
mod multicast;
#[path = "../examples/process.rs"]
mod process;
mod shared_port;
#[path = "../support/mod.rs"]
mod support;

use support::PATIENCE;
