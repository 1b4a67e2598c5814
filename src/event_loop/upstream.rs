//! Takes messages in, from ZeroMQ and from the host, and asks publishers for what clients want. Knows nothing of clients.

use std::time::Instant;

use super::EventLoop;
use super::clock::Allowance;
use crate::error::DropReason;
use crate::feed::Feeds;
use crate::hooks::Mapper;
use crate::intake::{IntakeCounts, Taken};
use crate::message::Message;
use crate::metrics::UpstreamMetrics;
use crate::source::{Budget, Drained};
use crate::topics::{Change, Filter};

/// Messages and bytes that are taken from a source before another one has its turn.
const DRAIN_STEP: Budget = Budget { messages: 64, bytes: 64 << 10 };

/// Messages read in one turn, each counted once and once more for each feed it goes to: about 0.5 ms of small ones.
const TURN_APPENDS_MAX: usize = 4 << 10;

/// Prefixes that publishers are asked for, or no more, in one turn: 0.3 ms for each source, 10 ms where somebody asks for
/// the longest.
const TURN_DEMANDS_MAX: usize = 256;

/// Reading or writing so many bytes to inflate them takes as long as appending a small message: JSON of 64 KiB takes
/// 120 to 150 µs.
const WORK_BYTES_PER_APPEND: usize = 64;

/// What a turn has left for messages.
struct TurnBudget {
    appends_left: usize,
    allowance: Allowance,
}

impl TurnBudget {
    fn is_empty(&self) -> bool {
        self.appends_left == 0
    }

    /// A message was taken in that was so much work.
    fn spend(&mut self, appends: usize) {
        self.appends_left = self.appends_left.saturating_sub(appends);
        if self.allowance.is_used_up() {
            self.appends_left = 0;
        }
    }
}

impl EventLoop {
    /// Asks publishers for what clients want, where that is not the same all the time.
    pub(super) fn follow_demand(&mut self, now: Instant) {
        let Some(demand) = self.connections.context.feeds.demand_mut() else { return };
        demand.advance(now);
        let mut begun = Vec::new();
        for change in std::iter::from_fn(|| demand.pop_change()).take(TURN_DEMANDS_MAX) {
            if let Change::Subscribe(prefix) = &change {
                begun.push(prefix.to_vec());
            }
            for source in &mut self.sources {
                match &change {
                    Change::Subscribe(prefix) => source.subscribe(prefix),
                    Change::Unsubscribe(prefix) => source.unsubscribe(prefix),
                }
            }
        }
        if !begun.is_empty() {
            // What nobody asked for meanwhile is not lost. All at once: it takes a look at every topic.
            self.intake.forget(&Filter::new(begun, Vec::new()));
        }
    }

    /// Takes in messages, a step of each source after the other, as long as clients with room keep up. What the host
    /// publishes is one more source. Where it maps messages, only for a while: how long that takes, nobody else knows.
    pub(super) fn drain_sources(&mut self, now: Instant) {
        let posts = self.sources.len();
        let count = posts + 1;
        let allowance = self.clock.allowance(self.mapper.is_set());
        let mut budget_left = TurnBudget { appends_left: TURN_APPENDS_MAX, allowance };
        let mut idle = 0;
        while idle < count
            && !budget_left.is_empty()
            && !self.connections.context.feeds.is_congested()
        {
            let index = self.next_source;
            self.next_source = (index + 1) % count;
            let needs_drain = match self.sources.get(index) {
                Some(source) => source.needs_drain(),
                None => self.inbox.has_posts(),
            };
            if !needs_drain {
                idle += 1;
                continue;
            }
            idle = 0;
            if index == posts {
                self.take_in_posts(DRAIN_STEP, &mut budget_left);
            } else {
                self.drain_step(now, index, &mut budget_left);
            }
        }
        self.connections.context.metrics.upstream = self.upstream_metrics();
    }

