//! HTTP/1 on one connection: requests in, one answer after the other out, until one of them turns it into something
//! else. Decides when a request is complete, not what it is answered. Knows no socket and no clock.

use std::rc::Rc;
use std::time::Instant;

use super::{Output, Timing};
use crate::error::CloseReason;
use crate::http::assets::Asset;
use crate::http::{
    After, BodyLength, BodySkipper, Date, EnginePost, Exchange, HeadScanner, HeldRequest, Limits,
    Outcome, Refusal, Request, Status, parse_head,
};
use crate::memory::{Charge, Memory};

/// A connection that speaks HTTP.
#[derive(Debug)]
pub(crate) struct Http {
    /// What came and was not understood yet; no capacity while there is nothing.
    input: Vec<u8>,
    /// How much of `input` belongs to requests that were understood.
    input_taken: usize,
    /// Whether `input` has something that [`Self::proceed`] has not looked at.
    has_unread_input: bool,
    /// Counts `input` against `--max-memory`.
    charge: Option<Charge>,
    stage: Stage,
    answer: Answer,
    sent: usize,
    after: After,
    /// Why the connection ends when its last answer is sent.
    end: CloseReason,
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum Stage {
    /// Between requests.
    Idle,
    Head(HeadScanner),
    /// The answer is ready but not to be sent before the request has ended.
    Body(BodySkipper),
    /// A session is to have the body.
    Collecting(Box<Collecting>),
    Answering,
}

/// A body that is kept for an Engine.IO session.
#[derive(Debug)]
struct Collecting {
    skipper: BodySkipper,
    post: EnginePost,
    /// What is left of the answer that the client waits for before it sends the body.
    go_on: &'static [u8],
}

/// Says that the body may come (RFC 9110 section 15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What goes back to the client: bytes of its own, and a file that is shared with others.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) head: Vec<u8>,
    pub(crate) content: Option<Rc<Asset>>,
}

impl Http {
    pub(crate) fn new(now: Instant, timing: &Timing) -> Self {
        Self {
            input: Vec::new(),
            input_taken: 0,
            has_unread_input: false,
            charge: None,
            stage: Stage::Head(HeadScanner::default()),
            answer: Answer::default(),
            sent: 0,
            after: After::NextRequest,
            end: CloseReason::Done,
            deadline: Some(now + timing.handshake_timeout),
        }
    }

    /// A connection whose last request somebody else has answered, with the `input` that came behind it.
    pub(super) fn behind_answer(now: Instant, timing: &Timing, input: Vec<u8>) -> Self {
        let mut http = Self { input, ..Self::new(now, timing) };
        http.go_on(now, timing);
        http
    }

    /// Takes what the client sent; [`Self::proceed`] looks at it.
    pub(crate) fn handle_input(&mut self, now: Instant, input: &[u8], timing: &Timing) {
        if matches!(self.stage, Stage::Idle) {
            self.begin_request(now, timing);
        }
        self.forget_taken_input();
        self.input.extend_from_slice(input);
        self.has_unread_input = true;
    }

    /// Counts input that has to be kept against `memory`. Returns whether that is too much: requests that come in one
    /// piece are never kept.
    pub(crate) fn charge_input(&mut self, memory: &Memory) -> bool {
        let kept = match &self.stage {
            Stage::Collecting(collecting) => collecting.skipper.kept_bytes(),
            _ => 0,
        };
        if self.input.is_empty() && kept == 0 {
            self.charge = None;
            return false;
        }
        let bytes = self.input.capacity() + kept;
        self.charge.get_or_insert_with(|| memory.charge(0)).resize(bytes);
        memory.is_exceeded()
    }

    /// Answers with a refusal whatever is under way, and ends.
    pub(crate) fn give_up(&mut self, refusal: &Refusal, date: Date) {
        debug_assert!(self.sent == 0, "there is never a second answer");
        self.answer = Answer::default();
        self.refuse(refusal, Exchange::refused(b"", Some(date)));
    }

