//! Brokers of several pools: a storage class that is replaced, while clients work and brokers die.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::namespace::{Namespace, cluster};
use ottla_e2e::cluster::{LIMIT, judge, say};
use ottla_e2e::wait::until;
use ottla_e2e::witness::Load;
use serde_json::json;
use std::time::{Duration, Instant};

use crate::rolls::{patch, until_it_is};

const LOAD: Load = Load { producers: 1, pace: Duration::from_millis(5), members: 2, java: true };
const DURABLE: &str = "defaults: {replicationFactor: 3, minInSyncReplicas: 2}\n  rebalance: {addAfterSeconds: 5}";
const ONLINE: &str = "get okc/kafka -o jsonpath={.status.brokers[?(@.state==\"Online\")].id}";
const PODS: &str = "get pods -l ottla.io/cluster=kafka --sort-by=.metadata.name -o jsonpath={.items[*].metadata.name}";
const CLAIMS: &str = "get pvc --sort-by=.metadata.name -o jsonpath={.items[*].metadata.name}";

/// A second class, by the same provisioner as the default one; it goes with the story.
struct Class<'a>(&'a Bed, String);

impl<'a> Class<'a> {
    fn new(bed: &'a Bed, namespace: &Namespace<'_>) -> Result<Class<'a>> {
        let default = r#"?(@.metadata.annotations.storageclass\.kubernetes\.io/is-default-class=="true")"#;
        let provisioner = bed.kubectl(&format!("get storageclass -o jsonpath={{.items[{default}].provisioner}}"))?;
        let name = format!("{}-other", namespace.name());
        namespace.apply(&format!(
            "{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: {name}}}, provisioner: {provisioner}, \
             volumeBindingMode: WaitForFirstConsumer}}"
        ))?;
        Ok(Class(bed, name))
    }
}

impl Drop for Class<'_> {
    fn drop(&mut self) {
        let _ = self.0.kubectl(&format!("delete storageclass {} --ignore-not-found", self.1));
    }
}

/// How many replicas each of these brokers holds.
fn held(namespace: &Namespace<'_>, brokers: &[u64]) -> Vec<usize> {
    let partitions = namespace.partitions().unwrap_or_default();
    let holds = |id: &u64| partitions.iter().filter(|one| one.replicas.contains(id)).count();
    brokers.iter().map(holds).collect()
}

#[test]
fn a_storage_class_is_replaced_under_load_and_a_pool_comes_back_that_was_removed_by_mistake() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "pools")?;
    let class = Class::new(&bed, &namespace)?;
    namespace.apply(&cluster(3, DURABLE))?;
    namespace.ready("okc/kafka", "Ready")?;
    let mut load = namespace.load("history", 12, LOAD)?;
    namespace.wait_until_whole()?;
    let starts = namespace.starts()?;

    let fast = |memory: &str| {
        let storage = json!({ "size": "1Gi", "storageClassName": class.1, "removed": "Delete", "keepFor": "1m" });
        let resources = json!({ "requests": { "memory": memory } });
        json!({ "name": "fast", "firstBroker": 10, "replicas": 3, "storage": storage, "resources": resources })
    };
    let began = Instant::now();
    patch(&namespace, json!({ "pools": [fast("200Mi")] }))?;
    namespace.prints(ONLINE, "0 1 2 10 11 12")?;
    until(LIMIT, "the pool to get its part", || {
        let unfilled = namespace.kubectl("get okc/kafka -o jsonpath={.status.brokers[*].unfilled}")?;
        Ok((unfilled.is_empty() && held(&namespace, &[10, 11, 12]).iter().all(|held| *held > 2)).then_some(()))
    })?;
    load.go_on()?;
    let of_pool = namespace.field("pvc/data-kafka-broker-fast-11", ".spec.storageClassName")?;
    ensure!(of_pool == class.1, "broker 11 has a volume of {of_pool}");
    let now = namespace.starts()?;
    ensure!(starts.iter().all(|start| now.contains(start)), "a broker was restarted: {starts:?} became {now:?}");

    // What its pods have of their own changes: its brokers restart, and no others.
    patch(&namespace, json!({ "pools": [fast("220Mi")] }))?;
    let requests =
        "get pods -l ottla.io/pool=fast -o jsonpath={.items[*].spec.containers[*].resources.requests.memory}";
    namespace.prints(requests, "220Mi 220Mi 220Mi")?;
    until_it_is(&namespace, "Idle")?;
    load.go_on()?;
    let (rolled, of_pool) = (namespace.starts()?, |start: &&String| start.contains("fast"));
    let same = now.iter().filter(|start| rolled.contains(start));
    ensure!(same.clone().count() == 3 && !same.clone().any(|start| of_pool(&start)), "{now:?} became {rolled:?}");

    // Its ids can't be another's.
    let overlapping = json!({ "pools": [fast("220Mi"), { "name": "more", "firstBroker": 12, "replicas": 1,
        "storage": { "size": "1Gi" } }] });
    let refusal = format!("{:#}", patch(&namespace, overlapping).expect_err("the pools overlap"));
    ensure!(refusal.contains("ids of the brokers of pools overlap"), "{refusal}");

    // Removed by mistake, and put back while its brokers still hold something: nobody is lost.
    patch(&namespace, json!({ "pools": null }))?;
    namespace
        .prints("get okc/kafka -o jsonpath={.status.brokers[?(@.pool==\"fast\")].wanted}", "Leaving Leaving Leaving")?;
    load.go_on()?;
    patch(&namespace, json!({ "pools": [fast("220Mi")] }))?;
    namespace.prints("get okc/kafka -o jsonpath={.status.brokers[*].wanted}", "Serve Serve Serve Serve Serve Serve")?;
    namespace.ready("okc/kafka", "Ready")?;
    namespace.wait_until_whole()?;

    // The old class goes, while brokers of both pools die.
    patch(&namespace, json!({ "brokers": { "replicas": 0, "storage": { "removed": "Delete", "keepFor": "1m" } } }))?;
    namespace.prints("get okc/kafka -o jsonpath={.status.brokers[?(@.id==2)].wanted}", "Leaving")?;
    namespace.kubectl("delete pod kafka-broker-fast-11 --wait=false --grace-period=0 --force")?;
    load.go_on()?;
    let ready = "get pod/kafka-broker-fast-11 -o jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    namespace.prints(ready, "True")?;
    namespace.kubectl("delete pod kafka-broker-1 --ignore-not-found --wait=false --grace-period=0 --force")?;
    load.go_on()?;
    namespace.prints("get okc/kafka -o jsonpath={.status.brokers[*].id}", "10 11 12")?;
    namespace.prints(PODS, "kafka-broker-fast-10 kafka-broker-fast-11 kafka-broker-fast-12")?;
    namespace.ready("okc/kafka", "Ready")?;
    namespace.wait_until_whole()?;
    say(&format!("another storage class in {:.0?}", began.elapsed()));
    load.go_on()?;
    load.begin_again_at(&namespace.bootstrap("external")?);
    namespace.prints(CLAIMS, "data-kafka-broker-fast-10 data-kafka-broker-fast-11 data-kafka-broker-fast-12")?;
    namespace.prints("get okc/kafka -o jsonpath={.status.brokerCount}", "3")?;
    judge("a storage class was replaced", load).map(drop)
}
