//! Counts the bytes that feeds and sessions hold against one limit. Decides nothing: who charges looks at the answer.

use std::cell::Cell;
use std::rc::Rc;

/// The one account of a gateway (`--max-memory`); clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    account: Rc<Account>,
}

#[derive(Debug)]
struct Account {
    used_bytes: Cell<usize>,
    bytes_max: usize,
}

impl Memory {
    pub(crate) fn with_limit(bytes_max: usize) -> Self {
        Self { account: Rc::new(Account { used_bytes: Cell::new(0), bytes_max }) }
    }

    /// Counts `bytes` until the returned charge is dropped.
    pub(crate) fn charge(&self, bytes: usize) -> Charge {
        self.account.used_bytes.set(self.account.used_bytes.get() + bytes);
        Charge { memory: self.clone(), bytes }
    }

    pub(crate) fn used_bytes(&self) -> usize {
        self.account.used_bytes.get()
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.account.bytes_max
    }

    /// Whether more is used than allowed.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.used_bytes() > self.account.bytes_max
    }

    /// What users of the memory shrink to once it is exceeded: an eighth below the limit, so that relief, which looks
    /// at everything, is rare.
    pub(crate) fn relief_bytes(&self) -> usize {
        self.account.bytes_max - self.account.bytes_max / 8
    }
}

/// Bytes that are counted as long as this lives.
#[derive(Debug)]
pub(crate) struct Charge {
    memory: Memory,
    bytes: usize,
}

impl Charge {
    /// Changes how many bytes are counted.
    pub(crate) fn resize(&mut self, bytes: usize) {
        let used = &self.memory.account.used_bytes;
        used.set(used.get() - self.bytes + bytes);
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_are_counted_while_they_live() {
        let memory = Memory::with_limit(100);
        let mut first = memory.charge(60);
        let second = memory.charge(40);
        assert!(!memory.is_exceeded());
        first.resize(61);
        assert!(memory.is_exceeded());
        drop(second);
        assert_eq!(memory.used_bytes(), 61);
        drop(first);
        assert_eq!(memory.used_bytes(), 0);
    }
}
