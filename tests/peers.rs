//! Runs the tests of the bench's module that installs peers: the bench has a harness of its own, which runs none.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../benches/gateway/peers.rs"]
mod peers;
