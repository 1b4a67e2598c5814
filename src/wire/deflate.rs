//! Deflates WebSocket messages for permessage-deflate (RFC 7692), each on its own: nothing of one helps to inflate the
//! next, so that what was deflated once is for everybody, whenever they came. Knows neither feeds nor clients.

use flate2::{Compress, Compression, FlushCompress};
use tungstenite::protocol::frame::coding::OpCode;

use super::{DeflateCounts, websocket};

/// The fastest level that fits its code to the message: 1 KiB of JSON takes 12 µs and becomes 0.29 of it, 64 KiB take 170
/// µs and become 0.15. Level 1 takes a third to two thirds of the time, but leaves numbers twice as long; and in zlib-rs
/// 0.6.8 it panics where the output has no room.
const LEVEL: u32 = 2;

/// A larger message is sent as it is: deflating 1 MiB takes 3 to 17 ms, in which nobody else is served.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// To begin a message takes as long as so many bytes more.
const BEGIN_WORK_BYTES: usize = 1 << 10;

/// What a message leaves behind that became larger in its format is given back.
const KEPT_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;

/// What each flushed stream ends with, and no message (section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Deflates one message after the other, in memory of its own: some 350 KB, and twice the largest message so far.
pub(crate) struct Deflater {
    compress: Compress,
    payload_bytes_min: usize,
    payload: Vec<u8>,
    deflated: Vec<u8>,
    counts: DeflateCounts,
}

impl Deflater {
    /// One that leaves messages of less than `payload_bytes_min` as they are; `None` in a build that cannot deflate.
    pub(crate) fn new(payload_bytes_min: usize) -> Option<Self> {
        Some(Self {
            compress: Compress::new(Compression::new(LEVEL), false),
            payload_bytes_min: payload_bytes_min.max(1),
            payload: Vec::new(),
            deflated: Vec::new(),
            counts: DeflateCounts::default(),
        })
    }

    pub(crate) fn counts(&self) -> DeflateCounts {
        self.counts
    }

    /// Whether it is worth a try with a message whose body has so many bytes.
    pub(super) fn takes(&self, body_bytes: usize) -> bool {
        body_bytes <= PAYLOAD_BYTES_MAX
    }

    /// Appends a frame with the payload that `write_payload` appends, deflated where that makes it smaller: each message
    /// says itself whether it is (section 6). The opcode is chosen for what it inflates to.
    pub(super) fn write_frame(
        &mut self,
        out: &mut Vec<u8>,
        write_payload: impl FnOnce(&mut Vec<u8>),
        opcode: impl FnOnce(&[u8]) -> OpCode,
    ) {
        self.payload.clear();
        write_payload(&mut self.payload);
        let opcode = opcode(&self.payload);
        match self.deflate() {
            Some(len) => {
                websocket::write_deflated_header(out, opcode, len);
                out.extend_from_slice(&self.deflated[..len]);
            }
            None => websocket::write_frame(out, opcode, &self.payload),
        }
        self.payload.clear();
        self.payload.shrink_to(KEPT_BYTES_MAX);
    }

