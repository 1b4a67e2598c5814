//! The listening sockets that a service manager opened for this process (sd_listen_fds(3)).
#![allow(unsafe_code)] // Owning a descriptor that is known by its number only cannot be checked by the compiler.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first descriptor that is passed.
const FIRST: RawFd = 3;

/// More than any unit file lists.
const COUNT_MAX: RawFd = 256;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the sockets; once in a process's life.
///
/// # Errors
///
/// When none were passed to this very process, or they were taken already.
pub(super) fn take_sockets() -> Result<Vec<OwnedFd>, String> {
    let variable = |name| std::env::var(name).ok();
    let for_us = variable("LISTEN_PID") == Some(std::process::id().to_string());
    let count: RawFd = variable("LISTEN_FDS").and_then(|count| count.parse().ok()).unwrap_or(0);
    if !for_us || !(1..=COUNT_MAX).contains(&count) {
        return Err(
            "no sockets were passed (LISTEN_PID, LISTEN_FDS); start this from a .socket unit"
                .into(),
        );
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err("the sockets that were passed are in use already".into());
    }
    // SAFETY: the service manager opened these descriptors for this process and tells so by LISTEN_PID; nobody else
    // knows of them, and `TAKEN` keeps them from being owned twice.
    let own = |descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) };
    Ok((FIRST..FIRST + count).map(own).collect())
}
