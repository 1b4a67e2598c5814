//! A WebSocket of an Engine.IO session, while it is probed and after: a WebSocket whose pings, answers and cursor are the
//! session's. Knows no socket and no clock.

use std::time::Instant;

use super::sessions::SessionKey;
use super::{EngineIo, EngineSessions};
use crate::error::CloseReason;
use crate::feed::{Feeds, Owner};
use crate::memory::{Charge, Memory};
use crate::session::outbox::Outbox;
use crate::session::stream::Stream;
use crate::session::{Output, Shared, Timing, WebSocket};
use crate::wire::engine_io;
use crate::wire::websocket::Decoder;

/// One WebSocket.
#[derive(Debug)]
pub(crate) struct EngineSocket {
    session: SessionKey,
    owner: Owner,
    /// Has the cursor once it carries the session.
    socket: WebSocket,
    /// The cursor ends with the frame that is under way: the client wants nothing more.
    is_cut: bool,
    /// The answer to the probe is to be sent, before anything else.
    is_probed: bool,
    is_blocked: bool,
    /// What the host program has the client told before the goodbye.
    last_word: &'static [u8],
    /// Counts what is kept of a message that is under way.
    charge: Option<Charge>,
}

impl EngineSocket {
    /// A WebSocket whose upgrade is answered by `head`, for a session that has taken it in or not.
    pub(super) fn new(session: SessionKey, owner: Owner, head: Vec<u8>, is_taken: bool) -> Self {
        let mut socket = WebSocket::new(None, head, None);
        if !is_taken {
            socket.stream.close(CloseReason::Protocol);
        }
        let (is_cut, is_probed, is_blocked) = (false, false, false);
        let last_word = b"";
        Self { session, owner, socket, is_cut, is_probed, is_blocked, last_word, charge: None }
    }

    pub(super) fn handle_input(
        &mut self,
        now: Instant,
        input: &mut [u8],
        timing: &Timing,
        message_bytes_max: usize,
        shared: Shared<'_>,
    ) {
        let Shared { feeds, engine } = shared;
        let decoder = Decoder::with_limit(message_bytes_max).keeping(message_bytes_max);
        let Self { session, owner, socket, is_probed, .. } = self;
        socket.handle_messages(now, input, timing, decoder, |said| {
            *is_probed |= engine.hear_socket(now, *session, *owner, said, feeds, timing)?;
            Ok(())
        });
    }

    /// Counts what is kept of a message against `memory`. Returns whether that is too much.
    pub(super) fn charge_input(&mut self, memory: &Memory) -> bool {
        match self.socket.decoder.as_ref().map_or(0, |decoder| decoder.kept_bytes()) {
            0 => {
                self.charge = None;
                false
            }
            bytes => {
                self.charge.get_or_insert_with(|| memory.charge(0)).resize(bytes);
                memory.is_exceeded()
            }
        }
    }

    pub(super) fn output<'a>(&'a mut self, shared: Shared<'a>) -> Output<'a> {
        let Shared { feeds, engine } = shared;
        let has_frames = self.follow_session(engine, feeds);
        self.socket.output_with(feeds, has_frames, self.last_word)
    }

    /// Takes from the session what is to be sent. Says whether there is more, which waits for a frame to end.
    fn follow_session(&mut self, engine: &mut EngineSessions, feeds: &mut Feeds) -> bool {
        let (mut packets, mut has_more) = (Vec::new(), false);
        if self.is_probed && self.socket.stream.is_between_outputs(feeds) {
            self.is_probed = false;
            packets.extend_from_slice(engine_io::PROBED);
        }
        if let Some(session) = engine.carried_by(self.session, self.owner) {
            self.follow_cursor(session, feeds);
            let is_between = self.socket.stream.is_between_outputs(feeds);
            if let Some(subscription) = &self.socket.stream.subscription
                && !self.is_cut
                && is_between
            {
                session.welcome(subscription, feeds);
            }
            let has_own = !session.own.is_empty();
            if has_own && is_between {
                engine_io::append_packet(&mut packets, &std::mem::take(&mut session.own));
            }
            has_more = has_own && !is_between;
        }
        if !packets.is_empty() {
            self.socket.stream.put_own(engine_io::frames_of(&packets));
        }
        has_more
    }

    /// Serves the cursor that the session has now, once the one before has ended.
    fn follow_cursor(&mut self, session: &mut EngineIo, feeds: &mut Feeds) {
        if std::mem::take(&mut session.has_left)
            && let Some(subscription) = &self.socket.stream.subscription
        {
            feeds.cut(subscription);
            self.is_cut = true;
        }
        if self.is_cut
            && self.socket.stream.subscription.as_ref().is_none_or(|own| feeds.has_ended(own))
        {
            self.socket.stream.end(feeds);
            self.is_cut = false;
        }
        if self.socket.stream.subscription.is_none()
            && let Some(subscription) = session.subscription.take()
        {
            feeds.set_blocked(&subscription, self.is_blocked);
            self.socket.stream.subscription = Some(subscription);
        }
    }

    pub(super) fn advance(
        &mut self,
        now: Instant,
        feeds: &mut Feeds,
        sent: usize,
        timing: &Timing,
    ) -> u64 {
        self.socket.advance(now, feeds, sent, timing)
    }

    pub(super) fn note_progress(
        &mut self,
        now: Instant,
        timing: &Timing,
        engine: &mut EngineSessions,
    ) {
        if let Some(session) = engine.carried_by(self.session, self.owner) {
            session.note_progress(now, timing);
        }
    }

    pub(super) fn close(&mut self, reason: CloseReason) {
        self.socket.stream.close(reason);
    }

    /// As [`Self::close`], for the host program: with a code of its own, and a packet before.
    pub(super) fn disconnect(&mut self, code: u16, last_word: &'static [u8]) {
        self.last_word = last_word;
        self.socket.disconnect(code);
    }

    pub(super) fn close_when_drained(&mut self, feeds: &Feeds, reason: CloseReason) {
        self.socket.stream.close_when_drained(feeds, reason);
    }

    pub(super) fn set_blocked(&mut self, feeds: &mut Feeds, is_blocked: bool) {
        self.is_blocked = is_blocked;
        self.socket.stream.set_blocked(feeds, is_blocked);
    }

    /// The connection ends, and the session that it carries; one that only probed it polls on.
    pub(super) fn end(
        &mut self,
        reason: CloseReason,
        feeds: &mut Feeds,
        engine: &mut EngineSessions,
    ) {
        self.socket.stream.end(feeds);
        engine.detach_socket(self.session, self.owner, reason, feeds);
    }
}

impl Stream {
    /// Whether bytes of the client's own can be put in between now.
    fn is_between_outputs(&self, feeds: &Feeds) -> bool {
        !self.is_closing() && self.outbox.is_none() && self.frame_rest_bytes(feeds) == 0
    }

    /// Sends `bytes` next; [`Self::is_between_outputs`].
    fn put_own(&mut self, bytes: Vec<u8>) {
        debug_assert!(self.outbox.is_none(), "bytes are put between outputs");
        self.outbox = Some(Outbox::new(bytes));
    }
}
