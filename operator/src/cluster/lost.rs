//! Volumes that no node can use any more: a local volume is pinned to its node by the node affinity of its
//! PersistentVolume, and the node's object has been deleted. PersistentVolumes are read one by one, and only those of
//! brokers without a node: a watch would hold all volumes of the Kubernetes cluster.
//!
//! Always: a node that exists is not lost, whether it is ready or not; an affinity to anything but names of nodes, such
//! as a zone, loses no volume, because another node may come there; before all nodes are known, none is lost.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume, Pod};
use kube::{Api, Client, ResourceExt};
use ottla_kube::change::why;
use ottla_rules::assignment::BrokerId;
use tokio::time::{Duration, Instant};

use super::read::Read;
use super::validate::ValidatedCluster;
use crate::plan::platform::{HOSTNAME_LABEL, Lost};

/// The field by which a term may name a node, too.
const NAME_FIELD: &str = "metadata.name";
/// When a PersistentVolume that could not be read is read again.
const AGAIN: Duration = Duration::from_secs(60);

/// What this process knows of the volumes of brokers that have no node. Another process begins to count again.
#[derive(Debug, Default)]
pub struct KnownVolumes {
    /// The nodes that each PersistentVolume names, by its name. Kept while its broker has no node.
    homes: BTreeMap<String, Home>,
    /// The lost volumes, with the uid of each claim, and since when.
    lost: BTreeMap<BrokerId, (String, Instant, Lost)>,
    /// When to look again; `None`: when something is shown.
    again_after: Option<Duration>,
}

/// What the node affinity of a volume says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Home {
    /// Only these nodes can use it.
    Nodes(BTreeSet<String>),
    /// Any node, or nodes that are not named.
    Anywhere,
    /// It could not be read then.
    Unread(Instant),
}

impl KnownVolumes {
    /// What is lost of the volume with this claim; `None`: nothing.
    pub fn of(&self, broker: BrokerId, claim_uid: &str) -> Option<Lost> {
        self.lost.get(&broker).filter(|(uid, ..)| uid == claim_uid).map(|(_, _, lost)| lost.clone())
    }

    /// When to look again although nothing is shown; `None`: no need to.
    pub fn again_after(&self) -> Option<Duration> {
        self.again_after
    }

    /// Notes which volumes are lost now, and for how long they have been.
    pub fn note(&mut self, cluster: &ValidatedCluster, read: &Read, now: Instant) {
        let homeless: Vec<(BrokerId, String, String)> = homeless(cluster, read).collect();
        self.homes.retain(|volume, _| homeless.iter().any(|(_, _, name)| name == volume));
        let names = existing(read);
        let mut before = std::mem::take(&mut self.lost);
        self.again_after = None;
        let mut again = |after: Duration| {
            self.again_after = Some(self.again_after.map_or(after, |earlier| earlier.min(after)));
        };
        for (broker, claim_uid, volume) in homeless {
            let nodes = match self.homes.get(&volume) {
                Some(Home::Nodes(nodes)) if !names.is_empty() && nodes.is_disjoint(&names) => nodes.clone(),
                Some(Home::Unread(_)) => {
                    again(AGAIN);
                    continue;
                }
                Some(Home::Nodes(_) | Home::Anywhere) | None => continue,
            };
            let known = before.remove(&broker).filter(|(uid, ..)| *uid == claim_uid);
            let since = known.map_or(now, |(_, since, _)| since);
            let after = cluster.pool(broker).storage.lost_after();
            let rest = after.saturating_sub(now.duration_since(since));
            if !rest.is_zero() {
                again(rest);
            }
            self.lost.insert(broker, (claim_uid, since, Lost { nodes, for_long: rest.is_zero() }));
        }
    }

    /// Reads the PersistentVolumes of brokers without a node that are not known yet. Whether there was any.
    pub async fn learn(&mut self, client: &Client, cluster: &ValidatedCluster, read: &Read) -> bool {
        let api: Api<PersistentVolume> = Api::all(client.clone());
        let now = Instant::now();
        let is_known = |home: &Home| !matches!(home, Home::Unread(at) if now.duration_since(*at) >= AGAIN);
        let mut learned = false;
        for (_, _, volume) in homeless(cluster, read) {
            if self.homes.get(&volume).is_some_and(is_known) {
                continue;
            }
            let home = match api.get_opt(&volume).await {
                Ok(Some(object)) => home(&object),
                Ok(None) => Home::Unread(now),
                Err(error) => {
                    tracing::warn!(
                        error = why(&error),
                        volume,
                        "failed to read a PersistentVolume: whether its node exists is unknown"
                    );
                    Home::Unread(now)
                }
            };
            self.homes.insert(volume, home);
            learned = true;
        }
        learned
    }
}

