//! Publishes over ZeroMQ what it reads from any number of files, or lines of standard input, or a made-up
//! weather.
//!
//! ```sh
//! producer --files /var/log/syslog '/var/log/nginx/*.log'   # to a gateway on this host
//! producer --files '*.log' --connect udp://239.192.1.1:5556   # to all listeners
//! producer --demo --rate 5000 --size 1024 --topics 100 --count 50000
//! vmstat 1 | sed -u 's/^/vmstat /' | producer --stdin --bind tcp://127.0.0.1:5557
//! ```
//!
//! A message has two parts, topic and body. Threads read; one socket sends, and waits for slow
//! subscribers: a file can be read later, unlike a live feed.

mod args;
mod claims;
mod fan_in;
mod files;
mod follower;
mod glob;
mod lines;
mod outlet;
mod pace;
mod patterns;
mod prefixes;
mod publisher;
mod readings;
mod rhythm;
mod room;
mod stdin;
mod tally;
mod threads;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use zmq2ws_examples::process;

use crate::args::Args;
use crate::claims::Claims;
use crate::fan_in::{FanIn, Next};
use crate::files::{Finder, Inbox, Shared};
use crate::follower::Common;
use crate::lines::{Budget, UNENDED_BYTES_MAX};
use crate::outlet::Outlet;
use crate::pace::Pace;
use crate::patterns::Patterns;
use crate::publisher::Options;
use crate::room::Room;
use crate::threads::Threads;

fn main() -> ExitCode {
    let Err(error) = run(&Args::parse()) else { return ExitCode::SUCCESS };
    say(&error.to_string());
    ExitCode::FAILURE
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let descriptors = process::raise_descriptor_limit();
    let stop = process::stop_flag()?;
    let context = zmq::Context::new();
    let options = Options {
        delivery: args.delivery(),
        hwm: args.hwm,
        multicast_kbits: args.multicast_kbits,
        multicast_hops: args.multicast_hops,
    };
    let end = (Arc::clone(&stop), args.linger());
    let mut outlet = Outlet::open(&context, &args.bind, &args.connect, &options, end)?;
    let room = Room::new(args.files_max(), descriptors, args.threads());
    let claims = Arc::new(Claims::with_limit(room.open_max));
    let topics = (args.host(), args.topic_from);
    let patterns = Patterns::new(&args.files, Arc::clone(&claims), topics, args.threads(), room)?;
    let common = Common {
        claims,
        line_bytes_max: args.line_bytes_max(),
        budget: Budget::with_limit(UNENDED_BYTES_MAX.max(args.line_bytes_max())),
        stop: Arc::clone(&stop),
    };
    let shared = Shared {
        pace: Pace::new(args.rate(), args.count, Arc::clone(&stop)),
        stop,
        common: Arc::new(common),
        look_interval: args.interval(),
        cut_lines: AtomicU64::new(0),
    };
    let (mut finder, inboxes) = Finder::new(patterns, args.threads(), &shared);
    // Before waiting: what is written meanwhile is to be sent.
    finder.look(args.lines);
    outlet.wait_for_subscriptions(args.subscriptions, args.wait())?;

    let fan_in = FanIn::new(&context)?;
    let result = thread::scope(|scope| {
        let mut threads = Threads::new(scope, &shared.stop);
        let started = start_threads(&mut threads, args, (finder, inboxes), &fan_in, &shared);
        let result = started.and_then(|()| Ok(forward(&fan_in, &mut outlet)?));
        // Threads that still search and read end, too.
        shared.stop.store(true, Ordering::Relaxed);
        result.and(threads.join().map_err(Into::into))
    });
    drop(fan_in);
    finish(outlet, context, shared.cut_lines.into_inner());
    result
}

/// Starts what feeds the fan-in.
fn start_threads<'scope>(
    threads: &mut Threads<'scope, '_>,
    args: &'scope Args,
    (mut finder, inboxes): (Finder<'scope>, Vec<Inbox>),
    fan_in: &FanIn,
    shared: &'scope Shared,
) -> Result<(), Box<dyn Error>> {
    if args.stdin {
        let feeder = fan_in.feeder(&shared.stop)?;
        threads.spawn(move || {
            let cut = stdin::publish(&feeder, &shared.pace, &shared.stop, args.line_bytes_max());
            shared.cut_lines.fetch_add(cut, Ordering::Relaxed);
        });
    } else if args.files.is_empty() {
        let host = args.host();
        let topic = |name: &String| format!("{host}/{name}").into_bytes();
        let topics: Vec<_> = args.topics.iter().map(topic).enumerate().collect();
        for thread in 0..args.threads().min(topics.len()) {
            // Each station has one thread, and so an order.
            let own = topics.iter().skip(thread).step_by(args.threads()).cloned();
            let (own, feeder) = (own.collect::<Vec<_>>(), fan_in.feeder(&shared.stop)?);
            threads.spawn(move || {
                readings::publish(&own, args.body_bytes_min(), &feeder, &shared.pace);
            });
        }
    } else {
        for inbox in inboxes {
            let feeder = fan_in.feeder(&shared.stop)?;
            threads.spawn(move || files::follow_files(&inbox, &feeder, shared));
        }
        threads.spawn(move || finder.run());
    }
    Ok(())
}

/// Sends what the threads read, until all of them have ended.
fn forward(fan_in: &FanIn, outlet: &mut Outlet) -> zmq::Result<()> {
    let (mut topic, mut body) = (zmq::Message::new(), zmq::Message::new());
    loop {
        match fan_in.next(&mut topic, &mut body)? {
            Next::Message => outlet.send(&topic, &body)?,
            Next::Nothing => outlet.idle()?,
            Next::End => return Ok(()),
        }
    }
}

/// Sends what is queued, and reports.
fn finish(outlet: Outlet, context: zmq::Context, cut_lines: u64) {
    let end = Instant::now();
    let (tally, linger) = outlet.close();
    tally.report(end).iter().for_each(|line| say(line));
    if cut_lines > 0 {
        let kept = UNENDED_BYTES_MAX >> 20;
        say(&format!(
            "cut {cut_lines} lines that were longer than --max-line, or had no room: all that wait for their end \
             may have {kept} MiB"
        ));
    }
    let start = Instant::now();
    drop(context);
    if start.elapsed() >= linger && !linger.is_zero() {
        say("not everything that was queued has left within --linger");
    }
}

fn say(text: &str) {
    process::say("producer", text);
}