    fn drain_step(&mut self, now: Instant, index: usize, budget_left: &mut TurnBudget) {
        let Self { registry, sources, connections, intake, mapper, unmapped, .. } = self;
        let feeds = &mut connections.context.feeds;
        let passed_over = sources[index].counts().passed_over;
        // Whether there is more, the source knows itself.
        let drained = sources[index].drain(DRAIN_STEP, &mut |arrival| {
            if arrival.follows_loss {
                intake.note_loss(index);
            }
            let Taken { message, work_bytes } = intake.take_in(now, index, arrival.parts);
            // A message that nobody wants costs as much as one append.
            let inflating = work_bytes / WORK_BYTES_PER_APPEND;
            let appends = 1 + inflating;
            let appends = appends
                + publish(message, mapper, feeds).unwrap_or_else(|reason| {
                    unmapped[reason as usize] += 1;
                    intake.give_back();
                    0
                });
            budget_left.spend(appends);
            !budget_left.is_empty() && !feeds.is_congested()
        });
        // Otherwise a flood of what nobody wants, or of garbage, would hold the turn up for as long as it lasts.
        let passed_over = sources[index].counts().passed_over - passed_over;
        budget_left.spend(usize::try_from(passed_over).unwrap_or(usize::MAX));
        if drained == Drained::Dead {
            registry.remove_source(&sources[index]);
            sources[index].end();
            connections.context.site.has_lost_source = true;
        }
    }

    /// Publishes what the host has, within `budget`.
    fn take_in_posts(&mut self, budget: Budget, budget_left: &mut TurnBudget) {
        let Self { inbox, connections, intake, mapper, unmapped, published, .. } = self;
        let feeds = &mut connections.context.feeds;
        let (mut messages, mut bytes) = (0, 0);
        while messages < budget.messages && bytes < budget.bytes && !budget_left.is_empty() {
            let Some(post) = inbox.pop_post() else { break };
            messages += 1;
            bytes += post.held_bytes();
            *published += 1;
            let (topic, body) = post.bytes.split_at(post.topic_bytes);
            let message = intake.take_in_own(topic, &post.lens, body);
            let appends = publish(message, mapper, feeds).unwrap_or_else(|reason| {
                unmapped[reason as usize] += 1;
                intake.give_back();
                0
            });
            budget_left.spend(1 + appends);
            if feeds.is_congested() {
                break;
            }
        }
        inbox.release(messages, bytes);
    }

    /// Publishes everything that was accepted, since there is no more time for it: as much as the inbox may hold. What the
    /// host has yet to map might take longer than there is: that goes on in turns, for those who are there until then.
    pub(super) fn take_in_all_posts(&mut self) {
        let everything = Budget { messages: usize::MAX, bytes: usize::MAX };
        while self.inbox.has_posts() && !self.mapper.is_set() {
            let allowance = self.clock.allowance(false);
            self.take_in_posts(everything, &mut TurnBudget { appends_left: usize::MAX, allowance });
        }
    }

    fn upstream_metrics(&self) -> UpstreamMetrics {
        let &IntakeCounts { decode_failures, counters_unread } = self.intake.counts();
        let mut sum = UpstreamMetrics {
            decode_failures,
            counters_unread,
            published_messages: self.published,
            dropped_messages: self.unmapped,
            ..Default::default()
        };
        for source in &self.sources {
            let counts = source.counts();
            sum.received_messages += counts.messages;
            sum.received_bytes += counts.bytes;
            sum.connections += counts.connections;
            // Every source asks for the same, until it ends.
            sum.subscriptions = sum.subscriptions.max(counts.subscriptions);
            sum.disconnects += counts.disconnects;
            sum.reconnects += counts.revived;
            sum.refused += counts.refused;
            for (sum, count) in sum.dropped_messages.iter_mut().zip(counts.dropped) {
                *sum += count;
            }
        }
        sum
    }
}

/// Publishes what the host makes of a message, and returns to how many feeds it went. Fails with why it goes to none.
fn publish(
    message: Message<'_>,
    mapper: &mut Mapper,
    feeds: &mut Feeds,
) -> Result<usize, DropReason> {
    let told_loss = message.lost_upstream.is_some();
    let published = mapper.map(message).map(|message| feeds.publish(&message));
    if published.is_err() && told_loss {
        feeds.note_untold_loss();
    }
    published
}
