//! How many descriptors the process may have.

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
