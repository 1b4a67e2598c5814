//! How a log record becomes one short line that forges nothing. Knows no queue and no clock.

use std::fmt::{self, Write};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use log::Level;

/// 1 KiB: a line that a terminal, journald and syslog take whole. What is longer ends in `…`.
const MESSAGE_BYTES_MAX: usize = 1024;
const TARGET_BYTES_MAX: usize = 128;

/// How a line looks (`--log-format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// `2026-11-22T23:41:00.123Z INFO  zmq2ws::gateway: message`
    Text,
    /// An object with time, level, target and message.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected 'text' or 'json'".into()),
        }
    }
}

/// One line, its end included.
pub(crate) fn format(
    format: LogFormat,
    time: SystemTime,
    level: Level,
    target: &str,
    message: fmt::Arguments<'_>,
) -> String {
    // The formatter panics before 1970 and fails after 9999, and clocks jump.
    let seconds_max = Duration::from_secs(253_402_300_799);
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let time =
        humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since_epoch.min(seconds_max));
    let mut line = String::with_capacity(128);
    let target =
        |line: &mut String| escape(line, format, TARGET_BYTES_MAX, format_args!("{target}"));
    // Writing to a String cannot fail.
    match format {
        LogFormat::Text => {
            let _ = write!(line, "{time} {level:<5} ");
            target(&mut line);
            line.push_str(": ");
            escape(&mut line, format, MESSAGE_BYTES_MAX, message);
        }
        LogFormat::Json => {
            let level = level.as_str().to_ascii_lowercase();
            let _ = write!(line, r#"{{"time":"{time}","level":"{level}","target":""#);
            target(&mut line);
            line.push_str(r#"","message":""#);
            escape(&mut line, format, MESSAGE_BYTES_MAX, message);
            line.push_str("\"}");
        }
    }
    line.push('\n');
    line
}

/// Appends `text` as characters that neither end the line nor move a terminal's cursor, at most
/// `bytes_max`.
fn escape(line: &mut String, format: LogFormat, bytes_max: usize, text: fmt::Arguments<'_>) {
    let mut escaper = Escaper { end: line.len() + bytes_max, line, format };
    if escaper.write_fmt(text).is_err() {
        line.push('…');
    }
}

struct Escaper<'a> {
    line: &'a mut String,
    format: LogFormat,
    end: usize,
}

impl Write for Escaper<'_> {
    /// Fails when the line is full, which also stops whoever formats a huge value.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let start = self.line.len();
            match (character, self.format) {
                ('\n', _) => self.line.push_str("\\n"),
                ('\r', _) => self.line.push_str("\\r"),
                ('\t', _) => self.line.push_str("\\t"),
                ('"', LogFormat::Json) => self.line.push_str("\\\""),
                ('\\', LogFormat::Json) => self.line.push_str("\\\\"),
                (hidden, LogFormat::Text) if is_hidden(hidden) => {
                    self.line.extend(hidden.escape_unicode());
                }
                (hidden, LogFormat::Json) if is_hidden(hidden) => {
                    write!(self.line, "\\u{:04x}", u32::from(hidden))?;
                }
                (visible, _) => self.line.push(visible),
            }
            if self.line.len() > self.end {
                self.line.truncate(start);
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

/// Control characters (C0, DEL, C1), line separators, and what reorders or hides text; all below
/// U+10000.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: SystemTime = SystemTime::UNIX_EPOCH;

    fn text(message: &str) -> String {
        format(LogFormat::Text, TIME, Level::Info, "zmq2ws::net", format_args!("{message}"))
    }

    fn json(message: &str) -> serde_json::Value {
        let line =
            format(LogFormat::Json, TIME, Level::Warn, "zmq2ws::net", format_args!("{message}"));
        assert!(
            line.ends_with("}\n") && line.trim_end().chars().all(|it| !is_hidden(it)),
            "{line:?}"
        );
        serde_json::from_str(&line).unwrap()
    }

    /// One character of each kind that could break a line, a terminal or JSON.
    const HOSTILE: &str = "a\n\r\t\0\x1b[31m\x7f\u{85}\u{9b}\"\\\u{2028}\u{202e}\u{feff}é東😀z";

    #[test]
    fn text_lines_show_time_level_target_and_message() {
        assert_eq!(text("hello"), "1970-01-01T00:00:00.000Z INFO  zmq2ws::net: hello\n");
    }

    #[test]
    fn json_lines_are_objects() {
        let expected = serde_json::json!({
            "time": "1970-01-01T00:00:00.000Z",
            "level": "warn",
            "target": "zmq2ws::net",
            "message": HOSTILE,
        });
        assert_eq!(json(HOSTILE), expected);
    }

    #[test]
    fn no_message_ends_a_line_or_commands_a_terminal() {
        let line = text(HOSTILE);
        assert!(line.trim_end_matches('\n').chars().all(|it| !is_hidden(it)), "{line:?}");
        assert_eq!(line.matches('\n').count(), 1);
        assert!(
            line.contains(r"a\n\r\t\u{0}\u{1b}[31m\u{7f}") && line.contains("é東😀z"),
            "{line}"
        );
    }

    #[test]
    fn long_messages_are_cut_and_stay_valid() {
        for unit in ["x", "é", "😀", "\n", "\u{202e}", "\""] {
            let message = unit.repeat(1 << 20);
            let line = text(&message);
            assert!(line.len() < MESSAGE_BYTES_MAX + 100 && line.ends_with("…\n"), "{unit:?}");
            assert!(json(&message)["message"].as_str().unwrap().ends_with('…'));
        }
        let exact = "x".repeat(MESSAGE_BYTES_MAX);
        assert!(text(&exact).ends_with("x\n"));
    }

    #[test]
    fn a_huge_value_is_not_formatted_to_its_end() {
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("forever ")?;
                }
            }
        }
        let line = format(LogFormat::Text, TIME, Level::Info, "t", format_args!("{Endless}"));
        assert!(line.ends_with("…\n"));
    }

    #[test]
    fn a_clock_that_jumps_out_of_range_is_survived() {
        let day = Duration::from_secs(86_400);
        let line = |time| format(LogFormat::Text, time, Level::Info, "t", format_args!("m"));
        assert!(line(TIME - day).starts_with("1970-01-01T00:00:00.000Z"));
        assert!(line(TIME + day * 4_000_000).starts_with("9999-12-31T23:59:59.000Z"));
    }
}
