//! Requests for a host's own page at a fixed rate, beside whatever else is measured. Knows no messages.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Result;
use crate::host::ANSWER_BYTES;

/// What a host is asked for in all.
pub(crate) const PER_SECOND: u32 = 1_000;

/// Each asks on its own connection and waits for the answer, so that no more requests are under way. Ten have 10 ms each,
/// which a host gets around to also while its core is busy.
const CONNECTIONS: u32 = 10;

/// Asks until it is dropped.
pub(crate) struct Requests {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    answered: AtomicU64,
    has_ended: AtomicBool,
}

impl Requests {
    pub(crate) fn start(server: SocketAddr) -> Result<Self> {
        let mut requests = Self { shared: Arc::default(), threads: Vec::new() };
        let start = Instant::now();
        for index in 0..CONNECTIONS {
            let stream = TcpStream::connect(server)?;
            stream.set_nodelay(true)?;
            let shared = Arc::clone(&requests.shared);
            // In turn, not all at once.
            let first = start + Duration::from_secs(1) * index / PER_SECOND;
            requests.threads.push(thread::spawn(move || ask(stream, first, &shared)));
        }
        Ok(requests)
    }

    /// How many have been answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Asks when it is due; who is late catches up. Ends at an answer that is none, which the rate then shows.
fn ask(mut stream: TcpStream, first: Instant, shared: &Shared) {
    let interval = Duration::from_secs(1) * CONNECTIONS / PER_SECOND;
    let mut answer = [0; ANSWER_BYTES];
    let mut due = first;
    while !shared.has_ended.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += interval;
        let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        if asked.and_then(|()| stream.read_exact(&mut answer)).is_err() {
            return;
        }
        shared.answered.fetch_add(1, Ordering::Relaxed);
    }
}
