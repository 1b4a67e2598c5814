//! Prints what a publisher sends: what the gateway would receive, without the gateway.
//!
//! ```sh
//! cargo run --example consumer                # and, elsewhere: cargo run --example producer
//! cargo run --example consumer -- --topic weather.oslo --count 10
//! cargo run --example consumer -- --connect tcp://127.0.0.1:5557  # a publisher that binds
//! cargo run --release --example consumer -- --quiet  # only counts, to measure a rate
//! ```
//!
//! In ZeroMQ it does not matter which end binds. This one does, like the gateway, so that many
//! producers can come and go at one well-known endpoint; `--connect` is for the other way round.
//!
//! One line is one message: its parts, topic first, with tabs between. Controls are escaped, so no
//! message can command the terminal; a part that is not UTF-8 is shown in hexadecimal.

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::ops::RangeInclusive;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Parser;
use clap::builder::ArgPredicate;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// How long a signal may go unnoticed.
const ATTENTION_MS: i32 = 100;

/// How much of a binary part is shown.
const HEX_BYTES_MAX: usize = 32;

/// Print ZeroMQ messages.
#[derive(Parser)]
struct Args {
    /// Bind, for publishers that connect
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint)]
    #[arg(default_value = "tcp://127.0.0.1:5556")]
    #[arg(default_value_if("connect", ArgPredicate::IsPresent, None))]
    bind: Vec<String>,
    /// Connect to a publisher that binds
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint)]
    connect: Vec<String>,
    /// Only topics that start so; may be repeated [default: everything]
    #[arg(long, value_name = "PREFIX")]
    topic: Vec<String>,
    /// Stop after so many messages, 0 for never
    #[arg(long, value_name = "N", default_value_t = 0)]
    count: u64,
    /// Count, but do not print
    #[arg(long)]
    quiet: bool,
    /// Queue at most so many messages for each publisher; what does not fit is lost
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    hwm: i32,
}

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
    let context = zmq::Context::new();
    let socket = open(&context, args)?;
    let mut received = Received::default();
    let result = receive(&socket, args, &stop, &mut received);
    if !result.as_ref().is_err_and(|error| is_broken_pipe(&**error)) {
        received.report();
    }
    result
}

fn open(context: &zmq::Context, args: &Args) -> Result<zmq::Socket, Box<dyn Error>> {
    let socket = context.socket(zmq::SUB)?;
    socket.set_rcvhwm(args.hwm)?;
    socket.set_rcvtimeo(ATTENTION_MS)?;
    // Before the first connection, so that its subscriptions are there from the start.
    for topic in &args.topic {
        socket.set_subscribe(topic.as_bytes())?;
    }
    if args.topic.is_empty() {
        socket.set_subscribe(b"")?;
    }

    for endpoint in &args.bind {
        check_ipc_path(endpoint)?;
        socket.bind(endpoint).map_err(|error| format!("cannot bind {endpoint}: {error}"))?;
        // With port 0 or *, the system chose.
        let bound = socket.get_last_endpoint()?.unwrap_or_else(|_| endpoint.clone());
        say(&format!("bound to {}", bound.trim_end_matches('\0')));
    }
    for endpoint in &args.connect {
        let explain = |error| format!("cannot connect to {endpoint}: {error}");
        socket.connect(endpoint).map_err(explain)?;
        say(&format!("connecting to {endpoint}"));
    }
    Ok(socket)
}

