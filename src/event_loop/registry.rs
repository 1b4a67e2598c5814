//! The poller: which descriptors are waited for, and what they are ready for. Knows neither sockets nor clients.
#![allow(unsafe_code)] // `Poller::add` is unsafe; this file is the only one that calls it.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use polling::{Event, Events, PollMode, Poller};

use crate::connection::{ConnectionKey, Interest};
use crate::source::Source;

/// Who a descriptor belongs to. Closed: every wake-up is one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Listener(u16),
    Source(u16),
    /// The monitor of a source.
    Monitor(u16),
    Connection(ConnectionKey),
}

/// What one wait reports: each may be a client that is to be read and answered, some 10 µs, and the others are served only
/// then. What is left is reported by the next wait, and the kernel takes them in turn.
const READY_MAX: NonZeroUsize = NonZeroUsize::new(128).expect("128 is not zero");

const SOURCES: u64 = 1 << 16;
const MONITORS: u64 = 2 << 16;

// A connection's key fills 64 bits; its upper half, the generation, is never zero, so that the small numbers are free.
const _: () = assert!(usize::BITS == 64, "descriptors are told apart by 64-bit keys");

impl Slot {
    fn to_key(self) -> usize {
        let key = match self {
            Self::Listener(index) => u64::from(index),
            Self::Source(index) => SOURCES | u64::from(index),
            Self::Monitor(index) => MONITORS | u64::from(index),
            Self::Connection(key) => key.to_number(),
        };
        key as usize
    }

    fn from_key(key: usize) -> Self {
        let number = key as u64;
        let index = number as u16;
        match number >> 16 {
            0 => Self::Listener(index),
            1 => Self::Source(index),
            2 => Self::Monitor(index),
            _ => Self::Connection(ConnectionKey::from_number(number)),
        }
    }
}

/// A descriptor that is ready.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    pub(super) slot: Slot,
    pub(super) readable: bool,
    pub(super) writable: bool,
}

/// Waits for everything at once.
pub(super) struct Registry {
    poller: Arc<Poller>,
    events: Events,
}

/// Ends a wait from another thread.
#[derive(Debug, Clone)]
pub(super) struct Waker {
    poller: Arc<Poller>,
}

impl Waker {
    pub(super) fn wake(&self) -> io::Result<()> {
        self.poller.notify()
    }
}

impl Registry {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { poller: Arc::new(Poller::new()?), events: Events::with_capacity(READY_MAX) })
    }

    pub(super) fn waker(&self) -> Waker {
        Waker { poller: Arc::clone(&self.poller) }
    }

    /// Starts to wait for `source`, level-triggered. It must be handed to [`Self::remove`] before it is closed.
    pub(super) fn add(&self, source: impl AsFd, slot: Slot, interest: Interest) -> io::Result<()> {
        let event = event(slot, interest);
        let source = source.as_fd().as_raw_fd();
        // SAFETY: the event loop owns everything that it adds and removes it before dropping it, in `reap`, in
        // `close_listeners`, in `drain_step` and in its own `drop`.
        unsafe { self.poller.add_with_mode(source, event, PollMode::Level) }
    }

    /// Changes what is waited for.
    pub(super) fn modify(
        &self,
        source: impl AsFd,
        slot: Slot,
        interest: Interest,
    ) -> io::Result<()> {
        self.poller.modify_with_mode(source, event(slot, interest), PollMode::Level)
    }

    pub(super) fn remove(&self, source: impl AsFd) {
        // It fails only for what was not added, and then there is nothing to remove.
        let _ = self.poller.delete(source);
    }

    /// Forgets both descriptors of a source, as far as it has them.
    pub(super) fn remove_source(&self, source: &Source) {
        [source.fd(), source.monitor_fd()].into_iter().flatten().for_each(|fd| self.remove(fd));
    }

    /// Waits, at most for `timeout`, and puts what is ready into `ready`.
    pub(super) fn wait(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()> {
        ready.clear();
        // The poller appends, and fails when there is no room.
        self.events.clear();
        self.poller.wait(&mut self.events, timeout)?;
        ready.extend(self.events.iter().map(|event| Ready {
            slot: Slot::from_key(event.key),
            readable: event.readable,
            writable: event.writable,
        }));
        Ok(())
    }
}

impl AsFd for Registry {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

fn event(slot: Slot, interest: Interest) -> Event {
    Event::new(slot.to_key(), interest.readable, interest.writable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    #[test]
    fn slots_survive_their_way_through_the_poller() {
        let mut keys: SlotMap<ConnectionKey, ()> = SlotMap::with_key();
        let first = keys.insert(());
        keys.remove(first);
        let second = keys.insert(());
        for slot in [
            Slot::Listener(0),
            Slot::Listener(u16::MAX),
            Slot::Source(3),
            Slot::Monitor(u16::MAX),
            Slot::Connection(first),
            Slot::Connection(second),
        ] {
            assert_eq!(Slot::from_key(slot.to_key()), slot);
        }
    }
}
