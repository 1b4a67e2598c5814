//! Who lagged and is still to be named. Knows not who wants to know, nor why they lag.

use std::collections::{HashSet, VecDeque};

use super::Owner;

/// Owners in the order in which they lagged, each at most once however often that happens before it is named: there are
/// no more than clients.
#[derive(Debug, Default)]
pub(super) struct Lagged {
    order: VecDeque<Owner>,
    waiting: HashSet<Owner>,
}

impl Lagged {
    pub(super) fn push(&mut self, owner: Owner) {
        if self.waiting.insert(owner) {
            self.order.push_back(owner);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Owner> {
        let owner = self.order.pop_front()?;
        self.waiting.remove(&owner);
        Some(owner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lags_again_before_it_is_named_is_named_once() {
        let mut lagged = Lagged::default();
        (0..1_000).for_each(|n| lagged.push(Owner(n % 3)));
        assert_eq!(lagged.pop(), Some(Owner(0)));
        lagged.push(Owner(0));
        assert_eq!([lagged.pop(), lagged.pop()], [1, 2].map(|n| Some(Owner(n))));
        assert!(!lagged.is_empty());
        assert_eq!([lagged.pop(), lagged.pop()], [Some(Owner(0)), None]);
        assert!(lagged.is_empty());
    }
}
