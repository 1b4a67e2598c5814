//! Lines of standard input as messages. Knows no sockets.

use std::io::{self, BufRead};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use zmq2ws_examples::process::ATTENTION;

use crate::fan_in::Feeder;
use crate::lines::{Budget, Lines};
use crate::pace::Pace;
use crate::say;

/// Each line is a message: the topic, a space, the body. Returns how many were cut.
pub(crate) fn publish(
    feeder: &Feeder,
    pace: &Pace,
    stop: &AtomicBool,
    line_bytes_max: usize,
) -> u64 {
    let pieces = read();
    let mut lines = Lines::with_limit(line_bytes_max, &Budget::with_limit(line_bytes_max));
    let mut send = |line: &[u8]| {
        let mut fields = line.splitn(2, |&byte| byte == b' ');
        let [topic, body] = [(); 2].map(|()| fields.next().unwrap_or_default());
        pace.next().is_some() && feeder.send(topic, body)
    };
    while !stop.load(Ordering::Relaxed) {
        match pieces.recv_timeout(ATTENTION) {
            Ok(Ok(piece)) if lines.push(&piece, &mut send) => {}
            Ok(Ok(_)) => break,
            Ok(Err(error)) => {
                say(&format!("cannot read standard input: {error}"));
                break;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                if !lines.is_empty() {
                    lines.finish(&mut send);
                }
                break;
            }
        }
    }
    lines.take_cut_lines()
}

/// On a thread of its own: nothing interrupts a read that waits for a terminal, not even a signal.
fn read() -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::sync_channel(16);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let piece = stdin.fill_buf().map(<[u8]>::to_vec);
            match piece {
                Ok(piece) if piece.is_empty() => return,
                Ok(piece) => {
                    stdin.consume(piece.len());
                    if sender.send(Ok(piece)).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let _ = sender.send(Err(error));
                    return;
                }
            }
        }
    });
    receiver
}
