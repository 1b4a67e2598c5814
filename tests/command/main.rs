//! Everything that starts the command, in one program: each further program would link the gateway once more.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "in a test, a panic is the report")]

#[path = "../cli/mod.rs"]
mod cli;
#[cfg(feature = "tls")]
#[path = "../docs/mod.rs"]
mod docs;
#[path = "../examples/mod.rs"]
mod examples;
#[path = "../gateway/mod.rs"]
mod gateway;
mod host;
#[path = "../machines/mod.rs"]
mod machines;
#[cfg(feature = "tls")]
#[path = "../over_tls/mod.rs"]
mod over_tls;
#[path = "../page/mod.rs"]
mod page;
#[path = "../examples/process.rs"]
mod process;
#[path = "../support/mod.rs"]
mod support;
mod through;
#[path = "../upstream/mod.rs"]
mod upstream;

use support::PATIENCE;
