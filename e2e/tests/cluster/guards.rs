//! Mistakes, and what keeps them harmless: a StatefulSet that is deleted, a cluster that is paused, a wrong number that
//! is taken back, names that are somebody else's, a broker's rights, an operator that is upgraded.

use anyhow::{Context, Result, ensure};
use ottla_e2e::cluster::bed::{Bed, OPERATOR_NAMESPACE, charts};
use ottla_e2e::cluster::clients::{Client, Place};
use ottla_e2e::cluster::namespace::{Namespace, cluster, topic};
use ottla_e2e::cluster::{LIMIT, judge};
use ottla_e2e::need::{Need, met};
use ottla_e2e::wait::until;
use ottla_e2e::witness::Load;
use serde_json::{Value, json};

/// How a condition of the cluster is, and why.
fn condition(type_: &str) -> String {
    let of = format!(".status.conditions[?(@.type==\"{type_}\")]");
    format!("get okc/kafka -o jsonpath={{{of}.status}}/{{{of}.reason}}")
}

fn patch(namespace: &Namespace<'_>, spec: Value) -> Result<()> {
    let patch = json!({ "spec": spec });
    namespace.kubectl(&format!("patch okc/kafka --type=merge --patch={patch}")).map(drop)
}

#[test]
fn a_deleted_stateful_set_comes_back_and_loses_no_volume() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "set")?;
    // With the cluster the volumes would go, and with nothing else.
    namespace.apply(&cluster(3, "deletionPolicy: Delete"))?;
    namespace.ready("okc/kafka", "Ready")?;
    let load = namespace.load("load", 6, Load::GENTLE)?;
    let volumes = || namespace.kubectl("get pvc -o jsonpath={.items[*].spec.volumeName}");
    let (before, set) = (volumes()?, namespace.field("statefulset/kafka-broker", ".metadata.uid")?);
    namespace.kubectl("delete statefulset kafka-broker")?;
    namespace
        .satisfies("get statefulset/kafka-broker -o jsonpath={.metadata.uid}", |uid| uid.len() == 36 && uid != set)?;
    namespace.prints("get okc/kafka -o jsonpath={.status.brokers[*].state}", "Online Online Online")?;
    load.go_on()?;
    ensure!(volumes()? == before, "another volume: {} instead of {before}", volumes()?);
    judge("the StatefulSet was deleted", load).map(drop)
}

#[test]
fn a_paused_cluster_fails_over_and_its_objects_are_left_alone() -> Result<()> {
    let Some(bed) = Bed::on_this_machine()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "paused")?;
    namespace.apply(&cluster(3, "defaults: {replicationFactor: 3, minInSyncReplicas: 2}"))?;
    namespace.ready("okc/kafka", "Ready")?;
    let load = namespace.load("load", 6, Load::GENTLE)?;
    namespace.wait_until_whole()?;
    patch(&namespace, json!({ "paused": true }))?;
    namespace.prints(&condition("Paused"), "True/Paused")?;
    // A change that is not made, and a status that does not claim it.
    patch(&namespace, json!({ "brokers": { "podTemplate": { "labels": { "team": "streams" } } } }))?;
    namespace.kubectl("delete networkpolicy kafka-broker")?;
    namespace.kill_process(namespace.busiest("load", 3)?)?;
    load.go_on()?;
    namespace.topic("meanwhile", 3)?;
    namespace.kubectl("delete okt/meanwhile --timeout=300s")?;
    namespace.prints(&condition("Progressing"), "False/Paused")?;
    namespace.prints("get networkpolicy kafka-broker --ignore-not-found -o name", "")?;
    let generations = "get okc/kafka -o jsonpath={.metadata.generation}/{.status.observedGeneration}";
    ensure!(namespace.kubectl(generations)? != same(&namespace)?, "the status claims a spec that was not made");

    patch(&namespace, json!({ "paused": false }))?;
    namespace.prints(&condition("Paused"), "False/NotPaused")?;
    namespace.prints("get networkpolicy kafka-broker -o jsonpath={.metadata.name}", "kafka-broker")?;
    namespace.satisfies(generations, |printed| same(&namespace).is_ok_and(|same| printed == same))?;
    // Now the change is made, by a roll.
    namespace.prints(
        "get pods -l ottla.io/cluster=kafka -o jsonpath={.items[*].metadata.labels.team}",
        "streams streams streams",
    )?;
    namespace.prints(&condition("Progressing"), "False/Settled")?;
    judge("paused", load).map(drop)
}

