//! Bytes of one client alone, until they have left. In a box, since an idle client has none.

/// Never empty.
#[derive(Debug)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    pub(super) fn new(bytes: Vec<u8>) -> Box<Self> {
        Box::new(Self { bytes, sent: 0 })
    }

    /// What is still to be sent.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Notes that `sent` bytes more have left, and says whether those were all.
    pub(super) fn advance(&mut self, sent: usize) -> bool {
        self.sent += sent;
        self.sent == self.bytes.len()
    }
}
