//! One write of a plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_crds::{KafkaAssignment, KafkaCluster, KafkaRebalance, KafkaTopic};
use ottla_rules::assignment::{Assignment, BrokerId};

use super::news::{News, Recovered};
use super::platform::Volume;
use super::rollout::restart::Restart;
use super::world::HeldBack;

/// One write.
#[derive(Clone, Debug)]
pub enum Step {
    /// Change entries of an assignment: each a transition of what was read.
    Change {
        /// What was read.
        read: Arc<KafkaAssignment>,
        /// The entries that change.
        next: Vec<Assignment>,
        /// Which of them are recoveries.
        recovered: Vec<Recovered>,
    },
    /// Add entries to an assignment.
    Append {
        /// What was read.
        read: Arc<KafkaAssignment>,
        /// The new entries.
        added: Vec<Assignment>,
    },
    /// Create an assignment.
    Create(Box<KafkaAssignment>),
    /// Put a tombstone on an assignment of a topic that is being deleted.
    Bury {
        /// What was read.
        read: Arc<KafkaAssignment>,
        /// The topic.
        topic: Arc<KafkaTopic>,
    },
    /// Remove an assignment that no replica needs any more.
    Remove(Arc<KafkaAssignment>),
    /// Put our finalizer on a topic.
    Own(Arc<KafkaTopic>),
    /// Remove the entries of a topic's `spec.placement` that are for once, and whose partitions are there.
    Unpin {
        /// What was read.
        read: Arc<KafkaTopic>,
        /// The same without these entries.
        next: Box<KafkaTopic>,
    },
    /// Remove our finalizer from a topic.
    Release {
        /// The topic.
        topic: Arc<KafkaTopic>,
        /// Do nothing if this assignment exists without a tombstone, written too late for this plan to know.
        unless: Option<String>,
        /// The Event to publish.
        news: Option<News>,
    },
    /// Write what has changed in a topic's status.
    TopicStatus {
        /// What was read.
        read: Arc<KafkaTopic>,
        /// The same with the new status.
        next: Box<KafkaTopic>,
        /// The Event to publish.
        news: Option<News>,
    },
    /// Delete the claim of a broker whose volume is replaced, and its pod: Kubernetes makes both again.
    Renew {
        /// The cluster.
        cluster: Arc<KafkaCluster>,
        /// The broker.
        id: BrokerId,
        /// Its volume.
        volume: Volume,
        /// The assignments that name the broker, with the versions that were read: the step is for these alone.
        versions: BTreeMap<String, Option<String>>,
    },
    /// Write what has changed in the cluster's status.
    ClusterStatus {
        /// What was read.
        read: Arc<KafkaCluster>,
        /// The same with the new status.
        next: Box<KafkaCluster>,
        /// The Events to publish.
        news: Vec<News>,
    },
    /// Restart brokers' pods, if the assignments still allow it.
    Restart(Box<Restart>),
    /// Write what has changed in a rebalance's status.
    RebalanceStatus {
        /// What was read.
        read: Arc<KafkaRebalance>,
        /// The same with the new status.
        next: Box<KafkaRebalance>,
        /// The Event to publish.
        news: Option<News>,
    },
}

impl Step {
    /// Whether the step must wait: it changes assignments, depends on them, or removes the finalizer of a topic whose
    /// assignments may be lost.
    pub fn waits_for(&self, held_back: &HeldBack) -> bool {
        match self {
            Step::Change { .. }
            | Step::Append { .. }
            | Step::Create(_)
            | Step::Bury { .. }
            | Step::Remove(_)
            | Step::Renew { .. }
            | Step::Restart(_) => true,
            Step::Release { .. } => *held_back != HeldBack::Unheard,
            Step::Own(_)
            | Step::Unpin { .. }
            | Step::TopicStatus { .. }
            | Step::ClusterStatus { .. }
            | Step::RebalanceStatus { .. } => false,
        }
    }

    /// The step's name in log lines.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Change { .. } => "change entries of an assignment",
            Step::Append { .. } => "add entries to an assignment",
            Step::Create(_) => "create an assignment",
            Step::Bury { .. } => "put a tombstone on an assignment",
            Step::Remove(_) => "remove an assignment",
            Step::Own(_) => "put the finalizer on a topic",
            Step::Unpin { .. } => "remove placements of a topic that are reached",
            Step::Release { .. } => "take the finalizer off a topic",
            Step::TopicStatus { .. } => "write a topic's status",
            Step::Renew { .. } => "replace a volume",
            Step::ClusterStatus { .. } => "write the cluster's status",
            Step::Restart(_) => "restart brokers' pods",
            Step::RebalanceStatus { .. } => "write a rebalance's status",
        }
    }
}
