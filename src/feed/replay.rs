//! Turns kept messages into frames again, a piece at a time, for subscribers that come back or were left behind. One
//! piece at most is held, whoever wants it; a subscriber keeps only numbers.

use std::collections::HashMap;
use std::rc::{Rc, Weak};

use slotmap::Key;

use super::arrears::{Arrears, Gap, Replay, Span, Store};
use super::lagged::Lagged;
use super::log::{FrameRest, LARGE_FRAME_BYTES, SharedFrame};
use super::{FeedKey, Owner, Wish};
use crate::error::GapReason;
use crate::history::{self, History, LastValues};
use crate::memory::Memory;
use crate::message::{Epoch, Id, Message, Seq};
use crate::topics::Filter;
use crate::wire::{DeflateCounts, Encoding, WireFormat};

/// A piece is complete with so many bytes: few enough that whoever waits behind its sender does not notice, enough that
/// a send costs more for its bytes than for the call.
const PIECE_BYTES: usize = 16 << 10;

/// Messages that are looked at for one piece, matching or not: about 30 µs.
const PIECE_MESSAGES_MAX: usize = 1_000;

/// What is deflated of kept messages in one turn before others come first: 0.6 to 1 ms, and one message more.
const TURN_DEFLATED_BYTES_MAX: usize = 64 << 10;

/// What is kept, and the piece of it that was encoded last.
pub(super) struct Replayer {
    history: History,
    last_values: Option<LastValues>,
    /// Whether a new client gets last values first.
    greets: bool,
    /// What is live is encoded by this, too.
    encoding: Encoding,
    /// What may still be deflated in this turn.
    deflated_bytes_left: usize,
    memory: Memory,
    last_seq: Seq,
    piece: Piece,
    shared: SharedFrames,
    lag_gaps: u64,
    /// Whose these are, where somebody wants to know.
    news: Option<Lagged>,
}

/// What a span begins with.
pub(super) enum Prepared {
    /// [`Replayer::piece`].
    Piece,
    /// Nothing that is to be sent, up to this number.
    Nothing(Seq),
    /// Nothing yet: enough was done in this turn.
    Later,
}

/// How far a subscriber got.
pub(super) struct Progress {
    /// Messages that began to leave.
    pub(super) messages: u64,
    /// The number that is to be looked at next.
    pub(super) next: Seq,
    /// What is left of a frame that did not leave as a whole.
    pub(super) rest: Option<FrameRest>,
}

impl Replayer {
    pub(super) fn new(
        limits: history::Limits,
        greets: bool,
        encoding: Encoding,
        memory: Memory,
    ) -> Self {
        Self {
            history: History::with_limits(limits),
            last_values: (limits.topics_max > 0).then(|| LastValues::with_limits(limits)),
            greets,
            encoding,
            deflated_bytes_left: TURN_DEFLATED_BYTES_MAX,
            memory,
            last_seq: Seq(0),
            piece: Piece::new(),
            shared: SharedFrames::default(),
            lag_gaps: 0,
            news: None,
        }
    }

    /// What messages are encoded by, the live ones as well.
    pub(super) fn encoding(&mut self) -> &mut Encoding {
        &mut self.encoding
    }

    pub(super) fn deflates(&self) -> bool {
        self.encoding.deflater.is_some()
    }

    pub(super) fn deflate_counts(&self) -> DeflateCounts {
        self.encoding.deflate_counts()
    }

    pub(super) fn begin_turn(&mut self) {
        self.deflated_bytes_left = TURN_DEFLATED_BYTES_MAX;
    }

    /// The account that frames are charged to.
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Messages and bytes that are kept.
    pub(super) fn held(&self) -> (usize, usize) {
        let values = self.last_values.as_ref();
        (self.history.len(), self.history.held_bytes() + values.map_or(0, LastValues::held_bytes))
    }

    /// Gaps because somebody lagged that were noticed here.
    pub(super) fn lag_gaps(&self) -> u64 {
        self.lag_gaps
    }

    /// From now on [`Self::pop_news`] has something to say.
    pub(super) fn tell_lag(&mut self) {
        self.news = Some(Lagged::default());
    }

    pub(super) fn news(&self) -> &Option<Lagged> {
        &self.news
    }

