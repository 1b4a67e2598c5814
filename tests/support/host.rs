//! A host's part of a gateway: it accepts connections, reads a little of each, and hands them over.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustix::net::Shutdown;
use zmq2ws::{AdoptError, Handle};

/// The variable with the arguments of a host that is a process of its own.
pub(crate) const HOST_ARGS: &str = "ZMQ2WS_TEST_HOST";

/// Whether tests are to meet a gateway in a host, which has no listener of its own: this is for all of a run.
pub(crate) fn is_hosted() -> bool {
    super::through::Through::Host.is_set()
}

/// Hands over whatever comes, on a thread of its own.
pub(crate) struct Doorman {
    listener: Arc<TcpListener>,
}

impl Doorman {
    pub(crate) fn start(listener: TcpListener, handle: Handle) -> Self {
        // As many may wait as at the gateway's own listeners.
        rustix::net::listen(&listener, 4096).unwrap();
        let listener = Arc::new(listener);
        let door = Arc::clone(&listener);
        thread::spawn(move || let_in(&door, &handle));
        Self { listener }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        let _ = rustix::net::shutdown(&*self.listener, Shutdown::Both);
    }
}

impl Drop for Doorman {
    fn drop(&mut self) {
        self.close();
    }
}

fn let_in(listener: &TcpListener, handle: &Handle) {
    for number in 0.. {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // It was closed.
            Err(error) if error.kind() == ErrorKind::InvalidInput => return,
            Err(_) => {
                thread::yield_now();
                continue;
            }
        };
        // More or less of what the client has said by now, wherever that ends.
        let mut piece = [0; 200];
        stream.set_nonblocking(true).unwrap();
        let len = stream.read(&mut piece[..number % 200]).unwrap_or(0);
        hand_over(stream, &piece[..len], handle);
    }
}

/// Tests bring more clients at once than may wait to be taken over; another host may as well close those.
fn hand_over(stream: TcpStream, already_read: &[u8], handle: &Handle) {
    let spare = stream.try_clone();
    let mut next = Some(stream);
    while let Some(stream) = next.take() {
        match handle.adopt(stream, already_read) {
            Err(AdoptError::Full) => {
                thread::yield_now();
                next = spare.as_ref().ok().and_then(|spare| spare.try_clone().ok());
            }
            // The gateway stops, or the client has gone.
            Ok(()) | Err(AdoptError::Stopped | AdoptError::Stream(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
