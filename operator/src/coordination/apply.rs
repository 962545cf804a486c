//! Carries out steps: one request each, under compare-and-swap, and an Event where the plan has one.
//!
//! A write that is refused because the object is newer is ordinary: the watch shows the object, and the next plan uses
//! it. Unless the API server was set back: [`SetBacks`] looks into each such refusal.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::events::{Event, EventType, Reporter};
use kube::{Api, Client, Resource, ResourceExt};
use ottla_crds::{KafkaAssignment, KafkaCluster, KafkaRebalance, KafkaTopic, names};
use ottla_kube::change;
use ottla_kube::versions::SetBacks;
use ottla_rules::assignment::BrokerId;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::reads::Reads;
use crate::events::Recorder;
use crate::plan::fresh::names_broker;
use crate::plan::platform::{HOSTNAME_LABEL, Volume};
use crate::plan::rollout::restart::Restart;
use crate::plan::{News, Step};
use crate::pruned::tree;

/// The annotation on a claim that is replaced by order, with its own uid.
const FRESH_ANNOTATION: &str = "ottla.io/fresh";

/// Where steps are written.
#[derive(Clone)]
pub struct Writer {
    clusters: Api<KafkaCluster>,
    topics: Api<KafkaTopic>,
    assignments: Api<KafkaAssignment>,
    rebalances: Api<KafkaRebalance>,
    claims: Api<PersistentVolumeClaim>,
    nodes: Api<Node>,
    definitions: Api<CustomResourceDefinition>,
    pods: Api<Pod>,
    /// The label selector of the cluster's objects.
    selector: String,
    recorder: Recorder,
    set_backs: SetBacks,
}

impl Writer {
    /// Writes the objects of this cluster. `set_backs` learns of refusals that show that the API server was set back.
    pub fn new(client: &Client, namespace: &str, cluster: &str, set_backs: SetBacks) -> Writer {
        let reporter = Reporter { controller: "ottla.io/operator".to_owned(), instance: None };
        Writer {
            clusters: Api::namespaced(client.clone(), namespace),
            topics: Api::namespaced(client.clone(), namespace),
            assignments: Api::namespaced(client.clone(), namespace),
            rebalances: Api::namespaced(client.clone(), namespace),
            claims: Api::namespaced(client.clone(), namespace),
            nodes: Api::all(client.clone()),
            definitions: Api::all(client.clone()),
            pods: Api::namespaced(client.clone(), namespace),
            selector: format!("{}={cluster}", names::CLUSTER_LABEL),
            recorder: Recorder::new(client.clone(), reporter),
            set_backs,
        }
    }

