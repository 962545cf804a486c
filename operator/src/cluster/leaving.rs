//! Brokers that the spec no longer asks for: the highest ids leave, each when it is empty. `ottla_rules` decides when
//! that is ([`roster`]); here the facts are read.
//!
//! Always: a pod is removed only after consistent lists of assignments in which no partition names its broker, but for
//! partitions of deleted topics if the broker is away. Its claim stays: if a replica was placed there meanwhile, the
//! broker returns and nothing is lost. As long as the claim exists, the tombstones that name the broker exist, too: a
//! broker that returns finds them.

use std::collections::BTreeMap;

use kube::Client;
use kube::api::{Api, ListParams};
use ottla_crds::{BrokerStatus, KafkaAssignment, names};
use ottla_rules::assignment::BrokerId;
use ottla_rules::plan::roster::{self, Disk, Leaver, Stay, Wanted};
use tokio::time::{Duration, Instant};

use super::apply::ApplyError;
use super::pools::Pool;
use super::read::Read;
use super::validate::ValidatedCluster;
use crate::plan::condition::named;
use crate::plan::platform::Obstacle;

mod disk;

/// The time between two looks at what leaving brokers hold: no watch shows it.
const LOOK: Duration = Duration::from_secs(10);
/// More of it for each assignment that a look lists.
const LOOK_PER_ASSIGNMENT: Duration = Duration::from_millis(10);

/// Since when leaving brokers have been empty, as this process has seen it. Another process begins to count again.
#[derive(Debug, Default)]
pub struct Looks(BTreeMap<BrokerId, Instant>);

/// The outcome of one look.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleDown {
    /// The cluster with the brokers that stay: in each pool all up to the highest that must.
    pub staying: ValidatedCluster,
    /// What leaving brokers wait for; `None`: nothing.
    pub obstacle: Option<Obstacle>,
    /// When to look again.
    pub again_after: Duration,
}

/// The cluster with the brokers that are there: in each pool as many as the spec asks for, and higher ids that have a
/// pod, or that hold replicas on an existing volume.
pub fn present(cluster: &ValidatedCluster, read: &Read) -> ValidatedCluster {
    let with_volume: Vec<BrokerId> =
        told(read).map(|broker| broker.id).filter(|id| read.claims.contains_key(&cluster.claim(*id))).collect();
    cluster.resized(|pool| {
        let of_pool = with_volume.iter().filter(|id| cluster.pool(**id) == pool);
        let highest = of_pool.map(|id| id.0.saturating_add(1) - pool.first).max().unwrap_or(0);
        pool.replicas.max(read.replicas(&cluster.name, pool)).max(highest)
    })
}

/// The brokers in the status.
fn told(read: &Read) -> impl Iterator<Item = &BrokerStatus> {
    read.cluster.iter().filter_map(|object| object.status.as_ref()).flat_map(|status| &status.brokers)
}

/// Looks at the brokers that are `present` and that the cluster is not to have.
///
/// # Errors
/// When the API server refuses or can't be reached.
pub async fn look(
    client: &Client,
    cluster: &ValidatedCluster,
    read: &Read,
    present: &ValidatedCluster,
    looks: &mut Looks,
) -> Result<ScaleDown, ApplyError> {
    let objects = assignments(client, cluster).await?;
    let again_after = LOOK + LOOK_PER_ASSIGNMENT * u32::try_from(objects.len()).unwrap_or(u32::MAX);
    let (assigned, deleted) = (assigned(&objects), deleted(&objects));
    let named = |by: &BTreeMap<BrokerId, usize>, id: BrokerId| by.get(&id).copied().unwrap_or(0);
    let leaving = || present.brokers().filter(|id| !cluster.has(*id));
    let unassigned = leaving().filter(|id| read.asks_for(cluster, *id) && !assigned.contains_key(id));
    let disks: BTreeMap<BrokerId, Disk> = disk::ask(client, cluster, read, unassigned).await.into_iter().collect();
    let leavers: Vec<Leaver> = leaving()
        .map(|id| Leaver {
            id,
            has_pod: read.asks_for(cluster, id),
            is_shown: told(read).all(|broker| broker.id != id || broker.wanted == Wanted::Leaving),
            assigned: named(&assigned, id),
            deleted: named(&deleted, id),
            disk: disks.get(&id).cloned().unwrap_or(Disk::Away),
            empty_for: None,
        })
        .collect();
    let leavers = looks.note(leavers, Instant::now());
    let (staying, obstacle) = judge(cluster, &leavers);
    Ok(ScaleDown { staying, obstacle, again_after })
}

