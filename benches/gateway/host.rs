//! A host with a gateway inside: on one port it answers for its own page, and hands over who wants messages. It is the
//! example `embedded` as a server of the bench.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use zmq2ws::{Gateway, Handle};

use crate::Result;
use crate::floor;

/// What all threads are called that are the host's own: their time is not the gateway's.
pub(crate) const THREAD: &str = "host";

/// What the host answers: a page of 1 KiB.
pub(crate) const ANSWER_HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1024\r\n\r\n";
pub(crate) const ANSWER_BYTES: usize = ANSWER_HEAD.len() + 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct HostArgs {
    /// The publisher to connect to.
    #[arg(long)]
    zmq: String,
    /// Where to listen.
    #[arg(long)]
    listen: String,
}

/// Serves until it is killed.
pub(crate) fn run(args: &HostArgs) -> Result<()> {
    let listener = floor::listen(&args.listen)?;
    let running = Gateway::builder().connect(&args.zmq).spawn()?;
    let gateway = running.handle();
    floor::say(&format!("listening on {}\n", listener.local_addr()?))?;
    spawn(move || accept(&listener, &gateway))?;
    Ok(running.join()?)
}

fn spawn(run: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let report = || {
        if let Err(error) = run() {
            eprintln!("the host: {error}");
        }
    };
    thread::Builder::new().name(THREAD.into()).spawn(report)?;
    Ok(())
}

fn accept(listener: &TcpListener, gateway: &Handle) -> Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        let gateway = gateway.clone();
        spawn(move || serve(stream, &gateway))?;
    }
}

fn serve(mut stream: TcpStream, gateway: &Handle) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut answer = ANSWER_HEAD.as_bytes().to_vec();
    answer.resize(ANSWER_BYTES, b'x');
    let mut request = [0; 1024];
    loop {
        let mut len = 0;
        while !request[..len].ends_with(b"\r\n\r\n") {
            match stream.read(&mut request[len..])? {
                0 => return Ok(()),
                read => len += read,
            }
        }
        if request.starts_with(b"GET /ws") {
            return Ok(gateway.adopt(stream, &request[..len])?);
        }
        stream.write_all(&answer)?;
    }
}
