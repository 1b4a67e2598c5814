//! Why things end: start-up and run errors, and the closed sets of reasons for closes, drops and gaps. Knows nothing else.

use std::fmt;
use std::io;

/// What stops the gateway from starting or running, as one line that names the thing at fault.
///
/// # Examples
///
/// ```
/// use zmq2ws::{Error, Gateway};
///
/// let occupied = std::net::TcpListener::bind("127.0.0.1:0")?;
/// match Gateway::builder().listen(occupied.local_addr()?).build() {
///     Ok(_) => unreachable!("somebody listens there"),
///     Err(Error::Listen { address, reason, .. }) => println!("{address}: {reason}; another one?"),
///     // One line that names what is at fault.
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A setting has a value that cannot be used.
    Config(ConfigError),
    /// A ZeroMQ endpoint cannot be bound or connected.
    #[non_exhaustive]
    Endpoint {
        /// The endpoint as it was given.
        endpoint: String,
        /// What went wrong and, where it helps, what to do.
        reason: String,
    },
    /// An address cannot be listened on.
    #[non_exhaustive]
    Listen {
        /// The address as it was given.
        address: String,
        /// What went wrong and, where it helps, what to do.
        reason: String,
    },
    /// The operating system refused something the loop cannot run without.
    #[non_exhaustive]
    System {
        /// What was attempted, as a verb phrase: `cannot create the poller`.
        action: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Endpoint { endpoint, reason } => {
                write!(f, "cannot use ZeroMQ endpoint '{}': {reason}", endpoint.escape_debug())
            }
            Self::Listen { address, reason } => {
                write!(f, "cannot listen on {}: {reason}", address.escape_debug())
            }
            Self::System { action, source } => write!(f, "{action}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            Self::Config(error) => Some(error),
            Self::Endpoint { .. } | Self::Listen { .. } => None,
        }
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// A setting that cannot be used: which one, what it was given, and why not.
///
/// # Examples
///
/// ```
/// use zmq2ws::{Error, Gateway};
///
/// let Err(Error::Config(error)) = Gateway::builder().max_topics(0).check() else {
///     panic!("nobody can ask for no topic");
/// };
/// assert_eq!((&*error.setting, &*error.value), ("max_topics", "0"));
/// assert_eq!(error.reason, "expected a whole number from 1 to 65536");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The setting as the user wrote it: `max_lag` for [`Builder::max_lag`](crate::Builder::max_lag), `zmq2ws.toml: max-lag`
    /// for a key in a file, `--max-lag` and `ZMQ2WS_MAX_LAG` for the command.
    pub setting: String,
    /// The value it was given.
    pub value: String,
    /// Why the value cannot be used, and what can.
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: '{}': {}", self.setting, self.value.escape_debug(), self.reason)
    }
}

impl std::error::Error for ConfigError {}

/// Text that is no value of the type it was to become, such as [`Format`](crate::Format): as text itself it says in one
/// line what was expected.
///
/// # Examples
///
/// ```
/// use zmq2ws::{Format, ParseError};
///
/// let error: ParseError = "xml".parse::<Format>().unwrap_err();
/// assert_eq!(error.to_string(), "expected 'raw', 'json' or 'parts'");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError(&'static str);

impl ParseError {
    pub(crate) const fn new(expected: &'static str) -> Self {
        Self(expected)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ParseError {}

/// Declares a closed set of reasons with the word that logs and metrics use for each.
macro_rules! reasons {
    ($(#[$meta:meta])* $visibility:vis $name:ident { $($(#[$doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $visibility enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every reason, in the order of declaration: `ALL[reason as usize] == reason`.
            pub(crate) const ALL: [$name; [$($label),+].len()] = [$($name::$variant),+];

            /// The word for logs and metric labels.
            pub(crate) const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.label())
            }
        }
    };
}

