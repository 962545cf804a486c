//! What the API server holds.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::coordination::v1::Lease;
use ottla_crds::{KafkaAssignment, KafkaCluster, KafkaTopic};
use ottla_rules::assignment::{Assignment, BrokerId, PartitionEpoch};

use super::referee::Partition;

/// All objects, read at once.
pub(super) struct View {
    pub cluster: KafkaCluster,
    pub topics: Vec<KafkaTopic>,
    pub assignments: Vec<KafkaAssignment>,
    pub leases: Vec<Lease>,
}

impl View {
    pub(super) fn entries(&self) -> impl Iterator<Item = (Partition, &Assignment)> {
        let objects = self.assignments.iter().map(|object| &object.spec);
        objects.flat_map(|spec| spec.partitions.iter().map(|entry| ((spec.topic_id, entry.partition), entry)))
    }

    pub(super) fn placed(&self) -> BTreeSet<(&str, i32)> {
        let objects = self.assignments.iter().map(|object| &object.spec);
        objects.flat_map(|spec| spec.partitions.iter().map(|entry| (&*spec.topic_name, entry.partition))).collect()
    }

    /// Who holds what.
    pub(super) fn replicas(&self) -> BTreeSet<(BrokerId, Partition)> {
        let held = |(partition, entry): (Partition, &Assignment)| {
            entry.replicas.iter().map(move |broker| (*broker, partition)).collect::<Vec<_>>()
        };
        self.entries().flat_map(held).collect()
    }

    pub(super) fn epochs(&self) -> BTreeMap<Partition, PartitionEpoch> {
        self.entries().map(|(partition, entry)| (partition, entry.partition_epoch)).collect()
    }
}
