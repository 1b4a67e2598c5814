//! Inflates what permessage-deflate made of a message (RFC 7692 section 7.2.2), with nothing of an earlier one. For tests,
//! inside the crate and outside.

use flate2::{Decompress, FlushDecompress, Status};

/// The message that `deflated` holds, which must be whole.
#[track_caller]
pub(crate) fn inflate(deflated: &[u8]) -> Vec<u8> {
    let input = [deflated, &[0, 0, 0xff, 0xff]].concat();
    let mut stream = Decompress::new(false);
    let mut message = Vec::with_capacity(4 * input.len());
    loop {
        let read = stream.total_in() as usize;
        let status = stream.decompress_vec(&input[read..], &mut message, FlushDecompress::Sync);
        assert_ne!(status.expect("it is deflated"), Status::StreamEnd, "the next message goes on");
        if message.len() < message.capacity() {
            assert_eq!(stream.total_in() as usize, input.len(), "all of it is a message");
            return message;
        }
        message.reserve(message.len());
    }
}