/// The cluster's generation, twice.
fn same(namespace: &Namespace<'_>) -> Result<String> {
    namespace.kubectl("get okc/kafka -o jsonpath={.metadata.generation}/{.metadata.generation}")
}

#[test]
fn a_mistaken_number_of_brokers_and_a_mistaken_size_are_taken_back() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "undo")?;
    namespace.apply(&cluster(1, "config: {offsets.topic.replication.factor: '1'}"))?;
    namespace.ready("okc/kafka", "Ready")?;
    let load = namespace.load("load", 6, Load::GENTLE)?;
    // On this broker, too: what is placed later would keep the others.
    until(LIMIT, "the group's topic", || {
        let partitions = namespace.partitions().unwrap_or_default();
        Ok(partitions.iter().any(|one| one.topic == "__consumer_offsets").then_some(()))
    })?;
    namespace.kubectl("scale okc/kafka --replicas=3")?;
    namespace.prints("get okc/kafka -o jsonpath={.status.brokers[?(@.state==\"Online\")].id}", "0 1 2")?;
    // What a broker holds keeps it; the one above it goes.
    namespace.apply(&topic("held", "partitions: 1, placement: [{partition: 0, replicas: [1]}]"))?;
    namespace.ready("okt/held", "Ready")?;
    namespace.kubectl("scale okc/kafka --replicas=1")?;
    namespace.prints("get okc/kafka -o jsonpath={.status.brokers[*].id}", "0 1")?;
    namespace.prints(&condition("Progressing"), "True/BrokersLeaving")?;
    namespace.kubectl("delete okt/held --timeout=300s")?;
    namespace.prints("get okc/kafka -o jsonpath={.status.brokers[*].id}", "0")?;
    namespace.prints("get pods -l ottla.io/cluster=kafka -o jsonpath={.items[*].metadata.name}", "kafka-broker-0")?;
    namespace.ready("okc/kafka", "Ready")?;
    let claims = namespace.kubectl("get pvc -o jsonpath={.items[*].metadata.name}")?;
    ensure!(claims.split(' ').count() == 3, "volumes of brokers that left stay: {claims}");

    // The bed's volumes can't grow.
    patch(&namespace, json!({ "brokers": { "storage": { "size": "2Gi" } } }))?;
    namespace.prints(&condition("Ready"), "False/ResizeImpossible")?;
    patch(&namespace, json!({ "brokers": { "storage": { "size": "1Gi" } } }))?;
    namespace.ready("okc/kafka", "Ready")?;
    judge("one broker, three and one again", load).map(drop)
}

#[test]
fn an_object_of_somebody_else_with_the_clusters_name_is_left_as_it_is() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "foreign")?;
    namespace.kubectl("create service clusterip kafka-bootstrap --tcp=80:80")?;
    let before = namespace.field("service/kafka-bootstrap", ".metadata.resourceVersion")?;
    namespace.apply(&cluster(1, ""))?;
    namespace.prints(&condition("Ready"), "False/ForeignObject")?;
    ensure!(namespace.field("service/kafka-bootstrap", ".metadata.resourceVersion")? == before, "it was written");
    namespace.prints("get statefulsets,configmaps -l ottla.io/cluster=kafka -o name", "")?;
    namespace.kubectl("delete service kafka-bootstrap")?;
    namespace.ready("okc/kafka", "Ready").map(drop)
}

