//! `kubectl delete`: nothing hangs, and volumes follow the policy.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::clients::{Client, Place};
use ottla_e2e::cluster::namespace::{Namespace, cluster};
use ottla_e2e::cluster::say;
use std::time::Instant;

const CLAIMS: &str = "get pvc -o jsonpath={.items[*].metadata.name}";

#[test]
fn topics_and_clusters_are_deleted_and_volumes_follow_the_policy() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    for (policy, left) in [("Retain", "data-kafka-broker-0"), ("Delete", "")] {
        let namespace = Namespace::new(&bed, "deletion")?;
        namespace.apply(&cluster(1, &format!("deletionPolicy: {policy}")))?;
        namespace.ready("okc/kafka", "Ready")?;
        namespace.topic("first", 3)?;
        namespace.topic("second", 3)?;
        let began = Instant::now();
        namespace.kubectl("delete okt/first --timeout=300s")?;
        namespace.prints("get oka -o jsonpath={.items[?(@.spec.topicName==\"first\")].metadata.name}", "")?;
        let topic = began.elapsed();
        namespace.kubectl("delete okc/kafka --timeout=300s")?;
        namespace.prints("get statefulsets,pods,services,configmaps -l ottla.io/cluster=kafka -o name", "")?;
        namespace.prints(CLAIMS, left)?;
        // The topic outlives its cluster, and can be deleted without it.
        namespace.kubectl("delete okt/second --timeout=300s")?;
        say(&format!("{policy}: a topic gone in {topic:.1?}, its cluster {:.1?} after the start", began.elapsed()));
    }
    Ok(())
}

#[test]
fn a_retained_volume_serves_the_cluster_that_is_made_again() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "retained")?;
    namespace.brokers(1)?;
    namespace.topic("kept", 1)?;
    let external = namespace.bootstrap("external")?;
    Place::Outside.produce(Client::Kcat, &external, "kept", "key\tvalue\n")?;
    let id = namespace.field("okt/kept", ".status.topicId")?;

    namespace.kubectl("delete okc/kafka --timeout=300s")?;
    namespace.prints("get pods -l ottla.io/cluster=kafka -o name", "")?;
    namespace.brokers(1)?;
    namespace.ready("okt/kept", "Ready")?;
    ensure!(namespace.field("okt/kept", ".status.topicId")? == id, "the topic has another id");
    let found = Place::Outside.consume(Client::Kcat, &namespace.bootstrap("external")?, "kept", 1)?;
    ensure!(found == "key\tvalue\n", "{found}");
    Ok(())
}

#[test]
fn a_namespace_goes_with_everything_in_it() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "gone")?;
    namespace.brokers(3)?;
    namespace.topic("one", 12)?;
    let began = Instant::now();
    bed.kubectl(&format!("delete namespace {} --timeout=300s", namespace.name()))?;
    say(&format!("a namespace with a cluster and a topic is gone in {:.1?}", began.elapsed()));
    Ok(())
}
