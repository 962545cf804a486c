//! Which partitions of a group share coordinators have initialised, and which they are to.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::effects::StateCallKind;
use crate::ids::TopicName;
use crate::record::{Partitions, ShareRecord, SharedPartitions, SharedTopic, SharedTopics};
use crate::share::calls::Purpose;
use crate::share::group::ShareGroup;
use crate::topics::Topics;

/// A leader chooses where a partition begins.
const NO_OFFSET: i64 = -1;

impl ShareGroup {
    pub(super) fn write_partitions(&mut self, partitions: SharedPartitions) {
        if partitions != self.partitions {
            self.write(ShareRecord::Partitions(Some(Box::new(partitions))));
        }
    }

    /// Whether partitions have been initialised since the last assignment, so that members do not have them.
    pub(super) fn has_unassigned(&self, topics: &Topics) -> bool {
        let subscribed = self.subscribed_names();
        let mut assigned = Partitions::new();
        for (topic, partitions) in self.target.values().flatten() {
            assigned.entry(*topic).or_default().extend(partitions);
        }
        !self.members.is_empty()
            && self.assignable(topics).iter().any(|(id, partitions)| {
                let is_subscribed = topics.name(*id).is_some_and(|name| subscribed.contains(name));
                is_subscribed && assigned.get(id) != Some(partitions)
            })
    }

    /// The partitions that are initialised and exist.
    pub(super) fn assignable(&self, topics: &Topics) -> Partitions {
        let assignable = self.partitions.initialized.iter().filter_map(|(id, topic)| {
            let count = topics.partitions(*id)?;
            let all: BTreeSet<i32> = topic.partitions.range(0..count).copied().collect();
            (!all.is_empty()).then_some((*id, all))
        });
        assignable.collect()
    }

    /// Asks for the partitions that members are subscribed to and that are not initialised, unless that is under way.
    pub(super) fn initialize_missing(&mut self, topics: &Topics) {
        let mut partitions = self.partitions.clone();
        let mut offsets: BTreeMap<Uuid, BTreeMap<i32, i64>> = BTreeMap::new();
        for name in self.subscribed_names() {
            let Some(topic) = topics.get(name) else { continue };
            let initialized = self.partitions.initialized.get(&topic.id).map(|topic| &topic.partitions);
            let is_initialized = |partition: &i32| initialized.is_some_and(|all| all.contains(partition));
            let is_missing =
                |partition: &i32| !is_initialized(partition) && !self.calls.is_initializing(topic.id, *partition);
            let missing: BTreeSet<i32> = (0..topic.partitions).filter(is_missing).collect();
            if !missing.is_empty() {
                offsets.insert(topic.id, missing.iter().map(|partition| (*partition, NO_OFFSET)).collect());
                add(&mut partitions.initializing, topic.id, name, &missing);
                partitions.deleting.remove(&topic.id);
            }
        }
        if offsets.is_empty() {
            return;
        }
        self.write_partitions(partitions);
        let what = StateCallKind::Initialize { state_epoch: self.epoch, offsets };
        self.calls.push(self.history.end(), what, Purpose::Heartbeat);
    }

    /// Partitions are initialised, and others are not and are not to be.
    pub(super) fn initialized(&mut self, done: &Partitions, dropped: &Partitions) {
        let mut partitions = self.partitions.clone();
        for (id, all) in done {
            // A topic that was deleted meanwhile is no longer among them.
            if let Some(name) = partitions.initializing.get(id).map(|topic| topic.name.clone()) {
                add(&mut partitions.initialized, *id, &name, all);
            }
        }
        remove(&mut partitions.initializing, done);
        remove(&mut partitions.initializing, dropped);
        self.write_partitions(partitions);
    }

    /// Topics were deleted; the share coordinators delete their states on their own.
    pub(super) fn topics_deleted(&mut self, topics: &BTreeSet<Uuid>) {
        let mut partitions = self.partitions.clone();
        partitions.initializing.retain(|id, _| !topics.contains(id));
        partitions.initialized.retain(|id, _| !topics.contains(id));
        partitions.deleting.retain(|id, _| !topics.contains(id));
        self.write_partitions(partitions);
    }
}

/// Adds partitions of a topic to others. `partitions` is not empty.
pub(super) fn add(topics: &mut SharedTopics, id: Uuid, name: &TopicName, partitions: &BTreeSet<i32>) {
    let new = || SharedTopic { name: name.clone(), partitions: BTreeSet::new() };
    topics.entry(id).or_insert_with(new).partitions.extend(partitions);
}

fn remove(topics: &mut SharedTopics, partitions: &Partitions) {
    for (id, gone) in partitions {
        if let Some(topic) = topics.get_mut(id) {
            topic.partitions.retain(|partition| !gone.contains(partition));
        }
    }
    topics.retain(|_, topic| !topic.partitions.is_empty());
}
