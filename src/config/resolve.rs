//! Gives settings their meaning: defaults, bounds, and what excludes what. Knows not how they were
//! given.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::access::OriginPolicy;
use crate::config::values::{self, Text};
use crate::config::{Config, Settings, SiteConfig};
use crate::error::ConfigError;
use crate::feed::LagPolicy;
use crate::intake::Decode;
use crate::message::TopicFrom;
use crate::net::ListenAddr;
use crate::source::{Attach, Endpoint, SocketKind};
use crate::wire::Payload;

/// Bound when neither `--connect` nor `--bind` is given.
pub const DEFAULT_BIND: &str = "tcp://127.0.0.1:5556";
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// Timeouts: below a millisecond nothing can be kept, above a day nobody waits.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
/// Heartbeats: three of them must fit ZMTP's time to live, 16 bits of tenths of a second.
const HEARTBEAT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(1_800);
/// Coalescing: below 100 µs the poller's own timer is no finer, and above a second it is no live feed any more.
const COALESCE: RangeInclusive<Duration> = Duration::from_micros(100)..=Duration::from_secs(1);
/// One message, or what one client may lag: far inside the 32 bits in which `parts` counts.
const MESSAGE_BYTES: RangeInclusive<u64> = 1..=1 << 30;
/// All memory: 64 KiB is one small feed; a terabyte is more than any host has to give.
const MEMORY_BYTES: RangeInclusive<u64> = 64 << 10..=1 << 40;

impl Settings {
    /// Applies the defaults and validates every value, alone and against the others. Opens nothing;
    /// looks only whether the directory of `--www` exists.
    ///
    /// # Errors
    ///
    /// The first value that cannot be used, with the flag, variable or key that gave it.
    pub fn into_config(self) -> Result<Config, ConfigError> {
        let memory_bytes_max =
            self.bytes("max-memory", &self.max_memory, 512 << 20, &MEMORY_BYTES)?;
        let endpoints = self.endpoints()?;
        let config = Config {
            security: self.security(&endpoints)?,
            endpoints,
            socket: self.read("socket", &self.socket, SocketKind::Sub)?,
            subscribe: self.prefixes(),
            on_demand: self.on_demand()?,
            topic_from: self.read("topic-from", &self.topic_from, TopicFrom::Part)?,
            decode: self.read("decode", &self.decode, Decode::None)?,
            sequence: self
                .read_with("sequence", &self.sequence, None, |it| it.parse().map(Some))?,
            rcvhwm: self.rcvhwm()?,
            heartbeat: self.pause("heartbeat", &self.heartbeat, 5, &HEARTBEAT)?,
            message_bytes_max: self.bytes(
                "max-message",
                &self.max_message,
                16 << 20,
                &MESSAGE_BYTES,
            )?,

            listen: self.listeners()?,
            reuse_port: self.switch("reuse-port", &self.reuse_port)?,
            format: self.read_with("format", &self.format, None, |text| text.parse().map(Some))?,
            payload: self.read("payload", &self.payload, Payload::Auto)?,
            history_messages_max: self.history_messages()?,
            history_bytes_max: self.history_bytes(memory_bytes_max)?,
            last_value: self.switch("last-value", &self.last_value)?,
            last_value_topics_max: self.last_value_topics()?,
            socket_io_recovery: self.switch("socket-io-recovery", &self.socket_io_recovery)?,
            lag_policy: self.read("slow-client", &self.slow_client, LagPolicy::Skip)?,
            lag_bytes_max: self.bytes("max-lag", &self.max_lag, 1 << 20, &MESSAGE_BYTES)?,
            coalesce: self.pause("coalesce", &self.coalesce, 0, &COALESCE)?,
            site: self.site()?,

            clients_max: self.count(
                "max-clients",
                &self.max_clients,
                100_000,
                &(1..=10_000_000),
            )?,
            clients_per_ip_max: self.count(
                "max-clients-per-ip",
                &self.max_clients_per_ip,
                0,
                &(0..=10_000_000),
            )?,
            topics_max: self.count("max-topics", &self.max_topics, 128, &(1..=65_536))?,
            handshake_timeout: self.timeout("handshake-timeout", &self.handshake_timeout, 10)?,
            keepalive_timeout: self.timeout("keepalive-timeout", &self.keepalive_timeout, 60)?,
            ping_interval: self.timeout("ping-interval", &self.ping_interval, 25)?,
            ping_timeout: self.timeout("ping-timeout", &self.ping_timeout, 20)?,
            write_timeout: self.timeout("write-timeout", &self.write_timeout, 30)?,
            memory_bytes_max,
            inbound_bytes_max: self.bytes(
                "max-inbound",
                &self.max_inbound,
                4 << 10,
                &MESSAGE_BYTES,
            )?,
            drain: self.pause("drain", &self.drain, 5, &TIMEOUT)?,

            origin: self.origin_policy()?,
            metrics: self.metrics()?,
        };
        self.check_memory(&config)?;
        Ok(config)
    }

