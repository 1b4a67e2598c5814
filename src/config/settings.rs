//! Declares each setting once. The flag, the variable, the key in the file, the help, the field of [`Config`] and the
//! method of the builder come from its entry.
//!
//! An entry of [`with_settings`] reads:
//!
//! ```text
//! name ['short']: "VALUE" = "default" reload,
//!     "help",
//!     field: Type = kind, which reads and bounds the value
//!     /// documentation of the method
//!     fn(argument: Type) = value of the field;
//! ```
//!
//! `*` behind VALUE marks a list. `reload` marks what SIGHUP reads again. The lines of the field and of the method may be
//! absent: the command's own settings have no field, and the builder has the other methods in its own file.

use std::path::PathBuf;
use std::time::Duration;

use crate::access::OriginPolicy;
use crate::config::given::Settings;
use crate::config::kinds::{
    Count, Each, Kind, MESSAGE_BYTES, Maybe, Origins, Prefixes, SecretFile, Size, Span, Switch,
    TIMEOUT, millis, parsed, seconds,
};
use crate::config::security::GivenSecret;
use crate::error::ConfigError;
use crate::feed::LagPolicy;
use crate::intake::{Counter, Decode};
use crate::message::TopicFrom;
use crate::net::ListenAddr;
use crate::source::{Attach, Endpoint, SocketKind};
use crate::wire::{Format, Payload};