    /// Takes one of those whose gaps were noticed here.
    pub(super) fn pop_news(&mut self) -> Option<Owner> {
        self.news.as_mut().and_then(Lagged::pop)
    }

    /// The gap that was noticed last is that of `owner`.
    pub(super) fn note_lag_of(&mut self, owner: Owner) {
        if let Some(news) = &mut self.news {
            news.push(owner);
        }
    }

    pub(super) fn count_lag(&mut self) {
        self.lag_gaps += 1;
    }

    /// The first message in history; the one that comes next while there is none.
    pub(super) fn first_seq(&self) -> Seq {
        self.history.first()
    }

    /// The message that was published last.
    pub(super) fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// Keeps `message`, once it is in every log where it belongs.
    pub(super) fn record(&mut self, message: &Message<'_>) {
        self.last_seq = message.seq;
        self.history.record(message);
        if self.piece.store != Store::History {
            // It may hold the value that this one replaces, which nobody is to get from now on.
            self.piece.key = FeedKey::null();
        }
        if let Some(last_values) = &mut self.last_values {
            last_values.record(message);
        }
    }

    /// What a new subscriber gets before what is published from now on, with the gap that it begins with. `is_covered` is
    /// whether everything was taken in that the filter matches and that came after `since`.
    pub(super) fn prologue(&self, filter: &Filter, since: Option<Id>, is_covered: bool) -> Arrears {
        let (first, last) = (self.history.first(), self.last_seq);
        let behind_last = Seq(last.0 + 1);
        let (from, values_before, gap) = match since {
            None if !self.greets => return Arrears::default(),
            None => (Seq(1), behind_last, None),
            Some(since) => {
                let (from, gap) = match self.gap_since(since, filter, is_covered) {
                    Some(gap) if gap.reason == GapReason::Restart => (Seq(1), Some(gap)),
                    gap => (Seq(since.seq.0 + 1), gap),
                };
                let has_values = self.greets && gap.is_some();
                let values_before = if has_values { first } else { Seq(0) };
                let from = if has_values { from } else { from.max(first) };
                (from, values_before, gap)
            }
        };
        let replay = Replay { from, until: last, values_before, values: Store::Greeting };
        let replay = Some(replay).filter(|replay| replay.from <= replay.until);
        Arrears::prologue(gap, replay)
    }

    /// What is missing between `since` and the first message that is kept.
    pub(super) fn gap_since(&self, since: Id, filter: &Filter, is_covered: bool) -> Option<Gap> {
        if since.epoch != Some(self.epoch()) || since.seq > self.last_seq {
            return Some(Gap { missed: None, reason: GapReason::Restart });
        }
        let missed = self.history.first().0.saturating_sub(since.seq.0 + 1);
        // How many of them another filter would have let through is not known; nor how many last values make up for.
        let is_known = filter.is_everything() && !self.greets && is_covered;
        let gap = Gap { missed: is_known.then_some(missed), reason: GapReason::History };
        (missed > 0 || !is_covered).then_some(gap)
    }

    /// The run that the numbers count in.
    pub(super) fn epoch(&self) -> Epoch {
        self.encoding.epoch
    }

    /// Passes over what `replay` should get from history and is not kept any more; returns how many messages that are.
    pub(super) fn forgotten(&self, replay: &mut Replay) -> Option<u64> {
        let first = self.history.first().min(Seq(replay.until.0 + 1));
        if replay.from < replay.values_before || replay.from >= first {
            return None;
        }
        let lost = first.0 - replay.from.0;
        replay.from = first;
        Some(lost)
    }

    /// Makes [`Self::piece`] what begins `span`, where there is something to be sent and time for it.
    pub(super) fn prepare(&mut self, key: FeedKey, wish: &Wish, span: Span) -> Prepared {
        if !self.piece.begins(key, span) {
            if wish.wire.deflates() && self.deflated_bytes_left == 0 {
                return Prepared::Later;
            }
            self.fill_piece(key, wish, span);
        }
        match self.piece(span) {
            [] => Prepared::Nothing(self.piece.next.min(Seq(span.last.0 + 1))),
            _ => Prepared::Piece,
        }
    }

