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
