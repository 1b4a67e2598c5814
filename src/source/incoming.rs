//! Puts one message together from the parts a socket yields, within limits. Knows neither endpoints
//! nor connections.

use crate::error::DropReason;
use crate::message::{PARTS_MAX, Part};

/// Parts that keep their slot, and what is in it, until the next message takes its place: receiving
/// into a used slot is 40 ns a message faster than into a new one. What that holds on to is little:
/// a small part may pin the 8 KiB buffer that libzmq read it into, a large one is let go at once.
pub(super) const SLOTS_KEPT_MAX: usize = 16;
pub(super) const SLOT_BYTES_KEPT_MAX: usize = 64 << 10;

/// What one call of [`Incoming::receive`] came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Nothing is waiting. What has been received of a message stays for the next call.
    Nothing,
    /// The socket is of no more use: its context has been terminated.
    Dead(zmq::Error),
    /// A whole message of so many bytes: take it with [`Incoming::parts`], then
    /// [`Incoming::clear`].
    Message { bytes: usize },
    /// A whole message was read off and dropped.
    Dropped { reason: DropReason, message_bytes: usize, bytes: usize },
    /// Some more parts of a message that will be dropped were read off; it goes on.
    Skipped { bytes: usize },
}

/// One message on its way in. Its slots are used again, so that a message costs no allocation.
pub(super) struct Incoming {
    /// The first `kept` hold the message; others may hold remains of earlier ones.
    slots: Vec<Part>,
    kept: usize,
    /// Parts and bytes of the message so far, dropped ones included.
    part_count: usize,
    bytes: usize,
    bytes_max: usize,
    doom: Option<DropReason>,
}

impl Incoming {
    /// Accepts messages of up to `bytes_max` bytes, all parts together.
    pub(super) fn with_limit(bytes_max: usize) -> Self {
        Self { slots: Vec::new(), kept: 0, part_count: 0, bytes: 0, bytes_max, doom: None }
    }

    /// The parts of the message that [`Received::Message`] announced.
    pub(super) fn parts(&self) -> &[Part] {
        &self.slots[..self.kept]
    }

    /// True between the parts of a message.
    pub(super) fn is_partial(&self) -> bool {
        self.part_count > 0
    }

    /// How many slots there are, and how many bytes they hold on to.
    #[cfg(test)]
    pub(super) fn slots_held(&self) -> (usize, usize) {
        (self.slots.len(), self.slots.iter().map(|slot| slot.len()).sum())
    }

    /// Makes room for the next message.
    pub(super) fn clear(&mut self) {
        self.slots.truncate(SLOTS_KEPT_MAX);
        if self.bytes > SLOT_BYTES_KEPT_MAX {
            for slot in &mut self.slots {
                *slot = Part::new();
            }
        }
        self.kept = 0;
        self.part_count = 0;
        self.bytes = 0;
        self.doom = None;
    }

    /// Receives until a message is complete, nothing is waiting, or [`PARTS_MAX`] parts of a doomed
    /// one are read off.
    pub(super) fn receive(&mut self, socket: &zmq::Socket) -> Received {
        let bytes_before = self.bytes;
        let mut skipped = 0;
        loop {
            let more = match self.receive_part(socket) {
                Ok(more) => more,
                Err(zmq::Error::EINTR) => continue,
                Err(zmq::Error::EAGAIN) => return Received::Nothing,
                Err(error) => return Received::Dead(error),
            };
            let bytes = self.bytes - bytes_before;
            match self.doom {
                None if more => {}
                None => return Received::Message { bytes: self.bytes },
                Some(reason) if !more => {
                    let message_bytes = self.bytes;
                    self.clear();
                    return Received::Dropped { reason, message_bytes, bytes };
                }
                Some(_) => {
                    skipped += 1;
                    if skipped >= PARTS_MAX {
                        return Received::Skipped { bytes };
                    }
                }
            }
        }
    }

    /// Receives one part, keeps it where the message may still be whole, and says whether more
    /// follow.
    fn receive_part(&mut self, socket: &zmq::Socket) -> zmq::Result<bool> {
        if self.kept == self.slots.len() {
            self.slots.push(Part::new());
        }
        let slot = &mut self.slots[self.kept];
        socket.recv(slot, zmq::DONTWAIT)?;
        let more = slot.get_more();
        self.part_count += 1;
        self.bytes = self.bytes.saturating_add(slot.len());
        if self.doom.is_some() {
            return Ok(more); // the next part takes its slot
        }
        if self.bytes > self.bytes_max {
            self.doom = Some(DropReason::TooLarge);
        } else if self.part_count > PARTS_MAX {
            self.doom = Some(DropReason::TooManyParts);
        } else {
            self.kept += 1;
            return Ok(more);
        }
        self.slots.clear();
        self.kept = 0;
        Ok(more)
    }
}
