//! What a source says in the log: facts gathered, at most one report a second. Knows no sockets and
//! no clock.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use log::Level;

use super::endpoint::Attach;
use super::monitor::Refusal;
use crate::error::DropReason;
use crate::message::PARTS_MAX;

/// A flapping or hostile publisher costs one line of each kind in this time.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Gathers what happened since the last report.
pub(super) struct Journal {
    attach: Attach,
    /// The earliest time of the next report.
    next_report: Instant,
    /// Open connections now, and as last reported; `None` before the first event.
    open: Option<u64>,
    open_reported: Option<u64>,
    disconnects: u64,
    refused: [u64; Refusal::ALL.len()],
    revived: u64,
    dropped: [u64; DropReason::ALL.len()],
    dropped_bytes_max: usize,
}

impl Journal {
    /// A journal that may report from `now` on.
    pub(super) fn new(attach: Attach, now: Instant) -> Self {
        Self {
            attach,
            next_report: now,
            open: None,
            open_reported: None,
            disconnects: 0,
            refused: [0; Refusal::ALL.len()],
            revived: 0,
            dropped: [0; DropReason::ALL.len()],
            dropped_bytes_max: 0,
        }
    }

    /// So many connections are open now.
    pub(super) fn note_open(&mut self, open: u64) {
        self.open = Some(open);
    }

    pub(super) fn note_disconnect(&mut self) {
        self.disconnects += 1;
    }

    pub(super) fn note_refused(&mut self, why: Refusal) {
        self.refused[why as usize] += 1;
    }

    pub(super) fn note_revived(&mut self) {
        self.revived += 1;
    }

    /// `count` messages of up to `bytes` were dropped; of those that nobody saw, `bytes` is 0.
    pub(super) fn note_dropped(&mut self, reason: DropReason, count: u64, bytes: usize) {
        self.dropped[reason as usize] += count;
        self.dropped_bytes_max = self.dropped_bytes_max.max(bytes);
    }

    /// When the next report is due; `None` while there is nothing to say.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        (self.has_link_news() || self.has_drops()).then_some(self.next_report)
    }

    /// Logs what is due at `now` about the source at `address`.
    pub(super) fn handle_timeout(&mut self, now: Instant, address: &str) {
        while let Some((level, line)) = self.next_line(now) {
            log::log!(level, "source {}: {line}", address.escape_debug());
        }
    }

    fn next_line(&mut self, now: Instant) -> Option<(Level, String)> {
        if self.next_deadline()? > now {
            return None;
        }
        let (level, line) = if self.has_link_news() {
            self.take_link_line()
        } else {
            (Level::Warn, self.take_drop_line())
        };
        if self.next_deadline().is_none() {
            self.next_report = now + REPORT_INTERVAL;
        }
        Some((level, line))
    }

    fn has_link_news(&self) -> bool {
        self.open != self.open_reported
            || self.disconnects > 0
            || self.has_refusals()
            || self.revived > 0
    }

    fn has_refusals(&self) -> bool {
        self.refused.iter().any(|&count| count > 0)
    }

    fn has_drops(&self) -> bool {
        self.dropped.iter().any(|&count| count > 0)
    }

    fn take_link_line(&mut self) -> (Level, String) {
        let open = self.open.unwrap_or(0);
        let mut line = match (self.attach, open) {
            (Attach::Connect, 0) => "not connected, trying again".to_owned(),
            (Attach::Connect, _) => "connected".to_owned(),
            (Attach::Bind, 1) => "1 publisher connected".to_owned(),
            (Attach::Bind, _) => format!("{open} publishers connected"),
        };
        let is_odd = |why: Refusal| match why {
            // Anybody may come to a bound endpoint and leave at once: a probe, a scan.
            Refusal::HungUp => self.attach == Attach::Connect,
            Refusal::Protocol | Refusal::Mechanism | Refusal::Key | Refusal::Denied => true,
        };
        let has_odd =
            Refusal::ALL.into_iter().any(|why| self.refused[why as usize] > 0 && is_odd(why));
        let level = if has_odd || self.revived > 0 { Level::Warn } else { Level::Info };
        let refusals = Refusal::ALL.map(|why| (self.refused[why as usize], what_was_refused(why)));
        let revivals = "connected anew after a protocol error or a part far above the limit";
        for (count, what) in [(self.disconnects, "disconnected")]
            .into_iter()
            .chain(refusals)
            .chain([(self.revived, revivals)])
        {
            if count > 0 {
                write!(line, "; {what}: {count}").expect("a String takes any text");
            }
        }
        self.open_reported = self.open;
        (self.disconnects, self.revived) = (0, 0);
        self.refused = Default::default();
        (level, line)
    }

    fn take_drop_line(&mut self) -> String {
        let dropped = std::mem::take(&mut self.dropped);
        let bytes_max = std::mem::take(&mut self.dropped_bytes_max);
        let mut line = "dropped".to_owned();
        let mut separator = "";
        for reason in DropReason::ALL.into_iter().filter(|it| dropped[*it as usize] > 0) {
            let what = match reason {
                DropReason::TooLarge => "too large".to_owned(),
                DropReason::TooManyParts => format!("of more than {PARTS_MAX} parts"),
                DropReason::Malformed => "that no RADIO socket sends".to_owned(),
                DropReason::Overflow => "in the kernel, which kept as many as it may".to_owned(),
                // That is done behind the sources.
                DropReason::Map => "by the host program".to_owned(),
            };
            let count = dropped[reason as usize];
            write!(line, "{separator} {count} {what}").expect("a String takes any text");
            separator = ",";
        }
        if bytes_max > 0 {
            write!(line, "; the largest had {bytes_max} bytes").expect("a String takes any text");
        }
        line
    }
}

