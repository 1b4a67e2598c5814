//! Finds sequence numbers in the stream of a WebSocket or of events, however it is cut. Knows no sockets, and keeps no byte of what passes.

use crate::transport::Transport;

/// Digits of the number at the start of each body.
pub(crate) const DIGITS: usize = 12;

/// The longest header of a server's frame, of which nothing is masked; an event's is shorter.
const HEADER_BYTES_MAX: usize = 10;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const PING: u8 = 0x89;

/// What stands in a stream, told when all of it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A message with this number.
    Number(u64),
    Ping,
    /// What an event stream says beside its messages.
    Comment,
}

/// Where in a stream one client is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frames {
    transport: Transport,
    header: [u8; HEADER_BYTES_MAX],
    header_len: u8,
    /// What is still to come of a message whose header has come: bytes before its number, its digits, bytes after them.
    before: u64,
    digits: u8,
    after: u64,
    /// `None` in what is no message.
    number: Option<u64>,
}

impl Frames {
    pub(crate) fn of(transport: Transport) -> Self {
        let header = [0; HEADER_BYTES_MAX];
        Self { transport, header, header_len: 0, before: 0, digits: 0, after: 0, number: None }
    }

    /// Goes through `bytes`. A message's number stands `from_end` bytes before its end.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        from_end: usize,
        mut on_found: impl FnMut(Found) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        if self.transport == Transport::Polls {
            return Ok(());
        }
        while !bytes.is_empty() {
            if self.header_len == 0 {
                while let Some((found, len)) = whole_frame(self.transport, bytes, from_end)? {
                    on_found(found)?;
                    bytes = &bytes[len..];
                }
            }
            match bytes.split_first() {
                None => break,
                Some((&byte, rest)) if !self.is_in_payload() => {
                    bytes = rest;
                    self.take_header_byte(byte, from_end, &mut on_found)?;
                }
                Some(_) => bytes = self.take_payload(bytes, &mut on_found)?,
            }
        }
        Ok(())
    }

    fn is_in_payload(&self) -> bool {
        self.before + u64::from(self.digits) + self.after > 0
    }

    fn take_header_byte(
        &mut self,
        byte: u8,
        from_end: usize,
        on_found: &mut impl FnMut(Found) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        self.header[usize::from(self.header_len)] = byte;
        self.header_len += 1;
        let header = &self.header[..usize::from(self.header_len)];
        let Some(header) = Header::read(self.transport, header)? else { return Ok(()) };
        self.number = header.aside.is_none().then_some(0);
        if let Some(aside) = header.aside {
            self.after = header.payload;
            if self.after == 0 {
                self.header_len = 0;
            }
            return on_found(aside);
        }
        let before = header.payload.checked_sub(from_end as u64);
        self.before = before.ok_or("a message is shorter than its body")?;
        self.digits = DIGITS as u8;
        self.after = (from_end - DIGITS) as u64;
        Ok(())
    }

    fn take_payload<'a>(
        &mut self,
        bytes: &'a [u8],
        on_found: &mut impl FnMut(Found) -> Result<(), &'static str>,
    ) -> Result<&'a [u8], &'static str> {
        let skipped = self.before.min(bytes.len() as u64);
        self.before -= skipped;
        let (digits, rest) = bytes[skipped as usize..]
            .split_at_checked(self.digits.into())
            .unwrap_or((&bytes[skipped as usize..], &[]));
        if self.before == 0 {
            self.number = self.number.map(|start| number(start, digits)).transpose()?;
            self.digits -= digits.len() as u8;
        }
        let skipped = self.after.min(rest.len() as u64);
        self.after -= skipped;
        if !self.is_in_payload() {
            self.header_len = 0;
            self.number.take().map_or(Ok(()), |number| on_found(Found::Number(number)))?;
        }
        Ok(&rest[skipped as usize..])
    }
}

struct Header {
    /// What it is where it is no message.
    aside: Option<Found>,
    payload: u64,
    len: usize,
}

impl Header {
    /// `None` when more bytes are needed.
    fn read(transport: Transport, bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        match transport {
            Transport::WebSocket | Transport::Polls => Self::of_frame(bytes),
            Transport::Events => Self::of_chunk(bytes),
            // Nothing is published, so these are the session's own packets.
            Transport::SocketIo => {
                Ok(Self::of_frame(bytes)?
                    .map(|header| Self { aside: Some(Found::Comment), ..header }))
            }
        }
    }

