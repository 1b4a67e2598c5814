//! WebSocket clients: tungstenite's, and one on a plain socket that may do what no client should.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::http::{Connection, connect};

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
}

impl Raw {
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        Self::open_on(connect(address), path)
    }

    /// A client whose upgrade somebody else has answered.
    pub(crate) fn on(stream: TcpStream) -> Self {
        Self { stream, input: Vec::new(), taken: 0 }
    }

    pub(crate) fn open_on(stream: TcpStream, path: &str) -> Self {
        let mut connection = Connection::on(stream);
        connection.send(upgrade_request(path));
        Self::upgraded(connection)
    }

    /// As [`Self::open`], where the gateway may be gone.
    pub(crate) fn try_open(address: SocketAddr, path: &str) -> Option<Self> {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(super::PATIENCE)).ok()?;
        stream.write_all(upgrade_request(path).as_bytes()).ok()?;
        let mut connection = Connection::on(stream);
        let response = connection.response(true).ok()?;
        assert_eq!(response.status, 101);
        let (stream, input) = connection.into_parts();
        Some(Self { stream, input, taken: 0 })
    }

    /// Reads the answer to an upgrade that was sent.
    pub(crate) fn upgraded(mut connection: Connection) -> Self {
        let response = connection.response(true).unwrap();
        assert_eq!(response.status, 101);
        assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        let (stream, input) = connection.into_parts();
        Self { stream, input, taken: 0 }
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
            if let Some((frame, len)) = parse(&self.input[self.taken..]) {
                self.taken += len;
                return Ok(Some(frame));
            }
            self.input.drain(..self.taken);
            self.taken = 0;
            let mut piece = [0; 64 << 10];
            match self.stream.read(&mut piece)? {
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

fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(first & 0xf0, 0x80, "whole frames without reserved bits: {first:#x}");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (head, len) = match second {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())),
        len => (2, u64::from(len)),
    };
    let end = head + usize::try_from(len).unwrap();
    let payload = bytes.get(head..end)?.to_vec();
    Some((Frame { opcode: first & 15, payload }, end))
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
