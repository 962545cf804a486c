//! Everything that a plan depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ottla_crds::{BrokerLoads, Endpoint, KafkaAssignment, KafkaCluster, KafkaRebalance, KafkaTopic, OnLostNode};
use ottla_rules::assignment::{Assignment, BrokerId, Live, LiveBroker};
use ottla_rules::features::SupportedFeatures;
use ottla_rules::plan::roster::{self, Order, Wanted};
use uuid::Uuid;

use super::platform::Platform;

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