    fn fill_piece(&mut self, key: FeedKey, wish: &Wish, span: Span) {
        let Self { history, last_values, encoding, memory, piece, shared, .. } = self;
        piece.clear(key, span);
        let worked_before = encoding.deflate_counts().work_bytes;
        let worked_until = worked_before + self.deflated_bytes_left;
        let mut filler = Filler { wish, encoding, worked_until, memory, piece, shared };
        let values = || last_values.iter().flat_map(|values| values.iter_from(span.first));
        match span.store {
            Store::History => filler.fill(history.iter_from(span.first), span.last),
            Store::LastValues => filler.fill(values(), span.last),
            Store::Greeting => filler.fill(values().map(Message::without_loss), span.last),
        }
        let worked = encoding.deflate_counts().work_bytes - worked_before;
        self.deflated_bytes_left = self.deflated_bytes_left.saturating_sub(worked);
    }

    /// What `span` begins with: whole frames.
    pub(super) fn piece(&self, span: Span) -> &[u8] {
        let frames = self.piece.frames(span);
        let Some(&(_, start)) = frames.first() else { return &[] };
        &self.piece.bytes()[start..self.piece.end(frames)]
    }

    /// The one frame that [`Self::piece`] is, where it is one that is shared.
    pub(super) fn shared_frame(&self) -> Option<&Rc<SharedFrame>> {
        self.piece.large.as_ref()
    }

    /// How far `sent` bytes of [`Self::piece`] lead.
    pub(super) fn advance(&mut self, wire: WireFormat, span: Span, sent: usize) -> Progress {
        let Self { piece, shared, memory, .. } = self;
        let frames = piece.frames(span);
        let sent_until = frames.first().map_or(0, |&(_, start)| start + sent);
        let begun = frames.partition_point(|&(_, start)| start < sent_until);
        let next = match frames.get(begun) {
            Some(&(seq, _)) => seq,
            None => piece.next.min(Seq(span.last.0 + 1)),
        };
        let rest = frames[..begun].last().and_then(|&(seq, start)| {
            let end = piece.end(&frames[..begun]);
            let mut copy = || match &piece.large {
                Some(frame) => Rc::clone(frame),
                None => {
                    let copy = || piece.bytes[start..end].to_vec();
                    shared.get_or_make((wire, span.store, seq), memory, copy)
                }
            };
            (end > sent_until).then(|| FrameRest { frame: copy(), sent: sent_until - start })
        });
        Progress { messages: begun as u64, next, rest }
    }

    /// Whether who goes on at `next` needs another piece.
    pub(super) fn ends_piece(&self, next: Seq) -> bool {
        next >= self.piece.next
    }

    /// Lets go of the piece where that frees memory: at the end of a turn those who wanted it had their chance.
    pub(super) fn forget_large(&mut self) {
        if self.piece.large.take().is_some() {
            self.piece.key = FeedKey::null();
        }
    }
}

/// Encoded frames of one feed: everything of a store from one number to another that the feed's filter lets through.
struct Piece {
    key: FeedKey,
    store: Store,
    first: Seq,
    /// The number behind those that were looked at.
    next: Seq,
    /// Each frame's number and where it begins.
    frames: Vec<(Seq, usize)>,
    bytes: Vec<u8>,
    /// In place of `bytes`: one frame that is shared instead of copied.
    large: Option<Rc<SharedFrame>>,
}

impl Piece {
    fn new() -> Self {
        Self {
            key: FeedKey::null(),
            store: Store::History,
            first: Seq(0),
            next: Seq(0),
            frames: Vec::new(),
            bytes: Vec::new(),
            large: None,
        }
    }

    fn clear(&mut self, key: FeedKey, span: Span) {
        (self.key, self.store, self.first, self.next) = (key, span.store, span.first, span.first);
        self.frames.clear();
        self.bytes.clear();
        self.large = None;
    }

    /// Whether it holds what `span` begins with.
    fn begins(&self, key: FeedKey, span: Span) -> bool {
        let is_meant = self.key == key && self.store == span.store;
        is_meant && (self.first..self.next).contains(&span.first)
    }

