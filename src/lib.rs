//! A gateway from ZeroMQ to browsers: one thread, one poller, one direction.
#![allow(dead_code)]
pub mod access;
mod connection;
pub mod error;
mod feed;
mod http;
mod memory;
pub mod message;
mod metrics;
mod net;
mod session;
#[cfg(test)]
mod test_random;
mod timers;
mod topics;
pub mod wire;
