//! Which partitions of a group share coordinators have initialised, and which they are to.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::effects::StateCallKind;
use crate::error::GroupError;
use crate::ids::TopicName;
use crate::record::{Partitions, ShareRecord, SharedPartitions, SharedTopic, SharedTopics};
use crate::share::calls::{Offsets, Purpose};
use crate::share::group::ShareGroup;
use crate::topics::Topics;
use crate::turn::Turn;

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

    /// Asks for the partitions that members are subscribed to and that are not initialised, unless that is under way,
    /// or they are too many.
    pub(super) fn initialize_missing(&mut self, turn: &Turn<'_>) {
        let (partitions, offsets) = self.with_missing(self.subscribed_names(), turn.topics);
        if !offsets.is_empty() && self.check_partitions(&partitions, turn).is_ok() {
            self.write_partitions(partitions);
            let what = StateCallKind::Initialize { state_epoch: self.epoch, offsets };
            self.calls.push(self.history.end(), what, Purpose::Heartbeat);
        }
    }

    /// Refuses topics with more partitions than the group can keep in mind besides those that it knows.
    pub(super) fn check_topics(&self, names: &BTreeSet<TopicName>, turn: &Turn<'_>) -> Result<(), GroupError> {
        self.check_partitions(&self.with_missing(names.iter().collect(), turn.topics).0, turn)
    }

    /// Refuses what is too large for the log, or would be while the partitions are initialised: a topic is listed twice
    /// as long as only some of its partitions are.
    pub(super) fn check_partitions(&self, partitions: &SharedPartitions, turn: &Turn<'_>) -> Result<(), GroupError> {
        let mut largest = partitions.clone();
        for (id, topic) in partitions.initializing.iter().filter(|(_, topic)| topic.partitions.len() > 1) {
            let again = || SharedTopic { name: topic.name.clone(), partitions: BTreeSet::new() };
            largest.initialized.entry(*id).or_insert_with(again);
        }
        turn.check_size(&self.record(ShareRecord::Partitions(Some(Box::new(largest)))))
    }

    /// The partitions with those of the topics that are to be initialised, and where these begin.
    fn with_missing(&self, names: BTreeSet<&TopicName>, topics: &Topics) -> (SharedPartitions, Offsets) {
        let (mut partitions, mut offsets) = (self.partitions.clone(), Offsets::new());
        for name in names {
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
        (partitions, offsets)
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
