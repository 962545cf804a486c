//! A small world for stories: the embedded API, operators that can be stopped after any write, brokers that are only
//! Leases.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use ottla_crds::{
    Brokers, ClusterRef, KafkaAssignment, KafkaCluster, KafkaClusterSpec, KafkaClusterStatus, KafkaRebalance,
    KafkaTopic, KafkaTopicSpec, names,
};
use ottla_kube::change;
use ottla_kube::lease::{self, BrokerSession, Claim, Observed, Pace};
use ottla_local_api::{Faults, Server, Store};
use ottla_operator::acting::Acting;
use ottla_operator::coordination::{OnPlatform, run_on_platform};
use ottla_operator::plan::platform::Platform;
use ottla_rules::assignment::{Assignment, BrokerId, Follower, Incarnation, Leader, LeaderEpoch, RecoveryReport};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const NAMESPACE: &str = "default";
const CLUSTER: &str = "prod";

pub struct World {
    server: Server,
    client: Client,
}

/// Everything at one moment.
pub struct Seen {
    pub clusters: Vec<KafkaCluster>,
    pub topics: Vec<KafkaTopic>,
    pub assignments: Vec<KafkaAssignment>,
}

/// A task that ends with its handle, as a killed process does.
pub struct Process {
    task: JoinHandle<()>,
    identity: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Process {
    /// Ends it and returns its id.
    pub fn kill(self) -> String {
        self.identity.clone()
    }
}

impl World {
    pub async fn with_cluster(brokers: i32) -> World {
        let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
        let world = World { client: server.client(NAMESPACE), server };
        world.apply_cluster(brokers).await;
        world
    }

    /// A cluster whose brokers have volumes, as on Kubernetes.
    pub async fn with_volumes(brokers: i32) -> World {
        let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
        let world = World { client: server.client(NAMESPACE), server };
        let brokers = serde_json::json!({ "replicas": brokers, "storage": { "size": "1Gi" } });
        let spec = serde_json::from_value(serde_json::json!({ "brokers": brokers })).unwrap();
        world.api().create(&PostParams::default(), &KafkaCluster::new(CLUSTER, spec)).await.unwrap();
        world
    }

