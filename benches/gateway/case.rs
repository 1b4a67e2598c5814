//! What is measured: a case is some servers under one load, and the figures that they are compared by.

use serde::Serialize;

use crate::server::Server;

/// What is done to a server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Load {
    /// As many messages as it takes, for so many seconds, within a window.
    FlatOut { seconds: f64 },
    /// Messages at a fixed rate.
    Paced { per_second: u32, seconds: f64 },
    /// Clients connect, and that is all.
    Handshakes,
    /// Clients are connected, and nothing happens.
    Idle,
}

/// One work for several servers.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) title: String,
    /// Where it stands in a chart; `None` is at the rate that each server reached.
    pub(crate) x: Option<f64>,
    pub(crate) load: Load,
    pub(crate) clients: usize,
    pub(crate) body_bytes: usize,
    pub(crate) has_topic: bool,
    /// What follows the body in the gateway's format.
    pub(crate) suffix_bytes: usize,
    /// The gateway first: the floor sends frames of the size that the gateway's had.
    pub(crate) servers: Vec<Server>,
    /// The place in `servers` of the one that the others are compared with.
    pub(crate) baseline: usize,
    pub(crate) targets: Vec<Target>,
}

impl Case {
    /// The gateway with its defaults: raw messages of 64 bytes without a topic.
    pub(crate) fn new(load: Load, clients: usize, servers: Vec<Server>) -> Self {
        Self {
            title: format!("{} clients", grouped(clients)),
            x: Some(clients as f64),
            load,
            clients,
            body_bytes: 64,
            has_topic: false,
            suffix_bytes: 0,
            servers,
            baseline: 1,
            targets: Vec::new(),
        }
    }

    pub(crate) fn body(mut self, bytes: usize) -> Self {
        self.title = format!("{bytes} B, {}", self.title);
        self.body_bytes = bytes;
        self
    }

    /// Under another name, and in a chart at the rate that each server reached.
    pub(crate) fn over_rates(mut self, title: String) -> Self {
        (self.title, self.x) = (title, None);
        self
    }

    /// At most `ratio` times what the baseline needs.
    pub(crate) fn within(mut self, figure: Figure, ratio: f64) -> Self {
        self.targets.push(Target { figure, limit: Limit::Ratio(ratio) });
        self
    }

    /// The figure itself is at most `value`.
    pub(crate) fn at_most(mut self, figure: Figure, value: f64) -> Self {
        self.targets.push(Target { figure, limit: Limit::Value(value) });
        self
    }

    /// What the gateway is to reach in `figure`.
    pub(crate) fn target(&self, figure: Figure) -> Option<Limit> {
        self.targets.iter().find(|target| target.figure == figure).map(|target| target.limit)
    }
}

/// What the gateway is to reach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    figure: Figure,
    limit: Limit,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Limit {
    /// The median of the ratios to the baseline, round by round.
    Ratio(f64),
    /// The median.
    Value(f64),
}

/// What can be said about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figure {
    CpuPerDelivery,
    CpuPerHandshake,
    Deliveries,
    DeliveriesPerRead,
    FirstP50,
    FirstP99,
    LastP50,
    LastP99,
    MemoryPerClient,
    BaseMemory,
    CpuShare,
    MessageRate,
    FrameBytes,
}

impl Figure {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::CpuPerDelivery => "CPU per delivery, ns",
            Self::CpuPerHandshake => "CPU per handshake, µs",
            Self::Deliveries => "deliveries, thousand/s",
            Self::DeliveriesPerRead => "deliveries per read of a client",
            Self::FirstP50 => "first client p50, µs",
            Self::FirstP99 => "first client p99, µs",
            Self::LastP50 => "last client p50, µs",
            Self::LastP99 => "last client p99, µs",
            Self::MemoryPerClient => "memory per client, B",
            Self::BaseMemory => "memory without clients, KiB",
            Self::CpuShare => "share of its core, %",
            Self::MessageRate => "messages/s",
            Self::FrameBytes => "frame, B",
        }
    }
}

/// `12000` as `12,000`.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
