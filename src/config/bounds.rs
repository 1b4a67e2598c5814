//! The default of every number, size and time, and its bounds. Knows not where a value came from.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;

use crate::config::values;

/// A value that cannot be used, before anybody knows how its user calls the setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invalid {
    /// The flag's long name.
    pub(crate) name: &'static str,
    /// The value, as it would be typed.
    pub(crate) value: String,
    /// Whether nobody may see what was really typed.
    pub(crate) is_secret: bool,
    /// Why it cannot be used, and what can; other settings are named by their flags.
    pub(crate) reason: String,
}

impl Invalid {
    pub(crate) fn new(
        name: &'static str,
        value: impl std::fmt::Display,
        reason: impl Into<String>,
    ) -> Self {
        Self { name, value: value.to_string(), is_secret: false, reason: reason.into() }
    }

    /// Of a value that is not shown.
    pub(super) fn secret(name: &'static str, reason: impl Into<String>) -> Self {
        Self { is_secret: true, ..Self::new(name, "…", reason) }
    }
}

/// A setting that is a time.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) name: &'static str,
    pub(super) default: Duration,
    range: RangeInclusive<Duration>,
    /// Whether 0, which turns it off, may be given too.
    or_zero: bool,
}

impl Span {
    const fn new(name: &'static str, default: Duration, range: RangeInclusive<Duration>) -> Self {
        Self { name, default, range, or_zero: false }
    }

    const fn or_zero(self) -> Self {
        Self { or_zero: true, ..self }
    }

    /// What can be given.
    pub(super) fn expected(&self) -> String {
        let zero = if self.or_zero { "0 or " } else { "" };
        let [min, max] = [self.range.start(), self.range.end()].map(|it| text(*it));
        format!("expected {zero}a duration from {min} to {max}, such as 5s, 300ms or 1m30s")
    }

    /// Reads what was typed, within bounds or not.
    pub(super) fn read(&self, text: &str) -> Result<Duration, String> {
        values::duration(text).ok_or_else(|| self.expected())
    }

    pub(super) fn check(&self, value: Duration) -> Result<(), Invalid> {
        let is_valid = self.range.contains(&value) || (self.or_zero && value.is_zero());
        let invalid = || Invalid::new(self.name, text(value), self.expected());
        if is_valid { Ok(()) } else { Err(invalid()) }
    }
}

fn text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A setting that is a number of bytes.
#[derive(Debug)]
pub(super) struct Size {
    pub(super) name: &'static str,
    pub(super) default: usize,
    range: RangeInclusive<usize>,
}

impl Size {
    const fn new(name: &'static str, default: usize, range: RangeInclusive<usize>) -> Self {
        Self { name, default, range }
    }

    /// What can be given.
    pub(super) fn expected(&self) -> String {
        let [min, max] = [self.range.start(), self.range.end()].map(|it| ByteSize(*it as u64));
        format!("expected a size from {min} to {max}, such as 16MiB, 64KB or 4096")
    }

    /// Reads what was typed, within bounds or not.
    pub(super) fn read(&self, text: &str) -> Result<usize, String> {
        values::bytes(text).ok_or_else(|| self.expected())
    }

    pub(super) fn check(&self, value: usize) -> Result<(), Invalid> {
        let invalid = || Invalid::new(self.name, value, self.expected());
        if self.range.contains(&value) { Ok(()) } else { Err(invalid()) }
    }
}

/// A setting that is a number of things.
#[derive(Debug)]
pub(super) struct Count {
    pub(super) name: &'static str,
    pub(super) default: usize,
    range: RangeInclusive<usize>,
}

impl Count {
    const fn new(name: &'static str, default: usize, range: RangeInclusive<usize>) -> Self {
        Self { name, default, range }
    }

    /// What can be given.
    pub(super) fn expected(&self) -> String {
        format!("expected a whole number from {} to {}", self.range.start(), self.range.end())
    }

    /// Reads what was typed, within bounds or not.
    pub(super) fn read(&self, text: &str) -> Result<usize, String> {
        values::count(text).ok_or_else(|| self.expected())
    }

