//! What a subscriber is to be sent before its cursor goes on: the rest of a frame, a gap, messages that are kept, and
//! what it missed meanwhile. Knows the order of these, not where kept messages come from.
//!
//! ```text
//!   rest of a frame ─▶ gap ─▶ replay of what is kept ─▶ what it missed in the log ─▶ log, from the cursor on
//!                                  ..=until                  or its last values
//! ```
//!
//! A replay ends at `until`, the last message when the cursor was set to the log's end, and the cursor has everything
//! after: nothing is lost or doubled at the seam.

mod seam;

use super::log::{FrameRest, SharedFrame};
use super::replay::{Prepared, Progress, Replayer};
use super::{FeedKey, Wish};
use crate::error::GapReason;
use crate::message::Seq;
use crate::wire::WireFormat;

/// Messages that a subscriber did not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// How many, where that is known.
    pub(crate) missed: Option<u64>,
    pub(crate) reason: GapReason,
}

/// Kept messages that a subscriber is to get, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replay {
    /// The next one to be looked at.
    pub(super) from: Seq,
    /// The last one.
    pub(super) until: Seq,
    /// Of the messages before this one the last of each topic is replayed, from there on every one.
    pub(super) values_before: Seq,
    /// The store of these last ones.
    pub(super) values: Store,
}

/// Where messages are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Store {
    History,
    LastValues,
    /// Last values for who was not there when they were live, and so missed nothing of what was lost upstream.
    Greeting,
}

/// A part of a replay that comes from one store: the messages from the first number to the last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) store: Store,
    pub(super) first: Seq,
    pub(super) last: Seq,
}

impl Replay {
    /// What comes next; `None` when everything was replayed.
    fn span(&self) -> Option<Span> {
        let (first, last) = (self.from, self.until);
        if first > last {
            None
        } else if first < self.values_before {
            let last = last.min(Seq(self.values_before.0 - 1));
            Some(Span { store: self.values, first, last })
        } else {
            Some(Span { store: Store::History, first, last })
        }
    }
}

/// What a subscriber missed in its feed's log because it lagged.
#[derive(Debug)]
enum Skipped {
    /// It is told how many messages that were.
    Told { missed: u64 },
    /// It gets the last ones of their topics, and is told of those of `missed` that it did not get.
    Conflated { replay: Replay, missed: u64 },
}

/// Who looks after a subscriber that is replaying.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nobody yet: its feed's passes do.
    #[default]
    Waiting,
    /// Its owner, who comes back by itself.
    Taken,
    /// Its owner, but others come first: it has just come, or has sent a piece.
    Over,
}

/// Where arrears end and the log begins, for an owner that has something to say there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Seam {
    /// It has not.
    #[default]
    Unmarked,
    Ahead,
    /// Everything before it was sent.
    Reached,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Arrears {
    pub(super) rest: Option<FrameRest>,
    /// Told where the wire format can.
    pub(super) gap: Option<Gap>,
    replay: Option<Replay>,
    skipped: Option<Skipped>,
    turn: Turn,
    seam: Seam,
}

/// What a subscriber with arrears is to be sent next.
pub(super) enum Due {
    /// The rest of a frame.
    Rest,
    /// A piece of this, which the replayer has prepared.
    Piece(Span),
    /// Something, but not before others had their turn.
    Later,
    /// Nothing any more.
    Nothing,
}

impl Arrears {
    /// What a new subscriber gets first.
    pub(super) fn prologue(gap: Option<Gap>, replay: Option<Replay>) -> Self {
        // A crowd that comes at once asks in one turn, and is answered over many.
        let turn = if replay.is_some() { Turn::Over } else { Turn::Waiting };
        Self { gap, replay, turn, ..Self::default() }
    }

    /// Works off what takes no bytes, and says what comes next. A gap is told together with what follows it, so that who
    /// comes back behind a gap is not told of it again.
    pub(super) fn due(&mut self, key: FeedKey, wish: &Wish, replayer: &mut Replayer) -> Due {
        loop {
            if self.rest.is_some() {
                return Due::Rest;
            }
            if self.is_replaying() && std::mem::replace(&mut self.turn, Turn::Taken) == Turn::Over {
                return Due::Later;
            }
            let due = self.look_for_piece(key, wish, replayer);
            if matches!(due, Due::Later) {
                return due;
            }
            if let Some(gap) = self.gap.take() {
                if wish.wire.tells_gaps() {
                    let mut notice = Vec::new();
                    wish.wire.write_gap(&mut notice, gap.missed, gap.reason);
                    let frame = SharedFrame::new(notice, replayer.memory());
                    self.rest = Some(FrameRest { frame, sent: 0 });
                }
            } else if matches!(due, Due::Piece(_)) {
                return due;
            } else if self.is_replaying() {
                self.end_replay(replayer);
            } else if let Some(Skipped::Told { missed }) = self.skipped.take() {
                self.gap = Some(Gap { missed: Some(missed), reason: GapReason::Lag });
            } else {
                return Due::Nothing;
            }
        }
    }

