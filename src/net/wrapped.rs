//! A stream of the host's own, such as TLS over a socket: bytes may wait inside it while its descriptor is silent. Knows no
//! protocol.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::Shutdown;

use super::ByteStream;
use crate::hooks::Guarded;

/// What is written to it at once, and kept while it takes nothing: a TLS record.
const WRITE_BYTES_MAX: usize = 16 << 10;

/// What the host's stream has to be able to do.
pub(crate) trait Duplex: Read + Write + Send {
    /// Says that nothing more will be written, as far as the stream has a word for it: what flushing sends then.
    fn end(&mut self);
}

/// A stream, and what ends it.
pub(crate) struct Ending<S, F> {
    stream: S,
    end: Option<F>,
}

impl<S, F> Ending<S, F> {
    pub(crate) fn new(stream: S, end: F) -> Self {
        Self { stream, end: Some(end) }
    }
}

impl<S: Read, F> Read for Ending<S, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl<S: Write, F> Write for Ending<S, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<S: Read + Write + Send, F: FnOnce(&mut S) + Send> Duplex for Ending<S, F> {
    fn end(&mut self) {
        if let Some(end) = self.end.take() {
            end(&mut self.stream);
        }
    }
}

/// A stream of the host's.
pub(crate) struct Wrapped {
    stream: Guarded<Box<dyn Duplex>>,
    /// The socket below it, by a descriptor that is ours: the poller must never have one that the host could close.
    socket: OwnedFd,
    may_hold_input: bool,
    /// Whether the stream may hold bytes that it was given.
    needs_flush: bool,
    /// Bytes that the stream did not take. It is to be offered the same again: that is how TLS wants it.
    refused: Vec<u8>,
    /// Whether the stream was told that nothing more will be written.
    has_ended: bool,
}

impl Wrapped {
    /// Takes a stream and a descriptor of the socket below it, which does not block.
    pub(crate) fn new(socket: OwnedFd, stream: Box<dyn Duplex>) -> Self {
        Self {
            stream: Guarded::new("stream", stream),
            socket,
            // It may have read ahead before it came here.
            may_hold_input: true,
            needs_flush: false,
            refused: Vec::new(),
            has_ended: false,
        }
    }

    /// Calls what is the host's; where it panics, the connection fails. Of its errors only the kind is kept: the rest is
    /// the host's, too.
    fn call<T>(&mut self, call: impl FnOnce(&mut dyn Duplex) -> io::Result<T>) -> io::Result<T> {
        let call = |stream: &mut Box<dyn Duplex>| call(&mut **stream).map_err(|error| error.kind());
        match self.stream.call(call) {
            Ok(outcome) => Ok(outcome?),
            Err(_) => {
                // It is not asked for its last word either.
                self.has_ended = true;
                Err(ErrorKind::Other.into())
            }
        }
    }

