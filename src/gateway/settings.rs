//! Every setting of a gateway, as a method. What a value must be is not decided here.

use std::path::PathBuf;
use std::time::Duration;

use super::Builder;
use crate::access::OriginPolicy;
use crate::config::SiteConfig;
use crate::feed::LagPolicy;
use crate::intake::{Counter, CounterType, Decode};
use crate::message::TopicFrom;
use crate::net::ListenAddr;
use crate::source::{Attach, SocketKind};
use crate::wire::{Format, Payload};

/// # Upstream: ZeroMQ
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use zmq2ws::{CounterType, Decode, Gateway, SocketKind, TopicFrom};
///
/// Gateway::builder()
///     .connect("tcp://192.0.2.1:5556")
///     .bind("tcp://127.0.0.1:*")
///     .socket(SocketKind::Sub)
///     .subscribe(["weather.", "news."])
///     .on_demand(true)
///     .topic_from(TopicFrom::Part)
///     .decode(Decode::Gzip)
///     .sequence(2, CounterType::U32Le)
///     .rcvhwm(100_000)
///     .heartbeat(Duration::from_secs(10))
///     .max_message(1 << 20)
///     .check()?;
/// # Ok::<(), zmq2ws::Error>(())
/// ```
impl Builder {
    /// Adds a publisher to connect to: `tcp://HOST:PORT`, `ipc://PATH`, `inproc://NAME` with [`Self::zmq_context`], and
    /// `epgm://` or `pgm://` where libzmq has them. It need not be there yet, and is connected again whenever it comes back.
    /// Or a multicast group or address of this machine to which RADIO sockets send: `udp://GROUP:PORT`.
    pub fn connect(self, endpoint: &str) -> Self {
        self.endpoint("connect", endpoint, Attach::Connect)
    }

    /// Adds an endpoint to bind, so that any number of publishers connect here: `tcp://127.0.0.1:5556`, or with `*` for the
    /// port, which the system then chooses ([`Gateway::endpoints`](crate::Gateway::endpoints)).
    pub fn bind(self, endpoint: &str) -> Self {
        self.endpoint("bind", endpoint, Attach::Bind)
    }

    /// The ZeroMQ socket type. Default [`SocketKind::Sub`], for PUB and XPUB; [`SocketKind::Pull`] takes what PUSH sends.
    pub fn socket(self, kind: SocketKind) -> Self {
        self.set("socket", |config| config.socket = kind)
    }

    /// What to ask publishers for: topics that start with one of `prefixes`. Default everything, which is also what none at
    /// all means. What is not asked for does not cross the network.
    pub fn subscribe(self, prefixes: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        let mut prefixes: Vec<Vec<u8>> = prefixes.into_iter().map(Into::into).collect();
        if prefixes.is_empty() {
            prefixes.push(Vec::new());
        }
        self.set("subscribe", |config| config.subscribe = prefixes)
    }

    /// Whether to ask publishers only for what some client wants, within [`Self::subscribe`]. Default false: then history has
    /// what nobody wanted yet. Needs [`SocketKind::Sub`].
    pub fn on_demand(self, is_on: bool) -> Self {
        self.set("on-demand", |config| config.on_demand = is_on)
    }

    /// Where the topic of a message from ZeroMQ is. Default [`TopicFrom::Part`], as most publishers have it.
    pub fn topic_from(self, topic_from: TopicFrom) -> Self {
        self.set("topic-from", |config| config.topic_from = topic_from)
    }

    /// What the parts of a body from ZeroMQ are inflated from, each once for all clients. Default [`Decode::None`];
    /// all others need the Cargo feature `compress`.
    pub fn decode(self, decode: Decode) -> Self {
        self.set("decode", |config| config.decode = decode)
    }

    /// Which part of the body, counted from 1 to 4095, counts the messages of a topic, and how: where it skips, clients are
    /// told of a gap. Default none.
    pub fn sequence(self, part: usize, number: CounterType) -> Self {
        self.set("sequence", |config| config.sequence = Some(Counter { part, number }))
    }

    /// ZeroMQ's receive high-water mark: messages that may wait for each publisher, 1 or more. Default 10,000. Beyond it a
    /// PUB drops and a PUSH waits.
    pub fn rcvhwm(self, messages: usize) -> Self {
        self.set("rcvhwm", |config| config.rcvhwm = messages)
    }

    /// How often the host of a silent publisher is probed, by TCP keepalive, from 10 ms to 30 min (the kernel takes at least
    /// 1 s). After three probes without an answer the gateway reconnects. Default 5 s; zero turns it off.
    pub fn heartbeat(self, interval: Duration) -> Self {
        self.set("heartbeat", |config| config.heartbeat = interval)
    }

