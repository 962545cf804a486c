//! Claims of brokers that have left: annotated when the pod is removed, deleted when `brokers.storage.removed` says so
//! and `keepFor` has passed.
//!
//! Always: a claim is deleted by its uid and version, after its third consistent list of assignments in which no
//! partition names its broker, and only while no broker reports that the API server shows too little. A broker that
//! returns takes the annotation off before its pod is created.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt};
use ottla_crds::{KafkaCluster, RemovedVolumes, names};
use ottla_kube::lease::Knowledge;
use ottla_rules::assignment::BrokerId;
use serde_json::{Value, json};
use tokio::time::Duration;

use super::apply::Failed;
use super::read::Read;
use super::validate::ValidatedCluster;
use super::{Shared, leaving};
use crate::clock;
use crate::plan::condition::named;

/// The annotation with the time when the broker left, in RFC 3339, on its claim. The admission policy of the chart lets
/// the operator delete only such claims.
pub const RETIRED_ANNOTATION: &str = "ottla.io/retired";
/// When a claim that could not be deleted is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// When the broker of this claim left; `None`: it has not.
fn retired(claim: &PersistentVolumeClaim) -> Option<Timestamp> {
    claim.metadata.annotations.as_ref()?.get(RETIRED_ANNOTATION)?.parse().ok()
}

/// Annotates the claims of brokers that leave now, and takes the annotation off those of brokers that return. The
/// StatefulSet is changed after that.
///
/// # Errors
/// When the API server refuses or can't be reached.
pub async fn mark(client: &Client, cluster: &ValidatedCluster, read: &Read) -> Result<(), Failed> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &cluster.namespace);
    for (name, change) in marks(cluster, read, clock::now().0) {
        match api.patch(&name, &PatchParams::default(), &Patch::Merge(&change)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(source) => return Err(Failed::new("annotate", "PersistentVolumeClaim", &name, source)),
        }
    }
    Ok(())
}

/// The changes of annotations, by the claim's name.
fn marks(cluster: &ValidatedCluster, read: &Read, now: Timestamp) -> Vec<(String, Value)> {
    let change = |id: i32| {
        let name = names::claim(&cluster.name, BrokerId(id));
        let is_marked = read.claims.get(&name)?.annotations().contains_key(RETIRED_ANNOTATION);
        let leaves = id >= cluster.replicas;
        let mark = if leaves { json!(now.to_string()) } else { Value::Null };
        let change = json!({ "metadata": { "annotations": { RETIRED_ANNOTATION: mark } } });
        (is_marked != leaves).then_some((name, change))
    };
    (0..cluster.replicas.max(read.replicas())).filter_map(change).collect()
}

/// A claim whose time is over.
#[derive(Clone, Debug, PartialEq)]
struct Due {
    id: BrokerId,
    name: String,
    this_one: Preconditions,
}

/// The claims whose time is over, and when that of the next is; `None`: there is no other.
fn due(cluster: &ValidatedCluster, read: &Read, now: Timestamp) -> (Vec<Due>, Option<Duration>) {
    let (mut due, mut next) = (Vec::new(), None::<Duration>);
    if cluster.storage.removed == RemovedVolumes::Keep {
        return (due, next);
    }
    for (name, claim) in super::claims::of_brokers(&cluster.name, read) {
        let pod = name.strip_prefix(names::DATA_VOLUME).and_then(|rest| rest.strip_prefix('-')).unwrap_or_default();
        let Some(id) = names::broker_id(&cluster.name, pod) else { continue };
        let gone = id.0 >= cluster.replicas.max(read.replicas()) && !read.pods.contains_key(pod);
        let Some(left) = retired(claim).filter(|_| gone && claim.metadata.deletion_timestamp.is_none()) else {
            continue;
        };
        let kept = Duration::try_from(now.duration_since(left)).unwrap_or_default();
        match cluster.storage.kept_for().checked_sub(kept).filter(|rest| !rest.is_zero()) {
            None => {
                let this_one = Preconditions { uid: claim.uid(), resource_version: claim.resource_version() };
                due.push(Due { id, name: name.to_owned(), this_one });
            }
            Some(rest) => next = Some(next.map_or(rest, |next| next.min(rest))),
        }
    }
    (due, next)
}

