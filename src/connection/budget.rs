//! How much a turn does before something else has its chance. Knows neither connections nor time.

/// How much is done before something else has its chance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Bytes that one visit writes to one client: above it a client with much to get delays the next by more than the
    /// 50 µs that the kernel needs to copy them.
    pub(crate) visit_bytes_max: usize,
    /// Clients that one turn serves: 0.5 ms at the 8 µs of a small send. Between two turns new clients are accepted, pings
    /// are sent and sources are read, so this bounds what a huge broadcast adds to everything else's latency. With 256,
    /// ten clients beside 10,000 who were served flat out waited 3.7 times as long as alone at p99, and more is lost than
    /// a turn costs, some 3 µs.
    pub(crate) turn_visits_max: usize,
    /// Bytes that one turn writes, for the same reason: 0.5 ms at 2 GB/s.
    pub(crate) turn_bytes_max: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { visit_bytes_max: 256 << 10, turn_visits_max: 64, turn_bytes_max: 1 << 20 }
    }
}

/// Reads that may each be a step of a handshake, in one turn. One takes 0.6 ms with an RSA key of 2048 bits and 0.1 ms with one
/// of P-256, so that of a crowd that came at once the 128 that may be ready held up everybody else for 75 ms; now it is 5.
pub(super) const TURN_HANDSHAKES_MAX: usize = 8;

/// What is left of this turn's.
#[derive(Debug)]
pub(super) struct HandshakeBudget {
    left: usize,
}

impl Default for HandshakeBudget {
    /// A turn begins.
    fn default() -> Self {
        Self { left: TURN_HANDSHAKES_MAX }
    }
}

impl HandshakeBudget {
    /// Whether a stream is read now. One whose handshake has to wait is ready in the next turn, too: the poller says so again,
    /// and those that have waited before those that are served.
    pub(super) fn admit(&mut self, is_greeting: bool) -> bool {
        if is_greeting {
            let has_time = self.left > 0;
            self.left = self.left.saturating_sub(1);
            return has_time;
        }
        true
    }
}
