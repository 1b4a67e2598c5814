//! Finds where a request head ends, in input of any segmentation. Knows nothing of what a head
//! says.

use super::{Limits, Refusal, Status, is_token_byte};

/// Bytes of blank lines tolerated before a request line (RFC 9112 section 2.2 asks for one line at
/// least).
const BLANK_BYTES_MAX: usize = 16;

/// Looks for the blank line that ends a head, and remembers how far it looked, so that the work is
/// linear however small the pieces are in which the head arrives. One per head: start the next
/// request with a new one.
#[derive(Debug, Default)]
pub(crate) struct HeadScanner {
    /// No head ends before this offset.
    searched: u32,
}

impl HeadScanner {
    /// The length of the head at the start of `buffered`, blank lines in front and the one behind
    /// included; `None` while its end has not arrived. `buffered` is all that arrived since the
    /// last request, not only what is new.
    ///
    /// Lines end in CRLF or in LF alone, as RFC 9112 section 2.2 permits.
    ///
    /// # Errors
    ///
    /// 400 for what cannot become a request, such as a TLS handshake, at its first byte; 414 or 431
    /// for a head above `limits`. Which of them does not depend on the segmentation.
    pub(crate) fn scan(
        &mut self,
        buffered: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, Refusal> {
        let head_max = &buffered[..buffered.len().min(limits.head_bytes_max)];
        let end = match &head_max[blank_bytes(head_max)..] {
            [] | [b'\r'] => None,
            [byte, ..] if is_token_byte(*byte) => self.find_end(head_max),
            [b'\n', ..] | [b'\r', b'\n', ..] => {
                return Err(refuse("too many blank lines before the request"));
            }
            _ => return Err(refuse("not an HTTP request")),
        };
        match end {
            None if buffered.len() >= limits.head_bytes_max => Err(too_large(head_max, limits)),
            end => Ok(end),
        }
    }

    fn find_end(&mut self, buffered: &[u8]) -> Option<usize> {
        // The LF of a blank line in front must not be taken for the end of the request line.
        let mut searched = (self.searched as usize).max(blank_bytes(buffered));
        let end = loop {
            let rest = buffered.get(searched..).unwrap_or_default();
            let Some(line_end) = rest.iter().position(|&byte| byte == b'\n') else {
                searched = searched.max(buffered.len());
                break None;
            };
            match &rest[line_end + 1..] {
                [b'\n', ..] => break Some(searched + line_end + 2),
                [b'\r', b'\n', ..] => break Some(searched + line_end + 3),
                [] | [b'\r'] => {
                    // Whether the next line is blank is for the next piece to say: look at this LF
                    // again.
                    searched += line_end;
                    break None;
                }
                _ => searched += line_end + 1,
            }
        };
        self.searched = u32::try_from(searched).unwrap_or(u32::MAX);
        end
    }
}

/// How many bytes of `input` are blank lines before a request line, as far as they are tolerated.
pub(super) fn blank_bytes(input: &[u8]) -> usize {
    let mut end = 0;
    loop {
        let line = match &input[end..] {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return end,
        };
        if end + line > BLANK_BYTES_MAX {
            return end;
        }
        end += line;
    }
}

fn refuse(reason: &'static str) -> Refusal {
    Refusal::closing(Status::BadRequest, reason)
}

/// 414 where the request line alone is to blame, else 431.
fn too_large(head: &[u8], limits: &Limits) -> Refusal {
    let line = &head[blank_bytes(head)..];
    let line_bytes = line.iter().position(|&byte| byte == b'\n').unwrap_or(line.len());
    if line_bytes > limits.target_bytes_max {
        Refusal::closing(Status::UriTooLong, "the request target is too long")
    } else {
        Refusal::closing(Status::HeaderFieldsTooLarge, "the request head is too large")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scanner's verdict on `input` arriving in one piece, after checking that byte by byte
    /// gives the same.
    fn scan(input: &[u8]) -> Result<Option<usize>, Status> {
        let limits = Limits::default();
        let whole = HeadScanner::default().scan(input, &limits).map_err(|refusal| refusal.status);
        let mut scanner = HeadScanner::default();
        let mut piecewise = Ok(None);
        for arrived in 0..=input.len() {
            piecewise = scanner.scan(&input[..arrived], &limits).map_err(|refusal| refusal.status);
            if piecewise != Ok(None) {
                break;
            }
        }
        assert_eq!(whole, piecewise, "{}", input.escape_ascii());
        whole
    }

    #[test]
    fn finds_the_blank_line() {
        for (input, end) in [
            ("GET / HTTP/1.1\r\n\r\n", Some(18)),
            ("GET / HTTP/1.1\r\nA: b\r\n\r\nGET ", Some(24)),
            ("GET / HTTP/1.1\nA: b\n\nrest", Some(21)),
            ("GET / HTTP/1.1\n\r\n", Some(17)),
            ("GET / HTTP/1.1\r\n\nrest", Some(17)),
            ("\r\n\nGET / HTTP/1.1\r\n\r\n", Some(21)),
            ("GET / HTTP/1.1\r\n\r", None),
            ("GET / HTTP/1.1\r\n", None),
            ("GET / HTTP/1.1\r\r\nA: b\r\n", None),
            ("\r\n\r", None),
            ("", None),
        ] {
            assert_eq!(scan(input.as_bytes()), Ok(end), "{input:?}");
        }
    }

    #[test]
    fn what_is_not_http_is_refused_at_its_first_byte() {
        for input in ["\x16\x03\x01", " GET", "\rGET", "\r\n\r\r", "\0", "\u{e9}", ":", "(", "\t"] {
            assert_eq!(scan(input.as_bytes()), Err(Status::BadRequest), "{input:?}");
        }
    }

    #[test]
    fn blank_lines_in_front_are_bounded() {
        let request = "GET / HTTP/1.1\r\n\r\n";
        assert!(matches!(scan(format!("{}{request}", "\r\n".repeat(8)).as_bytes()), Ok(Some(_))));
        assert_eq!(scan("\r\n".repeat(9).as_bytes()), Err(Status::BadRequest));
        assert_eq!(scan("\n".repeat(17).as_bytes()), Err(Status::BadRequest));
    }

    #[test]
    fn heads_are_bounded() {
        let max = Limits::default().head_bytes_max;
        let head = |bytes: usize| {
            let fixed = "GET / HTTP/1.1\r\nA: \r\n\r\n".len();
            format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(bytes - fixed))
        };
        assert_eq!(scan(head(max).as_bytes()), Ok(Some(max)));
        assert_eq!(scan(head(max + 1).as_bytes()), Err(Status::HeaderFieldsTooLarge));
        assert_eq!(scan(&head(max + 1).as_bytes()[..max - 1]), Ok(None));
        assert_eq!(scan(&head(max + 1).as_bytes()[..max]), Err(Status::HeaderFieldsTooLarge));
        let line = format!("GET /{}", "x".repeat(2 * max));
        assert_eq!(scan(line.as_bytes()), Err(Status::UriTooLong));
    }

    #[test]
    fn work_is_linear_however_small_the_pieces() {
        let head = format!("\r\nGET / HTTP/1.1\r\n{}", "A: b\r\nC: \r\r\n".repeat(500));
        let mut scanner = HeadScanner::default();
        for arrived in 3..head.len() {
            let verdict = scanner.scan(&head.as_bytes()[..arrived], &Limits::default());
            assert_eq!(verdict, Ok(None));
            let again = arrived - scanner.searched as usize;
            assert!(again <= 2, "{again} bytes would be looked at again after {arrived}");
        }
    }

    #[test]
    fn a_scanner_is_small() {
        assert!(size_of::<HeadScanner>() <= 4);
    }
}
