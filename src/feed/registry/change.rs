//! Where cursors end: for whom there is nothing more to come, and for who wants something else from now on.

use super::{Feeds, Subscription, Wish};
use crate::feed::arrears::Arrears;
use crate::feed::{Owner, Subscriber};
use crate::memory::Charge;

/// Topics that subscribers may change in one turn before others come first: filing a topic of 254 bytes or taking it out
/// took 9 µs in a debug build on a busy machine, so this is below 10 ms at the worst.
pub(crate) const TURN_TOPICS_MAX: usize = 1_024;

/// The cursors of an owner that wants something else than before.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// The one that it had, while it is owed something: until [`Feeds::has_ended`] it comes first.
    pub(crate) before: Option<Subscription>,
    /// The one that it has, if it wants anything.
    pub(crate) after: Option<Subscription>,
}

impl Feeds {
    /// Ends the cursor `before` at what was published until now, and starts one for `wish` with what comes next: nothing is
    /// lost or doubled that both want. What is kept is not replayed. `is_blocked` is as in [`Self::set_blocked`].
    pub(crate) fn resubscribe(
        &mut self,
        owner: Owner,
        before: Option<Subscription>,
        wish: Option<Wish>,
        is_blocked: bool,
    ) -> Changed {
        let wish_before = before.as_ref().map(|own| &*self.feeds[own.feed].wish);
        if wish_before == wish.as_ref() {
            return Changed { before: None, after: before };
        }
        self.note_change(owner, wish.as_ref());
        let wish_before = before.as_ref().map(|own| &*self.feeds[own.feed].wish);
        let topics = |wish: Option<&Wish>| wish.map_or(0, |wish| wish.filter.len());
        self.count_topics(topics(wish_before) + topics(wish.as_ref()));
        // First the new one, so that publishers are not told to stop what they are to go on with.
        let after = wish.map(|wish| self.add_subscriber(wish, owner, Arrears::default()));
        if let Some(after) = &after {
            self.set_blocked(after, is_blocked);
        }
        let Some(before) = before else { return Changed { before: None, after } };
        let end = self.end(&before);
        self.subscriber_mut(&before).until = end;
        if self.has_ended(&before) {
            self.unsubscribe(&before);
            return Changed { before: None, after };
        }
        Changed { before: Some(before), after }
    }

    pub(super) fn count_topics(&mut self, count: usize) {
        self.turn_topics_left = self.turn_topics_left.saturating_sub(1 + count);
    }

    /// Whether changes are welcome now, or only after [`Self::begin_turn`].
    pub(crate) fn has_time_for_changes(&self) -> bool {
        self.turn_topics_left > 0
    }

    pub(crate) fn begin_turn(&mut self) {
        self.turn_topics_left = self.turn_topics_max;
        self.replayer.begin_turn();
    }

    #[cfg(test)]
    pub(crate) fn limit_turn_topics(&mut self, topics_max: usize) {
        (self.turn_topics_max, self.turn_topics_left) = (topics_max, topics_max);
    }

    /// Whether the subscriber, after a change, got everything that it was owed before.
    pub(crate) fn has_ended(&mut self, subscription: &Subscription) -> bool {
        let until = self.subscriber_mut(subscription).until;
        self.has_reached(subscription, until)
    }

    /// The offset up to which the subscriber is owed bytes now.
    pub(crate) fn end(&self, subscription: &Subscription) -> u64 {
        self.feeds[subscription.feed].feed.log.end()
    }

    /// Whether the subscriber got everything before `offset`.
    pub(crate) fn has_reached(&mut self, subscription: &Subscription, offset: u64) -> bool {
        let Subscriber { cursor, arrears, .. } = self.subscriber_mut(subscription);
        if *cursor < offset {
            return false;
        }
        if arrears.is_some() {
            // A replay may turn out to be over only when it is asked for more.
            let _ = self.pending(subscription);
        }
        self.subscriber_mut(subscription).arrears.is_none()
    }

    /// Counts what an owner keeps of its wishes, on the account that filters have.
    pub(crate) fn wish_charge(&self) -> Charge {
        self.wish_memory.charge(0)
    }

    pub(super) fn subscriber_mut(&mut self, subscription: &Subscription) -> &mut Subscriber {
        &mut self.feeds[subscription.feed].feed.subscribers[subscription.slot as usize]
    }
}
