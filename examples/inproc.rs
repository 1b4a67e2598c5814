//! A ZeroMQ publisher and a gateway in one process: they share a context, so that messages pass between them without a port
//! and without a system call.
//!
//! `cargo run --example inproc`, then http://127.0.0.1:8080, then type.
#![allow(clippy::print_stdout, reason = "an example talks to who runs it")]

use std::error::Error;
use std::io;

use zmq2ws::{Gateway, ListenAddr};

fn main() -> Result<(), Box<dyn Error>> {
    let listen: ListenAddr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into()).parse()?;
    let context = zmq::Context::new();
    let publisher = context.socket(zmq::XPUB)?;
    publisher.bind("inproc://typed")?;
    let running = Gateway::builder()
        .zmq_context(&context)
        .connect("inproc://typed")
        .listen(listen)
        .spawn()?;
    // Messages without a subscriber are lost: an XPUB socket receives subscriptions.
    publisher.recv_bytes(0)?;
    println!("page {}", running.listen_addresses()[0]);

    for line in io::stdin().lines() {
        publisher.send_multipart(["typed", &line?], 0)?;
    }
    Ok(())
}
