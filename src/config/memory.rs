//! What is kept of messages, and whether all that is to be held fits `--max-memory`. Knows not who gets which part of it.

use std::ops::RangeInclusive;

use crate::config::{Config, Settings};
use crate::error::ConfigError;

/// History: 1 KiB is a few messages; the upper end is never reached, for the part of the memory below.
const HISTORY_BYTES: RangeInclusive<u64> = 1 << 10..=1 << 40;

const HISTORY_BYTES_DEFAULT: usize = 8 << 20;

/// History is at most one part in so many of the memory, and last values are another.
const HISTORY_SHARE: usize = 8;

impl Settings {
    pub(super) fn history_messages(&self) -> Result<usize, ConfigError> {
        self.count("history", &self.history, 1_000, &(0..=100_000_000))
    }

    pub(super) fn last_value_topics(&self) -> Result<usize, ConfigError> {
        let text = &self.last_value_topics;
        self.count("last-value-topics", text, 10_000, &(1..=10_000_000))
    }

    pub(super) fn history_bytes(&self, memory_bytes_max: usize) -> Result<usize, ConfigError> {
        let bytes_max = memory_bytes_max / HISTORY_SHARE;
        let default = HISTORY_BYTES_DEFAULT.min(bytes_max);
        let bytes = self.bytes("history-bytes", &self.history_bytes, default, &HISTORY_BYTES)?;
        if bytes <= bytes_max {
            return Ok(bytes);
        }
        let text = self.history_bytes.as_deref().unwrap_or_default();
        let reason = format!(
            "expected at most an eighth of --max-memory, which is {memory_bytes_max} bytes"
        );
        Err(self.refuse("history-bytes", text, reason))
    }

    /// A limit on all memory that one message or one client's lag exceeds could never hold.
    pub(super) fn check_memory(&self, config: &Config) -> Result<(), ConfigError> {
        let parts = [
            ("max-message", &self.max_message, config.message_bytes_max),
            ("max-lag", &self.max_lag, config.lag_bytes_max),
        ];
        // A part of the memory is for other things than messages on their way.
        let share = if config.keeps_last_values() { 4 } else { 2 };
        for (name, text, bytes) in parts {
            if bytes <= config.memory_bytes_max / share {
                continue;
            }
            return Err(match (self.max_memory.as_ref(), text) {
                (Some(memory), _) => {
                    let reason =
                        format!("expected at least {share} times --{name}, which is {bytes} bytes");
                    self.refuse("max-memory", memory, reason)
                }
                (None, text) => {
                    let memory = config.memory_bytes_max;
                    let reason = format!(
                        "expected at most 1/{share} of --max-memory, which is {memory} bytes"
                    );
                    self.refuse(name, text.as_deref().unwrap_or_default(), reason)
                }
            });
        }
        Ok(())
    }
}
