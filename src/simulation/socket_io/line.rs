//! One of the connections that a simulated page has: requests and answers, or a WebSocket.

use crate::simulation::client::take_frame;
use crate::simulation::pipe::SharedPipe;
use crate::test_random::Random;

/// An answer to a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: String,
}

/// A frame of the gateway's.
#[derive(Debug)]
pub(super) enum Frame {
    Text(String),
    Pong,
    Close(u16),
}

/// The client's end of a connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) pipe: SharedPipe,
    received: Vec<u8>,
}

impl Line {
    pub(super) fn new(pipe: SharedPipe) -> Self {
        Self { pipe, received: Vec::new() }
    }

    pub(super) fn send(&self, bytes: &[u8]) {
        self.pipe.borrow_mut().to_server.extend(bytes);
    }

    /// Reads at most so much; returns how much it was.
    pub(super) fn read(&mut self, max: usize) -> usize {
        let mut pipe = self.pipe.borrow_mut();
        let len = pipe.to_client.len().min(max);
        self.received.extend(pipe.to_client.drain(..len));
        len
    }

    /// Whether nothing will come any more.
    pub(super) fn has_ended(&self) -> bool {
        let pipe = self.pipe.borrow();
        pipe.is_reset || (pipe.server_ended && pipe.to_client.is_empty())
    }

    /// Ends it as a program does that closes its socket, or as one that is killed.
    pub(super) fn hang_up(self, random: &mut Random) {
        let mut pipe = self.pipe.borrow_mut();
        if random.chance(2) {
            pipe.is_reset = true;
        } else {
            pipe.client_ended = true;
            // Nobody reads it, but the system takes it.
            pipe.room_bytes = usize::MAX / 2;
        }
    }

    /// The next answer that is whole. That to an upgrade has no content.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        let head_len = self.received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&self.received[..head_len]).unwrap();
        let status: u16 = head.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let content_len = match status {
            101 => 0,
            _ => length.expect("every answer says its length").parse::<usize>().unwrap(),
        };
        let content = self.received.get(head_len..head_len + content_len)?;
        let text = String::from_utf8(content.to_vec()).unwrap();
        self.received.drain(..head_len + content_len);
        Some(Answer { status, text })
    }

    /// The next frame that is whole.
    pub(super) fn frame(&mut self) -> Option<Frame> {
        let (first, payload, rest) = take_frame(&self.received)?;
        let frame = match first {
            0x81 => Frame::Text(String::from_utf8(payload.to_vec()).unwrap()),
            0x8a => Frame::Pong,
            0x88 => Frame::Close(payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code))),
            other => panic!("no such frame is ever sent: {other:#x}"),
        };
        let taken = self.received.len() - rest.len();
        self.received.drain(..taken);
        Some(frame)
    }

    /// Whether something came that is not whole yet.
    pub(super) fn is_torn(&self) -> bool {
        !self.received.is_empty()
    }
}
