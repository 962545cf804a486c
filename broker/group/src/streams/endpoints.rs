//! Where the members of a group answer interactive queries, and about which partitions (Kafka's
//! `EndpointToPartitionsManager`).

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::TopicName;
use crate::record::Tasks;
use crate::request::EndpointPartitions;
use crate::streams::group::StreamsGroup;
use crate::topics::Topics;

impl StreamsGroup {
    /// One entry for each member that answers queries.
    pub(super) fn endpoints(&self, topics: &Topics) -> Vec<EndpointPartitions> {
        let entry = |member: &super::group::Member| {
            let tasks = member.current.assigned.tasks();
            Some(EndpointPartitions {
                endpoint: member.value.endpoint.clone()?,
                active: self.partitions(&tasks.active, topics),
                standby: self.partitions(&tasks.standby, topics),
            })
        };
        self.members.values().filter_map(entry).collect()
    }

    /// The partitions that tasks read. Kafka 4.3.1 names the first tasks of a member for a topic with fewer partitions
    /// than the member has tasks, and partitions that a topic does not have; here they are the tasks' own.
    fn partitions(&self, tasks: &Tasks, topics: &Topics) -> BTreeMap<TopicName, Vec<i32>> {
        let mut all: BTreeMap<TopicName, BTreeSet<i32>> = BTreeMap::new();
        let parts = self.topology.iter().flat_map(|topology| &topology.subtopologies);
        for part in parts {
            let Some(partitions) = tasks.get(&part.id) else { continue };
            for name in part.reads() {
                let count = topics.get(name).map_or(0, |topic| topic.partitions);
                let existing = partitions.iter().copied().filter(|partition| *partition < count);
                all.entry(name.clone()).or_default().extend(existing);
            }
        }
        all.into_iter().map(|(name, all)| (name, all.into_iter().collect())).collect()
    }
}
