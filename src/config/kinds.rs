//! Kinds of values: how each is read, bounded and shown. Knows no setting by name.

use std::fmt::Display;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

use crate::access::OriginPolicy;
use crate::config::security::GivenSecret;

/// Nothing keeps a timeout below a millisecond; no client waits longer than a day.
pub(super) const TIMEOUT: RangeInclusive<Duration> = millis(1)..=seconds(86_400);

/// One message, or the lag of one client: far inside the 32 bits in which `parts` counts.
pub(super) const MESSAGE_BYTES: RangeInclusive<usize> = 1..=1 << 30;

/// A kind of value.
pub(super) trait Kind {
    type Value;

    /// Reads one text, within bounds or not; else says what is expected.
    fn read(&self, text: &str) -> Result<Self::Value, String>;

    /// Reads all texts of a setting; an error has the text at fault before the reason.
    fn read_all(&self, texts: &[String]) -> Result<Self::Value, (String, String)> {
        let text = texts.last().map_or("", String::as_str);
        self.read(text).map_err(|reason| (text.to_owned(), reason))
    }

    /// The value where none is given.
    fn absent(&self, default: &str) -> Self::Value {
        self.read(default).expect("a test reads every default")
    }

    /// The value as its user would type it, where it is out of bounds.
    fn out_of_bounds(&self, _: &Self::Value) -> Option<String> {
        None
    }

    /// The bounds in words; empty where there are none.
    fn expected(&self) -> String {
        String::new()
    }
}

/// A time.
pub(super) struct Span {
    range: RangeInclusive<Duration>,
    /// Whether 0, which turns it off, may be given too.
    is_optional: bool,
}

impl Span {
    pub(super) fn new(range: RangeInclusive<Duration>) -> Self {
        Self { range, is_optional: false }
    }

    pub(super) fn or_zero(range: RangeInclusive<Duration>) -> Self {
        Self { range, is_optional: true }
    }
}

impl Kind for Span {
    type Value = Duration;

    /// Reads `5s`, `300ms`, `1m30s` or a plain `0`.
    fn read(&self, text: &str) -> Result<Duration, String> {
        match text {
            "0" => Ok(Duration::ZERO),
            _ => humantime::parse_duration(text).map_err(|_| self.expected()),
        }
    }

    fn out_of_bounds(&self, value: &Duration) -> Option<String> {
        let is_valid = self.range.contains(value) || (self.is_optional && value.is_zero());
        (!is_valid).then(|| humantime::format_duration(*value).to_string())
    }

    fn expected(&self) -> String {
        let zero = if self.is_optional { "0 or " } else { "" };
        let [min, max] =
            [self.range.start(), self.range.end()].map(|it| humantime::format_duration(*it));
        format!("expected {zero}a duration from {min} to {max}, such as 5s, 300ms or 1m30s")
    }
}

/// A number of bytes.
pub(super) struct Size(pub(super) RangeInclusive<usize>);

impl Kind for Size {
    type Value = usize;

    /// Reads `16MiB`, `64KB` or plain bytes.
    fn read(&self, text: &str) -> Result<usize, String> {
        let size = text.parse::<ByteSize>().ok().and_then(|size| usize::try_from(size.0).ok());
        size.ok_or_else(|| self.expected())
    }

    fn out_of_bounds(&self, value: &usize) -> Option<String> {
        (!self.0.contains(value)).then(|| value.to_string())
    }

    fn expected(&self) -> String {
        let [min, max] = [self.0.start(), self.0.end()].map(|it| ByteSize(*it as u64));
        format!("expected a size from {min} to {max}, such as 16MiB, 64KB or 4096")
    }
}

/// A number of things.
pub(super) struct Count(pub(super) RangeInclusive<usize>);

impl Kind for Count {
    type Value = usize;

    /// Reads a decimal whole number.
    fn read(&self, text: &str) -> Result<usize, String> {
        // `parse` alone would take a leading '+'.
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_plain).ok_or_else(|| self.expected())
    }

    fn out_of_bounds(&self, value: &usize) -> Option<String> {
        (!self.0.contains(value)).then(|| value.to_string())
    }

    fn expected(&self) -> String {
        format!("expected a whole number from {} to {}", self.0.start(), self.0.end())
    }
}

/// `true`, `false`, `1` or `0`.
pub(super) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn read(&self, text: &str) -> Result<bool, String> {
        match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err("expected 'true' or 'false'".into()),
        }
    }
}

/// What the type reads itself.
pub(super) struct Parsed<T>(PhantomData<T>);

pub(super) fn parsed<T>() -> Parsed<T> {
    Parsed(PhantomData)
}

impl<T: FromStr<Err: Display>> Kind for Parsed<T> {
    type Value = T;

    fn read(&self, text: &str) -> Result<T, String> {
        text.parse().map_err(|error: T::Err| error.to_string())
    }
}

/// A value without a default.
pub(super) struct Maybe<K>(pub(super) K);

impl<K: Kind> Kind for Maybe<K> {
    type Value = Option<K::Value>;

    fn read(&self, text: &str) -> Result<Self::Value, String> {
        self.0.read(text).map(Some)
    }

    fn absent(&self, _: &str) -> Self::Value {
        None
    }

    fn out_of_bounds(&self, value: &Self::Value) -> Option<String> {
        self.0.out_of_bounds(value.as_ref()?)
    }

