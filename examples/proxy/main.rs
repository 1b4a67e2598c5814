//! Forwards between any number of producers and any number of consumers, so that neither need to know the
//! others: ZeroMQ's own proxy between an XSUB and an XPUB socket.
//!
//! ```sh
//! proxy                                     # producers connect to port 5556, consumers to 5557
//! proxy --from-bind tcp://0.0.0.0:5556 --to-bind tcp://0.0.0.0:5557
//! proxy --from-connect tcp://producer:5556 --to-connect tcp://127.0.0.1:5558
//! ```
//!
//! Subscriptions go the other way: producers send only what some consumer wants.

use std::error::Error;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use clap::builder::ArgPredicate;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;
use zmq2ws_examples::endpoint::{Endpoint, ZmqEndpoint};
use zmq2ws_examples::{process, sockets};

const CONTROL: &str = "inproc://control";

/// How long messages that have come in are still forwarded at the end, while more come.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the proxy may take to say what it has done; it answers between two bursts.
const STATISTICS_TIMEOUT_MS: i32 = 1000;

/// What went from producers to consumers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    messages: u64,
    bytes: u64,
}

/// Forward ZeroMQ messages from producers to consumers.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Bind for producers
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint_to_bind)]
    #[arg(default_value = "tcp://127.0.0.1:5556", help_heading = "Producers")]
    #[arg(default_value_if("from_connect", ArgPredicate::IsPresent, None))]
    from_bind: Vec<ZmqEndpoint>,
    /// Connect to producers that bind
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint_to_connect)]
    #[arg(help_heading = "Producers")]
    from_connect: Vec<ZmqEndpoint>,
    /// Queue at most so many messages of each producer, who then waits or drops; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 10_000, help_heading = "Producers")]
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    from_hwm: i32,
    /// Bind for consumers
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint_to_bind)]
    #[arg(default_value = "tcp://127.0.0.1:5557", help_heading = "Consumers")]
    #[arg(default_value_if("to_connect", ArgPredicate::IsPresent, None))]
    to_bind: Vec<ZmqEndpoint>,
    /// Connect to consumers that bind, as the gateway does
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint_of_consumers)]
    #[arg(help_heading = "Consumers")]
    to_connect: Vec<ZmqEndpoint>,
    /// Queue at most so many messages for each consumer; what does not fit is lost for it. 0 for no
    /// limit
    #[arg(long, value_name = "N", default_value_t = 100_000, help_heading = "Consumers")]
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    to_hwm: i32,
    /// At the end, send on what is queued for at most so long
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    linger: u16,
}

fn main() -> ExitCode {
    let Err(error) = run(&Args::parse()) else { return ExitCode::SUCCESS };
    say(&error.to_string());
    ExitCode::FAILURE
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let context = zmq::Context::new();
    let control = context.socket(zmq::PAIR)?;
    control.bind(CONTROL)?;
    let steering = context.socket(zmq::PAIR)?;
    steering.connect(CONTROL)?;
    steering.set_rcvtimeo(STATISTICS_TIMEOUT_MS)?;
    let mut from = context.socket(zmq::XSUB)?;
    from.set_rcvhwm(args.from_hwm)?;
    sockets::set_repair_rate(&from)?;
    from.set_linger(0)?;
    let mut to = context.socket(zmq::XPUB)?;
    to.set_sndhwm(args.to_hwm)?;
    to.set_linger(i32::from(args.linger) * 1000)?;
    attach("from", &mut from, &args.from_bind, &args.from_connect)?;
    attach("to", &mut to, &args.to_bind, &args.to_connect)?;

    let is_over = signals.handle();
    let (counts, counted) = mpsc::channel();
    // Signals interrupt the main thread, and an interrupted proxy forgets what it has counted.
    let proxy = thread::Builder::new().name("proxy".into()).spawn(move || {
        let result = forward(from, to, control, &counted);
        // Sends what is queued, for --linger at most.
        drop(context);
        is_over.close();
        result
    })?;
    stop_on_signals(&mut signals, steering, &counts);
    proxy.join().map_err(|_| "the proxy's thread has failed")??;
    Ok(())
}

