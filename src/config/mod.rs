//! Everything that can be set, typed, with its defaults and their bounds. Knows nothing of flags, files or variables.

mod layers;
mod memory;
mod resolve;
mod security;
mod settings;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use crate::access::OriginPolicy;
use crate::feed::LagPolicy;
use crate::intake::{Counter, Decode};
use crate::message::TopicFrom;
use crate::net::ListenAddr;
use crate::source::{Endpoint, Security, SocketKind};
use crate::wire::{Format, Payload};

#[cfg(fuzzing)]
pub(crate) use layers::fuzz_config;
pub use resolve::DEFAULT_BIND;
pub use settings::Settings;
pub use values::Text;

/// A validated configuration. Each field names the flag that sets it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// `--connect`, `--bind`: the upstream endpoints, each served by a socket of its own.
    pub endpoints: Vec<Endpoint>,
    /// `--socket`: the ZeroMQ socket type.
    pub socket: SocketKind,
    /// `--subscribe`: prefixes to ask publishers for; never empty, the empty prefix is everything.
    pub subscribe: Vec<Vec<u8>>,
    /// `--on-demand`: to ask publishers only for what some client wants, within [`Self::subscribe`]. Needs
    /// [`SocketKind::Sub`].
    pub on_demand: bool,
    /// `--topic-from`: where the topic is.
    pub topic_from: TopicFrom,
    /// `--decode`: what the parts of a body are inflated from.
    pub decode: Decode,
    /// `--sequence`: where a message has the counter that tells what was lost upstream.
    pub sequence: Option<Counter>,
    /// `--rcvhwm`: ZeroMQ's receive high-water mark, messages, per peer; 1 or more.
    pub rcvhwm: i32,
    /// `--heartbeat`: ZeroMQ heartbeat interval; zero turns heartbeats off.
    pub heartbeat: Duration,
    /// `--curve-…`, `--plain-…`: the security of all endpoints. [`Gateway::new`](crate::Gateway::new) refuses an endpoint
    /// that cannot have it.
    pub security: Security,
    /// `--max-message`: larger upstream messages are dropped, bytes over all parts.
    pub message_bytes_max: usize,

    /// `--listen`: where clients connect.
    pub listen: Vec<ListenAddr>,
    /// `--reuse-port`: whether other processes may listen on the TCP ports of [`Self::listen`], too (SO_REUSEPORT).
    pub reuse_port: bool,
    /// `--format`: the default message format; `None` is [`Format::Raw`] on WebSocket and [`Format::Json`] on `/sse`.
    /// Events have no [`Format::Parts`]: there it is [`Format::Json`] as well.
    pub format: Option<Format>,
    /// `--payload`: the opcode of raw messages.
    pub payload: Payload,
    /// `--history`: messages kept for clients that come back; 0 keeps none.
    pub history_messages_max: usize,
    /// `--history-bytes`: bytes of messages kept for them, and as many again of last values where those are kept
    /// ([`Self::keeps_last_values`]); at most an eighth of [`Self::memory_bytes_max`], which they are a part of.
    pub history_bytes_max: usize,
    /// `--last-value`: whether a new client first gets the last message of each topic.
    pub last_value: bool,
    /// `--last-value-topics`: topics whose last message is kept; 1 or more.
    pub last_value_topics_max: usize,
    /// `--slow-client`: what happens to a client that lags more than [`Self::lag_bytes_max`].
    pub lag_policy: LagPolicy,
    /// `--max-lag`: how far one client may lag, bytes.
    pub lag_bytes_max: usize,
    /// `--coalesce`: how long a message waits for more before they are sent together; zero sends at once.
    pub coalesce: Duration,
    /// `--www`, `--no-www`: the static files.
    pub site: SiteConfig,

    /// `--max-clients`: more get 503.
    pub clients_max: usize,
    /// `--max-clients-per-ip`: connections from one address; 0 is no limit.
    pub clients_per_ip_max: usize,
    /// `--max-topics`: topics that one client may ask for.
    pub topics_max: usize,
    /// `--socket-io-recovery`: whether a Socket.IO client that comes back goes on where it was.
    pub socket_io_recovery: bool,
    /// `--handshake-timeout`: for a whole request to arrive.
    pub handshake_timeout: Duration,
    /// `--keepalive-timeout`: between two requests on one connection.
    pub keepalive_timeout: Duration,
    /// `--ping-interval`: between two pings to a client.
    pub ping_interval: Duration,
    /// `--ping-timeout`: for the answer to a ping.
    pub ping_timeout: Duration,
    /// `--write-timeout`: a client that accepts no byte for so long is closed.
    pub write_timeout: Duration,
    /// `--max-memory`: all feeds, history and sessions together, bytes.
    pub memory_bytes_max: usize,
    /// `--max-inbound`: a client's message, bytes.
    pub inbound_bytes_max: usize,
    /// `--drain`: how long stopping may take.
    pub drain: Duration,

    /// `--origin`: which browsers' pages may connect.
    pub origin: OriginPolicy,
    /// `--metrics`: a listener of its own for metrics and health.
    pub metrics: Option<ListenAddr>,
}

impl Config {
    /// Whether somebody may need the last message of each topic.
    pub fn keeps_last_values(&self) -> bool {
        self.last_value || self.lag_policy == LagPolicy::Conflate
    }
}

/// Where the page comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SiteConfig {
    /// The page inside the program.
    BuiltIn,
    /// The files of a directory (`--www`).
    Directory(PathBuf),
    /// No page (`--no-www`).
    None,
}

impl Default for Config {
    /// What `zmq2ws` without flags does.
    fn default() -> Self {
        Settings::default().into_config().expect("the defaults are valid")
    }
}
