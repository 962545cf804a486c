//! The writes to make next, from everything that is known. Values in, values out: no client, clock or randomness.
//!
//! A plan has only steps that are safe now; steps that depend on their outcome are planned when the objects show it. So
//! a plan may be applied twice, late, in part, or by two operators at once.
//!
//! - [`assignments`]: elections, tombstones and removals
//! - [`moves`]: which brokers should hold replicas, and which should lead, as a KafkaTopic says
//! - [`relocation`]: the moves that the operator makes by itself
//! - [`rebalance`]: the life of a KafkaRebalance
//! - [`rate`]: how fast replicas are copied
//! - [`fresh`]: volumes that are replaced by order, or because their node is lost
//! - [`topic`]: from a KafkaTopic to its assignments and its status
//! - [`replicas`]: the brokers that its partitions wait for
//! - [`cluster`]: the cluster's status
//! - [`rollout`]: which revision brokers get, and which of them restart
//! - [`rules`]: the settings of topics that the plan needs
//! - [`condition`]: conditions that keep their transition times
//! - [`standard`]: the conditions that tools read of any kind
//! - [`platform`]: what Kubernetes shows of brokers that run on it
//!
//! Always: a topic has our finalizer before its first assignment exists; a topic that was once assigned is never placed
//! again; files are removed only on a tombstone; without a change to make, the plan is empty.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ottla_config::BrokerSettings;
use ottla_crds::{BrokerLoads, Endpoint, KafkaAssignment, KafkaCluster, KafkaRebalance, KafkaTopic, OnLostNode};
use ottla_rules::assignment::{Assignment, BrokerId, Live, LiveBroker};
use ottla_rules::features::SupportedFeatures;
use ottla_rules::plan::roster::{self, Order, Wanted};
use uuid::Uuid;

use self::platform::{Platform, Volume};
use self::rollout::restart::Restart;
use self::rules::RuleBook;

pub mod assignments;
pub mod cluster;
pub mod condition;
pub mod fresh;
pub mod moves;
pub mod platform;
pub mod rate;
pub mod rebalance;
pub mod relocation;
pub mod replicas;
pub mod rollout;
pub mod rules;
pub mod standard;
pub mod topic;

/// Everything that a plan depends on.
#[derive(Clone, Debug)]
pub struct World {
    /// The cluster; `None` if it does not exist.
    pub cluster: Option<Arc<KafkaCluster>>,
    /// Its topics.
    pub topics: Vec<Arc<KafkaTopic>>,
    /// Its assignments.
    pub assignments: Vec<Arc<KafkaAssignment>>,
    /// Whether this plan looks at what the operator moves by itself, which takes long in a large cluster.
    pub relocates: bool,
    /// The loads of live brokers; `None`: they have not been asked.
    pub loads: Option<Arc<BTreeMap<BrokerId, BrokerLoads>>>,
    /// Whether these loads have just come.
    pub loads_are_new: bool,
    /// Its rebalances; `None`: they have not been listed yet, so a move in progress may be one of theirs.
    pub rebalances: Option<Vec<Arc<KafkaRebalance>>>,
    /// The missing topics: brokers hold them, and their assignments are missing. An asterisk: all topics.
    pub missing: BTreeSet<String>,
    /// Why no assignment entry may be written now; `None`: entries may be written.
    pub held_back: Option<HeldBack>,
    /// The partitions (`topic-0`) of which each broker acts on another history than the API server shows; an asterisk:
    /// too many to name.
    pub forked: BTreeMap<BrokerId, BTreeSet<String>>,
    /// Every broker that has a Lease, and on Kubernetes every broker that the spec asks for.
    pub brokers: BTreeMap<BrokerId, Broker>,
    /// What Kubernetes shows of the brokers; `None` on a laptop.
    pub platform: Option<Arc<Platform>>,
    /// The settled brokers: live for so long that leaders return to them.
    pub settled: BTreeSet<BrokerId>,
    /// The seasoned brokers: live for so long that new ones get replicas of the others.
    pub seasoned: BTreeSet<BrokerId>,
    /// Brokers that have never been live and that the first topics wait for.
    pub awaited: BTreeSet<BrokerId>,
    /// The returning brokers: members of partitions without a leader that died less than 30 s ago.
    pub returning: BTreeSet<BrokerId>,
    /// The transition time of changed conditions.
    pub now: Time,
    /// The id that the cluster gets if it has none yet.
    pub fresh_cluster_id: Uuid,
}