    /// A chunk is an event or a comment. The first byte of its content, which tells the one from the other, is taken with
    /// its length; the line end behind its content is part of that.
    fn of_chunk(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        let Some(line_len) = bytes.iter().take(HEADER_BYTES_MAX).position(|&byte| byte == b'\n')
        else {
            let is_long = bytes.len() >= HEADER_BYTES_MAX;
            return if is_long { Err("a chunk without a length") } else { Ok(None) };
        };
        let Some(&first) = bytes.get(line_len + 1) else { return Ok(None) };
        let digits = bytes[..line_len].strip_suffix(b"\r");
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let content = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let content = content.filter(|&len| len > 0).ok_or("a chunk without content")?;
        let aside = (first != b'i').then_some(Found::Comment);
        Ok(Some(Self { aside, payload: content + 1, len: line_len + 2 }))
    }

    fn of_frame(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        let aside = match first {
            TEXT | BINARY => None,
            PING => Some(Found::Ping),
            _ => return Err("a frame that is neither a whole message nor a ping"),
        };
        let (payload, len) = match (second, rest) {
            (0..126, _) => (u64::from(second), 2),
            (126, &[a, b, ..]) => (u64::from(u16::from_be_bytes([a, b])), 4),
            (127, &[a, b, c, d, e, f, g, h, ..]) => {
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), HEADER_BYTES_MAX)
            }
            (128.., _) => return Err("a masked frame"),
            _ => return Ok(None),
        };
        Ok(Some(Self { aside, payload, len }))
    }
}

/// The frame at the start of `bytes` and its length, when all of it is there.
fn whole_frame(
    transport: Transport,
    bytes: &[u8],
    from_end: usize,
) -> Result<Option<(Found, usize)>, &'static str> {
    let Some(header) = Header::read(transport, bytes)? else { return Ok(None) };
    let Ok(payload) = usize::try_from(header.payload) else { return Ok(None) };
    let len = header.len + payload;
    if bytes.len() < len {
        return Ok(None);
    }
    if let Some(aside) = header.aside {
        return Ok(Some((aside, len)));
    }
    if payload < from_end {
        return Err("a message is shorter than its body");
    }
    let digits = &bytes[len - from_end..][..DIGITS];
    Ok(Some((Found::Number(number(0, digits)?), len)))
}

fn number(start: u64, digits: &[u8]) -> Result<u64, &'static str> {
    let add = |number: u64, &digit: &u8| {
        let is_digit = digit.is_ascii_digit();
        is_digit.then(|| number * 10 + u64::from(digit - b'0'))
    };
    digits.iter().try_fold(start, add).ok_or("a message without a number where its body starts")
}

/// Checks this file by itself, since a bench has no tests of its own: every cut of a stream must read the same.
pub(crate) fn self_check() {
    let mut stream = Vec::new();
    let mut expected = Vec::new();
    for (index, payload) in [14_usize, 125, 126, 300, 70_000].into_iter().enumerate() {
        stream.extend_from_slice(&[PING, 2, b'h', b'i', PING, 0, TEXT]);
        match payload {
            0..126 => stream.push(payload as u8),
            126..65_536 => stream.extend([&[126], &(payload as u16).to_be_bytes()[..]].concat()),
            _ => stream.extend([&[127], &(payload as u64).to_be_bytes()[..]].concat()),
        }
        stream.resize(stream.len() + payload - 14, b'9');
        stream.extend_from_slice(format!("{index:0DIGITS$}\"}}").as_bytes());
        expected.extend([Found::Ping, Found::Ping, Found::Number(index as u64)]);
    }
    check(Transport::WebSocket, &stream, DIGITS + 2, &expected);
    stream.clear();
    expected.clear();
    for index in 0..5 {
        let event =
            format!("id: e-{index}\ndata: {}{index:0DIGITS$}\n\n", "9".repeat(index * 9_000));
        for (chunk, found) in [(":\n\n", Found::Comment), (&event, Found::Number(index as u64))] {
            stream.extend_from_slice(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes());
            expected.push(found);
        }
    }
    check(Transport::Events, &stream, DIGITS + Transport::Events.suffix_bytes(), &expected);
}

fn check(transport: Transport, stream: &[u8], from_end: usize, expected: &[Found]) {
    for step in [1, 2, 3, 5, 7, 13, 64, 1000, stream.len()] {
        let mut frames = Frames::of(transport);
        let mut found = Vec::new();
        for bytes in stream.chunks(step) {
            let result = frames.feed(bytes, from_end, |what| {
                found.push(what);
                Ok(())
            });
            assert_eq!(result, Ok(()));
        }
        assert_eq!(found, expected, "in pieces of {step} bytes");
    }
}
