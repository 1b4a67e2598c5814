//! A gateway inside a loop that a program has already, on the same thread: here a loop that waits for datagrams, each of
//! which becomes a message.
//!
//! `cargo run --example own_loop`, then http://127.0.0.1:8080, then in bash `echo hello > /dev/udp/127.0.0.1/5555`. An empty
//! datagram ends it.
#![allow(clippy::print_stdout, reason = "an example talks to who runs it")]
#![allow(unsafe_code)] // `Poller::add` is unsafe, whatever is added.

use std::error::Error;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use polling::{Event, Events, PollMode, Poller};
use zmq2ws::{Gateway, Handle, ListenAddr, PublishError};

const DATAGRAMS: usize = 0;
const GATEWAY: usize = 1;

/// Datagrams that are read before the gateway has its turn: they may come faster than the host reads them.
const DATAGRAMS_AT_ONCE: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let listen: ListenAddr = args.next().unwrap_or("127.0.0.1:8080".into()).parse()?;
    let datagrams = UdpSocket::bind(args.next().unwrap_or("127.0.0.1:5555".into()))?;
    datagrams.set_nonblocking(true)?;
    let mut gateway = Gateway::builder().listen(listen).build()?;
    println!("page {}", gateway.listen_addresses()[0]);
    println!("datagrams {}", datagrams.local_addr()?);

    let poller = Poller::new()?;
    // SAFETY: both are deleted below, and live until then.
    unsafe {
        poller.add_with_mode(&datagrams, Event::readable(DATAGRAMS), PollMode::Level)?;
        // The whole gateway is one descriptor: its clients, its ZeroMQ sockets, its handles.
        poller.add_with_mode(&gateway.as_fd(), Event::readable(GATEWAY), PollMode::Level)?;
    }
    let handle = gateway.handle();
    let mut events = Events::new();
    let mut goes_on = true;
    while goes_on {
        // Pings and timeouts are no descriptor's: the gateway says when it wants to be called without one.
        let now = Instant::now();
        let timeout = gateway.next_deadline().map(|it| it.saturating_duration_since(now));
        events.clear();
        poller.wait(&mut events, timeout)?;
        if events.iter().any(|event| event.key == DATAGRAMS) {
            publish(&datagrams, &handle)?;
        }
        // Waits for nothing, and costs little where there is nothing to do.
        goes_on = gateway.turn(Some(Duration::ZERO))?;
    }
    poller.delete(&datagrams)?;
    Ok(poller.delete(&gateway)?)
}

/// Publishes what has come, or the next of it: the poller tells of the rest again.
fn publish(datagrams: &UdpSocket, handle: &Handle) -> Result<(), Box<dyn Error>> {
    let mut buffer = [0; 65_536];
    for _ in 0..DATAGRAMS_AT_ONCE {
        match datagrams.recv(&mut buffer) {
            // Turns go on until everybody has heard it.
            Ok(0) => handle.shutdown(),
            Ok(len) => match handle.publish("datagram", [&buffer[..len]]) {
                // They come faster than clients can be sent them, or after the end: this one is left out.
                Ok(()) | Err(PublishError::Full | PublishError::Stopped) => {}
                Err(error) => return Err(error.into()),
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
