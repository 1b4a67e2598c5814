//! What happens to a page besides its talk: what it does wrong, how it ends, and what it must have seen then.

use super::{Account, Line, Page, Published, Random, Stage, State, frame};

impl Page {
    /// Does something that pages do.
    pub(in crate::simulation) fn act(
        &mut self,
        random: &mut Random,
        published: &[Published],
        misbehaves: bool,
    ) {
        let State::Open { .. } = self.state else { return };
        match random.below(if misbehaves { 12 } else { 3 }) {
            // It has something to say, which goes nowhere.
            0 => self.outbox.push("42[\"hello\",{\"a\":[1]}]".to_owned()),
            1 => self.outbox.push(["3", "6", "5"][random.below(3)].to_owned()),
            2 => self.appetite = 1 + random.below(20_000),
            3 => {
                self.appetite = 0;
                self.may_end = true;
            }
            // The WebSocket fails before it is one.
            4..6 => {
                if let Some((line, Stage::Asked | Stage::Probed | Stage::Confirmed)) = &self.socket
                {
                    match random.below(3) {
                        0 => line.pipe.borrow_mut().is_reset = true,
                        1 => line.pipe.borrow_mut().client_ended = true,
                        _ => {
                            // Before the answer to the upgrade it is as if it had come with it.
                            line.send(&frame(0x81, [&b"2prob"[..], b"40", b""][random.below(3)]));
                        }
                    }
                    self.let_socket_fail();
                }
            }
            // It hangs up while it waits, and comes back.
            6 => {
                if let Some(line) = self.get.take() {
                    line.hang_up(random);
                    self.may_end = true;
                    self.end(random, published);
                }
            }
            7 => {
                // It is gone without a word, and comes back.
                self.may_end = true;
                self.end(random, published);
            }
            8 => {
                self.outbox
                    .push(["1", "40", "42{}", "2", "45-[\"a\"]"][random.below(5)].to_owned());
                self.may_end = true;
            }
            _ => {}
        }
    }

    /// Whatever becomes of its WebSocket, it goes on polling.
    fn let_socket_fail(&mut self) {
        if let Some((line, _)) = self.socket.take() {
            let mut pipe = line.pipe.borrow_mut();
            pipe.room_bytes = usize::MAX / 2;
            pipe.client_ended = true;
        }
    }

    /// The session is over: what it got has to be right, and then it begins anew.
    pub(super) fn end(&mut self, random: &mut Random, published: &[Published]) {
        let is_blameless = !self.may_end && self.terms.is_lenient && !self.is_stopping;
        assert!(!is_blameless, "nobody is closed who did nothing wrong: {self:?}");
        self.check(published, false);
        let lines = [self.get.take(), self.post.take(), self.socket.take().map(|(line, _)| line)];
        lines.into_iter().flatten().for_each(|line| line.hang_up(random));
        self.idle.drain(..).for_each(|line| line.hang_up(random));
        self.state = State::Closed { opening: None };
        self.seen.clear();
        self.joined = None;
        self.outbox.clear();
        self.may_end = false;
        self.appetite = self.appetite.max(1_000);
    }

    /// Compares what came with what was owed. `is_alive` is whether everything must have come.
    pub(in crate::simulation) fn check(&self, published: &[Published], is_alive: bool) {
        let Some((asked, known)) = self.joined else { return };
        let Some(known) = known else {
            assert!(!is_alive, "who asks is let in");
            return;
        };
        let topic_is_wanted = |topic: &str| {
            self.prefixes.is_empty() || self.prefixes.iter().any(|it| topic.starts_with(it))
        };
        let account = Account {
            published,
            wants: &|number| topic_is_wanted(&published[number - 1].topic),
            joined_min: asked,
            joined_max: known,
            has_values: self.terms.has_values,
            tells_in_place: self.terms.tells_in_place,
        };
        account.check(&self.seen, is_alive);
    }

    /// Whether it has a session that has come to rest: only one request waits, or nothing but the WebSocket is there.
    pub(in crate::simulation) fn is_quiet(&mut self) -> bool {
        let is_polling = self.get.is_some() && self.socket.is_none();
        let is_socket = matches!(self.socket, Some((_, Stage::Taken))) && self.get.is_none();
        matches!(self.state, State::Open { .. })
            && self.post.is_none()
            && self.outbox.is_empty()
            && (is_polling || is_socket)
            && matches!(self.joined, Some((_, Some(_))))
            && self.lines().all(|line| {
                let pipe = line.pipe.borrow();
                pipe.to_client.is_empty() && pipe.to_server.is_empty() && !line.is_torn()
            })
    }

    /// From now on it reads as fast as it can, and behaves.
    pub(in crate::simulation) fn recover(&mut self) {
        self.appetite = usize::MAX / 2;
        self.lines().for_each(|line| {
            let mut pipe = line.pipe.borrow_mut();
            pipe.room_bytes = pipe.room_bytes.max(4_000);
        });
    }

    /// Time went by in which it could do nothing, or the gateway may have had enough of somebody.
    pub(in crate::simulation) fn excuse(&mut self) {
        self.may_end = true;
    }

    /// The gateway was killed.
    pub(in crate::simulation) fn abandon(&mut self, published: &[Published], run: super::Run) {
        self.check(published, false);
        self.lines().for_each(|line| line.pipe.borrow_mut().is_reset = true);
        let Self { terms, ways, is_json, is_hasty, is_node, .. } = *self;
        let prefixes = std::mem::take(&mut self.prefixes);
        *self = Self {
            ways,
            is_json,
            is_hasty,
            is_node,
            prefixes,
            ..Self::new(&mut Random::new(0), run, terms)
        };
    }

    /// The gateway begins to stop; returns whether it is owed a word.
    pub(in crate::simulation) fn begin_stop(&mut self) -> bool {
        self.is_stopping = true;
        self.was_said_goodbye = false;
        self.is_quiet()
    }

    pub(in crate::simulation) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Ends each connection that the gateway has ended.
    pub(in crate::simulation) fn follow_ends(&mut self) {
        self.lines().for_each(|line: &mut Line| {
            let mut pipe = line.pipe.borrow_mut();
            pipe.client_ended |= pipe.server_ended && pipe.to_client.is_empty();
        });
    }

    pub(in crate::simulation) fn was_said_goodbye(&self) -> bool {
        self.was_said_goodbye
    }
}
