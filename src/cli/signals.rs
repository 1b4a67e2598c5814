//! What signals do: stop, stop at once, reload. Knows how to ask for these things, not how they are
//! done.

use std::io;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

/// The exit status when a second signal cuts a stop short: it was not a clean one.
const CUT_SHORT_STATUS: i32 = 1;

/// What each signal asks for.
pub(crate) struct Actions<Stop, Reload, LastWords> {
    /// The first SIGTERM or SIGINT.
    pub(crate) stop: Stop,
    /// SIGHUP.
    pub(crate) reload: Reload,
    /// Before the second SIGTERM or SIGINT ends the process; must be short.
    pub(crate) last_words: LastWords,
}

/// Handles signals from now on until the process ends, on a thread of its own.
///
/// The handlers do nothing but write a byte to a pipe; the thread reads it and may therefore lock,
/// allocate and log as any other. It has no part in the loop, so a second signal ends even a
/// process whose loop hangs, and it is never joined, so that holds also while the process exits.
///
/// # Errors
///
/// The handlers or the thread cannot be set up.
pub(crate) fn watch<S, R, L>(actions: Actions<S, R, L>) -> io::Result<()>
where
    S: Fn() + Send + 'static,
    R: Fn() + Send + 'static,
    L: Fn() + Send + 'static,
{
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let handle_signals = move || {
        let mut is_stopping = false;
        for signal in signals.forever() {
            match signal {
                SIGHUP => (actions.reload)(),
                _ if is_stopping => {
                    log::warn!("second signal: ending at once");
                    (actions.last_words)();
                    low_level::exit(CUT_SHORT_STATUS);
                }
                _ => {
                    is_stopping = true;
                    let name = low_level::signal_name(signal).unwrap_or("signal");
                    log::info!("{name}: stopping; a second one ends at once");
                    (actions.stop)();
                }
            }
        }
    };
    thread::Builder::new().name("zmq2ws-signals".into()).spawn(handle_signals)?;
    Ok(())
}