/// Forwards until a signal stops it, and reports how much that was.
fn forward(
    mut from: zmq::Socket,
    mut to: zmq::Socket,
    mut control: zmq::Socket,
    counted: &Receiver<Count>,
) -> zmq::Result<()> {
    while let Err(error) = zmq::proxy_steerable(&mut from, &mut to, &mut control) {
        if error != zmq::Error::EINTR {
            return Err(error);
        }
    }
    let mut total = counted.try_recv().unwrap_or_default();
    drain(&from, &to, &mut total)?;
    say(&format!("forwarded {} messages, {} bytes", total.messages, total.bytes));
    if total.messages > 0 {
        say(
            "what a consumer had no room for (--to-hwm) is in that, but was lost for it: libzmq counts no losses",
        );
    }
    Ok(())
}

fn attach(
    side: &str,
    socket: &mut zmq::Socket,
    bind: &[ZmqEndpoint],
    connect: &[ZmqEndpoint],
) -> Result<(), String> {
    let (bind, connect): (Vec<_>, Vec<_>) = (bind.iter().collect(), connect.iter().collect());
    let said = sockets::attach(socket, &bind, &connect)?;
    said.iter().for_each(|line| say(&format!("{side}: {line}")));
    Ok(())
}

/// The first signal ends the proxy cleanly, a second one ends the process at once.
fn stop_on_signals(signals: &mut Signals, steering: zmq::Socket, counts: &Sender<Count>) {
    let mut steering = Some(steering);
    for signal in signals.forever() {
        let Some(socket) = steering.take() else { low_level::exit(128 + signal) };
        let asked = socket.send("STATISTICS", 0);
        if let Ok(answer) = asked.and_then(|()| socket.recv_multipart(0)) {
            let _ = counts.send(count(&answer));
        }
        let _ = socket.send("TERMINATE", 0);
    }
}

/// What came in at the front, in messages and bytes, is first in libzmq's answer.
fn count(answer: &[Vec<u8>]) -> Count {
    let number = |index: usize| {
        let bytes = answer.get(index).and_then(|part| part[..].try_into().ok());
        bytes.map_or(0, u64::from_ne_bytes)
    };
    Count { messages: number(0), bytes: number(1) }
}

/// Forwards what has come in.
fn drain(from: &zmq::Socket, to: &zmq::Socket, total: &mut Count) -> zmq::Result<()> {
    let deadline = Instant::now() + DRAIN_TIMEOUT;
    while Instant::now() < deadline {
        match from.recv_multipart(zmq::DONTWAIT) {
            Ok(parts) => {
                total.messages += 1;
                total.bytes += parts.iter().map(|part| part.len() as u64).sum::<u64>();
                to.send_multipart(parts, 0)?;
            }
            Err(zmq::Error::EAGAIN) => break,
            Err(zmq::Error::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn endpoint_to_bind(text: &str) -> Result<ZmqEndpoint, String> {
    Endpoint::to_bind(text).and_then(of_zmq)
}

fn endpoint_to_connect(text: &str) -> Result<ZmqEndpoint, String> {
    Endpoint::to_connect(text).and_then(of_zmq)
}

fn endpoint_of_consumers(text: &str) -> Result<ZmqEndpoint, String> {
    match endpoint_to_connect(text)? {
        // Listeners of a group send no subscriptions.
        endpoint if endpoint.is_multicast() => {
            Err("nobody asks for messages by multicast, so the proxy would ask producers for none"
                .into())
        }
        endpoint => Ok(endpoint),
    }
}

fn of_zmq(endpoint: Endpoint) -> Result<ZmqEndpoint, String> {
    match endpoint {
        Endpoint::Zmq(endpoint) => Ok(endpoint),
        Endpoint::Udp(_) => Err("udp:// needs no proxy: everyone hears a group".into()),
    }
}

fn say(text: &str) {
    process::say("proxy", text);
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
        let args = Args::parse_from(["proxy", "--from-connect=tcp://a:1", "--to-bind=tcp://*:2"]);
        assert!(args.from_bind.is_empty() && args.to_bind.len() == 1);
        for refused in
            ["--from-connect=udp://239.1.1.1:1", "--to-connect=epgm://eth0;239.192.1.1:5556"]
        {
            assert!(Args::try_parse_from(["proxy", refused]).is_err());
        }
    }
}
