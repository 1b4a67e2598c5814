//! The last message of each topic, in the order of their numbers. Knows no filter.

use std::collections::{HashMap, VecDeque};

use slab::Slab;

use super::Limits;
use super::record::{read_record, record_bytes, write_record};
use crate::message::{Message, Seq};

/// About what a topic takes beside the bytes of its message and its name: its places in the tables.
const ENTRY_BYTES: usize = 128;

/// The last message of each topic. A message without a topic counts as one of the empty topic.
#[derive(Debug)]
pub(crate) struct LastValues {
    limits: Limits,
    by_topic: HashMap<Box<[u8]>, usize>,
    values: Slab<Value>,
    /// Every value by its number, oldest first, among entries that are out of date: those whose value has another
    /// number by now.
    order: VecDeque<(Seq, usize)>,
    held_bytes: usize,
}

#[derive(Debug)]
struct Value {
    seq: Seq,
    record: Vec<u8>,
}

impl Value {
    fn message(&self) -> Message<'_> {
        read_record(self.seq, &self.record)
    }

    fn held_bytes(&self) -> usize {
        ENTRY_BYTES + self.message().topic().len() + self.record.capacity()
    }
}

impl LastValues {
    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            by_topic: HashMap::new(),
            values: Slab::new(),
            order: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// How many bytes they take.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Keeps `message`, the newest of all, in the place of what its topic had before. What was not updated for the
    /// longest time goes where there is no room.
    pub(crate) fn record(&mut self, message: &Message<'_>) {
        let topic = message.topic();
        let record_bytes = record_bytes(message);
        let known = self.by_topic.get(topic).copied();
        if ENTRY_BYTES + topic.len() + record_bytes > self.limits.bytes_max {
            // The old value is not the last one any more.
            known.into_iter().for_each(|slot| self.remove(slot));
            return;
        }
        let slot = match known {
            Some(slot) => slot,
            None => self.insert(topic),
        };
        let value = &mut self.values[slot];
        self.held_bytes -= value.held_bytes();
        value.seq = message.seq;
        // One large message among small ones does not keep its room for ever.
        if value.record.capacity() > 4 * record_bytes + ENTRY_BYTES {
            value.record = Vec::new();
        }
        value.record.clear();
        value.record.reserve_exact(record_bytes);
        write_record(&mut value.record, message);
        self.held_bytes += value.held_bytes();
        self.order.push_back((message.seq, slot));
        self.remove_excess();
        self.forget_outdated();
    }

    /// The values whose number is `seq` or later, in order.
    pub(crate) fn iter_from(&self, seq: Seq) -> impl Iterator<Item = Message<'_>> {
        let start = self.order.partition_point(|&(own, _)| own < seq);
        let current = self.order.range(start..).filter(|entry| self.is_current(entry));
        current.map(|&(_, slot)| self.values[slot].message())
    }

    fn is_current(&self, &(seq, slot): &(Seq, usize)) -> bool {
        self.values.get(slot).is_some_and(|value| value.seq == seq)
    }

    /// A place for a topic, without a message yet.
    fn insert(&mut self, topic: &[u8]) -> usize {
        let mut record = Vec::new();
        write_record(&mut record, &Message::from_flat(Seq(0), None, Some(topic), &[], b""));
        let slot = self.values.insert(Value { seq: Seq(0), record });
        self.held_bytes += self.values[slot].held_bytes();
        self.by_topic.insert(topic.into(), slot);
        slot
    }

    fn remove(&mut self, slot: usize) {
        let value = self.values.remove(slot);
        self.held_bytes -= value.held_bytes();
        self.by_topic.remove(value.message().topic());
    }

    fn remove_excess(&mut self) {
        while self.values.len() > self.limits.topics_max || self.held_bytes > self.limits.bytes_max
        {
            let Some(entry) = self.order.pop_front() else { return };
            if self.is_current(&entry) {
                self.remove(entry.1);
            }
        }
    }

    fn forget_outdated(&mut self) {
        if self.order.len() > 2 * self.values.len() + 64 {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|entry| self.is_current(entry));
            self.order = order;
        }
    }
}
