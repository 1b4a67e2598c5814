//! Every test of `tests/gateway` once more, with the gateway inside a host that accepts all connections and hands them over:
//! what is adopted behaves as what a listener of the gateway's own has accepted.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "in a test, a panic is the report")]

#[path = "../gateway/main.rs"]
mod gateway;
mod host;

use gateway::support;
