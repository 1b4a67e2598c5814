//! Very many clients that come back at once, on a thread of their own, each with the id of the last message that it had:
//! it gets what it missed, and goes on live. Knows nothing of who was there all the time but their messages.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::flow::{Flow, STALL};
use crate::progress::Arrivals;
use crate::swarm::Swarm;
use crate::transport::Transport;

/// What each of them missed before the first of them connects.
const MISSED: u64 = 1_000;

/// Published before that, some at a time: nothing of it is under way when it counts.
const BEFORE: u64 = MISSED + 200;
const AT_A_TIME: u64 = 100;

/// Messages to those who were there all the time.
const PER_SECOND: u32 = 100;

/// How long those are looked at when nobody comes back.
const ALONE_SECONDS: f64 = 5.0;

/// Until all have what they missed. What was published meanwhile must be kept too.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);

/// What the gateway must keep: what they missed, and what is published while they catch up.
pub(crate) const HISTORY: &str = "8000";

/// What it came to.
pub(crate) struct Outcome {
    pub(crate) rate_kept: f64,
    /// From the first connect until the last one had all that it missed; `None` where nobody came back.
    pub(crate) caught_up: Option<Duration>,
}

/// A message as the gateway and as the bench call it.
pub(crate) struct Known {
    epoch: String,
    seq: u64,
    number: u64,
}

impl Known {
    /// Publishes what will be missed, and learns the id of the last message of it from a client's text.
    pub(crate) fn publish(flow: &mut Flow, server: SocketAddr) -> Result<Self> {
        while flow.progress.published() < BEFORE {
            for _ in 0..AT_A_TIME {
                flow.publish(Instant::now())?;
            }
            flow.drain()?;
        }
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(STALL))?;
        stream.write_all(&Transport::WebSocket.request(server, ""))?;
        read_until(&mut stream, "\r\n\r\n")?;
        flow.publish(Instant::now())?;
        let text = read_until(&mut stream, "\"}")?;
        flow.drain()?;
        let id = text.split_once("\"id\":\"").and_then(|(_, rest)| rest.split_once('"'));
        let id = id.and_then(|(id, _)| id.rsplit_once('-'));
        let (epoch, seq) = id.ok_or_else(|| format!("a message without an id: {text}"))?;
        let number = flow.progress.published();
        Ok(Self { epoch: epoch.to_owned(), seq: seq.parse()?, number })
    }

    /// So many clients miss the last messages up to this one; without any, the others are looked at alone.
    pub(crate) fn come_back(
        &self,
        flow: &mut Flow,
        server: SocketAddr,
        clients: usize,
    ) -> Result<Outcome> {
        if clients == 0 {
            let rate_kept = flow.paced(PER_SECOND, ALONE_SECONDS)?;
            return Ok(Outcome { rate_kept, caught_up: None });
        }
        let swarm = flow.swarm.of_later_messages(self.number - MISSED)?;
        let query = format!("?since={}-{}", self.epoch, self.seq - MISSED);
        let crowd = Crowd { swarm, server, clients, query, missed: self.number };
        let (caught_up, all_caught_up) = mpsc::channel();
        let (last, published) = mpsc::channel();
        let crowd = thread::spawn(move || {
            crowd.run(&caught_up, &published).map_err(|error| error.to_string())
        });
        let go_on = |_| all_caught_up.try_recv() == Err(TryRecvError::Empty);
        let kept = flow.paced_while(PER_SECOND, go_on);
        // It is gone only when it failed, which joining tells.
        let _ = last.send(flow.progress.published());
        let caught_up = crowd.join().map_err(|_| "those who come back failed")??;
        Ok(Outcome { rate_kept: kept?, caught_up: Some(caught_up) })
    }
}

/// Those who come back.
struct Crowd {
    swarm: Swarm,
    server: SocketAddr,
    clients: usize,
    query: String,
    /// The number of the last message that they missed.
    missed: u64,
}

impl Crowd {
    /// Says when all have caught up, and then follows until all have the last message that was `published`.
    fn run(self, caught_up: &Sender<()>, published: &Receiver<u64>) -> Result<Duration> {
        let Self { mut swarm, server, clients, query, missed } = self;
        let start = Instant::now();
        let mut goal = Goal { number: missed, reached: 0 };
        swarm.connect(server, clients, STALL, |_| query.clone(), &mut goal, |_| {})?;
        goal.wait(&mut swarm)?;
        let duration = start.elapsed();
        caught_up.send(())?;
        let last = loop {
            match published.try_recv() {
                Ok(number) => break number,
                Err(TryRecvError::Empty) => swarm.wait(Some(STALL), &mut goal)?,
                Err(error) => return Err(error.into()),
            };
        };
        let reached = (0..swarm.len()).filter(|&client| swarm.got(client) >= last).count();
        Goal { number: last, reached }.wait(&mut swarm)?;
        Ok(duration)
    }
}

/// A message that each client is to get, and how many have got it.
struct Goal {
    number: u64,
    reached: usize,
}

impl Arrivals for Goal {
    fn advance(&mut self, before: u64, after: u64, _now: Instant) {
        self.reached += usize::from(before < self.number && self.number <= after);
    }
}

impl Goal {
    fn wait(&mut self, swarm: &mut Swarm) -> Result<()> {
        let end = Instant::now() + CATCH_UP_TIMEOUT;
        while self.reached < swarm.len() {
            if !swarm.wait(Some(STALL), self)? || Instant::now() > end {
                let (reached, all) = (self.reached, swarm.len());
                return Err(format!("only {reached} of {all} who came back caught up").into());
            }
        }
        Ok(())
    }
}

fn read_until(stream: &mut TcpStream, end: &str) -> Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer)? {
            0 => return Err("a client was disconnected before its first message".into()),
            len => bytes.extend_from_slice(&buffer[..len]),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
