//! The pools of a cluster. The brokers of a pool are the pods of one StatefulSet, so only the highest of them can leave
//! without the others.
//!
//! Always: each id belongs to one pool, so that the names of a broker's pod and claim follow from its id, whether it is
//! there, was removed, or never existed: [`ValidatedCluster::pod`] and [`ValidatedCluster::claim`].

use ottla_crds::{Storage, names};
use ottla_rules::assignment::BrokerId;

use super::validate::ValidatedCluster;

/// The brokers of one StatefulSet.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its name; `None`: the default pool, `spec.brokers`.
    pub name: Option<String>,
    /// The id of its first broker.
    pub first: i32,
    /// The number of its brokers.
    pub replicas: i32,
    /// The volume of each of them.
    pub storage: Storage,
}

impl Pool {
    /// The pool's brokers.
    pub fn brokers(&self) -> impl DoubleEndedIterator<Item = BrokerId> + use<> {
        self.numbered(0, self.replicas)
    }

    /// Its brokers from one number, counted from 0, to another.
    pub fn numbered(&self, from: i32, to: i32) -> impl DoubleEndedIterator<Item = BrokerId> + use<> {
        (self.first.saturating_add(from)..self.first.saturating_add(to)).map(BrokerId)
    }

    /// Whether a broker is one of the first `replicas` of the pool.
    pub fn counts(&self, id: BrokerId, replicas: i32) -> bool {
        id.0 >= self.first && id.0 - self.first < replicas
    }

    /// The name of its StatefulSet.
    pub fn stateful_set(&self, cluster: &str) -> String {
        names::stateful_set(cluster, self.name.as_deref())
    }

    /// The field of the spec with its number of brokers.
    pub fn field(&self) -> &'static str {
        "spec.brokers.replicas"
    }
}

impl ValidatedCluster {
    /// The brokers of all pools.
    pub fn brokers(&self) -> impl Iterator<Item = BrokerId> {
        self.pools.iter().flat_map(Pool::brokers)
    }

    /// Whether the cluster is to have this broker.
    pub fn has(&self, id: BrokerId) -> bool {
        self.pools.iter().any(|pool| pool.counts(id, pool.replicas))
    }

    /// The pool that a broker belongs to: the last that begins with its id or a lower one.
    pub fn pool(&self, id: BrokerId) -> &Pool {
        let begun = self.pools.partition_point(|pool| pool.first <= id.0);
        &self.pools[begun.saturating_sub(1)]
    }

    /// The name of a broker's pod.
    pub fn pod(&self, id: BrokerId) -> String {
        names::pod(&self.name, self.pool(id).name.as_deref(), id)
    }

    /// The name of the claim of a broker's volume.
    pub fn claim(&self, id: BrokerId) -> String {
        names::claim(&self.name, self.pool(id).name.as_deref(), id)
    }

    /// The broker whose pod has this name; `None`: it is no broker's.
    pub fn of_pod(&self, name: &str) -> Option<BrokerId> {
        let (_, id) = names::of_pod(&self.name, name)?;
        (self.pod(id) == name).then_some(id)
    }

    /// The same cluster with so many brokers in each pool.
    pub fn resized(&self, replicas: impl Fn(&Pool) -> i32) -> ValidatedCluster {
        let resize = |pool: &Pool| Pool { replicas: replicas(pool), ..pool.clone() };
        ValidatedCluster { pools: self.pools.iter().map(resize).collect(), ..self.clone() }
    }
}