/// Deletes the claims whose time is over. Returns when to come again; `None`: no claim waits.
///
/// # Errors
/// When the API server refuses or can't be reached.
pub async fn delete(
    shared: &Shared,
    object: &KafkaCluster,
    cluster: &ValidatedCluster,
    read: &Read,
) -> Result<Option<Duration>, Failed> {
    let (due, next) = due(cluster, read, clock::now().0);
    if due.is_empty() {
        return Ok(next);
    }
    let again = Some(next.map_or(AGAIN, |next| next.min(AGAIN)));
    let assigned = leaving::assigned(&leaving::assignments(&shared.client, cluster).await?);
    if !all_is_shown(&shared.client, cluster).await? {
        tracing::info!(cluster = cluster.name, "no claim is deleted while brokers know more than the API server shows");
        return Ok(again);
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(shared.client.clone(), &cluster.namespace);
    let pods: Api<Pod> = Api::namespaced(shared.client.clone(), &cluster.namespace);
    let mut deleted = Vec::new();
    for Due { id, name, this_one } in due.into_iter().filter(|due| !assigned.contains_key(&due.id)) {
        let pod = names::broker(&cluster.name, id);
        let there = pods.get_metadata_opt(&pod).await.map_err(|source| Failed::new("read", "Pod", &pod, source))?;
        if there.is_some() {
            continue;
        }
        match claims.delete(&name, &DeleteParams::default().preconditions(this_one)).await {
            Ok(_) => deleted.push(id.0),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(source) => return Err(Failed::new("delete", "PersistentVolumeClaim", &name, source)),
        }
    }
    if !deleted.is_empty() {
        let volumes = if deleted.len() == 1 { "the volume" } else { "the volumes" };
        let note = format!("deleted {volumes} of {}, which left and held no replica", named("broker", deleted));
        shared.tell(object, "VolumesDeleted", &note).await;
    }
    Ok(again)
}

/// Whether no broker reports that assignments are missing, that it knows newer ones, or that it acts on another history
/// than the API server shows. By a consistent read.
async fn all_is_shown(client: &Client, cluster: &ValidatedCluster) -> Result<bool, Failed> {
    let api: Api<Lease> = Api::namespaced(client.clone(), &cluster.namespace);
    let of_cluster = ListParams::default().labels(&format!("{}={}", names::CLUSTER_LABEL, cluster.name));
    let leases = api.list(&of_cluster).await.map_err(|source| Failed::new("list", "Lease", &cluster.name, source))?;
    // Without a broker nobody would know.
    Ok(leases.items.iter().any(is_held) && leases.items.iter().all(shows_all))
}

fn is_held(lease: &Lease) -> bool {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()).is_some()
}

