//! Many threads, one socket that publishes: ZeroMQ's sockets belong to one thread each, so every thread
//! has a PUSH socket of its own, and one thread takes in from all of them. Knows no endpoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use zmq2ws_examples::process::ATTENTION_MS;

const ENDPOINT: &str = "inproc://fan-in";

/// What may wait at each end of a thread's queue, messages: enough that two threads do not wait for each
/// other at every message, little enough that long lines fill no memory.
const QUEUE_MAX: i32 = 64;

/// Where all threads' messages come out, in the order of each thread.
pub(crate) struct FanIn {
    context: zmq::Context,
    socket: zmq::Socket,
    feeders: Arc<AtomicUsize>,
}

/// What a look at the queues brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A message is in the buffers.
    Message,
    /// None for a moment.
    Nothing,
    /// Every feeder is gone, and what it sent was taken.
    End,
}

/// One thread's way in.
pub(crate) struct Feeder {
    socket: zmq::Socket, // Closed before the next field tells that it is.
    _alive: Alive,
    stop: Arc<AtomicBool>,
}

/// Counts itself.
struct Alive(Arc<AtomicUsize>);

impl FanIn {
    pub(crate) fn new(context: &zmq::Context) -> zmq::Result<Self> {
        let socket = context.socket(zmq::PULL)?;
        socket.set_rcvhwm(QUEUE_MAX)?;
        socket.set_rcvtimeo(ATTENTION_MS)?;
        socket.bind(ENDPOINT)?;
        Ok(Self { context: context.clone(), socket, feeders: Arc::default() })
    }

    /// For a thread that is to be started. It gives up sending when `stop` is set.
    pub(crate) fn feeder(&self, stop: &Arc<AtomicBool>) -> zmq::Result<Feeder> {
        let socket = self.context.socket(zmq::PUSH)?;
        socket.set_sndhwm(QUEUE_MAX)?;
        socket.set_sndtimeo(ATTENTION_MS)?;
        socket.connect(ENDPOINT)?;
        self.feeders.fetch_add(1, Ordering::AcqRel);
        let alive = Alive(Arc::clone(&self.feeders));
        Ok(Feeder { socket, _alive: alive, stop: Arc::clone(stop) })
    }

    /// Waits a moment for a message, and puts it in place of what was in the buffers.
    pub(crate) fn next(
        &self,
        topic: &mut zmq::Message,
        body: &mut zmq::Message,
    ) -> zmq::Result<Next> {
        // Asked first: what a feeder sent before it went is there by now.
        let is_last = self.feeders.load(Ordering::Acquire) == 0;
        let flags = if is_last { zmq::DONTWAIT } else { 0 };
        match self.socket.recv(topic, flags) {
            Ok(()) => {}
            Err(zmq::Error::EAGAIN) if is_last => return Ok(Next::End),
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => return Ok(Next::Nothing),
            Err(error) => return Err(error),
        }
        // The parts of a message come together.
        self.socket.recv(body, 0)?;
        Ok(Next::Message)
    }
}

impl Feeder {
    /// Queues a message, waiting for room; false when the program is about to end, and the message is
    /// nowhere.
    pub(crate) fn send(&self, topic: &[u8], body: &[u8]) -> bool {
        // Also if the queue is not full: its reader waits for the end of this thread.
        let is_stopping = self.stop.load(Ordering::Relaxed);
        !is_stopping && self.send_part(topic, zmq::SNDMORE) && self.send_part(body, 0)
    }

    fn send_part(&self, part: &[u8], flags: i32) -> bool {
        loop {
            match self.socket.send(part, flags) {
                Ok(()) => return true,
                Err(zmq::Error::EAGAIN) if !self.stop.load(Ordering::Relaxed) => {}
                Err(zmq::Error::EINTR) => {}
                Err(_) => return false,
            }
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::thread;

    use super::*;

    #[test]
    fn everything_of_all_threads_comes_out_in_the_order_of_each() {
        const THREADS: u32 = 8;
        const MESSAGES: u32 = 2000;
        let context = zmq::Context::new();
        let fan_in = FanIn::new(&context).unwrap();
        let stop = Arc::default();
        let feeders: Vec<_> = (0..THREADS).map(|_| fan_in.feeder(&stop).unwrap()).collect();
        let threads: Vec<_> = (0..THREADS)
            .zip(feeders)
            .map(|(thread, feeder)| {
                thread::spawn(move || {
                    for number in 0..MESSAGES {
                        assert!(feeder.send(&thread.to_be_bytes(), &number.to_be_bytes()));
                    }
                })
            })
            .collect();
        let (mut topic, mut body) = (zmq::Message::new(), zmq::Message::new());
        let mut next: HashMap<Vec<u8>, u32> = HashMap::new();
        loop {
            match fan_in.next(&mut topic, &mut body).unwrap() {
                Next::Message => {
                    let expected = next.entry(topic.to_vec()).or_default();
                    assert_eq!(body[..], expected.to_be_bytes());
                    *expected += 1;
                }
                Next::Nothing => {}
                Next::End => break,
            }
        }
        assert_eq!(next.len(), THREADS as usize);
        assert!(next.values().all(|&count| count == MESSAGES), "{next:?}");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn a_thread_that_waits_for_room_ends_when_it_is_told_to() {
        let context = zmq::Context::new();
        let fan_in = FanIn::new(&context).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let feeder = fan_in.feeder(&stop).unwrap();
        let thread = thread::spawn(move || {
            let mut sent = 0;
            while feeder.send(b"topic", b"body") {
                sent += 1;
            }
            sent
        });
        let (mut topic, mut body) = (zmq::Message::new(), zmq::Message::new());
        let mut next = || loop {
            match fan_in.next(&mut topic, &mut body).unwrap() {
                Next::Nothing => {}
                next => break next,
            }
        };
        assert_eq!(next(), Next::Message);
        stop.store(true, Ordering::Relaxed);
        let mut taken = 1;
        while next() == Next::Message {
            taken += 1;
        }
        assert_eq!(thread.join().unwrap(), taken);
    }
}
