//! The pools of a cluster. The brokers of a pool are the pods of one StatefulSet, so only the highest of them can leave
//! without the others.
//!
//! Always: each id belongs to one pool, so that the names of a broker's pod and claim follow from its id, whether it is
//! there, was removed, or never existed: [`ValidatedCluster::pod`] and [`ValidatedCluster::claim`].

use ottla_crds::{KafkaCluster, Storage, names};
use ottla_rules::assignment::BrokerId;

use super::validate::{Invalid, ValidatedCluster};

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
    /// Whether the spec has the pool. If not, it was removed: its brokers leave.
    pub is_asked_for: bool,
    /// Whether the status names the pool, or it is the default pool. A pool that was never in the status would be
    /// forgotten with its line of the spec, so it gets no pod yet.
    pub is_told: bool,
    /// What is said of it, in the spec or, after it was removed, in the status; `None`: the default pool.
    pub entry: Option<Box<ottla_crds::Pool>>,
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

    /// What the spec says of the number of its brokers, and how to set that to another.
    pub fn words(&self, replicas: i32) -> (String, String) {
        let now = self.replicas;
        match (&self.name, self.is_asked_for) {
            (None, _) => {
                (format!("spec.brokers.replicas is {now}"), format!("set spec.brokers.replicas to {replicas}"))
            }
            (Some(name), true) => (
                format!("replicas of the pool {name} in spec.pools is {now}"),
                format!("set replicas of the pool {name} to {replicas}"),
            ),
            (Some(name), false) => (
                format!("spec.pools does not have the pool {name} any more"),
                format!("add it again, as in status.pools, with replicas: {replicas}"),
            ),
        }
    }
}

/// The pools of a cluster, by their first broker: those of the spec, and those of the status that were removed from it.
///
/// # Errors
/// When the ids of two pools overlap, or the default pool has no storage.
pub fn of(object: &KafkaCluster) -> Result<Vec<Pool>, Invalid> {
    let brokers = &object.spec.brokers;
    let built = |pool: &ottla_crds::Pool| {
        let is_asked_for = object.spec.pools.iter().any(|asked_for| asked_for.name == pool.name);
        let told = object.status.iter().flat_map(|status| &status.pools).find(|told| told.pool.name == pool.name);
        let is_same = told.is_none_or(|told| told.pool.first_broker == pool.first_broker);
        if !is_same {
            return Err(Invalid::AnotherPool(pool.name.clone()));
        }
        Ok(Pool {
            name: Some(pool.name.clone()),
            first: pool.first_broker,
            replicas: if is_asked_for { pool.replicas } else { 0 },
            storage: pool.storage.clone(),
            is_asked_for,
            is_told: told.is_some(),
            entry: Some(Box::new(pool.clone())),
        })
    };
    let default = Pool {
        name: None,
        first: 0,
        replicas: brokers.replicas,
        storage: brokers.storage.clone().ok_or(Invalid::NoStorage)?,
        is_asked_for: true,
        is_told: true,
        entry: None,
    };
    let mut pools = vec![default];
    for pool in object.pools() {
        pools.push(built(pool)?);
    }
    pools.sort_by_key(|pool| pool.first);
    for (pool, next) in pools.iter().zip(&pools[1..]) {
        if pool.first == next.first || pool.counts(BrokerId(next.first), pool.replicas) {
            return Err(Invalid::PoolsOverlap(named(pool), named(next), next.first));
        }
    }
    Ok(pools)
}

/// How sentences name a pool.
pub fn named(pool: &Pool) -> String {
    let gone =
        if pool.is_asked_for { "" } else { ", which was removed from spec.pools and still exists (status.pools)" };
    pool.name.as_ref().map_or_else(|| "the default pool".to_owned(), |name| format!("the pool {name}{gone}"))
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