    /// The frames that belong to `span`.
    fn frames(&self, span: Span) -> &[(Seq, usize)] {
        let start = self.frames.partition_point(|&(seq, _)| seq < span.first);
        let end = self.frames.partition_point(|&(seq, _)| seq <= span.last);
        &self.frames[start..end]
    }

    /// Where the last of `frames` ends, which are some of its own.
    fn end(&self, frames: &[(Seq, usize)]) -> usize {
        let behind = frames
            .last()
            .map_or(0, |&(seq, _)| self.frames.partition_point(|&(own, _)| own <= seq));
        self.frames.get(behind).map_or(self.bytes().len(), |&(_, start)| start)
    }

    fn bytes(&self) -> &[u8] {
        self.large.as_ref().map_or(&self.bytes, |frame| frame.as_bytes())
    }
}

/// Fills a piece.
struct Filler<'a> {
    wish: &'a Wish,
    encoding: &'a mut Encoding,
    /// So much is deflated for this piece.
    worked_until: usize,
    memory: &'a Memory,
    piece: &'a mut Piece,
    shared: &'a mut SharedFrames,
}

impl Filler<'_> {
    /// Encodes `messages` up to the one numbered `last`, as far as a piece goes.
    fn fill<'m>(&mut self, messages: impl Iterator<Item = Message<'m>>, last: Seq) {
        let messages = messages.take_while(|message| message.seq <= last);
        for (looked_at, message) in messages.enumerate() {
            self.piece.next = message.seq;
            let is_worked_off = self.wish.wire.deflates()
                && self.encoding.deflate_counts().work_bytes >= self.worked_until;
            if looked_at == PIECE_MESSAGES_MAX
                || self.piece.bytes.len() >= PIECE_BYTES
                || is_worked_off
            {
                return;
            }
            if self.wish.filter.matches(message.matched()) && !self.add(&message) {
                if self.piece.frames.is_empty() {
                    self.add_large(&message);
                }
                return;
            }
        }
        self.piece.next = Seq(last.0 + 1);
    }

    /// Appends the frame of `message`, unless it is a large one.
    fn add(&mut self, message: &Message<'_>) -> bool {
        let Piece { bytes, frames, .. } = &mut *self.piece;
        let start = bytes.len();
        if message.body_bytes() < LARGE_FRAME_BYTES {
            self.wish.wire.write_message(bytes, self.encoding, message);
            if bytes.len() - start < LARGE_FRAME_BYTES {
                frames.push((message.seq, start));
                return true;
            }
            bytes.truncate(start);
        }
        false
    }

    /// Makes a large frame the whole piece.
    fn add_large(&mut self, message: &Message<'_>) {
        let wire = self.wish.wire;
        let encode = || {
            let mut bytes = Vec::new();
            if !wire.deflates() {
                bytes.reserve_exact(message.body_bytes() + message.topic().len() + 64);
            }
            wire.write_message(&mut bytes, self.encoding, message);
            bytes.shrink_to_fit();
            bytes
        };
        let id = (wire, self.piece.store, message.seq);
        let frame = self.shared.get_or_make(id, self.memory, encode);
        self.piece.large = Some(frame);
        self.piece.frames.push((message.seq, 0));
        self.piece.next = Seq(message.seq.0 + 1);
    }
}

/// What makes a frame: the same message is not the same one from every store.
type FrameId = (WireFormat, Store, Seq);

/// The frames of replayed messages that somebody holds, so that all hold the same ones.
#[derive(Default)]
struct SharedFrames {
    frames: HashMap<FrameId, Weak<SharedFrame>>,
    /// With more of them, those are looked for that nobody holds any more.
    sweep_at: usize,
}

impl SharedFrames {
    fn get_or_make(
        &mut self,
        id: FrameId,
        memory: &Memory,
        make: impl FnOnce() -> Vec<u8>,
    ) -> Rc<SharedFrame> {
        if let Some(frame) = self.frames.get(&id).and_then(Weak::upgrade) {
            return frame;
        }
        if self.frames.len() >= self.sweep_at {
            self.frames.retain(|_, frame| frame.strong_count() > 0);
            self.sweep_at = 2 * self.frames.len() + 64;
        }
        let frame = SharedFrame::new(make(), memory);
        self.frames.insert(id, Rc::downgrade(&frame));
        frame
    }
}
