//! The one ZeroMQ socket that publishes. Knows the subscriptions, and what to do while there is no subscriber or a
//! queue is full.

use std::time::{Duration, Instant};

use zmq2ws_examples::endpoint::ZmqEndpoint;
use zmq2ws_examples::process::ATTENTION_MS;
use zmq2ws_examples::{ffi, sockets};

use crate::prefixes::Prefixes;

/// After so many messages, who subscribes is looked at: more often costs more than sending.
const MESSAGES_PER_LOOK: u32 = 64;

/// What happens to messages without a subscriber, or for a subscriber whose queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Delivery {
    /// They wait, and files are not read on; only what others than those who are there want is lost
    Wait,
    /// They are lost, as with any PUB socket
    Drop,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// In the queue of everyone who wants it, or of all but those who were found to be full before.
    All,
    /// Not in a full queue, whose subscriber gets nothing until the queue has space again. libzmq does not
    /// count those messages.
    Some,
    /// Nowhere: its topic has no subscriber.
    Unheard,
    /// Nowhere: the caller gave up waiting.
    GivenUp,
}

pub(crate) struct Publisher {
    socket: zmq::Socket,
    delivery: Delivery,
    /// Multicast has listeners who do not tell.
    is_blind: bool,
    prefixes: Prefixes,
    /// How many subscriptions came in all, also such as were there already.
    subscriptions: u64,
    messages_since_look: u32,
}

/// How a publisher is opened.
pub(crate) struct Options {
    pub(crate) delivery: Delivery,
    /// Messages that may wait for each subscriber.
    pub(crate) hwm: i32,
    /// For OpenPGM.
    pub(crate) multicast_kbits: u32,
    pub(crate) multicast_hops: u32,
}

impl Publisher {
    /// Opens the socket; also returns what to tell the user.
    ///
    /// # Errors
    ///
    /// One line that names the endpoint and the reason.
    pub(crate) fn open(
        context: &zmq::Context,
        bind: &[&ZmqEndpoint],
        connect: &[&ZmqEndpoint],
        options: &Options,
    ) -> Result<(Self, Vec<String>), String> {
        // XPUB is a PUB socket that can also read who subscribes.
        let explain = |error: zmq::Error| error.to_string();
        let mut socket = context.socket(zmq::XPUB).map_err(explain)?;
        socket.set_sndhwm(options.hwm).map_err(explain)?;
        socket.set_sndtimeo(ATTENTION_MS).map_err(explain)?;
        socket.set_xpub_verbose(true).map_err(explain)?;
        // libzmq reports full queues in both cases, so dropped messages are counted, too.
        ffi::set_nodrop(&mut socket, true)?;
        let is_blind = connect.iter().any(|endpoint| endpoint.is_multicast());
        if is_blind {
            socket.set_rate(options.multicast_kbits.cast_signed()).map_err(explain)?;
            socket.set_multicast_hops(options.multicast_hops.cast_signed()).map_err(explain)?;
        }
        let said = sockets::attach(&mut socket, bind, connect)?;
        let publisher = Self {
            socket,
            delivery: options.delivery,
            is_blind,
            prefixes: Prefixes::default(),
            subscriptions: 0,
            messages_since_look: 0,
        };
        Ok((publisher, said))
    }

    /// Waits for so many subscriptions, until the deadline or until `gives_up`; false when they did not
    /// come.
    ///
    /// A publisher drops messages without a subscription, and a subscription comes only after the
    /// connection and its handshake: without this wait, the first messages would be lost.
    pub(crate) fn wait_for_subscriptions(
        &mut self,
        count: u64,
        deadline: Option<Instant>,
        mut gives_up: impl FnMut() -> bool,
    ) -> zmq::Result<bool> {
        while !self.is_blind && self.subscriptions < count {
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if is_over || gives_up() {
                return Ok(false);
            }
            self.look_for(ATTENTION_MS)?;
        }
        Ok(true)
    }

    /// Sends a message, or does what [`Delivery`] says.
    pub(crate) fn send(
        &mut self,
        topic: &[u8],
        body: &[u8],
        gives_up: impl FnMut() -> bool,
    ) -> zmq::Result<Sent> {
        self.messages_since_look += 1;
        if self.messages_since_look >= MESSAGES_PER_LOOK {
            self.look_for(0)?;
        }
        if !self.is_heard(topic) {
            self.look_for(0)?;
        }
        match self.delivery {
            Delivery::Wait => self.send_patiently(topic, body, gives_up),
            Delivery::Drop if self.is_heard(topic) => self.send_at_once(topic, body, gives_up),
            Delivery::Drop => Ok(Sent::Unheard),
        }
    }