    /// Works on the input until an answer is ready or more is needed; `serve` answers one request. Returns the outcome of a
    /// request that is more than its answer. It may be a body that is complete: [`Self::answer_collected`] takes its answer.
    /// Otherwise the connection is a session's from now on: [`Self::take_head`] goes out first, and [`Self::take_input`] came
    /// behind the request.
    pub(crate) fn proceed(
        &mut self,
        limits: &Limits,
        date: Date,
        serve: &mut dyn FnMut(&Request<'_>, &mut Answer) -> Outcome,
    ) -> Option<Outcome> {
        self.has_unread_input = false;
        loop {
            let input = &self.input[self.input_taken..];
            match &mut self.stage {
                Stage::Idle | Stage::Answering => return None,
                Stage::Head(scanner) => {
                    let head_len = match scanner.scan(input, limits) {
                        Ok(Some(head_len)) => head_len,
                        Ok(None) => return None,
                        Err(refusal) => {
                            let exchange = Exchange::refused(input, Some(date));
                            self.refuse(&refusal, exchange);
                            continue;
                        }
                    };
                    let outcome = self.serve_head(head_len, limits, date, serve);
                    if outcome.is_some() {
                        return outcome;
                    }
                }
                Stage::Collecting(_) => return self.collect(),
                Stage::Body(skipper) => match skipper.skip(input) {
                    Ok(skipped) => {
                        self.input_taken += skipped.consumed;
                        if !skipped.is_done {
                            self.forget_taken_input();
                            return None;
                        }
                        self.stage = Stage::Answering;
                    }
                    Err(refusal) => {
                        self.answer = Answer::default();
                        let exchange = Exchange::refused(b"", Some(date));
                        self.refuse(&refusal, exchange);
                    }
                },
            }
        }
    }

    /// Takes more of a body that is kept.
    fn collect(&mut self) -> Option<Outcome> {
        let Stage::Collecting(collecting) = &mut self.stage else { return None };
        let content = match collecting.skipper.skip(&self.input[self.input_taken..]) {
            Ok(skipped) => {
                self.input_taken += skipped.consumed;
                if !skipped.is_done {
                    self.forget_taken_input();
                    return None;
                }
                Ok(collecting.skipper.take_kept())
            }
            Err(refusal) => Err(refusal),
        };
        match std::mem::replace(&mut self.stage, Stage::Answering) {
            Stage::Collecting(collecting) => {
                Some(Outcome::EngineBody { post: collecting.post, content })
            }
            _ => None,
        }
    }

    /// Serves the request whose head is the next `head_len` bytes.
    fn serve_head(
        &mut self,
        head_len: usize,
        limits: &Limits,
        date: Date,
        serve: &mut dyn FnMut(&Request<'_>, &mut Answer) -> Outcome,
    ) -> Option<Outcome> {
        let head = &self.input[self.input_taken..self.input_taken + head_len];
        let body = match parse_head(head, limits) {
            Ok(request) => match serve(&request, &mut self.answer) {
                Outcome::Answered(after) => {
                    self.after = after;
                    request.body_to_skip()
                }
                Outcome::EnginePost(post) => {
                    let go_on = if request.expects_continue() { CONTINUE } else { b"" };
                    let skipper = BodySkipper::new(request.body, post.bytes_max as u64).keeping();
                    self.input_taken += head_len;
                    self.stage = Stage::Collecting(Box::new(Collecting { skipper, post, go_on }));
                    return None;
                }
                outcome => {
                    self.input_taken += head_len;
                    self.stage = Stage::Answering;
                    return Some(outcome);
                }
            },
            Err(refusal) => {
                let exchange = Exchange::refused(head, Some(date));
                self.refuse(&refusal, exchange);
                return None;
            }
        };
        self.input_taken += head_len;
        if self.input_taken == self.input.len() {
            self.forget_taken_input();
        }
        self.stage = match body {
            BodyLength::None => Stage::Answering,
            body => Stage::Body(BodySkipper::new(body, limits.body_bytes_max)),
        };
        None
    }

    fn refuse(&mut self, refusal: &Refusal, exchange: Exchange<'_>) {
        self.after = refusal.write(&mut self.answer.head, exchange);
        self.stage = Stage::Answering;
    }

    /// The id of the session that waits for a body of this connection.
    pub(crate) fn collects_for(&self) -> Option<&[u8]> {
        match &self.stage {
            Stage::Collecting(collecting) => Some(&collecting.post.sid),
            _ => None,
        }
    }

    /// Answers the request whose body was collected, which `write` does.
    pub(crate) fn answer_collected(
        &mut self,
        request: &HeldRequest,
        date: Date,
        write: impl FnOnce(&mut Vec<u8>, Exchange<'_>) -> After,
    ) {
        // The connection may have been told to close meanwhile.
        if write(&mut self.answer.head, request.exchange(date)) == After::Close {
            self.after = After::Close;
        }
    }

    pub(crate) fn output(&self) -> Output<'_> {
        if let Stage::Collecting(collecting) = &self.stage
            && !collecting.go_on.is_empty()
        {
            return Output::Bytes(collecting.go_on);
        }
        if !matches!(self.stage, Stage::Answering) {
            return Output::Idle;
        }
        let head = &self.answer.head;
        if self.sent < head.len() {
            return Output::Bytes(&head[self.sent..]);
        }
        match &self.answer.content {
            Some(asset) if self.sent < head.len() + asset.bytes().len() => {
                Output::Bytes(&asset.bytes()[self.sent - head.len()..])
            }
            _ => Output::Finished(self.end),
        }
    }

    /// Notes that `sent` bytes of the output left. When the answer is complete the next request may begin.
    pub(crate) fn advance(&mut self, now: Instant, sent: usize, timing: &Timing) {
        if let Stage::Collecting(collecting) = &mut self.stage {
            collecting.go_on = &collecting.go_on[sent..];
            return;
        }
        self.sent += sent;
        let is_complete = matches!(self.output(), Output::Finished(_));
        if is_complete && self.after == After::NextRequest {
            self.go_on(now, timing);
        }
    }

    /// What is written before anything else on a connection that is a session's from now on.
    pub(crate) fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answer.head)
    }