    /// Carries out one step. May be dropped half-way: what is missing is planned again. `reads` are shared by the steps
    /// of one plan.
    ///
    /// Returns the status that the API server has made of one that was written; `None`: the step writes none.
    ///
    /// # Errors
    /// When the API server refuses or can't be reached.
    pub async fn apply(&self, step: &Step, reads: &Reads) -> Result<Option<Value>, kube::Error> {
        match step {
            Step::Change { read, next, recovered } => {
                let stale = change::write(&self.assignments, read, next).await?;
                for recovered in recovered {
                    self.tell_if_any(&*recovered.topic, recovered.news(&stale).as_ref()).await;
                }
                if !stale.is_empty() {
                    tracing::debug!(object = read.name_any(), ?stale, "entries have changed since they were read");
                }
            }
            Step::Append { read, added } => {
                change::append(&self.assignments, read, added).await?;
            }
            Step::Create(object) => {
                if reads.stands_under_another_id(&self.assignments, object).await? {
                    tracing::debug!(
                        topic = object.spec.topic_name,
                        "brokers have just restored assignments: reading them first"
                    );
                } else {
                    self.assignments.create(&PostParams::default(), object).await?;
                }
            }
            Step::Bury { read, topic } => {
                if reads.definition_is_ending(&self.definitions).await? {
                    let note = "the definition of KafkaTopics is being deleted: brokers keep the topic and its records";
                    let news = News { warning: true, reason: "Retained".to_owned(), note: note.to_owned() };
                    self.release(topic, Some(&news)).await?;
                } else {
                    change::bury(&self.assignments, read).await?;
                }
            }
            Step::Remove(read) => {
                let preconditions = Preconditions { uid: read.uid(), resource_version: read.resource_version() };
                let this_one = DeleteParams::default().preconditions(preconditions);
                self.assignments.delete(&read.name_any(), &this_one).await?;
            }
            Step::Own(topic) => {
                let finalizers = topic.finalizers().iter().map(String::as_str).chain([KafkaTopic::FINALIZER]).collect();
                self.set_finalizers(topic, finalizers).await?;
            }
            Step::Unpin { read, next } => {
                let swapped = change::swap(&self.topics, read, next).await;
                self.looked_into(swapped, &self.topics, &**read).await?;
            }
            Step::Release { topic, unless, news } => {
                if self.stands(unless.as_deref()).await? {
                    tracing::debug!(topic = topic.name_any(), "an assignment has just been created: reading it first");
                } else {
                    self.release(topic, news.as_ref()).await?;
                }
            }
            Step::Renew { cluster, id, volume, versions } => self.renew(cluster, *id, volume, versions).await?,
            Step::TopicStatus { read, next, news } => {
                let swapped = change::swap_status(&self.topics, read, next).await;
                let written = self.looked_into(swapped, &self.topics, &**read).await?;
                self.tell_if_any(&**next, news.as_ref()).await;
                return Ok(Some(tree(&written.status)));
            }
            Step::ClusterStatus { read, next, news } => {
                let swapped = change::swap_status(&self.clusters, read, next).await;
                let written = self.looked_into(swapped, &self.clusters, &**read).await?;
                for news in news {
                    self.tell(&**next, news).await;
                }
                return Ok(Some(tree(&written.status)));
            }
            Step::RebalanceStatus { read, next, news } => {
                let swapped = change::swap_status(&self.rebalances, read, next).await;
                let written = self.looked_into(swapped, &self.rebalances, &**read).await?;
                self.tell_if_any(&**next, news.as_ref()).await;
                return Ok(Some(tree(&written.status)));
            }
            Step::Restart(restart) => self.restart(restart).await?,
        }
        Ok(None)
    }

    /// Restarts brokers' pods, if a consistent list of the assignments still allows it.
    async fn restart(&self, restart: &Restart) -> Result<(), kube::Error> {
        let assignments = self.assignments.list(&ListParams::default().labels(&self.selector)).await?;
        if let Err(blocked) = restart.is_safe_with(&assignments.items) {
            tracing::info!(?blocked, "a broker is not restarted yet: its partitions have changed");
            return Ok(());
        }
        for (_, pod) in &restart.pods {
            // Nothing but what the plan has seen: another pod may have this name by now, or be ready.
            let preconditions = Preconditions { uid: pod.uid.clone(), resource_version: pod.version.clone() };
            let this_one = DeleteParams::default().preconditions(preconditions);
            tracing::info!(pod = pod.name, revision = pod.revision, evicts = restart.evicts, "restarting a broker");
            if restart.evicts {
                let eviction = EvictParams { delete_options: Some(this_one), ..EvictParams::default() };
                self.pods.evict(&pod.name, &eviction).await?;
            } else {
                self.pods.delete(&pod.name, &this_one).await?;
            }
        }
        Ok(())
    }

    /// Deletes the claim, unless an assignment that names the broker has changed since it was read, and the pod. The
    /// annotation says why; the admission policy of the chart lets the operator delete no other claim of a broker that
    /// stays.
    async fn renew(
        &self,
        cluster: &KafkaCluster,
        id: BrokerId,
        volume: &Volume,
        versions: &BTreeMap<String, Option<String>>,
    ) -> Result<(), kube::Error> {
        let objects = self.assignments.list(&ListParams::default().labels(&self.selector)).await?;
        let standing = objects.items.iter().filter(|object| !object.spec.deleted && names_broker(object, id));
        let now: BTreeMap<String, Option<String>> =
            standing.map(|object| (object.name_any(), object.resource_version())).collect();
        if now != *versions {
            tracing::debug!(broker = %id, "assignments of this broker have changed: its volume stays for now");
            return Ok(());
        }
        if !volume.is_deleted && self.has_returned(volume).await? {
            tracing::info!(broker = %id, "the node of this broker's volume is back: the volume stays");
            return Ok(());
        }
        if !volume.is_deleted {
            let metadata =
                json!({ "resourceVersion": volume.version, "annotations": { FRESH_ANNOTATION: volume.uid } });
            let marked = Patch::Merge(json!({ "metadata": metadata }));
            let marked = self.claims.patch_metadata(&volume.claim, &PatchParams::default(), &marked).await?;
            let this_one = Preconditions { uid: Some(volume.uid.clone()), resource_version: marked.resource_version() };
            self.claims.delete(&volume.claim, &DeleteParams::default().preconditions(this_one)).await?;
            let note =
                format!("replacing the volume of broker {id}, which then copies its replicas from other brokers");
            let news = News { warning: false, reason: "ReplacingVolume".to_owned(), note };
            self.tell(cluster, &news).await;
        }
        if let Some(pod) = &volume.pod {
            let this_one = Preconditions { uid: Some(pod.clone()), resource_version: None };
            let pod = cluster.pod(id);
            self.pods.delete(&pod, &DeleteParams::default().preconditions(this_one)).await?;
        }
        Ok(())
    }