    /// Finds what comes next of a replay, where there is one.
    fn look_for_piece(&mut self, key: FeedKey, wish: &Wish, replayer: &mut Replayer) -> Due {
        let has_gap = self.gap.is_some();
        let Some(replay) = self.replay_mut() else { return Due::Nothing };
        let mut kept = *replay;
        let forgotten = replayer.forgotten(&mut kept);
        if forgotten.is_some() && has_gap {
            // It is another gap, behind the one that is to be told of.
            return Due::Nothing;
        }
        *replay = kept;
        let due = match kept.span() {
            Some(span) => match replayer.prepare(key, wish, span) {
                Prepared::Nothing(next) => {
                    replay.from = next;
                    if replay.span().is_some() { Due::Later } else { Due::Nothing }
                }
                Prepared::Piece => Due::Piece(span),
                Prepared::Later => Due::Later,
            },
            None => Due::Nothing,
        };
        if let Some(lost) = forgotten {
            replayer.count_lag();
            let missed = wish.filter.is_everything().then_some(lost);
            self.gap = Some(Gap { missed, reason: GapReason::Lag });
        }
        due
    }

    /// Notes that `sent` bytes left of what was due, and returns how many messages began with them.
    pub(super) fn advance(
        &mut self,
        sent: usize,
        wire: WireFormat,
        replayer: &mut Replayer,
    ) -> u64 {
        if let Some(rest) = &mut self.rest {
            rest.sent += sent;
            if rest.bytes().is_empty() {
                self.rest = None;
            }
            return 0;
        }
        let Some(replay) = self.replay_mut() else { return 0 };
        let Some(span) = replay.span() else { return 0 };
        let Progress { messages, next, rest } = replayer.advance(wire, span, sent);
        replay.from = next;
        let is_done = replay.span().is_none();
        if let (None, Some(Skipped::Conflated { missed, .. })) = (&self.replay, &mut self.skipped) {
            *missed -= messages;
        }
        if rest.is_none() && !is_done && replayer.ends_piece(next) {
            self.turn = Turn::Over;
        }
        self.rest = rest;
        messages
    }

    /// What is kept and was not replayed yet.
    pub(super) fn replay(&self) -> Option<Replay> {
        self.replay
    }

    /// Nothing else is due: whether the subscriber is to stop here.
    pub(super) fn stops_at_seam(&mut self) -> bool {
        if self.seam == Seam::Ahead {
            self.seam = Seam::Reached;
        }
        self.seam == Seam::Reached
    }

    /// Whether a seam is marked.
    pub(super) fn has_seam(&self) -> bool {
        self.seam != Seam::Unmarked
    }

    /// Whether something of the log was missed, or left in part.
    pub(super) fn has_missed(&self) -> bool {
        self.rest.is_some() || self.skipped.is_some()
    }

    /// Whether there is something that only a gap can tell of, or may have to.
    pub(super) fn owes_gap(&self) -> bool {
        self.has_missed() || self.gap.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        let Self { rest, gap, replay, skipped, seam, turn: _ } = self;
        let is_settled = rest.is_none() && gap.is_none() && replay.is_none() && skipped.is_none();
        is_settled && *seam == Seam::Unmarked
    }

    /// Whether the subscriber gets kept messages, which its owner sees to by itself.
    pub(super) fn is_served_apart(&self) -> bool {
        self.turn != Turn::Waiting && self.is_replaying()
    }

    /// Lets a replay that is under way make up for the messages up to `last`, too, where history has them: `first` is
    /// the first one that it has.
    pub(super) fn extend_replay(&mut self, first: Seq, last: Seq) -> bool {
        match &mut self.replay {
            Some(replay) if self.skipped.is_none() && first.0 <= replay.until.0 + 1 => {
                replay.until = last;
                true
            }
            _ => false,
        }
    }

    /// Adds `count` messages to those that are told as missed.
    pub(super) fn tell_missed(&mut self, count: u64) {
        match &mut self.skipped {
            Some(Skipped::Told { missed } | Skipped::Conflated { missed, .. }) => *missed += count,
            None => self.skipped = Some(Skipped::Told { missed: count }),
        }
    }

    /// Adds `count` messages, numbered from `first` to `last`, to those that are missed, but for the last ones of their
    /// topics.
    pub(super) fn conflate_missed(&mut self, count: u64, first: Seq, last: Seq) {
        match &mut self.skipped {
            Some(Skipped::Conflated { replay, missed }) => {
                // Where the earlier ones were all looked at, it goes on with these.
                replay.until = last;
                *missed += count;
            }
            skipped => {
                let (values_before, values) = (Seq(u64::MAX), Store::LastValues);
                let replay = Replay { from: first, until: last, values_before, values };
                *skipped = Some(Skipped::Conflated { replay, missed: count });
            }
        }
    }

    fn is_replaying(&self) -> bool {
        self.replay.is_some() || matches!(self.skipped, Some(Skipped::Conflated { .. }))
    }

    /// The replay that is to be gone on with.
    fn replay_mut(&mut self) -> Option<&mut Replay> {
        match (&mut self.replay, &mut self.skipped) {
            (Some(replay), _) | (None, Some(Skipped::Conflated { replay, .. })) => Some(replay),
            (None, Some(Skipped::Told { .. }) | None) => None,
        }
    }

    fn end_replay(&mut self, replayer: &mut Replayer) {
        if self.replay.take().is_none()
            && let Some(Skipped::Conflated { missed, .. }) = self.skipped.take()
            && missed > 0
        {
            replayer.count_lag();
            self.gap = Some(Gap { missed: Some(missed), reason: GapReason::Lag });
        }
    }
}
