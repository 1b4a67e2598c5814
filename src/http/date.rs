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

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an IMF-fixdate is ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::super::response::{Exchange, write_text};
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_date_follows_the_status_line() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let mut out = Vec::new();
        let date = Some(Date::from_system_time(time));
        let _ = write_text(&mut out, Exchange::refused(b"", date), "text/plain", b"body\r\n");
        let expected = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Content-";
        assert!(out.starts_with(expected), "{}", out.escape_ascii());
    }
}
