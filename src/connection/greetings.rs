//! How many handshakes of streams a turn has time for. Knows neither streams nor time.

/// Reads that may each be a step of a handshake, in one turn. One takes 0.6 ms with an RSA key of 2048 bits and 0.1 ms with one
/// of P-256, so that of a crowd that came at once the 128 that may be ready held up everybody else for 75 ms; now it is 5.
pub(super) const TURN_GREETINGS_MAX: usize = 8;

/// What is left of this turn's.
#[derive(Debug)]
pub(super) struct Greetings {
    left: usize,
}

impl Default for Greetings {
    /// A turn begins.
    fn default() -> Self {
        Self { left: TURN_GREETINGS_MAX }
    }
}

impl Greetings {
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