    pub(super) fn check(&self, value: usize) -> Result<(), Invalid> {
        let invalid = || Invalid::new(self.name, value, self.expected());
        if self.range.contains(&value) { Ok(()) } else { Err(invalid()) }
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Timeouts: below a millisecond nothing can be kept, above a day nobody waits.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=seconds(86_400);

/// One message, or what one client may lag: far inside the 32 bits in which `parts` counts.
const MESSAGE_BYTES: RangeInclusive<usize> = 1..=1 << 30;

/// ZeroMQ takes an int, and 0 would be "no limit".
pub(super) const RCVHWM: Count = Count::new("rcvhwm", 10_000, 1..=i32::MAX as usize);
/// Linux probes each 32,767 s at most, and counts in seconds.
pub(super) const HEARTBEAT: Span =
    Span::new("heartbeat", seconds(5), Duration::from_millis(10)..=seconds(1_800)).or_zero();
pub(super) const MAX_MESSAGE: Size = Size::new("max-message", 16 << 20, MESSAGE_BYTES);

pub(super) const HISTORY: Count = Count::new("history", 1_000, 0..=100_000_000);
/// History: 1 KiB is a few messages; the upper end is never reached, for its part of the memory.
pub(super) const HISTORY_BYTES: Size = Size::new("history-bytes", 8 << 20, 1 << 10..=1 << 40);
pub(super) const LAST_VALUE_TOPICS: Count = Count::new("last-value-topics", 10_000, 1..=10_000_000);
pub(super) const MAX_LAG: Size = Size::new("max-lag", 1 << 20, MESSAGE_BYTES);
/// Coalescing: below 100 µs the poller's own timer is no finer, and above a second it is no live feed any more.
pub(super) const COALESCE: Span =
    Span::new("coalesce", Duration::ZERO, Duration::from_micros(100)..=seconds(1)).or_zero();

/// Deflating: what has no bytes cannot lose any. Below 200 bytes or so little is saved, for a tenth of a core at 10,000
/// messages a second.
pub(super) const COMPRESS_MIN: Size = Size::new("compress-min", 256, MESSAGE_BYTES);

pub(super) const MAX_CLIENTS: Count = Count::new("max-clients", 100_000, 1..=10_000_000);
pub(super) const MAX_CLIENTS_PER_IP: Count = Count::new("max-clients-per-ip", 0, 0..=10_000_000);
pub(super) const MAX_TOPICS: Count = Count::new("max-topics", 128, 1..=65_536);
pub(super) const HANDSHAKE_TIMEOUT: Span = Span::new("handshake-timeout", seconds(10), TIMEOUT);
pub(super) const KEEPALIVE_TIMEOUT: Span = Span::new("keepalive-timeout", seconds(60), TIMEOUT);
pub(super) const PING_INTERVAL: Span = Span::new("ping-interval", seconds(25), TIMEOUT);
pub(super) const PING_TIMEOUT: Span = Span::new("ping-timeout", seconds(20), TIMEOUT);
pub(super) const WRITE_TIMEOUT: Span = Span::new("write-timeout", seconds(30), TIMEOUT);
/// All memory: 64 KiB is one small feed; a terabyte is more than any host has to give.
pub(super) const MAX_MEMORY: Size = Size::new("max-memory", 512 << 20, 64 << 10..=1 << 40);
pub(super) const MAX_INBOUND: Size = Size::new("max-inbound", 4 << 10, MESSAGE_BYTES);
pub(super) const DRAIN: Span = Span::new("drain", seconds(5), TIMEOUT).or_zero();

/// What a host program may publish ahead of the loop: ten thousand is what ZeroMQ's own queue holds.
pub(super) const INBOX_MESSAGES: Count = Count::new("inbox-messages", 10_000, 1..=10_000_000);
/// Half of what one message may be at the most: who sends larger ones gives more.
pub(super) const INBOX_BYTES: Size = Size::new("inbox-bytes", 8 << 20, 1 << 10..=1 << 32);

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span::new("drain", seconds(5), seconds(1)..=seconds(86_400));

    fn duration(span: &Span, text: &str) -> Result<Duration, String> {
        let value = span.read(text)?;
        span.check(value).map_err(|invalid| invalid.reason)?;
        Ok(value)
    }

    #[test]
    fn durations_out_of_range_or_without_unit_are_refused() {
        let huge = format!("{}y", u64::MAX);
        for text in
            ["", "5", "0", "0s", "-5s", "5 parsecs", "999ms", "25h", "1e9s", "NaN", "s", &huge]
        {
            let reason = duration(&SPAN, text).unwrap_err();
            assert!(reason.starts_with("expected a duration from 1s to 1day"), "{text}: {reason}");
        }
        assert_eq!(duration(&SPAN, "24h"), Ok(seconds(86_400)));
        let reason = duration(&DRAIN, "x").unwrap_err();
        assert!(reason.starts_with("expected 0 or a duration"), "{reason}");
        assert_eq!(duration(&DRAIN, "0"), Ok(Duration::ZERO));
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for text in ["", "0", "abc", "-1", "2GiB", "1e30", "99999999999999999999", "5 apples", "."]
        {
            let checked = MAX_LAG.read(text).and_then(|size| {
                MAX_LAG.check(size).map(|()| size).map_err(|invalid| invalid.reason)
            });
            let reason = checked.unwrap_err();
            assert!(reason.starts_with("expected a size from 1 B to 1.0 GiB"), "{text}: {reason}");
        }
    }

    #[test]
    fn counts_out_of_range_are_refused() {
        for text in ["", "0", "+1", "-1", "1.0", "1_000", "65537", "4294967297", "٣"] {
            let checked = MAX_TOPICS.read(text).and_then(|count| {
                MAX_TOPICS.check(count).map(|()| count).map_err(|invalid| invalid.reason)
            });
            assert_eq!(checked.unwrap_err(), "expected a whole number from 1 to 65536", "{text}");
        }
    }

    #[test]
    fn every_default_is_within_its_bounds() {
        for span in [
            &HEARTBEAT,
            &COALESCE,
            &HANDSHAKE_TIMEOUT,
            &KEEPALIVE_TIMEOUT,
            &PING_INTERVAL,
            &PING_TIMEOUT,
            &WRITE_TIMEOUT,
            &DRAIN,
        ] {
            assert_eq!(span.check(span.default), Ok(()));
        }
        for size in [
            &MAX_MESSAGE,
            &HISTORY_BYTES,
            &MAX_LAG,
            &COMPRESS_MIN,
            &MAX_MEMORY,
            &MAX_INBOUND,
            &INBOX_BYTES,
        ] {
            assert_eq!(size.check(size.default), Ok(()));
        }
        for count in [
            &RCVHWM,
            &HISTORY,
            &LAST_VALUE_TOPICS,
            &MAX_CLIENTS,
            &MAX_CLIENTS_PER_IP,
            &MAX_TOPICS,
            &INBOX_MESSAGES,
        ] {
            assert_eq!(count.check(count.default), Ok(()));
        }
    }
}