/// Why no entry is written: a write might create a fork of what brokers act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// A live broker has not renewed its Lease since the watch of the Leases began.
    Unheard,
    /// A live broker has not compared its entries with the API server yet: it was started while the API server was
    /// away, or it lists everything again. This is not a sign of a restore, so no condition shows it.
    Comparing,
    /// The API server was set back: these brokers know newer entries, or have not noticed the restore yet.
    SetBack(Vec<BrokerId>),
}

/// A broker as its Lease shows it, or Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broker {
    /// Its incarnation and whether it is draining; `None` if it is dead.
    pub live: Option<LiveBroker>,
    /// Its rack; `None`: unknown.
    pub rack: Option<String>,
    /// The address of its pod; `None`: unknown.
    pub address: Option<String>,
    /// The addresses that it advertises.
    pub endpoints: Vec<Endpoint>,
    /// The address of its HTTP port; `None`: unknown.
    pub http: Option<SocketAddr>,
    /// Whether its disk fills up: it is more than 85 % full.
    pub is_filling: bool,
    /// Whether its disk hangs. It is draining then.
    pub hangs: bool,
    /// The features that it supports; `None`: it is silent, because it has never been live and so has no Lease.
    pub features: Option<SupportedFeatures>,
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

/// Partitions that get a leader without in-sync replicas, for an Event once that is written.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Their topic.
    pub topic: Arc<KafkaTopic>,
    /// Their numbers; may be empty.
    pub partitions: Vec<i32>,
    /// Whether an administrator ordered it.
    pub by_order: bool,
}

/// An Event on the object that a step is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Whether the Event has the type Warning.
    pub warning: bool,
    /// The Event's reason, in CamelCase.
    pub reason: String,
    /// The Event's message.
    pub note: String,
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

/// The steps to take now, the most urgent first.
pub fn plan(world: &World) -> Vec<Step> {
    let Some(cluster) = &world.cluster else { return topic::without_cluster(world) };
    let settings = BrokerSettings::resolve(&cluster.spec.broker_config());
    let rules = RuleBook::new(world, &settings);
    // A paused cluster keeps the rate at which brokers copy what is moving already; its rebalances say why they stand.
    let relocates = world.relocates && !cluster.spec.paused;
    let relocation = relocates.then(|| relocation::relocation(world, cluster, &rules));
    let mut steps = assignments::elections(world, &rules);
    let rollout = rollout::decide(world, cluster, &settings, &rules);
    let renewal = fresh::obstacle(world, cluster, &rules);
    let lost = fresh::lost(world, cluster, &rules);
    let planned = cluster::Planned {
        rollout: rollout.as_ref(),
        relocation: relocation.as_ref(),
        renewal: renewal.as_ref(),
        lost: lost.as_ref(),
    };
    steps.extend(cluster::status(world, cluster, planned));
    steps.extend(assignments::forgotten(world));
    steps.extend(assignments::emptied_graves(world));
    steps.extend(topic::topics(world, cluster, &settings, &rules));
    steps.extend(rebalance::paused(world, cluster));
    steps.extend(relocation.into_iter().flat_map(|relocation| relocation.steps));
    steps.extend(moves::returns(world, &rules));
    let restart = rollout.and_then(|rollout| rollout.restart).map(|restart| Step::Restart(Box::new(restart)));
    // Each is checked as if the other did not happen.
    let renews = restart.is_none();
    steps.extend(restart);
    steps.extend(fresh::step(world, cluster, &rules).filter(|_| renews));
    // Without entries there can be no fork: the first topic of a cluster does not wait.
    if let Some(held_back) = world.held_back.as_ref().filter(|_| !world.assignments.is_empty()) {
        steps.retain(|step| !step.waits_for(held_back));
    }
    steps
}

