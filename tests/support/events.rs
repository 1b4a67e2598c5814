//! A client of Server-Sent Events on a plain socket, which reads strictly.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};

use super::http::{Connection, Response, connect};
pub(crate) use super::test_events::Event;
use super::test_events::{Chunks, Reader};

/// A client that got its stream.
pub(crate) struct Events {
    pub(crate) head: Response,
    pub(crate) stream: TcpStream,
    /// `None` where the stream ends with its connection.
    chunks: Option<Chunks>,
    pub(crate) reader: Reader,
    ready: VecDeque<Event>,
}

impl Events {
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        Self::open_on(connect(address), path, "")
    }

    /// With header lines of its own.
    pub(crate) fn open_on(stream: TcpStream, path: &str, headers: &str) -> Self {
        let mut connection = Connection::on(stream);
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
        Self::opened(connection)
    }

    /// As [`Self::open_on`], where the gateway may be gone.
    pub(crate) fn try_open(address: SocketAddr, path: &str, headers: &str) -> Option<Self> {
        let mut stream = super::http::try_connect(address).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut connection = Connection::on(stream);
        let head = connection.response(true).ok()?;
        Some(Self::with_head(connection, head))
    }

    /// Reads the answer to a request that was sent.
    #[track_caller]
    pub(crate) fn opened(mut connection: Connection) -> Self {
        let head = connection.response(true).unwrap();
        Self::with_head(connection, head)
    }

    #[track_caller]
    fn with_head(connection: Connection, head: Response) -> Self {
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        let chunks = head.header("transfer-encoding").map(|coding| {
            assert_eq!(coding, "chunked");
            Chunks::default()
        });
        let (stream, input) = connection.into_parts();
        let ready = VecDeque::new();
        let mut events = Self { head, stream, chunks, reader: Reader::default(), ready };
        events.take(&input);
        events
    }

    fn take(&mut self, bytes: &[u8]) {
        let content = match &mut self.chunks {
            Some(chunks) => &chunks.read(bytes),
            None => bytes,
        };
        self.ready.extend(self.reader.read(content));
    }

    /// Reads once; false at the gateway's FIN, which must not come before the stream's own end.
    pub(crate) fn read(&mut self) -> io::Result<bool> {
        let mut piece = [0; 64 << 10];
        let len = super::read(&mut self.stream, &mut piece)?;
        if len == 0 && self.chunks.as_ref().is_some_and(|chunks| !chunks.has_ended()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.take(&piece[..len]);
        Ok(len > 0)
    }

    /// The next event; `None` at the end. A reset is an error, and so is an end in the middle of a chunk.
    pub(crate) fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if !self.read()? {
                return Ok(None);
            }
        }
    }

    /// The next event, which must come.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Event {
        self.next().unwrap().unwrap()
    }

    /// The data of the next event, which is a message.
    #[track_caller]
    pub(crate) fn message(&mut self) -> String {
        let event = self.event();
        assert_eq!(event.name, "message", "{event:?}");
        event.data
    }

    /// Reads until so many comments have come.
    #[track_caller]
    pub(crate) fn wait_for_comments(&mut self, count: usize) {
        while self.reader.comments < count {
            assert!(self.read().unwrap(), "the stream ended");
        }
    }

    /// Fails unless the stream ends here, as it should.
    #[track_caller]
    pub(crate) fn assert_ended(&mut self) {
        assert_eq!(self.next().unwrap(), None);
    }
}
