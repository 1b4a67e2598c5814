//! What of the host's may panic, wherever it does: what it was for ends, the gateway goes on.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::panic_any;

use zmq2ws::{ClientStream, CloseCode, Running};

use crate::builder;
use crate::support::wait_until;

/// Panics when it is dropped, with another one.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any(Bomb);
    }
}

/// A stream that panics when it is dropped, and when what it failed with is.
struct Stream(UnixStream, Bomb);

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Ok(0) => Err(io::Error::other(Unspeakable(Bomb))),
            outcome => outcome,
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Unspeakable(#[allow(dead_code, reason = "it is there to be dropped")] Bomb);

impl std::fmt::Debug for Bomb {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic_any(Bomb);
    }
}

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic_any(Bomb);
    }
}

impl std::error::Error for Unspeakable {}

#[track_caller]
fn assert_ends_well(running: Running) {
    let handle = running.handle();
    assert!(handle.stats().is_ok(), "it goes on");
    handle.shutdown();
    running.join().unwrap();
}

#[test]
fn a_stream_that_panics_when_it_is_dropped() {
    let running = builder().spawn().unwrap();
    let handle = running.handle();
    for head in ["GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /"] {
        let (near, mut far) = UnixStream::pair().unwrap();
        let socket = near.try_clone().unwrap();
        handle.adopt(ClientStream::wrapped(socket, Stream(near, Bomb)), head).unwrap();
        wait_until("it is taken over", || handle.stats().unwrap().connections == 1);
        far.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = far.read_to_end(&mut Vec::new());
        wait_until("it is gone", || handle.stats().unwrap().connections == 0);
    }
    assert_ends_well(running);
}

#[test]
fn a_hook_that_panics_with_what_panics_when_it_is_dropped() {
    let running = builder().map(|_| panic_any(Bomb)).spawn().unwrap();
    let handle = running.handle();
    handle.publish("t", ["b"]).unwrap();
    wait_until("it is dropped", || handle.stats().unwrap().messages_dropped == 1);
    assert_ends_well(running);
}

#[test]
fn hooks_that_panic_when_they_are_dropped() {
    let (on_event, map, authorize, filter) = (Bomb, Bomb, Bomb, Bomb);
    let running = builder()
        .on_event(move |_| {
            let _ = &on_event;
        })
        .map(move |message| {
            let _ = &map;
            Some(message)
        })
        .authorize(move |_| {
            let _ = &authorize;
            zmq2ws::Access::allow()
        })
        .spawn()
        .unwrap();
    let picks = move |_: &zmq2ws::ClientInfo| {
        let _ = &filter;
        true
    };
    assert_eq!(running.handle().disconnect(picks, CloseCode::POLICY), Ok(0));
    assert_ends_well(running);
}
