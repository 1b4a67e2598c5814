//! What a value must be, alone and against the others. The only place that decides it: for what was typed, and for what
//! a host program sets.

use std::fmt::Display;
use std::path::PathBuf;

use crate::config::kinds::Kind;
use crate::config::{Config, SiteConfig};
use crate::error::ConfigError;
use crate::feed::LagPolicy;
use crate::intake::{Counter, Decode};
use crate::message::TopicFrom;
use crate::net::ListenAddr;
use crate::source::{Attach, Endpoint, SocketKind};

/// History is at most one part in so many of the memory, and last values are another.
const HISTORY_SHARE: usize = 8;

/// What `--history-bytes` says where it is not given.
const HISTORY_BYTES: usize = 8 << 20;

/// A ZeroMQ context has 1023 sockets, and an endpoint takes three: its own, and two for its monitor.
const ENDPOINTS_MAX: usize = 1023 / 3;

impl Config {
    /// Whether somebody may need the last message of each topic.
    pub(crate) fn keeps_last_values(&self) -> bool {
        self.last_value || self.lag_policy == LagPolicy::Conflate
    }

    /// Bytes of messages kept for who comes back, and as many again of last values where those are kept: at most an
    /// eighth of all memory, which they are a part of.
    pub(crate) fn history_bytes(&self) -> usize {
        let bytes_max = self.memory_bytes_max / HISTORY_SHARE;
        self.history_bytes_max.unwrap_or(HISTORY_BYTES.min(bytes_max))
    }

    /// Checks every value. Opens nothing; looks only whether the directory of `--www` exists, and what is in the files of
    /// `--tls-cert` and `--tls-key`. `has_context` says whether the ZeroMQ context is one that others use.
    ///
    /// # Errors
    ///
    /// The first value that cannot be used.
    pub(crate) fn check(&self, has_context: bool) -> Result<(), ConfigError> {
        self.check_bounds()?;
        self.check_endpoints(has_context)?;
        self.security()?;
        self.check_on_demand()?;
        self.check_addresses()?;
        self.check_site()?;
        self.check_path_prefix()?;
        self.check_memory()?;
        self.check_features()?;
        self.tls_files()?.map_or(Ok(()), |files| files.load().map(drop))
    }

    /// What is allowed and probably not meant, one line each.
    pub(crate) fn hints(&self) -> Vec<String> {
        let hint = |prefix: &Vec<u8>| {
            let text = std::str::from_utf8(prefix).ok()?;
            let start = text.strip_suffix('*')?;
            let reason = format!(
                "'*' is a character like others here; '{}' matches all topics that begin so",
                start.escape_debug()
            );
            Some(self.refuse("subscribe", text, reason).to_string())
        };
        self.subscribe.iter().filter_map(hint).collect()
    }

    /// Checks one value against the bounds of its kind.
    pub(super) fn check_one<K: Kind>(
        &self,
        name: &'static str,
        kind: &K,
        value: &K::Value,
    ) -> Result<(), ConfigError> {
        let refuse = |shown| Err(self.refuse(name, shown, kind.expected()));
        kind.out_of_bounds(value).map_or(Ok(()), refuse)
    }

    /// The error for a setting that cannot be used.
    pub(crate) fn refuse(
        &self,
        name: &str,
        value: impl Display,
        reason: impl Into<String>,
    ) -> ConfigError {
        self.given.refuse(name, value, reason)
    }

