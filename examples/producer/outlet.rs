//! Where messages leave: a ZeroMQ socket, datagrams, or both. Knows no threads and no files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use zmq2ws_examples::endpoint::{Endpoint, ZmqEndpoint};
use zmq2ws_examples::multicast::{NotSent, Radio};

use crate::pace::{CATCH_UP_MAX_OF_DATAGRAMS, Schedule, wait_until};
use crate::publisher::{Options, Publisher, Sent};
use crate::say;
use crate::tally::{Loss, Tally};

pub(crate) struct Outlet {
    publisher: Option<Publisher>,
    radios: Vec<Radio>,
    /// Nothing tells a sender of datagrams that he is too fast. In bits.
    radio_schedule: Schedule,
    tally: Tally,
    patience: Patience,
    is_refusal_told: bool,
}

/// How long waiting goes on once the program was told to end.
struct Patience {
    stop: Arc<AtomicBool>,
    linger: Duration,
    deadline: Option<Instant>,
}

impl Outlet {
    /// Opens what the endpoints ask for, and tells the user about each.
    ///
    /// # Errors
    ///
    /// One line that names the endpoint and the reason.
    pub(crate) fn open(
        context: &zmq::Context,
        bind: &[Endpoint],
        connect: &[Endpoint],
        options: &Options,
        (stop, linger): (Arc<AtomicBool>, Duration),
    ) -> Result<Self, String> {
        let (bind, connect_zmq) = (zmq_endpoints(bind), zmq_endpoints(connect));
        let mut publisher = None;
        if !bind.is_empty() || !connect_zmq.is_empty() {
            let (socket, said) = Publisher::open(context, &bind, &connect_zmq, options)?;
            said.iter().for_each(|line| say(line));
            publisher = Some(socket);
        }
        let mut radios = Vec::new();
        for endpoint in connect {
            if let Endpoint::Udp(udp) = endpoint {
                radios.push(Radio::open(udp, options.multicast_hops)?);
                say(&format!("sending to {endpoint}"));
            }
        }
        Ok(Self {
            publisher,
            radios,
            radio_schedule: Schedule::new(
                f64::from(options.multicast_kbits) * 1000.0,
                CATCH_UP_MAX_OF_DATAGRAMS,
            ),
            tally: Tally::new(Instant::now()),
            patience: Patience { stop, linger, deadline: None },
            is_refusal_told: false,
        })
    }

    /// Waits for so many subscriptions; for ever without a `timeout`. Datagrams have no subscriptions to wait for.
    ///
    /// # Errors
    ///
    /// The socket failed.
    pub(crate) fn wait_for_subscriptions(
        &mut self,
        count: u64,
        timeout: Option<Duration>,
    ) -> zmq::Result<()> {
        let Some(publisher) = &mut self.publisher else { return Ok(()) };
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let stop = Arc::clone(&self.patience.stop);
        let is_stopped = || stop.load(Ordering::Relaxed);
        let have_come = publisher.wait_for_subscriptions(count, deadline, is_stopped)?;
        if let (false, false, Some(timeout)) = (have_come, is_stopped(), timeout) {
            let seconds = timeout.as_secs_f64();
            say(&format!("fewer than {count} subscribed within {seconds} s: sending anyway"));
        }
        self.tally = Tally::new(Instant::now());
        Ok(())
    }

    /// Sends a message to everyone, and counts what became of it.
    ///
    /// # Errors
    ///
    /// The ZeroMQ socket failed.
    pub(crate) fn send(&mut self, topic: &[u8], body: &[u8]) -> zmq::Result<()> {
        let mut is_sent = false;
        if let Some(publisher) = &mut self.publisher {
            match publisher.send(topic, body, || self.patience.is_over())? {
                Sent::All => is_sent = true,
                Sent::Some => {
                    is_sent = true;
                    self.tally.add_full_queue();
                }
                Sent::Unheard => self.tally.lose(Loss::Unheard),
                Sent::GivenUp => self.tally.lose(Loss::Unsent),
            }
        }
        for index in 0..self.radios.len() {
            is_sent |= self.send_datagram(index, topic, body);
        }
        if is_sent {
            self.tally.add(topic, body);
        }
        Ok(())
    }

    /// When there is nothing to send.
    ///
    /// # Errors
    ///
    /// The ZeroMQ socket failed.
    pub(crate) fn idle(&mut self) -> zmq::Result<()> {
        self.publisher.as_mut().map_or(Ok(()), Publisher::look)
    }

    /// What was sent, and what was not. What is still queued goes on being sent, until the context that
    /// the outlet was opened in is dropped, and then for as long as is returned at most.
    pub(crate) fn close(mut self) -> (Tally, Duration) {
        self.patience.is_over();
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let linger = self.patience.deadline.map_or(self.patience.linger, left);
        if let Some(publisher) = self.publisher
            && let Err(error) = publisher.close(linger)
        {
            say(&format!("cannot wait for what is queued: {error}"));
        }
        (self.tally, linger)
    }

    fn send_datagram(&mut self, index: usize, topic: &[u8], body: &[u8]) -> bool {
        let bits = (1 + topic.len() + body.len()) as u64 * 8;
        let due = self.radio_schedule.due(Instant::now(), bits);
        wait_until(due, &self.patience.stop);
        match self.radios[index].send(topic, body) {
            Ok(_) => return true,
            Err(NotSent::TooLong) => self.tally.lose(Loss::TooLong),
            Err(NotSent::Refused(error)) => {
                if !std::mem::replace(&mut self.is_refusal_told, true) {
                    say(&format!("cannot send a datagram: {error}"));
                }
                self.tally.lose(Loss::Refused);
            }
        }
        false
    }
}

impl Patience {
    /// Whether it is time to give up.
    fn is_over(&mut self) -> bool {
        if !self.stop.load(Ordering::Relaxed) {
            return false;
        }
        let now = Instant::now();
        now >= *self.deadline.get_or_insert(now + self.linger)
    }
}

fn zmq_endpoints(endpoints: &[Endpoint]) -> Vec<&ZmqEndpoint> {
    endpoints.iter().filter_map(Endpoint::zmq).collect()
}
