//! Buffers for frames in a few sizes, used again instead of being allocated for every turn. Knows nothing of feeds.

use crate::memory::{Charge, Memory};

/// The sizes: a lone small message takes the first, a turn's batch at full rate one of the last.
///
/// 64 KiB is what one send may hand to the kernel before it costs more per byte, and what one client may take of a
/// turn before the next has its chance.
const SIZES: [usize; 4] = [1 << 10, 4 << 10, 16 << 10, 64 << 10];

/// The largest buffer.
pub(crate) const CHUNK_BYTES_MAX: usize = SIZES[SIZES.len() - 1];

/// Bytes of unused buffers that are kept for each size.
const SPARE_BYTES_MAX: usize = 256 << 10;

/// The largest size of a buffer that is not above `bytes`, or the smallest there is.
pub(crate) fn largest_size_within(bytes: usize) -> usize {
    SIZES.into_iter().rev().find(|&size| size <= bytes).unwrap_or(SIZES[0])
}

/// Where a frame is among others, and which message it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameMark {
    /// Where it begins.
    pub(crate) start: u32,
    /// How far its message's number is above that of the first one.
    pub(crate) seq_delta: u32,
}

impl FrameMark {
    pub(crate) const FIRST: Self = Self { start: 0, seq_delta: 0 };
}

/// A buffer of whole frames. It is passed on in its box, so that the table that each feed keeps of its buffers is small.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    pub(crate) bytes: Vec<u8>,
    /// One for each frame.
    pub(crate) marks: Vec<FrameMark>,
    class: usize,
    charge: Charge,
}

impl FrameBuffer {
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.bytes.capacity() - self.bytes.len() >= len
    }

    /// Appends a frame, for which there must be room.
    pub(crate) fn append(&mut self, frame: &[u8], seq_delta: u32) {
        debug_assert!(self.has_room(frame.len()));
        let marks_capacity = self.marks.capacity();
        self.marks.push(FrameMark { start: self.bytes.len() as u32, seq_delta });
        self.bytes.extend_from_slice(frame);
        if self.marks.capacity() != marks_capacity {
            self.charge.resize(self.heap_bytes());
        }
    }

    fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.marks.capacity() * size_of::<FrameMark>()
    }
}

/// Buffers that are not in use. Spare buffers are not charged: they are bounded by a constant.
#[derive(Debug)]
pub(crate) struct ChunkPool {
    memory: Memory,
    #[allow(clippy::vec_box, reason = "they go into feeds in their boxes")]
    spare: [Vec<Box<FrameBuffer>>; SIZES.len()],
}

impl ChunkPool {
    pub(crate) fn new(memory: Memory) -> Self {
        Self { memory, spare: Default::default() }
    }

    /// The account that buffers are charged to.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Whether there is memory to spare for buffers that are not needed yet.
    pub(crate) fn is_roomy(&self) -> bool {
        self.memory.used_bytes() < self.memory.bytes_max() / 4
    }

    /// An empty buffer for `bytes` or more; at most [`CHUNK_BYTES_MAX`] can be asked for.
    pub(crate) fn take(&mut self, bytes: usize) -> Box<FrameBuffer> {
        let class = SIZES.iter().position(|&size| size >= bytes).unwrap_or(SIZES.len() - 1);
        let mut buffer = self.spare[class].pop().unwrap_or_else(|| {
            Box::new(FrameBuffer {
                bytes: Vec::with_capacity(SIZES[class]),
                marks: Vec::new(),
                class,
                charge: self.memory.charge(0),
            })
        });
        buffer.charge.resize(buffer.heap_bytes());
        buffer
    }

    pub(crate) fn put(&mut self, mut buffer: Box<FrameBuffer>) {
        let spare = &mut self.spare[buffer.class];
        if (spare.len() + 1) * SIZES[buffer.class] <= SPARE_BYTES_MAX {
            buffer.bytes.clear();
            buffer.marks.clear();
            buffer.charge.resize(0);
            spare.push(buffer);
        }
    }
}
