//! What a connection had sent before it was handed over: read again in pieces, as from a socket. Knows no connection.

use crate::memory::{Charge, Memory};

/// As much as one turn reads of a client is taken at once, and never kept.
const AT_ONCE_BYTES: usize = 16 << 10;

/// Input that somebody else has read.
#[derive(Debug)]
pub(super) struct AlreadyRead {
    bytes: Vec<u8>,
    taken: usize,
    /// Counts what is kept for later turns against `--max-memory`.
    _charge: Option<Charge>,
}

impl AlreadyRead {
    /// `None` where there is nothing. Fails where more is to be kept than there is room for: half of `memory`, so that the
    /// other half is for those who need it to end their requests.
    pub(super) fn new(bytes: Vec<u8>, memory: &Memory) -> Result<Option<Self>, ()> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let kept_bytes = bytes.len().saturating_sub(AT_ONCE_BYTES);
        if kept_bytes > 0 && memory.used_bytes() + kept_bytes > memory.bytes_max() / 2 {
            return Err(());
        }
        let charge = (kept_bytes > 0).then(|| memory.charge(kept_bytes));
        Ok(Some(Self { bytes, taken: 0, _charge: charge }))
    }

    /// Takes the next piece, of one byte at least, and says whether it was the last one.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> (usize, bool) {
        let rest = &self.bytes[self.taken..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.taken += len;
        (len, self.taken == self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_to_the_end_and_what_is_kept_has_a_limit() {
        let memory = Memory::with_limit(20);
        assert!(AlreadyRead::new(Vec::new(), &memory).unwrap().is_none());
        let large = || vec![1; AT_ONCE_BYTES + 6];
        let mut kept = AlreadyRead::new(large(), &memory).unwrap().unwrap();
        assert_eq!(memory.used_bytes(), 6);
        assert!(AlreadyRead::new(large(), &memory).is_err());
        let mut small = AlreadyRead::new(b"12345".to_vec(), &memory).unwrap().unwrap();
        let mut buffer = [0; 3];
        assert_eq!((small.read(&mut buffer), buffer), ((3, false), *b"123"));
        assert_eq!((small.read(&mut buffer), &buffer[..2]), ((2, true), &b"45"[..]));
        assert_eq!(kept.read(&mut [0; 2 * AT_ONCE_BYTES]), (AT_ONCE_BYTES + 6, true));
        drop(kept);
        assert_eq!(memory.used_bytes(), 0);
    }
}
