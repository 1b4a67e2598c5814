//! What a program does with its process: signals, descriptors, standard error.

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// How long a signal may go unnoticed.
pub const ATTENTION: Duration = Duration::from_millis(100);

/// [`ATTENTION`] for ZeroMQ, milliseconds.
pub const ATTENTION_MS: i32 = 100;

/// Set by the first SIGINT or SIGTERM, so that the program can end cleanly; a second one ends it at
/// once.
///
/// # Errors
///
/// The system refuses handlers.
pub fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// As many descriptors as the process may have; returns how many that is.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let result = setrlimit(Resource::Nofile, raised);
    let descriptors = if result.is_ok() { limit.maximum } else { limit.current };
    descriptors.unwrap_or(u64::MAX)
}

/// `consumer | head` is no failure.
pub fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A line on standard error. Not `eprintln!`, which panics when that is closed.
pub fn say(program: &str, text: &str) {
    let _ = writeln!(io::stderr(), "{program}: {text}");
}
