//! What is measured: a case is some servers at work, and the figures that they are compared by.

use serde::Serialize;

use crate::server::Server;
use crate::transport::Transport;

/// What is done to a server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Load {
    /// As many messages as it takes, for so many seconds, within a window.
    FlatOut { seconds: f64 },
    /// Messages at a fixed rate.
    Paced { per_second: u32, seconds: f64 },
    /// Each client has a filter of its own, and one message is under way at a time, to the first `receivers` in turn.
    OneByOne { receivers: usize, seconds: f64 },
    /// Two messages, and the last client reads slowly.
    Overtaking,
    /// Ten clients of another publisher get ten messages a second, others are served flat out, newcomers knock.
    Fairness { seconds: f64 },
    /// So many clients come back at once and get what they missed, while the others get messages at a fixed rate.
    Resume { returning: usize },
    /// Clients connect, and that is all.
    Handshakes,
    /// Clients are connected, and nothing happens.
    Idle,
    /// Clients are connected and answer pings, which come every 5 s.
    Pings { seconds: f64 },
}

/// What one server has to do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Work {
    pub(crate) load: Load,
    pub(crate) clients: usize,
    /// How many of the clients never read.
    pub(crate) stalled: usize,
    pub(crate) body_bytes: usize,
    pub(crate) transport: Transport,
    /// What a message may take beside its body.
    pub(crate) envelope_bytes: usize,
}

/// What a WebSocket's frame adds to a body at most.
pub(crate) const ENVELOPE_BYTES: usize = 64;

impl Work {
    /// Messages of 64 bytes to WebSockets who all read.
    pub(crate) fn new(load: Load, clients: usize) -> Self {
        Self {
            load,
            clients,
            stalled: 0,
            body_bytes: 64,
            transport: Transport::WebSocket,
            envelope_bytes: ENVELOPE_BYTES,
        }
    }
}

/// A server at its work.
#[derive(Debug, Clone)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) server: Server,
    pub(crate) work: Work,
}

/// What is compared.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) title: String,
    /// Where it stands in a chart; `None` is at the rate that each server reached.
    pub(crate) x: Option<f64>,
    /// Of most contenders.
    pub(crate) work: Work,
    /// What follows the body in the gateway's format.
    pub(crate) suffix_bytes: usize,
    /// The gateway first: the floor sends frames of the size that the gateway's had. The second is the baseline.
    pub(crate) contenders: Vec<Contender>,
    pub(crate) targets: Vec<Target>,
    /// Whether peers that were asked for take part.
    pub(crate) has_peers: bool,
}

impl Case {
    /// One work for several servers; the second is the baseline.
    pub(crate) fn new(work: Work, servers: Vec<Server>) -> Self {
        let contender = |server: Server| Contender { name: server.name().to_owned(), server, work };
        Self {
            title: format!("{} clients", grouped(work.clients)),
            x: Some(work.clients as f64),
            work,
            suffix_bytes: 0,
            contenders: servers.into_iter().map(contender).collect(),
            targets: Vec::new(),
            has_peers: false,
        }
    }

    /// The gateway with these flags at one work, compared with itself at another.
    pub(crate) fn beside_itself(
        flags: &[&str],
        (name, work): (&str, Work),
        (other_name, other): (&str, Work),
    ) -> Self {
        let server = Server::gateway(flags);
        Self::of_gateways([(name, server.clone(), work), (other_name, server, other)])
    }

    /// The gateway with some flags, compared with itself with others.
    pub(crate) fn with_and_without(work: Work, flags: &[&str], other: &[&str]) -> Self {
        let gateways = [flags, other].map(|flags| (flags.join(" "), Server::gateway(flags)));
        let [(name, server), (other_name, other)] = gateways;
        Self::of_gateways([(&name, server, work), (&other_name, other, work)])
    }

    fn of_gateways(gateways: [(&str, Server, Work); 2]) -> Self {
        let work = gateways[0].2;
        let contender = |(name, server, work): (&str, Server, Work)| Contender {
            name: format!("gateway {name}"),
            server,
            work,
        };
        let contenders = gateways.map(contender).into();
        Self { contenders, ..Self::new(work, Vec::new()) }
    }

    pub(crate) fn titled(self, title: String) -> Self {
        Self { title, ..self }
    }

    /// Under another name, and in a chart at the rate that each server reached.
    pub(crate) fn over_rates(self, title: String) -> Self {
        Self { title, x: None, ..self }
    }

    /// With these peers too, where they can take part.
    pub(crate) fn and_peers(mut self, peers: &[Server]) -> Self {
        if self.has_peers {
            let more = Self::new(self.work, peers.to_vec());
            self.contenders.extend(more.contenders);
        }
        self
    }

    pub(crate) fn with_peers(self) -> Self {
        Self { has_peers: true, ..self }
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

    /// At most `value` more than the baseline's.
    pub(crate) fn at_most_above(mut self, figure: Figure, value: f64) -> Self {
        self.targets.push(Target { figure, limit: Limit::Above(value) });
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
    /// The median of the differences from the baseline, round by round.
    Above(f64),
}

/// What can be said about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figure {
    CpuPerDelivery,
    ThreadCpuPerDelivery,
    CpuPerHandshake,
    Deliveries,
    DeliveriesPerSegment,
    DeliveriesPerRead,
    RateKept,
    RequestRate,
    FirstP50,
    FirstP99,
    LastP50,
    LastP99,
    MemoryPerClient,
    BaseMemory,
    MemoryGrowth,
    CatchUp,
    HandshakeP99,
    HealthP99,
    FirstHasSecond,
    LastHasFirst,
    Overtaking,
    PingCpuShare,
    CpuShare,
    MessageRate,
    FrameBytes,
}

impl Figure {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::CpuPerDelivery => "CPU per delivery, ns",
            Self::ThreadCpuPerDelivery => "CPU of the loop's thread per delivery, ns",
            Self::CpuPerHandshake => "CPU per handshake, µs",
            Self::Deliveries => "deliveries, thousand/s",
            Self::DeliveriesPerSegment => "deliveries per TCP segment",
            Self::DeliveriesPerRead => "deliveries per read of a client",
            Self::RateKept => "part of the rate that was kept",
            Self::RequestRate => "requests/s that the host answered",
            Self::FirstP50 => "first client p50, µs",
            Self::FirstP99 => "first client p99, µs",
            Self::LastP50 => "last client p50, µs",
            Self::LastP99 => "last client p99, µs",
            Self::MemoryPerClient => "memory per client, B",
            Self::BaseMemory => "memory without clients, KiB",
            Self::MemoryGrowth => "memory at its peak over before, KiB",
            Self::CatchUp => "all have what they missed after, s",
            Self::HandshakeP99 => "a newcomer's handshake p99, µs",
            Self::HealthP99 => "/healthz p99, µs",
            Self::FirstHasSecond => "first client has message 2 after, µs",
            Self::LastHasFirst => "last client has message 1 after, µs",
            Self::Overtaking => "the one as a part of the other",
            Self::PingCpuShare => "CPU with pings every 25 s, % of a core",
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
