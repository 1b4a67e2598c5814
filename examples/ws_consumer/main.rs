//! Prints what the gateway broadcasts: a WebSocket client in its simplest form.
//!
//! ```sh
//! ws_consumer                         # ws://127.0.0.1:8080/ws?format=json
//! ws_consumer --topic weather.oslo --topic news --count 10
//! ws_consumer 'ws://127.0.0.1:8080/ws?format=json&since=k3x9-42'
//! ```
//!
//! One line is one message: its id, topic and body, with tabs between. Controls are escaped, so no
//! message can command the terminal. With another format than json, bodies alone are printed.

use std::error::Error;
use std::io::{self, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};
use zmq2ws_examples::process::{self, ATTENTION, is_broken_pipe, stop_flag};
use zmq2ws_examples::text::{self, escaped as escape};

/// How long the gateway may take to answer our close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Print the messages of a zmq2ws gateway.
#[derive(Parser)]
struct Args {
    /// Where the gateway is
    #[arg(default_value = "ws://127.0.0.1:8080/ws?format=json")]
    url: String,
    /// Only topics that start so; may be repeated [default: everything]
    #[arg(long, value_name = "PREFIX")]
    topic: Vec<String>,
    /// Stop after so many messages, 0 for never
    #[arg(long, value_name = "N", default_value_t = 0)]
    count: u64,
}

type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let stop = stop_flag()?;
    let mut socket = connect(&url(args))?;
    let mut messages = 0;
    let result = receive(&mut socket, args.count, &stop, &mut messages);
    if !result.as_ref().is_err_and(|error| is_broken_pipe(&**error)) {
        say(&format!("received {messages} messages"));
    }
    result
}

/// The URL with the topics added to whatever query it has.
fn url(args: &Args) -> String {
    let mut url = args.url.clone();
    for topic in &args.topic {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str("topic=");
        url.extend(utf8_percent_encode(topic, NON_ALPHANUMERIC));
    }
    url
}

fn connect(url: &str) -> Result<Socket, String> {
    let (socket, _response) = tungstenite::connect(url).map_err(|error| match error {
        // The gateway says in one line why it refuses.
        tungstenite::Error::Http(response) => {
            let reason = response.body().as_deref().unwrap_or_default();
            let reason = String::from_utf8_lossy(reason).trim().escape_default().to_string();
            format!("{url}: refused with {}: {reason}", response.status())
        }
        error => format!("{url}: {error}"),
    })?;
    // A read that waits for ever would not notice a signal.
    if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
        stream.set_read_timeout(Some(ATTENTION)).map_err(|error| error.to_string())?;
    }
    Ok(socket)
}

/// Prints until the count is reached, a signal comes or the gateway closes. Reading answers pings.
fn receive(
    socket: &mut Socket,
    count: u64,
    stop: &AtomicBool,
    messages: &mut u64,
) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let mut close_deadline = None;
    let mut close_frame = None;
    loop {
        let is_done = stop.load(Ordering::Relaxed) || (count > 0 && *messages >= count);
        if is_done && close_deadline.is_none() {
            let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            socket.close(Some(frame))?;
            close_deadline = Some(Instant::now() + CLOSE_TIMEOUT);
        }
        if close_deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Err("the gateway did not answer the close".into());
        }
        match socket.read() {
            // What comes after our own close is of no interest.
            Ok(Message::Text(_) | Message::Binary(_)) if close_deadline.is_some() => {}
            Ok(Message::Text(text)) => *messages += print_text(&mut out, &text)?,
            Ok(Message::Binary(bytes)) => *messages += print_hex(&mut out, &bytes)?,
            Ok(Message::Close(frame)) => close_frame = frame,
            Ok(_) => {}
            Err(tungstenite::Error::Io(error)) if is_timeout(&error) => {}
            Err(tungstenite::Error::ConnectionClosed) => break,
            Err(error) => return Err(format!("connection lost: {error}").into()),
        }
    }
    say(&match close_frame {
        Some(CloseFrame { code, reason }) => {
            format!("closed with {} {}", u16::from(code), reason.escape_default())
        }
        None => "closed without a code".to_owned(),
    });
    Ok(())
}

/// Prints one text message and returns how many messages it was: a gap notice is none.
fn print_text(out: &mut impl Write, message: &str) -> io::Result<u64> {
    let json: Value = serde_json::from_str(message).unwrap_or_default();
    if let Some(gap) = json.get("gap") {
        say(&format!("gap: {}", escape(&gap.to_string())));
        return Ok(0);
    }
    let Some(data) = json.get("data") else {
        writeln!(out, "{}", escape(message))?;
        return Ok(1);
    };
    let field = |name: &str| json.get(name).and_then(Value::as_str).map(escape);
    // A part that is not UTF-8 comes in base64, each for itself.
    let is_base64 = |at: usize| match json.get("encoding") {
        Some(Value::Array(names)) => names.get(at).is_some_and(|name| name == "base64"),
        Some(name) => name == "base64",
        None => false,
    };
    let topic64 = field("topic64").map(|topic| format!("base64:{topic}"));
    let topic = topic64.or_else(|| field("topic")).unwrap_or_default();
    let parts = data.as_array().map_or(slice::from_ref(data), Vec::as_slice);
    let parts = parts.iter().filter_map(Value::as_str).enumerate().map(|(at, part)| {
        let mark = if is_base64(at) { "base64:" } else { "" };
        mark.to_owned() + &escape(part)
    });
    let body = parts.collect::<Vec<_>>().join("\t");
    writeln!(out, "{}\t{topic}\t{body}", field("id").unwrap_or_default())?;
    Ok(1)
}

fn print_hex(out: &mut impl Write, bytes: &[u8]) -> io::Result<u64> {
    text::write_hex(out, bytes)?;
    writeln!(out)?;
    Ok(1)
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

fn say(text: &str) {
    process::say("ws_consumer", text);
}