reasons! {
    /// Why a client's connection ended. As text it is the word that logs and metrics use; the numbers are the close codes
    /// that a WebSocket is told, where it is told one.
    ///
    /// # Examples
    ///
    /// ```
    /// use zmq2ws::{CloseReason, Event, Gateway};
    ///
    /// let gateway = Gateway::builder()
    ///     .on_event(|event| match event {
    ///         // It left, or all have to: nothing to report.
    ///         Event::Closed { reason: CloseReason::Client | CloseReason::Shutdown, .. } => {}
    ///         Event::Closed { client, reason, .. } => println!("{} was closed: {reason}", client.id),
    ///         _ => {}
    ///     })
    ///     .build()?;
    /// assert_eq!(CloseReason::PingTimeout.to_string(), "ping_timeout");
    /// # Ok::<(), zmq2ws::Error>(())
    /// ```
    #[non_exhaustive]
    pub CloseReason {
        /// The client said goodbye: a close frame, or the end of its stream.
        Client = "client",
        /// An HTTP exchange ended and the connection was not to be kept.
        Done = "done",
        /// The connection was reset or failed.
        Reset = "reset",
        /// It did not speak TLS, or not as it should.
        Tls = "tls",
        /// A violation of the WebSocket protocol (1002).
        Protocol = "protocol",
        /// Text that is not UTF-8 (1007).
        InvalidData = "invalid_data",
        /// A message above `--max-inbound` (1009), or as much behind a request for events.
        TooLarge = "too_large",
        /// On ZWS: more topics than `--max-topics`, or one that is too long (1008).
        Topics = "topics",
        /// The client lagged more than `--max-lag` under `--slow-client disconnect` (1013).
        Lag = "lag",
        /// `--max-memory` was reached and this client lagged most (1013).
        Memory = "memory",
        /// The client accepted no byte for `--write-timeout`.
        WriteTimeout = "write_timeout",
        /// No pong within `--ping-timeout`.
        PingTimeout = "ping_timeout",
        /// The request head or body did not arrive within `--handshake-timeout`.
        HandshakeTimeout = "handshake_timeout",
        /// No further request within `--keepalive-timeout`.
        KeepaliveTimeout = "keepalive_timeout",
        /// It waited without becoming a client, and there was no room for newcomers.
        Evicted = "evicted",
        /// It asked for topics that `authorize` does not allow it, or was not allowed at all, after the handshake (1008).
        Denied = "denied",
        /// There was no room for a client whose handshake the host had answered already (1013).
        Refused = "refused",
        /// The host program closed it (`Handle::disconnect`), with a code of its own.
        Host = "host",
        /// A hook of the host program panicked (1011).
        Hook = "hook",
        /// The gateway stops (1001).
        Shutdown = "shutdown",
    }
}

impl CloseReason {
    /// The WebSocket close code (RFC 6455 section 7.4.1), where the peer is to be told one.
    pub(crate) fn close_code(self) -> Option<u16> {
        match self {
            Self::Client => Some(1000),
            Self::Shutdown => Some(1001),
            Self::Protocol => Some(1002),
            Self::InvalidData => Some(1007),
            Self::Topics | Self::Denied => Some(1008),
            Self::TooLarge => Some(1009),
            Self::Hook => Some(1011),
            Self::Lag | Self::Memory | Self::Refused => Some(1013),
            Self::Done
            | Self::Host
            | Self::Reset
            | Self::Tls
            | Self::Evicted
            | Self::WriteTimeout
            | Self::PingTimeout
            | Self::HandshakeTimeout
            | Self::KeepaliveTimeout => None,
        }
    }
}

reasons! {
    /// Why an upstream message was not taken in.
    pub(crate) DropReason {
        /// Larger than `--max-message`.
        TooLarge = "too_large",
        /// More parts than a message may have.
        TooManyParts = "too_many_parts",
        /// The host program's `map` dropped it, or panicked.
        Map = "map",
        /// A datagram that no RADIO socket sends.
        Malformed = "malformed",
        /// A datagram that the kernel had no room for.
        Overflow = "overflow",
    }
}

reasons! {
    /// Why messages that a client asked for did not reach it.
    pub(crate) GapReason {
        /// The client lagged more than `--max-lag`, or memory ran out.
        Lag = "lag",
        /// What the client asked to resume from is no longer kept.
        History = "history",
        /// The client resumes from an id of an earlier run.
        Restart = "restart",
        /// The publisher's counter (`--sequence`) skipped or began anew: lost before this gateway got it.
        Upstream = "upstream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_index_their_own_table() {
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
        for (index, reason) in GapReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }

    #[test]
    fn errors_are_one_line_whatever_the_user_typed() {
        let error = Error::Endpoint { endpoint: "tcp://a\nb".into(), reason: "no port".into() };
        assert_eq!(error.to_string(), "cannot use ZeroMQ endpoint 'tcp://a\\nb': no port");
    }
}