    /// Whether `--check` was given.
    ///
    /// # Errors
    ///
    /// Neither `true` nor `false`.
    pub fn is_check(&self) -> Result<bool, ConfigError> {
        self.switch("check", &self.check)
    }

    /// Whether `--demo` was given.
    ///
    /// # Errors
    ///
    /// Neither `true` nor `false`.
    pub fn is_demo(&self) -> Result<bool, ConfigError> {
        self.switch("demo", &self.demo)
    }

    /// Reads the `value` of the setting `name`, or takes the `default`.
    ///
    /// # Errors
    ///
    /// The value cannot be read as a `T`.
    pub fn read<T>(&self, name: &str, value: &Option<Text>, default: T) -> Result<T, ConfigError>
    where
        T: FromStr<Err = String>,
    {
        self.read_with(name, value, default, str::parse)
    }

    fn endpoints(&self) -> Result<Vec<Endpoint>, ConfigError> {
        let mut endpoints = Vec::new();
        for text in list(&self.connect) {
            endpoints.push(self.endpoint("connect", text, Attach::Connect)?);
        }
        for text in list(&self.bind) {
            endpoints.push(self.endpoint("bind", text, Attach::Bind)?);
        }
        if endpoints.is_empty() {
            endpoints.push(self.endpoint("bind", DEFAULT_BIND, Attach::Bind)?);
        }
        Ok(endpoints)
    }

    fn endpoint(&self, name: &str, text: &str, attach: Attach) -> Result<Endpoint, ConfigError> {
        match Endpoint::parse(text, attach) {
            Err(reason) => Err(self.refuse(name, text, reason)),
            Ok(endpoint) if endpoint.is_inproc() => {
                let reason = "inproc:// works only in the library, within one process; \
                              expected tcp:// or ipc://";
                Err(self.refuse(name, text, reason))
            }
            Ok(endpoint) if endpoint.is_udp() && self.socket.as_deref() == Some("pull") => {
                let reason = "conflicts with --socket pull: RADIO sockets send to everyone who listens, as PUB does";
                Err(self.refuse(name, text, reason))
            }
            Ok(endpoint) => Ok(endpoint),
        }
    }

    fn prefixes(&self) -> Vec<Vec<u8>> {
        match list(&self.subscribe) {
            [] => vec![Vec::new()],
            prefixes => prefixes.iter().map(|prefix| prefix.as_bytes().to_vec()).collect(),
        }
    }

    fn on_demand(&self) -> Result<bool, ConfigError> {
        let is_on = self.switch("on-demand", &self.on_demand)?;
        let inflates = self.decode.as_deref().is_some_and(|decode| decode != "none");
        let conflict = match (self.socket.as_deref(), self.topic_from.as_deref()) {
            (Some("pull"), _) => "--socket pull: a PULL socket cannot ask for anything",
            // With topics in messages of several parts it works.
            (_, Some("none")) if inflates => {
                "--decode and --topic-from none: clients ask for inflated bodies, publishers send others"
            }
            _ => return Ok(is_on),
        };
        let text = self.on_demand.as_deref().unwrap_or("true");
        match is_on {
            true => Err(self.refuse("on-demand", text, format!("conflicts with {conflict}"))),
            false => Ok(false),
        }
    }

