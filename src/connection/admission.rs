//! Admission: how many connections and clients there may be, and the refusals of those beyond. Knows no socket.

use std::net::IpAddr;

use crate::access::AddressCounts;
use crate::feed::Feeds;
use crate::http::{Refusal, Role, response};
use crate::metrics::Metrics;

/// Seconds after which a refused client may come back, at the least.
const RETRY_AFTER_SECONDS: u32 = 5;

/// How ready the gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    Draining,
}

/// Decides whether one more connection, or client, may come in.
pub(crate) struct Admission {
    pub(crate) phase: Phase,
    pub(crate) clients_max: usize,
    addresses: AddressCounts,
    /// Spreads when refused clients come back; only that.
    refusals: u64,
}

impl Admission {
    /// Room for `clients_max` clients, and for `per_ip_max` connections from one address; 0 is no limit.
    pub(crate) fn with_limits(clients_max: usize, per_ip_max: usize) -> Self {
        let addresses = AddressCounts::with_limit(per_ip_max);
        Self { phase: Phase::Serving, clients_max, addresses, refusals: 0 }
    }

    /// Counts one more connection of an address, if it may have one.
    pub(super) fn admit(&mut self, ip: Option<IpAddr>, role: Role) -> bool {
        self.addresses.admit(counted_address(ip, role))
    }

    /// A connection that was admitted has ended.
    pub(super) fn release(&mut self, ip: Option<IpAddr>, role: Role) {
        self.addresses.release(counted_address(ip, role));
    }

    /// Whether one more client may come in.
    pub(super) fn check_client(
        &mut self,
        metrics: &mut Metrics,
        feeds: &mut Feeds,
    ) -> Result<(), Refusal> {
        if self.phase == Phase::Draining {
            return Err(self.turn_down(metrics, "draining"));
        }
        if metrics.subscribed_clients() >= self.clients_max {
            return Err(self.turn_down(metrics, "too many clients"));
        }
        if !feeds.has_room_for_wishes() {
            return Err(self.turn_down(metrics, "too many different filters"));
        }
        Ok(())
    }

    /// As [`Self::unavailable`], and counts the refusal.
    pub(super) fn turn_down(&mut self, metrics: &mut Metrics, reason: &'static str) -> Refusal {
        metrics.connections_refused += 1;
        log::debug!("refused with 503: {reason}");
        self.unavailable(reason)
    }

    /// 503, with a time to come back that differs from one refused client to the next.
    pub(super) fn unavailable(&mut self, reason: &'static str) -> Refusal {
        self.refusals = self.refusals.wrapping_add(1);
        let seconds = response::retry_after_seconds(RETRY_AFTER_SECONDS, self.refusals);
        Refusal::unavailable(reason, seconds)
    }
}

/// The address whose connections are counted: those to the listener for metrics and health are not clients'.
fn counted_address(ip: Option<IpAddr>, role: Role) -> Option<IpAddr> {
    ip.filter(|_| role != Role::Operation)
}
