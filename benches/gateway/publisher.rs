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
        Ok(Self { socket, endpoint, body: vec![b'.'; body_bytes], _context: context })
    }

    pub(crate) fn wait_for_subscription(&self) -> Result<()> {
        let error = |error| format!("the server does not subscribe: {error}");
        self.socket.recv_bytes(0).map(drop).map_err(error).map_err(Into::into)
    }

    pub(crate) fn send(&mut self, topic: &str, number: u64) -> Result<()> {
        write!(&mut self.body[..DIGITS], "{number:0DIGITS$}")?;
        self.socket.send(topic, DONTWAIT | SNDMORE)?;
        Ok(self.socket.send(&self.body, DONTWAIT)?)
    }
}
