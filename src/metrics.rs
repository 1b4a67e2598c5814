//! What the gateway counts, and the text of `/metrics`. Labels come from closed sets: never a topic, client or address.

use std::fmt::{self, Write};

use crate::error::{CloseReason, DropReason, GapReason};

/// Upper bounds of the buckets of `zmq2ws_turn_seconds`, seconds.
const TURN_BUCKETS: [f64; 10] = [1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.5, 1.0];

/// How a client is connected. As text it is the word that metrics use.
///
/// # Examples
///
/// ```
/// # let running = zmq2ws::Gateway::builder().spawn()?;
/// # let handle = running.handle();
/// use zmq2ws::Transport;
///
/// let polls = handle.stats()?.of_transport(Transport::Poll).clients;
/// let streams = handle.clients()?.iter().filter(|it| it.transport == Transport::Sse).count();
/// assert_eq!((polls, streams, Transport::WebSocket.to_string()), (0, 0, "websocket".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// An HTTP connection that has not become anything else.
    Http,
    /// WebSocket.
    WebSocket,
    /// Server-Sent Events.
    Sse,
    /// A ZeroMQ socket over WebSocket.
    Zws,
    /// A long-poll: one request that waits for messages.
    Poll,
    /// A Socket.IO session, by whatever connections; those count as HTTP.
    SocketIo,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl Transport {
    pub(crate) const ALL: [Self; 6] =
        [Self::Http, Self::WebSocket, Self::Sse, Self::Zws, Self::Poll, Self::SocketIo];

    /// The word for logs and metric labels.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
            Self::Zws => "zws",
            Self::Poll => "poll",
            Self::SocketIo => "socketio",
        }
    }
}

/// Plain counters, written by whoever knows the fact and read by [`Self::write_text`].
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    clients: [ClientMetrics; Transport::ALL.len()],
    pub(crate) connections_refused: u64,
    pub(crate) upstream: UpstreamMetrics,
    pub(crate) gaps: [u64; GapReason::ALL.len()],
    pub(crate) feeds: usize,
    pub(crate) feed_bytes: usize,
    pub(crate) history_messages: usize,
    pub(crate) history_bytes: usize,
    pub(crate) lagging_clients: usize,
    pub(crate) lag_bytes_max: u64,
    pub(crate) deflate_in_bytes: u64,
    pub(crate) deflate_out_bytes: u64,
    turns: TurnHistogram,
}

/// One transport's.
#[derive(Debug, Default)]
struct ClientMetrics {
    open: usize,
    closed: [u64; CloseReason::ALL.len()],
    delivered_messages: u64,
    delivered_bytes: u64,
}

/// What the sources count, all together.
#[derive(Debug, Default, Clone)]
pub(crate) struct UpstreamMetrics {
    pub(crate) received_messages: u64,
    pub(crate) received_bytes: u64,
    /// Messages of the host program's own.
    pub(crate) published_messages: u64,
    pub(crate) dropped_messages: [u64; DropReason::ALL.len()],
    pub(crate) connections: u64,
    pub(crate) subscriptions: u64,
    pub(crate) disconnects: u64,
    pub(crate) reconnects: u64,
    pub(crate) refused: u64,
    pub(crate) decode_failures: u64,
    pub(crate) counters_unread: u64,
}

#[derive(Debug, Default)]
struct TurnHistogram {
    counts: [u64; TURN_BUCKETS.len() + 1],
    sum_seconds: f64,
}

impl Metrics {
    pub(crate) fn client_opened(&mut self, transport: Transport) {
        self.clients[transport as usize].open += 1;
    }

    /// A client left one transport for another, which is not a close.
    pub(crate) fn client_changed(&mut self, from: Transport, to: Transport) {
        self.clients[from as usize].open -= 1;
        self.clients[to as usize].open += 1;
    }

    pub(crate) fn client_closed(&mut self, transport: Transport, reason: CloseReason) {
        let metrics = &mut self.clients[transport as usize];
        metrics.open -= 1;
        metrics.closed[reason as usize] += 1;
    }

    pub(crate) fn delivered(&mut self, transport: Transport, messages: u64, bytes: usize) {
        let metrics = &mut self.clients[transport as usize];
        metrics.delivered_messages += messages;
        metrics.delivered_bytes += bytes as u64;
    }

    /// Messages sent to clients of `transport` so far.
    pub(crate) fn delivered_messages(&self, transport: Transport) -> u64 {
        self.clients[transport as usize].delivered_messages
    }

    /// Connections of `transport` that were closed so far.
    pub(crate) fn closed(&self, transport: Transport) -> u64 {
        self.clients[transport as usize].closed.iter().sum()
    }

