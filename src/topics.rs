//! What clients want, and the index from a topic to everyone who wants it. Knows neither clients nor messages.

mod demand;

pub(crate) use demand::{Change, Demand};

use std::collections::HashMap;

use fast_radix_trie::GenericRadixMap;

/// The longest topic or prefix that a client may ask for, bytes: it decides how deep the index can become.
pub(crate) const TOPIC_BYTES_MAX: usize = 255;

/// The topics that a client wants, in one canonical form, so that equal wishes are equal values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    /// Sorted; none starts with another.
    prefixes: Box<[Box<[u8]>]>,
    /// Sorted; none starts with a prefix.
    exact: Box<[Box<[u8]>]>,
}

impl Filter {
    /// Matches topics that start with one of `prefixes` or are one of `exact`; with neither, everything.
    pub(crate) fn new(mut prefixes: Vec<Vec<u8>>, mut exact: Vec<Vec<u8>>) -> Self {
        if prefixes.is_empty() && exact.is_empty() {
            prefixes.push(Vec::new());
        }
        // A prefix sorts right before everything that starts with it, so looking at the last one kept is enough.
        prefixes.sort_unstable();
        prefixes.dedup_by(|later, kept| later.starts_with(kept));
        exact.sort_unstable();
        exact.dedup();
        exact.retain(|topic| !prefixes.iter().any(|prefix| topic.starts_with(prefix)));
        let boxed = |topics: Vec<Vec<u8>>| topics.into_iter().map(Vec::into_boxed_slice).collect();
        Self { prefixes: boxed(prefixes), exact: boxed(exact) }
    }

    /// About how many bytes its topics take, here and in an index.
    pub(crate) fn heap_bytes(&self) -> usize {
        const INDEXED_BYTES: usize = 128;
        self.prefixes.iter().chain(&self.exact).map(|topic| 2 * topic.len() + INDEXED_BYTES).sum()
    }

    /// The prefixes, sorted; an empty one is everything.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = &[u8]> {
        self.prefixes.iter().map(|prefix| &**prefix)
    }

    /// The whole topics that no prefix matches, sorted.
    pub(crate) fn exact(&self) -> impl Iterator<Item = &[u8]> {
        self.exact.iter().map(|topic| &**topic)
    }

    /// How many topics it has.
    pub(crate) fn len(&self) -> usize {
        self.prefixes.len() + self.exact.len()
    }

    /// Whether it lets everything through.
    pub(crate) fn is_everything(&self) -> bool {
        self.prefixes.first().is_some_and(|prefix| prefix.is_empty())
    }

    /// Whether `topic` is wanted.
    pub(crate) fn matches(&self, topic: &[u8]) -> bool {
        // Between a prefix of the topic and the topic sorts only what starts with that prefix, and a filter has none.
        let behind = self.prefixes.partition_point(|prefix| **prefix <= *topic);
        let nearest = behind.checked_sub(1).map(|last| &self.prefixes[last]);
        nearest.is_some_and(|prefix| topic.starts_with(prefix))
            || self.exact.binary_search_by(|exact| (**exact).cmp(topic)).is_ok()
    }
}

/// Finds the keys whose filter matches a topic, in time that does not depend on those that do not match.
pub(crate) struct TopicIndex<K> {
    prefixes: GenericRadixMap<Vec<u8>, Vec<K>>,
    /// The empty prefix, kept apart: most clients want everything.
    everything: Vec<K>,
    exact: HashMap<Box<[u8]>, Vec<K>>,
    /// The longest exact topic ever filed: what is longer is not hashed. Without a topic of its own a message is
    /// looked up by its body, which may be huge.
    exact_bytes_max: usize,
}

impl<K> Default for TopicIndex<K> {
    fn default() -> Self {
        Self {
            prefixes: GenericRadixMap::new(),
            everything: Vec::new(),
            exact: HashMap::new(),
            exact_bytes_max: 0,
        }
    }
}

impl<K: Copy + PartialEq> TopicIndex<K> {
    /// Files `key` under every topic of `filter`. A key is to be inserted once.
    pub(crate) fn insert(&mut self, filter: &Filter, key: K) {
        for prefix in &filter.prefixes {
            if prefix.is_empty() {
                self.everything.push(key);
            } else if let Some(keys) = self.prefixes.get_mut(&**prefix) {
                keys.push(key);
            } else {
                self.prefixes.insert(&**prefix, vec![key]);
            }
        }
        for topic in &filter.exact {
            self.exact_bytes_max = self.exact_bytes_max.max(topic.len());
            match self.exact.get_mut(topic) {
                Some(keys) => keys.push(key),
                None => {
                    self.exact.insert(topic.clone(), vec![key]);
                }
            }
        }
    }

