//! A host as a process of its own, with the command's flags, so that a test can start it in the command's place.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;

use log::{LevelFilter, Log, Metadata, Record};
use zmq2ws::Builder;
use zmq2ws::command::Settings;

use crate::support::host::{Doorman, HOST_ARGS};

#[path = "../../src/cli/demo.rs"]
mod demo;
#[path = "../../src/cli/signals.rs"]
mod signals;

/// Is no test but the host, where a test has started this program again to be one.
#[test]
fn host() {
    let Ok(args) = std::env::var(HOST_ARGS) else { return };
    let words = ["host"].into_iter().chain(args.split('\n').filter(|arg| !arg.is_empty()));
    let command = Settings::flags(clap::Command::new("host").disable_help_flag(true));
    let mut settings = Settings::from_flags(command.get_matches_from(words));
    install_logger(settings.text("log").unwrap_or("info"));
    // The host listens itself.
    let listener = TcpListener::bind(settings.text("listen").unwrap()).unwrap();
    settings.remove("listen");
    let is_demo = settings.is_demo().unwrap();
    let running = Builder::from_settings(settings).unwrap().spawn().unwrap();
    let _demo = is_demo.then(|| demo::Demo::start(zmq::PUB, &running.endpoints()[0]).unwrap());
    let mut lines = format!("\nwebsocket  ws://{}/ws\n", listener.local_addr().unwrap());
    for address in running.metrics_addresses() {
        lines += &format!("metrics    {address}/metrics\n");
    }
    for endpoint in running.endpoints() {
        lines += &format!("zeromq     {endpoint}\n");
    }
    let handle = running.handle();
    let doorman = Arc::new(Doorman::start(listener, handle.clone()));
    let stop = move || {
        doorman.close();
        handle.shutdown();
    };
    signals::watch(signals::Actions { stop, reload: || (), last_words: || () }).unwrap();
    std::io::stdout().write_all(lines.as_bytes()).unwrap();
    running.join().unwrap();
    std::process::exit(0);
}

/// Lines as the command has them, but for their time.
struct Logger(env_filter::Filter);

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.0.matches(record) {
            let text = record.args().to_string().replace(char::is_control, "?");
            eprintln!("{} {}: {text}", record.level(), record.target());
        }
    }

    fn flush(&self) {}
}

fn install_logger(filter: &str) {
    let filter = env_filter::Builder::new().parse(filter).build();
    log::set_boxed_logger(Box::new(Logger(filter))).unwrap();
    log::set_max_level(LevelFilter::Trace);
}