    /// Bytes sent to clients of `transport` so far.
    pub(crate) fn delivered_bytes(&self, transport: Transport) -> u64 {
        self.clients[transport as usize].delivered_bytes
    }

    /// Clients connected by `transport` now.
    pub(crate) fn clients(&self, transport: Transport) -> usize {
        self.clients[transport as usize].open
    }

    /// Clients of `transport` that were closed for `reason` so far.
    #[cfg(test)]
    pub(crate) fn closed_for(&self, transport: Transport, reason: CloseReason) -> u64 {
        self.clients[transport as usize].closed[reason as usize]
    }

    /// Clients that get messages now, by whatever transport.
    pub(crate) fn subscribed_clients(&self) -> usize {
        let all: usize = self.clients.iter().map(|metrics| metrics.open).sum();
        all - self.clients(Transport::Http)
    }

    /// A turn took so long, waiting not included.
    pub(crate) fn turn_took(&mut self, seconds: f64) {
        let bucket = TURN_BUCKETS.partition_point(|&bound| bound < seconds);
        self.turns.counts[bucket] += 1;
        self.turns.sum_seconds += seconds;
    }

    /// Appends the Prometheus text format, version 0.0.4.
    pub(crate) fn write_text(&self, out: &mut String) {
        let mut text = Text { out };
        text.family("zmq2ws_build_info", "gauge", "The version of this gateway; always 1.");
        text.sample("zmq2ws_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1_u64);
        text.family("zmq2ws_clients", "gauge", "Clients connected now.");
        for transport in Transport::ALL {
            let value = self.clients(transport) as u64;
            text.sample("zmq2ws_clients", &[("transport", transport.label())], value);
        }
        text.family("zmq2ws_clients_closed_total", "counter", "Clients closed, and why.");
        for transport in Transport::ALL {
            for reason in CloseReason::ALL {
                let labels = [("transport", transport.label()), ("reason", reason.label())];
                let value = self.clients[transport as usize].closed[reason as usize];
                text.sample("zmq2ws_clients_closed_total", &labels, value);
            }
        }
        let name = "zmq2ws_messages_delivered_total";
        text.family(name, "counter", "Messages sent to clients.");
        for transport in Transport::ALL {
            let value = self.delivered_messages(transport);
            text.sample(name, &[("transport", transport.label())], value);
        }
        let name = "zmq2ws_bytes_delivered_total";
        text.family(name, "counter", "Bytes sent to clients.");
        for transport in Transport::ALL {
            let value = self.delivered_bytes(transport);
            text.sample(name, &[("transport", transport.label())], value);
        }
        self.write_upstream(&mut text);
        text.family("zmq2ws_gaps_total", "counter", "Gaps in what clients got, and why.");
        for reason in GapReason::ALL {
            let value = self.gaps[reason as usize];
            text.sample("zmq2ws_gaps_total", &[("reason", reason.label())], value);
        }
        text.single(
            "zmq2ws_connections_refused_total",
            "counter",
            "Refused with 503: too many in all, from one address, or for the memory there is.",
            self.connections_refused,
        );
        self.write_feeds(&mut text);
        self.write_turns(&mut text);
    }

    fn write_feeds(&self, text: &mut Text<'_>) {
        text.single("zmq2ws_feeds", "gauge", "Distinct filters and formats.", self.feeds as u64);
        text.single(
            "zmq2ws_feed_bytes",
            "gauge",
            "Bytes held for clients that lag, and by requests under way.",
            self.feed_bytes as u64,
        );
        text.single(
            "zmq2ws_history_messages",
            "gauge",
            "Messages kept for clients that come back.",
            self.history_messages as u64,
        );
        text.single(
            "zmq2ws_history_bytes",
            "gauge",
            "Bytes of messages kept, last values included.",
            self.history_bytes as u64,
        );
        text.single(
            "zmq2ws_clients_lagging",
            "gauge",
            "Clients that have not got everything yet.",
            self.lagging_clients as u64,
        );
        text.single(
            "zmq2ws_lag_bytes_max",
            "gauge",
            "How far the client that lags most is behind.",
            self.lag_bytes_max,
        );
        text.single(
            "zmq2ws_compress_in_bytes_total",
            "counter",
            "Bytes of messages that were deflated, each once for all its clients.",
            self.deflate_in_bytes,
        );
        text.single(
            "zmq2ws_compress_out_bytes_total",
            "counter",
            "What these became; as many again where that would have been more.",
            self.deflate_out_bytes,
        );
    }

    fn write_upstream(&self, text: &mut Text<'_>) {
        let upstream = &self.upstream;
        text.single(
            "zmq2ws_messages_received_total",
            "counter",
            "Messages taken in from ZeroMQ.",
            upstream.received_messages,
        );
        text.single(
            "zmq2ws_bytes_received_total",
            "counter",
            "Bytes of those messages, all parts.",
            upstream.received_bytes,
        );
        text.single(
            "zmq2ws_messages_published_total",
            "counter",
            "Messages taken in from the program that the gateway is a part of.",
            upstream.published_messages,
        );
        let name = "zmq2ws_messages_dropped_total";
        text.family(name, "counter", "Messages not taken in, and why.");
        for reason in DropReason::ALL {
            let value = upstream.dropped_messages[reason as usize];
            text.sample(name, &[("reason", reason.label())], value);
        }
        text.single(
            "zmq2ws_decode_failures_total",
            "counter",
            "Parts passed on as they came that --decode was to inflate.",
            upstream.decode_failures,
        );
        text.single(
            "zmq2ws_counters_unread_total",
            "counter",
            "Messages without the counter of --sequence.",
            upstream.counters_unread,
        );
        text.single(
            "zmq2ws_upstream_connections",
            "gauge",
            "ZeroMQ peers connected now.",
            upstream.connections,
        );
        text.single(
            "zmq2ws_upstream_subscriptions",
            "gauge",
            "Prefixes that publishers are asked for now.",
            upstream.subscriptions,
        );
        text.single(
            "zmq2ws_upstream_disconnects_total",
            "counter",
            "Connections to ZeroMQ peers that ended.",
            upstream.disconnects,
        );
        text.single(
            "zmq2ws_upstream_reconnects_total",
            "counter",
            "Endpoints connected again after a failure that ZeroMQ itself does not recover from.",
            upstream.reconnects,
        );
        text.single(
            "zmq2ws_upstream_refused_total",
            "counter",
            "ZeroMQ handshakes that failed: not a publisher, other security, a wrong key or password.",
            upstream.refused,
        );
    }

    fn write_turns(&self, text: &mut Text<'_>) {
        let name = "zmq2ws_turn_seconds";
        text.family(name, "histogram", "Time a turn of the event loop took, waiting not included.");
        let mut below = 0;
        for (bound, count) in TURN_BUCKETS.iter().zip(self.turns.counts) {
            below += count;
            text.sample("zmq2ws_turn_seconds_bucket", &[("le", &bound.to_string())], below);
        }
        let total = below + self.turns.counts[TURN_BUCKETS.len()];
        text.sample("zmq2ws_turn_seconds_bucket", &[("le", "+Inf")], total);
        let sum = self.turns.sum_seconds;
        // Writing to a String cannot fail.
        let _ =
            writeln!(text.out, "zmq2ws_turn_seconds_sum {sum}\nzmq2ws_turn_seconds_count {total}");
    }
}

struct Text<'a> {
    out: &'a mut String,
}