fn shows_all(lease: &Lease) -> bool {
    let says = |annotation: &str| lease.annotations().get(annotation).is_some_and(|said| !said.is_empty());
    !says(names::MISSING_ANNOTATION)
        && !says(names::FORKED_ANNOTATION)
        && (!is_held(lease) || Knowledge::of(lease) == Knowledge::AsShown)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const NOW: &str = "2026-11-25T12:00:00Z";

    /// A cluster of `asked` brokers whose StatefulSet has `set` pods, with claims of brokers that left then.
    fn scene(asked: i32, set: i32, claims: &[(i32, Option<&str>)]) -> (ValidatedCluster, Read) {
        let storage = json!({ "size": "1Gi", "removed": "Delete", "keepFor": "1h" });
        let spec = json!({ "brokers": { "replicas": asked, "storage": storage } });
        let object = KafkaCluster::new("prod", serde_json::from_value(spec).unwrap());
        let cluster = ValidatedCluster::new(&object, "ottla:1").unwrap();
        let set = json!({ "spec": { "replicas": set, "selector": {}, "template": {} } });
        let mut read = Read { stateful_set: Some(Arc::new(serde_json::from_value(set).unwrap())), ..Read::default() };
        for (id, left) in claims {
            let name = format!("data-prod-broker-{id}");
            let annotations = left.map(|left| json!({ RETIRED_ANNOTATION: left }));
            let metadata =
                json!({ "name": name, "uid": format!("u{id}"), "resourceVersion": "7", "annotations": annotations });
            let claim = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
            read.claims.insert(name, Arc::new(claim));
        }
        (cluster, read)
    }

    #[test]
    fn a_claim_is_marked_before_its_pod_goes_and_unmarked_before_it_returns() {
        let now: Timestamp = NOW.parse().unwrap();
        for (story, asked, set, claims, expected) in [
            ("nobody leaves", 2, 2, vec![(0, None), (1, None)], vec![]),
            ("one leaves", 1, 2, vec![(0, None), (1, None)], vec![(1, json!(NOW))]),
            ("it left", 1, 1, vec![(0, None), (1, Some(NOW))], vec![]),
            ("of an earlier version: it stays unmarked", 1, 1, vec![(0, None), (1, None)], vec![]),
            ("it returns", 2, 1, vec![(0, None), (1, Some(NOW))], vec![(1, Value::Null)]),
        ] {
            let (cluster, read) = scene(asked, set, &claims);
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(id, mark)| {
                    let change = json!({ "metadata": { "annotations": { RETIRED_ANNOTATION: mark } } });
                    (format!("data-prod-broker-{id}"), change)
                })
                .collect();
            assert_eq!(marks(&cluster, &read, now), expected, "{story}");
        }
    }

    #[test]
    fn a_claim_is_due_when_it_was_kept_for_long_enough_and_nothing_uses_it() {
        let now: Timestamp = NOW.parse().unwrap();
        let (long_ago, lately) = (Some("2026-11-25T11:00:00Z"), Some("2026-11-25T11:30:00Z"));
        let half_an_hour = Some(Duration::from_secs(1800));
        for (story, asked, set, claims, expected) in [
            ("it never left", 1, 1, vec![(1, None)], (vec![], None)),
            ("its time is over", 1, 1, vec![(1, long_ago)], (vec![1], None)),
            ("it is kept", 1, 1, vec![(1, lately), (2, long_ago)], (vec![2], half_an_hour)),
            ("it returns", 2, 1, vec![(1, long_ago)], (vec![], None)),
            ("its pod is asked for", 1, 2, vec![(1, long_ago)], (vec![], None)),
            ("nobody knows when", 1, 1, vec![(1, Some("yesterday"))], (vec![], None)),
        ] {
            let (mut cluster, mut read) = scene(asked, set, &claims);
            let ids = |(due, next): (Vec<Due>, _)| (due.iter().map(|due| due.id.0).collect::<Vec<_>>(), next);
            assert_eq!(ids(due(&cluster, &read, now)), expected, "{story}");
            read.pods.insert("prod-broker-1".to_owned(), Arc::default());
            read.pods.insert("prod-broker-2".to_owned(), Arc::default());
            assert_eq!(due(&cluster, &read, now).0, [], "{story}, and its pod still exists");
            read.pods.clear();
            cluster.storage.removed = RemovedVolumes::Keep;
            assert_eq!(due(&cluster, &read, now), (vec![], None), "{story}, and volumes are kept");
        }
    }

    #[test]
    fn nothing_is_deleted_while_a_broker_knows_more_than_is_shown() {
        let lease = |holder: Option<&str>, annotations: Value| -> Lease {
            let metadata = json!({ "name": "prod-broker-0", "annotations": annotations });
            serde_json::from_value(json!({ "metadata": metadata, "spec": { "holderIdentity": holder } })).unwrap()
        };
        for (story, lease, expected) in [
            ("all is well", lease(Some("a"), json!({ "ottla.io/newer": "0", "ottla.io/missing": "" })), true),
            ("a topic is missing", lease(None, json!({ "ottla.io/missing": "orders" })), false),
            ("another history", lease(None, json!({ "ottla.io/forked": "orders-0" })), false),
            ("newer entries", lease(Some("a"), json!({ "ottla.io/newer": "2" })), false),
            ("not compared yet", lease(Some("a"), json!({ "ottla.io/newer": "unknown" })), false),
            ("it has gone", lease(None, json!({ "ottla.io/newer": "unknown" })), true),
        ] {
            assert_eq!(shows_all(&lease), expected, "{story}");
        }
    }
}
