//! Reads what was typed, and takes the default where nothing was. Knows not how it was given.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::access::OriginPolicy;
use crate::config::bounds::{self, Count, Invalid, Size, Span};
use crate::config::values::{self, Text};
use crate::config::{Config, GivenSecret, SecurityConfig, Settings, SiteConfig};
use crate::error::{ConfigError, ParseError};
use crate::feed::LagPolicy;
use crate::intake::Decode;
use crate::message::TopicFrom;
use crate::net::ListenAddr;
use crate::source::{Attach, Endpoint, SocketKind};
use crate::wire::Payload;

impl Settings {
    /// Reads every value and takes the default where none is given. What a value must be, alone and against others,
    /// [`Config::check`] says.
    ///
    /// # Errors
    ///
    /// The first text that cannot be read, with the flag, variable or key that gave it.
    pub(crate) fn to_config(&self) -> Result<Config, ConfigError> {
        Ok(Config {
            endpoints: self.endpoints()?,
            security: self.security(),
            socket: self.read("socket", &self.socket, SocketKind::Sub)?,
            subscribe: self.prefixes(),
            on_demand: self.switch("on-demand", &self.on_demand)?,
            topic_from: self.read("topic-from", &self.topic_from, TopicFrom::Part)?,
            decode: self.read("decode", &self.decode, Decode::None)?,
            sequence: self
                .read_with("sequence", &self.sequence, None, |it| it.parse().map(Some))?,
            rcvhwm: self.count(&bounds::RCVHWM, &self.rcvhwm)?,
            heartbeat: self.span(&bounds::HEARTBEAT, &self.heartbeat)?,
            message_bytes_max: self.size(&bounds::MAX_MESSAGE, &self.max_message)?,

            listen: self.listeners()?,
            reuse_port: self.switch("reuse-port", &self.reuse_port)?,
            tls_cert: self.tls_cert.as_deref().map(PathBuf::from),
            tls_key: self.tls_key.as_deref().map(PathBuf::from),
            format: self.read_with("format", &self.format, None, |text| text.parse().map(Some))?,
            payload: self.read("payload", &self.payload, Payload::Auto)?,
            history_messages_max: self.count(&bounds::HISTORY, &self.history)?,
            history_bytes_max: self.history_bytes()?,
            last_value: self.switch("last-value", &self.last_value)?,
            last_value_topics_max: self
                .count(&bounds::LAST_VALUE_TOPICS, &self.last_value_topics)?,
            socket_io_recovery: self.switch("socket-io-recovery", &self.socket_io_recovery)?,
            lag_policy: self.read("slow-client", &self.slow_client, LagPolicy::Skip)?,
            lag_bytes_max: self.size(&bounds::MAX_LAG, &self.max_lag)?,
            coalesce: self.span(&bounds::COALESCE, &self.coalesce)?,
            compress: self.switch("compress", &self.compress)?,
            compress_bytes_min: self.size(&bounds::COMPRESS_MIN, &self.compress_min)?,
            site: self.site()?,

            clients_max: self.count(&bounds::MAX_CLIENTS, &self.max_clients)?,
            clients_per_ip_max: self
                .count(&bounds::MAX_CLIENTS_PER_IP, &self.max_clients_per_ip)?,
            topics_max: self.count(&bounds::MAX_TOPICS, &self.max_topics)?,
            handshake_timeout: self.span(&bounds::HANDSHAKE_TIMEOUT, &self.handshake_timeout)?,
            keepalive_timeout: self.span(&bounds::KEEPALIVE_TIMEOUT, &self.keepalive_timeout)?,
            ping_interval: self.span(&bounds::PING_INTERVAL, &self.ping_interval)?,
            ping_timeout: self.span(&bounds::PING_TIMEOUT, &self.ping_timeout)?,
            write_timeout: self.span(&bounds::WRITE_TIMEOUT, &self.write_timeout)?,
            memory_bytes_max: self.size(&bounds::MAX_MEMORY, &self.max_memory)?,
            inbound_bytes_max: self.size(&bounds::MAX_INBOUND, &self.max_inbound)?,
            drain: self.span(&bounds::DRAIN, &self.drain)?,

            origin: self.origin_policy()?,
            metrics: self.metrics()?,

            path_prefix: String::new(),
            inbox_messages_max: bounds::INBOX_MESSAGES.default,
            inbox_bytes_max: bounds::INBOX_BYTES.default,
        })
    }

