//! Validates UTF-8 that arrives in pieces and keeps none of it.

/// The state between two pieces: the bytes of a character that is not complete yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Utf8Validator {
    pending: [u8; 4],
    pending_len: u8,
}

/// Bytes that cannot be part of UTF-8 text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidUtf8;

impl Utf8Validator {
    /// Takes the next piece. Fails at the first byte that no continuation can make valid (RFC 3629).
    pub(crate) fn accept(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        let mut rest = piece;
        while self.pending_len > 0 {
            let Some((&byte, after)) = rest.split_first() else { return Ok(()) };
            rest = after;
            self.pending[usize::from(self.pending_len)] = byte;
            self.pending_len += 1;
            match std::str::from_utf8(&self.pending[..usize::from(self.pending_len)]) {
                Ok(_) => self.pending_len = 0,
                Err(error) if error.error_len().is_some() => return Err(InvalidUtf8),
                Err(_) => {
                    debug_assert!(self.pending_len < 4, "four bytes are a character or invalid");
                }
            }
        }
        if simdutf8::basic::from_utf8(rest).is_ok() {
            return Ok(());
        }
        match std::str::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(InvalidUtf8),
            Err(error) => {
                let incomplete = &rest[error.valid_up_to()..];
                self.pending[..incomplete.len()].copy_from_slice(incomplete);
                self.pending_len = incomplete.len() as u8;
                Ok(())
            }
        }
    }

    /// Ends the text. Fails when it ends inside a character.
    pub(crate) fn finish(&mut self) -> Result<(), InvalidUtf8> {
        let complete = self.pending_len == 0;
        *self = Self::default();
        if complete { Ok(()) } else { Err(InvalidUtf8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_random::Random;

    fn valid_in_pieces(text: &[u8], random: &mut Random) -> bool {
        let mut validator = Utf8Validator::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + random.below(rest.len().min(5)));
            if validator.accept(piece).is_err() {
                return false;
            }
            rest = after;
        }
        validator.finish().is_ok()
    }

    #[test]
    fn pieces_agree_with_the_whole() {
        let mut random = Random::from_env();
        let sample = "aé€😀\u{7ff}\u{800}\u{ffff}\u{10ffff}z".as_bytes();
        for _ in 0..20_000 {
            let mut text = sample.repeat(1 + random.below(2));
            if random.chance(2) {
                let at = random.below(text.len());
                text[at] = random.next() as u8;
            }
            text.truncate(random.below(text.len() + 1));
            let expected = std::str::from_utf8(&text).is_ok();
            assert_eq!(valid_in_pieces(&text, &mut random), expected, "{text:x?}");
        }
    }

    #[test]
    fn fails_at_the_first_impossible_byte() {
        let mut validator = Utf8Validator::default();
        assert_eq!(validator.accept(b"\xf4"), Ok(()));
        assert_eq!(validator.accept(b"\x90"), Err(InvalidUtf8));
        let mut surrogate = Utf8Validator::default();
        assert_eq!(surrogate.accept(b"\xed\xa0"), Err(InvalidUtf8));
    }
}