/// What a broker of the cluster `kafka` asks for.
fn as_broker(namespace: &Namespace<'_>, line: &str) -> String {
    format!("{line} --as=system:serviceaccount:{}:kafka-broker", namespace.name())
}

#[test]
fn a_broker_writes_nothing_of_another_cluster() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "rights")?;
    namespace.brokers(1)?;
    namespace.topic("own", 1)?;
    // That cluster need not exist.
    let others = topic("others", "partitions: 1").replace("name: kafka}", "name: other}");
    ensure!(others.contains("name: other}"), "{others}");
    namespace.apply(&others)?;
    namespace.apply(
        "apiVersion: ottla.io/v1alpha1
kind: KafkaAssignment
metadata: {name: others}
spec: {clusterRef: {name: other}, topicName: others, topicId: 8c8d9f0e-0b0c-4b9b-9c6a-9b0a6f1d2e3f, first: 0, partitions: []}
",
    )?;

    let refused = |line: &str, input: &str| -> Result<()> {
        let said = match namespace.kubectl_with(&as_broker(&namespace, line), input) {
            Ok(said) => anyhow::bail!("{line} was let through: {said}"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(said.contains("ServiceAccount kafka-broker"), "refused by something else: {said}");
        Ok(())
    };
    refused("delete okt/others", "")?;
    refused("patch oka/others --type=merge --patch={\"spec\":{\"deleted\":true}}", "")?;
    refused("create -f -", &others.replace("name: others}", "name: more}"))?;
    let lease =
        |name: &str| json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": name } });
    refused("create -f -", &lease("other-broker-0").to_string())?;

    // Of users it changes ACLs, and nothing that anybody could log in with.
    let user = "apiVersion: ottla.io/v1alpha1
kind: KafkaUser
metadata: {name: orders}
spec: {clusterRef: {name: kafka}, authorization: {acls: []}}
";
    refused("create -f -", &user.replace("authorization: {acls: []}", "authentication: {type: scram}"))?;
    refused("create -f -", &user.replace("name: kafka}", "name: other}"))?;
    namespace.kubectl_with(&as_broker(&namespace, "create -f -"), user)?;
    refused("patch kafkauser/orders --type=merge --patch={\"spec\":{\"authentication\":{\"type\":\"scram\"}}}", "")?;

    // An object whose owner does not exist is deleted, and one without its finalizer is not ended.
    let owned = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "8c8d9f0e-0b0c-4b9b-9c6a-9b0a6f1d2e3f" }]);
    for object in ["kafkauser/orders", "okc/kafka", "okt/own"] {
        let patch = json!({ "metadata": { "ownerReferences": owned } });
        refused(&format!("patch {object} --type=merge --patch={patch}"), "")?;
    }
    refused("patch okt/own --type=merge --patch={\"metadata\":{\"finalizers\":[]}}", "")?;

    // Of its cluster's status it writes blocks of producer ids, and no addresses.
    // `kubectl patch` would read the status first, which brokers may not.
    let apply = "apply --server-side --force-conflicts --subresource=status -f -";
    let status = |status: Value| {
        let metadata = json!({ "name": "kafka", "namespace": namespace.name() });
        json!({ "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaCluster", "metadata": metadata, "status": status })
            .to_string()
    };
    let endpoint = json!({ "listener": "replication", "host": "elsewhere", "port": 9091 });
    refused(apply, &status(json!({ "brokers": [{ "id": 0, "state": "Online", "endpoints": [endpoint] }] })))?;
    refused(apply, &status(json!({ "image": "another" })))?;
    namespace.kubectl_with(&as_broker(&namespace, apply), &status(json!({ "nextProducerIdBlock": 1_000_000 })))?;
    refused(apply, &status(json!({ "nextProducerIdBlock": 1000 })))?;
    refused(apply, &status(json!({ "nextProducerIdBlock": i64::MAX })))?;

    // An account of that name that has nothing to do with Kafka.
    namespace.kubectl("create role other-broker --verb=create,update --resource=leases.coordination.k8s.io")?;
    let account = format!("{}:other-broker", namespace.name());
    namespace.kubectl(&format!("create rolebinding other-broker --role=other-broker --serviceaccount={account}"))?;
    let as_other = format!("create -f - --as=system:serviceaccount:{account}");
    // The authorizer takes a moment to see the binding.
    until(LIMIT, "another program's Lease", || {
        Ok(namespace.kubectl_with(&as_other, &lease("lock").to_string()).ok().map(drop))
    })?;

    // Of its own cluster it changes settings, and not what pods there are.
    let mut own: Value = serde_json::from_str(&namespace.kubectl("get okc/kafka -o json")?)?;
    // Without one kubectl takes the newest.
    own["metadata"].as_object_mut().context("an object has metadata")?.remove("resourceVersion");
    let mut larger = own.clone();
    larger["spec"]["brokers"]["replicas"] = json!(3);
    refused("replace -f -", &larger.to_string())?;
    own["spec"]["config"] = json!({ "log.retention.hours": "24" });
    own["spec"]["brokers"]["overrides"] = json!([{ "broker": 0, "config": { "log.retention.ms": "3600000" } }]);
    namespace.kubectl_with(&as_broker(&namespace, "replace -f -"), &own.to_string())?;
    namespace.kubectl_with(&as_broker(&namespace, "create -f -"), &lease("kafka-broker-7").to_string())?;
    namespace.kubectl(&as_broker(&namespace, "delete okt/own"))?;

    // What brokers do all day passes.
    if met(&[Need::Program("kcat")]) {
        namespace.topic("used", 1)?;
        let external = namespace.bootstrap("external")?;
        Place::Outside.produce(Client::Kcat, &external, "used", "key\tvalue\n")?;
        ensure!(Place::Outside.consume(Client::Kcat, &external, "used", 1)? == "key\tvalue\n");
    }
    Ok(())
}

