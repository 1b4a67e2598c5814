//! Publishes messages for the gateway to broadcast: a made-up weather, or lines of standard input.
//!
//! ```sh
//! zmq2ws &                                                # binds tcp://127.0.0.1:5556
//! cargo run --example producer                            # ten readings a second, until Ctrl-C
//! cargo run --example producer -- --rate 5000 --size 1024 --topics 100 --count 50000
//! cargo run --example producer -- --topics oslo,lima --bind tcp://127.0.0.1:5557
//! vmstat 1 | sed -u 's/^/vmstat /' | cargo run --example producer -- --stdin
//! ```
//!
//! A message has two parts, topic and body. PUB sockets promise little: a subscriber that is not
//! there misses the message, and one that is slower than the queue loses some.

use std::error::Error;
use std::f64::consts::TAU;
use std::fmt::Write as _;
use std::io::{self, BufRead, Write as _};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use clap::builder::ArgPredicate;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// How long a signal may go unnoticed.
const ATTENTION: Duration = Duration::from_millis(100);

/// How long the last messages may take to leave when a subscriber reads slowly.
const LINGER_MS: i32 = 5_000;

/// What waits for each subscriber; more is lost. ZeroMQ's own 1,000 overflow at full speed.
const QUEUE_MAX: i32 = 100_000;

const CITIES: [&str; 8] = ["oslo", "lima", "kyoto", "cairo", "lagos", "perth", "hanoi", "quito"];

/// Publish test messages over ZeroMQ.
#[derive(Parser)]
struct Args {
    /// Connect to a subscriber that binds, as the gateway does
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint)]
    #[arg(default_value = "tcp://127.0.0.1:5556")]
    #[arg(default_value_if("bind", ArgPredicate::IsPresent, None))]
    connect: Vec<String>,
    /// Bind, for subscribers that connect
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint)]
    bind: Vec<String>,
    /// Messages a second, 0 for as fast as possible [default: 10, or 0 with --stdin]
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Pad each body to so many bytes; a reading alone has about 110
    #[arg(long, value_name = "BYTES", default_value_t = 0, conflicts_with = "stdin")]
    size: usize,
    /// How many topics, or a comma-separated list of them
    #[arg(long, value_name = "N|LIST", default_value = "8", value_parser = topics)]
    #[arg(conflicts_with = "stdin")]
    topics: Box<[String]>, // Not a Vec: clap would want a parser for one topic.
    /// Stop after so many messages, 0 for never
    #[arg(long, value_name = "N", default_value_t = 0)]
    count: u64,
    /// Each line of standard input is a message: the topic, a space, the body
    #[arg(long)]
    stdin: bool,
    /// Wait at most so many seconds for the first subscriber
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    wait: u32,
}

fn main() -> ExitCode {
    let Err(error) = run(&Args::parse()) else { return ExitCode::SUCCESS };
    say(&error.to_string());
    ExitCode::FAILURE
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let stop = stop_flag()?;
    let context = zmq::Context::new();
    let socket = open(&context, args)?;
    wait_for_subscriber(&socket, args.wait)?;

    let mut publisher = Publisher::new(&socket, &stop, args);
    let publish = if args.stdin { publish_lines } else { publish_weather };
    let result = publish(&mut publisher, args);
    publisher.report();
    result
    // Dropping the socket and then its context sends what is queued, for LINGER_MS at most.
}

