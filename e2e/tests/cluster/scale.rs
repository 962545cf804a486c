//! More brokers, and many.

use anyhow::{Context, Result, ensure};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::budget::Writes;
use ottla_e2e::cluster::imitated::Imitated;
use ottla_e2e::cluster::namespace::{Namespace, topic};
use ottla_e2e::cluster::{LIMIT, judge, say};
use ottla_e2e::leash::resident;
use ottla_e2e::wait::until;
use ottla_e2e::witness::Load;
use std::time::{Duration, Instant};

#[test]
fn three_brokers_become_five_under_load_and_new_topics_use_them() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "scale")?;
    namespace.brokers(3)?;
    let load = namespace.load("before", 6, Load::GENTLE)?;
    let starts = namespace.starts()?;

    let began = Instant::now();
    namespace.kubectl("scale okc/kafka --replicas=5")?;
    namespace.prints("get okc/kafka -o jsonpath={.status.brokers[?(@.state==\"Online\")].id}", "0 1 2 3 4")?;
    namespace.ready("okc/kafka", "Ready")?;
    say(&format!("from three to five brokers in {:.1} s", began.elapsed().as_secs_f64()));
    load.go_on()?;

    namespace.topic("after", 10)?;
    let leaders =
        namespace.kubectl("get oka -o jsonpath={.items[?(@.spec.topicName==\"after\")].spec.partitions[*].leader}")?;
    let leads = |broker: &str| leaders.split(' ').filter(|leader| *leader == broker).count();
    ensure!(["0", "1", "2", "3", "4"].map(leads) == [2; 5], "leaders of the new topic: {leaders}");
    let now = namespace.starts()?;
    ensure!(starts.iter().all(|start| now.contains(start)), "a broker was restarted: {starts:?} became {now:?}");
    judge("from three to five", load).map(drop)
}

const MANY: u64 = 50;
/// All but two, as if two were whole brokers.
const WATCHING: usize = 48;
/// The broker that dies.
const VICTIM: u64 = 7;
/// Of fifty brokers with three of 36,000 replicas each... a death may touch so many of a thousand objects: those of the
/// copysets that it is in, which are at most 12.6 % (`crds/rules/tests/copysets.rs`), and the topics' status.
const TOUCHED: f64 = 0.13;
/// Bytes that a watch receives of an object that changed: KafkaAssignments of twelve partitions, as JSON.
const BYTES: f64 = 8_000.0;

/// How many topics of twelve partitions there are: `OTTLA_SCALE_TOPICS`, or a thousand.
fn topics() -> Result<usize> {
    std::env::var("OTTLA_SCALE_TOPICS").map_or(Ok(1_000), |topics| topics.parse().context("OTTLA_SCALE_TOPICS"))
}

/// The largest operator's resident bytes.
fn operator_memory() -> Result<u64> {
    let mut largest = 0;
    for process in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|pid| pid.parse().ok()) else { continue };
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let mut words = command.split(|byte| *byte == 0);
        if words.next().is_some_and(|program| program.ends_with(b"/ottla")) && words.next() == Some(b"operator") {
            largest = largest.max(resident(pid).unwrap_or(0));
        }
    }
    Ok(largest)
}

/// Waits until nobody writes our objects any more; what was written since `before`.
fn at_rest(bed: &Bed, before: &Writes) -> Result<Writes> {
    until(4 * LIMIT, "the operator to come to rest", || {
        let first = Writes::so_far(bed)?;
        std::thread::sleep(Duration::from_secs(4));
        Ok((Writes::so_far(bed)?.since(&first).of_group("ottla.io") == 0).then_some(()))
    })?;
    Ok(Writes::so_far(bed)?.since(before))
}

#[test]
fn a_death_among_fifty_brokers_touches_few_objects() -> Result<()> {
    let Some(bed) = Bed::to_break()? else { return Ok(()) };
    let (namespace, topics) = (Namespace::new(&bed, "fifty")?, topics()?);
    // Its pods find no node: the brokers are Leases.
    namespace.apply(&format!(
        "apiVersion: ottla.io/v1alpha1
kind: KafkaCluster
metadata: {{name: kafka}}
spec:
  brokers: {{replicas: {MANY}, storage: {{size: 1Gi}}, podTemplate: {{nodeSelector: {{nowhere: \"true\"}}}}}}
  listeners: [{{name: internal, port: 9092}}]
  defaults: {{replicationFactor: 3, minInSyncReplicas: 2}}
"
    ))?;
    let brokers = Imitated::start(&namespace, 0..MANY, WATCHING)?;
    let online = "get okc/kafka -o jsonpath={.status.brokers[?(@.state==\"Online\")].id}";
    namespace.satisfies(online, |ids| ids.split_whitespace().count() as u64 == MANY)?;

    let began = Instant::now();
    let all: Vec<String> =
        (0..topics).map(|n| topic(&format!("topic-{n}"), "partitions: 12, replicationFactor: 3")).collect();
    for some in all.chunks(500) {
        namespace.kubectl_with("create -f -", &some.join("---\n"))?;
    }
    let leaders = || namespace.kubectl("get oka -o jsonpath={.items[*].spec.partitions[*].leader}");
    until(4 * LIMIT, "all topics to be placed", || {
        Ok((leaders()?.split_whitespace().count() == 12 * topics).then_some(()))
    })?;
    let placed = began.elapsed();
    at_rest(&bed, &Writes::so_far(&bed)?)?;

    let (before, received, began) = (Writes::so_far(&bed)?, brokers.received(), Instant::now());
    brokers.kill(VICTIM)?;
    let dead = VICTIM.to_string();
    until(4 * LIMIT, "others to lead", || Ok((!leaders()?.split_whitespace().any(|id| id == dead)).then_some(())))?;
    let elected = began.elapsed();
    let writes = at_rest(&bed, &before)?;
    let (bytes, memory) = ((brokers.received() - received) as f64 / WATCHING as f64, operator_memory()?);
    say(&format!(
        "{topics} topics of 12 partitions on {MANY} brokers: placed in {placed:.0?}; one death: the last election after \
         {elected:.1?}; {:.2} MB for each watching broker; the operator has {} MB; {writes}",
        bytes / 1e6,
        memory >> 20
    ));
    let touched = writes.requests.get("PATCH kafkaassignments.ottla.io").copied().unwrap_or(0) as f64;
    ensure!(touched > 0.0, "nothing was elected: {writes}");
    ensure!(touched <= TOUCHED * topics as f64, "{touched} assignments were written");
    let received = bytes / touched;
    ensure!(received <= BYTES, "a watch received {received} bytes for each assignment that changed");
    Ok(())
}
