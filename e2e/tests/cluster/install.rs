//! From `kubectl apply` to Ready, the README's quick start, and `helm test`.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::bed::{Bed, OPERATOR_NAMESPACE, charts};
use ottla_e2e::cluster::namespace::{Namespace, cluster, topic};
use ottla_e2e::cluster::{LIMIT, say};
use ottla_e2e::wait::until;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[test]
fn three_brokers_over_three_zones_and_twelve_partitions_become_ready() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "install")?;
    let began = Instant::now();
    namespace.apply(&format!("{}---\n{}", cluster(3, ""), topic("flights", "partitions: 12")))?;
    namespace.ready("okc/kafka", "Ready")?;
    let brokers = began.elapsed();
    namespace.ready("okt/flights", "Ready")?;
    say(&format!(
        "from apply to Ready: three brokers {:.1} s, a topic of 12 partitions {:.1} s",
        brokers.as_secs_f64(),
        began.elapsed().as_secs_f64()
    ));

    let racks = namespace.field("okc/kafka", ".status.brokers[*].rack")?;
    ensure!(racks.split(' ').collect::<BTreeSet<_>>().len() == 3, "the brokers' racks: {racks}");
    let states = namespace.field("okc/kafka", ".status.brokers[*].state")?;
    ensure!(states == "Online Online Online", "the brokers' states: {states}");
    let leaders = namespace.kubectl("get oka -o jsonpath={.items[*].spec.partitions[*].leader}")?;
    let leads = |broker: &str| leaders.split(' ').filter(|leader| *leader == broker).count();
    // The operator waits a minute for brokers that never came; then, on a slow machine, it places without them.
    ensure!(
        brokers > Duration::from_secs(60) && leaders.split(' ').count() == 12 || ["0", "1", "2"].map(leads) == [4; 3],
        "the leaders of a topic that was applied with its cluster: {leaders}"
    );

    let metrics = bed.kubectl("get --raw /metrics")?;
    for schema in ["objects", "leases"] {
        let label = format!("flow_schema=\"{OPERATOR_NAMESPACE}-ottla-{schema}\"");
        let dispatched = |line: &&str| line.starts_with("apiserver_flowcontrol_dispatched_requests_total{");
        ensure!(metrics.lines().filter(dispatched).any(|line| line.contains(&label)), "nothing was queued by {label}");
    }
    Ok(())
}

#[test]
fn the_readmes_quick_start_ends_with_a_consumed_record() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let readme = std::fs::read_to_string(charts().join("../README.md"))?;
    let check = "exec quick-broker-0 -- ottla check --bootstrap quick-bootstrap:9092";
    ensure!(readme.contains(&format!("$ kubectl {check}\n")), "README shows another command than {check}");
    let namespace = Namespace::new(&bed, "quick")?;
    namespace.apply(&std::fs::read_to_string(charts().join("ottla/examples/kind.yaml"))?)?;
    namespace.ready("kafkacluster/quick", "Ready")?;
    let said = namespace.kubectl(check)?;
    ensure!(said.contains("consumed it"), "{said}");
    let outside = namespace.kubectl("get kafkacluster quick -o jsonpath={.status.listeners[1].bootstrapServers}")?;
    ensure!(outside.split(',').count() == 3, "one address outside for each broker: {outside}");
    Ok(())
}

#[test]
fn helm_test_produces_and_consumes_on_a_cluster_of_its_own_and_leaves_nothing() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    bed.helm(&format!("test ottla --namespace {OPERATOR_NAMESPACE} --timeout 300s"))?;
    let remains = format!("get okc,okt,statefulsets,pvc --namespace {OPERATOR_NAMESPACE} --output name");
    until(LIMIT, "nothing to be left", || Ok(bed.kubectl(&remains)?.is_empty().then_some(())))
}
