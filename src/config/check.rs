//! What a value must be, alone and against the others. The only place that decides it: for what was typed, and for what
//! a host program sets.

use std::path::PathBuf;

use crate::config::bounds::{self, Invalid};
use crate::config::{Config, SiteConfig};
use crate::feed::LagPolicy;
use crate::intake::{Counter, Decode};
use crate::message::TopicFrom;
use crate::net::ListenAddr;
use crate::source::{Attach, Endpoint, SocketKind};

/// History is at most one part in so many of the memory, and last values are another.
const HISTORY_SHARE: usize = 8;

impl Config {
    /// Whether somebody may need the last message of each topic.
    pub(crate) fn keeps_last_values(&self) -> bool {
        self.last_value || self.lag_policy == LagPolicy::Conflate
    }

    /// Bytes of messages kept for who comes back, and as many again of last values where those are kept: at most an
    /// eighth of all memory, which they are a part of.
    pub(crate) fn history_bytes(&self) -> usize {
        let bytes_max = self.memory_bytes_max / HISTORY_SHARE;
        self.history_bytes_max.unwrap_or(bounds::HISTORY_BYTES.default.min(bytes_max))
    }

    /// Checks every value. Opens nothing; looks only whether the directory of `--www` exists, and what is in the files of
    /// `--tls-cert` and `--tls-key`. `has_context` says whether the ZeroMQ context is one that others use.
    ///
    /// # Errors
    ///
    /// The first value that cannot be used.
    pub(crate) fn check(&self, has_context: bool) -> Result<(), Invalid> {
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

    fn check_bounds(&self) -> Result<(), Invalid> {
        bounds::RCVHWM.check(self.rcvhwm)?;
        bounds::HEARTBEAT.check(self.heartbeat)?;
        bounds::MAX_MESSAGE.check(self.message_bytes_max)?;
        bounds::HISTORY.check(self.history_messages_max)?;
        self.history_bytes_max.map_or(Ok(()), |bytes| bounds::HISTORY_BYTES.check(bytes))?;
        bounds::LAST_VALUE_TOPICS.check(self.last_value_topics_max)?;
        bounds::MAX_LAG.check(self.lag_bytes_max)?;
        bounds::COALESCE.check(self.coalesce)?;
        bounds::COMPRESS_MIN.check(self.compress_bytes_min)?;
        bounds::MAX_CLIENTS.check(self.clients_max)?;
        bounds::MAX_CLIENTS_PER_IP.check(self.clients_per_ip_max)?;
        bounds::MAX_TOPICS.check(self.topics_max)?;
        bounds::HANDSHAKE_TIMEOUT.check(self.handshake_timeout)?;
        bounds::KEEPALIVE_TIMEOUT.check(self.keepalive_timeout)?;
        bounds::PING_INTERVAL.check(self.ping_interval)?;
        bounds::PING_TIMEOUT.check(self.ping_timeout)?;
        bounds::WRITE_TIMEOUT.check(self.write_timeout)?;
        bounds::MAX_MEMORY.check(self.memory_bytes_max)?;
        bounds::MAX_INBOUND.check(self.inbound_bytes_max)?;
        bounds::DRAIN.check(self.drain)?;
        bounds::INBOX_MESSAGES.check(self.inbox_messages_max)?;
        bounds::INBOX_BYTES.check(self.inbox_bytes_max)
    }

    /// What was left out of this build cannot be asked for.
    fn check_features(&self) -> Result<(), Invalid> {
        let on = |is_on: bool| is_on.then(|| "true".to_owned());
        let decode = format!("{:?}", self.decode).to_lowercase();
        let decode = (self.decode != Decode::None).then_some(decode);
        let file = |path: &Option<PathBuf>| path.as_ref().map(|it| it.display().to_string());
        // The feature, whether it is here, and what needs it, with its value where it is asked for.
        let needs = [
            ("compress", cfg!(feature = "compress"), "decode", decode),
            ("compress", cfg!(feature = "compress"), "compress", on(self.compress)),
            ("tls", cfg!(feature = "tls"), "tls-cert", file(&self.tls_cert)),
            ("tls", cfg!(feature = "tls"), "tls-key", file(&self.tls_key)),
        ];
        for (feature, is_here, setting, value) in needs {
            if let (false, Some(value)) = (is_here, value) {
                let reason =
                    format!("this build has none: the Cargo feature '{feature}' was left out");
                return Err(Invalid::new(setting, value, reason));
            }
        }
        Ok(())
    }

    fn check_endpoints(&self, has_context: bool) -> Result<(), Invalid> {
        if let Some(Counter { part, .. }) = self.sequence
            && !Counter::PARTS.contains(&part)
        {
            let (first, last) = (Counter::PARTS.start(), Counter::PARTS.end());
            let reason = format!("expected a part of the body from {first} to {last}");
            return Err(Invalid::new("sequence", part, reason));
        }
        let is_udp = |endpoint: &&Endpoint| endpoint.is_udp();
        if let (SocketKind::Pull, Some(udp)) = (self.socket, self.endpoints.iter().find(is_udp)) {
            let reason = "conflicts with --socket pull: RADIO sockets send to everyone who listens, as PUB does";
            return Err(Invalid::new(flag_of(udp), udp, reason));
        }
        match self.endpoints.iter().find(|endpoint| endpoint.is_inproc()) {
            Some(endpoint) if !has_context => {
                let reason = "inproc:// works only in the library, with the ZeroMQ context of the other end \
                              (zmq_context); expected tcp:// or ipc://";
                Err(Invalid::new(flag_of(endpoint), endpoint, reason))
            }
            _ => Ok(()),
        }
    }

    fn check_on_demand(&self) -> Result<(), Invalid> {
        if !self.on_demand {
            return Ok(());
        }
        let inflates = self.decode != Decode::None;
        let conflict = match (self.socket, self.topic_from) {
            (SocketKind::Pull, _) => "--socket pull: a PULL socket cannot ask for anything",
            // With topics in messages of several parts it works.
            (_, TopicFrom::None) if inflates => {
                "--decode and --topic-from none: clients ask for inflated bodies, publishers send others"
            }
            _ => return Ok(()),
        };
        Err(Invalid::new("on-demand", true, format!("conflicts with {conflict}")))
    }

    fn check_addresses(&self) -> Result<(), Invalid> {
        for (index, address) in self.listen.iter().enumerate() {
            if !is_new_each_time(address) && self.listen[..index].contains(address) {
                return Err(Invalid::new("listen", address, "is given twice"));
            }
        }
        match &self.metrics {
            Some(address) if !is_new_each_time(address) && self.listen.contains(address) => {
                let reason = "is also an address to listen on; expected another, \
                              or none to serve metrics there to loopback peers";
                Err(Invalid::new("metrics", address, reason))
            }
            _ => Ok(()),
        }
    }

    fn check_site(&self) -> Result<(), Invalid> {
        let SiteConfig::Directory(path) = &self.site else { return Ok(()) };
        let reason = match path.metadata() {
            Ok(metadata) if metadata.is_dir() => return Ok(()),
            Ok(_) => "expected a directory, and this is none".into(),
            Err(error) => format!("expected a directory: {error}"),
        };
        Err(Invalid::new("www", path.display(), reason))
    }

    /// What needs no percent escapes, so that a path is compared as it came.
    fn check_path_prefix(&self) -> Result<(), Invalid> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let is_name = |name: &str| !matches!(name, "" | "." | "..") && name.chars().all(is_plain);
        let is_valid = match self.path_prefix.strip_prefix('/') {
            Some(names) => names.split('/').all(is_name),
            None => self.path_prefix.is_empty(),
        };
        let reason =
            "expected a path such as /live: letters, digits and -._~, without a slash at its end";
        let invalid = || Invalid::new("path-prefix", &self.path_prefix, reason);
        if is_valid { Ok(()) } else { Err(invalid()) }
    }

    /// A limit on all memory that one message or one client's lag exceeds could never hold.
    fn check_memory(&self) -> Result<(), Invalid> {
        let memory_bytes = self.memory_bytes_max;
        if self.history_bytes() > memory_bytes / HISTORY_SHARE {
            let reason = format!(
                "expected at most an eighth of --max-memory, which is {memory_bytes} bytes"
            );
            return Err(Invalid::new("history-bytes", self.history_bytes(), reason));
        }
        let parts = [("max-message", self.message_bytes_max), ("max-lag", self.lag_bytes_max)];
        // A part of the memory is for other things than messages on their way.
        let share = if self.keeps_last_values() { 4 } else { 2 };
        for (name, bytes) in parts {
            if bytes <= memory_bytes / share {
                continue;
            }
            return Err(if memory_bytes == bounds::MAX_MEMORY.default {
                let reason = format!(
                    "expected at most 1/{share} of --max-memory, which is {memory_bytes} bytes"
                );
                Invalid::new(name, bytes, reason)
            } else {
                let reason =
                    format!("expected at least {share} times --{name}, which is {bytes} bytes");
                Invalid::new("max-memory", memory_bytes, reason)
            });
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
