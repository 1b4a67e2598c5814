//! Remembers which topics were told of a loss, where nobody knows whose messages were lost. Knows neither sockets nor clients.

use std::collections::{HashMap, HashSet};

/// Topics that are remembered of each source: as many as have their counter followed, 3 MB with the longest.
const TOPICS_MAX: usize = 10_000;

/// The topics of each source that has lost something, since it last did.
#[derive(Debug, Default)]
pub(super) struct Losses {
    told: HashMap<usize, HashSet<Box<[u8]>>>,
}

impl Losses {
    /// `source` has lost messages of any topics.
    pub(super) fn note(&mut self, source: usize) {
        self.told.entry(source).or_default().clear();
    }

    /// Whether a message of `topic` is the first one since, so that it is to tell. Of more topics than are remembered some
    /// tell twice.
    pub(super) fn may_concern(&mut self, source: usize, topic: &[u8]) -> bool {
        let Some(told) = self.told.get_mut(&source) else { return false };
        if told.contains(topic) {
            return false;
        }
        if told.len() == TOPICS_MAX {
            told.clear();
        }
        told.insert(topic.into());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_topics_take_bounded_memory_and_none_is_left_out() {
        let mut losses = Losses::default();
        losses.note(3);
        for number in 0..3 * TOPICS_MAX as u32 {
            assert!(losses.may_concern(3, &number.to_be_bytes()));
            assert!(!losses.may_concern(3, &number.to_be_bytes()));
            assert!(losses.told[&3].len() <= TOPICS_MAX);
        }
    }
}
