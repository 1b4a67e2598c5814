//! A request that waits for its answer: the connection's HTTP while it does, and the answer while it leaves. What comes
//! behind the request is kept for later. Knows no socket and no clock, and not what is waited for.

use std::time::Instant;

use super::{Http, Output, Timing};
use crate::error::CloseReason;
use crate::feed::{Answer, Feeds};
use crate::http::{Date, Exchange, HeldRequest, write_late_head};
use crate::memory::{Charge, Memory};

/// Pipelined requests are read up to here while one waits. With more the client is not listened to before it has its
/// answer.
const BEHIND_BYTES_MAX: usize = 4 << 10;

/// How an answer begins goes out in one write with its head up to this size: copying it costs less than a second write.
const JOINED_BYTES_MAX: usize = 4 << 10;

/// One request. What a waiting one does not need is in boxes: there may be many thousands.
#[derive(Debug)]
pub(super) struct Held {
    request: HeldRequest,
    /// What came behind the request, if anything did.
    behind: Option<Box<Behind>>,
    answer: State,
    /// Set where the connection ends with the answer.
    end: Option<CloseReason>,
}

/// Input that is looked at later.
#[derive(Debug, Default)]
struct Behind {
    /// Never empty.
    input: Vec<u8>,
    /// Counts it against `--max-memory`.
    charge: Option<Charge>,
}

#[derive(Debug)]
enum State {
    Waiting,
    Leaving(Box<Leaving>),
    Over,
}

#[derive(Debug)]
struct Leaving {
    /// With the first bytes of the content, and with the last where nothing is in between.
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
    /// A request that waits, with the `input` that came behind it.
    pub(super) fn new(request: HeldRequest, input: &[u8]) -> Self {
        let mut held = Self { request, behind: None, answer: State::Waiting, end: None };
        held.handle_input(input);
        held
    }

    pub(super) fn handle_input(&mut self, input: &[u8]) {
        if !input.is_empty() {
            self.behind.get_or_insert_default().input.extend_from_slice(input);
        }
    }

    /// Counts what is kept against `memory`. Returns whether that is too much.
    pub(super) fn charge_input(&mut self, memory: &Memory) -> bool {
        let Some(behind) = &mut self.behind else { return false };
        let bytes = behind.input.capacity();
        behind.charge.get_or_insert_with(|| memory.charge(0)).resize(bytes);
        memory.is_exceeded()
    }

    /// Whether the client is to be listened to: it may give up waiting, but not what is under way.
    pub(super) fn wants_input(&self) -> bool {
        let behind_bytes = self.behind.as_ref().map_or(0, |behind| behind.input.len());
        self.is_waiting() && behind_bytes < BEHIND_BYTES_MAX
    }

    /// Whether it can be answered still.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.answer, State::Waiting)
    }

    /// The connection ends with the answer.
    pub(super) fn end_with(&mut self, reason: CloseReason) {
        self.end.get_or_insert(reason);
    }

    /// Answers the request.
    pub(super) fn give(&mut self, feeds: &Feeds, date: Date, content: Content<'_>) {
        let Content { content_type, start, answer, tail } = content;
        let answer_len = answer.as_ref().map_or(0, |answer| feeds.answer_len(answer));
        let keep_alive = self.request.keep_alive && self.end.is_none();
        let exchange = Exchange { keep_alive, ..self.request.exchange(date) };
        let len = start.len() + answer_len + tail.len();
        let mut head = Vec::new();
        write_late_head(&mut head, exchange, content_type, len);
        head.extend_from_slice(start);
        let tail = match &answer {
            Some(_) => tail,
            None => {
                head.extend_from_slice(tail);
                b""
            }
        };
        let messages = answer.as_ref().map_or(0, |answer| answer.messages);
        self.answer =
            State::Leaving(Box::new(Leaving { head, content: answer, tail, sent: 0, messages }));
    }

    pub(super) fn output<'a>(&'a self, feeds: &'a mut Feeds) -> Output<'a> {
        match &self.answer {
            State::Waiting => Output::Idle,
            State::Leaving(leaving) => Output::Bytes(leaving.rest(feeds)),
            State::Over => match self.end {
                Some(reason) => Output::Finished(reason),
                None if self.request.keep_alive => Output::NextRequest,
                None => Output::Finished(CloseReason::Done),
            },
        }
    }

    /// Notes that `sent` bytes more have left, and returns how many messages began with them.
    pub(super) fn advance(&mut self, feeds: &mut Feeds, sent: usize) -> u64 {
        let State::Leaving(leaving) = &mut self.answer else { return 0 };
        leaving.sent += sent;
        let begun = std::mem::take(&mut leaving.messages);
        if leaving.sent == leaving.len(feeds) {
            self.end(feeds);
        }
        begun
    }

    pub(super) fn set_blocked(&self, feeds: &mut Feeds, is_blocked: bool) {
        if let State::Leaving(leaving) = &self.answer
            && let Some(answer) = &leaving.content
        {
            feeds.set_answer_blocked(answer, is_blocked);
        }
    }

    /// Nothing more is sent. Says whether everything was.
    pub(super) fn end(&mut self, feeds: &mut Feeds) -> bool {
        let before = std::mem::replace(&mut self.answer, State::Over);
        if let State::Leaving(leaving) = &before
            && let Some(answer) = &leaving.content
        {
            feeds.end_answer(answer);
        }
        matches!(before, State::Over)
    }

    /// The connection goes on with the next request, or waits for one.
    pub(super) fn into_http(self, now: Instant, timing: &Timing) -> Box<Http> {
        let input = self.behind.map_or_else(Vec::new, |behind| behind.input);
        Box::new(Http::behind_answer(now, timing, input))
    }
}

impl Leaving {
    fn len(&self, feeds: &Feeds) -> usize {
        let content = self.content.as_ref().map_or(0, |answer| feeds.answer_len(answer));
        self.head.len() + content + self.tail.len()
    }

    fn rest<'a>(&'a self, feeds: &'a mut Feeds) -> &'a [u8] {
        let Some(answer) = &self.content else { return &self.head[self.sent..] };
        if self.sent == 0 && feeds.answer_piece(answer, 0).len() <= JOINED_BYTES_MAX {
            return feeds.answer_behind(&self.head, answer);
        }
        let Some(of_content) = self.sent.checked_sub(self.head.len()) else {
            return &self.head[self.sent..];
        };
        match of_content.checked_sub(feeds.answer_len(answer)) {
            None => feeds.answer_piece(answer, of_content),
            Some(of_tail) => &self.tail[of_tail..],
        }
    }
}
