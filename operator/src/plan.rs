//! What to write next, given everything that is known. Values in, values out: no client, clock or randomness.
//!
//! A plan holds only steps that are safe now; what rests on their outcome is planned when the objects show it. So a
//! plan may be applied twice, late, in part, or by two operators at once.
//!
//! - [`assignments`]: elections and graves
//! - [`moves`]: where replicas are wanted, and who should lead
//! - [`topic`]: from a KafkaTopic to its assignments, and what is said about it
//! - [`replicas`]: whom its partitions wait for
//! - [`cluster`]: what is said about the cluster
//! - [`rules`]: what topics' settings come to
//! - [`condition`]: conditions that keep their times
//! - [`platform`]: what Kubernetes tells of brokers that run on it
//!
//! Always: a topic bears our finalizer before its first assignment exists; a topic that was once assigned is never
//! placed anew; files go only by a tombstone; where nothing is to change, nothing is planned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ottla_config::BrokerSettings;
use ottla_crds::{Endpoint, KafkaAssignment, KafkaCluster, KafkaTopic};
use ottla_rules::assignment::{Assignment, BrokerId, Live, LiveBroker};
use uuid::Uuid;

use self::platform::Platform;
use self::rules::RuleBook;

pub mod assignments;
pub mod cluster;
pub mod condition;
pub mod moves;
pub mod platform;
pub mod replicas;
pub mod rules;
pub mod topic;

/// Everything that a plan rests on.
#[derive(Clone, Debug)]
pub struct World {
    /// The cluster, unless it is gone.
    pub cluster: Option<Arc<KafkaCluster>>,
    /// Its topics.
    pub topics: Vec<Arc<KafkaTopic>>,
    /// Its assignments.
    pub assignments: Vec<Arc<KafkaAssignment>>,
    /// Topics that brokers hold while assignments of them are missing; an asterisk stands for all.
    pub missing: BTreeSet<String>,
    /// Why no entry may be written now, if so.
    pub held_back: Option<HeldBack>,
    /// Partitions of which brokers act on another history than the API server shows; an asterisk where they are too
    /// many to name.
    pub forked: BTreeSet<String>,
    /// Every broker that has a Lease, and on Kubernetes every one that is to be.
    pub brokers: BTreeMap<BrokerId, Broker>,
    /// What Kubernetes tells of them; none on a laptop.
    pub platform: Option<Arc<Platform>>,
    /// Those that have been alive for so long that leaders return to them.
    pub settled: BTreeSet<BrokerId>,
    /// Those that have never been there and are waited for.
    pub awaited: BTreeSet<BrokerId>,
    /// Members of partitions that nobody leads that have gone not long ago.
    pub returning: BTreeSet<BrokerId>,
    /// The time that changed conditions bear.
    pub now: Time,
    /// The cluster's id, if it has none yet.
    pub fresh_cluster_id: Uuid,
}

/// Why no entry is written: it might begin another history than the one that brokers act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// Some of the brokers that are there have not been heard since the watch of their Leases began.
    Unheard,
    /// Some of the brokers that are there have not compared yet what they know with what the API server shows: one that
    /// was started while it was away, or that lists everything anew. That is no sign of a restore, and nothing is said
    /// of it.
    Comparing,
    /// The API server was set back: these brokers know newer entries, or are about to find out.
    SetBack(Vec<BrokerId>),
}

/// A broker as its Lease shows it, or Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broker {
    /// What it is, while its Lease is renewed.
    pub live: Option<LiveBroker>,
    /// Its rack.
    pub rack: Option<String>,
    /// Its pod's address.
    pub address: Option<String>,
    /// Where clients reach it.
    pub endpoints: Vec<Endpoint>,
}

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
    /// Take it off again.
    Release {
        /// The topic.
        topic: Arc<KafkaTopic>,
        /// Not if this assignment is there without a tombstone, written too late for this plan to know.
        unless: Option<String>,
        /// What to tell.
        news: Option<News>,
    },
    /// Replace a topic's status by the one in this object.
    TopicStatus(Box<KafkaTopic>, Option<News>),
    /// Replace the cluster's status by the one in this object.
    ClusterStatus(Box<KafkaCluster>, Option<News>),
}

/// Partitions that go on without in-sync replicas, of which people are told once it is written.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Their topic.
    pub topic: Arc<KafkaTopic>,
    /// Their numbers; maybe none.
    pub partitions: Vec<i32>,
    /// Whether an administrator ordered it.
    pub by_order: bool,
}

/// What a person would want to know: an Event on the object that a step is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Whether something is wrong.
    pub warning: bool,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub note: String,
}

impl Step {
    /// Whether it is not to be taken now: it changes assignments, or lets a topic go whose assignments have been lost.
    pub fn waits_for(&self, held_back: &HeldBack) -> bool {
        match self {
            Step::Change { .. } | Step::Append { .. } | Step::Create(_) | Step::Bury { .. } | Step::Remove(_) => true,
            Step::Release { .. } => *held_back != HeldBack::Unheard,
            Step::Own(_) | Step::TopicStatus(..) | Step::ClusterStatus(..) => false,
        }
    }

    /// What to call it in a log.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Change { .. } => "change entries of an assignment",
            Step::Append { .. } => "add entries to an assignment",
            Step::Create(_) => "create an assignment",
            Step::Bury { .. } => "put a tombstone on an assignment",
            Step::Remove(_) => "remove an assignment",
            Step::Own(_) => "put the finalizer on a topic",
            Step::Release { .. } => "take the finalizer off a topic",
            Step::TopicStatus(..) => "write a topic's status",
            Step::ClusterStatus(..) => "write the cluster's status",
        }
    }
}

/// The steps to take now, the most urgent first.
pub fn plan(world: &World) -> Vec<Step> {
    let Some(cluster) = &world.cluster else { return topic::let_go(world) };
    let settings = BrokerSettings::resolve(&cluster.spec.broker_config());
    let rules = RuleBook::new(world, &settings);
    let mut steps = assignments::elections(world, &rules);
    steps.extend(cluster::status(world, cluster));
    steps.extend(assignments::emptied_graves(world));
    steps.extend(topic::topics(world, cluster, &settings, &rules));
    steps.extend(moves::returns(world));
    // Where there are no entries there is no history to fork: the first topic of a cluster waits for nobody.
    if let Some(held_back) = world.held_back.as_ref().filter(|_| !world.assignments.is_empty()) {
        steps.retain(|step| !step.waits_for(held_back));
    }
    steps
}

impl World {
    /// Who is there.
    pub fn live(&self) -> Live {
        self.brokers.iter().filter_map(|(id, broker)| Some((*id, broker.live?))).collect()
    }

    /// Whether the spec does not ask for this broker any more. A laptop has the brokers that its program was told to
    /// have.
    pub fn leaves(&self, id: BrokerId) -> bool {
        let wanted = self.cluster.as_ref().map_or(i32::MAX, |cluster| cluster.spec.brokers.replicas);
        self.platform.is_some() && id.0 >= wanted
    }

    /// Whether brokers hold a topic of this name that no assignment tells of.
    pub fn misses(&self, topic_name: &str) -> bool {
        self.missing.contains(topic_name) || self.missing.contains("*")
    }
}

#[cfg(test)]
mod tests;
