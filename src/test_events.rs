//! Reads event streams strictly, as the WHATWG's standard has it, and the chunks they come in. For tests only, those in
//! `tests/` included; never part of the program, and knows nothing of it.

/// An event that was dispatched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// `message` where the stream names none.
    pub(crate) name: String,
    pub(crate) data: String,
    /// The last id that the stream gave; empty before the first.
    pub(crate) id: String,
}

/// Interprets an event stream that comes in pieces.
///
/// # Panics
///
/// At bytes that are not UTF-8 and at fields that the standard does not know: it ignores them, we never send any.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// The line that has not ended.
    line: Vec<u8>,
    lines: usize,
    ends_with_cr: bool,
    data: String,
    name: String,
    id: String,
    /// The last `retry`, milliseconds.
    pub(crate) retry: Option<u64>,
    pub(crate) comments: usize,
}

impl Reader {
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            let is_end_of_crlf = std::mem::take(&mut self.ends_with_cr) && byte == b'\n';
            match byte {
                b'\n' if is_end_of_crlf => {}
                b'\r' | b'\n' => {
                    self.ends_with_cr = byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.interpret(&line));
                    self.lines += 1;
                }
                byte => self.line.push(byte),
            }
        }
        events
    }

    fn interpret(&mut self, line: &[u8]) -> Option<Event> {
        let line = std::str::from_utf8(line).unwrap();
        let line =
            if self.lines == 0 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.comments += 1,
            "data" => {
                self.data += value;
                self.data.push('\n');
            }
            "event" => self.name = value.to_owned(),
            "id" if !value.contains('\0') => self.id = value.to_owned(),
            "retry" => self.retry = Some(value.parse().unwrap()),
            _ => panic!("no such field is ever sent: {line:?}"),
        }
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        let (mut data, name) = (std::mem::take(&mut self.data), std::mem::take(&mut self.name));
        // Nothing is dispatched without a data line.
        data.pop()?;
        let name = if name.is_empty() { "message".to_owned() } else { name };
        Some(Event { name, data, id: self.id.clone() })
    }
}

/// Takes the chunked coding off a body that comes in pieces (RFC 9112 section 7.1).
///
/// # Panics
///
/// At anything but chunks without extensions and trailers.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Start,
    Size(String),
    Data(usize),
    /// What has to follow.
    Expect(&'static [u8], Next),
    Ended,
}

#[derive(Debug, Clone, Copy)]
enum Next {
    Data(usize),
    Chunk,
    End,
}

impl Chunks {
    /// The content of the next piece.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        for &byte in bytes {
            self.state = match std::mem::take(&mut self.state) {
                State::Start => State::Size(digit(byte)),
                State::Size(size) if byte == b'\r' => {
                    let size = usize::from_str_radix(&size, 16).unwrap();
                    match size {
                        0 => State::Expect(b"\n\r\n", Next::End),
                        size => State::Expect(b"\n", Next::Data(size)),
                    }
                }
                State::Size(size) => State::Size(size + &digit(byte)),
                State::Data(left) => {
                    content.push(byte);
                    match left {
                        1 => State::Expect(b"\r\n", Next::Chunk),
                        left => State::Data(left - 1),
                    }
                }
                State::Expect(what, next) => {
                    assert_eq!(byte, what[0], "in front of {next:?}");
                    match (&what[1..], next) {
                        (b"", Next::Data(size)) => State::Data(size),
                        (b"", Next::Chunk) => State::Start,
                        (b"", Next::End) => State::Ended,
                        (rest, next) => State::Expect(rest, next),
                    }
                }
                State::Ended => panic!("nothing follows the last chunk"),
            }
        }
        content
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

fn digit(byte: u8) -> String {
    assert!(byte.is_ascii_hexdigit(), "no digit of a chunk's length: {byte:#x}");
    char::from(byte).to_string()
}