    /// The error for a value that was read and cannot be used.
    pub(crate) fn refuse_invalid(&self, invalid: &Invalid) -> ConfigError {
        let text = self.text(invalid.name).filter(|_| !invalid.is_secret);
        let value = text.as_deref().unwrap_or(&invalid.value);
        self.refuse(invalid.name, value, &*invalid.reason)
    }

    /// Reads the `value` of the setting `name`, or takes the `default`.
    ///
    /// # Errors
    ///
    /// The value cannot be read as a `T`.
    pub fn read<T>(&self, name: &str, value: &Option<Text>, default: T) -> Result<T, ConfigError>
    where
        T: FromStr<Err: fmt::Display>,
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
        Ok(endpoints)
    }

    fn endpoint(&self, name: &str, text: &str, attach: Attach) -> Result<Endpoint, ConfigError> {
        Endpoint::parse(text, attach).map_err(|reason| self.refuse(name, text, reason))
    }

    fn security(&self) -> SecurityConfig {
        let text = |text: &Option<Text>| text.as_deref().map(str::to_owned);
        let file = |name, path: &Option<Text>| {
            path.as_deref().map(|path| GivenSecret::read(name, path.as_ref()))
        };
        SecurityConfig {
            curve_secret_key: file("curve-secret-key-file", &self.curve_secret_key_file),
            curve_server_key: text(&self.curve_server_key),
            curve_public_key: text(&self.curve_public_key),
            plain_user: text(&self.plain_user),
            plain_password: file("plain-password-file", &self.plain_password_file),
        }
    }

    fn prefixes(&self) -> Vec<Vec<u8>> {
        match list(&self.subscribe) {
            [] => vec![Vec::new()],
            prefixes => prefixes.iter().map(|prefix| prefix.as_bytes().to_vec()).collect(),
        }
    }

    fn listeners(&self) -> Result<Vec<ListenAddr>, ConfigError> {
        let parse = |text: &Text| {
            text.parse().map_err(|error: ParseError| self.refuse("listen", text, error.to_string()))
        };
        list(&self.listen).iter().map(parse).collect()
    }

    fn history_bytes(&self) -> Result<Option<usize>, ConfigError> {
        let bound = bounds::HISTORY_BYTES;
        self.read_with(bound.name, &self.history_bytes, None, |text| bound.read(text).map(Some))
    }

    fn site(&self) -> Result<SiteConfig, ConfigError> {
        let is_off = self.switch("no-www", &self.no_www)?;
        let Some(dir) = self.www.as_ref() else {
            return Ok(if is_off { SiteConfig::None } else { SiteConfig::BuiltIn });
        };
        if is_off {
            return Err(self.refuse("www", dir, "conflicts with --no-www: give one of the two"));
        }
        Ok(SiteConfig::Directory(PathBuf::from(&**dir)))
    }

    fn origin_policy(&self) -> Result<OriginPolicy, ConfigError> {
        OriginPolicy::from_entries(list(&self.origin).iter().map(|text| &**text))
            .map_err(|invalid| self.refuse("origin", &invalid.entry, invalid.reason))
    }

    fn metrics(&self) -> Result<Option<ListenAddr>, ConfigError> {
        self.read_with("metrics", &self.metrics, None, |text| text.parse().map(Some))
    }

    pub(super) fn switch(&self, name: &str, value: &Option<Text>) -> Result<bool, ConfigError> {
        self.read_with(name, value, false, values::switch)
    }

    fn span(&self, bound: &Span, value: &Option<Text>) -> Result<Duration, ConfigError> {
        self.read_with(bound.name, value, bound.default, |text| bound.read(text))
    }

    fn size(&self, bound: &Size, value: &Option<Text>) -> Result<usize, ConfigError> {
        self.read_with(bound.name, value, bound.default, |text| bound.read(text))
    }

    fn count(&self, bound: &Count, value: &Option<Text>) -> Result<usize, ConfigError> {
        self.read_with(bound.name, value, bound.default, |text| bound.read(text))
    }

    pub(super) fn read_with<T, E: fmt::Display>(
        &self,
        name: &str,
        value: &Option<Text>,
        default: T,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        let Some(text) = value else { return Ok(default) };
        read(text).map_err(|reason| self.refuse(name, text, reason.to_string()))
    }
}