impl Text<'_> {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.out.push_str(name);
        let mut separator = '{';
        for (label, text) in labels {
            let _ = write!(self.out, "{separator}{label}=\"{text}\"");
            separator = ',';
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_family_once_and_counts() {
        let mut metrics = Metrics::default();
        metrics.client_opened(Transport::Http);
        metrics.client_changed(Transport::Http, Transport::WebSocket);
        metrics.delivered(Transport::WebSocket, 3, 300);
        metrics.client_opened(Transport::Http);
        metrics.client_closed(Transport::Http, CloseReason::Done);
        metrics.turn_took(0.0002);
        metrics.turn_took(2.0);
        let mut text = String::new();
        metrics.write_text(&mut text);
        for line in [
            concat!("zmq2ws_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "zmq2ws_clients{transport=\"websocket\"} 1",
            "zmq2ws_clients{transport=\"http\"} 0",
            "zmq2ws_clients_closed_total{transport=\"http\",reason=\"done\"} 1",
            "zmq2ws_messages_delivered_total{transport=\"websocket\"} 3",
            "zmq2ws_turn_seconds_bucket{le=\"0.0005\"} 1",
            "zmq2ws_turn_seconds_bucket{le=\"+Inf\"} 2",
            "zmq2ws_turn_seconds_count 2",
            "zmq2ws_messages_dropped_total{reason=\"too_large\"} 0",
            "zmq2ws_gaps_total{reason=\"lag\"} 0",
        ] {
            assert!(text.lines().any(|present| present == line), "{line}\n{text}");
        }
        let families: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let distinct: std::collections::HashSet<_> = families.iter().collect();
        assert_eq!(families.len(), distinct.len());
    }
}