    pub async fn apply_cluster(&self, brokers: i32) {
        let spec = KafkaClusterSpec { brokers: Brokers { replicas: brokers, ..Brokers::default() }, ..cluster_spec() };
        let cluster = KafkaCluster::new(CLUSTER, spec);
        self.api::<KafkaCluster>().create(&PostParams::default(), &cluster).await.unwrap();
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub fn faults(&self) -> &Faults {
        self.server.faults()
    }

    pub fn operator(&self) -> Process {
        self.operator_with(i64::MAX)
    }

    /// What a laptop runs beside its operator.
    pub fn operator_of_others(&self) -> Process {
        let client = self.client.clone();
        let task = tokio::spawn(async move {
            ottla_operator::coordination::others::run_others(client, NAMESPACE, CLUSTER).await;
        });
        Process { task, identity: String::new() }
    }

    /// An operator on Kubernetes, which writes only while it may, and hangs before its write after these.
    pub async fn operator_that(&self, acting: Acting, writes: Arc<AtomicI64>) -> Process {
        let cluster = self.api::<KafkaCluster>().get(CLUSTER).await.unwrap();
        let platform = Arc::new(Platform { of: cluster.uid(), ..Platform::default() });
        let client = limited(&self.server, writes);
        let task = tokio::spawn(async move {
            let (_told, platform) = watch::channel(Some(platform));
            let on_platform = OnPlatform { platform, definitions: watch::channel(0).1 };
            run_on_platform(client, NAMESPACE, CLUSTER, on_platform, acting).await;
        });
        Process { task, identity: String::new() }
    }

    /// An operator that hangs before its write after these.
    pub fn operator_with(&self, writes: i64) -> Process {
        let client = limited(&self.server, Arc::new(AtomicI64::new(writes)));
        let run = ottla_operator::coordination::run(client, NAMESPACE, CLUSTER, std::future::pending());
        Process { task: tokio::spawn(run), identity: String::new() }
    }

    pub fn broker(&self, id: i32, incarnation: i64) -> Process {
        self.broker_after(id, incarnation, String::new())
    }

    /// A broker that knows its predecessor as gone.
    pub fn broker_after(&self, id: i32, incarnation: i64, predecessor: String) -> Process {
        self.broker_that_says(id, incarnation, predecessor, BTreeMap::new())
    }

    /// A broker that advertises this port.
    pub fn broker_at(&self, id: i32, incarnation: i64, port: u16) -> Process {
        self.broker_at_after(id, incarnation, port, String::new())
    }

    /// The same, which knows its predecessor as gone.
    pub fn broker_at_after(&self, id: i32, incarnation: i64, port: u16, predecessor: String) -> Process {
        let endpoints = serde_json::json!([{ "listener": "internal", "host": "127.0.0.1", "port": port }]);
        let said = BTreeMap::from([(names::ENDPOINTS_ANNOTATION.to_owned(), endpoints.to_string())]);
        self.broker_that_says(id, incarnation, predecessor, said)
    }

    fn broker_that_says(
        &self,
        id: i32,
        incarnation: i64,
        predecessor: String,
        said: BTreeMap<String, String>,
    ) -> Process {
        let identity = uuid::Uuid::new_v4().to_string();
        let claim = Claim {
            name: names::broker(CLUSTER, BrokerId(id)),
            labels: BTreeMap::from([(names::CLUSTER_LABEL.to_owned(), CLUSTER.to_owned())]),
            identity: identity.clone(),
            predecessor: Some(predecessor),
            pace: Pace::BROKER,
            observed: Observed::default(),
            set_backs: ottla_kube::versions::SetBacks::default(),
        };
        let session = BrokerSession { incarnation: Incarnation(incarnation), start: 1, draining: false };
        let (said, annotations) = watch::channel(session.annotations().into_iter().chain(said).collect());
        let api: Api<Lease> = self.api();
        let task = tokio::spawn(async move {
            let _said = said;
            lease::hold(api, claim, annotations, watch::Sender::new(None), std::future::pending()).await;
        });
        Process { task, identity }
    }

    pub fn topic(&self, name: &str, partitions: i32, change: impl FnOnce(&mut KafkaTopicSpec)) -> KafkaTopic {
        let cluster_ref = ClusterRef { name: CLUSTER.to_owned() };
        let mut spec = KafkaTopicSpec { cluster_ref, partitions: Some(partitions), ..KafkaTopicSpec::default() };
        change(&mut spec);
        KafkaTopic { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, spec, status: None }
    }

    pub async fn apply(&self, topic: KafkaTopic) {
        self.api().create(&PostParams::default(), &topic).await.unwrap();
    }

    pub async fn apply_topic(&self, name: &str, partitions: i32) {
        self.apply(self.topic(name, partitions, |_| {})).await;
    }

    pub async fn patch_topic(&self, name: &str, patch: serde_json::Value) {
        let patch = Patch::Merge(patch);
        self.api::<KafkaTopic>().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub async fn patch_cluster(&self, patch: serde_json::Value) {
        self.api::<KafkaCluster>().patch(CLUSTER, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub async fn apply_rebalance(&self, rebalance: KafkaRebalance) {
        self.api().create(&PostParams::default(), &rebalance).await.unwrap();
    }

    pub async fn patch_rebalance(&self, name: &str, patch: serde_json::Value) {
        self.api::<KafkaRebalance>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub async fn rebalance(&self, name: &str) -> KafkaRebalance {
        self.api().get(name).await.unwrap()
    }

    pub async fn delete_topic(&self, name: &str) {
        self.api::<KafkaTopic>().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// The end of a cluster whose records go with it, as far as this world has it.
    pub async fn end_cluster(&self) {
        self.delete_cluster().await;
        ottla_operator::cluster::end::forget(&self.client, NAMESPACE, CLUSTER).await.unwrap();
    }

    pub async fn leases(&self) -> usize {
        self.api::<Lease>().list(&ListParams::default()).await.unwrap().items.len()
    }

    pub async fn delete_cluster(&self) {
        self.api::<KafkaCluster>().delete(CLUSTER, &DeleteParams::default()).await.unwrap();
    }

    pub async fn lose_assignments(&self) {
        for object in self.seen().await.assignments {
            let api = self.api::<KafkaAssignment>();
            api.delete(&object.name_any(), &DeleteParams::default()).await.unwrap();
        }
    }

    /// What a broker does when its files are gone.
    pub async fn remove_replicas(&self, broker: BrokerId) {
        self.change(|entry| entry.replicas.contains(&broker).then(|| entry.forget(broker).unwrap())).await;
    }

    /// What a broker does whose entries are void.
    pub async fn report(&self, broker: BrokerId, incarnation: i64, log_end: i64) {
        let incarnation = Incarnation(incarnation);
        let report =
            RecoveryReport { broker, incarnation, last_epoch: LeaderEpoch::FIRST, log_end, log_start: Some(0) };
        self.change(|entry| entry.report(entry.leader_epoch, report).ok()).await;
    }

    /// What leaders do when this broker has caught up.
    pub async fn join(&self, broker: BrokerId, incarnation: i64) {
        let joined = |entry: &Assignment| {
            let led_by = entry.isr.iter().find(|member| Some(member.broker) == entry.leader)?;
            let leader_epoch = entry.leader_epoch;
            let leader = Leader {
                broker: led_by.broker,
                incarnation: led_by.incarnation,
                leader_epoch,
                epoch_start: 0,
                high_watermark: 0,
                log_start: 0,
                write_in_flight: false,
            };
            let incarnation = Incarnation(incarnation);
            entry
                .expand(
                    &leader,
                    &Follower { broker, incarnation, leader_epoch, log_end: 0, log_start: 0, leaving: false },
                )
                .ok()
        };
        self.change(joined).await;
    }

    async fn change(&self, change: impl Fn(&Assignment) -> Option<Assignment>) {
        for read in self.seen().await.assignments {
            let next: Vec<Assignment> = read.spec.partitions.iter().filter_map(&change).collect();
            let stale = change::write(&self.api(), &read, &next).await.unwrap();
            assert!(stale.is_empty(), "nobody else writes these");
        }
    }

    pub async fn seen(&self) -> Seen {
        let all = ListParams::default();
        Seen {
            clusters: self.api().list(&all).await.unwrap().items,
            topics: self.api().list(&all).await.unwrap().items,
            assignments: self.api().list(&all).await.unwrap().items,
        }
    }

    /// The reasons of all events so far.
    pub async fn events(&self) -> Vec<String> {
        let events = self.api::<Event>().list(&ListParams::default()).await.unwrap();
        events.items.into_iter().filter_map(|event| event.reason).collect()
    }

    /// Waits until the objects are so.
    pub async fn until(&self, story: &str, so: impl Fn(&Seen) -> bool) {
        for _ in 0..10_000 {
            if so(&self.seen().await) {
                return;
            }
            // Time is paused: it moves when everybody else has nothing left to do.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let seen = self.seen().await;
        panic!("never: {story}\n{:#?}\n{:#?}", seen.topics, seen.assignments);
    }

    /// Waits until everybody has done what is to be done.
    pub async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

/// The spec that an empty one means.
fn cluster_spec() -> KafkaClusterSpec {
    serde_json::from_value(serde_json::json!({})).unwrap()
}

/// A client whose writes hang for ever when none is left.
fn limited(server: &Server, left: Arc<AtomicI64>) -> Client {
    let server = server.clone();
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (left, server) = (left.clone(), server.clone());
        async move {
            if request.method() != http::Method::GET && left.fetch_sub(1, Ordering::SeqCst) <= 0 {
                std::future::pending::<()>().await;
            }
            let client = server.client(NAMESPACE);
            client.send(request).await
        }
    });
    Client::new(service, NAMESPACE)
}

impl Seen {
    pub fn cluster(&self) -> Option<&KafkaClusterStatus> {
        self.clusters.first()?.status.as_ref()
    }

    pub fn topic(&self, name: &str) -> Option<&KafkaTopic> {
        self.topics.iter().find(|topic| topic.name_any() == name)
    }

    pub fn leaders(&self, topic: &str) -> BTreeMap<i32, BrokerId> {
        let of_topic = self.assignments.iter().filter(|object| object.spec.topic_name == topic && !object.spec.deleted);
        let entries = of_topic.flat_map(|object| &object.spec.partitions);
        entries.filter_map(|entry| Some((entry.partition, entry.leader?))).collect()
    }

    pub fn versions(&self) -> Vec<Option<String>> {
        let clusters = self.clusters.iter().map(ResourceExt::resource_version);
        let topics = self.topics.iter().map(ResourceExt::resource_version);
        clusters.chain(topics).chain(self.assignments.iter().map(ResourceExt::resource_version)).collect()
    }

    pub fn message<'a>(&self, topic: Option<&'a KafkaTopic>, type_: &str) -> &'a str {
        &of_type(topic, type_).unwrap().message
    }
}

/// A condition's status and reason.
pub fn condition<'a>(topic: Option<&'a KafkaTopic>, type_: &str) -> Option<(&'a str, &'a str)> {
    of_type(topic, type_).map(|condition| (condition.status.as_str(), condition.reason.as_str()))
}

fn of_type<'a>(topic: Option<&'a KafkaTopic>, type_: &str) -> Option<&'a Condition> {
    topic?.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
}