impl World {
    /// The live brokers.
    pub fn live(&self) -> Live {
        self.brokers.iter().filter_map(|(id, broker)| Some((*id, broker.live?))).collect()
    }

    /// The live brokers whose disks hang.
    pub fn hanging(&self) -> BTreeSet<BrokerId> {
        let hangs = |broker: &Broker| broker.live.is_some() && broker.hangs;
        self.brokers.iter().filter(|(_, broker)| hangs(broker)).map(|(id, _)| *id).collect()
    }

    /// The live brokers whose disks fill up.
    pub fn filling(&self) -> BTreeSet<BrokerId> {
        let fills = |broker: &Broker| broker.live.is_some() && broker.is_filling;
        self.brokers.iter().filter(|(_, broker)| fills(broker)).map(|(id, _)| *id).collect()
    }

    /// What the spec wants of this broker. A laptop has the brokers that its options say: none of them leaves.
    pub fn wanted(&self, id: BrokerId) -> Wanted {
        let Some(cluster) = &self.cluster else { return Wanted::Serve };
        let is_asked_for = self.platform.is_none() || cluster.spec.asks_for(id);
        let volume = self.platform.as_ref().and_then(|platform| platform.volumes.get(&id));
        // Kubernetes takes no deletion of a claim back: what was ordered of the volume is carried out.
        let order = match volume {
            Some(volume) if volume.is_deleted => Some(Order::Fresh),
            volume => cluster.spec.brokers.order(id, volume.map(|volume| &*volume.uid)),
        };
        roster::wanted(is_asked_for, order.or_else(|| self.replaces_lost(id).then_some(Order::Fresh)))
    }

    /// Whether the spec has the volume of this broker replaced because its node is lost: for long enough, and no other
    /// broker's. If several are, somebody may have deleted nodes by mistake.
    pub fn replaces_lost(&self, id: BrokerId) -> bool {
        let storage = self.cluster.as_ref().and_then(|cluster| cluster.storage_of(id));
        let replaces = storage.is_some_and(|storage| storage.on_lost_node == OnLostNode::Replace);
        let volumes = self.platform.iter().flat_map(|platform| &platform.volumes);
        let mut lost = volumes.filter_map(|(id, volume)| Some((*id, volume.lost.as_ref()?)));
        match (lost.next(), lost.next()) {
            (Some((only, lost)), None) => replaces && only == id && lost.for_long,
            (_, Some(_)) | (None, None) => false,
        }
    }

    /// The partitions of an assignment that get no leader now. While a live broker reports a partition as forked, the
    /// operator elects none if leaders of both histories could have enough in-sync replicas to acknowledge records: if
    /// `min_in_sync`, the topic's `min.insync.replicas`, is at most half the number of replicas. Without a KafkaTopic
    /// the operator does not know that setting, and takes it for 1.
    pub fn undecided(&self, object: &KafkaAssignment, min_in_sync: Option<usize>) -> BTreeSet<i32> {
        let is_live = |id: &BrokerId| self.brokers.get(id).is_some_and(|broker| broker.live.is_some());
        let reported: Vec<&BTreeSet<String>> =
            self.forked.iter().filter(|(id, _)| is_live(id)).map(|(_, forked)| forked).collect();
        if reported.is_empty() {
            return BTreeSet::new();
        }
        let is_undecided = |entry: &&Assignment| {
            let name = format!("{}-{}", object.spec.topic_name, entry.partition);
            let is_forked = reported.iter().any(|forked| forked.contains("*") || forked.contains(&name));
            is_forked && 2 * entry.floor(min_in_sync.unwrap_or(1)) <= entry.replicas.len()
        };
        object.spec.partitions.iter().filter(is_undecided).map(|entry| entry.partition).collect()
    }

    /// Whether brokers hold a topic of this name that no assignment names.
    pub fn misses(&self, topic_name: &str) -> bool {
        self.missing.contains(topic_name) || self.missing.contains("*")
    }
}

#[cfg(test)]
mod tests;