    /// What came behind the request.
    pub(crate) fn take_input(&mut self) -> Vec<u8> {
        self.input.split_off(self.input_taken)
    }

    /// The answer is complete: the next request may begin.
    fn go_on(&mut self, now: Instant, timing: &Timing) {
        self.answer = Answer::default();
        self.sent = 0;
        self.has_unread_input = self.input_taken < self.input.len();
        if !self.has_unread_input {
            self.forget_taken_input();
            self.stage = Stage::Idle;
            self.deadline = Some(now + timing.keepalive_timeout);
        } else {
            self.begin_request(now, timing);
        }
    }

    fn begin_request(&mut self, now: Instant, timing: &Timing) {
        self.stage = Stage::Head(HeadScanner::default());
        self.deadline = Some(now + timing.handshake_timeout);
    }

    fn forget_taken_input(&mut self) {
        self.input.drain(..self.input_taken);
        self.input_taken = 0;
        if self.input.is_empty() {
            self.input = Vec::new();
        }
    }

    /// Whether the client is to be listened to now: not while an answer is under way, nor before everything is
    /// answered that it asked for already.
    pub(crate) fn wants_input(&self) -> bool {
        !matches!(self.stage, Stage::Answering) && !self.has_unread_input
    }

    /// Whether a request may be complete that came behind another one.
    pub(crate) fn has_unread_input(&self) -> bool {
        self.has_unread_input && !matches!(self.stage, Stage::Answering)
    }

    /// Whether nothing is under way that the client waits for.
    pub(crate) fn is_idle(&self) -> bool {
        match self.stage {
            Stage::Idle => true,
            Stage::Head(_) => self.input.is_empty(),
            Stage::Body(_) | Stage::Collecting(_) | Stage::Answering => false,
        }
    }

    /// No further request is served on this connection.
    pub(crate) fn close_after_answer(&mut self) {
        self.after = After::Close;
    }

    /// When [`Self::timeout_reason`] applies. Who takes an answer has the time that writing may take instead.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadline.filter(|_| !matches!(self.stage, Stage::Answering))
    }

    /// Does what is due. Fails where nothing was asked, so that there is nothing to answer either.
    pub(crate) fn handle_timeout(&mut self, now: Instant, date: Date) -> Result<(), CloseReason> {
        if self.next_deadline().is_none_or(|deadline| deadline > now) {
            return Ok(());
        }
        match self.stage {
            Stage::Idle => Err(CloseReason::KeepaliveTimeout),
            Stage::Head(_) if self.input.is_empty() => Err(CloseReason::HandshakeTimeout),
            Stage::Head(_) | Stage::Body(_) | Stage::Collecting(_) => {
                self.end = CloseReason::HandshakeTimeout;
                let reason = "the request took too long to arrive";
                self.give_up(&Refusal::closing(Status::RequestTimeout, reason), date);
                Ok(())
            }
            Stage::Answering => Ok(()),
        }
    }
}
