//! A gateway from ZeroMQ to browsers: one thread, one poller, one direction.
#![allow(dead_code)]
pub mod error;
mod feed;
mod memory;
pub mod message;
#[cfg(test)]
mod test_random;
mod timers;
mod topics;
pub mod wire;