    fn rcvhwm(&self) -> Result<i32, ConfigError> {
        // ZeroMQ takes an int, and 0 would be "no limit".
        let rcvhwm = self.count("rcvhwm", &self.rcvhwm, 10_000, &(1..=i32::MAX.unsigned_abs()))?;
        Ok(i32::try_from(rcvhwm).expect("the range ends at i32::MAX"))
    }

    fn listeners(&self) -> Result<Vec<ListenAddr>, ConfigError> {
        let parse =
            |text: &str| text.parse().map_err(|why: String| self.refuse("listen", text, why));
        match list(&self.listen) {
            [] => Ok(vec![parse(DEFAULT_LISTEN)?]),
            texts => {
                for (index, text) in texts.iter().enumerate() {
                    // Port 0 is a new port each time.
                    if !text.ends_with(":0") && texts[..index].contains(text) {
                        return Err(self.refuse("listen", text, "is given twice"));
                    }
                }
                texts.iter().map(|text| parse(text)).collect()
            }
        }
    }

    fn site(&self) -> Result<SiteConfig, ConfigError> {
        let is_off = self.switch("no-www", &self.no_www)?;
        let Some(dir) = self.www.as_ref() else {
            return Ok(if is_off { SiteConfig::None } else { SiteConfig::BuiltIn });
        };
        if is_off {
            return Err(self.refuse("www", dir, "conflicts with --no-www: give one of the two"));
        }
        let path = PathBuf::from(&**dir);
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => Ok(SiteConfig::Directory(path)),
            Ok(_) => Err(self.refuse("www", dir, "expected a directory, and this is none")),
            Err(error) => Err(self.refuse("www", dir, format!("expected a directory: {error}"))),
        }
    }

    fn origin_policy(&self) -> Result<OriginPolicy, ConfigError> {
        OriginPolicy::from_entries(list(&self.origin).iter().map(|text| &**text))
            .map_err(|invalid| self.refuse("origin", &invalid.entry, invalid.reason))
    }

    fn metrics(&self) -> Result<Option<ListenAddr>, ConfigError> {
        let Some(text) = self.metrics.as_ref() else { return Ok(None) };
        let address: ListenAddr =
            text.parse().map_err(|why: String| self.refuse("metrics", text, why))?;
        // Port 0 is a new port each time.
        let listen = list(&self.listen);
        let is_default = listen.is_empty() && &**text == DEFAULT_LISTEN;
        if is_default || (!text.ends_with(":0") && listen.contains(text)) {
            let reason = "is also an address to listen on; expected another, \
                          or none to serve metrics there to loopback peers";
            return Err(self.refuse("metrics", text, reason));
        }
        Ok(Some(address))
    }

    fn switch(&self, name: &str, value: &Option<Text>) -> Result<bool, ConfigError> {
        self.read_with(name, value, false, values::switch)
    }

    fn timeout(
        &self,
        name: &str,
        value: &Option<Text>,
        seconds: u64,
    ) -> Result<Duration, ConfigError> {
        let read = |text: &str| values::duration(text, &TIMEOUT, false);
        self.read_with(name, value, Duration::from_secs(seconds), read)
    }

    /// A duration that may be zero, or within the range.
    fn pause(
        &self,
        name: &str,
        value: &Option<Text>,
        seconds: u64,
        range: &RangeInclusive<Duration>,
    ) -> Result<Duration, ConfigError> {
        let read = |text: &str| values::duration(text, range, true);
        self.read_with(name, value, Duration::from_secs(seconds), read)
    }

    pub(super) fn bytes(
        &self,
        name: &str,
        value: &Option<Text>,
        default: usize,
        range: &RangeInclusive<u64>,
    ) -> Result<usize, ConfigError> {
        self.read_with(name, value, default, |text| values::bytes(text, range))
    }

    pub(super) fn count(
        &self,
        name: &str,
        value: &Option<Text>,
        default: u32,
        range: &RangeInclusive<u32>,
    ) -> Result<usize, ConfigError> {
        let count = self.read_with(name, value, default, |text| values::count(text, range))?;
        Ok(usize::try_from(count).expect("a u32 fits a usize on every host with sockets"))
    }

    pub(super) fn read_with<T>(
        &self,
        name: &str,
        value: &Option<Text>,
        default: T,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let Some(text) = value else { return Ok(default) };
        read(text).map_err(|reason| self.refuse(name, text, reason))
    }
}

