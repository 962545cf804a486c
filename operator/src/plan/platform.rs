//! What Kubernetes shows of brokers that run on it. On a laptop brokers describe themselves, on their Leases.

use std::collections::BTreeMap;

use ottla_crds::{Endpoint, ListenerStatus};
use ottla_rules::assignment::BrokerId;

/// A cluster's brokers as Kubernetes shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// The uid of the KafkaCluster that this describes: another of the same name may exist by now.
    pub of: Option<String>,
    /// The generation of the last spec that was handled: its objects were applied and Kubernetes has observed them, or
    /// `obstacle` says why not. `None`: this operator has handled no spec yet.
    pub generation: Option<i64>,
    /// The image of the brokers' pods; `None` before they exist.
    pub image: Option<String>,
    /// The operator's own image, if brokers could run it and do not yet.
    pub held: Option<String>,
    /// The size of the smallest of the brokers' volumes; `None`: there is none yet.
    pub volume_size: Option<String>,
    /// What brokers wait for that the spec no longer asks for; `None`: no broker leaves.
    pub leaving: Option<Obstacle>,
    /// The place of each broker.
    pub places: BTreeMap<BrokerId, Place>,
    /// The `bootstrap.servers` of each listener.
    pub listeners: Vec<ListenerStatus>,
    /// The cluster's id, if volumes of an earlier life of the cluster have it.
    pub cluster_id: Option<String>,
    /// Why the spec is not applied; `None`: it is.
    pub obstacle: Option<Obstacle>,
    /// The pod that the cluster waits for, and why; `None`: no pod.
    pub waiting: Option<Obstacle>,
    /// The brokers whose pods have an earlier spec.
    pub outdated: Vec<BrokerId>,
}

/// The rack and addresses of a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its rack.
    pub rack: Option<String>,
    /// The address of its pod; `None`: unknown.
    pub address: Option<String>,
    /// The addresses that it advertises.
    pub endpoints: Vec<Endpoint>,
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
