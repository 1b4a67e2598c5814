//! The newest messages in the order of their numbers, as records in chunks that are used again. Knows no topic.

use std::collections::VecDeque;

use super::Limits;
use super::record::{read_record, record_bytes, write_record};
use crate::message::{Message, Seq};

/// The largest chunk: what a client resumes with is read from it in pieces, so larger ones gain nothing.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// A chunk is the smallest part that is let go of when bytes run out: a small part of all.
const CHUNKS_MIN: usize = 16;

/// The newest messages, as many as the limits allow.
#[derive(Debug)]
pub(crate) struct History {
    limits: Limits,
    chunk_bytes: usize,
    chunks: VecDeque<Chunk>,
    /// An empty chunk of the usual size, for the next time that one is needed.
    spare: Option<Chunk>,
    /// What all chunks take, the spare one included.
    held_bytes: usize,
    /// The first message that is kept; the one behind `last` while nothing is.
    first: Seq,
    last: Seq,
}

/// Records of consecutive messages.
#[derive(Debug)]
struct Chunk {
    /// The number of the first.
    first: Seq,
    /// Where each begins.
    starts: Vec<u32>,
    bytes: Vec<u8>,
}

impl Chunk {
    fn with_capacity(bytes: usize) -> Self {
        Self { first: Seq(0), starts: Vec::new(), bytes: Vec::with_capacity(bytes) }
    }

    fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.starts.capacity() * size_of::<u32>()
    }

    fn has_room(&self, record_bytes: usize) -> bool {
        self.bytes.capacity() - self.bytes.len() >= record_bytes
    }

    /// The number behind that of the last message.
    fn end(&self) -> Seq {
        Seq(self.first.0 + self.starts.len() as u64)
    }

    fn message(&self, seq: Seq) -> Message<'_> {
        let index = (seq.0 - self.first.0) as usize;
        let start = self.starts[index] as usize;
        let end = self.starts.get(index + 1).map_or(self.bytes.len(), |&end| end as usize);
        read_record(seq, &self.bytes[start..end])
    }
}

impl History {
    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            chunk_bytes: (limits.bytes_max / CHUNKS_MIN).min(CHUNK_BYTES_MAX),
            chunks: VecDeque::new(),
            spare: None,
            held_bytes: 0,
            first: Seq(1),
            last: Seq(0),
        }
    }

    /// The first message that is kept; the one that comes next while nothing is.
    pub(crate) fn first(&self) -> Seq {
        self.first
    }

    /// How many messages are kept.
    pub(crate) fn len(&self) -> usize {
        (self.last.0 + 1 - self.first.0) as usize
    }

    /// How many bytes that takes, with what is kept to find them.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Keeps `message`, which follows the last one, and lets go of what there is no room for any more. A message that
    /// is larger than everything that may be kept leaves nothing: what is kept has no hole.
    pub(crate) fn record(&mut self, message: &Message<'_>) {
        debug_assert_eq!(message.seq.0, self.last.0 + 1, "messages are numbered without a hole");
        self.last = message.seq;
        let record_bytes = record_bytes(message);
        if self.limits.messages_max == 0 || record_bytes > self.limits.bytes_max {
            self.forget_all();
            return;
        }
        if !self.chunks.back().is_some_and(|chunk| chunk.has_room(record_bytes)) {
            self.add_chunk(record_bytes);
        }
        let chunk = self.chunks.back_mut().expect("a chunk with room was added");
        let heap_bytes = chunk.heap_bytes();
        chunk.starts.push(chunk.bytes.len() as u32);
        write_record(&mut chunk.bytes, message);
        self.held_bytes += chunk.heap_bytes() - heap_bytes;
        if self.len() > self.limits.messages_max {
            self.first.0 += 1;
        }
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= self.first) {
            self.release_front();
        }
        while self.held_bytes > self.limits.bytes_max {
            self.relieve();
        }
    }

    /// The messages that are kept, from number `seq` on, in order.
    pub(crate) fn iter_from(&self, seq: Seq) -> impl Iterator<Item = Message<'_>> {
        let seq = seq.max(self.first);
        let chunk = self.chunks.partition_point(|chunk| chunk.end() <= seq);
        let chunks = self.chunks.range(chunk..);
        chunks.flat_map(move |chunk| {
            let from = seq.max(chunk.first).0..chunk.end().0;
            from.map(|seq| chunk.message(Seq(seq)))
        })
    }

    fn add_chunk(&mut self, record_bytes: usize) {
        let wanted = self.chunk_bytes.max(record_bytes);
        // What is let go of for it may be just what is needed.
        while self.spare.as_ref().is_none_or(|spare| !spare.has_room(wanted))
            && self.held_bytes + wanted > self.limits.bytes_max
        {
            self.relieve();
        }
        let mut chunk = self.spare.take_if(|spare| spare.has_room(wanted)).unwrap_or_else(|| {
            let chunk = Chunk::with_capacity(wanted);
            self.held_bytes += chunk.heap_bytes();
            chunk
        });
        chunk.first = self.last;
        self.chunks.push_back(chunk);
    }

    /// Lets go of the spare chunk, or else of the oldest one.
    fn relieve(&mut self) {
        match self.spare.take() {
            Some(spare) => self.held_bytes -= spare.heap_bytes(),
            None => self.release_front(),
        }
    }

    fn release_front(&mut self) {
        let Some(mut chunk) = self.chunks.pop_front() else { return };
        self.first = self.first.max(chunk.end());
        if self.spare.is_none() && chunk.bytes.capacity() == self.chunk_bytes {
            chunk.bytes.clear();
            chunk.starts.clear();
            self.spare = Some(chunk);
        } else {
            self.held_bytes -= chunk.heap_bytes();
        }
    }

    fn forget_all(&mut self) {
        while !self.chunks.is_empty() {
            self.release_front();
        }
        self.first = Seq(self.last.0 + 1);
    }
}
