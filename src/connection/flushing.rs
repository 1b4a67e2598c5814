//! Writes what a connection has to say: as much as the socket takes and a visit may. Knows no poller.

use std::io::ErrorKind;
use std::time::Instant;

use super::{Connection, Context, Phase, State, Step, is_transient, reason_of};
use crate::error::CloseReason;
use crate::metrics::Transport;
use crate::net::ByteStream;
use crate::session::Output;

impl<S: ByteStream> Connection<S> {
    /// Writes until there is nothing more, the socket is full, or others should come first.
    pub(super) fn flush(&mut self, now: Instant, context: &mut Context) -> Step {
        self.flush_within(now, context, context.budget.visit_bytes_max)
    }

    pub(super) fn flush_within(
        &mut self,
        now: Instant,
        context: &mut Context,
        bytes_max: usize,
    ) -> Step {
        let mut visit = Step::IDLE;
        loop {
            // What a stream of the host keeps for itself has not left.
            if self.stream.needs_flush() && !self.flush_stream(now, context) {
                return visit;
            }
            let (date, shared) = (context.date, context.shared());
            let output = match &mut self.state {
                State::Http(http) => http.output(),
                State::Session(session) => session.output(shared, date),
                State::Lingering { .. } | State::Closed => return visit,
            };
            let room = bytes_max - visit.bytes_sent;
            let bytes = match output {
                Output::Bytes(bytes) if room > 0 => &bytes[..bytes.len().min(room)],
                Output::Bytes(_) | Output::Later => {
                    // It is our budget that ended, not the socket's room: that is nobody's lag.
                    self.set_stalled(None, context);
                    return Step { is_cut: true, ..visit };
                }
                Output::Idle => {
                    self.set_stalled(None, context);
                    return visit;
                }
                Output::Finished(reason) => {
                    self.say_goodbye(now, reason, context);
                    return visit;
                }
                Output::NextRequest => {
                    self.set_stalled(None, context);
                    let is_cut = self.go_on_with_http(now, context);
                    return Step { is_cut, ..visit };
                }
            };
            let wanted = bytes.len();
            match self.stream.write(bytes) {
                Ok(sent) => {
                    visit.bytes_sent += sent;
                    self.note_sent(now, sent, context);
                    // A short write means that the socket is full; asking it again would only say so. A stream of the
                    // host's is asked by flushing it.
                    if sent < wanted && !self.stream.needs_flush() {
                        self.stall(now, context);
                        return visit;
                    }
                    if let Some(until) = &mut self.stalled_until {
                        *until = now + context.limits.write_timeout;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.stalled_until.is_none() {
                        self.stall(now, context);
                    }
                    return visit;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.close(reason_of(error.kind()), context);
                    return visit;
                }
            }
        }
    }

    /// Whether the stream has given everything that it was given to the socket.
    fn flush_stream(&mut self, now: Instant, context: &mut Context) -> bool {
        match self.stream.flush() {
            Ok(()) => return true,
            Err(error) if is_transient(error.kind()) => {
                if self.stalled_until.is_none() {
                    self.stall(now, context);
                }
            }
            Err(error) => self.close(reason_of(error.kind()), context),
        }
        false
    }

    /// A poll is answered, and its connection is one for requests again. Returns whether there is one already.
    fn go_on_with_http(&mut self, now: Instant, context: &mut Context) -> bool {
        if context.admission.phase == Phase::Draining {
            self.say_goodbye(now, CloseReason::Shutdown, context);
            return false;
        }
        let State::Session(session) = std::mem::replace(&mut self.state, State::Closed) else {
            return false;
        };
        let counted_as = session.counts_as();
        match session.into_http(now, &context.timing) {
            Ok(http) => {
                context.metrics.client_changed(counted_as, Transport::Http);
                self.announce_end(counted_as, CloseReason::Done, context);
                let has_request = http.has_unread_input();
                self.state = State::Http(http);
                has_request
            }
            Err(session) => {
                self.state = State::Session(session);
                false
            }
        }
    }

    fn note_sent(&mut self, now: Instant, sent: usize, context: &mut Context) {
        let was_stalled = self.stalled_until.is_some();
        match &mut self.state {
            State::Http(http) => {
                http.advance(now, sent, &context.timing);
                context.metrics.delivered(Transport::Http, 0, sent);
            }
            State::Session(session) => {
                let messages = session.advance(now, &mut context.feeds, sent, &context.timing);
                context.metrics.delivered(session.transport(), messages, sent);
                if was_stalled {
                    let timing = context.timing;
                    session.note_progress(now, &timing, context.shared());
                }
            }
            State::Lingering { .. } | State::Closed => {}
        }
    }

    pub(super) fn stall(&mut self, now: Instant, context: &mut Context) {
        self.set_stalled(Some(now + context.limits.write_timeout), context);
    }

    fn set_stalled(&mut self, until: Option<Instant>, context: &mut Context) {
        if self.stalled_until.is_some() != until.is_some()
            && let State::Session(session) = &mut self.state
        {
            session.set_blocked(&mut context.feeds, until.is_some());
        }
        self.stalled_until = until;
    }
}
