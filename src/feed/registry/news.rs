//! What became of subscribers, for somebody who wants to know: nothing is kept where nobody does.

use std::collections::VecDeque;
use std::rc::Rc;

use super::{Feeds, Wish};
use crate::feed::Owner;

/// Something that happened to a subscriber.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It misses messages from here on.
    Lagged(Owner),
    /// It wants something else from now on, or nothing; a session knows itself what.
    Changed(Owner, Option<Rc<Wish>>),
}

impl Feeds {
    /// From now on [`Self::pop_news`] has something to say.
    pub(crate) fn tell_news(&mut self) {
        self.changes = Some(VecDeque::new());
        self.overrun.news = Some(Vec::new());
        self.replayer.tell_lag();
    }

    pub(crate) fn has_news(&self) -> bool {
        let has = |news: &Option<Vec<Owner>>| news.as_ref().is_some_and(|news| !news.is_empty());
        self.changes.as_ref().is_some_and(|changes| !changes.is_empty())
            || has(&self.overrun.news)
            || has(self.replayer.news())
    }

    /// Takes one piece of news; changes come in order.
    pub(crate) fn pop_news(&mut self) -> Option<News> {
        if let Some((owner, wish)) = self.changes.as_mut().and_then(VecDeque::pop_front) {
            return Some(News::Changed(owner, wish));
        }
        let lagged = self.overrun.news.as_mut().and_then(Vec::pop);
        lagged.or_else(|| self.replayer.pop_news()).map(News::Lagged)
    }

    /// The subscriber `owner` changed its mind.
    pub(crate) fn note_change(&mut self, owner: Owner, wish: Option<&Wish>) {
        let Some(changes) = &mut self.changes else { return };
        changes.push_back((owner, wish.cloned().map(Rc::new)));
    }
}
