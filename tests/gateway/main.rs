//! The gateway over real sockets: what its users and its enemies meet.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "in a test, a panic is the report")]

mod browser_client;
mod clients;
mod coalesce;
#[cfg(feature = "compress")]
mod compress;
mod demand;
mod events;
mod feeds;
mod figures;
mod history;
mod http;
mod messages;
mod operation;
mod origins;
mod overload;
mod polls;
#[path = "../examples/process.rs"]
mod process;
mod radio;
mod socket_io;
#[path = "../support/mod.rs"]
pub(crate) mod support;
mod timeouts;
mod websocket;
mod zws;

use support::PATIENCE;