    /// Whether `name` was given, in whatever way.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.is_given(name)
    }

    /// Notes that a method of the builder set `name`.
    pub(crate) fn set_in_code(&mut self, name: &'static str) {
        self.given.insert_code(name);
    }

    /// The name of the setting `other` in an error about `name`.
    pub(crate) fn mention(&self, name: &str, other: &str) -> String {
        self.given.mention(name, other)
    }

    /// What was left out of this build cannot be asked for.
    fn check_features(&self) -> Result<(), ConfigError> {
        let is_on = |is_on: bool| is_on.then(|| "true".to_owned());
        let decode = format!("{:?}", self.decode).to_lowercase();
        let path = |path: &Option<PathBuf>| path.as_ref().map(|it| it.display().to_string());
        // The Cargo feature, whether it is here, and the value of a setting that needs it.
        let needs = [
            (
                "compress",
                cfg!(feature = "compress"),
                "decode",
                Some(decode).filter(|it| it != "none"),
            ),
            ("compress", cfg!(feature = "compress"), "compress", is_on(self.compress)),
            ("tls", cfg!(feature = "tls"), "tls_cert", path(&self.tls_cert)),
            ("tls", cfg!(feature = "tls"), "tls_key", path(&self.tls_key)),
        ];
        for (feature, is_here, name, value) in needs {
            if let (false, Some(value)) = (is_here, value) {
                let reason =
                    format!("this build has none: the Cargo feature '{feature}' was left out");
                return Err(self.refuse(name, value, reason));
            }
        }
        Ok(())
    }

    fn check_endpoints(&self, has_context: bool) -> Result<(), ConfigError> {
        if let Some(Counter { part, .. }) = self.sequence
            && !Counter::PARTS.contains(&part)
        {
            let (first, last) = (Counter::PARTS.start(), Counter::PARTS.end());
            let reason = format!("expected a part of the body from {first} to {last}");
            return Err(self.refuse("sequence", part, reason));
        }
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            // A free port is a new one each time.
            let is_free_port = [":*", ":0"].iter().any(|port| endpoint.to_string().ends_with(port));
            if !is_free_port && self.endpoints[..index].contains(endpoint) {
                let reason = "is given twice: every message would come twice";
                return Err(self.refuse(flag_of(endpoint), endpoint, reason));
            }
        }
        let mut of_zeromq = self.endpoints.iter().filter(|endpoint| !endpoint.is_udp());
        if let Some(endpoint) = of_zeromq.nth(ENDPOINTS_MAX).filter(|_| !has_context) {
            let reason = format!(
                "expected at most {ENDPOINTS_MAX} endpoints: ZeroMQ has no sockets for more; a proxy in front can join them"
            );
            return Err(self.refuse(flag_of(endpoint), endpoint, reason));
        }
        if self.socket == SocketKind::Pull
            && let Some(prefix) = self.subscribe.iter().find(|prefix| !prefix.is_empty())
        {
            let socket = self.mention("subscribe", "socket");
            let reason = format!("conflicts with {socket} pull: a PULL socket gets every message");
            return Err(self.refuse("subscribe", String::from_utf8_lossy(prefix), reason));
        }
        let is_udp = |endpoint: &&Endpoint| endpoint.is_udp();
        if let (SocketKind::Pull, Some(udp)) = (self.socket, self.endpoints.iter().find(is_udp)) {
            let (name, what) =
                (flag_of(udp), "RADIO sockets send to everyone who listens, as PUB does");
            let socket = self.mention(name, "socket");
            return Err(self.refuse(name, udp, format!("conflicts with {socket} pull: {what}")));
        }
        match self.endpoints.iter().find(|endpoint| endpoint.is_inproc()) {
            Some(endpoint) if !has_context => {
                let reason = "inproc:// works only in the library, with the ZeroMQ context of the other end \
                              (zmq_context); expected tcp:// or ipc://";
                Err(self.refuse(flag_of(endpoint), endpoint, reason))
            }
            _ => Ok(()),
        }
    }

    fn check_on_demand(&self) -> Result<(), ConfigError> {
        if !self.on_demand {
            return Ok(());
        }
        let mention = |name| self.mention("on_demand", name);
        let inflates = self.decode != Decode::None;
        let conflict = match (self.socket, self.topic_from) {
            (SocketKind::Pull, _) => {
                format!("{} pull: a PULL socket cannot ask for anything", mention("socket"))
            }
            // With topics in messages of several parts it works.
            (_, TopicFrom::None) if inflates => format!(
                "{} and {} none: clients ask for inflated bodies, publishers send others",
                mention("decode"),
                mention("topic_from")
            ),
            _ => return Ok(()),
        };
        Err(self.refuse("on_demand", true, format!("conflicts with {conflict}")))
    }

    fn check_addresses(&self) -> Result<(), ConfigError> {
        for (index, address) in self.listen.iter().enumerate() {
            if !is_new_each_time(address) && self.listen[..index].contains(address) {
                return Err(self.refuse("listen", address, "is given twice"));
            }
        }
        match &self.metrics {
            Some(address) if !is_new_each_time(address) && self.listen.contains(address) => {
                let reason = "is also an address to listen on; expected another, \
                              or none to serve metrics there to loopback peers";
                Err(self.refuse("metrics", address, reason))
            }
            _ => Ok(()),
        }
    }

    fn check_site(&self) -> Result<(), ConfigError> {
        let SiteConfig::Directory(path) = &self.site else { return Ok(()) };
        let reason = match path.metadata() {
            Ok(metadata) if metadata.is_dir() => return Ok(()),
            Ok(_) => "expected a directory, and this is none".into(),
            Err(error) => format!("expected a directory: {error}"),
        };
        Err(self.refuse("www", path.display(), reason))
    }

    /// What needs no percent escapes, so that a path is compared as it came.
    fn check_path_prefix(&self) -> Result<(), ConfigError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let is_name = |name: &str| !matches!(name, "" | "." | "..") && name.chars().all(is_plain);
        let is_valid = match self.path_prefix.strip_prefix('/') {
            Some(names) => names.split('/').all(is_name),
            None => self.path_prefix.is_empty(),
        };
        let reason =
            "expected a path such as /live: letters, digits and -._~, without a slash at its end";
        let invalid = || self.refuse("path_prefix", &self.path_prefix, reason);
        if is_valid { Ok(()) } else { Err(invalid()) }
    }

    /// A limit on all memory that one message or one client's lag exceeds could never hold.
    fn check_memory(&self) -> Result<(), ConfigError> {
        let memory_bytes = self.memory_bytes_max;
        let at_most = |name, value: usize, share: &str| {
            let memory = self.mention(name, "max_memory");
            let shown = self.given.shown("max_memory", memory_bytes);
            let reason = format!("expected at most {share} of {memory}, which is {shown}");
            Err(self.refuse(name, value, reason))
        };
        if self.history_bytes() > memory_bytes / HISTORY_SHARE {
            return at_most("history_bytes", self.history_bytes(), "an eighth");
        }
        let parts = [("max_message", self.message_bytes_max), ("max_lag", self.lag_bytes_max)];
        // A part of the memory is for other things than messages on their way.
        let share = if self.keeps_last_values() { 4 } else { 2 };
        for (name, bytes) in parts {
            if bytes <= memory_bytes / share {
                continue;
            }
            if !self.given.is_given("max_memory") {
                return at_most(name, bytes, &format!("1/{share}"));
            }
            let (other, shown) = (self.mention("max_memory", name), self.given.shown(name, bytes));
            let reason = format!("expected at least {share} times {other}, which is {shown}");
            return Err(self.refuse("max_memory", memory_bytes, reason));
        }
        Ok(())
    }
}

/// The setting that an endpoint comes from.
pub(super) fn flag_of(endpoint: &Endpoint) -> &'static str {
    match endpoint.attach() {
        Attach::Connect => "connect",
        Attach::Bind => "bind",
    }
}

/// Port 0 is a new port each time.
fn is_new_each_time(address: &ListenAddr) -> bool {
    matches!(address, ListenAddr::Tcp(text) if text.ends_with(":0"))
}
