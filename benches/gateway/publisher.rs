//! The publisher that every server is fed by. Knows how a body looks, and neither clients nor time.

use std::io::Write;

use zmq::{Context, DONTWAIT, SNDMORE, Socket, XPUB};

use crate::Result;
use crate::frames::DIGITS;

/// How long a server may take to subscribe once its clients are there.
const SUBSCRIPTION_TIMEOUT_MS: i32 = 10_000;

/// The topic of messages that have one.
const TOPIC: &[u8] = b"bench";

/// A bound socket. It is an XPUB, so that it knows when it is subscribed to.
pub(crate) struct Publisher {
    socket: Socket,
    pub(crate) endpoint: String,
    body: Vec<u8>,
    has_topic: bool,
    _context: Context,
}

impl Publisher {
    /// Bodies have `body_bytes`, in one part, or after a topic.
    pub(crate) fn bind(body_bytes: usize, has_topic: bool) -> Result<Self> {
        let context = Context::new();
        let socket = context.socket(XPUB)?;
        // The bench's window bounds what waits; a message dropped here would never be noticed by a limit.
        socket.set_sndhwm(0)?;
        socket.set_linger(0)?;
        socket.set_rcvtimeo(SUBSCRIPTION_TIMEOUT_MS)?;
        socket.bind("tcp://127.0.0.1:*")?;
        let endpoint = socket.get_last_endpoint()?.map_err(|_| "an endpoint that is no text")?;
        Ok(Self { socket, endpoint, body: vec![b'.'; body_bytes], has_topic, _context: context })
    }

    pub(crate) fn wait_for_subscription(&self) -> Result<()> {
        let error = |error| format!("the server does not subscribe: {error}");
        self.socket.recv_bytes(0).map(drop).map_err(error).map_err(Into::into)
    }

    pub(crate) fn send(&mut self, number: u64) -> Result<()> {
        write!(&mut self.body[..DIGITS], "{number:0DIGITS$}")?;
        if self.has_topic {
            self.socket.send(TOPIC, DONTWAIT | SNDMORE)?;
        }
        Ok(self.socket.send(&self.body, DONTWAIT)?)
    }
}