fn list(texts: &Option<Vec<Text>>) -> &[Text] {
    texts.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::{Counter, CounterType};
    use crate::wire::Format;

    fn config(toml: &str) -> Result<Config, String> {
        let settings = Settings::from_toml(toml, "z.toml").map_err(|error| error.to_string())?;
        settings.into_config().map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_help() {
        let config = Settings::default().into_config().unwrap();
        let seconds = Duration::from_secs;
        assert_eq!(config.endpoints.len(), 1);
        assert_eq!(config.socket, SocketKind::Sub);
        assert_eq!(config.subscribe, [b""]);
        assert!(!config.on_demand);
        assert_eq!(config.topic_from, TopicFrom::Part);
        assert_eq!((config.decode, config.sequence), (Decode::None, None));
        assert_eq!((config.rcvhwm, config.heartbeat), (10_000, seconds(5)));
        assert_eq!(config.message_bytes_max, 16 << 20);
        assert_eq!((config.listen.len(), config.reuse_port), (1, false));
        assert_eq!((config.format, config.payload), (None, Payload::Auto));
        assert_eq!((config.history_messages_max, config.history_bytes_max), (1_000, 8 << 20));
        assert_eq!((config.last_value, config.last_value_topics_max), (false, 10_000));
        assert!(!config.socket_io_recovery);
        assert_eq!((config.lag_policy, config.lag_bytes_max), (LagPolicy::Skip, 1 << 20));
        assert_eq!((config.coalesce, config.site), (Duration::ZERO, SiteConfig::BuiltIn));
        assert_eq!((config.clients_max, config.clients_per_ip_max), (100_000, 0));
        assert_eq!(config.topics_max, 128);
        assert_eq!(
            (config.handshake_timeout, config.keepalive_timeout),
            (seconds(10), seconds(60))
        );
        assert_eq!((config.ping_interval, config.ping_timeout), (seconds(25), seconds(20)));
        assert_eq!((config.write_timeout, config.drain), (seconds(30), seconds(5)));
        assert_eq!((config.memory_bytes_max, config.inbound_bytes_max), (512 << 20, 4 << 10));
        assert!(matches!(config.origin, OriginPolicy::SameHost));
        assert!(config.metrics.is_none());
    }

    #[test]
    fn every_setting_reaches_its_field() {
        let config = config(
            r#"
            connect = ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"]
            bind = ["tcp://127.0.0.1:3"]
            socket = "pull"
            subscribe = ["a,b", ""]
            topic-from = ":"
            decode = "auto"
            sequence = "2:u32le"
            rcvhwm = 1
            heartbeat = 0
            max-message = "1KiB"
            listen = ["127.0.0.1:0", "[::1]:0"]
            reuse-port = true
            format = "json"
            payload = "binary"
            history = 7
            history-bytes = "64KiB"
            last-value = true
            last-value-topics = 8
            socket-io-recovery = true
            slow-client = "disconnect"
            max-lag = 2048
            coalesce = "1s"
            no-www = true
            max-clients = 1
            max-clients-per-ip = 2
            max-topics = 3
            handshake-timeout = "1ms"
            keepalive-timeout = "2ms"
            ping-interval = "3ms"
            ping-timeout = "4ms"
            write-timeout = "5ms"
            max-memory = "1MiB"
            max-inbound = "125"
            drain = "0"
            origin = ["*"]
            metrics = "127.0.0.1:0"
            "#,
        )
        .unwrap();
        let millis = Duration::from_millis;
        assert_eq!(config.endpoints.len(), 3);
        assert_eq!(config.socket, SocketKind::Pull);
        assert_eq!(config.subscribe, [&b"a,b"[..], b""]);
        assert_eq!(config.topic_from, TopicFrom::Delimiter(b':'));
        assert_eq!(config.decode, Decode::Auto);
        assert_eq!(config.sequence, Some(Counter { part: 2, number: CounterType::U32Le }));
        assert_eq!((config.rcvhwm, config.heartbeat), (1, millis(0)));
        assert_eq!(config.message_bytes_max, 1024);
        assert_eq!((config.listen.len(), config.reuse_port), (2, true));
        assert_eq!((config.format, config.payload), (Some(Format::Json), Payload::Binary));
        assert_eq!((config.history_messages_max, config.history_bytes_max), (7, 64 << 10));
        assert_eq!((config.last_value, config.last_value_topics_max), (true, 8));
        assert!(config.socket_io_recovery);
        assert_eq!((config.lag_policy, config.lag_bytes_max), (LagPolicy::Disconnect, 2048));
        assert_eq!((config.coalesce, config.site), (millis(1_000), SiteConfig::None));
        assert_eq!((config.clients_max, config.clients_per_ip_max, config.topics_max), (1, 2, 3));
        assert_eq!((config.handshake_timeout, config.keepalive_timeout), (millis(1), millis(2)));
        assert_eq!((config.ping_interval, config.ping_timeout), (millis(3), millis(4)));
        assert_eq!((config.write_timeout, config.drain), (millis(5), millis(0)));
        assert_eq!((config.memory_bytes_max, config.inbound_bytes_max), (1 << 20, 125));
        assert!(matches!(config.origin, OriginPolicy::Any));
        assert!(config.metrics.is_some());
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        let refused = |toml, start: &str| {
            let error = config(toml).unwrap_err();
            assert!(error.starts_with(start), "{error}");
        };
        refused("listen = ['a:1', 'a:1']", "z.toml: listen: 'a:1': is given twice");
        refused("metrics = '127.0.0.1:8080'", "z.toml: metrics: '127.0.0.1:8080': is also");
        refused("www = '/'\nno-www = true", "z.toml: www: '/': conflicts with --no-www");
        refused(
            "max-memory = '1MiB'",
            "z.toml: max-memory: '1MiB': expected at least 2 times --max-message",
        );
        refused(
            "max-lag = '1GiB'",
            "z.toml: max-lag: '1GiB': expected at most 1/2 of --max-memory",
        );
        refused(
            "max-message = '1GiB'",
            "z.toml: max-message: '1GiB': expected at most 1/2 of --max-memory",
        );
        refused(
            "metrics = '127.0.0.1:9'\nlisten = ['127.0.0.1:9']",
            "z.toml: metrics: '127.0.0.1:9': is also",
        );
        refused(
            "on-demand = true\nsocket = 'pull'",
            "z.toml: on-demand: 'true': conflicts with --socket pull",
        );
        refused(
            "on-demand = true\ndecode = 'zlib'\ntopic-from = 'none'",
            "z.toml: on-demand: 'true': conflicts with --decode and --topic-from none",
        );
        refused(
            "history-bytes = '65MiB'",
            "z.toml: history-bytes: '65MiB': expected at most an eighth of --max-memory",
        );
        refused(
            "last-value = true\nmax-memory = '32MiB'",
            "z.toml: max-memory: '32MiB': expected at least 4 times --max-message",
        );
        refused("bind = ['inproc://x']", "z.toml: bind: 'inproc://x': inproc:// works only");
        refused(
            "socket = 'pull'\nconnect = ['udp://239.1.1.1:5']",
            "z.toml: connect: 'udp://239.1.1.1:5': conflicts with --socket pull",
        );
        refused("www = '/no/such'", "z.toml: www: '/no/such': expected a directory");
        refused("www = '/dev/null'", "z.toml: www: '/dev/null': expected a directory");
    }

    #[test]
    fn a_directory_is_served_and_a_switch_can_be_off() {
        assert!(config("on-demand = true").unwrap().on_demand);
        assert!(!config("on-demand = false\nsocket = 'pull'").unwrap().on_demand);
        let decodes = "on-demand = true\ntopic-from = 'none'\ndecode = 'none'";
        assert!(config(decodes).unwrap().on_demand);
        assert!(config("on-demand = true\ndecode = 'gzip'").unwrap().on_demand);
        let dir = std::env::temp_dir();
        let toml = format!("www = '{}'\nno-www = false", dir.display());
        assert_eq!(config(&toml).unwrap().site, SiteConfig::Directory(dir));
    }
}
