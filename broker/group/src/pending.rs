//! Offsets that transactions have committed whose end is not known: durable, but not yet anybody's place in a topic.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{GroupId, TopicName};
use crate::offsets::Stored;
use crate::record::OffsetKey;

/// What the open transactions have for one partition, by producer id.
type OfPartition = BTreeMap<i64, Stored>;

/// Always: `keys` names exactly what `by_group` holds, and neither has anything empty.
#[derive(Default, Debug)]
pub(crate) struct Pending {
    by_group: BTreeMap<GroupId, BTreeMap<(TopicName, i32), OfPartition>>,
    keys: BTreeMap<i64, BTreeSet<OffsetKey>>,
}

impl Pending {
    pub(crate) fn has(&self, group: &str) -> bool {
        self.by_group.contains_key(group)
    }

    /// The partitions of which transactions hold offsets of the group.
    pub(crate) fn of_group(&self, group: &str) -> impl Iterator<Item = &(TopicName, i32)> {
        self.by_group.get(group).into_iter().flat_map(BTreeMap::keys)
    }

    pub(crate) fn contains(&self, key: &OffsetKey) -> bool {
        let partitions = self.by_group.get(&key.group);
        partitions.is_some_and(|partitions| partitions.contains_key(&(key.topic.clone(), key.partition)))
    }

    /// Every group with pending offsets, and when one of them was committed.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&GroupId, i64)> {
        let first = |partitions: &BTreeMap<_, OfPartition>| partitions.values().next()?.values().next().cloned();
        self.by_group
            .iter()
            .filter_map(move |(id, partitions)| Some((id, first(partitions)?.value.commit_timestamp_ms)))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (OffsetKey, &Stored)> {
        self.by_group.iter().flat_map(|(group, partitions)| {
            partitions.iter().flat_map(move |((topic, partition), of_partition)| {
                let key = OffsetKey { group: group.clone(), topic: topic.clone(), partition: *partition };
                of_partition.values().map(move |stored| (key.clone(), stored))
            })
        })
    }

    /// Of several offsets that one transaction has for a partition the last one counts.
    pub(crate) fn insert(&mut self, producer_id: i64, key: OffsetKey, stored: Stored) {
        let partitions = self.by_group.entry(key.group.clone()).or_default();
        partitions.entry((key.topic.clone(), key.partition)).or_default().insert(producer_id, stored);
        self.keys.entry(producer_id).or_default().insert(key);
    }

    /// The offset was deleted: no transaction that is open brings it back.
    pub(crate) fn remove_all(&mut self, key: &OffsetKey) {
        let producers = match self.by_group.get(&key.group) {
            Some(partitions) => partitions.get(&(key.topic.clone(), key.partition)),
            None => None,
        };
        let producers: Vec<i64> = producers.into_iter().flat_map(BTreeMap::keys).copied().collect();
        for producer_id in producers {
            self.take_one(producer_id, key);
            if let Some(keys) = self.keys.get_mut(&producer_id) {
                keys.remove(key);
                if keys.is_empty() {
                    self.keys.remove(&producer_id);
                }
            }
        }
    }

    /// The transaction of the producer has ended: what it has here.
    pub(crate) fn take(&mut self, producer_id: i64) -> Vec<(OffsetKey, Stored)> {
        let keys = self.keys.remove(&producer_id).unwrap_or_default();
        keys.into_iter().filter_map(|key| self.take_one(producer_id, &key).map(|stored| (key, stored))).collect()
    }

    fn take_one(&mut self, producer_id: i64, key: &OffsetKey) -> Option<Stored> {
        let partitions = self.by_group.get_mut(&key.group)?;
        let at = (key.topic.clone(), key.partition);
        let of_partition = partitions.get_mut(&at)?;
        let taken = of_partition.remove(&producer_id);
        if of_partition.is_empty() {
            partitions.remove(&at);
        }
        if partitions.is_empty() {
            self.by_group.remove(&key.group);
        }
        taken
    }
}
