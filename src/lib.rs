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
//! # Which way to run
//!
//! [`Gateway::builder`] says everything that the command line can say. Then there are three ways:
//!
//! | the host | does this | and |
//! |---|---|---|
//! | has something else to do | [`Builder::spawn`] | a [`Running`] is joined, or says goodbye to everybody when it is dropped |
//! | has a thread to give | [`Builder::build`], [`Gateway::run`] | it returns after [`Handle::shutdown`] |
//! | has a loop of its own | [`Builder::build`], [`Gateway::turn`] | [`AsFd`](std::os::fd::AsFd) nests in its poller, [`Gateway::next_deadline`] in its timers |
//!
//! The first is right unless there is a reason: the gateway has its thread anyway, and the host speaks to it by its
//! [`Handle`] in all three. Take the last where the host is a loop already, and wants no second thread; then no turn of
//! either waits for the other, so neither should take long.
//!
//! ```
//! use zmq2ws::Gateway;
//!
//! let running = Gateway::builder()
//!     .bind("tcp://127.0.0.1:*")       // producers connect here,
//!     .listen(([127, 0, 0, 1], 0))     // and browsers here
//!     .spawn()?;
//! let handle = running.handle();
//! handle.publish("weather.oslo", ["4.5"])?; // without ZeroMQ
//! println!("{} clients at {}", handle.stats()?.clients, running.listen_addresses()[0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a host with an HTTP server of its own does with a request for messages: [`Handle::adopt`] hands the connection
//! over, with what was read of it; [`Handle::adopt_websocket`] does so after the host has answered the handshake. Who may
//! connect, and to which topics, [`Builder::authorize`] decides; [`Builder::map`] changes messages, [`Builder::on_event`]
//! hears of clients. These hooks are called on the gateway's thread, so they should be quick.
//!
//! The package's `examples/` has whole programs: `embedded`, an HTTP server that keeps one path for its gateway; `own_loop`,
//! `inproc`, `auth`; and `axum`, with an async server.
//!
//! The crate logs by [`log`](https://docs.rs/log) and installs no logger, no signal handler and no panic hook. The one thing
//! of the process that it may change is the limit of descriptors (RLIMIT_NOFILE), and only where the host says how many
//! clients there are to be: [`Builder::max_clients`].
//!
//! # Cargo features
//!
//! All are on by default; the handbook's page "Embed" says what each brings. Without any, this is the plain gateway.
//!
//! | feature | what it is for |
//! |---|---|
//! | `cli` | the command |
//! | `compress` | [`Builder::compress`] and [`Builder::decode`] |
//! | `tls` | [`Builder::tls_cert`], [`Builder::tls_key`] and [`Handle::reload_tls`] |
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
//! | 5 | `http`, `access`, `hooks` | requests with limits, routes, the page; who may connect; what a host has a say in |
//! | 6 | `session` | protocols as state machines without socket and clock |
//! | 7 | `net`, `source` | sockets, files, ZeroMQ |
//! | 8 | `connection` | one accepted socket from first byte to last, and the table of all |
//! | 9 | `event_loop` | a turn, and nothing about protocols |
//! | 10 | `config`, `gateway`, `bench_internals` | what users set, and the public interface; what benches measure |
//!
//! # Invariants
//!
//! - One thread does everything; there is no async runtime, and nothing waits but the poller. The only locks are that of the
//!   inbox of [`Handle`]s and that of the certificate, held to move pointers.
//! - Gateways of one process share nothing. A gateway that ends, however that is, leaves no thread, descriptor or file.
//! - Time and randomness are handed in from the event loop on down, so that a seeded simulation drives everything above
//!   the sockets (`src/simulation`).
//! - All of a turn is done at the time when it began. Only a host that maps messages has the clock read once for each, to end
//!   that in time.
//! - Every queue, buffer, count and time has a limit. Memory belongs to feeds, not to clients: a client that stalls
//!   costs what its feed may hold, however many stall, and over TLS one record each.
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
#[allow(missing_debug_implementations, reason = "nobody looks at them but our benches")]
pub mod bench_internals;
#[cfg_attr(not(feature = "cli"), allow(unreachable_pub, reason = "for `command`"))]
mod config;
mod connection;
mod error;
mod event_loop;
mod feed;
mod gateway;
mod history;
mod hooks;
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
mod test_inflate;
#[cfg(test)]
mod test_radio;
#[cfg(test)]
mod test_random;
mod timers;
mod topics;
mod wire;

pub use access::{InvalidOrigin, Origin, OriginPolicy};
pub use error::{CloseReason, ConfigError, Error, ParseError};
pub use feed::LagPolicy;
pub use gateway::{
    AdoptError, AskError, Builder, ClientStream, Gateway, Handle, PublishError, Running, Stats,
    TransportStats,
};
pub use hooks::{Access, ClientId, ClientInfo, CloseCode, Denial, Event, Message, Request, Topics};
pub use intake::{CounterType, Decode};
pub use message::TopicFrom;
pub use metrics::Transport;
pub use net::ListenAddr;
pub use source::SocketKind;
pub use wire::{Format, Payload};
/// The crate whose contexts [`Builder::zmq_context`] takes, in the version that this one is built with.
#[doc(no_inline)]
pub use zmq;

/// What the command of this package needs besides: settings as they are typed. It changes without notice.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod command {
    pub use crate::config::{DEFAULT_BIND, Setting, Settings, flag_proposal};
}

/// Compiles and runs the Rust code in the handbook.
#[cfg(doctest)]
#[doc = include_str!("../docs/embed.md")]
#[doc = include_str!("../docs/publishers/README.md")]
struct Handbook;

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