/// Every assignment of the cluster, by a consistent read.
///
/// # Errors
/// When the API server refuses or can't be reached.
pub async fn assignments(client: &Client, cluster: &ValidatedCluster) -> Result<Vec<KafkaAssignment>, ApplyError> {
    let api: Api<KafkaAssignment> = Api::namespaced(client.clone(), &cluster.namespace);
    let of_cluster = ListParams::default().labels(&format!("{}={}", names::CLUSTER_LABEL, cluster.name));
    let objects = api.list(&of_cluster).await;
    Ok(objects.map_err(|source| ApplyError::new("list", "KafkaAssignment", &cluster.name, source))?.items)
}

/// How many replicas the assignments name on each broker, without those of deleted topics.
pub fn assigned(objects: &[KafkaAssignment]) -> BTreeMap<BrokerId, usize> {
    count(objects.iter().filter(|object| !object.spec.deleted))
}

/// How many replicas of deleted topics each broker has not removed yet.
fn deleted(objects: &[KafkaAssignment]) -> BTreeMap<BrokerId, usize> {
    count(objects.iter().filter(|object| object.spec.deleted))
}

fn count<'a>(objects: impl Iterator<Item = &'a KafkaAssignment>) -> BTreeMap<BrokerId, usize> {
    let mut counts = BTreeMap::new();
    for id in objects.flat_map(|object| &object.spec.partitions).flat_map(|entry| &entry.replicas) {
        *counts.entry(*id).or_default() += 1;
    }
    counts
}

impl Looks {
    /// Forgets every look: no broker leaves.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// Notes which of them are empty now, and says for how long each has been.
    fn note(&mut self, mut leavers: Vec<Leaver>, now: Instant) -> Vec<Leaver> {
        self.0.retain(|id, _| leavers.iter().any(|leaver| leaver.id == *id && leaver.is_empty()));
        for leaver in leavers.iter_mut().filter(|leaver| leaver.is_empty()) {
            let since = *self.0.entry(leaver.id).or_insert(now);
            leaver.empty_for = Some(now.duration_since(since));
        }
        leavers
    }
}

/// The brokers that stay, and what the leaving ones wait for: those of the first pool that some leave.
fn judge(cluster: &ValidatedCluster, leavers: &[Leaver]) -> (ValidatedCluster, Option<Obstacle>) {
    let of_pool = |pool: &Pool| {
        let leavers: Vec<Leaver> = leavers.iter().filter(|one| cluster.pool(one.id) == pool).cloned().collect();
        roster::highest_that_stays(&leavers)
    };
    let staying =
        cluster.resized(|pool| of_pool(pool).map_or(pool.replicas, |(highest, _)| highest.0 + 1 - pool.first));
    let obstacle =
        cluster.pools.iter().find_map(|pool| of_pool(pool).map(|(highest, stay)| waits(pool, highest, stay)));
    (staying, obstacle)
}

/// What the leaving brokers of a pool wait for: the highest that stays.
fn waits(pool: &Pool, highest: BrokerId, stay: Stay) -> Obstacle {
    let (replicas, staying) = (pool.replicas, highest.0 + 1 - pool.first);
    let (is, set) = pool.words(staying);
    let why = match stay {
        Stay::Assigned(count) => format!(
            "broker {highest} holds {}, to be moved to other brokers: status.moves says how far that is, and what prevents it",
            counted(count)
        ),
        Stay::OnDisk(count) => format!(
            "broker {highest} has {} on its disk that no KafkaAssignment names: it is deleting them, or the \
             KafkaAssignments are missing (kubectl get kafkatopics -o wide)",
            counted(count)
        ),
        Stay::Deleting(count) => format!("broker {highest} is removing {} of deleted topics", counted(count)),
        Stay::Unasked(why) => format!("broker {highest} did not say what is on its disk: {why}"),
        Stay::JustEmpty => {
            format!("broker {highest} is empty, and leaves if it still is in {} s", roster::EMPTY_FOR.as_secs())
        }
        Stay::Unshown => format!("the status does not show yet that broker {highest} leaves"),
    };
    let (leave, these) = if staying == replicas + 1 {
        ("leaves when it is", "this broker")
    } else {
        ("leave when they are", "these brokers")
    };
    let message = format!(
        "{is}, and {} {leave} empty: {why}. To keep {these}, {set}",
        named("broker", pool.numbered(replicas, staying).map(|id| id.0)),
    );
    Obstacle::new("BrokersLeaving", message)
}

