//! Reads which extensions a client offers for its WebSocket (RFC 6455 section 9.1), and takes up permessage-deflate (RFC
//! 7692) in the one way in which a message can be deflated once for all. Knows no deflate.

use super::{is_token_byte, trim_spaces};

/// The header field is no list of extensions: a client of which nobody knows what it wants (section 9.1).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What was agreed on: each message is deflated on its own, with a window of 32 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deflate {
    /// The client did not ask about the window.
    Default,
    /// It did, and is told.
    WithWindow,
}

impl Deflate {
    /// The first of the client's offers that can be met, of all `lines` of the field. Where none can, messages go as they
    /// are, which both ends may live with.
    pub(super) fn choose<'a>(
        lines: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Option<Self>, Malformed> {
        let mut chosen = None;
        for line in lines {
            let mut rest = Rest(line);
            while rest.skip_to_extension() {
                let offer = rest.take_offer()?;
                chosen = chosen.or(offer);
            }
        }
        Ok(chosen)
    }

    /// As the answer has it. The client need not keep anything from one message to the next either: what it says is not
    /// inflated anyway.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Default => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            }
            Self::WithWindow => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=15"
            }
        }
    }
}

/// The parameters that an offer of permessage-deflate may have, each once (RFC 7692 section 7.1).
const PARAMETERS: [&[u8]; 4] = [
    b"server_no_context_takeover",
    b"client_no_context_takeover",
    b"server_max_window_bits",
    b"client_max_window_bits",
];

/// The window that messages are deflated with.
const WINDOW_BITS: u8 = 15;

/// What is left of a line.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Passes over what stands between extensions, and says whether one follows: a list may have empty elements (RFC 9110
    /// section 5.6.1).
    fn skip_to_extension(&mut self) -> bool {
        while let [b',' | b' ' | b'\t', rest @ ..] = self.0 {
            self.0 = rest;
        }
        !self.0.is_empty()
    }

    /// Takes an extension and all its parameters. Returns what was agreed on, if it is an offer that can be met.
    fn take_offer(&mut self) -> Result<Option<Deflate>, Malformed> {
        let is_deflate = self.take_token()? == b"permessage-deflate";
        let mut seen = [false; PARAMETERS.len()];
        let mut can_be_met = is_deflate;
        while self.take_separator(b';') {
            let name = self.take_token()?;
            let value = if self.take_separator(b'=') { Some(self.take_value()?) } else { None };
            can_be_met &= PARAMETERS.iter().position(|known| *known == name).is_some_and(|at| {
                !std::mem::replace(&mut seen[at], true) && accepts(at, value.as_deref())
            });
        }
        self.0 = trim_spaces(self.0);
        if !matches!(self.0, [] | [b',', ..]) {
            return Err(Malformed);
        }
        let asks_about_window = seen[2];
        let agreed = if asks_about_window { Deflate::WithWindow } else { Deflate::Default };
        Ok(can_be_met.then_some(agreed))
    }

    /// Takes `separator` and the spaces around it, if it comes next.
    fn take_separator(&mut self, separator: u8) -> bool {
        match trim_spaces(self.0).split_first() {
            Some((first, rest)) if *first == separator => {
                self.0 = trim_spaces(rest);
                true
            }
            _ => false,
        }
    }

    fn take_token(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.0.iter().take_while(|byte| is_token_byte(**byte)).count();
        let (token, rest) = self.0.split_at(len);
        self.0 = rest;
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    /// Takes a token, which may stand in quotes.
    fn take_value(&mut self) -> Result<Vec<u8>, Malformed> {
        let [b'"', quoted @ ..] = self.0 else { return self.take_token().map(<[u8]>::to_vec) };
        let mut value = Vec::new();
        let mut bytes = quoted.iter();
        loop {
            match bytes.next() {
                Some(b'"') => break,
                Some(b'\\') => value.extend(bytes.next()),
                Some(byte) => value.push(*byte),
                None => return Err(Malformed),
            }
        }
        self.0 = bytes.as_slice();
        let is_token = !value.is_empty() && value.iter().all(|byte| is_token_byte(*byte));
        if is_token { Ok(value) } else { Err(Malformed) }
    }
}

/// Whether one of [`PARAMETERS`] may have this value in an offer, and can then be met.
fn accepts(parameter: usize, value: Option<&[u8]>) -> bool {
    match (parameter, value) {
        (0 | 1, value) => value.is_none(),
        (2, Some(bits)) => window_bits(bits) == Some(WINDOW_BITS),
        // The client's window may be as small as it likes: nobody looks into it.
        (3, value) => value.is_none_or(|bits| window_bits(bits).is_some()),
        _ => false,
    }
}