    /// Whether a node of a volume that counts as lost exists. A consistent read: the watch may show it late.
    async fn has_returned(&self, volume: &Volume) -> Result<bool, kube::Error> {
        const LONGEST_LABEL: usize = 63;
        for node in volume.lost.iter().flat_map(|lost| &lost.nodes) {
            if self.nodes.get_metadata_opt(node).await?.is_some() {
                return Ok(true);
            }
            let of_this_host = ListParams::default().labels(&format!("{HOSTNAME_LABEL}={node}"));
            if node.len() <= LONGEST_LABEL && !self.nodes.list_metadata(&of_this_host).await?.items.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether this assignment exists and has no tombstone. A consistent read: the watches of topics and of assignments
    /// don't wait for each other.
    async fn stands(&self, assignment: Option<&str>) -> Result<bool, kube::Error> {
        let Some(name) = assignment else { return Ok(false) };
        Ok(self.assignments.get_opt(name).await?.is_some_and(|object| !object.spec.deleted))
    }

    async fn release(&self, topic: &KafkaTopic, news: Option<&News>) -> Result<(), kube::Error> {
        // The Event comes first: afterwards its object may not exist any more.
        self.tell_if_any(topic, news).await;
        let others =
            topic.finalizers().iter().map(String::as_str).filter(|name| *name != KafkaTopic::FINALIZER).collect();
        self.set_finalizers(topic, others).await
    }

    async fn set_finalizers(&self, topic: &KafkaTopic, finalizers: Vec<&str>) -> Result<(), kube::Error> {
        let mut after = topic.clone();
        after.metadata.finalizers = Some(finalizers.into_iter().map(str::to_owned).collect());
        let swapped = change::swap(&self.topics, topic, &after).await;
        self.looked_into(swapped, &self.topics, topic).await.map(drop)
    }

    /// What came of a compare-and-swap of `read`, once a refusal was looked into.
    async fn looked_into<K>(&self, swapped: Result<K, kube::Error>, api: &Api<K>, read: &K) -> Result<K, kube::Error>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        if let Err(kube::Error::Api(status)) = &swapped
            && status.is_conflict()
        {
            self.set_backs.look_into_conflict(api, read).await;
        }
        swapped
    }

    async fn tell_if_any(&self, about: &impl Resource<DynamicType = ()>, news: Option<&News>) {
        if let Some(news) = news {
            self.tell(about, news).await;
        }
    }

    /// Publishes an Event. One that can't be written is dropped.
    async fn tell(&self, about: &impl Resource<DynamicType = ()>, news: &News) {
        const LONGEST_NOTE: usize = 300; // characters; Kubernetes takes 1024 bytes
        let event = Event {
            type_: if news.warning { EventType::Warning } else { EventType::Normal },
            reason: news.reason.clone(),
            note: Some(news.note.chars().take(LONGEST_NOTE).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &about.object_ref(&())).await {
            tracing::debug!(%error, reason = news.reason, "failed to publish an event");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kube::api::{ApiResource, DynamicObject};
    use ottla_crds::{ClusterRef, KafkaAssignmentSpec};
    use ottla_local_api::{Server, Store};
    use uuid::Uuid;

    use super::*;
    use crate::plan::platform::Lost;

    fn object(topic_name: &str, id: u128) -> KafkaAssignment {
        let (topic_id, cluster_ref) = (Uuid::from_u128(id), ClusterRef { name: "prod".to_owned() });
        let name = names::assignment(topic_name, topic_id, 0);
        let spec =
            KafkaAssignmentSpec { topic_name: topic_name.to_owned(), topic_id, cluster_ref, ..Default::default() };
        let mut object = KafkaAssignment::new(&name, spec);
        let labels = [(names::CLUSTER_LABEL, "prod".to_owned()), (names::TOPIC_LABEL, names::topic_label(topic_name))];
        object.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value)).into());
        object
    }

    #[tokio::test]
    async fn a_topic_that_was_restored_unseen_is_not_placed_again() {
        let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
        let writer = Writer::new(&server.client("default"), "default", "prod", SetBacks::default());
        let create = async |planned: KafkaAssignment| {
            let name = planned.name_any();
            let step = Step::Create(Box::new(planned));
            writer.apply(&step, &Reads::of([&step])).await.unwrap();
            writer.assignments.get_opt(&name).await.unwrap().is_some()
        };
        let mut buried = object("orders", 1);
        buried.spec.deleted = true;
        for there in [buried, object("payments", 2)] {
            writer.assignments.create(&PostParams::default(), &there).await.unwrap();
        }
        assert!(create(object("orders", 3)).await, "what stood there is deleted");
        assert!(!create(object("payments", 4)).await, "what stands there may have records");
        assert!(!create(object("orders", 5)).await);
    }

    /// An API server without assignments, and with the node or not, by its name or by its host name.
    #[tokio::test]
    async fn a_volume_whose_node_has_returned_stays() {
        for (by_name, by_host, expected) in [(true, false, 0), (false, true, 0), (false, false, 2)] {
            let changes = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let counted = changes.clone();
            let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
                let node = json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                    "metadata": { "name": "one" } });
                let list = |items: Vec<&Value>| json!({ "metadata": {}, "items": items });
                let answer = match (request.method().as_str(), request.uri().path()) {
                    ("GET", "/api/v1/nodes/one") if by_name => Some(node),
                    ("GET", "/api/v1/nodes") => {
                        assert!(request.uri().query().unwrap_or_default().contains("kubernetes.io%2Fhostname%3Done"));
                        Some(list(if by_host { vec![&node] } else { vec![] }))
                    }
                    ("GET", path) if path.ends_with("/kafkaassignments") => Some(list(vec![])),
                    (verb @ ("PATCH" | "DELETE"), path)
                        if path.ends_with("/persistentvolumeclaims/data-prod-broker-1") =>
                    {
                        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        let deleted = json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" });
                        Some(if verb == "DELETE" { deleted } else { node })
                    }
                    _ => None,
                };
                let (code, body) = match answer {
                    Some(body) => (200, body),
                    None => (404, json!({ "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound" })),
                };
                let body = kube::client::Body::from(body.to_string().into_bytes());
                let answer = http::Response::builder().status(code).body(body);
                async { answer }
            });
            let writer = Writer::new(&Client::new(service, "default"), "default", "prod", SetBacks::default());
            let lost = Some(Lost { nodes: ["one".to_owned()].into(), for_long: true });
            let claim = "data-prod-broker-1".to_owned();
            let volume = Volume { claim, uid: "u".to_owned(), lost, ..Volume::default() };
            let cluster = Arc::new(KafkaCluster::new("prod", serde_json::from_value(json!({})).unwrap()));
            let step = Step::Renew { cluster, id: BrokerId(1), volume, versions: BTreeMap::new() };
            writer.apply(&step, &Reads::default()).await.unwrap();
            assert_eq!(changes.load(std::sync::atomic::Ordering::SeqCst), expected, "{by_name} {by_host}");
        }
    }

    #[tokio::test]
    async fn a_refusal_by_an_older_object_shows_that_the_api_server_was_set_back() {
        let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
        let set_backs = SetBacks::default();
        let writer = Writer::new(&server.client("default"), "default", "prod", set_backs.clone());
        let spec = serde_json::from_value(json!({ "clusterRef": { "name": "prod" } })).unwrap();
        writer.topics.create(&PostParams::default(), &KafkaTopic::new("orders", spec)).await.unwrap();
        let mut read = writer.topics.get("orders").await.unwrap();
        // From a time that the backup does not know.
        read.metadata.resource_version = Some("1000000".to_owned());
        let mut next = Box::new(read.clone());
        next.status.get_or_insert_default().partitions = Some(1);
        let step = Step::TopicStatus { read: Arc::new(read), next, news: None };
        writer.apply(&step, &Reads::default()).await.unwrap_err();
        assert_eq!(set_backs.times(), 1);
    }

    #[tokio::test]
    async fn what_an_older_definition_drops_is_seen_in_the_answer() {
        let older = |definition: CustomResourceDefinition| {
            let json = serde_json::to_string(&definition).unwrap();
            serde_json::from_str(&json.replace(r#""summary":{"#, r#""outline":{"#)).unwrap()
        };
        let server = Server::new(Store::Memory, ottla_crds::all().into_iter().map(older).collect()).unwrap();
        let writer = Writer::new(&server.client("default"), "default", "prod", SetBacks::default());
        let spec = serde_json::from_value(json!({})).unwrap();
        writer.clusters.create(&PostParams::default(), &KafkaCluster::new("prod", spec)).await.unwrap();
        let read = Arc::new(writer.clusters.get("prod").await.unwrap());
        let mut next = Box::new(KafkaCluster::clone(&read));
        let status = next.status.get_or_insert_default();
        (status.replicas, status.summary) = (Some(3), Some("Settled".to_owned()));
        let step = Step::ClusterStatus { read, next, news: Vec::new() };
        let answer = writer.apply(&step, &Reads::default()).await.unwrap();
        assert_eq!(answer, Some(json!({ "replicas": 3 })));
    }

    #[tokio::test]
    async fn fields_and_words_of_a_newer_version_stay_in_a_status() {
        let newer = |definition: CustomResourceDefinition| {
            let json = serde_json::to_string(&definition).unwrap();
            let json =
                json.replace(r#""nextProducerIdBlock":{"#, r#""tier":{"type":"string"},"nextProducerIdBlock":{"#);
            let json = json.replace(r#""offlinePartitions":{"#, r#""tier":{"type":"string"},"offlinePartitions":{"#);
            serde_json::from_str(&json.replace(r#"["Online","#, r#"["Warming","Online","#)).unwrap()
        };
        let server = Server::new(Store::Memory, ottla_crds::all().into_iter().map(newer).collect()).unwrap();
        let client = server.client("default");
        let set_backs = SetBacks::default();
        let writer = Writer::new(&client, "default", "prod", set_backs.clone());
        let status = async |kind: &ApiResource, name: &str, written: Option<Value>| {
            let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", kind);
            if let Some(status) = written {
                let patch = Patch::Merge(json!({ "status": status }));
                objects.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
            }
            objects.get(name).await.unwrap().data["status"].clone()
        };

        let kind = ApiResource::erase::<KafkaCluster>(&());
        let spec = serde_json::from_value(json!({})).unwrap();
        writer.clusters.create(&PostParams::default(), &KafkaCluster::new("prod", spec)).await.unwrap();
        let brokers = json!([{ "id": 0, "state": "Warming", "wanted": "Serve" }]);
        status(&kind, "prod", Some(json!({ "tier": "cold", "replicas": 1, "brokers": brokers }))).await;
        let read = Arc::new(writer.clusters.get("prod").await.unwrap());
        let mut next = Box::new(KafkaCluster::clone(&read));
        next.status.as_mut().unwrap().replicas = Some(3);
        let step = Step::ClusterStatus { read, next, news: Vec::new() };
        writer.apply(&step, &Reads::default()).await.unwrap();
        let written = json!({ "tier": "cold", "replicas": 3, "brokers": brokers });
        assert_eq!(status(&kind, "prod", None).await, written);
        let again = writer.apply(&step, &Reads::default()).await;
        assert!(matches!(again, Err(kube::Error::Api(status)) if status.is_conflict()), "compare-and-swap");
        assert_eq!(set_backs.times(), 0, "the object is newer than what was read");

        let kind = ApiResource::erase::<KafkaTopic>(&());
        let spec = serde_json::from_value(json!({ "clusterRef": { "name": "prod" } })).unwrap();
        writer.topics.create(&PostParams::default(), &KafkaTopic::new("orders", spec)).await.unwrap();
        status(&kind, "orders", Some(json!({ "tier": "cold", "partitions": 1 }))).await;
        let read = Arc::new(writer.topics.get("orders").await.unwrap());
        let mut next = Box::new(KafkaTopic::clone(&read));
        next.status.as_mut().unwrap().offline_partitions = Some(1);
        writer.apply(&Step::TopicStatus { read, next, news: None }, &Reads::default()).await.unwrap();
        let written = json!({ "tier": "cold", "partitions": 1, "offlinePartitions": 1 });
        assert_eq!(status(&kind, "orders", None).await, written);
    }
}