/// What happened, and where to look.
fn what_was_refused(why: Refusal) -> &'static str {
    match why {
        Refusal::Protocol => "peer refused (not a ZeroMQ publisher, or the wrong socket type)",
        Refusal::Mechanism => {
            "peer refused (it has other ZeroMQ security than this end: none, PLAIN or CURVE)"
        }
        Refusal::Key => "peer refused (it does not use the CURVE keys that are known here)",
        Refusal::Denied => "denied by the peer (it does not let in this key, or user and password)",
        Refusal::HungUp => {
            "ended in the handshake (not a ZeroMQ publisher, no answer in time, other security, or a wrong CURVE server key)"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(attach: Attach) -> (Journal, Instant) {
        let now = Instant::now();
        (Journal::new(attach, now), now)
    }

    #[test]
    fn says_nothing_without_news() {
        let (mut journal, now) = journal(Attach::Connect);
        assert_eq!((journal.next_deadline(), journal.next_line(now)), (None, None));
    }

    #[test]
    fn a_flapping_publisher_costs_one_line_a_second() {
        let (mut journal, start) = journal(Attach::Connect);
        let mut lines = Vec::new();
        for millis in 0..3000 {
            let now = start + Duration::from_millis(millis);
            journal.note_open(millis % 2);
            if millis % 2 == 0 {
                journal.note_disconnect();
            }
            lines.extend(std::iter::from_fn(|| journal.next_line(now)));
        }
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(
            lines[1],
            (Level::Info, "not connected, trying again; disconnected: 500".into())
        );
    }

    #[test]
    fn the_last_state_is_always_told() {
        let (mut journal, now) = journal(Attach::Bind);
        journal.note_open(1);
        assert_eq!(journal.next_line(now), Some((Level::Info, "1 publisher connected".into())));
        journal.note_open(2);
        assert_eq!(journal.next_line(now), None);
        let due = journal.next_deadline().unwrap();
        assert_eq!(due, now + REPORT_INTERVAL);
        assert_eq!(journal.next_line(due), Some((Level::Info, "2 publishers connected".into())));
        assert_eq!(journal.next_deadline(), None);
    }

    #[test]
    fn drops_are_told_beside_the_state_and_never_with_content() {
        let (mut journal, now) = journal(Attach::Connect);
        journal.note_refused(Refusal::Protocol);
        journal.note_dropped(DropReason::TooLarge, 1, 7);
        journal.note_dropped(DropReason::TooLarge, 1, 9);
        journal.note_dropped(DropReason::Overflow, 1_000, 0);
        let (level, line) = journal.next_line(now).unwrap();
        assert_eq!(level, Level::Warn);
        assert!(line.contains("peer refused"), "{line}");
        let expected = "dropped 2 too large, 1000 in the kernel, which kept as many as it may; the largest had 9 bytes";
        assert_eq!(journal.next_line(now), Some((Level::Warn, expected.into())));
        assert_eq!(journal.next_line(now), None);
    }

    #[test]
    fn every_refusal_has_words_of_its_own_and_is_counted_alone() {
        for why in Refusal::ALL {
            let (mut journal, now) = journal(Attach::Connect);
            journal.note_refused(why);
            journal.note_refused(why);
            let (level, line) = journal.next_line(now).unwrap();
            assert_eq!(level, Level::Warn);
            assert_eq!(line, format!("not connected, trying again; {}: 2", what_was_refused(why)));
            for other in Refusal::ALL.into_iter().filter(|it| *it != why) {
                assert_ne!(what_was_refused(why), what_was_refused(other));
            }
        }
    }

    #[test]
    fn who_comes_to_a_bound_endpoint_and_leaves_is_no_warning() {
        let (mut journal, now) = journal(Attach::Bind);
        journal.note_refused(Refusal::HungUp);
        let (level, line) = journal.next_line(now).unwrap();
        assert_eq!(level, Level::Info);
        assert!(line.contains("ended in the handshake"), "{line}");
    }
}
