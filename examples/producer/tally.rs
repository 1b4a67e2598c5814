//! Counts what was sent and what was not, and says so at the end. Knows no sockets.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use zmq2ws_examples::text;

/// How many topics are counted one by one; the others together.
const TOPICS_MAX: usize = 10_000;

/// Messages, and the bytes of their topics and bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    messages: u64,
    bytes: u64,
}

/// Why a message did not go to everyone who wanted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Loss {
    /// It had no subscriber.
    Unheard,
    /// Read, but not sent when the program had to end.
    Unsent,
    /// Longer than a datagram.
    TooLong,
    /// The system sent no datagram.
    Refused,
}

impl Loss {
    const ALL: [Self; 4] = [Self::Unheard, Self::Unsent, Self::TooLong, Self::Refused];

    fn words(self) -> &'static str {
        match self {
            Self::Unheard => "without a subscriber",
            Self::Unsent => "not sent before the end",
            Self::TooLong => "too long for a datagram",
            Self::Refused => "that the system did not send",
        }
    }
}

/// What became of all messages.
pub(crate) struct Tally {
    start: Instant,
    topics: HashMap<Vec<u8>, Count>,
    others: Count,
    total: Count,
    losses: HashMap<Loss, u64>,
    full_queues: u64,
}

impl Tally {
    pub(crate) fn new(start: Instant) -> Self {
        let others = Count::default();
        let (topics, losses) = (HashMap::new(), HashMap::new());
        Self { start, topics, others, total: others, losses, full_queues: 0 }
    }

    /// A message was handed over.
    pub(crate) fn add(&mut self, topic: &[u8], body: &[u8]) {
        let is_full = self.topics.len() >= TOPICS_MAX;
        let count = match self.topics.get_mut(topic) {
            Some(count) => count,
            None if is_full => &mut self.others,
            None => self.topics.entry(topic.into()).or_default(),
        };
        for count in [count, &mut self.total] {
            count.messages += 1;
            count.bytes += (topic.len() + body.len()) as u64;
        }
    }

    pub(crate) fn lose(&mut self, loss: Loss) {
        *self.losses.entry(loss).or_default() += 1;
    }

    /// Some subscriber's queue was full, and it misses messages from now on until there is room again.
    pub(crate) fn add_full_queue(&mut self) {
        self.full_queues += 1;
    }

    /// Lines for the user: each topic, then all, then what was lost.
    pub(crate) fn report(&self, now: Instant) -> Vec<String> {
        let mut topics: Vec<_> = self.topics.iter().collect();
        topics.sort_unstable();
        let mut lines: Vec<_> = topics
            .into_iter()
            .map(|(topic, count)| format!("{}: {count}", text::shown(topic)))
            .collect();
        if self.others.messages > 0 {
            lines.push(format!("other topics: {}", self.others));
        }
        let seconds = now.saturating_duration_since(self.start).max(Duration::from_millis(1));
        let rate = self.total.messages as f64 / seconds.as_secs_f64();
        let seconds = seconds.as_secs_f64();
        lines.push(format!("sent {} in {seconds:.2} s ({rate:.1}/s)", self.total));
        let lost: u64 = self.losses.values().sum();
        let details = Loss::ALL.iter().filter_map(|loss| {
            let count = self.losses.get(loss)?;
            Some(format!("{count} {}", loss.words()))
        });
        let details = details.collect::<Vec<_>>().join(", ");
        let colon = if lost > 0 { ": " } else { "" };
        lines.push(format!("dropped {lost} messages{colon}{details}"));
        if self.full_queues > 0 {
            let times = self.full_queues;
            lines.push(format!(
                "some subscriber's queue was full {times} times, and it missed some"
            ));
        }
        lines
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} messages, {} bytes", self.messages, self.bytes)
    }
}

impl PartialOrd for Count {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Count {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.messages, self.bytes).cmp(&(other.messages, other.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_tells_each_topic_the_total_and_the_losses() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        tally.add(b"web1/b.log", b"12345");
        tally.add(b"web1/a.log", b"");
        tally.add(b"web1/b.log", b"1");
        let end = start + Duration::from_secs(2);
        assert_eq!(
            tally.report(end),
            [
                "web1/a.log: 1 messages, 10 bytes",
                "web1/b.log: 2 messages, 26 bytes",
                "sent 3 messages, 36 bytes in 2.00 s (1.5/s)",
                "dropped 0 messages",
            ]
        );
        tally.lose(Loss::TooLong);
        tally.lose(Loss::Unheard);
        tally.lose(Loss::TooLong);
        tally.add_full_queue();
        let losses = "dropped 3 messages: 1 without a subscriber, 2 too long for a datagram";
        assert_eq!(tally.report(end)[3], losses);
        assert!(tally.report(end)[4].contains("full 1 times"));
    }

    #[test]
    fn topics_without_end_are_counted_together() {
        let mut tally = Tally::new(Instant::now());
        for number in 0..TOPICS_MAX + 5 {
            tally.add(number.to_string().as_bytes(), b"");
        }
        let report = tally.report(Instant::now());
        assert_eq!(tally.topics.len(), TOPICS_MAX);
        assert!(report.iter().any(|line| line.starts_with("other topics: 5 messages")));
    }
}
