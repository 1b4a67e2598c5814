//! Everything that can be set, typed, with its defaults and their bounds. Knows nothing of flags, files or variables.

mod bounds;
mod check;
#[cfg(feature = "cli")]
mod command;
mod layers;
mod resolve;
mod security;
mod settings;
mod tls;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use crate::access::OriginPolicy;
use crate::feed::LagPolicy;
use crate::intake::{Counter, Decode};
use crate::message::TopicFrom;
use crate::net::ListenAddr;
use crate::source::{Endpoint, SocketKind};
use crate::wire::{Format, Payload};

pub(crate) use bounds::Invalid;
#[cfg(feature = "cli")]
pub use command::DEFAULT_BIND;
#[cfg(fuzzing)]
pub(crate) use layers::fuzz_config;
pub(crate) use security::{GivenSecret, SecurityConfig};
pub use settings::Settings;
pub(crate) use tls::{Loaded, TlsFiles};
#[cfg(feature = "cli")]
pub use values::Text;

/// What a gateway is to be. Each field names the flag that sets it.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// `--connect`, `--bind`: the upstream endpoints, each served by a socket of its own.
    pub(crate) endpoints: Vec<Endpoint>,
    /// `--socket`: the ZeroMQ socket type.
    pub(crate) socket: SocketKind,
    /// `--subscribe`: prefixes to ask publishers for; never empty, the empty prefix is everything.
    pub(crate) subscribe: Vec<Vec<u8>>,
    /// `--on-demand`: to ask publishers only for what some client wants, within [`Self::subscribe`]. Needs
    /// [`SocketKind::Sub`].
    pub(crate) on_demand: bool,
    /// `--topic-from`: where the topic is.
    pub(crate) topic_from: TopicFrom,
    /// `--decode`: what the parts of a body are inflated from. All but [`Decode::None`] needs the Cargo feature
    /// `compress`.
    pub(crate) decode: Decode,
    /// `--sequence`: where a message has the counter that tells what was lost upstream.
    pub(crate) sequence: Option<Counter>,
    /// `--rcvhwm`: ZeroMQ's receive high-water mark, messages, per peer; 1 or more.
    pub(crate) rcvhwm: usize,
    /// `--heartbeat`: how often a silent publisher's host is probed; zero turns it off.
    pub(crate) heartbeat: Duration,
    /// `--curve-…`, `--plain-…`: the security of all endpoints.
    pub(crate) security: SecurityConfig,
    /// `--max-message`: larger upstream messages are dropped, bytes over all parts.
    pub(crate) message_bytes_max: usize,

    /// `--listen`: where clients connect.
    pub(crate) listen: Vec<ListenAddr>,
    /// `--reuse-port`: whether other processes may listen on the TCP ports of [`Self::listen`], too (SO_REUSEPORT).
    pub(crate) reuse_port: bool,
    /// `--tls-cert`, `--tls-key`: the certificate, and its key, for the TCP addresses of [`Self::listen`]; both or none. Need
    /// the Cargo feature `tls`.
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    /// `--format`: the default message format; `None` is [`Format::Raw`] on WebSocket and [`Format::Json`] on `/sse`.
    /// Events have no [`Format::Parts`]: there it is [`Format::Json`] as well.
    pub(crate) format: Option<Format>,
    /// `--payload`: the opcode of raw messages.
    pub(crate) payload: Payload,
    /// `--history`: messages kept for clients that come back; 0 keeps none.
    pub(crate) history_messages_max: usize,
    /// `--history-bytes`: [`Self::history_bytes`], where given.
    pub(crate) history_bytes_max: Option<usize>,
    /// `--last-value`: whether a new client first gets the last message of each topic.
    pub(crate) last_value: bool,
    /// `--last-value-topics`: topics whose last message is kept; 1 or more.
    pub(crate) last_value_topics_max: usize,
    /// `--slow-client`: what happens to a client that lags more than [`Self::lag_bytes_max`].
    pub(crate) lag_policy: LagPolicy,
    /// `--max-lag`: how far one client may lag, bytes.
    pub(crate) lag_bytes_max: usize,
    /// `--coalesce`: how long a message waits for more before they are sent together; zero sends at once.
    pub(crate) coalesce: Duration,
    /// `--compress`: whether messages are deflated for WebSocket clients that offer it (permessage-deflate), each once for
    /// all of them. Needs the Cargo feature `compress`.
    pub(crate) compress: bool,
    /// `--compress-min`: shorter messages are sent to them as they are, bytes; 1 or more.
    pub(crate) compress_bytes_min: usize,
    /// `--www`, `--no-www`: the static files.
    pub(crate) site: SiteConfig,

    /// `--max-clients`: more get 503.
    pub(crate) clients_max: usize,
    /// `--max-clients-per-ip`: connections from one address; 0 is no limit.
    pub(crate) clients_per_ip_max: usize,
    /// `--max-topics`: topics that one client may ask for.
    pub(crate) topics_max: usize,
    /// `--socket-io-recovery`: whether a Socket.IO client that comes back goes on where it was.
    pub(crate) socket_io_recovery: bool,
    /// `--handshake-timeout`: for a whole request to arrive.
    pub(crate) handshake_timeout: Duration,
    /// `--keepalive-timeout`: between two requests on one connection.
    pub(crate) keepalive_timeout: Duration,
    /// `--ping-interval`: between two pings to a client.
    pub(crate) ping_interval: Duration,
    /// `--ping-timeout`: for the answer to a ping.
    pub(crate) ping_timeout: Duration,
    /// `--write-timeout`: a client that accepts no byte for so long is closed.
    pub(crate) write_timeout: Duration,
    /// `--max-memory`: all feeds, history and sessions together, bytes.
    pub(crate) memory_bytes_max: usize,
    /// `--max-inbound`: a client's message, bytes.
    pub(crate) inbound_bytes_max: usize,
    /// `--drain`: how long stopping may take.
    pub(crate) drain: Duration,

    /// `--origin`: which browsers' pages may connect.
    pub(crate) origin: OriginPolicy,
    /// `--metrics`: a listener of its own for metrics and health.
    pub(crate) metrics: Option<ListenAddr>,

    /// What every path begins with: empty, or `/` and a name, without a slash at its end.
    pub(crate) path_prefix: String,
    /// Messages, and their bytes, that the host program may publish ahead of the loop.
    pub(crate) inbox_messages_max: usize,
    pub(crate) inbox_bytes_max: usize,
}

/// Where the page comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SiteConfig {
    /// The page inside the program.
    BuiltIn,
    /// The files of a directory (`--www`).
    Directory(PathBuf),
    /// No page (`--no-www`).
    None,
}

impl Default for Config {
    /// Nothing is opened; everything else is what `zmq2ws` without flags does.
    fn default() -> Self {
        Settings::default().to_config().expect("the defaults can be read")
    }
}
