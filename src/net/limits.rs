//! How many descriptors the process has, and may have.

use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises RLIMIT_NOFILE to `wanted`, or as near to it as the hard limit allows; never lowers it. Returns how many
/// descriptors the process may have then.
pub(crate) fn raise_descriptor_limit(wanted: u64) -> u64 {
    let before = getrlimit(Resource::Nofile);
    let soft = before.current.unwrap_or(u64::MAX);
    let target = wanted.min(before.maximum.unwrap_or(u64::MAX));
    let raised = Rlimit { current: Some(target), maximum: before.maximum };
    if target > soft && setrlimit(Resource::Nofile, raised).is_ok() { target } else { soft }
}

/// How many descriptors the process has; none where that cannot be seen.
pub(crate) fn open_descriptors() -> usize {
    // The folder is one itself, while it is read.
    fs::read_dir("/proc/self/fd").map_or(0, |folder| folder.count().saturating_sub(1))
}

/// Fails where the process cannot have `count` descriptors more. What others open meanwhile it does not see.
pub(crate) fn probe_descriptors(count: usize) -> io::Result<()> {
    (0..count).map(|_| UnixDatagram::unbound()).collect::<io::Result<Vec<_>>>().map(drop)
}
