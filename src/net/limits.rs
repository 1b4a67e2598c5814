//! How many descriptors the process may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What could be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DescriptorLimit {
    /// Descriptors the process may have now.
    pub(crate) current: u64,
}

/// Raises RLIMIT_NOFILE to `wanted`, or as near to it as the hard limit allows; never lowers it.
pub(crate) fn raise_descriptor_limit(wanted: u64) -> DescriptorLimit {
    let before = getrlimit(Resource::Nofile);
    let soft = before.current.unwrap_or(u64::MAX);
    let target = wanted.min(before.maximum.unwrap_or(u64::MAX));
    if target > soft {
        let raised = Rlimit { current: Some(target), maximum: before.maximum };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            return DescriptorLimit { current: target };
        }
    }
    DescriptorLimit { current: soft }
}
