//! Every setting once, as text: a flag, a variable and a key in the file at the same time. Knows no
//! value's meaning.

use std::collections::BTreeMap;

use crate::config::layers::Layer;
use crate::config::values::Text;

/// The groups of `--help`.
#[cfg(feature = "cli")]
mod heading {
    pub(super) const UPSTREAM: &str = "Upstream (ZeroMQ)";
    pub(super) const DOWNSTREAM: &str = "Downstream (clients)";
    pub(super) const LIMITS: &str = "Limits";
    pub(super) const ACCESS: &str = "Access";
    pub(super) const OPERATION: &str = "Operation";
}
#[cfg(feature = "cli")]
use heading::{ACCESS, DOWNSTREAM, LIMITS, OPERATION, UPSTREAM};

/// Makes [`Settings`] of its fields. What is in `arg` is for clap, and is left out of a library without the command.
macro_rules! settings {
    ($($(#[doc = $doc:tt])* $(#[arg($($arg:tt)*)])* pub $name:ident: $type:ty,)*) => {
        /// Every setting as it was typed: each field is a flag (`--max-lag`), a variable (`ZMQ2WS_MAX_LAG`)
        /// and a key in the TOML file (`max-lag`). `None` is the default.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "cli", derive(clap::Args))]
        #[non_exhaustive]
        pub struct Settings {
            $($(#[doc = $doc])* $(#[cfg_attr(feature = "cli", arg($($arg)*))])* pub $name: $type,)*

            /// Where each setting came from, by name; what is absent came from a flag, or from code.
            #[cfg_attr(feature = "cli", arg(skip))]
            pub(super) layers: BTreeMap<String, Layer>,
        }

        impl Settings {
            /// Every setting by its name, which is that of its flag.
            pub(super) fn slots(&mut self) -> BTreeMap<String, Slot<'_>> {
                BTreeMap::from([$((stringify!($name).replace('_', "-"), Slot::from(&mut self.$name)),)*])
            }
        }
    };
}

/// The place of one setting.
#[derive(Debug)]
pub(super) enum Slot<'a> {
    One(&'a mut Option<Text>),
    List(&'a mut Option<Vec<Text>>),
}

impl<'a> From<&'a mut Option<Text>> for Slot<'a> {
    fn from(text: &'a mut Option<Text>) -> Self {
        Self::One(text)
    }
}

impl<'a> From<&'a mut Option<Vec<Text>>> for Slot<'a> {
    fn from(texts: &'a mut Option<Vec<Text>>) -> Self {
        Self::List(texts)
    }
}

settings! {
    /// Connect to a publisher: tcp://HOST:PORT or ipc://PATH; or listen to what RADIO sockets send to a multicast group
    /// or to this machine: udp://GROUP:PORT, udp://INTERFACE;GROUP:PORT or udp://ADDRESS:PORT (repeatable)
    #[arg(short, long, value_name = "ENDPOINT", help_heading = UPSTREAM)]
    pub connect: Option<Vec<Text>>,
    /// Bind, so that any number of producers connect here (repeatable) [default:
    /// tcp://127.0.0.1:5556 when neither --connect nor --bind is given]
    #[arg(short, long, value_name = "ENDPOINT", help_heading = UPSTREAM)]
    pub bind: Option<Vec<Text>>,
    /// ZeroMQ socket type [default: sub]
    #[arg(long, value_name = "sub|pull", help_heading = UPSTREAM)]
    pub socket: Option<Text>,
    /// What to ask publishers for: topics that start with PREFIX (repeatable) [default: everything]
    #[arg(short, long, value_name = "PREFIX", help_heading = UPSTREAM)]
    pub subscribe: Option<Vec<Text>>,
    /// Ask publishers only for what some client wants, within --subscribe [default: false]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_name = "true|false", help_heading = UPSTREAM)]
    pub on_demand: Option<Text>,
    /// Where the topic is: the first of several parts, nowhere, or before a character such as ':'
    /// [default: part]
    #[arg(long, value_name = "part|none|CHAR", help_heading = UPSTREAM)]
    pub topic_from: Option<Text>,
    /// Inflate each part of a body once, here; auto: gzip and zlib, by how a part begins. What does not inflate, or to
    /// more than --max-message, is passed on as it came [default: none]
    #[arg(long, value_name = "none|zlib|gzip|auto", help_heading = UPSTREAM)]
    pub decode: Option<Text>,
    /// A part of the body that counts the messages of a topic: where it skips, clients are told that messages were lost
    /// before the gateway. PART counts from 1; TYPE is u32le, u64le, u32be or u64be; 2:u32le for Bitcoin Core
    #[arg(long, value_name = "PART:TYPE", help_heading = UPSTREAM)]
    pub sequence: Option<Text>,
    /// ZeroMQ receive high-water mark, messages per publisher [default: 10000]
    #[arg(long, value_name = "N", help_heading = UPSTREAM)]
    pub rcvhwm: Option<Text>,
    /// How often the host of a silent publisher is probed; after three probes without an answer the
    /// gateway reconnects; 0 turns it off [default: 5s]
    #[arg(long, value_name = "DURATION", help_heading = UPSTREAM)]
    pub heartbeat: Option<Text>,
    /// Larger upstream messages are dropped, counted and logged [default: 16MiB]
    #[arg(long, value_name = "BYTES", help_heading = UPSTREAM)]
    pub max_message: Option<Text>,
    /// CURVE: the public key of the publisher, in Z85, with --connect
    #[arg(long, allow_hyphen_values = true, value_name = "KEY", help_heading = UPSTREAM)]
    pub curve_server_key: Option<Text>,
    /// CURVE: this gateway's public key, in Z85, to check that it belongs to --curve-secret-key-file [default: made from
    /// the secret key]
    #[arg(long, allow_hyphen_values = true, value_name = "KEY", help_heading = UPSTREAM)]
    pub curve_public_key: Option<Text>,
    /// CURVE: this gateway's secret key: a file with 40 characters of Z85, or a certificate of CZMQ or pyzmq. With --bind,
    /// publishers have to connect with CURVE, and with its public key as their server key; whoever knows that may publish
    #[arg(long, value_name = "FILE", help_heading = UPSTREAM)]
    pub curve_secret_key_file: Option<Text>,
    /// PLAIN: the user that publishers are told, with --connect; nothing is encrypted
    #[arg(long, value_name = "USER", help_heading = UPSTREAM)]
    pub plain_user: Option<Text>,
    /// PLAIN: a file with the user's password
    #[arg(long, value_name = "FILE", help_heading = UPSTREAM)]
    pub plain_password_file: Option<Text>,

    /// Where clients connect: HOST:PORT (IPv6 in brackets, and IPv6 only), unix:PATH, or systemd
    /// for an inherited socket (repeatable) [default: 127.0.0.1:8080]
    #[arg(short, long, value_name = "ADDR", help_heading = DOWNSTREAM)]
    pub listen: Option<Vec<Text>>,
    /// Share the TCP ports of --listen with other processes that do so, too (SO_REUSEPORT): one per core [default: false]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_name = "true|false", help_heading = DOWNSTREAM)]
    pub reuse_port: Option<Text>,
    /// Serve https and wss at the TCP addresses of --listen: a PEM file with the certificate, and those between it and
    /// the authority's behind it. SIGHUP reads it again, and --tls-key
    #[arg(long, value_name = "FILE", help_heading = DOWNSTREAM)]
    pub tls_cert: Option<Text>,
    /// The key of --tls-cert: a PEM file, without a password
    #[arg(long, value_name = "FILE", help_heading = DOWNSTREAM)]
    pub tls_key: Option<Text>,
    /// Default message format; a client may choose with ?format= [default: raw on WebSocket, json
    /// on SSE]
    #[arg(long, value_name = "raw|json|parts", help_heading = DOWNSTREAM)]
    pub format: Option<Text>,
    /// WebSocket opcode of raw messages; auto and text: text when valid UTF-8, which WebSocket demands,
    /// else binary [default: auto]
    #[arg(long, value_name = "auto|text|binary", help_heading = DOWNSTREAM)]
    pub payload: Option<Text>,
    /// Messages kept for clients that come back with since=; 0 keeps none [default: 1000]
    #[arg(long, value_name = "N", help_heading = DOWNSTREAM)]
    pub history: Option<Text>,
    /// Bytes of messages kept for them, and as many again of last values, out of --max-memory [default:
    /// 8MiB, or an eighth of --max-memory where that is less]
    #[arg(long, value_name = "BYTES", help_heading = DOWNSTREAM)]
    pub history_bytes: Option<Text>,
    /// A new client first gets the last message of each topic that it asks for [default: false]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_name = "true|false", help_heading = DOWNSTREAM)]
    pub last_value: Option<Text>,
    /// Topics whose last message is kept, for --last-value and --slow-client conflate [default: 10000]
    #[arg(long, value_name = "N", help_heading = DOWNSTREAM)]
    pub last_value_topics: Option<Text>,
    /// What happens to a client that lags more than --max-lag: it goes on with the newest message, gets the
    /// last message of each topic that it missed first, or is closed [default: skip]
    #[arg(long, value_name = "skip|conflate|disconnect", help_heading = DOWNSTREAM)]
    pub slow_client: Option<Text>,
    /// How far one client may lag; a larger message still reaches every client that keeps up
    /// [default: 1MiB]
    #[arg(long, value_name = "BYTES", help_heading = DOWNSTREAM)]
    pub max_lag: Option<Text>,
    /// Wait so long for more messages before sending: less CPU for a little latency; up to 1s [default: 0]
    #[arg(long, value_name = "DURATION", help_heading = DOWNSTREAM)]
    pub coalesce: Option<Text>,
    /// Deflate messages for WebSocket clients that offer permessage-deflate, each message once for all of them
    /// [default: false]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_name = "true|false", help_heading = DOWNSTREAM)]
    pub compress: Option<Text>,
    /// Shorter messages are sent to them as they are [default: 256]
    #[arg(long, value_name = "BYTES", help_heading = DOWNSTREAM)]
    pub compress_min: Option<Text>,
    /// Let a Socket.IO client that comes back go on where it was [default: false]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_name = "true|false", help_heading = DOWNSTREAM)]
    pub socket_io_recovery: Option<Text>,
    /// Serve the files of DIR at / [default: the built-in page]
    #[arg(long, value_name = "DIR", help_heading = DOWNSTREAM)]
    pub www: Option<Text>,
    /// Serve no page [default: false]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_name = "true|false", help_heading = DOWNSTREAM)]
    pub no_www: Option<Text>,

    /// More clients get 503 [default: 100000]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub max_clients: Option<Text>,
    /// Connections from one address; 0 is no limit [default: 0]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub max_clients_per_ip: Option<Text>,
    /// Topics that one client may ask for [default: 128]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub max_topics: Option<Text>,
    /// For a whole request to arrive [default: 10s]
    #[arg(long, value_name = "DURATION", help_heading = LIMITS)]
    pub handshake_timeout: Option<Text>,
    /// Between two requests on one connection [default: 60s]
    #[arg(long, value_name = "DURATION", help_heading = LIMITS)]
    pub keepalive_timeout: Option<Text>,
    /// Between two pings to a client [default: 25s]
    #[arg(long, value_name = "DURATION", help_heading = LIMITS)]
    pub ping_interval: Option<Text>,
    /// For the answer to a ping [default: 20s]
    #[arg(long, value_name = "DURATION", help_heading = LIMITS)]
    pub ping_timeout: Option<Text>,
    /// A client that accepts no byte for so long is closed [default: 30s]
    #[arg(long, value_name = "DURATION", help_heading = LIMITS)]
    pub write_timeout: Option<Text>,
    /// All feeds, history and sessions together; above it those that lag most are skipped or closed first
    /// [default: 512MiB]
    #[arg(long, value_name = "BYTES", help_heading = LIMITS)]
    pub max_memory: Option<Text>,
    /// A client's message; a larger one closes its connection [default: 4KiB]
    #[arg(long, value_name = "BYTES", help_heading = LIMITS)]
    pub max_inbound: Option<Text>,
    /// How long stopping may take, on SIGTERM or SIGINT [default: 5s]
    #[arg(long, value_name = "DURATION", help_heading = LIMITS)]
    pub drain: Option<Text>,

    /// Allow browsers' pages of this origin; * allows all (repeatable) [default: same host only,
    /// and requests without Origin]
    #[arg(long, value_name = "ORIGIN", help_heading = ACCESS)]
    pub origin: Option<Vec<Text>>,

    /// A listener of its own for /metrics, /healthz and /readyz [default: --listen, only to
    /// loopback peers]
    #[arg(long, value_name = "ADDR", help_heading = OPERATION)]
    pub metrics: Option<Text>,
    /// What to log to standard error: off, error, warn, info, debug, trace, or MODULE=LEVEL,…
    /// [default: info]
    #[arg(long, value_name = "FILTER", help_heading = OPERATION)]
    pub log: Option<Text>,
    /// How log lines look [default: text]
    #[arg(long, value_name = "text|json", help_heading = OPERATION)]
    pub log_format: Option<Text>,
    /// Read settings from a TOML file, whose keys are the flags' long names
    #[arg(long, value_name = "FILE", help_heading = OPERATION)]
    pub config: Option<Text>,
    /// Check all settings, and exit [default: false]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_name = "true|false", help_heading = OPERATION)]
    pub check: Option<Text>,
    /// Publish made-up messages from inside the process, through a real ZeroMQ socket [default:
    /// false]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_name = "true|false", help_heading = OPERATION)]
    pub demo: Option<Text>,
}
