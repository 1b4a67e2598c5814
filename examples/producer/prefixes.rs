//! Which prefixes have a subscriber. Knows no sockets.

use std::collections::BTreeSet;
use std::ops::Bound;

#[derive(Default)]
pub(crate) struct Prefixes(BTreeSet<Vec<u8>>);

impl Prefixes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn add(&mut self, prefix: &[u8]) {
        self.0.insert(prefix.to_vec());
    }

    pub(crate) fn remove(&mut self, prefix: &[u8]) {
        self.0.remove(prefix);
    }

    /// Whether one of them is how `topic` starts.
    pub(crate) fn match_start_of(&self, topic: &[u8]) -> bool {
        let mut start = topic;
        // In order, a prefix comes before all that starts with it: the last that does not come behind is one, or
        // has in common with the topic whatever is.
        loop {
            let up_to_start = (Bound::Unbounded, Bound::Included(start));
            let Some(last) = self.0.range::<[u8], _>(up_to_start).next_back() else { return false };
            if start.starts_with(last) {
                return true;
            }
            let common = start.iter().zip(last).take_while(|(a, b)| a == b).count();
            start = &start[..common];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_match_as_a_scan_over_all_of_them_would() {
        let words = |len_max: usize| {
            let mut words = vec![Vec::new()];
            for len in 0..len_max {
                let longer: Vec<_> = words.iter().filter(|word| word.len() == len).collect();
                let longer: Vec<Vec<u8>> = longer
                    .into_iter()
                    .flat_map(|word| [0, 1, 255].map(|it| [&word[..], &[it]].concat()))
                    .collect();
                words.extend(longer);
            }
            words
        };
        let (all, topics) = (words(2), words(4));
        // Every choice of up to three of them.
        for number in 0..all.len().pow(3) {
            let chosen =
                [1, all.len(), all.len().pow(2)].map(|step| &all[number / step % all.len()]);
            let mut prefixes = Prefixes::default();
            chosen[..number % 4].iter().for_each(|prefix| prefixes.add(prefix));
            for topic in &topics {
                let expected = chosen[..number % 4].iter().any(|prefix| topic.starts_with(prefix));
                assert_eq!(prefixes.match_start_of(topic), expected, "{topic:?} {chosen:?}");
            }
        }
    }

    #[test]
    fn what_was_removed_matches_no_more() {
        let mut prefixes = Prefixes::default();
        prefixes.add(b"a");
        prefixes.add(b"a");
        prefixes.remove(b"b");
        assert!(prefixes.match_start_of(b"ab") && !prefixes.is_empty());
        prefixes.remove(b"a");
        assert!(!prefixes.match_start_of(b"ab") && prefixes.is_empty());
    }
}
