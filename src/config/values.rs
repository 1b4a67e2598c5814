//! Reads single values as users type them: durations, sizes, counts, switches. Knows no setting by
//! name.

use std::convert::Infallible;
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

/// A value as it was typed, not yet read. In TOML a number, `true` or `false` may stand for its
/// text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(String);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl FromStr for Text {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

/// Reads `5s`, `300ms`, `1m30s` or a plain `0`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    match text {
        "0" => Some(Duration::ZERO),
        _ => humantime::parse_duration(text).ok(),
    }
}

/// Reads `16MiB`, `64KB` or plain bytes.
pub(super) fn bytes(text: &str) -> Option<usize> {
    text.parse::<ByteSize>().ok().and_then(|size| usize::try_from(size.0).ok())
}

/// Reads a decimal whole number.
pub(super) fn count(text: &str) -> Option<usize> {
    // `parse` alone would take a leading '+'.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// Reads `true`, `false`, `1` or `0`.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("expected 'true' or 'false'".into()),
    }
}

/// The candidate that `typed` most likely meant, if one is near.
pub(crate) fn nearest<'a>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    /// Longer than any name; what is longer than this is no slip of the finger.
    const TYPED_CHARS_MAX: usize = 40;
    let typed: Vec<char> = typed.chars().take(TYPED_CHARS_MAX + 1).collect();
    if typed.len() > TYPED_CHARS_MAX {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(&typed, candidate), candidate))
        .filter(|(distance, candidate)| distance * 3 <= candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many insertions, removals and replacements turn `from` into `to` (Levenshtein).
fn edit_distance(from: &[char], to: &str) -> usize {
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (line, wanted) in to.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, typed) in from.iter().enumerate() {
            let replaced = diagonal + usize::from(*typed != wanted);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[from.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        for (text, millis) in [
            ("5s", 5000),
            ("1500ms", 1500),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("24h", 86_400_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_and_without_unit() {
        for (text, size) in [
            ("4096", 4096),
            ("16MiB", 16 << 20),
            ("64KB", 64_000),
            ("1.5KiB", 1536),
            ("2 kib", 2048),
        ] {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
    }

    #[test]
    fn counts_are_plain_digits() {
        assert_eq!(count("10000"), Some(10_000));
    }

    #[test]
    fn switches_know_four_words() {
        assert_eq!((switch("true"), switch("1")), (Ok(true), Ok(true)));
        assert_eq!((switch("false"), switch("0")), (Ok(false), Ok(false)));
        assert!(switch("yes").is_err() && switch("").is_err());
    }

    #[test]
    fn the_nearest_name_is_found_only_when_it_is_near() {
        let names = ["max-lag", "max-memory", "listen", "log"];
        assert_eq!(nearest("max-lagg", names), Some("max-lag"));
        assert_eq!(nearest("max_memory", names), Some("max-memory"));
        assert_eq!(nearest("lisen", names), Some("listen"));
        assert_eq!(nearest("tls-cert", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"l".repeat(1 << 20), names), None);
    }
}
