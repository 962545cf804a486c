//! The committed offsets of all groups of a shard. They are durable; commits on their way are in the shard's writes.

use std::collections::BTreeMap;

use crate::ids::{GroupId, TopicName};
use crate::record::{OffsetKey, OffsetValue};

/// The offsets of one topic, by partition.
pub(crate) type TopicOffsets = BTreeMap<i32, OffsetValue>;

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
        self.by_group.get(group)?.get(topic)?.get(&partition)
    }

    pub(crate) fn of_group(&self, group: &str) -> impl Iterator<Item = (&TopicName, i32, &OffsetValue)> {
        let topics = self.by_group.get(group).into_iter().flatten();
        topics.flat_map(|(topic, offsets)| offsets.iter().map(move |(partition, value)| (topic, *partition, value)))
    }

    /// Every group with offsets, and when one of them was committed.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&GroupId, i64)> {
        let first = |topics: &BTreeMap<TopicName, TopicOffsets>| topics.values().next()?.values().next().cloned();
        self.by_group.iter().filter_map(move |(id, topics)| Some((id, first(topics)?.commit_timestamp_ms)))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (OffsetKey, &OffsetValue)> {
        self.by_group.keys().flat_map(|group| {
            let key =
                |topic: &TopicName, partition| OffsetKey { group: group.clone(), topic: topic.clone(), partition };
            self.of_group(group).map(move |(topic, partition, value)| (key(topic, partition), value))
        })
    }

    pub(crate) fn apply(&mut self, key: OffsetKey, value: Option<OffsetValue>) {
        match value {
            Some(value) => {
                self.by_group.entry(key.group).or_default().entry(key.topic).or_default().insert(key.partition, value);
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
