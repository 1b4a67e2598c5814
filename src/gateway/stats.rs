//! What a gateway counts, as values. The text of `/metrics` has the same and more.

use crate::connection::Connections;
use crate::metrics::{Metrics, Transport};
use crate::net::Stream;

/// What a gateway counts, at one moment ([`Handle::stats`](crate::Handle::stats)). What is not `now` only grows.
///
/// # Examples
///
/// ```
/// # let running = zmq2ws::Gateway::builder().spawn()?;
/// # let handle = running.handle();
/// let before = handle.stats()?;
/// handle.publish("weather.oslo", ["4.5"])?;
/// let after = handle.stats()?;
/// assert_eq!(after.messages_published - before.messages_published, 1);
/// println!("{} clients, {} of them lag", after.clients, after.clients_lagging);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Clients that get messages now, by whatever transport.
    pub clients: usize,
    /// Connections now: clients, and those that ask for pages or are being said goodbye.
    pub connections: usize,
    /// Connections refused with 503.
    pub connections_refused: u64,
    /// Messages taken in from ZeroMQ.
    pub messages_received: u64,
    /// Bytes of those, all parts.
    pub bytes_received: u64,
    /// Messages taken in from [`Handle::publish`](crate::Handle::publish).
    pub messages_published: u64,
    /// Messages that no client gets: too large, of too many parts, or dropped by `map`.
    pub messages_dropped: u64,
    /// Messages sent to clients, each counted for each client.
    pub messages_delivered: u64,
    /// Bytes sent to clients, with what the protocols add.
    pub bytes_delivered: u64,
    /// Gaps in what clients got, whatever the reason.
    pub gaps: u64,
    /// Clients that have not got everything yet, now.
    pub clients_lagging: usize,
    /// How many bytes the client that lags most is behind, now.
    pub lag_bytes_max: u64,
    /// Distinct filters and formats, now.
    pub feeds: usize,
    /// Bytes held for clients that lag, and by requests under way, now.
    pub feed_bytes: usize,
    /// Messages kept for clients that come back, now.
    pub history_messages: usize,
    /// Bytes of messages kept, last values included, now.
    pub history_bytes: usize,
    /// ZeroMQ peers connected now.
    pub upstream_connections: u64,
    transports: [TransportStats; Transport::ALL.len()],
}

/// What a gateway counts of one [`Transport`].
///
/// # Examples
///
/// ```
/// # let running = zmq2ws::Gateway::builder().spawn()?;
/// # let handle = running.handle();
/// let sockets = handle.stats()?.of_transport(zmq2ws::Transport::WebSocket);
/// println!("{} here, {} gone, {} B sent", sockets.clients, sockets.closed, sockets.bytes_delivered);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportStats {
    /// Connected now.
    pub clients: usize,
    /// Closed so far.
    pub closed: u64,
    /// Messages sent.
    pub messages_delivered: u64,
    /// Bytes sent.
    pub bytes_delivered: u64,
}

impl Stats {
    /// The part of one transport.
    pub fn of_transport(&self, transport: Transport) -> TransportStats {
        self.transports[transport as usize]
    }

    pub(super) fn of(connections: &mut Connections<Stream>) -> Self {
        let count = connections.len();
        let metrics = connections.context.metrics();
        let upstream = &metrics.upstream;
        let transports = Transport::ALL.map(|transport| of_transport(metrics, transport));
        Self {
            clients: metrics.subscribed_clients(),
            connections: count,
            connections_refused: metrics.connections_refused,
            messages_received: upstream.received_messages,
            bytes_received: upstream.received_bytes,
            messages_published: upstream.published_messages,
            messages_dropped: upstream.dropped_messages.iter().sum(),
            messages_delivered: transports.iter().map(|it| it.messages_delivered).sum(),
            bytes_delivered: transports.iter().map(|it| it.bytes_delivered).sum(),
            gaps: metrics.gaps.iter().sum(),
            clients_lagging: metrics.lagging_clients,
            lag_bytes_max: metrics.lag_bytes_max,
            feeds: metrics.feeds,
            feed_bytes: metrics.feed_bytes,
            history_messages: metrics.history_messages,
            history_bytes: metrics.history_bytes,
            upstream_connections: upstream.connections,
            transports,
        }
    }
}

fn of_transport(metrics: &Metrics, transport: Transport) -> TransportStats {
    TransportStats {
        clients: metrics.clients(transport),
        closed: metrics.closed(transport),
        messages_delivered: metrics.delivered_messages(transport),
        bytes_delivered: metrics.delivered_bytes(transport),
    }
}
