//! A gateway that takes every message from ZeroMQ and broadcasts it, one way, to browsers.
//!
//! ```text
//!  ZeroMQ sockets        topics            feeds                      connections
//!  ┌────────┐ Message  ┌────────┐ matches ┌───────────────────────┐  ┌─────────────┐
//!  │ source │ ───────▶ │ topics │ ──────▶ │ feed (filter, format) │─▶│ cursor ▸ fd │─▶ browser
//!  └────────┘          └────────┘         │ bytes encoded ONCE    │─▶│ cursor ▸ fd │─▶ browser
//!                                         └───────────────────────┘  └─────────────┘
//! ```
//!
//! A source drains its ZeroMQ socket into messages. The topic index finds the feeds that want a message; there is one for
//! each distinct filter and format that some client asked for. A message is encoded once for each format and appended
//! to its feeds as the very bytes that go to sockets. A client is a cursor into a feed: sending is to hand the kernel
//! what lies between the cursor and the end. Nothing per client is allocated when a message passes. A message is also
//! kept for a while: a client that comes back is sent what it missed, piece by piece, before its cursor goes on.
//!
//! # Running it
//!
//! [`Gateway`] is the whole thing. [`Gateway::run`] takes a thread; [`Gateway::turn`] does a step at a time inside a
//! loop of the host's own. [`Settings`] reads what users write, [`Config`] is what it means.
//!
//! # Layers
//!
//! Data flows down this list, imports point up it; `tests/tidy` holds the code to it.
//!
//! | row | modules | owns |
//! |---|---|---|
//! | 0 | `error`, `memory`, `metrics`, `timers` | reasons for what ends, the account of bytes, counters, deadlines by key |
//! | 1 | `message` | messages, topics and ids from ZeroMQ parts |
//! | 2 | `wire` | encoders and decoders: bytes in, bytes out |
//! | 3 | `topics`, `intake` | filters, the index from topics to feeds, what publishers are asked for; counters, inflating |
//! | 4 | `history`, `feed` | what is kept to be sent again; shared bytes, cursors, lag |
//! | 5 | `http`, `access` | requests with limits, routes, the page; who may connect |
//! | 6 | `session` | protocols as state machines without socket and clock |
//! | 7 | `net`, `source` | sockets, files, ZeroMQ |
//! | 8 | `connection` | one accepted socket from first byte to last, and the table of all |
//! | 9 | `event_loop` | a turn, and nothing about protocols |
//! | 10 | `config`, `gateway`, `bench_internals` | what users set, and the public interface; what benches measure |
//!
//! # Invariants
//!
//! - One thread does everything; there is no lock, no async runtime, and nothing waits but the poller.
//! - Time and randomness are handed in from the event loop on down, so that a seeded simulation drives everything above
//!   the sockets (`src/simulation`).
//! - Every queue, buffer, count and time has a limit. Memory belongs to feeds, not to clients: a client that stalls
//!   costs what its feed may hold, however many stall.
//! - A frame that has begun is finished before anything else is sent; after a close frame nothing is.
//! - Only a client whose socket takes nothing is left behind. What it missed is counted, and told where its format can.
//! - Who comes back or was left behind costs numbers, not messages: what it is sent is made of what history keeps, one
//!   piece at a time for all.
//! - Every part of a turn is bounded: what is cut short goes on in the next turn, which does not wait.
//! - A panic is a bug: no input causes one.
//!
//! # What is absent, and why
//!
//! What clients send goes nowhere. There is no cluster: gateways are stateless subscribers, so run as many as needed.
//! tungstenite's `WebSocket` is not used for clients, only its frames: it copies every message for every client.

mod access;
#[cfg(feature = "bench-internals")]
#[doc(hidden)]
pub mod bench_internals;
mod config;
mod connection;
mod error;
mod event_loop;
mod feed;
mod gateway;
mod history;
mod http;
mod intake;
mod memory;
mod message;
mod metrics;
mod net;
mod session;
#[cfg(test)]
mod simulation;
mod source;
#[cfg(test)]
mod test_events;
#[cfg(test)]
mod test_radio;
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
pub use intake::{Counter, CounterType, Decode};
pub use message::TopicFrom;
pub use net::ListenAddr;
pub use source::{Attach, Endpoint, Security, SocketKind};
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

    /// What publishers send.
    pub fn messages(input: &[u8]) {
        crate::intake::fuzz_intake(std::time::Instant::now(), input);
    }

    /// What a WebSocket client sends.
    pub fn frames(input: &[u8]) {
        crate::wire::websocket::fuzz_frames(input);
    }
}