pub(super) fn list(texts: &Option<Vec<Text>>) -> &[Text] {
    texts.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::{Counter, CounterType};
    use crate::wire::Format;

    fn config(toml: &str) -> Result<Config, String> {
        let settings = Settings::from_toml(toml, "z.toml").map_err(|error| error.to_string())?;
        let config = settings.to_config().map_err(|error| error.to_string())?;
        let checked = config.check(false);
        checked.map_err(|invalid| settings.refuse_invalid(&invalid).to_string())?;
        Ok(config)
    }

    #[test]
    fn a_library_opens_nothing_that_nobody_asked_for() {
        let config = Config::default();
        assert!(config.endpoints.is_empty() && config.listen.is_empty());
        assert_eq!(config.check(false), Ok(()));
    }

    #[test]
    fn defaults_are_those_of_the_help() {
        let config = config("").unwrap();
        let seconds = Duration::from_secs;
        assert_eq!(config.socket, SocketKind::Sub);
        assert_eq!(config.subscribe, [b""]);
        assert!(!config.on_demand);
        assert_eq!(config.topic_from, TopicFrom::Part);
        assert_eq!((config.decode, config.sequence), (Decode::None, None));
        assert_eq!((config.rcvhwm, config.heartbeat), (10_000, seconds(5)));
        assert_eq!(config.message_bytes_max, 16 << 20);
        assert!(!config.reuse_port);
        assert_eq!((config.format, config.payload), (None, Payload::Auto));
        assert_eq!((config.history_messages_max, config.history_bytes()), (1_000, 8 << 20));
        assert_eq!((config.last_value, config.last_value_topics_max), (false, 10_000));
        assert!(!config.socket_io_recovery);
        assert_eq!((config.compress, config.compress_bytes_min), (false, 256));
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

    #[cfg(feature = "compress")]
    #[test]
    fn what_the_feature_compress_is_for_reaches_its_field() {
        let config = config("decode = 'auto'\ncompress = true\non-demand = true").unwrap();
        assert_eq!((config.decode, config.compress, config.on_demand), (Decode::Auto, true, true));
    }

    #[test]
    fn socket_io_recovery_reaches_its_field() {
        assert!(config("socket-io-recovery = true").unwrap().socket_io_recovery);
    }

    #[test]
    fn what_was_left_out_of_the_build_is_refused() {
        for (feature, is_here, toml, setting) in [
            ("compress", cfg!(feature = "compress"), "compress = true", "compress: 'true'"),
            ("compress", cfg!(feature = "compress"), "decode = 'zlib'", "decode: 'zlib'"),
            ("tls", cfg!(feature = "tls"), "tls-cert = 'x'\ntls-key = 'y'", "tls-cert: 'x'"),
        ] {
            let reason = format!("this build has none: the Cargo feature '{feature}' was left out");
            let refused = (!is_here).then(|| format!("z.toml: {setting}: {reason}"));
            // Who has it reads the files.
            let error = config(toml).err().filter(|error| error.ends_with(&reason));
            assert_eq!(error, refused);
        }
        let off = "compress = false\ncompress-min = 1\ndecode = 'none'\nsocket-io-recovery = false";
        let config = config(off).unwrap();
        assert_eq!((config.compress, config.decode), (false, Decode::None));
        assert!(!config.socket_io_recovery);
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
            compress-min = "1KiB"
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
        assert_eq!(config.sequence, Some(Counter { part: 2, number: CounterType::U32Le }));
        assert_eq!((config.rcvhwm, config.heartbeat), (1, millis(0)));
        assert_eq!(config.message_bytes_max, 1024);
        assert_eq!((config.listen.len(), config.reuse_port), (2, true));
        assert_eq!((config.format, config.payload), (Some(Format::Json), Payload::Binary));
        assert_eq!((config.history_messages_max, config.history_bytes()), (7, 64 << 10));
        assert_eq!((config.last_value, config.last_value_topics_max), (true, 8));
        assert_eq!(config.compress_bytes_min, 1 << 10);
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
        let dir = std::env::temp_dir();
        let toml = format!("www = '{}'\nno-www = false", dir.display());
        assert_eq!(config(&toml).unwrap().site, SiteConfig::Directory(dir));
    }
}