    /// The largest message, bytes of all parts, 1 to 1 GiB; a larger one is dropped, counted and logged. Default 16 MiB. At
    /// most half of [`Self::max_memory`].
    pub fn max_message(self, bytes: usize) -> Self {
        self.set("max-message", |config| config.message_bytes_max = bytes)
    }
}

/// # Downstream: clients
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use zmq2ws::{Format, Gateway, LagPolicy, Payload};
///
/// let builder = Gateway::builder()
///     .listen(([127, 0, 0, 1], 8080))
///     .reuse_port(true)
///     .path_prefix("/live")
///     .format(Format::Json)
///     .payload(Payload::Binary)
///     .history(10_000)
///     .history_bytes(32 << 20)
///     .last_value(true)
///     .last_value_topics(500)
///     .slow_client(LagPolicy::Conflate)
///     .max_lag(4 << 20)
///     .coalesce(Duration::from_millis(5));
/// builder.check()?;
/// # #[cfg(feature = "compress")]
/// let builder = builder.compress(true).compress_min(512);
/// // Files in place of the built-in page, or no page at all.
/// builder.www("www").no_www().check()?;
/// # Ok::<(), zmq2ws::Error>(())
/// ```
impl Builder {
    /// Adds an address where clients connect, such as `([127, 0, 0, 1], 8080)`, a [`SocketAddr`](std::net::SocketAddr) or a
    /// [`ListenAddr`]; port 0 lets the system choose ([`Gateway::listen_addresses`](crate::Gateway::listen_addresses)).
    pub fn listen(self, address: impl Into<ListenAddr>) -> Self {
        self.set("listen", |config| config.listen.push(address.into()))
    }

    /// Whether other processes may listen on the TCP ports of [`Self::listen`], too (SO_REUSEPORT), each with this; the kernel
    /// spreads clients over all. Default false. For one process per core.
    pub fn reuse_port(self, is_on: bool) -> Self {
        self.set("reuse-port", |config| config.reuse_port = is_on)
    }

    /// Serves https and wss at the TCP addresses of [`Self::listen`], those that a service manager passes included: the path of a
    /// PEM file with the certificate, and behind it those between it and the authority's. Needs [`Self::tls_key`] and the
    /// Cargo feature `tls`. Unix sockets, the listener of [`Self::metrics`] and connections that a host hands over stay as
    /// they are. [`Handle::reload_tls`](crate::Handle::reload_tls) reads it again.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// let running = zmq2ws::Gateway::builder()
    ///     .listen(([0, 0, 0, 0], 443))
    ///     .tls_cert("/etc/zmq2ws/fullchain.pem")
    ///     .tls_key("/etc/zmq2ws/privkey.pem")
    ///     .spawn()?;
    /// # Ok::<(), zmq2ws::Error>(())
    /// ```
    pub fn tls_cert(self, file: impl Into<PathBuf>) -> Self {
        self.set("tls-cert", |config| config.tls_cert = Some(file.into()))
    }

    /// The key of [`Self::tls_cert`]: the path of a PEM file, without a password. A warning in the log tells where everybody may
    /// read it.
    pub fn tls_key(self, file: impl Into<PathBuf>) -> Self {
        self.set("tls-key", |config| config.tls_key = Some(file.into()))
    }

    /// The message format of clients that ask for none. By default it is [`Format::Raw`] on WebSocket and [`Format::Json`] on
    /// event streams, where [`Format::Parts`] counts as JSON, too; polls have JSON only.
    pub fn format(self, format: Format) -> Self {
        self.set("format", |config| config.format = Some(format))
    }

    /// The WebSocket opcode of raw messages. Default [`Payload::Auto`].
    pub fn payload(self, payload: Payload) -> Self {
        self.set("payload", |config| config.payload = payload)
    }

    /// Messages kept for clients that come back, 0 to 100 million. Default 1,000; 0 keeps none.
    pub fn history(self, messages: usize) -> Self {
        self.set("history", |config| config.history_messages_max = messages)
    }

    /// Bytes of messages kept for clients that come back, 1 KiB or more, and as many again of last values where these are
    /// kept; whichever of this and [`Self::history`] is reached first. Default 8 MiB, or an eighth of [`Self::max_memory`]
    /// where that is less: it may not be more.
    pub fn history_bytes(self, bytes: usize) -> Self {
        self.set("history-bytes", |config| config.history_bytes_max = Some(bytes))
    }

    /// Whether a new client first gets the last message of each of its topics. Default false.
    pub fn last_value(self, is_on: bool) -> Self {
        self.set("last-value", |config| config.last_value = is_on)
    }