    /// Takes in who subscribes; for when there is nothing to send.
    pub(crate) fn look(&mut self) -> zmq::Result<()> {
        self.look_for(0)
    }

    /// Closes the socket; what is queued goes on being sent, for `linger` at most.
    pub(crate) fn close(self, linger: Duration) -> zmq::Result<()> {
        self.socket.set_linger(i32::try_from(linger.as_millis()).unwrap_or(i32::MAX))
    }

    fn is_heard(&self, topic: &[u8]) -> bool {
        self.is_blind || self.prefixes.match_start_of(topic)
    }

    fn send_patiently(
        &mut self,
        topic: &[u8],
        body: &[u8],
        mut gives_up: impl FnMut() -> bool,
    ) -> zmq::Result<Sent> {
        loop {
            if !self.is_heard(topic) {
                // Subscribers of other topics do not wait for that.
                if !self.prefixes.is_empty() {
                    return Ok(Sent::Unheard);
                }
                if gives_up() {
                    return Ok(Sent::GivenUp);
                }
                self.look_for(ATTENTION_MS)?;
                continue;
            }
            // Waits by itself for room in every queue, up to the socket's timeout.
            let is_last_try = gives_up();
            let patience = if is_last_try { zmq::DONTWAIT } else { 0 };
            match self.socket.send(topic, zmq::SNDMORE | patience) {
                Ok(()) => {
                    self.send_last(body)?;
                    return Ok(Sent::All);
                }
                Err(zmq::Error::EAGAIN | zmq::Error::EINTR) if is_last_try => {
                    return Ok(Sent::GivenUp);
                }
                Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => self.look_for(0)?,
                Err(error) => return Err(error),
            }
        }
    }

    fn send_at_once(
        &mut self,
        topic: &[u8],
        body: &[u8],
        mut gives_up: impl FnMut() -> bool,
    ) -> zmq::Result<Sent> {
        let sent = loop {
            match self.socket.send(topic, zmq::SNDMORE | zmq::DONTWAIT) {
                Ok(()) => break Sent::All,
                Err(zmq::Error::EAGAIN) => {
                    // To all but those who have no room, as PUB does.
                    self.set_nodrop(false)?;
                    let result = self.socket.send(topic, zmq::SNDMORE | zmq::DONTWAIT);
                    self.set_nodrop(true)?;
                    result?;
                    break Sent::Some;
                }
                Err(zmq::Error::EINTR) if gives_up() => return Ok(Sent::GivenUp),
                Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(error),
            }
        };
        self.send_last(body)?;
        Ok(sent)
    }

    fn set_nodrop(&mut self, is_nodrop: bool) -> zmq::Result<()> {
        ffi::set_nodrop(&mut self.socket, is_nodrop).map_err(|_| zmq::Error::EINVAL)
    }

    /// The queue that accepted the first part of a message accepts the others.
    fn send_last(&self, body: &[u8]) -> zmq::Result<()> {
        loop {
            match self.socket.send(body, 0) {
                Err(zmq::Error::EINTR | zmq::Error::EAGAIN) => {}
                result => return result,
            }
        }
    }

    /// Takes in who subscribes, and waits so long for the first who does.
    fn look_for(&mut self, wait_ms: i32) -> zmq::Result<()> {
        self.messages_since_look = 0;
        match self.socket.poll(zmq::POLLIN, i64::from(wait_ms)) {
            Ok(0) | Err(zmq::Error::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        loop {
            match self.socket.recv_bytes(zmq::DONTWAIT) {
                Ok(request) => self.take_in(&request),
                Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// A byte that says whether it begins or ends, and the prefix. Anything else is a peer's own matter.
    fn take_in(&mut self, request: &[u8]) {
        match request.split_first() {
            Some((1, prefix)) => {
                self.subscriptions += 1;
                self.prefixes.add(prefix);
            }
            Some((0, prefix)) => self.prefixes.remove(prefix),
            _ => {}
        }
    }
}
