//! Pools of brokers beside the default one: brokers with another storage class, size or architecture.
//!
//! A broker's id says which pool it belongs to: the ids of a pool run from its `firstBroker` up to that of the next
//! pool, those of the default pool from 0.

use std::collections::BTreeMap;
use std::ops::Range;

use k8s_openapi::api::core::v1::{Affinity, Toleration};
use ottla_rules::assignment::BrokerId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pod_template::{Resources, affinity, names_and_values, tolerations};
use crate::storage::Storage;

/// A pool of brokers. What it does not set is as in `spec.brokers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.name != 'broker' && !self.name.endsWith('-broker')",
        "message": "a pool can not be named broker or end with -broker: the default pool of another cluster could have \
                    that name",
    },
    {
        "rule": "self.firstBroker + self.replicas <= 1000",
        "message": "the highest broker id is 999: firstBroker and replicas are at most 1000 together",
    },
    {
        "rule": "self.firstBroker == oldSelf.firstBroker",
        "message": "firstBroker of a pool is immutable, because its brokers' ids follow from it: add another pool",
    },
    {
        "rule": "(has(self.storage.storageClassName) ? self.storage.storageClassName : '') \
                 == (has(oldSelf.storage.storageClassName) ? oldSelf.storage.storageClassName : '')",
        "message": "storageClassName of a pool is immutable: add another pool, and set replicas of this one to 0",
    },
]))]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// The pool's name. Its pods are named `CLUSTER-broker-POOL-ID`.
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The number of brokers of the pool. When it is reduced, or the pool is removed from the list, the brokers with
    /// the highest ids leave, each as soon as it is empty; until then the old number cancels it.
    #[schemars(range(min = 0, max = 999))]
    pub replicas: i32,
    /// The id of the pool's first broker; immutable. The ids of pools can't overlap: leave room for growth below the
    /// next pool.
    #[schemars(range(min = 1, max = 999))]
    pub first_broker: i32,
    /// The volume of each broker of the pool.
    pub storage: Storage,
    /// What its pods have of their own.
    #[serde(flatten)]
    pub pods: PoolPods,
}

/// What the pods of a pool have of their own. Another value restarts the pool's brokers, as a change of
/// `spec.brokers.podTemplate` restarts all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolPods {
    /// The processor time and memory that each broker requests, and the limits on both. Absent: as in
    /// `spec.brokers.resources`. Another value restarts the pool's brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Labels that a node must have to run a broker of the pool, besides those in `spec.brokers.podTemplate`.
    /// Another value restarts the pool's brokers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "names_and_values")]
    pub node_selector: BTreeMap<String, String>,
    /// The node taints that brokers of the pool tolerate. Empty: as in `spec.brokers.podTemplate`. Other ones restart
    /// the pool's brokers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "tolerations")]
    pub tolerations: Vec<Toleration>,
    /// Kubernetes' affinity. Absent: as in `spec.brokers.podTemplate`. Another one restarts the pool's brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "affinity")]
    pub affinity: Option<Affinity>,
}

impl Pool {
    /// The ids of the brokers that the spec asks for.
    pub fn broker_ids(&self) -> impl Iterator<Item = BrokerId> + Clone + use<> {
        self.ids().map(BrokerId)
    }

    /// Whether the spec asks for this broker, as one of the pool.
    pub fn has(&self, id: BrokerId) -> bool {
        self.ids().contains(&id.0)
    }

    fn ids(&self) -> Range<i32> {
        self.first_broker..self.first_broker.saturating_add(self.replicas)
    }
}

/// A pool that exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// What the spec says of the pool. Of one that was removed from the list, what it said last, with `replicas: 0`.
    #[serde(flatten)]
    pub pool: Pool,
    /// The size of the smallest volume of the pool's brokers. `storage.size` can not be less. Absent: there is no
    /// volume yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub volume_size: Option<String>,
}