#[test]
fn an_upgraded_operator_leaves_brokers_the_image_that_they_run() -> Result<()> {
    let Some(bed) = Bed::alone()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "upgrade")?;
    namespace.brokers(1)?;
    let image = "jsonpath={.spec.template.spec.containers[0].image}";
    let before = namespace.kubectl(&format!("get statefulset/kafka-broker -o {image}"))?;
    let (generation, starts) =
        (namespace.field("statefulset/kafka-broker", ".metadata.generation")?, namespace.starts()?);
    ensure!(namespace.field("okc/kafka", ".status.image")? == before);

    // The same image under another name.
    let charts = charts().join("ottla").display().to_string();
    let upgrade = |values: &str| {
        bed.helm(&format!(
            "upgrade ottla {charts} --namespace {OPERATOR_NAMESPACE} --reset-values {values} --wait --timeout 300s"
        ))
    };
    upgrade("--set image.repository=docker.io/library/ottla")?;
    let upgraded = || -> Result<()> {
        namespace.prints(&condition("Progressing"), "False/Held")?;
        ensure!(
            namespace.field("statefulset/kafka-broker", ".metadata.generation")? == generation,
            "the set was written"
        );
        ensure!(namespace.starts()? == starts, "a broker was restarted");
        // A pod that is lost meanwhile returns as it was.
        let uid = namespace.pod_uid(0)?;
        namespace.kubectl("delete pod kafka-broker-0")?;
        namespace.prints("get pod/kafka-broker-0 -o jsonpath={.spec.containers[0].image}", &before)?;
        namespace.ready("pod/kafka-broker-0", "Ready")?;
        ensure!(namespace.pod_uid(0)? != uid, "the pod was not replaced");
        let named = format!("docker.io/library/{before}");
        patch(&namespace, json!({ "brokers": { "image": named } }))?;
        namespace.prints("get pod/kafka-broker-0 -o jsonpath={.spec.containers[0].image}", &named)?;
        namespace.prints(&condition("Progressing"), "False/Settled")
    }();
    upgrade("")?;
    upgraded
}
