//! The `Date` of answers (RFC 9110 section 6.6.1). The time is handed in.

use std::io::Write;
use std::time::SystemTime;

use httpdate::HttpDate;

/// A moment as HTTP writes it, `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date([u8; Date::LEN]);

impl Date {
    const LEN: usize = 29;

    pub(crate) fn from_system_time(time: SystemTime) -> Self {
        let time = HttpDate::from(time.max(SystemTime::UNIX_EPOCH));
        let mut text = [0; Self::LEN];
        write!(text.as_mut_slice(), "{time}").expect("an IMF-fixdate has 29 characters");
        Self(text)
    }

    /// Puts the field behind the status line of the answer that `head` begins with.
    pub(crate) fn stamp(&self, head: &mut Vec<u8>) {
        if let Some(end) = head.windows(2).position(|two| two == b"\r\n") {
            let field = [b"\r\nDate: ", self.0.as_slice()].concat();
            head.splice(end..end, field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_date_follows_the_status_line() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let mut head = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n".to_vec();
        Date::from_system_time(time).stamp(&mut head);
        let expected =
            b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nA: b\r\n\r\nbody\r\n";
        assert_eq!(head, expected);
    }
}