    fn expected(&self) -> String {
        self.0.expected()
    }
}

/// A list.
pub(super) struct Each<K>(pub(super) K);

impl<K: Kind> Kind for Each<K> {
    type Value = Vec<K::Value>;

    fn read(&self, text: &str) -> Result<Self::Value, String> {
        self.0.read(text).map(|value| vec![value])
    }

    fn read_all(&self, texts: &[String]) -> Result<Self::Value, (String, String)> {
        let read = |text: &String| self.0.read(text).map_err(|reason| (text.clone(), reason));
        texts.iter().map(read).collect()
    }

    fn absent(&self, _: &str) -> Self::Value {
        Vec::new()
    }
}

/// Prefixes of topics; by default the empty one, which is everything.
pub(super) struct Prefixes;

impl Kind for Prefixes {
    type Value = Vec<Vec<u8>>;

    fn read(&self, text: &str) -> Result<Self::Value, String> {
        Ok(vec![text.into()])
    }

    fn read_all(&self, texts: &[String]) -> Result<Self::Value, (String, String)> {
        Ok(texts.iter().map(|text| text.as_bytes().to_vec()).collect())
    }

    fn absent(&self, _: &str) -> Self::Value {
        vec![Vec::new()]
    }
}

/// The origins of browsers' pages.
pub(super) struct Origins;

impl Kind for Origins {
    type Value = OriginPolicy;

    fn read(&self, text: &str) -> Result<OriginPolicy, String> {
        OriginPolicy::from_entries([text]).map_err(|invalid| invalid.reason.to_owned())
    }

    fn read_all(&self, texts: &[String]) -> Result<OriginPolicy, (String, String)> {
        OriginPolicy::from_entries(texts.iter().map(String::as_str))
            .map_err(|invalid| (invalid.entry, invalid.reason.to_owned()))
    }

    fn absent(&self, _: &str) -> OriginPolicy {
        OriginPolicy::default()
    }
}

/// A file that holds a secret, for the setting of this name.
pub(super) struct SecretFile(pub(super) &'static str);

impl Kind for SecretFile {
    type Value = Option<GivenSecret>;

    fn read(&self, text: &str) -> Result<Self::Value, String> {
        Ok(Some(GivenSecret::read(self.0, Path::new(text))))
    }

    fn absent(&self, _: &str) -> Self::Value {
        None
    }
}

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads and bounds one text.
    fn checked<K: Kind>(kind: &K, text: &str) -> Result<K::Value, String> {
        let value = kind.read(text)?;
        match kind.out_of_bounds(&value) {
            Some(_) => Err(kind.expected()),
            None => Ok(value),
        }
    }

    #[test]
    fn durations_are_read_with_their_unit() {
        for (text, expected) in [
            ("5s", 5000),
            ("1500ms", 1500),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("24h", 86_400_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(Span::or_zero(TIMEOUT).read(text), Ok(millis(expected)), "{text}");
        }
    }

    #[test]
    fn durations_out_of_range_or_without_unit_are_refused() {
        let span = Span::new(seconds(1)..=seconds(86_400));
        let huge = format!("{}y", u64::MAX);
        for text in
            ["", "5", "0", "0s", "-5s", "5 parsecs", "999ms", "25h", "1e9s", "NaN", "s", &huge]
        {
            let reason = checked(&span, text).unwrap_err();
            assert!(reason.starts_with("expected a duration from 1s to 1day"), "{text}: {reason}");
        }
        assert_eq!(checked(&span, "24h"), Ok(seconds(86_400)));
        let optional = Span::or_zero(TIMEOUT);
        let reason = checked(&optional, "x").unwrap_err();
        assert!(reason.starts_with("expected 0 or a duration"), "{reason}");
        assert_eq!(checked(&optional, "0"), Ok(Duration::ZERO));
    }

    #[test]
    fn sizes_are_read_with_and_without_unit() {
        let size = Size(MESSAGE_BYTES);
        for (text, bytes) in [
            ("4096", 4096),
            ("16MiB", 16 << 20),
            ("64KB", 64_000),
            ("1.5KiB", 1536),
            ("2 kib", 2048),
        ] {
            assert_eq!(checked(&size, text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "abc", "-1", "2GiB", "1e30", "99999999999999999999", "5 apples", "."]
        {
            let reason = checked(&size, text).unwrap_err();
            assert!(reason.starts_with("expected a size from 1 B to 1.0 GiB"), "{text}: {reason}");
        }
    }

    #[test]
    fn counts_are_plain_digits_within_their_range() {
        let count = Count(1..=65_536);
        assert_eq!(checked(&count, "10000"), Ok(10_000));
        for text in ["", "0", "+1", "-1", "1.0", "1_000", "65537", "4294967297", "٣"] {
            let reason = checked(&count, text).unwrap_err();
            assert_eq!(reason, "expected a whole number from 1 to 65536", "{text}");
        }
    }

    #[test]
    fn switches_know_four_words() {
        let switch = |text| Switch.read(text);
        assert_eq!((switch("true"), switch("1")), (Ok(true), Ok(true)));
        assert_eq!((switch("false"), switch("0")), (Ok(false), Ok(false)));
        assert!(switch("yes").is_err() && switch("").is_err());
    }
}
