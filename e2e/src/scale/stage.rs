//! What Kubernetes would do for the brokers: nodes in three racks, and a pod for each broker that runs on one of them.

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use ottla_crds::{KafkaCluster, KafkaTopic, names};
use ottla_rules::assignment::BrokerId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::{CLUSTER, NAMESPACE, Size, eventually};

/// The label of racks.
const RACK: &str = "topology.kubernetes.io/zone";
const RACKS: u16 = 3;
/// The namespace of the operators' own Lease.
pub const OPERATORS: &str = "ottla-system";
/// Writes in flight while the scene is set.
const AT_ONCE: usize = 32;
const LIMIT: Duration = Duration::from_secs(120);

/// Where a broker listens: each has an address of its own on loopback, and each process that measures its own network.
pub fn address(id: BrokerId) -> Ipv4Addr {
    const NETWORKS: u32 = 100;
    let network = 100 + (std::process::id() % NETWORKS) as u8;
    let [.., high, low] = id.0.to_be_bytes();
    Ipv4Addr::new(127, network, high, low.saturating_add(1))
}

/// Installs the definitions and makes the cluster, without brokers and topics.
pub async fn set(client: &Client, size: &Size) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for name in [NAMESPACE, OPERATORS] {
        create(&namespaces, json!({ "metadata": { "name": name } })).await?;
    }
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in ottla_crds::all() {
        definitions.create(&PostParams::default(), &definition).await?;
    }
    let are_served = async || {
        let topics: Api<KafkaTopic> = Api::namespaced(client.clone(), NAMESPACE);
        let assignments: Api<ottla_crds::KafkaAssignment> = Api::namespaced(client.clone(), NAMESPACE);
        let users: Api<ottla_crds::KafkaUser> = Api::namespaced(client.clone(), NAMESPACE);
        let rebalances: Api<ottla_crds::KafkaRebalance> = Api::namespaced(client.clone(), NAMESPACE);
        let clusters: Api<KafkaCluster> = Api::namespaced(client.clone(), NAMESPACE);
        let params = kube::api::ListParams::default();
        let served = topics.list(&params).await.is_ok()
            && assignments.list(&params).await.is_ok()
            && users.list(&params).await.is_ok()
            && rebalances.list(&params).await.is_ok()
            && clusters.list(&params).await.is_ok();
        Ok(served.then_some(()))
    };
    eventually(LIMIT, "the definitions to be served", are_served).await?;

    let nodes: Api<Node> = Api::all(client.clone());
    for id in 0..size.brokers {
        let labels = json!({ RACK: format!("rack-{}", id % RACKS), "kubernetes.io/hostname": node(id) });
        create(&nodes, json!({ "metadata": { "name": node(id), "labels": labels } })).await?;
    }
    let clusters: Api<KafkaCluster> = Api::namespaced(client.clone(), NAMESPACE);
    create(&clusters, cluster(size)).await
}

/// Nobody fetches from the brokers that are played, so a whole leader must not miss its followers; and leaders return
/// soon, for the writes are what is counted.
fn cluster(size: &Size) -> Value {
    let config = json!({ "replica.lag.time.max.ms": "86400000", "leader.imbalance.check.interval.seconds": "5" });
    json!({
        "metadata": { "name": CLUSTER },
        "spec": {
            "brokers": { "replicas": size.brokers, "image": "localhost/ottla:1", "storage": { "size": "1Gi" } },
            "rack": { "topologyKey": RACK },
            "listeners": [{ "name": "internal", "port": super::PORT }],
            "defaults": { "replicationFactor": super::REPLICAS, "minInSyncReplicas": super::MIN_IN_SYNC },
            "config": config,
        },
    })
}

/// Makes the pods that the operator's StatefulSet asks for, each of which runs on its node.
pub async fn run_pods(client: &Client, size: &Size) -> Result<()> {
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), NAMESPACE);
    let made = async || Ok(sets.get_opt(&names::stateful_set(CLUSTER, None)).await?);
    let set = eventually(LIMIT, "the operator to make a StatefulSet", made).await?;
    let template = set.spec.context("it has a spec")?.template;
    let template = serde_json::to_value(template)?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    for id in 0..size.brokers {
        let name = names::pod(CLUSTER, None, BrokerId(i32::from(id)));
        let mut pod = template.clone();
        pod["metadata"]["name"] = json!(name);
        pod["spec"]["nodeName"] = json!(node(id));
        let claim = json!({ "name": names::DATA_VOLUME, "persistentVolumeClaim": { "claimName": "any" } });
        pod["spec"]["volumes"].as_array_mut().context("it has volumes")?.push(claim);
        create(&pods, pod).await?;
        let now = k8s_openapi::jiff::Timestamp::now().to_string();
        let container = json!({
            "name": "broker", "image": "", "imageID": "", "ready": true, "started": true, "restartCount": 0,
            "state": { "running": { "startedAt": now } },
        });
        let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": now });
        let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
        let ip = address(BrokerId(i32::from(id))).to_string();
        let status = json!({
            "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }], "startTime": now,
            "conditions": conditions,
            "containerStatuses": [container],
        });
        pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(json!({ "status": status }))).await?;
    }
    Ok(())
}

/// Makes the topics, as `kubectl apply` of their files would.
pub async fn make_topics(client: &Client, size: &Size) -> Result<()> {
    let topics: Api<KafkaTopic> = Api::namespaced(client.clone(), NAMESPACE);
    let topic = |number: usize| {
        let spec = json!({ "clusterRef": { "name": CLUSTER }, "partitions": size.partitions_per_topic });
        let topic = json!({ "metadata": { "name": format!("topic-{number:05}") }, "spec": spec });
        let topics = topics.clone();
        async move { create(&topics, topic).await }
    };
    stream::iter((0..size.topics).map(topic)).buffer_unordered(AT_ONCE).try_collect::<()>().await
}

fn node(id: u16) -> String {
    format!("node-{id}")
}

async fn create<K>(api: &Api<K>, mut object: Value) -> Result<()>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    object["apiVersion"] = json!(K::api_version(&()));
    object["kind"] = json!(K::kind(&()));
    let object: K = serde_json::from_value(object)?;
    api.create(&PostParams::default(), &object)
        .await
        .with_context(|| format!("{} {}", K::kind(&()), object.name_any()))?;
    Ok(())
}
