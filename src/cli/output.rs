//! Writes to standard streams that may be full, closed or non-blocking. Knows nothing of what it
//! writes.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Between two tries on a standard error that someone made non-blocking.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Writes `text` to a standard stream, but waits no longer than `timeout` for a pipe that nobody
/// reads. Errors are nobody's to hear: the stream that would tell them is the one that failed.
pub(crate) fn write_within(timeout: Duration, stream: BorrowedFd<'_>, text: String) {
    let Ok(owned) = stream.try_clone_to_owned() else { return };
    let (done, is_done) = mpsc::channel();
    let write = move || {
        Output::new(File::from(owned)).write_line(&text);
        let _ = done.send(());
    };
    if thread::Builder::new().name("zmq2ws-say".into()).spawn(write).is_ok() {
        let _ = is_done.recv_timeout(timeout);
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
    fn a_stream_that_nobody_reads_does_not_hold_its_writer() {
        let (_reader, writer) = io::pipe().unwrap();
        write_within(Duration::from_millis(20), writer.as_fd(), "x".repeat(1 << 20));
    }
}