    /// Topics whose last message is kept, for [`Self::last_value`] and [`LagPolicy::Conflate`], 1 to 10 million. Default
    /// 10,000; beyond it the topic goes that was not updated for the longest time.
    pub fn last_value_topics(self, topics: usize) -> Self {
        self.set("last-value-topics", |config| config.last_value_topics_max = topics)
    }

    /// What happens to a client that lags more than [`Self::max_lag`]. Default [`LagPolicy::Skip`]: no client delays another.
    pub fn slow_client(self, policy: LagPolicy) -> Self {
        self.set("slow-client", |config| config.lag_policy = policy)
    }

    /// How many bytes one client may lag, 1 to 1 GiB. Default 1 MiB. A larger message still reaches every client that keeps
    /// up. At most half of [`Self::max_memory`], a quarter where last values are kept.
    pub fn max_lag(self, bytes: usize) -> Self {
        self.set("max-lag", |config| config.lag_bytes_max = bytes)
    }

    /// How long a message waits for more before they are sent together, from 100 µs to 1 s. Default zero, which sends at
    /// once; 5 ms take a quarter of the CPU at thousands of messages a second.
    pub fn coalesce(self, wait: Duration) -> Self {
        self.set("coalesce", |config| config.coalesce = wait)
    }

    /// Whether messages are deflated for WebSocket clients that offer permessage-deflate (RFC 7692), as browsers do; each
    /// message once for all of them. Default false: it takes 10 to 20 µs for each message of 1 KiB, which pays where
    /// bandwidth is scarce, or clients are many. Not for ZeroMQ's sockets on WebSocket, nor Socket.IO. Needs the Cargo
    /// feature `compress`.
    pub fn compress(self, is_on: bool) -> Self {
        self.set("compress", |config| config.compress = is_on)
    }

    /// Messages of fewer bytes are not deflated, 1 byte to 1 GiB. Default 256. Nor is one of more than 1 MiB, which would
    /// hold up everybody else, or that would not become smaller.
    pub fn compress_min(self, bytes: usize) -> Self {
        self.set("compress-min", |config| config.compress_bytes_min = bytes)
    }

    /// What every path of clients begins with, such as `/live`: WebSockets are then at `/live/ws` and, upgraded, at `/live`
    /// itself, event streams at `/live/sse`, and so on. Default empty. For connections that a host hands over by their path
    /// ([`Handle::adopt`](crate::Handle::adopt)): later requests on them are for the gateway, too, and what is not below the
    /// prefix gets 404. The listener of [`Self::metrics`] has no prefix.
    pub fn path_prefix(self, prefix: impl Into<String>) -> Self {
        self.set("path-prefix", |config| config.path_prefix = prefix.into())
    }

    /// Serves the files of a directory at `/`, in place of the built-in page.
    pub fn www(self, directory: impl Into<PathBuf>) -> Self {
        self.set("www", |config| config.site = SiteConfig::Directory(directory.into()))
    }

    /// Serves no page.
    pub fn no_www(self) -> Self {
        self.set("www", |config| config.site = SiteConfig::None)
    }
}

/// # Limits
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use zmq2ws::Gateway;
///
/// Gateway::builder()
///     .max_clients(20_000)
///     .max_clients_per_ip(50)
///     .max_topics(16)
///     .handshake_timeout(Duration::from_secs(5))
///     .keepalive_timeout(Duration::from_secs(30))
///     .ping_interval(Duration::from_secs(10))
///     .ping_timeout(Duration::from_secs(10))
///     .write_timeout(Duration::from_secs(20))
///     .max_memory(256 << 20)
///     .max_inbound(1 << 10)
///     .drain(Duration::from_secs(2))
///     .inbox_messages(50_000)
///     .inbox_bytes(64 << 20)
///     .check()?;
/// Gateway::builder().socket_io_recovery(true).check()?;
/// # Ok::<(), zmq2ws::Error>(())
/// ```
impl Builder {
    /// Clients that get messages at a time, 1 to 10 million; more get 503 with `Retry-After`. Each takes a descriptor: at most
    /// as many are let in as the process may have beside what is open when the gateway is built, and some for others. The
    /// log tells when that is fewer. Gateways of one process do not count each other's clients that are yet to come.
    ///
    /// By default as many as there are descriptors for, up to 100,000, and nothing of the process is changed. **Set it, and
    /// [`Self::build`] raises RLIMIT_NOFILE to fit**, as far as the hard limit allows: for the whole process and what it
    /// starts, also where `select` is used, which knows no descriptor above 1023.
    pub fn max_clients(self, clients: usize) -> Self {
        self.set("max-clients", |config| config.clients_max = clients)
    }

