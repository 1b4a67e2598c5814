//! A few clients of a publisher of their own, and newcomers, on a thread of their own: what others do to them is what is
//! measured. Knows nothing of those others.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::Result;
use crate::case::{ENVELOPE_BYTES, Figure};
use crate::drive::Figures;
use crate::flow::{Flow, STALL};
use crate::publisher::Publisher;
use crate::swarm::Swarm;
use crate::transport::Transport;

const CLIENTS: usize = 10;
const PER_SECOND: u32 = 10;
const BODY_BYTES: usize = 64;

/// The topic of the few. The others' messages have another one, which they do not ask for.
const TOPIC: &str = "quiet";

/// Between two newcomers.
const KNOCK_INTERVAL: Duration = Duration::from_millis(50);

/// What a health check says, on a connection of its own.
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The few, before they connect.
pub(crate) struct Quiet {
    publisher: Publisher,
}

/// Why it failed, from one thread to another.
type Outcome<T> = std::result::Result<T, String>;

impl Quiet {
    pub(crate) fn bind() -> Result<Self> {
        Ok(Self { publisher: Publisher::bind(BODY_BYTES)? })
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.publisher.endpoint
    }

    /// Serves the few for so many seconds, and lets newcomers knock meanwhile.
    pub(crate) fn start(self, server: SocketAddr, seconds: f64) -> JoinHandle<Outcome<Figures>> {
        thread::spawn(move || self.watch(server, seconds).map_err(|error| error.to_string()))
    }

    fn watch(self, server: SocketAddr, seconds: f64) -> Result<Figures> {
        let swarm = Swarm::new(Transport::WebSocket, BODY_BYTES, 0)?;
        let mut flow =
            Flow::new(self.publisher, TOPIC, swarm, CLIENTS, BODY_BYTES + ENVELOPE_BYTES)?;
        let Flow { swarm, progress, .. } = &mut flow;
        swarm.connect(server, CLIENTS, STALL, |_| format!("?topic={TOPIC}"), progress, |_| {})?;
        flow.begin_to_publish()?;
        let (stop, stopped) = mpsc::channel::<()>();
        let knocking = thread::spawn(move || {
            let knock = || knock_until(server, &stopped).map_err(|error| error.to_string());
            knock()
        });
        let kept = flow.paced(PER_SECOND, seconds);
        drop(stop);
        let knocks = knocking.join().map_err(|_| "newcomers failed")??;
        let micros = |histogram: &Histogram<u32>, quantile| {
            histogram.value_at_quantile(quantile) as f64 / 1e3
        };
        Ok([
            (Figure::RateKept, kept?),
            (Figure::LastP50, micros(&flow.progress.latencies.last, 0.5)),
            (Figure::LastP99, micros(&flow.progress.latencies.last, 0.99)),
            (Figure::HandshakeP99, micros(&knocks.handshakes, 0.99)),
            (Figure::HealthP99, micros(&knocks.health, 0.99)),
        ]
        .into())
    }
}

/// How long newcomers waited, nanoseconds.
struct Knocks {
    handshakes: Histogram<u32>,
    health: Histogram<u32>,
}

fn knock_until(server: SocketAddr, stopped: &mpsc::Receiver<()>) -> Result<Knocks> {
    let mut knocks = Knocks { handshakes: Histogram::new(3)?, health: Histogram::new(3)? };
    let upgrade = Transport::WebSocket.request(server, &format!("?topic={TOPIC}"));
    while stopped.recv_timeout(KNOCK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        knocks.handshakes.record(knock(server, &upgrade, "HTTP/1.1 101 ")?)?;
        knocks.health.record(knock(server, HEALTH.as_bytes(), "HTTP/1.1 200 ")?)?;
    }
    Ok(knocks)
}

/// Nanoseconds from the call to the answer.
fn knock(server: SocketAddr, request: &[u8], answer: &str) -> Result<u64> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(STALL))?;
    stream.write_all(request)?;
    let mut head = [0; 13];
    match stream.read_exact(&mut head) {
        Ok(()) if head == *answer.as_bytes() => Ok(start.elapsed().as_nanos() as u64),
        Ok(()) => Err("an answer that nobody expected".into()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err("nobody answers".into()),
        Err(error) => Err(error.into()),
    }
}
