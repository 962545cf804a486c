//! What is put in a volume's place is not taken for it.

use anyhow::{Context, Result, ensure};
use ottla_e2e::cluster::bed::{Bed, succeed};
use ottla_e2e::cluster::namespace::{Namespace, cluster};
use ottla_e2e::cluster::{LIMIT, judge};
use ottla_e2e::wait::until;
use ottla_e2e::witness::Load;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LOAD: Load = Load { producers: 1, pace: Duration::from_millis(5), members: 2, java: true };

/// Everything is on both brokers, and acknowledged when it is.
const TWICE: &str = "defaults: {replicationFactor: 2, minInSyncReplicas: 2}
  config: {offsets.topic.replication.factor: '2'}";

/// On the same node, in the same boot and from the last start, so that only the ticks since distinguish it from the
/// volume. While both brokers are away nobody is taken out of an ISR: who comes back as it was leads what it led.
#[test]
fn a_volume_restored_from_a_snapshot_leads_nothing_until_it_has_what_it_lacks() -> Result<()> {
    let Some(bed) = Bed::on_this_machine()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "volumes")?;
    namespace.apply(&cluster(2, TWICE))?;
    namespace.ready("okc/kafka", "Ready")?;
    let load = namespace.load("history", 12, LOAD)?;
    namespace.wait_until_whole()?;
    let (before, volume, snapshot) = (incarnation(&namespace)?, namespace.volume(1)?, tempfile::tempdir()?);

    // Of one moment, as storage makes them.
    let uid = namespace.pod_uid(1)?;
    namespace.signal("STOP", &uid)?;
    let copied = put(&volume, snapshot.path());
    namespace.signal("CONT", &uid)?;
    copied?;
    // More than it had counted by then.
    let said = ticks(&namespace)?;
    until(LIMIT, "the Lease to know more", || Ok((ticks(&namespace)? > said + 2).then_some(())))?;
    load.go_on()?;

    pause(&namespace, true)?;
    let restored = stop_all(&namespace).and_then(|()| put(snapshot.path(), &volume));
    pause(&namespace, false)?;
    restored?;
    load.go_on()?;
    ensure!(incarnation(&namespace)? != before, "the broker took its snapshot for its volume");

    // It has copied what it lacked.
    namespace.wait_until_whole()?;
    namespace.kill_process(0)?;
    load.go_on()?;
    namespace.wait_until_whole()?;
    judge("a volume restored from a snapshot", load).map(drop)
}

/// What the broker's Lease says was counted, since its only start.
fn ticks(namespace: &Namespace<'_>) -> Result<u64> {
    let said = namespace.field("lease/kafka-broker-1", ".metadata.annotations.ottla\\.io/ticks")?;
    said.strip_prefix("1/").and_then(|count| count.parse().ok()).with_context(|| format!("ticks: {said:?}"))
}

/// Of a cluster that is paused. Its operator may hear of that late, and of this first.
fn stop_all(namespace: &Namespace<'_>) -> Result<()> {
    until(LIMIT, "nobody to run", || {
        namespace.kubectl("scale statefulset/kafka-broker --replicas=0")?;
        Ok(namespace.kubectl("get pods -l ottla.io/cluster=kafka -o name")?.is_empty().then_some(()))
    })
}

fn incarnation(namespace: &Namespace<'_>) -> Result<String> {
    namespace.field("lease/kafka-broker-1", ".metadata.annotations.ottla\\.io/incarnation")
}

fn pause(namespace: &Namespace<'_>, paused: bool) -> Result<()> {
    namespace.kubectl(&format!("patch okc/kafka --type=merge --patch={{\"spec\":{{\"paused\":{paused}}}}}")).map(drop)
}

/// Makes `to` hold what `from` does, and nothing else.
fn put(from: &Path, to: &Path) -> Result<()> {
    succeed(Command::new("find").arg(to).args(["-mindepth", "1", "-delete"]))?;
    succeed(Command::new("cp").arg("--archive").arg(from.join(".")).arg(to)).map(drop)
}

#[test]
fn a_second_pod_with_a_brokers_volume_says_why_it_does_not_start_and_disturbs_nobody() -> Result<()> {
    let Some(bed) = Bed::on_this_machine()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "twins")?;
    namespace.brokers(1)?;
    let before = (namespace.starts()?, namespace.field("lease/kafka-broker-0", ".spec.holderIdentity")?);

    let mut twin: Value = serde_json::from_str(&namespace.kubectl("get pod kafka-broker-0 -o json")?)?;
    let (spec, node) = (&mut twin["spec"], namespace.node_of(0)?);
    let nodes = bed.kubectl("get nodes -o jsonpath={.items[*].metadata.name}")?;
    spec["nodeName"] = nodes.split(' ').find(|other| *other != node).context("there are other nodes")?.into();
    for variable in spec["containers"][0]["env"].as_array_mut().context("a container has an environment")? {
        if variable["name"] == "POD_NAME" {
            *variable = json!({"name": "POD_NAME", "value": "kafka-broker-0"});
        }
    }
    let twin = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "twin"}, "spec": spec});
    namespace.apply(&twin.to_string())?;
    namespace.satisfies("logs twin", |log| log.contains("is in use by another process"))?;

    namespace.ready("okc/kafka", "Ready")?;
    let now = (namespace.starts()?, namespace.field("lease/kafka-broker-0", ".spec.holderIdentity")?);
    ensure!(now == before, "{now:?} instead of {before:?}");
    Ok(())
}
