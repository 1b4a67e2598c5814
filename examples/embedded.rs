//! A gateway inside a small HTTP server: on one port, the server answers for its own page, and hands over to the gateway
//! what asks for `/live`. There is no ZeroMQ here: the server publishes what is typed.
//!
//! `cargo run --example embedded`, then http://127.0.0.1:8080, then type.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to who runs it")]

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use zmq2ws::{Gateway, Handle, PublishError};

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8">
<title>A host and its gateway</title>
<p>What is typed where this server runs:
<pre></pre>
<script>
  const events = new EventSource("/live/sse?topic=typed");
  const text = document.querySelector("pre");
  events.onmessage = ({ data }) => text.append(JSON.parse(data).data + "\n");
</script>
"#;

/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = TcpListener::bind(address)?;
    println!("page http://{}", listener.local_addr()?);
    // It listens nowhere: all of its clients come from this server, which keeps `/live` for them.
    let running = Gateway::builder().path_prefix("/live").spawn()?;
    let gateway = running.handle();
    thread::spawn(move || accept(&listener, &gateway));

    for line in io::stdin().lines() {
        match running.handle().publish("typed", [line?]) {
            // Lines come faster than clients can be sent them: this one is left out, and there will be others.
            Ok(()) | Err(PublishError::Full) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(()) // Here `running` is dropped: clients get what they are owed, and a goodbye.
}

fn accept(listener: &TcpListener, gateway: &Handle) {
    for stream in listener.incoming() {
        let gateway = gateway.clone();
        // A thread for each request, but none for those who then stay and listen.
        thread::spawn(move || {
            if let Err(error) = stream.map_err(Into::into).and_then(|it| serve(it, &gateway)) {
                eprintln!("a request failed: {error}");
            }
        });
    }
}

fn serve(mut stream: TcpStream, gateway: &Handle) -> Result<(), Box<dyn Error>> {
    let head = read_head(&mut stream)?;
    let target = head.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    if target.starts_with(b"/live") {
        // With every byte that was read. It answers in this server's place, now and for as long as the connection lives.
        return Ok(gateway.adopt(stream, head)?);
    }
    let (status, body) = if target == b"/" { ("200 OK", PAGE) } else { ("404 Not Found", "") };
    let fields = format!("Content-Length: {}\r\nConnection: close", body.len());
    Ok(write!(stream, "HTTP/1.1 {status}\r\nContent-Type: text/html\r\n{fields}\r\n\r\n{body}")?)
}

/// Reads a request as far as its empty line, and whatever has come behind that.
fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    // For all of it: who sends a byte now and then keeps no thread.
    let deadline = Instant::now() + HEAD_TIMEOUT;
    let (mut head, mut piece) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            _ if head.len() > 8192 => return Err(ErrorKind::FileTooLarge.into()),
            len => head.extend_from_slice(&piece[..len]),
        }
    }
    Ok(head)
}
