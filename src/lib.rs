//! A gateway from ZeroMQ to browsers: one thread, one poller, one direction.
mod access;
mod config;
mod connection;
mod error;
mod event_loop;
mod feed;
mod gateway;
mod http;
mod memory;
mod message;
mod metrics;
mod net;
mod session;
#[cfg(test)]
mod simulation;
mod source;
#[cfg(test)]
mod test_random;
mod timers;
mod topics;
mod wire;

pub use access::{InvalidOrigin, Origin, OriginPolicy};
pub use config::{Config, DEFAULT_BIND, Settings, SiteConfig, Text};
pub use error::{ConfigError, Error};
pub use feed::LagPolicy;
pub use gateway::{Gateway, Handle};
pub use message::TopicFrom;
pub use net::ListenAddr;
pub use source::{Attach, Endpoint, SocketKind};
pub use wire::{Format, Payload};

/// Compiles and runs the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Entry points that take any bytes, for the targets in `fuzz/`. Seeded tests beside the code run over the same ones.
#[cfg(fuzzing)]
pub mod fuzz {
    /// The configuration file.
    pub fn config(input: &[u8]) {
        crate::config::fuzz_config(input);
    }

    /// Requests on one connection.
    pub fn requests(input: &[u8]) {
        crate::http::fuzz::fuzz_requests(input);
    }

    /// What a WebSocket client sends.
    pub fn frames(input: &[u8]) {
        crate::wire::websocket::fuzz_frames(input);
    }
}
