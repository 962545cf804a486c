//! Fewer brokers, a change of mind, and a volume that is replaced.

use anyhow::{Context, Result, ensure};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::namespace::{Namespace, cluster, topic};
use ottla_e2e::cluster::{LIMIT, judge, say};
use ottla_e2e::wait::until;
use ottla_e2e::witness::Load;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const LOAD: Load = Load { producers: 1, pace: Duration::from_millis(5), members: 2, java: true };
const DURABLE: &str = "defaults: {replicationFactor: 3, minInSyncReplicas: 2}";
const ONLINE: &str = "get okc/kafka -o jsonpath={.status.brokers[?(@.state==\"Online\")].id}";

/// A field of broker 1 in the status.
fn of_broker_1(field: &str) -> String {
    format!("get okc/kafka -o jsonpath={{.status.brokers[?(@.id==1)].{field}}}")
}

fn patch_brokers(namespace: &Namespace<'_>, brokers: Value) -> Result<()> {
    let patch = json!({ "spec": { "brokers": brokers } });
    namespace.kubectl(&format!("patch okc/kafka --type=merge --patch={patch}")).map(drop)
}

/// Waits until the spec asks for so many brokers and exactly these are there, with a pod each.
fn settles(namespace: &Namespace<'_>, brokers: u32) -> Result<()> {
    let ids = |prefix: &str| (0..brokers).map(|id| format!("{prefix}{id}")).collect::<Vec<_>>().join(" ");
    namespace.prints("get okc/kafka -o jsonpath={.status.brokers[*].id}", &ids(""))?;
    let pods = "get pods -l ottla.io/cluster=kafka --sort-by=.metadata.name -o jsonpath={.items[*].metadata.name}";
    namespace.prints(pods, &ids("kafka-broker-"))?;
    namespace.ready("okc/kafka", "Ready")?;
    namespace.wait_until_whole()
}

#[test]
fn five_brokers_become_four_in_part_and_three_under_load_and_their_volumes_go_last() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "removal")?;
    namespace.apply(&cluster(3, DURABLE))?;
    namespace.ready("okc/kafka", "Ready")?;
    let load = namespace.load("history", 12, LOAD)?;
    // On these brokers, too.
    until(LIMIT, "the group's topic", || {
        let partitions = namespace.partitions().unwrap_or_default();
        Ok(partitions.iter().any(|one| one.topic == "__consumer_offsets").then_some(()))
    })?;
    namespace.kubectl("scale okc/kafka --replicas=5")?;
    namespace.prints(ONLINE, "0 1 2 3 4")?;
    namespace.apply(&topic("held", "partitions: 1, placement: [{partition: 0, replicas: [4, 3]}]"))?;
    namespace.ready("okt/held", "Ready")?;
    namespace.wait_until_whole()?;
    let starts = namespace.starts()?;

    // Undone while a broker waits for what it holds.
    namespace.kubectl("scale okc/kafka --replicas=4")?;
    namespace.prints("get okc/kafka -o jsonpath={.status.brokers[?(@.id==4)].wanted}", "Leaving")?;
    let progressing = "get okc/kafka -o jsonpath={.status.conditions[?(@.type==\"Progressing\")].reason}";
    namespace.prints(progressing, "BrokersLeaving")?;
    load.go_on()?;
    namespace.kubectl("scale okc/kafka --replicas=5")?;
    namespace.prints("get okc/kafka -o jsonpath={.status.brokers[*].wanted}", "Serve Serve Serve Serve Serve")?;
    settles(&namespace, 5)?;
    ensure!(namespace.starts()? == starts, "undone, and a broker was restarted");

    let began = Instant::now();
    patch_brokers(&namespace, json!({ "replicas": 3, "storage": { "removed": "Delete", "keepFor": "1m" } }))?;
    let moved = json!({ "spec": { "placement": [{ "partition": 0, "replicas": [0, 1] }] } });
    namespace.kubectl(&format!("patch okt/held --type=merge --patch={moved}"))?;
    settles(&namespace, 3)?;
    say(&format!("from five to three brokers in {:.0?}", began.elapsed()));
    load.go_on()?;
    let claims = "get pvc --sort-by=.metadata.name -o jsonpath={.items[*].metadata.name}";
    namespace.prints(claims, "data-kafka-broker-0 data-kafka-broker-1 data-kafka-broker-2")?;
    ensure!(began.elapsed() > Duration::from_secs(60), "the volumes were kept for a minute");
    let now = namespace.starts()?;
    ensure!(now.iter().all(|start| starts.contains(start)), "a broker was restarted: {starts:?} became {now:?}");

    // A mistaken number and its correction: nothing was placed there.
    namespace.kubectl("scale okc/kafka --replicas=6")?;
    namespace.prints(ONLINE, "0 1 2 3 4 5")?;
    let began = Instant::now();
    namespace.kubectl("scale okc/kafka --replicas=3")?;
    settles(&namespace, 3)?;
    say(&format!("three empty brokers left in {:.0?}", began.elapsed()));
    judge("five brokers became three", load).map(drop)
}

#[test]
fn a_broker_continues_with_a_fresh_volume_once_no_partition_needs_the_old_one() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "fresh")?;
    namespace.apply(&cluster(3, DURABLE))?;
    namespace.ready("okc/kafka", "Ready")?;
    let load = namespace.load("history", 12, LOAD)?;
    namespace.apply(&topic("alone", "partitions: 1, placement: [{partition: 0, replicas: [1]}]"))?;
    namespace.ready("okt/alone", "Ready")?;
    namespace.wait_until_whole()?;

    let old = namespace.kubectl(&of_broker_1("volume"))?;
    ensure!(namespace.field("pvc/data-kafka-broker-1", ".metadata.uid")? == old, "the status says {old}");
    patch_brokers(&namespace, json!({ "overrides": [{ "broker": 1, "state": "Fresh", "volume": old }] }))?;
    let progressing = "get okc/kafka -o jsonpath={.status.conditions[?(@.type==\"Progressing\")].message}";
    namespace
        .satisfies(progressing, |message| message.contains("it alone has every record of partition 0 of alone"))?;
    load.go_on()?;
    ensure!(namespace.field("pvc/data-kafka-broker-1", ".metadata.uid")? == old, "its only copy is gone");

    let began = Instant::now();
    namespace.kubectl("delete okt/alone --timeout=300s")?;
    namespace.satisfies(&of_broker_1("volume"), |volume| volume.len() == 36 && volume != old)?;
    namespace.prints(ONLINE, "0 1 2")?;
    namespace.wait_until_whole()?;
    namespace.ready("okc/kafka", "Ready")?;
    say(&format!("a fresh volume, in sync after {:.0?}", began.elapsed()));
    let new = namespace.kubectl(&of_broker_1("volume"))?;
    load.go_on()?;
    let order = namespace.field("okc/kafka", ".spec.brokers.overrides[0].volume")?;
    ensure!(order == old, "the order stays as it was: {order}");
    let served = namespace.kubectl(&of_broker_1("wanted")).context("the order was obeyed once")?;
    ensure!((served.as_str(), namespace.kubectl(&of_broker_1("volume"))?) == ("Serve", new), "it was obeyed again");
    judge("a broker with a fresh volume", load).map(drop)
}
