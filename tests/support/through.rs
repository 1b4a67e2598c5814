//! How clients reach the gateways of this run: directly, through a host that hands over its connections, or over TLS.

/// The variable that says it for a whole run.
pub(crate) const VARIABLE: &str = "ZMQ2WS_TEST_THROUGH";

#[derive(Clone, Copy)]
pub(crate) enum Through {
    Host,
    Tls,
}

impl Through {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Tls => "tls",
        }
    }

    /// Whether this run's clients reach their gateways so.
    pub(crate) fn is_set(self) -> bool {
        std::env::var(VARIABLE).is_ok_and(|word| word == self.word())
    }
}