    /// Connections from one address at a time, adopted ones included; more get 503. Default 0, which is no limit: behind a
    /// proxy all have one address.
    pub fn max_clients_per_ip(self, connections: usize) -> Self {
        self.set("max-clients-per-ip", |config| config.clients_per_ip_max = connections)
    }

    /// Topics that one client may ask for, 1 to 65,536; who asks for more gets 400. Default 128.
    pub fn max_topics(self, topics: usize) -> Self {
        self.set("max-topics", |config| config.topics_max = topics)
    }

    /// Whether a Socket.IO client that comes back goes on where it was: its messages then have an offset as the last argument.
    /// Default false.
    pub fn socket_io_recovery(self, is_on: bool) -> Self {
        self.set("socket-io-recovery", |config| config.socket_io_recovery = is_on)
    }

    /// For a whole request to arrive, from 1 ms to a day, as all timeouts here. Default 10 s.
    pub fn handshake_timeout(self, timeout: Duration) -> Self {
        self.set("handshake-timeout", |config| config.handshake_timeout = timeout)
    }

    /// Between two requests on one connection. Default 60 s.
    pub fn keepalive_timeout(self, timeout: Duration) -> Self {
        self.set("keepalive-timeout", |config| config.keepalive_timeout = timeout)
    }

    /// Between two pings to a WebSocket, or comments on an event stream. Default 25 s: below the 30 s after which some
    /// proxies close.
    pub fn ping_interval(self, interval: Duration) -> Self {
        self.set("ping-interval", |config| config.ping_interval = interval)
    }

    /// For the answer to a ping. Default 20 s.
    pub fn ping_timeout(self, timeout: Duration) -> Self {
        self.set("ping-timeout", |config| config.ping_timeout = timeout)
    }

    /// A client that accepts no byte for so long is closed. Default 30 s.
    pub fn write_timeout(self, timeout: Duration) -> Self {
        self.set("write-timeout", |config| config.write_timeout = timeout)
    }

    /// All feeds, history and sessions together, 64 KiB to 1 TiB. Default 512 MiB; above it those that lag most are skipped
    /// or closed first, and told.
    pub fn max_memory(self, bytes: usize) -> Self {
        self.set("max-memory", |config| config.memory_bytes_max = bytes)
    }

    /// The largest message of a client, 1 byte to 1 GiB; a larger one closes with 1009. Default 4 KiB: what clients send
    /// goes nowhere.
    pub fn max_inbound(self, bytes: usize) -> Self {
        self.set("max-inbound", |config| config.inbound_bytes_max = bytes)
    }

    /// How long [`Handle::shutdown`](crate::Handle::shutdown) may take, up to a day. Default 5 s; zero cuts everybody off.
    pub fn drain(self, timeout: Duration) -> Self {
        self.set("drain", |config| config.drain = timeout)
    }

    /// Messages that may wait in [`Handle::publish`](crate::Handle::publish) for the loop, 1 to 10 million. Default 10,000,
    /// as ZeroMQ's own queues hold.
    pub fn inbox_messages(self, messages: usize) -> Self {
        self.set("inbox-messages", |config| config.inbox_messages_max = messages)
    }

    /// Bytes of those messages, 1 KiB to 4 GiB, beside [`Self::max_memory`]: their topics, their parts, and 4 for each part.
    /// Default 8 MiB. No published message can be larger.
    pub fn inbox_bytes(self, bytes: usize) -> Self {
        self.set("inbox-bytes", |config| config.inbox_bytes_max = bytes)
    }
}

/// # Access and operation
///
/// # Examples
///
/// ```
/// use zmq2ws::{Gateway, OriginPolicy};
///
/// Gateway::builder()
///     .origin(OriginPolicy::from_entries(["https://dashboard.example.com"])?)
///     .metrics(([127, 0, 0, 1], 9100))
///     .check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl Builder {
    /// Which browsers' pages may connect. Default [`OriginPolicy::SameHost`]. It is no authentication: that is
    /// [`Self::authorize`].
    pub fn origin(self, policy: OriginPolicy) -> Self {
        self.set("origin", |config| config.origin = policy)
    }

    /// A listener of its own for `/metrics`, `/healthz` and `/readyz`, to whom metrics are then served whoever asks. By default
    /// they are where clients connect, metrics for loopback peers only.
    pub fn metrics(self, address: impl Into<ListenAddr>) -> Self {
        self.set("metrics", |config| config.metrics = Some(address.into()))
    }
}
