//! What is subscribed to where no publisher does the choosing. Knows nothing else.

use std::collections::BTreeSet;
use std::ops::Bound;

/// Prefixes, and whether a topic starts with one of them.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    sorted: BTreeSet<Box<[u8]>>,
}

impl Prefixes {
    pub(super) fn insert(&mut self, prefix: &[u8]) {
        self.sorted.insert(prefix.into());
    }

    pub(super) fn remove(&mut self, prefix: &[u8]) {
        self.sorted.remove(prefix);
    }

    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Takes as many steps as `topic` has bytes at the most, and one where no prefix starts with another.
    pub(super) fn match_start_of(&self, topic: &[u8]) -> bool {
        let mut end = topic;
        // Every prefix of the topic sorts up to the topic itself; what sorts nearest below and is none shows how long the
        // others can be.
        while let Some(nearest) = self.last_up_to(end) {
            if topic.starts_with(nearest) {
                return true;
            }
            let common = nearest.iter().zip(topic).take_while(|(a, b)| a == b).count();
            end = &topic[..common];
        }
        false
    }

    fn last_up_to(&self, end: &[u8]) -> Option<&[u8]> {
        let range = (Bound::Unbounded, Bound::Included(end));
        self.sorted.range::<[u8], _>(range).next_back().map(|prefix| &**prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_random::Random;

    #[test]
    fn prefixes_match_as_a_scan_over_all_of_them_does() {
        let mut random = Random::from_env();
        for _ in 0..2_000 {
            let mut prefixes = Prefixes::default();
            let mut oracle: Vec<Vec<u8>> = Vec::new();
            let text = |random: &mut Random, len| -> Vec<u8> {
                (0..random.below(len)).map(|_| [0, b'a', b'b', 0xff][random.below(4)]).collect()
            };
            for _ in 0..random.below(12) {
                let prefix = text(&mut random, 5);
                if random.below(4) == 0 {
                    prefixes.remove(&prefix);
                    oracle.retain(|kept| *kept != prefix);
                } else {
                    prefixes.insert(&prefix);
                    oracle.retain(|kept| *kept != prefix);
                    oracle.push(prefix);
                }
            }
            assert_eq!(prefixes.len(), oracle.len());
            for _ in 0..20 {
                let topic = text(&mut random, 8);
                let expected = oracle.iter().any(|prefix| topic.starts_with(prefix));
                assert_eq!(prefixes.match_start_of(&topic), expected, "{topic:?} {oracle:?}");
            }
        }
    }
}
