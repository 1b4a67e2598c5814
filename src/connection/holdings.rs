//! What streams keep for themselves, half a TLS record or one that waits for room: within the memory that unfinished
//! requests have, of which it takes no more than half. Knows no protocol.

use std::collections::BTreeMap;
use std::time::Instant;

use slotmap::SparseSecondaryMap;

use super::table::ConnectionKey;
use super::{Connections, SETTLED, State};
use crate::error::CloseReason;
use crate::memory::{Charge, Memory};
use crate::net::ByteStream;

/// Holders that are closed for what one visit made grow: one is enough as a rule, since what all hold is of one size.
const VISIT_EXPULSIONS_MAX: usize = 4;

/// Who holds how much, and since when it got no less.
#[derive(Debug)]
pub(super) struct Holdings {
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

impl Holdings {
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

    fn is_exceeded(&self) -> bool {
        self.bytes > self.memory.bytes_max() / 2
    }

    fn oldest(&self) -> Option<ConnectionKey> {
        self.by_age.first_key_value().map(|(_, &key)| key)
    }
}

impl<S: ByteStream> Connections<S> {
    /// Closes those who have held something for longest where that is too much, and where a few of them are not enough
    /// the one whose visit made it grow.
    pub(super) fn keep_holdings_within_memory(&mut self, now: Instant, grown: ConnectionKey) {
        for _ in 0..VISIT_EXPULSIONS_MAX {
            let Some(oldest) = self.holdings.oldest() else { return };
            if !self.holdings.is_exceeded() {
                return;
            }
            self.expel_holder(now, oldest);
        }
        if self.holdings.is_exceeded() {
            self.expel_holder(now, grown);
        }
    }

    fn expel_holder(&mut self, now: Instant, key: ConnectionKey) {
        self.visit(key, |connection, context| {
            let visit = match connection.state {
                State::Session(_) => connection.expel(now, context),
                _ => SETTLED,
            };
            if connection.stream.held_bytes() > 0 {
                connection.close(CloseReason::Memory, context);
            }
            visit
        });
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
        let mut holdings = Holdings::within_half_of(&memory);
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
}
