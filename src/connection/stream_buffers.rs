//! Bytes that wait below the protocols: those that streams keep for themselves, as half a TLS record, and those that the
//! host had read. Both take at most half of the memory for unfinished requests. Knows no protocol.

use std::collections::BTreeMap;

use slotmap::SparseSecondaryMap;

use super::table::ConnectionKey;
use crate::memory::{Charge, Memory};

/// Who holds how much, and since when it got no less.
#[derive(Debug)]
pub(super) struct StreamBuffers {
    memory: Memory,
    holdings: SparseSecondaryMap<ConnectionKey, Holding>,
    /// The one of them first that moved nothing for longest.
    by_age: BTreeMap<u64, ConnectionKey>,
    next_ticket: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Holding {
    bytes: usize,
    /// Where it is in the order of age.
    ticket: u64,
    charge: Charge,
}

impl StreamBuffers {
    /// The other half is for those who need it to end their requests.
    pub(super) fn within_half_of(memory: &Memory) -> Self {
        Self {
            memory: memory.clone(),
            holdings: SparseSecondaryMap::new(),
            by_age: BTreeMap::new(),
            next_ticket: 0,
            bytes: 0,
        }
    }

    /// Somebody holds so much now.
    pub(super) fn note(&mut self, key: ConnectionKey, bytes: usize) {
        let before = self.holdings.get(key).map_or(0, |holding| holding.bytes);
        self.bytes = self.bytes - before + bytes;
        // Some of it has gone: that is not for ever.
        if bytes < before
            && let Some(holding) = self.holdings.remove(key)
        {
            self.by_age.remove(&holding.ticket);
        }
        if bytes == 0 {
            return;
        }
        if let Some(holding) = self.holdings.get_mut(key) {
            holding.bytes = bytes;
            holding.charge.resize(bytes);
            return;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.by_age.insert(ticket, key);
        self.holdings.insert(key, Holding { bytes, ticket, charge: self.memory.charge(bytes) });
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.bytes > self.memory.bytes_max() / 2
    }

    pub(super) fn oldest(&self) -> Option<ConnectionKey> {
        self.by_age.first_key_value().map(|(_, &key)| key)
    }
}

/// As much as one turn reads of a client is taken at once, and never kept.
const AT_ONCE_BYTES: usize = 16 << 10;

/// Input that somebody else has read.
#[derive(Debug)]
pub(super) struct AlreadyRead {
    bytes: Vec<u8>,
    taken: usize,
    /// Counts what is kept for later turns against `--max-memory`.
    _charge: Option<Charge>,
}

impl AlreadyRead {
    /// `None` where there is nothing. Fails where more is to be kept than there is room for: half of `memory`, so that the
    /// other half is for those who need it to end their requests.
    pub(super) fn new(bytes: Vec<u8>, memory: &Memory) -> Result<Option<Self>, ()> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let kept_bytes = bytes.len().saturating_sub(AT_ONCE_BYTES);
        if kept_bytes > 0 && memory.used_bytes() + kept_bytes > memory.bytes_max() / 2 {
            return Err(());
        }
        let charge = (kept_bytes > 0).then(|| memory.charge(kept_bytes));
        Ok(Some(Self { bytes, taken: 0, _charge: charge }))
    }

    /// Takes the next piece, of one byte at least, and says whether it was the last one.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> (usize, bool) {
        let rest = &self.bytes[self.taken..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.taken += len;
        (len, self.taken == self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::tests::Rig;

    #[test]
    fn who_moves_nothing_is_older_than_who_does() {
        let mut keys = slotmap::SlotMap::with_key();
        let [first, second, third]: [ConnectionKey; 3] = std::array::from_fn(|_| keys.insert(()));
        let memory = Memory::with_limit(100);
        let mut holdings = StreamBuffers::within_half_of(&memory);
        holdings.note(first, 10);
        holdings.note(second, 20);
        holdings.note(third, 20);
        assert!(!holdings.is_exceeded() && memory.used_bytes() == 50);
        holdings.note(first, 11);
        assert!(holdings.is_exceeded());
        assert_eq!(holdings.oldest(), Some(first), "growing is not moving");
        holdings.note(first, 5);
        assert_eq!(holdings.oldest(), Some(second));
        holdings.note(second, 0);
        assert_eq!((holdings.oldest(), holdings.bytes), (Some(third), 25));
        [first, third].into_iter().for_each(|key| holdings.note(key, 0));
        assert_eq!((holdings.oldest(), holdings.bytes, memory.used_bytes()), (None, 0, 0));
        assert!(holdings.holdings.is_empty());
    }

    #[test]
    fn streams_that_hold_too_much_together_are_closed_the_oldest_first() {
        // An eighth is for requests, and half of that for what streams hold: four of these.
        let mut rig = Rig::new(1 << 16, 16 * 4_000);
        let clients: Vec<_> = (0..8).map(|_| rig.websocket()).collect();
        for (count, &client) in (1..).zip(&clients) {
            rig.peer(client).held_bytes = 1_000;
            rig.peer(client).input = b"\x89\x80\0\0\0\0".to_vec();
            rig.turn();
            let used = rig.connections.context.request_memory.used_bytes();
            assert_eq!(used, count.min(4) * 1_000);
        }
        for (index, &client) in clients.iter().enumerate() {
            let is_closed = rig.take_output(client).ends_with(&[0x88, 2, 0x03, 0xf5]);
            assert_eq!(is_closed, index < 4, "client {index}");
        }
    }

    #[test]
    fn one_that_is_too_large_ends_few_others() {
        let mut rig = Rig::new(1 << 16, 16 * 4_000);
        let clients: Vec<_> = (0..10).map(|_| rig.websocket()).collect();
        for (client, held_bytes) in clients.iter().zip([10; 9].into_iter().chain([5_000])) {
            rig.peer(*client).held_bytes = held_bytes;
            rig.peer(*client).input = b"\x89\x80\0\0\0\0".to_vec();
            rig.turn();
        }
        assert_eq!(rig.connections.context.request_memory.used_bytes(), 50);
        assert!(rig.peer(clients[9]).is_shut && !rig.peer(clients[4]).is_shut);
    }

    #[test]
    fn it_is_read_to_the_end_and_what_is_kept_has_a_limit() {
        let memory = Memory::with_limit(20);
        assert!(AlreadyRead::new(Vec::new(), &memory).unwrap().is_none());
        let large = || vec![1; AT_ONCE_BYTES + 6];
        let mut kept = AlreadyRead::new(large(), &memory).unwrap().unwrap();
        assert_eq!(memory.used_bytes(), 6);
        assert!(AlreadyRead::new(large(), &memory).is_err());
        let mut small = AlreadyRead::new(b"12345".to_vec(), &memory).unwrap().unwrap();
        let mut buffer = [0; 3];
        assert_eq!((small.read(&mut buffer), buffer), ((3, false), *b"123"));
        assert_eq!((small.read(&mut buffer), &buffer[..2]), ((2, true), &b"45"[..]));
        assert_eq!(kept.read(&mut [0; 2 * AT_ONCE_BYTES]), (AT_ONCE_BYTES + 6, true));
        drop(kept);
        assert_eq!(memory.used_bytes(), 0);
    }
}
