//! The bytes of a feed: whole frames in contiguous chunks, addressed by their offset since the feed began.
//! Knows neither subscribers nor limits.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::pool::{ChunkPool, FrameBuffer, FrameMark};
use crate::memory::{Charge, Memory};
use crate::message::Seq;

/// A frame of this size or more is a chunk of its own, which all feeds of its wire format share and which can outlive
/// its place in the log. Below it copying is cheap, and a chunk's unused end stays below an eighth.
pub(crate) const LARGE_FRAME_BYTES: usize = super::pool::CHUNK_BYTES_MAX / 8;

/// One encoded frame, ready to be appended to any number of logs.
#[derive(Debug)]
pub(crate) enum Frame {
    Small(Vec<u8>),
    Shared(Rc<SharedFrame>),
}

/// A frame that is shared instead of copied.
#[derive(Debug)]
pub(crate) struct SharedFrame {
    bytes: Vec<u8>,
    _charge: Charge,
}

impl SharedFrame {
    pub(crate) fn new(bytes: Vec<u8>, memory: &Memory) -> Rc<Self> {
        let charge = memory.charge(bytes.capacity());
        Rc::new(Self { bytes, _charge: charge })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Frame {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Shared(frame) => &frame.bytes,
        }
    }
}

/// What is left of a frame that is partly sent, kept beyond the frame's place in a log.
#[derive(Debug)]
pub(crate) struct FrameRest {
    pub(crate) frame: Rc<SharedFrame>,
    pub(crate) sent: usize,
}

impl FrameRest {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.frame.bytes[self.sent..]
    }
}

/// Frames of a log by their offset, each copied once for all who were in the middle of it.
pub(crate) type FrameCopies = HashMap<u64, Rc<SharedFrame>>;

/// Frames that some subscriber has not got yet. An offset counts bytes since the log was made and is never reused.
#[derive(Debug, Default)]
pub(crate) struct Log {
    chunks: VecDeque<Chunk>,
    end: u64,
    /// Frames appended since the log was made.
    frames: u64,
    /// The most bytes that were held lately when everything was released; older backlogs count less.
    typical_bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    /// Offset of the first byte, which begins a frame.
    start: u64,
    /// How many frames were before.
    first_frame: u64,
    /// The number of the first frame's message.
    first_seq: Seq,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Frames of any number, and a mark for each.
    Frames(Box<FrameBuffer>),
    Shared(Rc<SharedFrame>),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::Frames(buffer) => &buffer.bytes,
            Content::Shared(frame) => &frame.bytes,
        }
    }

    fn marks(&self) -> &[FrameMark] {
        match &self.content {
            Content::Frames(buffer) => &buffer.marks,
            Content::Shared(_) => &[FrameMark::FIRST],
        }
    }

    /// The buffer, where a frame of `len` bytes can be appended whose message has the number `seq`.
    fn with_room(&mut self, len: usize, seq: Seq) -> Option<(&mut FrameBuffer, u32)> {
        let seq_delta = u32::try_from(seq.0 - self.first_seq.0).ok()?;
        match &mut self.content {
            Content::Frames(buffer) if buffer.has_room(len) => Some((buffer, seq_delta)),
            Content::Frames(_) | Content::Shared(_) => None,
        }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes().len() as u64
    }

    /// How many frames of this chunk begin before `offset`.
    fn frames_before(&self, offset: u64) -> usize {
        let within = offset - self.start;
        self.marks().partition_point(|mark| u64::from(mark.start) < within)
    }
}

impl Log {
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The first offset that is still held; the end when nothing is.
    pub(crate) fn start(&self) -> u64 {
        self.chunks.front().map_or(self.end, |chunk| chunk.start)
    }

    /// Bytes that are held, with what is kept to find the frames among them.
    pub(crate) fn held_bytes(&self) -> usize {
        self.chunks.front().map_or(0, |chunk| self.held_bytes_from(chunk))
    }

    fn held_bytes_from(&self, chunk: &Chunk) -> usize {
        let frames = (self.frames - chunk.first_frame) as usize;
        (self.end - chunk.start) as usize + frames * size_of::<FrameMark>()
    }

    /// Appends the frame of the message with the number `seq`.
    pub(crate) fn append(
        &mut self,
        frame: &Frame,
        seq: Seq,
        chunk_bytes_max: usize,
        pool: &mut ChunkPool,
    ) {
        let len = frame.as_bytes().len();
        match frame {
            Frame::Shared(frame) => self.add_chunk(seq, Content::Shared(Rc::clone(frame))),
            Frame::Small(bytes) => {
                let last = self.chunks.back_mut();
                match last.and_then(|chunk| chunk.with_room(len, seq)) {
                    Some((buffer, seq_delta)) => buffer.append(bytes, seq_delta),
                    None => {
                        let grown = if pool.is_roomy() { self.next_chunk_bytes() } else { 0 };
                        let mut buffer = pool.take(grown.min(chunk_bytes_max).max(len));
                        buffer.append(bytes, 0);
                        self.add_chunk(seq, Content::Frames(buffer));
                    }
                }
            }
        }
        self.end += len as u64;
        self.frames += 1;
    }

