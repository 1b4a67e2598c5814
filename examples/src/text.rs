//! Text from strangers, so that it cannot command a terminal.

use std::io::{self, Write};

/// How much of a part that is not UTF-8 is shown.
const HEX_BYTES_MAX: usize = 32;

/// Writes a part of a message: text escaped, anything else in hexadecimal.
///
/// # Errors
///
/// Those of `out`.
pub fn write_part(out: &mut impl Write, part: &[u8]) -> io::Result<()> {
    match str::from_utf8(part) {
        Ok(text) => write_text(out, text),
        Err(_) => write_hex(out, part),
    }
}

/// Writes `text`, its unsafe characters escaped.
///
/// # Errors
///
/// Those of `out`.
pub fn write_text(out: &mut impl Write, text: &str) -> io::Result<()> {
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|&(_, c)| is_unsafe(c)) {
        write!(out, "{}{}", &rest[..at], c.escape_default())?;
        rest = &rest[at + c.len_utf8()..];
    }
    out.write_all(rest.as_bytes())
}

/// Writes at most the first 32 bytes, and how many there are.
///
/// # Errors
///
/// Those of `out`.
pub fn write_hex(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(b"0x")?;
    for byte in bytes.iter().take(HEX_BYTES_MAX) {
        write!(out, "{byte:02x}")?;
    }
    match bytes.len() {
        0..=HEX_BYTES_MAX => Ok(()),
        len => write!(out, "… ({len} bytes)"),
    }
}

/// `text` with its unsafe characters escaped.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// A topic or a path for a message to the user.
pub fn shown(bytes: &[u8]) -> String {
    escaped(&String::from_utf8_lossy(bytes))
}

/// Controls, and characters that make text read in another order than it was sent.
fn is_unsafe(c: char) -> bool {
    const REORDERING: [std::ops::RangeInclusive<char>; 4] = [
        '\u{61c}'..='\u{61c}',
        '\u{200e}'..='\u{200f}',
        '\u{2028}'..='\u{202e}',
        '\u{2066}'..='\u{2069}',
    ];
    c.is_control() || REORDERING.iter().any(|range| range.contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_commands_a_terminal() {
        let shown = |part: &[u8]| {
            let mut out = Vec::new();
            write_part(&mut out, part).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown("weather in Tromsø: 東京".as_bytes()), "weather in Tromsø: 東京");
        assert_eq!(shown(b"a\x1b[2J\tb\x07"), "a\\u{1b}[2J\\tb\\u{7}");
        assert_eq!(shown("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(shown(b"\xff\x00"), "0xff00");
        assert_eq!(shown(&[0xfe; 33]), format!("0x{}… (33 bytes)", "fe".repeat(32)));
        assert_eq!(escaped("a\u{1b}b"), "a\\u{1b}b");
    }
}
