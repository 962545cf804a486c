//! What Kubernetes shows of brokers that run on it. On a laptop brokers describe themselves, on their Leases.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ottla_crds::{Endpoint, ListenerStatus, PoolStatus};
use ottla_rules::assignment::BrokerId;

/// The label by which local volumes name their node.
pub const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

/// A cluster's brokers as Kubernetes shows them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Platform {
    /// The uid of the KafkaCluster that this describes: another of the same name may exist by now. `None`: the API
    /// server gave none.
    pub of: Option<String>,
    /// The generation of the last spec that was handled: its objects were applied and Kubernetes has observed them, or
    /// `obstacle` says why not. `None`: this operator has handled no spec yet.
    pub generation: Option<i64>,
    /// The image of the brokers' pods; `None` before they exist.
    pub image: Option<String>,
    /// The size of the smallest of the brokers' volumes; `None`: there is none yet.
    pub volume_size: Option<String>,
    /// The pools beside the default one that exist; `None`: not read yet.
    pub pools: Option<Vec<PoolStatus>>,
    /// What brokers wait for that the spec no longer asks for; `None`: no broker leaves.
    pub leaving: Option<Obstacle>,
    /// The place of each broker.
    pub places: BTreeMap<BrokerId, BrokerPlace>,
    /// The volume of each broker that has one.
    pub volumes: BTreeMap<BrokerId, Volume>,
    /// The brokers that have a claim, those included that have left; `None`: not read yet.
    pub claimants: Option<BTreeSet<BrokerId>>,
    /// The `bootstrap.servers` of each listener.
    pub listeners: Vec<ListenerStatus>,
    /// The cluster's id, if volumes of an earlier life of the cluster have it.
    pub cluster_id: Option<String>,
    /// Why the spec is not applied; `None`: it is.
    pub obstacle: Option<Obstacle>,
    /// The pod that the cluster waits for, and why; `None`: no pod.
    pub waiting: Option<Obstacle>,
    /// The revisions of the brokers' pods; `None`: not examined yet.
    pub revisions: Option<Revisions>,
}

/// The revisions that brokers have, and those that they could have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revisions {
    /// `status.rollout.from` when this was read; before there was one, the revision that was adopted.
    pub from: String,
    /// What `from` asks for of the pods of each pool that it knows, as [`Offer::pools`].
    pub from_pools: BTreeMap<String, String>,
    /// `status.rollout.to` when this was read; `None`: brokers are to have `from`.
    pub to: Option<String>,
    /// What the spec asks for, if its user has changed it since `from`.
    pub by_user: Option<Offer>,
    /// What this operator would build; `None`: that is `from`.
    pub by_operator: Option<Offer>,
    /// `to`, if that is what the spec asks for; else `None`.
    pub current: Option<Offer>,
    /// The revision that new pods get, once the StatefulSet's controller has observed it; `None`: unknown.
    pub template: Option<String>,
    /// Whether a node is not ready or cordoned, so that pods may find no place for that reason.
    pub lacks_nodes: bool,
    /// Every pod of a broker.
    pub pods: BTreeMap<BrokerId, PodRevision>,
}

/// A revision that brokers could have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub revision: String,
    /// What differs from `from`, by the words of `status.rollout.why`.
    pub why: Vec<String>,
    /// Its image.
    pub image: String,
    /// What it asks for of the pods of each pool alone, by the pool's name: a hash; empty: nothing.
    pub pools: BTreeMap<String, String>,
}

/// A broker's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRevision {
    /// Its name.
    pub name: String,
    /// The revision with which it was made.
    pub revision: String,
    /// The revisions that ask for it as it is: not always the one with which it was made, if the spec says something
    /// else of its pool by now, and also others, which differ from that one in other pools only.
    pub asked_by: BTreeSet<String>,
    /// Its uid; `None`: the API server gave none.
    pub uid: Option<String>,
    /// Its resource version; `None`: the API server gave none.
    pub version: Option<String>,
    /// How far it is.
    pub stage: Stage,
    /// That its process has ended, and why; `None`: it has not.
    pub crashed: Option<String>,
    /// Why its container does not start by itself; `None`: it does.
    pub stuck: Option<String>,
    /// Since when no node takes it, and why; `None`: a node has.
    pub unscheduled: Option<(Time, String)>,
    /// Whether its node is gone or not ready: nobody knows how the process does, or it has no node because of that.
    pub is_cut_off: bool,
    /// Its node, if that is gone: the one that it is bound to or, if no node takes it, the one that its broker was on
    /// before. `None`: the node exists, or is not known.
    pub lost_node: Option<String>,
}

impl PodRevision {
    /// Whether it is as this revision asks for.
    pub fn has(&self, revision: &str) -> bool {
        self.asked_by.contains(revision)
    }

    /// Whether it is as `to` asks for, and not as `from` does: it was restarted between them.
    pub fn came(&self, from: &str, to: &str) -> bool {
        self.has(to) && !self.has(from)
    }
}

/// How far a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It is being deleted.
    Ending,
    /// Its container does not run.
    Pending,
    /// Its container runs and opens its logs: the startup probe, which limits that, has not succeeded yet.
    Starting,
    /// Its broker serves and catches up.
    Started,
    /// It is ready: registered, and in sync as far as it knows.
    Ready,
}

/// The rack and addresses of a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerPlace {
    /// Its rack; `None`: not known.
    pub rack: Option<String>,
    /// The Kubernetes node of its pod; `None`: no node has taken it.
    pub node: Option<String>,
    /// The address of its pod; `None`: unknown.
    pub address: Option<String>,
    /// The addresses that it advertises.
    pub endpoints: Vec<Endpoint>,
}

/// The volume of a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// The name of its claim.
    pub claim: String,
    /// The claim's uid, which changes with the volume.
    pub uid: String,
    /// The claim's resource version; `None`: the API server gave none.
    pub version: Option<String>,
    /// Whether the claim is being deleted: it goes when no pod uses it.
    pub is_deleted: bool,
    /// The uid of the pod that uses it; `None`: there is none, or it is stopping.
    pub pod: Option<String>,
    /// The nodes that alone could use it, if none of them exists any more; `None`: a node can use it, or nobody knows.
    pub lost: Option<Lost>,
}

/// The nodes of a volume that no node can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Their names; usually it is one.
    pub nodes: BTreeSet<String>,
    /// Whether they have been gone for `storage.lostAfter` without a break.
    pub for_long: bool,
}

/// A problem, as a condition shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The reason, in CamelCase.
    pub reason: &'static str,
    /// The message: what happened, why, and what to do.
    pub message: String,
}

impl Obstacle {
    /// An obstacle.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Obstacle {
        Obstacle { reason, message: message.into() }
    }
}