fn open(context: &zmq::Context, args: &Args) -> Result<zmq::Socket, Box<dyn Error>> {
    // XPUB is a PUB socket that can also read who subscribes.
    let socket = context.socket(zmq::XPUB)?;
    socket.set_sndhwm(QUEUE_MAX)?;
    socket.set_linger(LINGER_MS)?;
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

/// A publisher drops whatever nobody has subscribed to yet, and a subscription arrives only after
/// the connection and its handshake. Without this wait the first messages would be lost.
fn wait_for_subscriber(socket: &zmq::Socket, wait_s: u32) -> zmq::Result<()> {
    match socket.poll(zmq::POLLIN, i64::from(wait_s) * 1000) {
        Ok(0) => say(&format!("nobody subscribed within {wait_s} s: sending to whoever comes")),
        Ok(_) | Err(zmq::Error::EINTR) => {} // Interrupted by a signal, which has set the flag.
        Err(error) => return Err(error),
    }
    Ok(())
}

fn publish_weather(publisher: &mut Publisher, args: &Args) -> Result<(), Box<dyn Error>> {
    let mut body = String::new();
    while publisher.wait_for_turn() {
        let station = (publisher.messages % args.topics.len() as u64) as usize;
        write_reading(&mut body, station, publisher.messages, args.size);
        publisher.send(args.topics[station].as_bytes(), body.as_bytes())?;
    }
    Ok(())
}

/// One reading in JSON, smooth over time and different for each station, padded to `size`.
fn write_reading(body: &mut String, station: usize, seq: u64, size: usize) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (minute, phase) = (now.as_secs_f64() / 60.0, station as f64 / 7.0);
    let wave = |minutes: f64| ((minute / minutes + phase) * TAU).sin();
    let wind = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"][((wave(5.0) + 1.0) * 3.99) as usize];

    body.clear();
    let _ = write!(
        body,
        r#"{{"seq":{seq},"time_ms":{},"temperature":{:.1},"humidity":{:.0},"wind":{{"speed":{:.1},"from":"{wind}"}}}}"#,
        now.as_millis(),
        12.0 + 9.0 * wave(3.0) + (station % 5) as f64,
        60.0 - 25.0 * wave(4.0),
        6.0 + 5.0 * wave(1.0),
    );
    if let Some(dots) = size.checked_sub(body.len() + r#","pad":"""#.len()) {
        body.pop();
        let _ = write!(body, r#","pad":"{}"}}"#, ".".repeat(dots));
    }
}

fn publish_lines(publisher: &mut Publisher, _: &Args) -> Result<(), Box<dyn Error>> {
    let lines = read_lines();
    while !publisher.is_done() {
        let line = match lines.recv_timeout(ATTENTION) {
            Ok(line) => line.map_err(|error| format!("cannot read standard input: {error}"))?,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if publisher.wait_for_turn() {
            let mut fields = line.splitn(2, |&byte| byte == b' ');
            let [topic, body] = [(); 2].map(|()| fields.next().unwrap_or_default());
            publisher.send(topic, body)?;
        }
    }
    Ok(())
}

/// On a thread of its own: nothing interrupts a read that waits for a terminal, not even a signal.
fn read_lines() -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::sync_channel(1024);
    thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Sends at its rate, until the count is reached or a signal comes.
struct Publisher<'a> {
    socket: &'a zmq::Socket,
    stop: &'a AtomicBool,
    rate: u32,
    count: u64,
    started: Instant,
    /// Message N is due at this instant + (N - this number) / rate: delays do not add up.
    origin: (Instant, u64),
    messages: u64,
    bytes: u64,
}

impl<'a> Publisher<'a> {
    fn new(socket: &'a zmq::Socket, stop: &'a AtomicBool, args: &Args) -> Self {
        let rate = args.rate.unwrap_or(if args.stdin { 0 } else { 10 });
        let (count, started) = (args.count, Instant::now());
        Self { socket, stop, rate, count, started, origin: (started, 0), messages: 0, bytes: 0 }
    }

    fn is_done(&self) -> bool {
        (self.count > 0 && self.messages >= self.count) || self.stop.load(Ordering::Relaxed)
    }

    /// Sleeps until the next message is due; false when there is none.
    fn wait_for_turn(&mut self) -> bool {
        if self.rate > 0 {
            let (start, first) = self.origin;
            let seconds = (self.messages - first) as f64 / f64::from(self.rate);
            let due = start + Duration::from_secs_f64(seconds);
            // After a pause of the process, or a silence of standard input: no burst to catch up.
            if due.elapsed() > Duration::from_secs(1) {
                self.origin = (Instant::now(), self.messages);
            }
            while !self.is_done() && Instant::now() < due {
                thread::sleep(due.saturating_duration_since(Instant::now()).min(ATTENTION));
            }
        }
        !self.is_done()
    }

    fn send(&mut self, topic: &[u8], body: &[u8]) -> zmq::Result<()> {
        // Subscriptions queue up until somebody reads them.
        while self.messages.is_multiple_of(1024) && self.socket.recv_bytes(zmq::DONTWAIT).is_ok() {}
        self.socket.send(topic, zmq::SNDMORE)?;
        self.socket.send(body, 0)?;
        self.messages += 1;
        self.bytes += (topic.len() + body.len()) as u64;
        Ok(())
    }

    /// What was handed to ZeroMQ. What it dropped for want of a subscriber, it does not tell.
    fn report(&self) {
        let Self { messages, bytes, .. } = self;
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = *messages as f64 / seconds;
        say(&format!("sent {messages} messages, {bytes} bytes in {seconds:.2} s ({rate:.1}/s)"));
    }
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

fn topics(text: &str) -> Result<Box<[String]>, String> {
    let name = |station: usize| match CITIES.get(station) {
        Some(city) => format!("weather.{city}"),
        None => format!("weather.station-{}", station + 1),
    };
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok((0..count).map(name).collect()),
        Ok(_) => Err("between 1 and 1000000 topics".to_owned()),
        Err(_) => Ok(text.split(',').map(str::to_owned).collect()),
    }
}

/// Not `eprintln!`, which panics when standard error is closed.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "producer: {text}");
}
