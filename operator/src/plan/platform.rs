//! What Kubernetes tells of brokers that run on it. On a laptop brokers tell of themselves, on their Leases.

use std::collections::BTreeMap;

use ottla_crds::{Endpoint, ListenerStatus};
use ottla_rules::assignment::BrokerId;

/// A cluster's brokers as Kubernetes shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// The uid of the KafkaCluster that this is about: another of the same name may have come since.
    pub of: Option<String>,
    /// The generation of the spec that was examined last: its objects were applied and Kubernetes has taken note of
    /// them, or `obstacle` says why not. None: of no spec yet by this operator.
    pub generation: Option<i64>,
    /// What brokers' pods are made to run, once they are made.
    pub image: Option<String>,
    /// The operator's own image, where brokers could run it and do not yet.
    pub held: Option<String>,
    /// How large the smallest of the brokers' volumes is.
    pub volume_size: Option<String>,
    /// Brokers that the spec does not ask for any more, and what they wait for.
    pub leaving: Option<Obstacle>,
    /// Where each broker is.
    pub places: BTreeMap<BrokerId, Place>,
    /// Where clients begin.
    pub listeners: Vec<ListenerStatus>,
    /// The cluster's id, if volumes of an earlier life of it tell.
    pub cluster_id: Option<String>,
    /// Why the cluster is not being made what its spec says; none if it is.
    pub obstacle: Option<Obstacle>,
    /// Which pod is waited for, and what it lacks.
    pub waiting: Option<Obstacle>,
    /// Brokers whose pods were made from an earlier spec.
    pub outdated: Vec<BrokerId>,
}

/// Where a broker is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its rack.
    pub rack: Option<String>,
    /// Its pod's address.
    pub address: Option<String>,
    /// Where clients reach it.
    pub endpoints: Vec<Endpoint>,
}

/// Something in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

impl Obstacle {
    /// An obstacle.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Obstacle {
        Obstacle { reason, message: message.into() }
    }
}
