//! A request that waits for its answer: the connection's HTTP while it does, and the answer while it leaves. What comes
//! behind the request is kept for later. Knows no socket and no clock, and not what is waited for.

use std::time::Instant;

use super::http::HeldRequest;
use super::{Http, Output, Timing};
use crate::error::CloseReason;
use crate::feed::{Answer, Feeds};
use crate::http::{Date, Exchange, write_late_head};
use crate::memory::Memory;

/// Pipelined requests are read up to here while one waits. With more the client is not listened to before it has its
/// answer.
const HELD_BYTES_MAX: usize = 4 << 10;

/// An answer up to this size goes out in one write with its head: copying it costs less than a second write does.
const INLINE_BYTES_MAX: usize = 4 << 10;

/// One request.
#[derive(Debug)]
pub(super) struct Held {
    http: Box<Http>,
    exchange: Exchange,
    /// The page's origin, for the answer's head.
    origin: Option<Box<[u8]>>,
    answer: State,
    /// Set where the connection ends with the answer.
    end: Option<CloseReason>,
}

#[derive(Debug)]
enum State {
    Waiting,
    Leaving(Leaving),
    Over,
}

#[derive(Debug)]
struct Leaving {
    /// With what comes before the content, and with the content behind it where that is small.
    head: Vec<u8>,
    content: Option<Answer>,
    tail: &'static [u8],
    sent: usize,
    /// How many messages it has, until it begins to leave.
    messages: u64,
}

/// What an answer has behind its head.
#[derive(Debug, Default)]
pub(super) struct Content<'a> {
    pub(super) content_type: &'static str,
    /// The first of its bytes.
    pub(super) start: &'a [u8],
    pub(super) answer: Option<Answer>,
    /// The last of its bytes.
    pub(super) tail: &'static [u8],
}

impl Held {
    /// A request that came over `http`, and waits.
    pub(super) fn new(http: Box<Http>, request: HeldRequest) -> Self {
        let HeldRequest { exchange, origin } = request;
        Self { http, exchange, origin, answer: State::Waiting, end: None }
    }

    pub(super) fn handle_input(&mut self, input: &[u8]) {
        self.http.hold_input(input);
    }

    /// Counts what is kept against `memory`. Returns whether that is too much.
    pub(super) fn charge_input(&mut self, memory: &Memory) -> bool {
        self.http.charge_input(memory)
    }

    /// Whether the client is to be listened to: it may give up waiting, but not what is under way.
    pub(super) fn wants_input(&self) -> bool {
        self.is_waiting() && self.http.held_bytes() < HELD_BYTES_MAX
    }

    /// Whether it can be answered still.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.answer, State::Waiting)
    }

    /// Whether everything was sent.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.answer, State::Over)
    }

    /// The connection ends with the answer.
    pub(super) fn end_with(&mut self, reason: CloseReason) {
        self.end.get_or_insert(reason);
    }

    /// Answers the request.
    pub(super) fn give(&mut self, feeds: &mut Feeds, date: Date, content: Content<'_>) {
        let Content { content_type, start, answer, tail } = content;
        let bytes = answer.as_ref().map_or(&[][..], |answer| feeds.answer_bytes(answer));
        let len = start.len() + bytes.len() + tail.len();
        let keep_alive = self.exchange.keep_alive && self.end.is_none();
        let exchange = Exchange { keep_alive, ..self.exchange };
        let mut head = Vec::new();
        write_late_head(&mut head, exchange, content_type, len, self.origin.as_deref());
        date.stamp(&mut head);
        head.extend_from_slice(start);
        let messages = answer.as_ref().map_or(0, |answer| answer.messages);
        let is_inline = bytes.len() <= INLINE_BYTES_MAX;
        if is_inline {
            head.extend_from_slice(bytes);
        }
        let content = match answer {
            Some(answer) if is_inline => {
                feeds.end_answer(&answer);
                None
            }
            content => content,
        };
        self.answer = State::Leaving(Leaving { head, content, tail, sent: 0, messages });
    }

    pub(super) fn output<'a>(&'a self, feeds: &'a Feeds) -> Output<'a> {
        match &self.answer {
            State::Waiting => Output::Idle,
            State::Leaving(leaving) => Output::Bytes(leaving.rest(feeds)),
            State::Over => match self.end {
                Some(reason) => Output::Finished(reason),
                None if self.exchange.keep_alive => Output::NextRequest,
                None => Output::Finished(CloseReason::Done),
            },
        }
    }

    /// Notes that `sent` bytes more have left, and returns how many messages began with them.
    pub(super) fn advance(&mut self, feeds: &mut Feeds, sent: usize) -> u64 {
        let State::Leaving(leaving) = &mut self.answer else { return 0 };
        leaving.sent += sent;
        let begun = std::mem::take(&mut leaving.messages);
        if leaving.rest(feeds).is_empty() {
            self.end(feeds);
        }
        begun
    }

    pub(super) fn set_blocked(&self, feeds: &mut Feeds, is_blocked: bool) {
        if let State::Leaving(Leaving { content: Some(answer), .. }) = &self.answer {
            feeds.set_answer_blocked(answer, is_blocked);
        }
    }

    pub(super) fn end(&mut self, feeds: &mut Feeds) {
        if let State::Leaving(Leaving { content: Some(answer), .. }) =
            std::mem::replace(&mut self.answer, State::Over)
        {
            feeds.end_answer(&answer);
        }
    }

    /// The connection goes on with the next request, or waits for one.
    pub(super) fn into_http(self, now: Instant, date: Date, timing: &Timing) -> Box<Http> {
        let mut http = self.http;
        http.go_on(now, date, timing);
        http
    }
}

impl Leaving {
    fn rest<'a>(&'a self, feeds: &'a Feeds) -> &'a [u8] {
        let content = self.content.as_ref().map_or(&[][..], |answer| feeds.answer_bytes(answer));
        let mut sent = self.sent;
        for piece in [&self.head, content, self.tail] {
            if sent < piece.len() {
                return &piece[sent..];
            }
            sent -= piece.len();
        }
        &[]
    }
}
