//! A poll of an Engine.IO session: a request that waits for packets. Knows no socket and no clock.

use std::time::Instant;

use super::sessions::SessionKey;
use super::{EngineSessions, Filling};
use crate::error::CloseReason;
use crate::feed::{Answer, Feeds, Owner};
use crate::http::{Date, HeldRequest};
use crate::memory::Memory;
use crate::session::held::{Content, Held};
use crate::session::{Http, Output, Shared, Timing};
use crate::wire::engine_io;

/// What answers to polls have.
pub(crate) const PACKETS: &str = "text/plain; charset=UTF-8";

/// One request that waits or is answered.
#[derive(Debug)]
pub(crate) struct EnginePoll {
    session: SessionKey,
    owner: Owner,
    held: Held,
    /// The session has ended: the answer.
    last_word: Option<&'static [u8]>,
    /// The session is to be ended.
    goodbye: Option<CloseReason>,
}

impl EnginePoll {
    /// A poll that came over `http`, the connection `owner`, and waits.
    pub(super) fn new(session: SessionKey, owner: Owner, request: HeldRequest) -> Self {
        let held = Held::new(request, b"");
        Self { session, owner, held, last_word: None, goodbye: None }
    }

    pub(super) fn handle_input(&mut self, input: &[u8]) {
        self.held.handle_input(input);
    }

    pub(super) fn charge_input(&mut self, memory: &Memory) -> bool {
        self.held.charge_input(memory)
    }

    pub(super) fn wants_input(&self) -> bool {
        self.held.wants_input()
    }

    pub(super) fn output<'a>(&'a mut self, shared: Shared<'a>, date: Date) -> Output<'a> {
        let Shared { feeds, engine } = shared;
        if self.held.is_waiting() {
            if let Some(reason) = self.goodbye {
                engine.end_session(self.session, reason, feeds);
                self.last_word.get_or_insert(engine_io::CLOSE);
            }
            if let Some(word) = self.last_word {
                let content = Content { content_type: PACKETS, start: word, ..Content::default() };
                self.held.give(feeds, date, content);
                return self.held.output(feeds);
            }
            match engine.fill(self.session, self.owner, feeds) {
                Filling::Nothing => return Output::Idle,
                Filling::Later => return Output::Later,
                Filling::Some { own, answer, is_last } => {
                    self.give(feeds, date, own, answer, is_last);
                }
            }
        }
        self.held.output(feeds)
    }

    fn give(
        &mut self,
        feeds: &mut Feeds,
        date: Date,
        mut start: Vec<u8>,
        answer: Option<Answer>,
        is_last: bool,
    ) {
        let is_empty = start.is_empty() && answer.is_none();
        if answer.is_some() && !start.is_empty() {
            start.push(engine_io::SEPARATOR);
        }
        let tail: &[u8] = match is_last {
            false => b"",
            true if is_empty => engine_io::CLOSE,
            true => engine_io::LAST_CLOSE,
        };
        if is_last {
            self.held.end_with(CloseReason::Shutdown);
        }
        let content = Content { content_type: PACKETS, start: &start, answer, tail };
        self.held.give(feeds, date, content);
    }

    pub(super) fn advance(&mut self, feeds: &mut Feeds, sent: usize) -> u64 {
        self.held.advance(feeds, sent)
    }

    /// Ends the session, and the connection with it.
    pub(super) fn close(&mut self, reason: CloseReason) {
        self.held.end_with(reason);
        self.goodbye.get_or_insert(reason);
    }

    /// The session has ended: `word` is the answer.
    pub(super) fn end_with_word(&mut self, session: SessionKey, word: &'static [u8]) {
        if self.session == session {
            self.last_word.get_or_insert(word);
        }
    }

    pub(super) fn set_blocked(&self, feeds: &mut Feeds, is_blocked: bool) {
        self.held.set_blocked(feeds, is_blocked);
    }

    /// The connection ends; the session, too, unless its client has the whole answer.
    pub(super) fn end(
        &mut self,
        reason: CloseReason,
        feeds: &mut Feeds,
        engine: &mut EngineSessions,
    ) {
        if !self.held.end(feeds) {
            engine.end_session(self.session, reason, feeds);
        }
    }

    pub(super) fn into_http(self, now: Instant, timing: &Timing) -> Box<Http> {
        self.held.into_http(now, timing)
    }
}
