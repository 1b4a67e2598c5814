//! Writes to standard streams that may be full, closed or non-blocking. Knows nothing of what it
//! writes.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Between two tries on a standard error that someone made non-blocking.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// A pipe that is ready for writing takes this much without blocking (POSIX: PIPE_BUF).
const PIECE_BYTES: usize = 4096;

/// Writes `text` to a standard stream, however long that takes: it is the answer that the user asked for. Errors are
/// dropped, since the stream that would show them has failed.
pub(crate) fn write_answer(stream: BorrowedFd<'_>, text: &str) {
    if let Ok(owned) = stream.try_clone_to_owned() {
        Output::new(File::from(owned)).write_line(text);
    }
}

/// Writes `text` to a standard stream that may have no reader: gives up once the stream has taken nothing for `timeout`.
/// While there is room nothing is dropped, however busy the machine is. Errors are dropped as in [`write_answer`].
pub(crate) fn write_within(timeout: Duration, stream: BorrowedFd<'_>, text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() && is_ready_within(timeout, stream) {
        match rustix::io::write(stream, &rest[..rest.len().min(PIECE_BYTES)]) {
            Ok(0) => return,
            Ok(written) => rest = &rest[written..],
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => return,
        }
    }
}

fn is_ready_within(timeout: Duration, stream: BorrowedFd<'_>) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now()));
        let mut streams = [PollFd::from_borrowed_fd(stream, PollFlags::OUT)];
        match poll(&mut streams, left.ok().as_ref()) {
            Ok(count) => return count > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Whole lines to an output that may fail, hang or be non-blocking.
pub(crate) struct Output<W> {
    output: W,
    /// The last line could not be written to its end.
    is_torn: bool,
}

impl<W: Write> Output<W> {
    pub(crate) fn new(output: W) -> Self {
        Self { output, is_torn: false }
    }

    /// Writes a whole line, however long that takes; false when it is lost.
    pub(crate) fn write_line(&mut self, line: &str) -> bool {
        if self.is_torn && self.write_all(b"\n").is_err() {
            return false;
        }
        self.is_torn = false;
        match self.write_all(line.as_bytes()) {
            Ok(()) => true,
            Err(written) => {
                self.is_torn = written > 0;
                false
            }
        }
    }

    /// Like [`Write::write_all`], but waits where the output is non-blocking, and says how far it
    /// came.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.output.write(&bytes[written..]) {
                Ok(0) => return Err(written),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(RETRY_INTERVAL);
                }
                Err(_) => return Err(written),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// Answers writes from a list, the last first; then takes everything.
    struct Moody {
        answers: Vec<io::Result<usize>>,
        taken: Vec<u8>,
    }

    impl Write for Moody {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.answers.pop().unwrap_or(Ok(bytes.len()))?;
            self.taken.extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn moody(mut answers: Vec<io::Result<usize>>) -> Output<Moody> {
        answers.reverse();
        Output::new(Moody { answers, taken: Vec::new() })
    }

    fn error(kind: io::ErrorKind) -> io::Result<usize> {
        Err(kind.into())
    }

    #[test]
    fn short_writes_interruptions_and_would_block_lose_nothing() {
        let mut output = moody(vec![
            Ok(1),
            error(io::ErrorKind::Interrupted),
            Ok(1),
            error(io::ErrorKind::WouldBlock),
        ]);
        assert!(output.write_line("line\n"));
        assert_eq!(output.output.taken, b"line\n");
    }

    #[test]
    fn a_torn_line_does_not_tear_the_next() {
        let mut output = moody(vec![Ok(2), error(io::ErrorKind::BrokenPipe)]);
        assert!(!output.write_line("first\n"));
        assert!(output.write_line("second\n"));
        assert!(output.write_line("third\n"));
        assert_eq!(output.output.taken, b"fi\nsecond\nthird\n");
    }

    #[test]
    fn an_output_that_takes_nothing_is_given_up() {
        assert!(!moody(vec![Ok(0)]).write_line("line\n"));
    }

    #[test]
    fn a_stream_without_a_reader_does_not_hold_its_writer() {
        let (_reader, writer) = io::pipe().unwrap();
        write_within(Duration::from_millis(20), writer.as_fd(), &"x".repeat(1 << 20));
    }

    #[test]
    fn what_a_pipe_has_room_for_is_written_also_when_there_is_no_time() {
        let (mut reader, writer) = io::pipe().unwrap();
        write_within(Duration::ZERO, writer.as_fd(), &"x".repeat(10_000));
        drop(writer);
        let mut text = String::new();
        io::Read::read_to_string(&mut reader, &mut text).unwrap();
        assert_eq!(text.len(), 10_000);
    }

    #[test]
    fn an_answer_waits_for_a_slow_reader() {
        let (mut reader, writer) = io::pipe().unwrap();
        let writing = thread::spawn(move || write_answer(writer.as_fd(), &"x".repeat(1 << 20)));
        let mut text = String::new();
        io::Read::read_to_string(&mut reader, &mut text).unwrap();
        writing.join().unwrap();
        assert_eq!(text.len(), 1 << 20);
    }
}
