//! The committed offsets of all groups of a shard. They are durable; commits on their way are in the shard's writes,
//! and those of open transactions in `pending`.

use std::collections::BTreeMap;

use crate::ids::{GroupId, TopicName};
use crate::record::{OffsetKey, OffsetValue};

/// A committed offset, and where in the log it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stored {
    pub(crate) value: OffsetValue,
    /// The record's offset in `__consumer_offsets`.
    pub(crate) at: i64,
}

/// The offsets of one topic, by partition.
pub(crate) type TopicOffsets = BTreeMap<i32, Stored>;

/// Always: no group and no topic without an offset.
#[derive(Default, Debug)]
pub(crate) struct Offsets {
    by_group: BTreeMap<GroupId, BTreeMap<TopicName, TopicOffsets>>,
}

impl Offsets {
    pub(crate) fn has(&self, group: &GroupId) -> bool {
        self.by_group.contains_key(group)
    }

    pub(crate) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&OffsetValue> {
        self.by_group.get(group)?.get(topic)?.get(&partition).map(|stored| &stored.value)
    }

    pub(crate) fn of_group(&self, group: &str) -> impl Iterator<Item = (&TopicName, i32, &OffsetValue)> {
        let topics = self.by_group.get(group).into_iter().flatten();
        topics.flat_map(|(topic, offsets)| {
            offsets.iter().map(move |(partition, stored)| (topic, *partition, &stored.value))
        })
    }

    /// Every group with offsets, and when one of them was committed.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&GroupId, i64)> {
        let first = |topics: &BTreeMap<TopicName, TopicOffsets>| topics.values().next()?.values().next().cloned();
        self.by_group.iter().filter_map(move |(id, topics)| Some((id, first(topics)?.value.commit_timestamp_ms)))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (OffsetKey, &OffsetValue)> {
        self.by_group.keys().flat_map(|group| {
            let key =
                |topic: &TopicName, partition| OffsetKey { group: group.clone(), topic: topic.clone(), partition };
            self.of_group(group).map(move |(topic, partition, value)| (key(topic, partition), value))
        })
    }

    /// What a transaction has committed, unless a later record has moved the offset: compaction may have removed
    /// either, so the order of the records counts, not that of the marker.
    pub(crate) fn apply_if_newer(&mut self, key: OffsetKey, stored: Stored) {
        let topics = self.by_group.get(&key.group);
        let known = topics.and_then(|topics| topics.get(&key.topic)).and_then(|offsets| offsets.get(&key.partition));
        if known.is_none_or(|known| stored.at > known.at) {
            self.apply(key, Some(stored));
        }
    }

    pub(crate) fn apply(&mut self, key: OffsetKey, stored: Option<Stored>) {
        match stored {
            Some(stored) => {
                self.by_group.entry(key.group).or_default().entry(key.topic).or_default().insert(key.partition, stored);
            }
            None => {
                let Some(topics) = self.by_group.get_mut(&key.group) else { return };
                let Some(offsets) = topics.get_mut(&key.topic) else { return };
                offsets.remove(&key.partition);
                if offsets.is_empty() {
                    topics.remove(&key.topic);
                }
                if topics.is_empty() {
                    self.by_group.remove(&key.group);
                }
            }
        }
    }
}
