//! Prints what publishers send, or how much: what the gateway would receive, without the gateway.
//!
//! ```sh
//! consumer                                        # and elsewhere: producer --demo
//! consumer --topic web1/ --topic web2/ --json
//! consumer --connect tcp://127.0.0.1:5557 --stats   # a proxy, or a publisher that binds
//! consumer --connect udp://239.192.1.1:5556         # a multicast group
//! ```
//!
//! In ZeroMQ it does not matter which end binds. This one binds by default, like the
//! gateway, so that many producers can come and go at one well-known endpoint.

mod args;
mod intake;
mod print;
mod stats;

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Parser;
use zmq2ws_examples::{ffi, process};

use crate::args::{Args, Output};
use crate::intake::Intake;
use crate::stats::{Stats, View};

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if process::is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    ffi::silence_openpgm();
    let stop = process::stop_flag()?;
    let context = zmq::Context::new();
    let mut intake = Intake::open(&context, args)?;
    let mut stats = Stats::new(Instant::now());
    let result = receive(&mut intake, args, &stop, &mut stats);
    if !result.as_ref().is_err_and(|error| process::is_broken_pipe(&**error)) {
        stats.report().iter().for_each(|line| say(line));
        intake.report().iter().for_each(|line| say(line));
    }
    result
}

fn receive(
    intake: &mut Intake,
    args: &Args,
    stop: &AtomicBool,
    stats: &mut Stats,
) -> Result<(), Box<dyn Error>> {
    let limit = if args.count == 0 { u64::MAX } else { args.count };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut view = View::new(&io::stdout(), args.interval());
    let mut parts = Vec::new();
    while stats.messages() < limit && !stop.load(Ordering::Relaxed) {
        // Wait only when the queue is empty, and show everything before waiting: quick and never late.
        let is_there = if intake.receive(&mut parts)? {
            stats.add(Instant::now(), &parts);
            true
        } else {
            out.flush()?;
            intake.wait()?;
            false
        };
        match args.output() {
            Output::Lines if is_there => print::line(&mut out, &parts)?,
            Output::Json if is_there => print::json(&mut out, &parts)?,
            Output::Stats => view.show(Instant::now(), stats, &mut out)?,
            Output::Lines | Output::Json | Output::Nothing => {}
        }
    }
    if args.output() == Output::Stats {
        view.show_last(Instant::now(), stats, &mut out)?;
    }
    Ok(out.flush()?)
}

fn say(text: &str) {
    process::say("consumer", text);
}