    /// Removes `key` again from every topic of `filter`.
    pub(crate) fn remove(&mut self, filter: &Filter, key: K) {
        for prefix in &filter.prefixes {
            if prefix.is_empty() {
                take_out(&mut self.everything, key);
            } else if let Some(keys) = self.prefixes.get_mut(&**prefix)
                && take_out(keys, key)
            {
                self.prefixes.remove(&**prefix);
            }
        }
        for topic in &filter.exact {
            if let Some(keys) = self.exact.get_mut(topic)
                && take_out(keys, key)
            {
                self.exact.remove(topic);
            }
        }
    }

    /// Appends the keys whose filter matches `topic` to `matches`. A key with an exact topic and prefixes appears once,
    /// since a filter holds no exact topic that its prefixes match, and no prefix of its own prefixes.
    pub(crate) fn matches(&self, topic: &[u8], matches: &mut Vec<K>) {
        matches.extend_from_slice(&self.everything);
        if !self.prefixes.is_empty() {
            for keys in self.prefixes.common_prefix_values(topic) {
                matches.extend_from_slice(keys);
            }
        }
        if !self.exact.is_empty()
            && topic.len() <= self.exact_bytes_max
            && let Some(keys) = self.exact.get(topic)
        {
            matches.extend_from_slice(keys);
        }
    }
}

/// Takes `key` out and says whether nothing is left.
fn take_out<K: Copy + PartialEq>(keys: &mut Vec<K>, key: K) -> bool {
    if let Some(at) = keys.iter().position(|&present| present == key) {
        keys.swap_remove(at);
    }
    keys.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_random::Random;

    fn filter(prefixes: &[&str], exact: &[&str]) -> Filter {
        let owned = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        Filter::new(owned(prefixes), owned(exact))
    }

    /// The slow and obvious way.
    fn is_wanted(filter: &Filter, topic: &[u8]) -> bool {
        filter.prefixes.iter().any(|prefix| topic.starts_with(prefix))
            || filter.exact.iter().any(|exact| &**exact == topic)
    }

    #[test]
    fn equal_wishes_are_one_filter() {
        assert_eq!(filter(&["b", "ab", "a", "abc", "b"], &[]), filter(&["a", "b"], &[]));
        assert_eq!(filter(&["a"], &["abc", "x", "x"]), filter(&["a"], &["x"]));
        assert_eq!(filter(&[], &[]), filter(&["", "a"], &["b"]));
        assert_ne!(filter(&["a"], &[]), filter(&[], &["a"]));
    }

    #[test]
    fn exact_topics_do_not_match_longer_ones() {
        let mut index = TopicIndex::default();
        index.insert(&filter(&[], &["worker-1"]), 1);
        index.insert(&filter(&["worker-1"], &[]), 2);
        let mut matches = Vec::new();
        index.matches(b"worker-10", &mut matches);
        assert_eq!(matches, [2]);
    }

    #[test]
    fn the_index_agrees_with_a_scan() {
        let mut random = Random::from_env();
        let word = |random: &mut Random| -> Vec<u8> {
            (0..random.below(5)).map(|_| b"ab\xff"[random.below(3)]).collect()
        };
        for _ in 0..50 {
            let mut index = TopicIndex::default();
            let mut filters: Vec<(usize, Filter)> = Vec::new();
            for step in 0..200 {
                if random.chance(3) && !filters.is_empty() {
                    let (key, filter) = filters.swap_remove(random.below(filters.len()));
                    index.remove(&filter, key);
                } else {
                    let words = |random: &mut Random| {
                        (0..random.below(4)).map(|_| word(random)).collect::<Vec<_>>()
                    };
                    let filter = Filter::new(words(&mut random), words(&mut random));
                    index.insert(&filter, step);
                    filters.push((step, filter));
                }
                let topic = word(&mut random);
                for (_, filter) in &filters {
                    assert_eq!(filter.matches(&topic), is_wanted(filter, &topic), "{filter:?}");
                    assert!(!filter.is_everything() || filter.matches(&topic));
                }
                let mut found = Vec::new();
                index.matches(&topic, &mut found);
                found.sort_unstable();
                let mut expected: Vec<_> = filters
                    .iter()
                    .filter(|(_, filter)| is_wanted(filter, &topic))
                    .map(|(key, _)| *key)
                    .collect();
                expected.sort_unstable();
                assert_eq!(found, expected, "{topic:?}");
            }
            for (key, filter) in filters {
                index.remove(&filter, key);
            }
            assert!(index.everything.is_empty() && index.exact.is_empty());
            assert!(index.prefixes.is_empty());
        }
    }
}