    /// Deflates the payload, and returns the length of what it became, if it became smaller.
    fn deflate(&mut self) -> Option<usize> {
        let Self { compress, payload, deflated, counts, .. } = self;
        let len = payload.len();
        if !(self.payload_bytes_min..=PAYLOAD_BYTES_MAX).contains(&len) {
            return None;
        }
        if deflated.len() < len {
            deflated.resize(len, 0);
        }
        compress.reset();
        let outcome = compress.compress(payload, &mut deflated[..len], FlushCompress::Sync);
        let written = compress.total_out() as usize;
        // With all the room used up it may not be whole, and is not smaller.
        let is_whole = outcome.is_ok() && compress.total_in() == len as u64 && written < len;
        let content = deflated[..written].strip_suffix(&TAIL).filter(|_| is_whole);
        let content_len = content.map(<[u8]>::len);
        counts.bytes_in += len as u64;
        counts.bytes_out += content_len.unwrap_or(len) as u64;
        counts.work_bytes += len + BEGIN_WORK_BYTES;
        content_len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_inflate::inflate;
    use crate::test_random::Random;
    use crate::wire::websocket::{BINARY, TEXT};

    fn written(deflater: &mut Deflater, payload: &[u8]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        deflater.write_frame(&mut out, |out| out.extend_from_slice(payload), |_| BINARY);
        out.split_off(6)
    }

    /// The payload of a frame as who agreed on deflating reads it.
    fn read(frame: &[u8]) -> Vec<u8> {
        let (_, payload, rest) = websocket::split_frame(frame).unwrap();
        assert!(rest.is_empty());
        if frame[0] & 0x40 == 0 { payload.to_vec() } else { inflate(payload) }
    }

    #[test]
    fn what_shrinks_is_deflated_and_the_rest_goes_as_it_is() {
        let mut deflater = Deflater::new(20).unwrap();
        let long = [b'a'; 1_000];
        let frame = written(&mut deflater, &long);
        assert_eq!(frame[0], 0xc2, "whole, deflated, binary");
        assert!(frame.len() < 30 && !frame.ends_with(&TAIL), "{frame:?}");
        assert_eq!(read(&frame), long);
        assert_eq!(written(&mut deflater, &[b'a'; 19])[0], 0x82, "too short");
        assert_eq!(written(&mut deflater, &[b'a'; 20])[0], 0xc2);
        let noise = Random::new(1).bytes(1_000);
        let mut plain = Vec::new();
        websocket::write_frame(&mut plain, BINARY, &noise);
        assert_eq!(written(&mut deflater, &noise), plain, "it would grow");
        let counts = deflater.counts();
        assert_eq!(counts.bytes_in, 1_000 + 20 + 1_000);
        assert!((1_000..1_060).contains(&counts.bytes_out), "{counts:?}");
        assert_eq!(counts.work_bytes, 2_020 + 3 * BEGIN_WORK_BYTES);
    }

    #[test]
    fn the_opcode_is_that_of_what_it_inflates_to() {
        let mut deflater = Deflater::new(1).unwrap();
        let mut out = Vec::new();
        let opcode = |payload: &[u8]| {
            assert_eq!(payload, [b'a'; 100]);
            TEXT
        };
        deflater.write_frame(&mut out, |out| out.extend([b'a'; 100]), opcode);
        assert_eq!(out[0], 0xc1);
    }

    #[test]
    fn nothing_of_one_message_is_needed_for_the_next() {
        let mut deflater = Deflater::new(1).unwrap();
        let first = written(&mut deflater, b"what came before what came before what came before");
        written(&mut deflater, b"something else, and something else, and something else");
        let again = written(&mut deflater, b"what came before what came before what came before");
        assert_eq!(first, again);
    }

    #[test]
    fn large_messages_go_as_they_are_and_leave_no_memory_behind() {
        let mut deflater = Deflater::new(1).unwrap();
        assert!(deflater.takes(PAYLOAD_BYTES_MAX) && !deflater.takes(PAYLOAD_BYTES_MAX + 1));
        let largest = vec![b'a'; PAYLOAD_BYTES_MAX];
        assert_eq!(written(&mut deflater, &largest)[0], 0xc2);
        let larger = vec![b'a'; 3 * PAYLOAD_BYTES_MAX];
        let frame = written(&mut deflater, &larger);
        assert_eq!((frame[0], read(&frame).len()), (0x82, larger.len()));
        assert!(deflater.payload.capacity() <= KEPT_BYTES_MAX);
        assert_eq!(deflater.deflated.len(), PAYLOAD_BYTES_MAX);
    }

    #[test]
    fn every_frame_inflates_to_its_message() {
        let mut random = Random::from_env();
        let mut deflater = Deflater::new(1).unwrap();
        let mut deflated = 0;
        for _ in 0..1_500 {
            let size = [30, 300, 3_000, 60_000][random.below(4)];
            let len = random.below(size);
            let mut payload = random.bytes(len);
            let alphabet = 1 + random.below(256);
            payload.iter_mut().for_each(|byte| *byte = (usize::from(*byte) % alphabet) as u8);
            if random.chance(2) {
                payload = payload.repeat(1 + random.below(3));
            }
            let frame = written(&mut deflater, &payload);
            assert!(frame.len() <= payload.len() + 10, "never more than the plain frame");
            assert!(read(&frame) == payload, "{} bytes of {alphabet}", payload.len());
            deflated += usize::from(frame[0] & 0x40 != 0);
        }
        assert!((500..1_450).contains(&deflated), "{deflated} of both kinds");
    }
}