/// The brokers that stand on no node that exists, with the uid of the claim and the name of the PersistentVolume of
/// each.
fn homeless<'a>(
    cluster: &'a ValidatedCluster,
    read: &'a Read,
) -> impl Iterator<Item = (BrokerId, String, String)> + 'a {
    let stands = |pod: &Pod| {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        node.is_some_and(|node| read.nodes.contains_key(node))
    };
    cluster.brokers().filter_map(move |broker| {
        let pod = read.pods.get(&cluster.pod(broker));
        if pod.is_some_and(|pod| stands(pod)) {
            return None;
        }
        let claim = read.claims.get(&cluster.claim(broker))?;
        Some((broker, claim.uid()?, claim.spec.as_ref()?.volume_name.clone()?))
    })
}

/// The names of all nodes, with their host names, which may be others.
fn existing(read: &Read) -> BTreeSet<String> {
    let host = |node: &Node| node.labels().get(HOSTNAME_LABEL).cloned();
    read.nodes.iter().flat_map(|(name, node)| [Some(name.clone()), host(node)]).flatten().collect()
}

/// A volume is pinned to nodes if every term of its affinity names nodes: one matching term is enough for a node.
fn home(volume: &PersistentVolume) -> Home {
    let required = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    let terms = required.map_or(&[][..], |required| &required.node_selector_terms);
    let nodes: Option<Vec<&[String]>> = terms.iter().map(named).collect();
    match nodes {
        Some(nodes) if !nodes.is_empty() => Home::Nodes(nodes.concat().into_iter().collect()),
        Some(_) | None => Home::Anywhere,
    }
}

