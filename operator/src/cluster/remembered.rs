//! The pools that exist, beside those of the spec: a pool must not be forgotten while a broker of it may be there, and
//! no id may come to stand for a broker of another pool.

use k8s_openapi::api::apps::v1::StatefulSet;
use ottla_crds::{PoolStatus, names};
use ottla_rules::assignment::BrokerId;

use super::build::Kind;
use super::claims;
use super::pools::{Pool, named};
use super::read::Read;
use super::validate::{Invalid, ValidatedCluster};

/// Checks that what exists fits the pools: an id that has a claim or a pod in one pool is never taken for a broker of
/// another.
///
/// # Errors
/// What the user must change.
pub fn check(cluster: &ValidatedCluster, read: &Read) -> Result<(), Invalid> {
    for (kind, set) in read.live.keys().filter(|(kind, _)| *kind == Kind::StatefulSet) {
        let Some(pool) = cluster.pools.iter().find(|pool| pool.stateful_set(&cluster.name) == *set) else {
            return Err(Invalid::UnknownPool(format!("the {} {set}", kind.resource().kind)));
        };
        let first = read.stateful_sets.get(set).map_or(pool.first, |set| first_of(set));
        if first != pool.first {
            return Err(Invalid::OtherFirst(pool.name.clone().unwrap_or_default(), first));
        }
        let replicas = read.replicas(&cluster.name, pool);
        let last = BrokerId(pool.first.saturating_add(replicas) - 1);
        if replicas > 0 && cluster.pool(last) != pool {
            let other = named(cluster.pool(last));
            return Err(Invalid::IdTaken(
                last,
                named(pool),
                format!("the pod {}", names::pod(&cluster.name, pool.name.as_deref(), last)),
                other,
            ));
        }
    }
    let claims = read.claims.keys().filter_map(|name| Some((name, names::of_claim(&cluster.name, name)?)));
    let strangers = claims.filter(|(_, (pool, id))| cluster.pool(*id).name.as_deref() != *pool);
    // The highest: firstBroker must be above all of them.
    let Some((name, (pool, id))) = strangers.max_by_key(|(_, (_, id))| *id) else { return Ok(()) };
    match cluster.pools.iter().find(|one| one.name.as_deref() == pool) {
        Some(owner) => Err(Invalid::IdTaken(id, named(owner), format!("the claim {name}"), named(cluster.pool(id)))),
        None => Err(Invalid::UnknownPool(format!("the claim {name}"))),
    }
}

/// The id of the first pod of a StatefulSet.
fn first_of(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.ordinals.as_ref()?.start).unwrap_or(0)
}

/// The pools beside the default one that exist, for the status: a pool whose line was removed from the spec must not be
/// forgotten while a broker may be there. `is_made`: whether this process has made this StatefulSet, which may not be
/// shown yet.
pub fn told(cluster: &ValidatedCluster, read: &Read, is_made: impl Fn(&str) -> bool) -> Vec<PoolStatus> {
    let has_claim = |pool: &Pool| {
        let mut pools = read.claims.keys().filter_map(|name| names::of_claim(&cluster.name, name));
        pools.any(|(name, _)| name == pool.name.as_deref())
    };
    let exists = |pool: &Pool| {
        let set = pool.stateful_set(&cluster.name);
        pool.is_asked_for || read.stateful_sets.contains_key(&set) || is_made(&set) || has_claim(pool)
    };
    let told = |pool: &Pool| {
        let entry = ottla_crds::Pool {
            replicas: if pool.is_asked_for { pool.entry.as_ref()?.replicas } else { 0 },
            ..ottla_crds::Pool::clone(pool.entry.as_ref()?)
        };
        Some(PoolStatus { pool: entry, volume_size: claims::smallest(cluster, pool, read) })
    };
    cluster.pools.iter().filter(|pool| exists(pool)).filter_map(told).collect()
}

/// The pools that have a StatefulSet, and the volume size in the template of the existing one; `None`: it does not
/// exist.
pub fn sets<'a>(cluster: &'a ValidatedCluster, read: &'a Read) -> Vec<(&'a Pool, Option<&'a str>)> {
    let pools = cluster.pools.iter().filter(|pool| pool.is_told && !has_gone(&cluster.name, pool, read));
    pools.map(|pool| (pool, read.claim_size(&pool.stateful_set(&cluster.name)))).collect()
}

/// Whether nothing is left of the pod of any broker of a pool that was removed: its StatefulSet can go.
pub fn has_gone(cluster: &str, pool: &Pool, read: &Read) -> bool {
    let set = read.stateful_sets.get(&pool.stateful_set(cluster));
    let pods = set.and_then(|set| set.status.as_ref()).map_or(0, |status| status.replicas);
    !pool.is_asked_for && pool.replicas == 0 && read.replicas(cluster, pool) == 0 && pods == 0
}

#[cfg(test)]
mod tests;
