//! A client of Server-Sent Events: its feed's events out, a comment now and then, nothing in. The shortest whole
//! transport, the one to copy. Knows no socket and no clock.

use std::time::Instant;

use super::stream::Stream;
use super::{Output, Timing};
use crate::error::CloseReason;
use crate::feed::{Feeds, Subscription};
use crate::wire::sse::{self, Framing};

/// One client.
#[derive(Debug)]
pub(crate) struct Sse {
    pub(super) stream: Stream,
    framing: Framing,
    comment: Comment,
    /// What the client has sent: it has nothing to say.
    input_bytes: usize,
}

/// What keeps proxies from closing a stream on which nothing happens, and shows when the client is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comment {
    At(Instant),
    /// To be sent where the next event begins.
    Due,
    /// On its way. The time to the next one runs when it has left.
    Leaving,
}

impl Sse {
    /// A client whose request is answered by `head`, to get its first comment at `comment_at`. Should the stream end, it
    /// is to come back after `retry_millis`.
    pub(crate) fn new(
        comment_at: Instant,
        head: Vec<u8>,
        retry_millis: u32,
        framing: Framing,
        subscription: Subscription,
    ) -> Self {
        let mut bytes = head;
        framing.write_with(&mut bytes, |out| sse::write_prologue(out, retry_millis));
        Self {
            stream: Stream::new(bytes, Some(subscription)),
            framing,
            comment: Comment::At(comment_at),
            input_bytes: 0,
        }
    }

    /// What comes behind the request is nothing that anybody asked for: `bytes_max` of it are overlooked.
    pub(super) fn handle_input(&mut self, input: &[u8], bytes_max: usize) {
        self.input_bytes = self.input_bytes.saturating_add(input.len());
        if self.input_bytes > bytes_max {
            self.stream.close(CloseReason::TooLarge);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.comment = Comment::Due;
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.comment {
            Comment::At(deadline) => Some(deadline),
            Comment::Due | Comment::Leaving => None,
        }
    }

    pub(super) fn output<'a>(&'a mut self, feeds: &'a mut Feeds) -> Output<'a> {
        let Self { stream, framing, comment, .. } = self;
        stream.output(feeds, *comment == Comment::Due, |out, goodbye| match goodbye {
            // That of a plain stream is the connection's end.
            Some(_) => framing.write_end(out),
            None => {
                framing.write_with(out, sse::write_comment);
                *comment = Comment::Leaving;
            }
        })
    }

    pub(super) fn advance(
        &mut self,
        now: Instant,
        feeds: &mut Feeds,
        sent: usize,
        timing: &Timing,
    ) -> u64 {
        let messages = self.stream.advance(feeds, sent);
        if self.comment == Comment::Leaving && !self.stream.has_own_bytes_under_way() {
            self.comment = Comment::At(now + timing.ping_interval);
        }
        messages
    }
}
