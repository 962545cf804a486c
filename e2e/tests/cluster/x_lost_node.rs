//! A node with a local volume that is taken out of Kubernetes for good.

use anyhow::{Context, Result, ensure};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::namespace::{Namespace, cluster};
use ottla_e2e::cluster::{LIMIT, judge, say};
use ottla_e2e::wait::until;
use ottla_e2e::witness::{Load, Witnesses};
use serde_json::json;
use std::fs::{Permissions, create_dir, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

const LOAD: Load = Load { producers: 1, pace: Duration::from_millis(5), members: 2, java: true };
const DURABLE: &str = "defaults: {replicationFactor: 3, minInSyncReplicas: 2}";
const PROGRESSING: &str = "get okc/kafka -o jsonpath={.status.conditions[?(@.type==\"Progressing\")].message}";
const STALLED: &str = "get okc/kafka -o jsonpath={.status.conditions[?(@.type==\"Stalled\")].reason}";
const VOLUME: &str = "get okc/kafka -o jsonpath={.status.brokers[?(@.id==2)].volume}";

/// A PersistentVolume of this class that only one node can use, as people make them for local disks: a folder there.
fn local_volume(bed: &Bed, class: &str, number: u32, node: &str) -> Result<()> {
    let name = format!("{class}-{number}");
    let folder = bed.volumes()?.join(&name);
    create_dir(&folder).with_context(|| folder.display().to_string())?;
    set_permissions(&folder, Permissions::from_mode(0o777))?;
    let hosts = json!([{ "key": "kubernetes.io/hostname", "operator": "In", "values": [node] }]);
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": { "name": name, "labels": { "class": class } },
        "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "persistentVolumeReclaimPolicy": "Retain", "local": { "path": format!("/tmp/hostpath_pv/{name}") },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": hosts }] } },
        },
    });
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), volume.to_string())?;
    bed.kubectl(&format!("apply -f {}", file.path().display())).map(drop)
}

#[test]
fn a_broker_whose_node_was_deleted_waits_for_a_person_and_gets_a_volume_elsewhere_if_it_may() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "lost-node")?;
    let class = namespace.name().to_owned();
    namespace.apply(&format!(
        "{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: {class}}}, \
         provisioner: kubernetes.io/no-provisioner, volumeBindingMode: WaitForFirstConsumer}}"
    ))?;
    let told = on_local_volumes(&bed, &namespace, &class);
    // They belong to no namespace, and go when their claims do.
    bed.kubectl(&format!("delete persistentvolumes -l class={class} --wait=false"))?;
    bed.kubectl(&format!("delete storageclass {class}"))?;
    told
}

fn on_local_volumes(bed: &Bed, namespace: &Namespace<'_>, class: &str) -> Result<()> {
    let nodes = bed.kubectl("get nodes -o jsonpath={.items[*].metadata.name}")?;
    for (number, node) in (0..).zip(nodes.split(' ')) {
        local_volume(bed, class, number, node)?;
    }
    let storage = format!("storage: {{size: 1Gi, storageClassName: {class}}}");
    namespace.apply(&cluster(3, DURABLE).replace("storage: {size: 1Gi}", &storage))?;
    namespace.ready("okc/kafka", "Ready")?;
    let load = namespace.load("history", 12, LOAD)?;
    namespace.wait_until_whole()?;
    let node = namespace.node_of(2)?;
    let stays = nodes.split(' ').find(|other| *other != node).context("there are other nodes")?;
    let number = node.trim_start_matches("node");
    ensure!(number != node, "{node} is not one of our nodes");

    bed.tool(&["kill", number])?;
    let told = deleted(bed, namespace, &load, (class, &node, stays));
    bed.tool(&["add", number])?;
    until(LIMIT, "the node to register again", || Ok(bed.kubectl(&format!("get node/{node}")).ok()))?;
    bed.kubectl(&format!("wait node/{node} --for=condition=Ready --timeout=300s"))?;
    told?;
    load.go_on()?;
    judge("a node with a local volume deleted", load).map(drop)
}

/// Of a node without power.
fn deleted(
    bed: &Bed,
    namespace: &Namespace<'_>,
    load: &Witnesses,
    (class, node, stays): (&str, &str, &str),
) -> Result<()> {
    namespace.wait_until_led_by_others(2)?;
    bed.kubectl(&format!("wait node/{node} --for=condition=Ready=Unknown --timeout=300s"))?;
    let message = namespace.kubectl(PROGRESSING)?;
    ensure!(!message.contains("does not exist any more"), "it is not ready, and not lost: {message}");

    bed.kubectl(&format!("delete node/{node}"))?;
    namespace.prints(STALLED, "NodeLost")?;
    let old = namespace.kubectl(VOLUME)?;
    let message = namespace.kubectl(PROGRESSING)?;
    for part in [&format!("data-kafka-broker-2 on node {node}"), "kubectl patch kafkacluster kafka", &old] {
        ensure!(message.contains(part), "{part} is not in {message}");
    }
    load.go_on()?;
    ensure!(namespace.field("pvc/data-kafka-broker-2", ".metadata.uid")? == old, "nobody ordered that");

    local_volume(bed, class, 9, stays)?;
    let began = Instant::now();
    let storage = json!({ "spec": { "brokers": { "storage": { "onLostNode": "Replace", "lostAfter": "20s" } } } });
    namespace.kubectl(&format!("patch okc/kafka --type=merge --patch={storage}"))?;
    namespace.satisfies(VOLUME, |volume| volume.len() == old.len() && volume != old)?;
    namespace.prints("get pvc/data-kafka-broker-2 -o jsonpath={.spec.volumeName}", &format!("{class}-9"))?;
    namespace.prints("get okc/kafka -o jsonpath={.status.brokers[?(@.state==\"Online\")].id}", "0 1 2")?;
    namespace.wait_until_whole()?;
    namespace.ready("okc/kafka", "Ready")?;
    say(&format!("a volume on another node, in sync after {:.0?}", began.elapsed()));
    load.go_on()
}