fn receive(
    socket: &zmq::Socket,
    args: &Args,
    stop: &AtomicBool,
    received: &mut Received,
) -> Result<(), Box<dyn Error>> {
    let limit = if args.count == 0 { u64::MAX } else { args.count };
    let mut out = BufWriter::new(io::stdout().lock());
    // Wait only when the queue is empty, and show everything before waiting: quick and never late.
    let mut flags = zmq::DONTWAIT;
    while received.messages < limit && !stop.load(Ordering::Relaxed) {
        match socket.recv_multipart(flags) {
            Ok(parts) => {
                flags = zmq::DONTWAIT;
                received.add(&parts);
                if !args.quiet {
                    print(&mut out, &parts)?;
                }
            }
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => {
                flags = 0;
                out.flush()?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(out.flush()?)
}

fn print(out: &mut impl Write, parts: &[Vec<u8>]) -> io::Result<()> {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            out.write_all(b"\t")?;
        }
        match str::from_utf8(part) {
            Ok(text) => print_text(out, text)?,
            Err(_) => print_hex(out, part)?,
        }
    }
    out.write_all(b"\n")
}

/// Escapes controls, and the characters that make text read in another order than it was sent.
fn print_text(out: &mut impl Write, text: &str) -> io::Result<()> {
    const REORDERING: [RangeInclusive<char>; 4] = [
        '\u{61c}'..='\u{61c}',
        '\u{200e}'..='\u{200f}',
        '\u{2028}'..='\u{202e}',
        '\u{2066}'..='\u{2069}',
    ];
    let is_unsafe = |c: char| c.is_control() || REORDERING.iter().any(|range| range.contains(&c));
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|&(_, c)| is_unsafe(c)) {
        write!(out, "{}{}", &rest[..at], c.escape_default())?;
        rest = &rest[at + c.len_utf8()..];
    }
    out.write_all(rest.as_bytes())
}

fn print_hex(out: &mut impl Write, part: &[u8]) -> io::Result<()> {
    out.write_all(b"0x")?;
    for byte in part.iter().take(HEX_BYTES_MAX) {
        write!(out, "{byte:02x}")?;
    }
    match part.len() {
        0..=HEX_BYTES_MAX => Ok(()),
        bytes => write!(out, "… ({bytes} bytes)"),
    }
}

#[derive(Default)]
struct Received {
    messages: u64,
    bytes: u64,
    /// When the first and the last message came: the silence around them is no part of the rate.
    span: Option<(Instant, Instant)>,
}

impl Received {
    fn add(&mut self, parts: &[Vec<u8>]) {
        let now = Instant::now();
        self.span = Some((self.span.map_or(now, |(first, _)| first), now));
        self.messages += 1;
        self.bytes += parts.iter().map(|part| part.len() as u64).sum::<u64>();
    }

    fn report(&self) {
        let Self { messages, bytes, .. } = self;
        let seconds = self.span.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
        // N messages are N - 1 intervals.
        let rate = if seconds > 0.0 { (messages - 1) as f64 / seconds } else { 0.0 };
        say(&format!(
            "received {messages} messages, {bytes} bytes in {seconds:.2} s ({rate:.1}/s)"
        ));
    }
}

/// `consumer | head` is no failure.
fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The first signal ends the loop cleanly, a second one ends the process at once.
fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Checked here, because the zmq crate panics on error numbers that it does not know.
fn endpoint(text: &str) -> Result<String, String> {
    let is_port = |port: &str| port == "*" || port.parse::<u16>().is_ok();
    let is_valid = match text.split_once("://") {
        Some(("tcp", address)) => address.rsplit_once(':').is_some_and(|(_, port)| is_port(port)),
        Some(("ipc" | "epgm", address)) => !address.is_empty(),
        _ => false,
    };
    let help = "an endpoint is tcp://HOST:PORT, ipc://PATH or epgm://INTERFACE;GROUP:PORT";
    if is_valid { Ok(text.to_owned()) } else { Err(help.to_owned()) }
}

/// Binding deletes whatever is at an ipc path, and what cannot be looked at makes the crate panic.
fn check_ipc_path(endpoint: &str) -> Result<(), String> {
    let path = endpoint.strip_prefix("ipc://");
    match path.map(|path| Path::new(path).symlink_metadata()) {
        Some(Ok(found)) if !found.file_type().is_socket() => {
            Err(format!("cannot bind {endpoint}: something is there that is not a socket"))
        }
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("cannot bind {endpoint}: {error}"))
        }
        _ => Ok(()),
    }
}

/// Not `eprintln!`, which panics when standard error is closed.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "consumer: {text}");
}
