//! Puts one message together from the parts a socket yields, within limits. Knows neither endpoints
//! nor connections.

use crate::error::DropReason;
use crate::message::Part;

/// A message of more parts is dropped. Real feeds have fewer than ten; 4,096 keeps a hostile one
/// from costing more than a quarter of a megabyte of slots.
pub(super) const PARTS_MAX: usize = 4096;

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

/// One message on its way in.
///
/// The vector of slots is kept, so that a message costs no allocation; the parts are not: one of
/// libzmq's small parts may pin the whole 8 KiB buffer it was read into, and a large one its own
/// memory.
pub(super) struct Incoming {
    parts: Vec<Part>,
    /// Parts and bytes of the message so far, dropped ones included.
    part_count: usize,
    bytes: usize,
    bytes_max: usize,
    doom: Option<DropReason>,
}

impl Incoming {
    /// Accepts messages of up to `bytes_max` bytes, all parts together.
    pub(super) fn with_limit(bytes_max: usize) -> Self {
        Self { parts: Vec::new(), part_count: 0, bytes: 0, bytes_max, doom: None }
    }

    /// The parts of the message that [`Received::Message`] announced.
    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// True between the parts of a message.
    pub(super) fn is_partial(&self) -> bool {
        self.part_count > 0
    }

    /// Makes room for the next message.
    pub(super) fn clear(&mut self) {
        self.parts.clear();
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
        let mut part = Part::new();
        socket.recv(&mut part, zmq::DONTWAIT)?;
        let more = part.get_more();
        self.part_count += 1;
        self.bytes = self.bytes.saturating_add(part.len());
        if self.doom.is_none() {
            if self.bytes > self.bytes_max {
                self.doom = Some(DropReason::TooLarge);
            } else if self.part_count > PARTS_MAX {
                self.doom = Some(DropReason::TooManyParts);
            }
        }
        if self.doom.is_none() {
            self.parts.push(part);
        } else {
            self.parts.clear();
        }
        Ok(more)
    }
}
