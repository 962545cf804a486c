//! Pods come and go: a broker comes back with its data and its identity, and nothing that was acknowledged is lost.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::bed::{Bed, OPERATOR_NAMESPACE, charts};
use ottla_e2e::cluster::judge;
use ottla_e2e::cluster::namespace::{Namespace, topic};
use ottla_e2e::witness::Load;

#[test]
fn a_deleted_broker_pod_comes_back_with_its_data_and_its_identity() -> Result<()> {
    comes_back("deleted", |namespace| namespace.kubectl("delete pod kafka-broker-1 --wait=false").map(drop))
}

#[test]
fn a_force_deleted_broker_pod_comes_back_with_its_data_and_its_identity() -> Result<()> {
    let force = "delete pod kafka-broker-1 --grace-period=0 --force";
    comes_back("force-deleted", |namespace| namespace.kubectl(force).map(drop))
}

/// Partitions have one replica here: those of the broker pause while it is away.
fn comes_back(how: &str, remove: impl FnOnce(&Namespace<'_>) -> Result<()>) -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "pods")?;
    namespace.brokers(3)?;
    let load = namespace.load("load", 6, Load::GENTLE)?;
    let (pod, claim) = (namespace.field("pod/kafka-broker-1", ".metadata.uid")?, claim(&namespace)?);

    remove(&namespace)?;
    namespace.satisfies("get pod/kafka-broker-1 -o jsonpath={.metadata.uid}", |uid| uid.len() == 36 && uid != pod)?;
    namespace.ready("pod/kafka-broker-1", "Ready")?;
    namespace.prints("get okc/kafka -o jsonpath={.status.brokers[*].state}", "Online Online Online")?;
    load.go_on()?;
    ensure!(claim == self::claim(&namespace)?, "the broker has another volume");
    judge(how, load).map(drop)
}

fn claim(namespace: &Namespace<'_>) -> Result<String> {
    namespace.field("pvc/data-kafka-broker-1", ".spec.volumeName")
}

#[test]
fn a_second_operator_with_another_image_leaves_a_cluster_alone_and_says_so() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "owned")?;
    namespace.brokers(1)?;
    ensure!(namespace.field("okc/kafka", ".status.operator")? == OPERATOR_NAMESPACE);
    let version = || namespace.field("statefulset/kafka-broker", ".metadata.generation");
    let before = version()?;

    // The same image under another name: its brokers would be others. It looks at this namespace only.
    let second = Namespace::new(&bed, "second")?;
    let values =
        format!("--set image.repository=docker.io/library/ottla --set watchNamespaces={{{}}}", namespace.name());
    let (charts, into) = (charts().join("ottla").display().to_string(), second.name());
    bed.helm(&format!("install {into} {charts} --namespace {into} {values} --wait --timeout 300s"))?;
    let said = "get events.events.k8s.io --field-selector reason=OperatedByAnother -o jsonpath={.items[*].note}";
    namespace.satisfies(said, |note| note.contains(OPERATOR_NAMESPACE) && note.contains(into))?;
    ensure!(version()? == before, "the StatefulSet was written");
    bed.helm(&format!("uninstall {into} --namespace {into} --wait"))?;
    Ok(())
}

#[test]
fn operator_pods_come_back_and_nothing_was_disturbed() -> Result<()> {
    let Some(bed) = Bed::alone()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "operators")?;
    namespace.brokers(3)?;
    let load = namespace.load("load", 6, Load::GENTLE)?;
    let starts = namespace.starts()?;
    let assignments = namespace.kubectl("get oka -o jsonpath={.items[*].metadata.resourceVersion}")?;
    let delete = format!("delete pods -n {OPERATOR_NAMESPACE} -l app.kubernetes.io/component=operator");

    // Both at once, and a topic while there is nobody to see to it.
    bed.kubectl(&format!("{delete} --grace-period=0 --force"))?;
    namespace.apply(&topic("meanwhile", "partitions: 3"))?;
    namespace.ready("okt/meanwhile", "Ready")?;
    bed.kubectl(&format!("rollout status deployment/ottla -n {OPERATOR_NAMESPACE} --timeout=300s"))?;

    // One, politely: the other takes over.
    let pods = bed.kubectl(&format!("get pods -n {OPERATOR_NAMESPACE} -o jsonpath={{.items[0].metadata.name}}"))?;
    bed.kubectl(&format!("delete pod -n {OPERATOR_NAMESPACE} {pods}"))?;
    namespace.apply(&topic("afterwards", "partitions: 3"))?;
    namespace.ready("okt/afterwards", "Ready")?;
    bed.kubectl(&format!("rollout status deployment/ottla -n {OPERATOR_NAMESPACE} --timeout=300s"))?;

    load.go_on()?;
    ensure!(starts == namespace.starts()?, "a broker was restarted");
    let now = namespace.kubectl("get oka -o jsonpath={.items[*].metadata.resourceVersion}")?;
    ensure!(assignments.split(' ').all(|version| now.contains(version)), "an assignment was written again");
    judge("operators deleted", load).map(drop)
}