/// A number from 8 to 15, without zeros in front (RFC 7692 section 7.1.2).
fn window_bits(text: &[u8]) -> Option<u8> {
    match text {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(lines: &[&str]) -> Result<Option<Deflate>, Malformed> {
        Deflate::choose(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn offers_that_can_be_met() {
        for (offer, agreed) in [
            ("permessage-deflate", Deflate::Default),
            ("permessage-deflate; client_max_window_bits", Deflate::Default),
            ("permessage-deflate;client_max_window_bits=8", Deflate::Default),
            ("permessage-deflate ; client_max_window_bits = \"15\" ", Deflate::Default),
            ("permessage-deflate; server_no_context_takeover", Deflate::Default),
            (
                "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
                Deflate::Default,
            ),
            ("permessage-deflate; server_max_window_bits=15", Deflate::WithWindow),
            ("permessage-deflate; server_max_window_bits=\"1\\5\"", Deflate::WithWindow),
            (",, permessage-deflate,,", Deflate::Default),
            ("x-webkit-deflate-frame, permessage-deflate", Deflate::Default),
            ("foo; a; b=c; d=\"e\", permessage-deflate; server_max_window_bits=15", {
                Deflate::WithWindow
            }),
        ] {
            assert_eq!(chosen(&[offer]), Ok(Some(agreed)), "{offer}");
        }
    }

    #[test]
    fn what_was_agreed_on_is_told() {
        let told = |deflate| {
            let mut out = Vec::new();
            super::super::response::write_switching_protocols(&mut out, "x", None, deflate);
            let text = String::from_utf8(out).unwrap();
            let field = text.lines().find_map(|it| it.strip_prefix("Sec-WebSocket-Extensions: "));
            field.map(str::to_owned)
        };
        let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        assert_eq!(told(Some(Deflate::Default)).as_deref(), Some(plain));
        let window = format!("{plain}; server_max_window_bits=15");
        assert_eq!(told(Some(Deflate::WithWindow)), Some(window));
        assert_eq!(told(None), None);
    }

    #[test]
    fn offers_that_cannot_be_met_are_passed_over() {
        for offer in [
            "",
            " , ,",
            "foo",
            "Permessage-Deflate",
            "permessage-deflate; server_max_window_bits=14",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=015",
            "permessage-deflate; server_max_window_bits=+15",
            "permessage-deflate; server_max_window_bits=99999999999999999999",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=x",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=\"true\"",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=15; server_max_window_bits=15",
            "permessage-deflate; unknown",
            "permessage-deflate; unknown=15",
        ] {
            assert_eq!(chosen(&[offer]), Ok(None), "{offer}");
            let lines = [offer, "permessage-deflate; client_max_window_bits"];
            assert_eq!(chosen(&lines), Ok(Some(Deflate::Default)), "{offer}");
        }
    }

    #[test]
    fn the_first_that_can_be_met_is_taken() {
        let (plain, window) =
            ("permessage-deflate", "permessage-deflate; server_max_window_bits=15");
        let small = "permessage-deflate; server_max_window_bits=10";
        assert_eq!(chosen(&[small, window, plain]), Ok(Some(Deflate::WithWindow)));
        let one_line = [small, plain, window].join(",");
        assert_eq!(chosen(&[&one_line]), Ok(Some(Deflate::Default)));
        let thousand = [small; 1_000].join(", ");
        assert_eq!(chosen(&[&thousand]), Ok(None));
        assert_eq!(chosen(&[&thousand, window]), Ok(Some(Deflate::WithWindow)));
        assert_eq!(chosen(&[]), Ok(None));
    }

    #[test]
    fn what_is_no_list_of_extensions_is_refused() {
        for line in [
            ";",
            "=",
            "permessage-deflate;",
            "permessage-deflate; ;",
            "permessage-deflate; a=",
            "permessage-deflate; =15",
            "permessage-deflate a",
            "permessage-deflate; a b",
            "permessage-deflate; a=\"15",
            "permessage-deflate; a=\"15\\",
            "permessage-deflate; a=\"\"",
            "permessage-deflate; a=\"1 5\"",
            "permessage-deflate; a=\"1,5\"",
            "permessage-deflate; a=\"15\"6",
            "permessage-deflate/1",
            "\"permessage-deflate\"",
            "permessage-d\u{e9}flate",
        ] {
            assert_eq!(chosen(&[line]), Err(Malformed), "{line}");
            assert_eq!(chosen(&["permessage-deflate", line]), Err(Malformed), "{line}");
        }
    }
}
