//! Encodes a message once for each wire format that somebody wants, however many feeds it goes to.

use super::log::{Frame, LARGE_FRAME_BYTES, SharedFrame};
use crate::memory::Memory;
use crate::message::Message;
use crate::wire::{Encoding, WireFormat};

/// The frames of the message at hand.
pub(super) struct Encoder {
    memory: Memory,
    frames: [Option<Frame>; WireFormat::COUNT],
    /// Buffers of small frames, to be used again.
    spare: Vec<Vec<u8>>,
}

impl Encoder {
    pub(super) fn new(memory: Memory) -> Self {
        Self { memory, frames: Default::default(), spare: Vec::new() }
    }

    /// The frame of `message`, which must be the same one until [`Self::forget`].
    pub(super) fn frame(
        &mut self,
        wire: WireFormat,
        encoding: &mut Encoding,
        message: &Message<'_>,
    ) -> &Frame {
        let Self { memory, frames, spare } = self;
        frames[wire.index()].get_or_insert_with(|| {
            let mut bytes = spare.pop().unwrap_or_default();
            if !wire.deflates() {
                // Most formats add little to a message, so that a large one is seldom moved while it is encoded.
                bytes.reserve(message.body_bytes() + message.topic().len() + 64);
            }
            wire.write_message(&mut bytes, encoding, message);
            if bytes.len() < LARGE_FRAME_BYTES {
                return Frame::Small(bytes);
            }
            bytes.shrink_to_fit();
            Frame::Shared(SharedFrame::new(bytes, memory))
        })
    }

    /// Makes room for the next message.
    pub(super) fn forget(&mut self) {
        for frame in &mut self.frames {
            if let Some(Frame::Small(mut bytes)) = frame.take()
                && bytes.capacity() <= LARGE_FRAME_BYTES * 2
            {
                bytes.clear();
                self.spare.push(bytes);
            }
        }
    }
}
