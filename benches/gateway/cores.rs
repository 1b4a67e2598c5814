//! Where processes run and what they may use: cores, descriptors, and a child that ends with the bench. Knows no server.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;

/// The core of the servers and the core of the bench: the first and the last that this process may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) servers: usize,
    pub(crate) bench: usize,
}

impl Cores {
    /// Fails where there is but one: the two sides would only measure each other.
    pub(crate) fn find() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        let servers = cores.next().ok_or("no core is allowed")?;
        let bench =
            cores.next_back().ok_or("two cores are needed: one for servers, one for clients")?;
        Ok(Self { servers, bench })
    }
}

/// Moves this thread, and whatever it starts from now on, to one core.
pub(crate) fn pin_to(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Raises the limit on open descriptors as far as it goes, and returns it.
pub(crate) fn raise_descriptor_limit() -> Result<usize> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised)?;
    Ok(limit.maximum.map_or(usize::MAX, |maximum| usize::try_from(maximum).unwrap_or(usize::MAX)))
}

/// Becomes `command`, on `core`, and ends when the bench does. Returns only when that fails.
pub(crate) fn launch(core: usize, command: &[String]) -> Result<()> {
    pin_to(core)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let (program, arguments) = command.split_first().ok_or("no command")?;
    Err(Command::new(program).args(arguments).exec().into())
}
