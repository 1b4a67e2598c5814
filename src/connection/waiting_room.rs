//! Connections that may have to make room: who came first and still has not become a client. Knows only keys.

use std::collections::VecDeque;

use super::ConnectionKey;

/// What a connection is, to somebody who looks for one that can be spared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occupant {
    /// It has ended, or is a client: not of this room any more.
    Gone,
    /// It is in the middle of something.
    Busy,
    /// It was said goodbye.
    Leaving,
    /// It waits for a request, or for the rest of one.
    Waiting,
}

/// The oldest first. Keys of those who left stay until somebody looks, or too many have gathered.
#[derive(Debug, Default)]
pub(super) struct WaitingRoom {
    keys: VecDeque<ConnectionKey>,
    /// Who came in this turn, and cannot have said anything yet.
    newcomers: Vec<ConnectionKey>,
}

impl WaitingRoom {
    /// Adds a newcomer. `count` is how many connections there are in all, of which `occupant` tells about each.
    pub(super) fn enter(
        &mut self,
        key: ConnectionKey,
        count: usize,
        occupant: impl Fn(ConnectionKey) -> Occupant,
    ) {
        self.newcomers.push(key);
        if self.keys.len() > 2 * count + 1024 {
            self.keys.retain(|&key| occupant(key) != Occupant::Gone);
        }
    }

    /// The turn ends: who came in it is one of the others from now on.
    pub(super) fn open(&mut self) {
        self.keys.extend(self.newcomers.drain(..));
    }

    /// Takes out the one that waits longest, or where none does, one that was said goodbye; those who are busy stay.
    pub(super) fn take_waiting(
        &mut self,
        occupant: impl Fn(ConnectionKey) -> Occupant,
    ) -> Option<ConnectionKey> {
        let mut leaving = None;
        for _ in 0..self.keys.len() {
            let key = self.keys.pop_front()?;
            match occupant(key) {
                Occupant::Gone => {}
                Occupant::Busy => self.keys.push_back(key),
                Occupant::Leaving if leaving.is_none() => leaving = Some(key),
                Occupant::Leaving => self.keys.push_back(key),
                Occupant::Waiting => {
                    self.keys.extend(leaving);
                    return Some(key);
                }
            }
        }
        leaving
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    #[test]
    fn the_oldest_that_waits_is_taken_and_those_who_left_are_forgotten() {
        let mut keys = SlotMap::with_key();
        let all: Vec<ConnectionKey> = (0..4).map(|_| keys.insert(())).collect();
        let mut room = WaitingRoom::default();
        for &key in &all {
            room.enter(key, 4, |_| Occupant::Waiting);
        }
        assert_eq!(room.take_waiting(|_| Occupant::Waiting), None, "nobody had a chance yet");
        room.open();
        let of = |key| match all.iter().position(|&other| other == key) {
            Some(0) => Occupant::Gone,
            Some(1) => Occupant::Busy,
            _ => Occupant::Waiting,
        };
        assert_eq!(room.take_waiting(of), Some(all[2]));
        assert_eq!(room.take_waiting(of), Some(all[3]));
        assert_eq!(room.take_waiting(of), None);
        assert_eq!(room.keys, [all[1]]);
        assert_eq!(room.take_waiting(|_| Occupant::Leaving), Some(all[1]));
        for _ in 0..5_000 {
            room.enter(all[0], 1, of);
            room.open();
        }
        assert!(room.keys.len() < 2_000);
    }
}
