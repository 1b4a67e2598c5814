//! Says in the log what is wrong with the messages of a topic, seldom enough for any number of them. Knows no clock.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// The same is said of the same topic once in this time.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Topics of which something is said within [`WARNING_INTERVAL`]: what is wrong with a hundred of them is wrong with all,
/// and a producer that makes topics up writes no more than two lines a second. The metrics count the others too.
const TOPICS_MAX: usize = 100;

/// Topics that begin with the same so many bytes count as one, and are shown so far.
const TOPIC_BYTES_MAX: usize = 100;

/// Which topics were complained of.
#[derive(Debug, Default)]
pub(super) struct TopicLog {
    warned: HashMap<Box<[u8]>, Instant>,
}

impl TopicLog {
    /// Logs what `complaint` returns about messages of `topic`, where it is time to.
    pub(super) fn warn<D: Display>(
        &mut self,
        now: Instant,
        topic: &[u8],
        complaint: impl FnOnce() -> D,
    ) {
        let topic = &topic[..topic.len().min(TOPIC_BYTES_MAX)];
        if self.is_due(now, topic) {
            log::warn!("messages of topic '{}': {}", topic.escape_ascii(), complaint());
        }
    }

    fn is_due(&mut self, now: Instant, topic: &[u8]) -> bool {
        let is_recent =
            |warned: &Instant| now.saturating_duration_since(*warned) < WARNING_INTERVAL;
        if let Some(warned) = self.warned.get_mut(topic) {
            let is_due = !is_recent(warned);
            if is_due {
                *warned = now;
            }
            return is_due;
        }
        if self.warned.len() == TOPICS_MAX {
            self.warned.retain(|_, warned| is_recent(warned));
        }
        let has_room = self.warned.len() < TOPICS_MAX;
        if has_room {
            self.warned.insert(topic.into(), now);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_complained_of_once_a_minute() {
        let (mut log, start) = (TopicLog::default(), Instant::now());
        let due: Vec<_> = (0..180)
            .filter(|&second| log.is_due(start + Duration::from_secs(second), b"t"))
            .collect();
        assert_eq!(due, [0, 60, 120]);
        assert!(log.is_due(start, b"other"));
    }

    #[test]
    fn made_up_topics_take_bounded_lines_and_memory() {
        let (mut log, start) = (TopicLog::default(), Instant::now());
        let flood = |log: &mut TopicLog, now| {
            (0..10_000_u32).filter(|number| log.is_due(now, &number.to_be_bytes())).count()
        };
        assert_eq!(flood(&mut log, start), TOPICS_MAX);
        assert_eq!(flood(&mut log, start + WARNING_INTERVAL / 2), 0);
        assert_eq!(flood(&mut log, start + WARNING_INTERVAL), TOPICS_MAX);
        assert_eq!(log.warned.len(), TOPICS_MAX);
    }
}
