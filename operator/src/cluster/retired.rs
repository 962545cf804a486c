//! Claims of brokers that have left: annotated when the pod is removed, deleted when `brokers.storage.removed` says so
//! and `keepFor` has passed, since the broker left and since `removed` says so: who sets it later has as long to think.
//!
//! Always: a claim is deleted by its uid and version, after its third consistent list of assignments in which no
//! partition names its broker, and only if no broker reports that the API server shows too little, 30 s after this
//! process has found the claim due and after each broker has renewed its Lease since. A broker that returns takes the
//! annotations off before its pod is created.

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, ObjectList, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt};
use ottla_crds::{KafkaCluster, RemovedVolumes, names};
use ottla_kube::lease::Knowledge;
use ottla_rules::assignment::BrokerId;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::apply::ApplyError;
use super::read::Read;
use super::validate::ValidatedCluster;
use super::{OperatorContext, leaving};
use crate::clock;
use crate::plan::condition::named;

/// The annotation with the time when the broker left, in RFC 3339, on its claim. The admission policy of the chart lets
/// the operator delete only such claims.
pub const RETIRED_ANNOTATION: &str = "ottla.io/retired";
/// The annotation with the time since which `keepFor` counts, in RFC 3339, on a claim that is retired while `removed`
/// is Delete.
const KEPT_SINCE_ANNOTATION: &str = "ottla.io/kept-since";
/// How long brokers have to report that the API server was set back, before the first claim is deleted.
const REPORTED_AFTER: Duration = Duration::from_secs(30);
/// When a claim that could not be deleted is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Since when `keepFor` counts for this claim; `None`: its broker has not left, or it is kept.
fn kept_since(claim: &PersistentVolumeClaim) -> Option<Timestamp> {
    let annotations = claim.annotations();
    let since = annotations.get(KEPT_SINCE_ANNOTATION).filter(|_| annotations.contains_key(RETIRED_ANNOTATION));
    since?.parse().ok()
}

/// Annotates the claims of brokers that leave now, and takes the annotation off those of brokers that return. The
/// StatefulSet is changed after that.
///
/// # Errors
/// When the API server refuses or can't be reached.
pub async fn mark(client: &Client, cluster: &ValidatedCluster, read: &Read) -> Result<(), ApplyError> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &cluster.namespace);
    for (name, change) in marks(cluster, read, clock::now().0) {
        match api.patch(&name, &PatchParams::default(), &Patch::Merge(&change)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(source) => return Err(ApplyError::new("annotate", "PersistentVolumeClaim", &name, source)),
        }
    }
    Ok(())
}

