//! Looks at JSON that a client sent (RFC 8259): whether it is valid, what it begins with, which texts it has. Keeps
//! nothing, and goes only so deep.

/// Values inside each other; deeper is as good as invalid. Nobody who is honest sends any.
const DEPTH_MAX: u32 = 16;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Word,
}

/// The kind of the one value that `text` is; `None` where it is not valid.
pub(crate) fn kind(text: &[u8]) -> Option<Kind> {
    let mut scanner = Scanner { rest: text };
    let kind = scanner.value(0)?;
    scanner.rest.is_empty().then_some(kind)
}

/// The first element of the array that `text` is, and its kind; `None` where it has none or is no valid array.
pub(crate) fn first_element(text: &[u8]) -> Option<(Kind, &[u8])> {
    if kind(text)? != Kind::Array {
        return None;
    }
    let mut scanner = Scanner { rest: text };
    scanner.spaces();
    scanner.take(b'[')?;
    scanner.spaces();
    let start = scanner.rest;
    let kind = scanner.value(1)?;
    let len = start.len() - scanner.rest.len();
    Some((kind, start[..len].trim_ascii()))
}

/// The text of the member `name` of the valid object `text`, where it is a string without escapes.
pub(crate) fn text_member<'a>(text: &'a [u8], name: &str) -> Option<&'a str> {
    let mut scanner = Scanner { rest: text };
    scanner.spaces();
    scanner.take(b'{')?;
    loop {
        scanner.spaces();
        let key = scanner.string()?;
        scanner.spaces();
        scanner.take(b':')?;
        scanner.spaces();
        let start = scanner.rest;
        let kind = scanner.value(1)?;
        if key == name.as_bytes() && kind == Kind::String {
            let value = Scanner { rest: start }.string()?;
            return std::str::from_utf8(value).ok().filter(|value| !value.contains('\\'));
        }
        scanner.take(b',')?;
    }
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    /// Goes past a value and the spaces around it.
    fn value(&mut self, depth: u32) -> Option<Kind> {
        self.spaces();
        let kind = match *self.rest.first()? {
            _ if depth > DEPTH_MAX => return None,
            b'{' => self.members(depth, b'}', Kind::Object)?,
            b'[' => self.members(depth, b']', Kind::Array)?,
            b'"' => self.string().map(|_| Kind::String)?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ => self.word()?,
        };
        self.spaces();
        Some(kind)
    }

    fn members(&mut self, depth: u32, end: u8, kind: Kind) -> Option<Kind> {
        self.rest = &self.rest[1..];
        self.spaces();
        if self.take(end).is_some() {
            return Some(kind);
        }
        loop {
            if kind == Kind::Object {
                self.spaces();
                self.string()?;
                self.spaces();
                self.take(b':')?;
            }
            self.value(depth + 1)?;
            if self.take(end).is_some() {
                return Some(kind);
            }
            self.take(b',')?;
        }
    }

    /// Goes past a string, and returns what is between its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let start = self.rest;
        loop {
            match self.rest {
                [b'"', rest @ ..] => {
                    let len = start.len() - self.rest.len();
                    self.rest = rest;
                    return Some(&start[..len]);
                }
                [b'\\', b'u', rest @ ..] => {
                    let digits = rest.get(..4)?;
                    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                    self.rest = &rest[4..];
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => {
                    self.rest = rest;
                }
                [0x20..=0x5b | 0x5d..=0xff, rest @ ..] => self.rest = rest,
                _ => return None,
            }
        }
    }

    fn number(&mut self) -> Option<Kind> {
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if self.take(b'e').or_else(|| self.take(b'E')).is_some() {
            let _ = self.take(b'+').or_else(|| self.take(b'-'));
            self.digits()?;
        }
        Some(Kind::Number)
    }

    fn digits(&mut self) -> Option<()> {
        let len = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.rest = &self.rest[len..];
        (len > 0).then_some(())
    }

    fn word(&mut self) -> Option<Kind> {
        let words: [&[u8]; 3] = [b"true", b"false", b"null"];
        self.rest = words.iter().find_map(|word| self.rest.strip_prefix(*word))?;
        Some(Kind::Word)
    }

    fn spaces(&mut self) {
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_random::Random;

    #[test]
    fn kinds_and_what_is_not_valid() {
        for (text, expected) in [
            ("{}", Some(Kind::Object)),
            (r#" { "a" : [ 1 , -2.5e+3 , null ] } "#, Some(Kind::Object)),
            ("[]", Some(Kind::Array)),
            (r#""\u00e9\n""#, Some(Kind::String)),
            ("0", Some(Kind::Number)),
            ("true", Some(Kind::Word)),
        ] {
            assert_eq!(kind(text.as_bytes()), expected, "{text}");
        }
        for text in ["", "{", "[1,]", "{1:2}", "01", "1 2", "\"\\x\"", "\"\n\"", "nul", "[1", "-"] {
            assert_eq!(kind(text.as_bytes()), None, "{text}");
        }
        assert_eq!(kind(&b"[".repeat(100_000)), None);
    }

    #[test]
    fn first_elements_and_members() {
        assert_eq!(first_element(br#"["a", 1]"#), Some((Kind::String, &br#""a""#[..])));
        assert_eq!(first_element(b" [ 7 ]"), Some((Kind::Number, &b"7"[..])));
        assert_eq!(first_element(b"[]"), None);
        assert_eq!(first_element(b"{}"), None);
        let object = br#"{"x":{"pid":"no"},"pid":"yes","offset":5,"e":"a\n"}"#;
        assert_eq!(text_member(object, "pid"), Some("yes"));
        assert_eq!(text_member(object, "offset"), None);
        assert_eq!(text_member(object, "e"), None);
        assert_eq!(text_member(b"{}", "pid"), None);
    }

    #[test]
    fn what_serde_takes_is_taken_and_nothing_else() {
        let mut random = Random::from_env();
        let alphabet = br#"{}[]",:0123-.eE+ atrufalsn\"#;
        for _ in 0..20_000 {
            let len = 1 + random.below(12);
            let text: Vec<u8> = (0..len).map(|_| alphabet[random.below(alphabet.len())]).collect();
            let is_valid = serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok();
            assert_eq!(kind(&text).is_some(), is_valid, "{}", text.escape_ascii());
            let _ = (first_element(&text), text_member(&text, "a"));
        }
    }
}
