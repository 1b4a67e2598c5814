//! In place of `deflate` where the feature `compress` is left out: there is no deflater, so nothing is ever asked of one.

use tungstenite::protocol::frame::coding::OpCode;

use super::DeflateCounts;

/// What there is none of.
pub(crate) enum Deflater {}

impl Deflater {
    /// `None`: this build cannot deflate.
    pub(crate) fn new(_payload_bytes_min: usize) -> Option<Self> {
        None
    }

    pub(crate) fn counts(&self) -> DeflateCounts {
        match *self {}
    }

    pub(super) fn takes(&self, _body_bytes: usize) -> bool {
        match *self {}
    }

    pub(super) fn write_frame(
        &mut self,
        _out: &mut Vec<u8>,
        _write_payload: impl FnOnce(&mut Vec<u8>),
        _opcode: impl FnOnce(&[u8]) -> OpCode,
    ) {
        match *self {}
    }
}