fn counted(replicas: usize) -> String {
    format!("{replicas} replica{}", if replicas == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_crds::KafkaCluster;
    use serde_json::json;

    use super::*;

    fn cluster(replicas: i32) -> ValidatedCluster {
        let spec = json!({ "brokers": { "replicas": replicas, "storage": { "size": "1Gi" } } });
        ValidatedCluster::new(&KafkaCluster::new("prod", serde_json::from_value(spec).unwrap()), "ottla:1").unwrap()
    }

    #[test]
    fn replicas_of_deleted_topics_are_counted_apart() {
        let assignment = |replicas: &[i32]| -> KafkaAssignment {
            let entry =
                json!({ "partition": 0, "replicas": replicas, "leaderEpoch": 1, "partitionEpoch": 1, "isr": [] });
            serde_json::from_value(json!({
                "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaAssignment", "metadata": { "name": "a" },
                "spec": {
                    "clusterRef": { "name": "prod" }, "topicName": "a", "first": 0, "partitions": [entry],
                    "topicId": "8c8d9f0e-0b0c-4b9b-9c6a-9b0a6f1d2e40",
                },
            }))
            .unwrap()
        };
        let mut deleted = assignment(&[4, 2]);
        deleted.spec.deleted = true;
        let objects = [assignment(&[0, 4]), deleted];
        assert_eq!(assigned(&objects), BTreeMap::from([0, 4].map(|id| (BrokerId(id), 1))));
        assert_eq!(super::deleted(&objects), BTreeMap::from([2, 4].map(|id| (BrokerId(id), 1))));
    }

    fn leaver(id: i32, assigned: usize) -> Leaver {
        let (has_pod, is_shown, disk) = (true, true, Disk::Holds(0));
        Leaver { id: BrokerId(id), has_pod, is_shown, assigned, deleted: 0, disk, empty_for: None }
    }

    #[test]
    fn a_mistaken_number_of_brokers_is_taken_back_down_to_the_highest_that_holds_something() {
        let now = Instant::now();
        let mut looks = Looks::default();
        let mistaken = |assigned: usize| (3..30).map(|id| leaver(id, if id == 4 { assigned } else { 0 })).collect();
        let judge = |leavers: &[Leaver]| {
            let (staying, obstacle) = super::judge(&cluster(3), leavers);
            (staying.pools[0].replicas, obstacle)
        };
        let (staying, _) = judge(&looks.note(mistaken(2), now));
        assert_eq!(staying, 30, "nobody leaves at the first look");
        let (staying, obstacle) = judge(&looks.note(mistaken(2), now + roster::EMPTY_FOR));
        assert_eq!(staying, 5);
        let message = obstacle.unwrap().message;
        for part in [
            "brokers 3–4 leave when they are empty",
            "broker 4 holds 2 replicas",
            "to keep these brokers, set spec.brokers.replicas to 5",
        ] {
            assert!(message.to_lowercase().contains(part), "{part}: {message}");
        }
        let (staying, obstacle) = judge(&looks.note(mistaken(0), now + roster::EMPTY_FOR));
        assert_eq!(staying, 5, "broker 4 has just become empty");
        assert!(obstacle.unwrap().message.contains("leaves if it still is in 30 s"));
        assert_eq!(judge(&looks.note(mistaken(0), now + roster::EMPTY_FOR * 2)), (3, None));
    }

    #[test]
    fn brokers_of_each_pool_leave_from_its_highest_id_and_a_removed_pool_says_how_it_returns() {
        let pool = |replicas: i32| {
            let storage = json!({ "size": "1Gi" });
            json!({ "name": "fast", "firstBroker": 10, "replicas": replicas, "storage": storage })
        };
        let clusters = [Some(1), None].map(|asked| {
            let brokers = json!({ "replicas": 3, "storage": { "size": "1Gi" } });
            let spec = json!({ "brokers": brokers, "pools": asked.map(pool).into_iter().collect::<Vec<_>>() });
            let mut object = KafkaCluster::new("prod", serde_json::from_value(spec).unwrap());
            object.status = Some(serde_json::from_value(json!({ "pools": [pool(0)] })).unwrap());
            ValidatedCluster::new(&object, "ottla:1").unwrap()
        });
        let gone = |id: i32| Leaver { has_pod: false, ..leaver(id, 0) };
        for (cluster, leavers, staying, parts) in [
            (
                &clusters[0],
                vec![leaver(3, 0), leaver(11, 2), gone(12)],
                [4, 2],
                ["broker 3", "spec.brokers.replicas to 4"],
            ),
            (
                &clusters[0],
                vec![gone(3), leaver(11, 0), leaver(12, 2)],
                [3, 3],
                [
                    "brokers 11–12 leave when they are empty: broker 12 holds 2 replicas",
                    "replicas of the pool fast to 3",
                ],
            ),
            (
                &clusters[1],
                vec![leaver(10, 1), leaver(11, 0)],
                [3, 2],
                [
                    "spec.pools does not have the pool fast any more",
                    "add it again, as in status.pools, with replicas: 2",
                ],
            ),
        ] {
            let (stays, obstacle) = judge(cluster, &leavers);
            assert_eq!([stays.pools[0].replicas, stays.pools[1].replicas], staying);
            let message = obstacle.unwrap().message;
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }

    #[test]
    fn a_dead_broker_leaves_although_a_deleted_topic_names_it() {
        let (now, mut looks) = (Instant::now(), Looks::default());
        let deleting = |disk: Disk| vec![Leaver { deleted: 1, disk, ..leaver(3, 0) }];
        let mut staying = |disk, seconds| {
            let leavers = looks.note(deleting(disk), now + Duration::from_secs(seconds));
            let (staying, obstacle) = judge(&cluster(3), &leavers);
            (staying.pools[0].replicas, obstacle)
        };
        let (stays, obstacle) = staying(Disk::Holds(0), 0);
        assert_eq!(stays, 4, "it is there, and removes itself from the assignment soon");
        assert!(obstacle.unwrap().message.contains("broker 3 is removing 1 replica of deleted topics"));
        assert_eq!([10, 39, 40].map(|second| staying(Disk::Away, second).0), [4, 4, 3]);
    }

    #[test]
    fn a_broker_that_is_not_empty_in_between_is_watched_again() {
        let now = Instant::now();
        let mut looks = Looks::default();
        let staying = |looks: &mut Looks, assigned, seconds| {
            let leavers = looks.note(vec![leaver(3, assigned)], now + Duration::from_secs(seconds));
            judge(&cluster(3), &leavers).0.pools[0].replicas
        };
        assert_eq!(
            [(0, 0), (1, 20), (0, 40), (0, 69), (0, 70)].map(|(assigned, at)| staying(&mut looks, assigned, at)),
            [4, 4, 4, 4, 3]
        );
    }

    #[test]
    fn a_broker_that_has_left_too_early_comes_back_for_what_is_on_its_volume() {
        let set = |replicas: i32| json!({ "spec": { "replicas": replicas, "selector": {}, "template": {} } });
        let told = json!({ "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaCluster", "metadata": { "name": "prod" },
            "spec": {}, "status": { "brokers": [{ "id": 4, "state": "Offline" }, { "id": 7, "state": "Offline" }] } });
        let mut read = Read {
            cluster: Some(Arc::new(serde_json::from_value(told).unwrap())),
            stateful_sets: [("prod-broker".to_owned(), Arc::new(serde_json::from_value(set(3)).unwrap()))].into(),
            ..Read::default()
        };
        let present = |read: &Read| present(&cluster(3), read).pools[0].replicas;
        assert_eq!(present(&read), 3, "nothing is known of such volumes");
        read.claims.insert("data-prod-broker-4".to_owned(), Arc::default());
        assert_eq!(present(&read), 5);
        read.stateful_sets.insert("prod-broker".to_owned(), Arc::new(serde_json::from_value(set(30)).unwrap()));
        assert_eq!(present(&read), 30);
    }
}