    /// Offers again what was refused.
    fn write_refused(&mut self) -> io::Result<()> {
        while !self.refused.is_empty() {
            let refused = std::mem::take(&mut self.refused);
            match self.call(|stream| stream.write(&refused)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => self.refused = refused[len..].to_vec(),
                Err(error) => {
                    self.refused = refused;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Has the stream say its last word, behind all that was written.
    fn end(&mut self) -> io::Result<()> {
        if !self.has_ended {
            self.flush()?;
            self.has_ended = true;
            self.needs_flush = true;
            self.call(|stream| {
                stream.end();
                Ok(())
            })?;
        }
        self.flush()
    }
}

impl AsFd for Wrapped {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl ByteStream for Wrapped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let outcome = self.call(|stream| stream.read(buffer));
        self.may_hold_input = matches!(outcome, Ok(len) if len > 0);
        match outcome {
            // How TLS says that the other end went without a goodbye.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            outcome => outcome,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_refused()?;
        let bytes = &bytes[..bytes.len().min(WRITE_BYTES_MAX)];
        self.needs_flush = true;
        match self.call(|stream| stream.write(bytes)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.refused = bytes.to_vec();
                Ok(bytes.len())
            }
            outcome => outcome,
        }
    }

    fn needs_flush(&self) -> bool {
        self.needs_flush
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_refused()?;
        self.call(|stream| stream.flush())?;
        self.needs_flush = false;
        Ok(())
    }

    fn may_hold_input(&self) -> bool {
        self.may_hold_input
    }

    fn held_bytes(&self) -> usize {
        self.refused.capacity()
    }

    fn say_goodbye(&mut self) {
        let _ = self.end();
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.end()?;
        Ok(rustix::net::shutdown(&self.socket, Shutdown::Write)?)
    }
}

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped").field("socket", &self.socket).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    /// Takes and gives a few bytes at a time, keeps them for itself, and wants to be offered again what it refused.
    struct Stubborn {
        socket: UnixStream,
        turns: usize,
        refused: Option<Vec<u8>>,
        kept: Vec<u8>,
    }

    impl Read for Stubborn {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.socket.read(&mut buffer[..3])
        }
    }

    impl Write for Stubborn {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.turns += 1;
            if let Some(refused) = &self.refused {
                assert!(bytes.starts_with(refused), "not what was offered before");
            }
            if self.turns % 3 == 1 {
                self.refused = Some(bytes.to_vec());
                return Err(ErrorKind::WouldBlock.into());
            }
            self.refused = None;
            let len = bytes.len().min(5);
            self.kept.extend_from_slice(&bytes[..len]);
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.turns += 1;
            if self.turns.is_multiple_of(2) {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.socket.write_all(&self.kept)?;
            self.kept.clear();
            Ok(())
        }
    }

    #[test]
    fn what_is_refused_is_offered_again_whatever_comes_next() {
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let socket = near.try_clone().unwrap();
        let stubborn = Stubborn { socket: near, turns: 0, refused: None, kept: Vec::new() };
        let end = |stubborn: &mut Stubborn| stubborn.kept.extend(b"the end");
        let stream = Box::new(Ending::new(stubborn, end));
        let mut wrapped = Wrapped::new(socket.into(), stream);
        let text: Vec<u8> = (0..200).collect();
        let mut sent = 0;
        while sent < text.len() || wrapped.needs_flush() {
            if wrapped.needs_flush() {
                let _ = wrapped.flush();
                continue;
            }
            sent += wrapped.write(&text[sent..(sent + 17).min(text.len())]).unwrap();
        }
        let mut got = vec![0; text.len()];
        far.read_exact(&mut got).unwrap();
        assert_eq!(got, text);
        far.write_all(b"12345").unwrap();
        let mut buffer = [0; 10];
        assert_eq!(wrapped.read(&mut buffer).unwrap(), 3);
        assert!(wrapped.may_hold_input(), "what is inside, the descriptor does not tell");
        assert_eq!(wrapped.read(&mut buffer).unwrap(), 2);
        assert!(wrapped.may_hold_input() && wrapped.read(&mut buffer).is_err());
        assert!(!wrapped.may_hold_input());
        // Its last word comes behind what was refused, and is sent before the socket's end.
        while wrapped.refused.is_empty() {
            assert_eq!(wrapped.write(b"x").unwrap(), 1);
        }
        while let Err(error) = wrapped.shutdown_write() {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        let mut rest = String::new();
        far.read_to_string(&mut rest).unwrap();
        let written = rest.strip_suffix("the end").unwrap();
        assert!(!written.is_empty() && written.bytes().all(|byte| byte == b'x'), "{rest}");
    }

    #[test]
    fn a_stream_that_panics_is_a_connection_that_fails() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                panic!("on purpose")
            }
        }
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                panic!("on purpose")
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (near, _far) = UnixStream::pair().unwrap();
        let end = |_: &mut Broken| unreachable!("nobody asks what is broken");
        let mut wrapped = Wrapped::new(near.into(), Box::new(Ending::new(Broken, end)));
        assert_eq!(wrapped.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::Other);
        assert_eq!(wrapped.write(b"x").unwrap_err().kind(), ErrorKind::Other);
        assert!(wrapped.shutdown_write().is_ok());
    }
}
