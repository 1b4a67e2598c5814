//! WebSocket clients: tungstenite's, and one on a plain socket that may do what no client should.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};

use super::http::{Connection, connect};
use super::test_inflate::inflate;

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The lines of an upgrade but its first and Host.
pub(crate) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub(crate) fn upgrade_request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n")
}

/// As [`upgrade_request`], from who offers extensions, as browsers do.
pub(crate) fn offering_request(path: &str, offer: &str) -> String {
    let field = format!("Sec-WebSocket-Extensions: {offer}\r\n");
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}{field}\r\n")
}

/// What is agreed on with who offers it.
pub(crate) const DEFLATE_AGREED: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

pub(crate) type Tungstenite = tungstenite::WebSocket<TcpStream>;

/// tungstenite's client.
pub(crate) fn tungstenite(address: SocketAddr, path: &str) -> Tungstenite {
    let url = format!("ws://{address}{path}");
    let config = tungstenite::protocol::WebSocketConfig::default()
        .max_message_size(None)
        .max_frame_size(None);
    let stream = connect(address);
    tungstenite::client::client_with_config(url, stream, Some(config)).unwrap().0
}

/// A frame of the gateway's. It sends no fragments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    /// Whether it came deflated. The payload is inflated then.
    pub(crate) was_deflated: bool,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }

    /// The code of a close frame.
    #[track_caller]
    pub(crate) fn close_code(&self) -> u16 {
        assert_eq!(self.opcode, CLOSE, "{self:?}");
        u16::from_be_bytes([self.payload[0], self.payload[1]])
    }
}

/// A client on a plain socket.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    input: Vec<u8>,
    taken: usize,
    /// Whether deflating was agreed on.
    takes_deflated: bool,
}

impl Raw {
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        Self::open_on(connect(address), path)
    }

    /// A client whose upgrade somebody else has answered.
    pub(crate) fn on(stream: TcpStream) -> Self {
        Self { stream, input: Vec::new(), taken: 0, takes_deflated: false }
    }

    pub(crate) fn open_on(stream: TcpStream, path: &str) -> Self {
        let mut connection = Connection::on(stream);
        connection.send(upgrade_request(path));
        Self::upgraded(connection)
    }

    /// As [`Self::open`], with messages deflated.
    pub(crate) fn open_deflated(address: SocketAddr, path: &str) -> Self {
        let mut connection = Connection::open(address);
        connection.send(offering_request(path, "permessage-deflate; client_max_window_bits"));
        let client = Self::upgraded_with(connection);
        assert_eq!(client.1.as_deref(), Some(DEFLATE_AGREED));
        client.0
    }

    /// As [`Self::open`], where the gateway may be gone.
    pub(crate) fn try_open(address: SocketAddr, path: &str) -> Option<Self> {
        let mut stream = super::http::try_connect(address).ok()?;
        stream.write_all(upgrade_request(path).as_bytes()).ok()?;
        let mut connection = Connection::on(stream);
        let response = connection.response(true).ok()?;
        assert_eq!(response.status, 101);
        let (stream, input) = connection.into_parts();
        Some(Self { stream, input, taken: 0, takes_deflated: false })
    }

    /// Reads the answer to an upgrade that was sent.
    pub(crate) fn upgraded(connection: Connection) -> Self {
        let (client, extensions) = Self::upgraded_with(connection);
        assert_eq!(extensions, None, "nothing is agreed on that was not offered");
        client
    }

    /// Reads the answer to an upgrade that was sent, and which extensions were agreed on.
    pub(crate) fn upgraded_with(mut connection: Connection) -> (Self, Option<String>) {
        let response = connection.response(true).unwrap();
        assert_eq!(response.status, 101);
        assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        let extensions = response.header("sec-websocket-extensions").map(str::to_owned);
        let (stream, input) = connection.into_parts();
        let takes_deflated = extensions.is_some();
        (Self { stream, input, taken: 0, takes_deflated }, extensions)
    }

    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.send_bytes(&frame(opcode, true, payload)).unwrap();
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next frame; `None` at the gateway's FIN. A reset is an error.
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some((frame, len)) = parse(&self.input[self.taken..], self.takes_deflated) {
                self.taken += len;
                return Ok(Some(frame));
            }
            self.input.drain(..self.taken);
            self.taken = 0;
            let mut piece = [0; 64 << 10];
            match super::read(&mut self.stream, &mut piece)? {
                0 if self.input.is_empty() => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => self.input.extend_from_slice(&piece[..len]),
            }
        }
    }

    /// The next frame, which must come.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Frame {
        self.next().unwrap().unwrap()
    }

    /// The next message, pings answered.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Frame {
        loop {
            let frame = self.frame();
            match frame.opcode {
                PING => self.send(PONG, &frame.payload),
                PONG => {}
                _ => return frame,
            }
        }
    }

    /// Fails unless the next frames are a close with this code and FIN.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self, code: u16) {
        let frame = loop {
            let frame = self.frame();
            if !matches!(frame.opcode, PING | PONG) {
                break frame;
            }
        };
        assert_eq!(frame.close_code(), code);
        assert_eq!(self.next().unwrap(), None, "nothing follows a close frame");
    }
}

fn parse(bytes: &[u8], takes_deflated: bool) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let meaningless = if takes_deflated && first & 8 == 0 { 0x30 } else { 0x70 };
    let is_whole = first & (0x80 | meaningless) == 0x80;
    assert!(is_whole, "whole frames without bits that mean nothing: {first:#x}");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (head, len) = match second {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())),
        len => (2, u64::from(len)),
    };
    let end = head + usize::try_from(len).unwrap();
    let payload = bytes.get(head..end)?;
    let was_deflated = first & 0x40 != 0;
    let payload = if was_deflated { inflate(payload) } else { payload.to_vec() };
    Some((Frame { opcode: first & 15, was_deflated, payload }, end))
}

/// A client's frame, masked.
pub(crate) fn frame(opcode: u8, is_final: bool, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x5a, 0xc3, 0x11, 0x9e];
    let mut bytes = vec![opcode | u8::from(is_final) << 7];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}
