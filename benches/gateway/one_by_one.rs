//! One message under way at a time, each to one client: what finding a client among many costs. Knows no server.

use std::time::{Duration, Instant};

use crate::Result;
use crate::flow::STALL;
use crate::progress::Arrivals;
use crate::publisher::Publisher;
use crate::swarm::Swarm;

/// Topics that messages go through, all filters together.
const TOPICS: usize = 10_000;

/// What a client asks for: the topics below a number of its own.
pub(crate) fn query(client: usize) -> String {
    format!("?topic=sensor.{client:06}.")
}

/// The clients that messages go to, in turn.
pub(crate) struct OneByOne {
    receivers: usize,
    published: u64,
    deliveries: u64,
    topic: String,
}

impl Arrivals for OneByOne {
    fn advance(&mut self, before: u64, after: u64, _now: Instant) {
        self.deliveries += after - before;
    }
}

impl OneByOne {
    /// To the first clients, so many.
    pub(crate) fn new(receivers: usize) -> Self {
        Self { receivers, published: 0, deliveries: 0, topic: String::new() }
    }

    pub(crate) fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// Returns when each receiver is known to be served.
    pub(crate) fn begin(&mut self, swarm: &mut Swarm, publisher: &mut Publisher) -> Result<()> {
        publisher.wait_for_subscription()?;
        for client in 0..self.receivers {
            let end = Instant::now() + STALL;
            while !swarm.is_probed(client) {
                if Instant::now() > end {
                    return Err(format!("client {client} is not served").into());
                }
                self.send(publisher, client, 0)?;
                swarm.wait(Some(Duration::from_millis(100)), self)?;
            }
        }
        Ok(())
    }

    pub(crate) fn run(
        &mut self,
        swarm: &mut Swarm,
        publisher: &mut Publisher,
        seconds: f64,
    ) -> Result<()> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < end {
            let client = self.published as usize % self.receivers;
            self.send(publisher, client, swarm.got(client) + 1)?;
            self.published += 1;
            while self.deliveries < self.published {
                if !swarm.wait(Some(STALL), self)? {
                    return Err(format!("client {client} does not get its message").into());
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, publisher: &mut Publisher, client: usize, number: u64) -> Result<()> {
        use std::fmt::Write;
        let round = self.published as usize / self.receivers;
        let topic = round % TOPICS.div_ceil(self.receivers);
        self.topic.clear();
        write!(self.topic, "sensor.{client:06}.{topic:04}")?;
        publisher.send(&self.topic, number)
    }
}