/// The changes of annotations, by the claim's name.
fn marks(cluster: &ValidatedCluster, read: &Read, now: Timestamp) -> Vec<(String, Value)> {
    let change = |(id, name, claim): (BrokerId, &str, &PersistentVolumeClaim)| {
        let has = |annotation: &str| claim.annotations().contains_key(annotation);
        let (leaves, has_pod) = (!cluster.has(id), read.asks_for(cluster, id));
        // A claim that a broker of an earlier version has left stays as it is.
        let is_retired = leaves && (has_pod || has(RETIRED_ANNOTATION));
        let counts = is_retired && cluster.pool(id).storage.removed == RemovedVolumes::Delete;
        let mut annotations = json!({});
        for (annotation, wanted) in [(RETIRED_ANNOTATION, is_retired), (KEPT_SINCE_ANNOTATION, counts)] {
            if has(annotation) != wanted {
                annotations[annotation] = if wanted { json!(now.to_string()) } else { Value::Null };
            }
        }
        let is_new = annotations != json!({}) && claim.metadata.deletion_timestamp.is_none();
        is_new.then(|| (name.to_owned(), json!({ "metadata": { "annotations": annotations } })))
    };
    super::claims::of_brokers(&cluster.name, read).filter_map(change).collect()
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
    for (id, name, claim) in super::claims::of_brokers(&cluster.name, read) {
        let storage = &cluster.pool(id).storage;
        let has_pod = read.pods.contains_key(&cluster.pod(id));
        let gone = !cluster.has(id) && !read.asks_for(cluster, id) && !has_pod;
        let goes = gone && storage.removed == RemovedVolumes::Delete;
        let Some(since) = kept_since(claim).filter(|_| goes && claim.metadata.deletion_timestamp.is_none()) else {
            continue;
        };
        let kept = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        match storage.kept_for().checked_sub(kept).filter(|rest| !rest.is_zero()) {
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
    shared: &OperatorContext,
    object: &KafkaCluster,
    cluster: &ValidatedCluster,
    read: &Read,
    caution: &mut Caution,
) -> Result<Option<Duration>, ApplyError> {
    let (due, next) = due(cluster, read, clock::now().0);
    if due.is_empty() {
        *caution = Caution::default();
        return Ok(next);
    }
    let again = Some(next.map_or(AGAIN, |next| next.min(AGAIN)));
    if let Some(wait) = caution.look(cluster, &leases(&shared.client, cluster).await?, Instant::now()) {
        tracing::info!(wait.why, "no claim is deleted yet");
        return Ok(again.map(|again| again.min(wait.again_after)));
    }
    let assigned = leaving::assigned(&leaving::assignments(&shared.client, cluster).await?);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(shared.client.clone(), &cluster.namespace);
    let pods: Api<Pod> = Api::namespaced(shared.client.clone(), &cluster.namespace);
    let mut deleted = Vec::new();
    for Due { id, name, this_one } in due.into_iter().filter(|due| !assigned.contains_key(&due.id)) {
        let pod = cluster.pod(id);
        let there = pods.get_metadata_opt(&pod).await.map_err(|source| ApplyError::new("read", "Pod", &pod, source))?;
        if there.is_some() {
            continue;
        }
        match claims.delete(&name, &DeleteParams::default().preconditions(this_one)).await {
            Ok(_) => deleted.push(id.0),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(source) => return Err(ApplyError::new("delete", "PersistentVolumeClaim", &name, source)),
        }
    }
    if !deleted.is_empty() {
        let volumes = if deleted.len() == 1 { "the volume" } else { "the volumes" };
        let note = format!("deleted {volumes} of {}, which left and held no replica", named("broker", deleted));
        shared.tell(object, "VolumesDeleted", &note).await;
    }
    Ok(again)
}

/// The brokers' Leases, by a consistent read.
async fn leases(client: &Client, cluster: &ValidatedCluster) -> Result<ObjectList<Lease>, ApplyError> {
    let api: Api<Lease> = Api::namespaced(client.clone(), &cluster.namespace);
    let of_cluster = ListParams::default().labels(&format!("{}={}", names::CLUSTER_LABEL, cluster.name));
    api.list(&of_cluster).await.map_err(|source| ApplyError::new("list", "Lease", &cluster.name, source))
}

/// Looks at the Leases before claims are deleted: an API server that was restored a moment ago shows old assignments,
/// and brokers need a moment to notice and to say so. Another process begins to look again.
#[derive(Debug, Default)]
pub struct Caution(Option<FirstLook>);

/// The first look.
#[derive(Debug)]
struct FirstLook {
    at: Instant,
    /// The version of the list; `None`: it is not a number.
    version: Option<u64>,
    /// The Leases' versions, by name.
    leases: BTreeMap<String, Option<String>>,
}

/// Why no claim is deleted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wait {
    why: &'static str,
    again_after: Duration,
}

impl Caution {
    /// Why to wait at this look; `None`: claims may be deleted.
    fn look(&mut self, cluster: &ValidatedCluster, leases: &ObjectList<Lease>, now: Instant) -> Option<Wait> {
        // Without a broker nobody would know.
        if !(leases.items.iter().any(is_held) && leases.items.iter().all(shows_all)) {
            self.0 = None;
            let why = "brokers know more than the API server shows, or none has a Lease";
            return Some(Wait { why, again_after: AGAIN });
        }
        let version = leases.metadata.resource_version.as_ref().and_then(|version| version.parse().ok());
        // A version that has fallen: the API server was set back since.
        self.0.take_if(|first| version.is_some() && version < first.version);
        let first = self.0.get_or_insert_with(|| {
            let versions = leases.items.iter().map(|lease| (lease.name_any(), lease.resource_version()));
            FirstLook { at: now, version, leases: versions.collect() }
        });
        let elapsed = now.duration_since(first.at);
        if elapsed < REPORTED_AFTER {
            let why = "brokers have 30 s to report that the API server was set back";
            return Some(Wait { why, again_after: REPORTED_AFTER - elapsed });
        }
        let stays =
            |lease: &&Lease| names::broker_id(&cluster.name, &lease.name_any()).is_some_and(|id| cluster.has(id));
        let is_unheard = |lease: &Lease| {
            is_held(lease) && first.leases.get(&lease.name_any()).is_some_and(|seen| *seen == lease.resource_version())
        };
        let why = "a broker has not renewed its Lease since: it may know more than the API server shows";
        let unheard = leases.items.iter().filter(stays).any(is_unheard);
        unheard.then_some(Wait { why, again_after: AGAIN })
    }
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

    /// A cluster of `asked` brokers whose StatefulSet has `set` pods, with claims of brokers that left then, since when
    /// they are kept.
    fn scene(asked: i32, set: i32, claims: &[(i32, Option<&str>)]) -> (ValidatedCluster, Read) {
        let storage = json!({ "size": "1Gi", "removed": "Delete", "keepFor": "1h" });
        let spec = json!({ "brokers": { "replicas": asked, "storage": storage } });
        let object = KafkaCluster::new("prod", serde_json::from_value(spec).unwrap());
        let cluster = ValidatedCluster::new(&object, "ottla:1").unwrap();
        let set = json!({ "spec": { "replicas": set, "selector": {}, "template": {} } });
        let set = ("prod-broker".to_owned(), Arc::new(serde_json::from_value(set).unwrap()));
        let mut read = Read { stateful_sets: [set].into(), ..Read::default() };
        for (id, left) in claims {
            let name = format!("data-prod-broker-{id}");
            let annotations = left.map(|left| json!({ RETIRED_ANNOTATION: left, KEPT_SINCE_ANNOTATION: left }));
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
            ("nobody leaves", 2, 2, vec![(0, None), (1, None)], None),
            ("one leaves", 1, 2, vec![(0, None), (1, None)], Some(json!(NOW))),
            ("it left", 1, 1, vec![(0, None), (1, Some(NOW))], None),
            ("of an earlier version: it stays unmarked", 1, 1, vec![(0, None), (1, None)], None),
            ("it returns", 2, 1, vec![(0, None), (1, Some(NOW))], Some(Value::Null)),
        ] {
            let (cluster, read) = scene(asked, set, &claims);
            let mark = |mark: Value| {
                let annotations = json!({ RETIRED_ANNOTATION: mark, KEPT_SINCE_ANNOTATION: mark });
                ("data-prod-broker-1".to_owned(), json!({ "metadata": { "annotations": annotations } }))
            };
            assert_eq!(marks(&cluster, &read, now), expected.map(mark).into_iter().collect::<Vec<_>>(), "{story}");
        }
    }

    #[test]
    fn a_claim_that_was_kept_is_kept_for_as_long_again_when_removed_becomes_delete() {
        let now: Timestamp = NOW.parse().unwrap();
        let (mut cluster, mut read) = scene(1, 1, &[(1, Some("2026-01-01T00:00:00Z"))]);
        let patch = |read: &mut Read, cluster: &ValidatedCluster| {
            let changes = marks(cluster, read, now);
            for (name, change) in &changes {
                let mut claim = serde_json::to_value(&*read.claims[name]).unwrap();
                for (annotation, value) in change["metadata"]["annotations"].as_object().unwrap() {
                    let annotations = claim["metadata"]["annotations"].as_object_mut().unwrap();
                    match value {
                        Value::Null => _ = annotations.remove(annotation),
                        value => _ = annotations.insert(annotation.clone(), value.clone()),
                    }
                }
                read.claims.insert(name.clone(), Arc::new(serde_json::from_value(claim).unwrap()));
            }
            changes.len()
        };
        cluster.pools[0].storage.removed = RemovedVolumes::Keep;
        assert_eq!((patch(&mut read, &cluster), patch(&mut read, &cluster)), (1, 0), "nothing counts any more");
        cluster.pools[0].storage.removed = RemovedVolumes::Delete;
        assert_eq!(due(&cluster, &read, now), (vec![], None), "it left long ago, and is not due");
        assert_eq!((patch(&mut read, &cluster), patch(&mut read, &cluster)), (1, 0));
        let hour = Duration::from_secs(3600);
        assert_eq!(due(&cluster, &read, now), (vec![], Some(hour)), "keepFor counts from now");
        assert_eq!(due(&cluster, &read, now + hour).0.len(), 1);
    }

    #[test]
    fn claims_are_deleted_only_after_brokers_could_report_a_restored_api_server() {
        let leases = |version: u64, of_leases: &[(&str, u64, &str)]| -> ObjectList<Lease> {
            let lease = |(name, version, newer): &(&str, u64, &str)| {
                json!({
                    "metadata": { "name": name, "resourceVersion": version.to_string(), "annotations": { "ottla.io/newer": newer } },
                    "spec": { "holderIdentity": "a" },
                })
            };
            let items: Vec<Value> = of_leases.iter().map(lease).collect();
            let metadata = json!({ "resourceVersion": version.to_string() });
            let list = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "LeaseList", "metadata": metadata, "items": items });
            serde_json::from_value(list).unwrap()
        };
        let (zero, one, left) = ("prod-broker-0", "prod-broker-1", "prod-broker-2");
        let (cluster, _) = scene(2, 2, &[]);
        let begin = Instant::now();
        let first = leases(100, &[(zero, 90, "0"), (one, 91, "0"), (left, 5, "0")]);
        for (story, second, later, may_delete) in [
            ("both have renewed", leases(120, &[(zero, 110, "0"), (one, 111, "0"), (left, 5, "0")]), 30, true),
            ("too early", leases(120, &[(zero, 110, "0"), (one, 111, "0")]), 29, false),
            ("one is silent", leases(120, &[(zero, 110, "0"), (one, 91, "0")]), 30, false),
            ("one knows newer entries", leases(120, &[(zero, 110, "0"), (one, 111, "3")]), 30, false),
            ("one has not compared", leases(120, &[(zero, 110, "unknown"), (one, 111, "0")]), 30, false),
            ("restored in between", leases(80, &[(zero, 70, "0"), (one, 71, "0")]), 30, false),
            ("no broker is left", leases(120, &[]), 30, false),
        ] {
            let mut caution = Caution::default();
            let wait = caution.look(&cluster, &first, begin);
            assert_eq!(wait.map(|wait| wait.again_after), Some(REPORTED_AFTER), "{story}: the first look");
            let wait = caution.look(&cluster, &second, begin + Duration::from_secs(later));
            assert_eq!(wait.is_none(), may_delete, "{story}: {wait:?}");
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
            cluster.pools[0].storage.removed = RemovedVolumes::Keep;
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