/// The nodes that a term names; `None`: it names none.
fn named(term: &NodeSelectorTerm) -> Option<&[String]> {
    let labels = term.match_expressions.iter().flatten().filter(|one| one.key == HOSTNAME_LABEL);
    let fields = term.match_fields.iter().flatten().filter(|one| one.key == NAME_FIELD);
    let names = |one: &&NodeSelectorRequirement| one.operator == "In";
    labels.chain(fields).find(names)?.values.as_deref()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_crds::KafkaCluster;
    use serde_json::{Value, json};

    use super::*;

    fn hosts(hosts: &[&str]) -> Value {
        json!({ "matchExpressions": [{ "key": HOSTNAME_LABEL, "operator": "In", "values": hosts }] })
    }

    fn volume(terms: &[Value]) -> PersistentVolume {
        let affinity = json!({ "required": { "nodeSelectorTerms": terms } });
        serde_json::from_value(json!({ "spec": { "nodeAffinity": affinity } })).unwrap()
    }

    #[test]
    fn only_a_volume_that_names_its_nodes_is_pinned_to_them() {
        let nodes = |nodes: &[&str]| Home::Nodes(nodes.iter().map(|node| (*node).to_owned()).collect());
        let zone = json!({ "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["a"] }] });
        let field = json!({ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["c"] }] });
        let elsewhere =
            json!({ "matchExpressions": [{ "key": HOSTNAME_LABEL, "operator": "NotIn", "values": ["a"] }] });
        let mut both = hosts(&["a"]);
        both["matchExpressions"].as_array_mut().unwrap().insert(0, zone["matchExpressions"][0].clone());
        for (story, terms, expected) in [
            ("one node", vec![hosts(&["a"])], nodes(&["a"])),
            ("one of several", vec![hosts(&["a", "b"]), field], nodes(&["a", "b", "c"])),
            ("a node in a zone", vec![both], nodes(&["a"])),
            ("a zone", vec![zone.clone()], Home::Anywhere),
            ("a node, or any of a zone", vec![hosts(&["a"]), zone], Home::Anywhere),
            ("every node but one", vec![elsewhere], Home::Anywhere),
            ("no term", vec![], Home::Anywhere),
        ] {
            assert_eq!(home(&volume(&terms)), expected, "{story}");
        }
        assert_eq!(home(&PersistentVolume::default()), Home::Anywhere);
    }

    /// A cluster of one broker with a volume, whose pod is on this node, and these nodes: each ready or not.
    fn scene(pod_on: Option<&str>, nodes: &[(&str, bool)]) -> (ValidatedCluster, Read) {
        let spec = json!({ "brokers": { "storage": { "size": "1Gi", "onLostNode": "Replace" } } });
        let object = KafkaCluster::new("prod", serde_json::from_value(spec).unwrap());
        let cluster = ValidatedCluster::new(&object, "ottla:1").unwrap();
        let claim = json!({ "metadata": { "uid": "u" }, "spec": { "volumeName": "local-0" } });
        let mut read = Read::default();
        read.claims.insert("data-prod-broker-0".to_owned(), Arc::new(serde_json::from_value(claim).unwrap()));
        if let Some(node) = pod_on {
            let pod =
                json!({ "metadata": { "name": "prod-broker-0" }, "spec": { "containers": [], "nodeName": node } });
            read.pods.insert("prod-broker-0".to_owned(), Arc::new(serde_json::from_value(pod).unwrap()));
        }
        for (name, ready) in nodes {
            let conditions = json!([{ "type": "Ready", "status": if *ready { "True" } else { "Unknown" } }]);
            let labels = json!({ HOSTNAME_LABEL: format!("{name}.lan") });
            let node =
                json!({ "metadata": { "name": name, "labels": labels }, "status": { "conditions": conditions } });
            read.nodes.insert((*name).to_owned(), Arc::new(serde_json::from_value(node).unwrap()));
        }
        (cluster, read)
    }

    #[test]
    fn a_volume_is_lost_while_its_node_is_gone_and_not_while_the_node_is_not_ready() {
        for (story, pod_on, home, nodes, expected) in [
            ("its node is there", Some("a"), "a", vec![("a", true), ("b", true)], false),
            ("its node is not ready", Some("a"), "a", vec![("a", false), ("b", true)], false),
            ("its node is not ready, and the pod was deleted", None, "a", vec![("a", false), ("b", true)], false),
            ("its node is gone", None, "a", vec![("b", true)], true),
            ("its node is gone, and the pod is not yet", Some("a"), "a", vec![("b", true)], true),
            ("its node is known by its host name", None, "a.lan", vec![("a", true)], false),
            ("no node is known yet", None, "a", vec![], false),
        ] {
            let (cluster, read) = scene(pod_on, &nodes);
            let mut known = KnownVolumes::default();
            known.homes.insert("local-0".to_owned(), self::home(&volume(&[hosts(&[home])])));
            known.note(&cluster, &read, Instant::now());
            assert_eq!(known.of(BrokerId(0), "u").is_some(), expected, "{story}");
            assert_eq!(known.of(BrokerId(0), "another"), None, "{story}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_lost_for_long_after_ten_minutes_without_a_break() {
        let minute = Duration::from_secs(60);
        let (cluster, gone) = scene(None, &[("b", true)]);
        let (_, back) = scene(None, &[("a", true), ("b", true)]);
        let mut known = KnownVolumes::default();
        let mut look = |read: &Read| {
            known.homes.insert("local-0".to_owned(), home(&volume(&[hosts(&["a"])])));
            known.note(&cluster, read, Instant::now());
            (known.of(BrokerId(0), "u").map(|lost| lost.for_long), known.again_after())
        };
        assert_eq!(look(&gone), (Some(false), Some(10 * minute)));
        tokio::time::advance(9 * minute).await;
        assert_eq!(look(&gone), (Some(false), Some(minute)));
        assert_eq!(look(&back), (None, None), "it came back");
        assert_eq!(look(&gone), (Some(false), Some(10 * minute)), "and counts from now");
        tokio::time::advance(10 * minute).await;
        assert_eq!(look(&gone), (Some(true), None));
    }

    /// An API server that has one PersistentVolume, once it answers.
    #[tokio::test(start_paused = true)]
    async fn a_volume_is_read_once_and_only_of_a_broker_without_a_node() {
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = asked.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let times = counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            assert_eq!(request.uri().path(), "/api/v1/persistentvolumes/local-0");
            let answer = match times {
                0 => (503, json!({ "kind": "Status", "status": "Failure", "code": 503, "message": "later" })),
                _ => (200, serde_json::to_value(volume(&[hosts(&["a"])])).unwrap()),
            };
            let body = kube::client::Body::from(answer.1.to_string().into_bytes());
            let answer = http::Response::builder().status(answer.0).body(body);
            async { answer }
        });
        let client = Client::new(service, "default");
        let times = || asked.load(std::sync::atomic::Ordering::SeqCst);
        let mut known = KnownVolumes::default();
        let (cluster, there) = scene(Some("a"), &[("a", true)]);
        assert!(!known.learn(&client, &cluster, &there).await);
        let (_, gone) = scene(None, &[("b", true)]);
        assert!(known.learn(&client, &cluster, &gone).await);
        known.note(&cluster, &gone, Instant::now());
        assert_eq!((known.of(BrokerId(0), "u"), known.again_after()), (None, Some(AGAIN)), "it could not be read");
        assert!(!known.learn(&client, &cluster, &gone).await, "not all the time");
        tokio::time::advance(AGAIN).await;
        assert!(known.learn(&client, &cluster, &gone).await);
        known.note(&cluster, &gone, Instant::now());
        assert!(known.of(BrokerId(0), "u").is_some());
        assert!(!known.learn(&client, &cluster, &gone).await);
        assert_eq!(times(), 2);
    }
}
