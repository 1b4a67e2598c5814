//! The publisher that every server is fed by. Knows how a body looks, and neither clients nor time.

use std::io::Write;

use zmq::{Context, DONTWAIT, SNDMORE, Socket, XPUB};

use crate::Result;
use crate::frames::DIGITS;

/// How long a server may take to subscribe once its clients are there.
const SUBSCRIPTION_TIMEOUT_MS: i32 = 10_000;

/// A bound socket. It is an XPUB, so that it knows when it is subscribed to.
pub(crate) struct Publisher {
    socket: Socket,
    pub(crate) endpoint: String,
    body: Vec<u8>,
    /// How much of the body a message numbered 0 has.
    probe_bytes: usize,
    _context: Context,
}

impl Publisher {
    /// Messages are a topic and a body of `body_bytes`.
    pub(crate) fn bind(body_bytes: usize) -> Result<Self> {
        let context = Context::new();
        let socket = context.socket(XPUB)?;
        // The bench's window bounds what waits; a message dropped here would never be noticed by a limit.
        socket.set_sndhwm(0)?;
        socket.set_linger(0)?;
        socket.set_rcvtimeo(SUBSCRIPTION_TIMEOUT_MS)?;
        socket.bind("tcp://127.0.0.1:*")?;
        let endpoint = socket.get_last_endpoint()?.map_err(|_| "an endpoint that is no text")?;
        let body = text(body_bytes);
        Ok(Self { socket, endpoint, body, probe_bytes: body_bytes, _context: context })
    }

    /// The same, whose messages numbered 0 are too short to be deflated.
    pub(crate) fn with_short_probes(self) -> Self {
        Self { probe_bytes: DIGITS, ..self }
    }

    pub(crate) fn wait_for_subscription(&self) -> Result<()> {
        let error = |error| format!("the server does not subscribe: {error}");
        self.socket.recv_bytes(0).map(drop).map_err(error).map_err(Into::into)
    }

    pub(crate) fn send(&mut self, topic: &str, number: u64) -> Result<()> {
        write!(&mut self.body[..DIGITS], "{number:0DIGITS$}")?;
        self.socket.send(topic, DONTWAIT | SNDMORE)?;
        let bytes = if number == 0 { self.probe_bytes } else { self.body.len() };
        Ok(self.socket.send(&self.body[..bytes], DONTWAIT)?)
    }
}

/// What feeds carry, but for what JSON would have to escape: some words again and again, and digits that no one could
/// guess.
fn text(bytes: usize) -> Vec<u8> {
    let mut text = vec![b'.'; DIGITS];
    let mut random = 1_u64;
    while text.len() < bytes {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (price, volume) = ((random >> 33) % 1_000_000, (random >> 50) % 10_000);
        text.extend_from_slice(
            format!(
                "{{symbol: S{:03}, price: {price}, volume: {volume}, side: buy}}, ",
                price % 500
            )
            .as_bytes(),
        );
    }
    text.truncate(bytes);
    text
}