    fn add_chunk(&mut self, first_seq: Seq, content: Content) {
        let (start, first_frame) = (self.end, self.frames);
        self.chunks.push_back(Chunk { start, first_frame, first_seq, content });
    }

    /// A lone message takes little; a backlog takes fewer and fewer, larger chunks. Each chunk costs each subscriber a
    /// system call, so the first one has room for twice the usual.
    fn next_chunk_bytes(&self) -> usize {
        match self.chunks.back() {
            None => 2 * self.typical_bytes,
            Some(last) => last.bytes().len() * 4,
        }
    }

    /// The longest contiguous piece from `offset` on; empty at the end.
    pub(crate) fn piece(&self, offset: u64) -> &[u8] {
        match self.chunk_at(offset) {
            Some(chunk) => &chunk.bytes()[(offset - chunk.start) as usize..],
            None => &[],
        }
    }

    /// The frame at `offset`, where it is one that is shared and begins there.
    pub(crate) fn shared_frame(&self, offset: u64) -> Option<&Rc<SharedFrame>> {
        match self.chunk_at(offset) {
            Some(Chunk { start, content: Content::Shared(frame), .. }) if *start == offset => {
                Some(frame)
            }
            _ => None,
        }
    }

    /// How many frames begin before `offset`, counted from the log's beginning. The difference between two offsets is
    /// the number of frames that begin between them.
    pub(crate) fn frames_before(&self, offset: u64) -> u64 {
        match self.chunk_at(offset) {
            None => self.frames,
            Some(chunk) if chunk.start == offset => chunk.first_frame,
            Some(chunk) => chunk.first_frame + chunk.frames_before(offset) as u64,
        }
    }

    /// The first offset from `offset` on at which a frame begins, or the end: `offset` itself unless it is inside a frame.
    pub(crate) fn boundary(&self, offset: u64) -> u64 {
        match self.chunk_at(offset) {
            None => self.end,
            Some(chunk) => match chunk.marks().get(chunk.frames_before(offset)) {
                Some(mark) => chunk.start + u64::from(mark.start),
                None => chunk.end(),
            },
        }
    }

    /// The number of the first message whose frame begins at `offset` or later; `None` where there is none.
    pub(crate) fn seq_from(&self, offset: u64) -> Option<Seq> {
        let boundary = self.boundary(offset);
        let chunk = self.chunk_at(boundary)?;
        let mark = chunk.marks()[chunk.frames_before(boundary)];
        Some(Seq(chunk.first_seq.0 + u64::from(mark.seq_delta)))
    }

    /// What is left of the frame that `offset` is in; `None` where a frame begins.
    pub(crate) fn frame_rest(
        &self,
        offset: u64,
        copies: &mut FrameCopies,
        memory: &Memory,
    ) -> Option<FrameRest> {
        let boundary = self.boundary(offset);
        if boundary == offset {
            return None;
        }
        let chunk = self.chunk_at(offset)?;
        let within = (offset - chunk.start) as usize;
        match &chunk.content {
            Content::Shared(frame) => Some(FrameRest { frame: Rc::clone(frame), sent: within }),
            Content::Frames(buffer) => {
                // The frame begins before `offset`, so there is one.
                let start = buffer.marks[chunk.frames_before(offset) - 1].start as usize;
                let end = (boundary - chunk.start) as usize;
                let frame = copies
                    .entry(chunk.start + start as u64)
                    .or_insert_with(|| SharedFrame::new(buffer.bytes[start..end].to_vec(), memory));
                Some(FrameRest { frame: Rc::clone(frame), sent: within - start })
            }
        }
    }

    /// Where the log would start if it held at most `held_bytes_max`, but everything from `needed` on: the start of a
    /// chunk, or the end.
    pub(crate) fn start_within(&self, held_bytes_max: usize, needed: u64) -> u64 {
        let is_kept =
            |chunk: &&Chunk| chunk.end() > needed || self.held_bytes_from(chunk) <= held_bytes_max;
        self.chunks.iter().find(is_kept).map_or(self.end, |chunk| chunk.start)
    }

    /// Lets go of all chunks that end at `offset` or before.
    pub(crate) fn release_before(&mut self, offset: u64, pool: &mut ChunkPool) {
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= offset) {
            self.release_front(pool);
        }
    }

    /// Lets go of everything.
    pub(crate) fn release_all(&mut self, pool: &mut ChunkPool) {
        self.typical_bytes = self.held_bytes().max(self.typical_bytes - self.typical_bytes / 8);
        while !self.chunks.is_empty() {
            self.release_front(pool);
        }
        // A feed that once had a long backlog does not keep the table of it.
        if self.chunks.capacity() > 8 {
            self.chunks.shrink_to(0);
        }
    }

    fn release_front(&mut self, pool: &mut ChunkPool) {
        if let Some(Chunk { content: Content::Frames(buffer), .. }) = self.chunks.pop_front() {
            pool.put(buffer);
        }
    }

    fn chunk_at(&self, offset: u64) -> Option<&Chunk> {
        debug_assert!(self.start() <= offset && offset <= self.end);
        if offset == self.end {
            return None;
        }
        match self.chunks.len() {
            1 => self.chunks.front(),
            _ => self.chunks.get(self.chunks.partition_point(|chunk| chunk.start <= offset) - 1),
        }
    }
}