/// Hands all settings to the macro `callback`.
macro_rules! with_settings {
    ($callback:ident) => {
        $callback! {
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
            "Upstream (ZeroMQ)" {
                connect ['c']: "ENDPOINT*" = "",
                    "Connect to a publisher: tcp://HOST:PORT or ipc://PATH; or listen to what RADIO sockets send to a \
                     multicast group or to this machine: udp://GROUP:PORT, udp://INTERFACE;GROUP:PORT or \
                     udp://ADDRESS:PORT";
                bind ['b']: "ENDPOINT*" = "tcp://127.0.0.1:5556 when neither --connect nor --bind is given",
                    "Bind, so that any number of producers connect here";
                socket: "sub|pull" = "sub",
                    "ZeroMQ socket type",
                    socket: SocketKind = parsed::<SocketKind>(),
                    /// The ZeroMQ socket type. Default [`SocketKind::Sub`], for PUB and XPUB; [`SocketKind::Pull`] takes what PUSH sends.
                    fn(kind: SocketKind) = kind;
                subscribe ['s']: "PREFIX*" = "everything",
                    "What to ask publishers for: topics that start with PREFIX",
                    subscribe: Vec<Vec<u8>> = Prefixes,
                    /// What to ask publishers for: topics that start with one of `prefixes`. Default everything, which is also what none at
                    /// all means. What is not asked for does not cross the network.
                    fn(prefixes: impl IntoIterator<Item = impl Into<Vec<u8>>>) = prefixes_or_all(prefixes);
                on_demand: "true|false" = "false",
                    "Ask publishers only for what some client wants, within --subscribe",
                    on_demand: bool = Switch,
                    /// Whether to ask publishers only for what some client wants, within [`Self::subscribe`]. Default false: then history has
                    /// what nobody wanted yet. Needs [`SocketKind::Sub`].
                    fn(is_on: bool) = is_on;
                topic_from: "part|none|CHAR" = "part",
                    "Where the topic is: the first of several parts, nowhere, or before a character such as ':'",
                    topic_from: TopicFrom = parsed::<TopicFrom>(),
                    /// Where the topic of a message from ZeroMQ is. Default [`TopicFrom::Part`], as most publishers have it.
                    fn(topic_from: TopicFrom) = topic_from;
                decode: "none|zlib|gzip|auto" = "none",
                    "Inflate each part of a body once, here; auto: gzip and zlib, by how a part begins. What does not \
                     inflate, or to more than --max-message, is passed on as it came",
                    decode: Decode = parsed::<Decode>(),
                    /// What the parts of a body from ZeroMQ are inflated from, each once for all clients. Default [`Decode::None`];
                    /// all others need the Cargo feature `compress`.
                    fn(decode: Decode) = decode;
                sequence: "PART:TYPE" = "",
                    "A part of the body that counts the messages of a topic: where it skips, clients get a gap notice: \
                     messages were lost before the gateway. PART counts from 1; TYPE is u32le, u64le, u32be or u64be; \
                     2:u32le for Bitcoin Core",
                    sequence: Option<Counter> = Maybe(parsed::<Counter>()),
                    /// Which part of the body, counted from 1 to 4095, counts the messages of a topic, and how: where it skips, clients are
                    /// told of a gap. Default none.
                    fn(part: usize, number: CounterType) = Some(Counter { part, number });
                // ZeroMQ takes an int, and reads 0 as "no limit".
                rcvhwm: "N" = "10000",
                    "ZeroMQ receive high-water mark, messages per publisher",
                    rcvhwm: usize = Count(1..=i32::MAX as usize),
                    /// ZeroMQ's receive high-water mark: messages that may wait for each publisher, 1 or more. Default 10,000. Beyond it a
                    /// PUB drops and a PUSH waits.
                    fn(messages: usize) = messages;
                // Linux probes every 32,767 s at most, and counts in seconds.
                heartbeat: "DURATION" = "5s",
                    "How often the host of a silent publisher is probed, by TCP keepalive; after three probes without an answer the gateway reconnects; 0 turns it off",
                    heartbeat: Duration = Span::or_zero(millis(10)..=seconds(1_800)),
                    /// How often the host of a silent publisher is probed, by TCP keepalive, from 10 ms to 30 min (the kernel takes at least
                    /// 1 s). After three probes without an answer the gateway reconnects. Default 5 s; zero turns it off.
                    fn(interval: Duration) = interval;
                max_message: "BYTES" = "16MiB",
                    "Larger upstream messages are dropped, counted and logged",
                    message_bytes_max: usize = Size(MESSAGE_BYTES),
                    /// The largest message, bytes of all parts, 1 to 1 GiB; a larger one is dropped, counted and logged. Default 16 MiB. At
                    /// most half of [`Self::max_memory`].
                    fn(bytes: usize) = bytes;
            }
            /// # Upstream: ZeroMQ's security
            ///
            /// CURVE or PLAIN, for all endpoints alike: one that cannot have it is refused, so that nothing is taken in without it by
            /// mistake; `inproc://` needs none. CURVE needs the system's libzmq (README, "With the system's libzmq"); PLAIN is in every
            /// build, and encrypts nothing. Keys are 40 characters of Z85, as `zmq::z85_encode` makes them. What is secret is in no error,
            /// no log and no `Debug`, and is wiped when the gateway is open.
            ///
            /// # Examples
            ///
            /// The gateway as a client of a publisher whose public key it knows, and, for publishers that connect, as the server:
            ///
            /// ```
            /// use zmq2ws::Gateway;
            ///
            /// // As `zmq::CurveKeyPair` and `zmq::z85_encode` make them.
            /// let (secret_key, public_key) =
            ///     ("JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6", "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7");
            /// let client = Gateway::builder()
            ///     .connect("tcp://192.0.2.1:5556")
            ///     .curve_secret_key(secret_key)
            ///     .curve_server_key("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID");
            /// let server = Gateway::builder()
            ///     .bind("tcp://127.0.0.1:*")
            ///     .curve_secret_key(secret_key)
            ///     .curve_public_key(public_key);
            /// if zmq::has("curve") == Some(true) {
            ///     client.check()?;
            ///     server.check()?;
            /// }
            /// # Ok::<(), zmq2ws::Error>(())
            /// ```
            ///
            /// PLAIN, and secrets out of files:
            ///
            /// ```
            /// use zmq2ws::Gateway;
            ///
            /// let builder = Gateway::builder().connect("tcp://192.0.2.1:5556").plain_user("gateway");
            /// builder.plain_password("hunter2").check()?;
            ///
            /// let builder = Gateway::builder().connect("tcp://192.0.2.1:5556").plain_user("gateway");
            /// let error = builder.plain_password_file("/no/such/file").check().unwrap_err().to_string();
            /// assert!(error.starts_with("plain_password_file: '/no/such/file': cannot be read: "));
            ///
            /// let builder = Gateway::builder().bind("tcp://127.0.0.1:*");
            /// assert!(builder.curve_secret_key_file("/no/such/file").check().is_err());
            /// # Ok::<(), zmq2ws::Error>(())
            /// ```
            "Upstream (ZeroMQ)" {
                curve_server_key: "KEY" = "",
                    "CURVE: the public key of the publisher, in Z85, with --connect",
                    curve_server_key: Option<String> = Maybe(parsed::<String>()),
                    /// CURVE: the public key of the publishers that the gateway connects to, in Z85; no other publisher is let in. Default
                    /// none; needed for [`Self::connect`], together with the gateway's own secret key.
                    fn(key: impl Into<String>) = Some(key.into());
                curve_public_key: "KEY" = "made from the secret key",
                    "CURVE: this gateway's public key, in Z85, to check that it belongs to --curve-secret-key-file",
                    curve_public_key: Option<String> = Maybe(parsed::<String>()),
                    /// CURVE: the gateway's own public key, in Z85, to check that it belongs to the secret one. By default it is made from
                    /// that.
                    fn(key: impl Into<String>) = Some(key.into());
                curve_secret_key_file: "FILE" = "",
                    "CURVE: this gateway's secret key: a file with 40 characters of Z85, or a certificate of CZMQ or \
                     pyzmq. With --bind, publishers have to connect with CURVE, and with its public key as their \
                     server key; every client with that key may publish",
                    curve_secret_key: Option<GivenSecret> = SecretFile("curve_secret_key_file"),
                    /// CURVE: a file with what [`Self::curve_secret_key`] takes, whose place it takes, up to 64 KiB. It is read now, once, so
                    /// it may be a pipe; why it cannot be read, building says. A warning is logged where everybody on the host can.
                    fn(path: impl AsRef<Path>) = Some(GivenSecret::read("curve_secret_key_file", path.as_ref()));
                plain_user: "USER" = "",
                    "PLAIN: the user name for publishers, with --connect; nothing is encrypted",
                    plain_user: Option<String> = Maybe(parsed::<String>()),
                    /// PLAIN: the user that publishers are told, 1 to 255 bytes. Default none. Needs a password, and is for
                    /// [`Self::connect`] only.
                    fn(user: impl Into<String>) = Some(user.into());
                plain_password_file: "FILE" = "",
                    "PLAIN: a file with the user's password",
                    plain_password: Option<GivenSecret> = SecretFile("plain_password_file"),
                    /// PLAIN: a file with the password, without the end of its last line. Takes the place of [`Self::plain_password`], and is
                    /// read as [`Self::curve_secret_key_file`] is.
                    fn(path: impl AsRef<Path>) = Some(GivenSecret::read("plain_password_file", path.as_ref()));
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
            "Downstream (clients)" {
                listen ['l']: "ADDR*" = "127.0.0.1:8080",
                    "Where clients connect: HOST:PORT (IPv6 in brackets, and IPv6 only), unix:PATH, or systemd for an \
                     inherited socket",
                    listen: Vec<ListenAddr> = Each(parsed::<ListenAddr>());
                reuse_port: "true|false" = "false",
                    "Share the TCP ports of --listen with other processes that do so, too (SO_REUSEPORT): one per \
                     core",
                    reuse_port: bool = Switch,
                    /// Whether other processes may listen on the TCP ports of [`Self::listen`], too (SO_REUSEPORT), each with this; the kernel
                    /// spreads clients over all. Default false. For one process per core.
                    fn(is_on: bool) = is_on;
                tls_cert: "FILE" = "" reload,
                    "Serve https and wss at the TCP addresses of --listen: a PEM file with the certificate, and those \
                     between it and the authority's behind it. SIGHUP reads it again, and --tls-key",
                    tls_cert: Option<PathBuf> = Maybe(parsed::<PathBuf>()),
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
                    fn(file: impl Into<PathBuf>) = Some(file.into());
                tls_key: "FILE" = "" reload,
                    "The key of --tls-cert: a PEM file, without a password",
                    tls_key: Option<PathBuf> = Maybe(parsed::<PathBuf>()),
                    /// The key of [`Self::tls_cert`]: the path of a PEM file, without a password. A warning in the log tells where everybody may
                    /// read it.
                    fn(file: impl Into<PathBuf>) = Some(file.into());
                format: "raw|json|parts" = "raw on WebSocket, json on SSE",
                    "Default message format; a client may choose with ?format=",
                    format: Option<Format> = Maybe(parsed::<Format>()),
                    /// The message format of clients that ask for none. By default it is [`Format::Raw`] on WebSocket and [`Format::Json`] on
                    /// event streams, where [`Format::Parts`] counts as JSON, too; polls have JSON only.
                    fn(format: Format) = Some(format);
                payload: "auto|text|binary" = "auto",
                    "WebSocket opcode of raw messages; auto and text: text when valid UTF-8, which WebSocket demands, \
                     else binary",
                    payload: Payload = parsed::<Payload>(),
                    /// The WebSocket opcode of raw messages. Default [`Payload::Auto`].
                    fn(payload: Payload) = payload;
                history: "N" = "1000",
                    "Messages kept for clients that come back with since=; 0 keeps none",
                    history_messages_max: usize = Count(0..=100_000_000),
                    /// Messages kept for clients that come back, 0 to 100 million. Default 1,000; 0 keeps none.
                    fn(messages: usize) = messages;
                // 1 KiB is a few messages.
                history_bytes: "BYTES" = "8MiB, or an eighth of --max-memory where that is less",
                    "Bytes of messages kept for them, and as many again of last values, out of --max-memory",
                    history_bytes_max: Option<usize> = Maybe(Size(1 << 10..=1 << 40)),
                    /// Bytes of messages kept for clients that come back, 1 KiB or more, and as many again of last values where these are
                    /// kept; whichever of this and [`Self::history`] is reached first. Default 8 MiB, or an eighth of [`Self::max_memory`]
                    /// where that is less: it may not be more.
                    fn(bytes: usize) = Some(bytes);
                last_value: "true|false" = "false",
                    "A new client first gets the last message of each topic that it asks for",
                    last_value: bool = Switch,
                    /// Whether a new client first gets the last message of each of its topics. Default false.
                    fn(is_on: bool) = is_on;
                last_value_topics: "N" = "10000",
                    "Topics whose last message is kept, for --last-value and --slow-client conflate",
                    last_value_topics_max: usize = Count(1..=10_000_000),
                    /// Topics whose last message is kept, for [`Self::last_value`] and [`LagPolicy::Conflate`], 1 to 10 million. Default
                    /// 10,000; beyond it the topic goes that was not updated for the longest time.
                    fn(topics: usize) = topics;
                slow_client: "skip|conflate|disconnect" = "skip",
                    "What happens to a client that lags more than --max-lag: it goes on with the newest message, gets \
                     the last message of each topic that it missed first, or is closed",
                    lag_policy: LagPolicy = parsed::<LagPolicy>(),
                    /// What happens to a client that lags more than [`Self::max_lag`]. Default [`LagPolicy::Skip`]: no client delays another.
                    fn(policy: LagPolicy) = policy;
                max_lag: "BYTES" = "1MiB",
                    "How far one client may lag; a larger message still reaches every client that keeps up",
                    lag_bytes_max: usize = Size(MESSAGE_BYTES),
                    /// How many bytes one client may lag, 1 to 1 GiB. Default 1 MiB. A larger message still reaches every client that keeps
                    /// up. At most half of [`Self::max_memory`], a quarter where last values are kept.
                    fn(bytes: usize) = bytes;
                // The poller's timer is no finer than 100 µs; a feed that waits longer than a second is not live.
                coalesce: "DURATION" = "0",
                    "Wait so long for more messages before sending: less CPU for a little latency; up to 1s",
                    coalesce: Duration = Span::or_zero(Duration::from_micros(100)..=seconds(1)),
                    /// How long a message waits for more before they are sent together, from 100 µs to 1 s. Default zero, which sends at
                    /// once; 5 ms take a quarter of the CPU at thousands of messages a second.
                    fn(wait: Duration) = wait;
                compress: "true|false" = "false",
                    "Deflate messages for WebSocket clients that offer permessage-deflate, each message once for all \
                     of them",
                    compress: bool = Switch,
                    /// Whether messages are deflated for WebSocket clients that offer permessage-deflate (RFC 7692), as browsers do; each
                    /// message once for all of them. Default false: it takes 10 to 20 µs for each message of 1 KiB, which pays where
                    /// bandwidth is scarce, or clients are many. Not for ZeroMQ's sockets on WebSocket, nor Socket.IO. Needs the Cargo
                    /// feature `compress`.
                    fn(is_on: bool) = is_on;
                // Below 200 bytes deflating saves little and costs a tenth of a core at 10,000 messages a second.
                compress_min: "BYTES" = "256",
                    "Shorter messages are sent to them as they are",
                    compress_bytes_min: usize = Size(MESSAGE_BYTES),
                    /// Messages of fewer bytes are not deflated, 1 byte to 1 GiB. Default 256. Nor is one of more than 1 MiB, which would
                    /// hold up everybody else, or that would not become smaller.
                    fn(bytes: usize) = bytes;
                socket_io_recovery: "true|false" = "false",
                    "Let a Socket.IO client that comes back go on where it was",
                    socket_io_recovery: bool = Switch,
                    /// Whether a Socket.IO client that comes back goes on where it was: its messages then have an offset as the last argument.
                    /// Default false.
                    fn(is_on: bool) = is_on;
                www: "DIR" = "the built-in page",
                    "Serve the files of DIR at /";
                no_www: "true|false" = "false",
                    "Serve no page";
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
            "Limits" {
                max_clients: "N" = "100000",
                    "More clients get 503",
                    clients_max: usize = Count(1..=10_000_000),
                    /// Clients that get messages at a time, 1 to 10 million; more get 503 with `Retry-After`. Each takes a descriptor: at most
                    /// as many are let in as the process may have beside what is open when the gateway is built, and some for others. The
                    /// log tells when that is fewer. Gateways of one process do not count each other's clients that are yet to come.
                    ///
                    /// By default as many as there are descriptors for, up to 100,000, and nothing of the process is changed. **Set it, and
                    /// [`Self::build`] raises RLIMIT_NOFILE to fit**, as far as the hard limit allows: for the whole process and what it
                    /// starts, also where `select` is used, which knows no descriptor above 1023.
                    fn(clients: usize) = clients;
                max_clients_per_ip: "N" = "0",
                    "Connections from one address; 0 is no limit",
                    clients_per_ip_max: usize = Count(0..=10_000_000),
                    /// Connections from one address at a time, adopted ones included; more get 503. Default 0, which is no limit: behind a
                    /// proxy all have one address.
                    fn(connections: usize) = connections;
                max_topics: "N" = "128",
                    "Topics that one client may ask for",
                    topics_max: usize = Count(1..=65_536),
                    /// Topics that one client may ask for, 1 to 65,536; who asks for more gets 400. Default 128.
                    fn(topics: usize) = topics;
                handshake_timeout: "DURATION" = "10s",
                    "For a whole request to arrive",
                    handshake_timeout: Duration = Span::new(TIMEOUT),
                    /// For a whole request to arrive, from 1 ms to a day, as all timeouts here. Default 10 s.
                    fn(timeout: Duration) = timeout;
                keepalive_timeout: "DURATION" = "60s",
                    "Between two requests on one connection",
                    keepalive_timeout: Duration = Span::new(TIMEOUT),
                    /// Between two requests on one connection. Default 60 s.
                    fn(timeout: Duration) = timeout;
                ping_interval: "DURATION" = "25s",
                    "Between two pings to a client",
                    ping_interval: Duration = Span::new(TIMEOUT),
                    /// Between two pings to a WebSocket, or comments on an event stream. Default 25 s: below the 30 s after which some
                    /// proxies close.
                    fn(interval: Duration) = interval;
                ping_timeout: "DURATION" = "20s",
                    "For the answer to a ping",
                    ping_timeout: Duration = Span::new(TIMEOUT),
                    /// For the answer to a ping. Default 20 s.
                    fn(timeout: Duration) = timeout;
                write_timeout: "DURATION" = "30s",
                    "A client that accepts no byte for so long is closed",
                    write_timeout: Duration = Span::new(TIMEOUT),
                    /// A client that accepts no byte for so long is closed. Default 30 s.
                    fn(timeout: Duration) = timeout;
                // 64 KiB is one small feed.
                max_memory: "BYTES" = "512MiB",
                    "All feeds, history and sessions together; above it those that lag most are skipped or closed \
                     first",
                    memory_bytes_max: usize = Size(64 << 10..=1 << 40),
                    /// All feeds, history and sessions together, 64 KiB to 1 TiB. Default 512 MiB; above it those that lag most are skipped
                    /// or closed first, and told.
                    fn(bytes: usize) = bytes;
                max_inbound: "BYTES" = "4KiB",
                    "A client's message; a larger one closes its connection",
                    inbound_bytes_max: usize = Size(MESSAGE_BYTES),
                    /// The largest message of a client, 1 byte to 1 GiB; a larger one closes with 1009. Default 4 KiB: what clients send
                    /// goes nowhere.
                    fn(bytes: usize) = bytes;
                drain: "DURATION" = "5s",
                    "How long stopping may take, on SIGTERM or SIGINT",
                    drain: Duration = Span::or_zero(TIMEOUT),
                    /// How long [`Handle::shutdown`](crate::Handle::shutdown) may take, up to a day. Default 5 s; zero cuts everybody off.
                    fn(timeout: Duration) = timeout;
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
            "Access" {
                origin: "ORIGIN*" = "same host only, and requests without Origin",
                    "Allow browsers' pages of this origin; * allows all",
                    origin: OriginPolicy = Origins,
                    /// Which browsers' pages may connect. Default [`OriginPolicy::SameHost`]. It is no authentication: that is
                    /// [`Self::authorize`].
                    fn(policy: OriginPolicy) = policy;
            }
            /// # Operation
            "Operation" {
                metrics: "ADDR" = "--listen, only to loopback peers",
                    "A listener of its own for /metrics, /healthz and /readyz",
                    metrics: Option<ListenAddr> = Maybe(parsed::<ListenAddr>()),
                    /// A listener of its own for `/metrics`, `/healthz` and `/readyz`, to whom metrics are then served whoever asks. By default
                    /// they are where clients connect, metrics for loopback peers only.
                    fn(address: impl Into<ListenAddr>) = Some(address.into());
                log: "FILTER" = "info" reload,
                    "What to log to standard error: off, error, warn, info, debug, trace, or MODULE=LEVEL,…";
                log_format: "text|json" = "text",
                    "How log lines look";
                config: "FILE" = "",
                    "Read settings from a TOML file, whose keys are the flags' long names";
                check: "true|false" = "false",
                    "Check all settings, and exit";
                demo: "true|false" = "false",
                    "Publish made-up messages from inside the process, through a real ZeroMQ socket";
            }
            /// # Only for host programs
            "" {
                path_prefix: "PATH" = "",
                    "What every path of clients begins with",
                    path_prefix: String = parsed::<String>(),
                    /// What every path of clients begins with, such as `/live`: WebSockets are then at `/live/ws` and, upgraded, at `/live`
                    /// itself, event streams at `/live/sse`, and so on. Default empty. For connections that a host hands over by their path
                    /// ([`Handle::adopt`](crate::Handle::adopt)): later requests on them are for the gateway, too, and what is not below the
                    /// prefix gets 404. The listener of [`Self::metrics`] has no prefix.
                    fn(prefix: impl Into<String>) = prefix.into();
                // ZeroMQ's own queues hold 10,000 messages, too.
                inbox_messages: "N" = "10000",
                    "Messages that may wait for the loop after Handle::publish",
                    inbox_messages_max: usize = Count(1..=10_000_000),
                    /// Messages that may wait in [`Handle::publish`](crate::Handle::publish) for the loop, 1 to 10 million. Default 10,000,
                    /// as ZeroMQ's own queues hold.
                    fn(messages: usize) = messages;
                inbox_bytes: "BYTES" = "8MiB",
                    "Bytes of those messages",
                    inbox_bytes_max: usize = Size(1 << 10..=1 << 32),
                    /// Bytes of those messages, 1 KiB to 4 GiB, beside [`Self::max_memory`]: their topics, their parts, and 4 for each part.
                    /// Default 8 MiB. No published message can be larger.
                    fn(bytes: usize) = bytes;
            }
        }
    };
}
pub(crate) use with_settings;

/// What users read about a setting.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "only the command shows help"))]
#[non_exhaustive]
pub struct Setting {
    /// The name in code, such as `max_lag`.
    pub name: &'static str,
    /// The flag of one letter.
    pub short: Option<char>,
    /// What the value looks like; ends with `*` where the setting may be given more than once.
    pub value: &'static str,
    /// The value where none is given, or words about it.
    pub default: &'static str,
    /// The group in the help; empty where only host programs have the setting.
    pub group: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Whether SIGHUP reads it again.
    pub is_reloaded: bool,
    /// What the value must be; empty where `value` says it.
    pub expected: fn() -> String,
}

impl Setting {
    /// The name of the flag, without hyphens before it, and of the key in the file.
    pub fn key(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Whether it may be given more than once.
    pub fn is_list(&self) -> bool {
        self.value.ends_with('*')
    }

    /// The setting that is called `name` in code.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|setting| setting.name == name)
    }

    /// Every setting that can be typed, in the order of the help.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        ALL.iter().filter(|setting| !setting.group.is_empty())
    }
}

/// Makes [`ALL`], and [`Config`] with how it is read and bounded.
macro_rules! config {
    ($($(#[doc = $about:literal])* $group:literal { $(
        $name:ident $([$short:literal])? : $value:literal = $default:literal $($reload:ident)?, $help:literal
        $(, $field:ident : $type:ty = $kind:expr
        $(, $(#[doc = $doc:literal])* fn($($arg:ident : $arg_type:ty),+) = $set:expr)?)?;
    )* })*) => {
        /// Every setting.
        const ALL: &[Setting] = &[$($(Setting {
            name: stringify!($name),
            short: [$(Some($short),)? None][0],
            value: $value,
            default: $default,
            group: $group,
            help: $help,
            is_reloaded: <[&str]>::len(&[$(stringify!($reload))?]) > 0,
            expected: || {
                let texts: &[String] = &[$(Kind::expected(&$kind))?];
                texts.concat()
            },
        },)*)*];

        /// What a gateway is to be. Each field has the help of its flag.
        #[derive(Debug, Clone)]
        pub(crate) struct Config {
            /// What was given, by name.
            pub(super) given: Settings,
            /// The upstream endpoints, each served by a socket of its own.
            pub(crate) endpoints: Vec<Endpoint>,
            /// Where the page comes from.
            pub(crate) site: SiteConfig,
            $($($(#[doc = $help] pub(crate) $field: $type,)?)*)*
        }

        impl Config {
            /// Reads every value and takes the default where none is given. [`Config::check`] says what a value may be.
            ///
            /// # Errors
            ///
            /// The first text that cannot be read.
            pub(crate) fn read(given: Settings) -> Result<Self, ConfigError> {
                Ok(Self {
                    endpoints: read_endpoints(&given)?,
                    site: read_site(&given)?,
                    $($($($field: given.value(stringify!($name), &$kind, $default)?,)?)*)*
                    given,
                })
            }

            /// Checks every value alone.
            pub(super) fn check_bounds(&self) -> Result<(), ConfigError> {
                $($($(self.check_one(stringify!($name), &$kind, &self.$field)?;)?)*)*
                Ok(())
            }
        }
    };
}
with_settings!(config);

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
    /// A library opens nothing by itself; everything else is what `zmq2ws` without flags does.
    fn default() -> Self {
        Self::read(Settings::default()).expect("the defaults can be read")
    }
}

fn read_endpoints(given: &Settings) -> Result<Vec<Endpoint>, ConfigError> {
    let mut endpoints = Vec::new();
    for (name, attach) in [("connect", Attach::Connect), ("bind", Attach::Bind)] {
        for text in given.texts(name) {
            let endpoint = Endpoint::parse(text, attach);
            endpoints.push(endpoint.map_err(|reason| given.refuse(name, text, reason))?);
        }
    }
    Ok(endpoints)
}

fn read_site(given: &Settings) -> Result<SiteConfig, ConfigError> {
    let is_off = given.switch("no_www")?;
    match given.text("www") {
        Some(dir) if is_off => {
            let other = given.mention("www", "no_www");
            Err(given.refuse("www", dir, format!("conflicts with {other}: give one of the two")))
        }
        Some(dir) => Ok(SiteConfig::Directory(dir.into())),
        None if is_off => Ok(SiteConfig::None),
        None => Ok(SiteConfig::BuiltIn),
    }
}
