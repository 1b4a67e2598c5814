//! What tests do to feeds and ask of them. Knows no session.

use super::Feeds;
use crate::feed::Feed;
use crate::topics::Demand;

impl Feeds {
    pub(crate) fn leave_everyone_behind(&mut self) {
        let rule = self.lag_rule();
        let Self { feeds, pool, overrun, .. } = self;
        for entry in feeds.values_mut() {
            entry.feed.leave_all_behind(rule, pool, overrun);
        }
    }

    /// As if every socket were full whose subscriber has not got everything.
    pub(in crate::feed) fn block_who_is_behind(&mut self) {
        for entry in self.feeds.values_mut() {
            let Feed { subscribers, log, .. } = &mut entry.feed;
            for (_, subscriber) in subscribers {
                subscriber.is_blocked = subscriber.is_behind(log);
            }
        }
    }

    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.feeds.len(), self.by_wish.len());
        self.demand.iter().for_each(Demand::check_invariants);
        let congested = self.feeds.values().filter(|entry| entry.is_congested).count();
        assert_eq!(congested, self.congested);
        for (key, entry) in &self.feeds {
            entry.feed.check_invariants();
            let queued = self.queue.iter().chain(&self.fresh).filter(|&&queued| queued == key);
            assert_eq!(queued.count(), usize::from(entry.is_queued));
        }
    }
}
