//! Kafka's admin API is another kubectl.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::budget::Writes;
use ottla_e2e::cluster::namespace::{Namespace, topic};
use ottla_e2e::cluster::{LIMIT, say};
use ottla_e2e::librdkafka::create_topics;
use ottla_e2e::need::{Need, met};
use ottla_e2e::tools::Tools;
use ottla_e2e::wait::until;
use std::time::{Duration, Instant};

const TOPICS: usize = 1000;

#[test]
fn topics_made_by_kafka_topics_and_by_kubectl_are_the_same() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let namespace = Namespace::new(&bed, "topics")?;
    namespace.brokers(1)?;
    let external = namespace.bootstrap("external")?;
    let mut tools = Tools::start()?;
    let mut topics = |line: &str| {
        let arguments = ["--bootstrap-server", &external].into_iter().chain(line.split(' '));
        tools.expect("topics", &arguments.collect::<Vec<_>>(), "")
    };

    topics("--create --topic from-kafka --partitions 5 --replication-factor 1")?;
    namespace.ready("okt/from-kafka", "Ready")?;
    ensure!(namespace.field("okt/from-kafka", ".status.partitions")? == "5");
    namespace.topic("from-kubectl", 7)?;
    // A broker may learn of it a moment after the operator.
    until(LIMIT, "both topics", || Ok((topics("--list")? == "from-kafka\nfrom-kubectl\n").then_some(())))?;
    let described = topics("--describe --topic from-kubectl")?;
    ensure!(described.contains("PartitionCount: 7"), "{described}");

    topics("--delete --topic from-kubectl")?;
    namespace.prints("get okt -o name", "kafkatopic.ottla.io/from-kafka\n")?;
    namespace.kubectl("delete okt/from-kafka --timeout=300s")?;
    until(LIMIT, "no topics", || Ok(topics("--list")?.trim().is_empty().then_some(())))
}

#[test]
fn x_a_thousand_topics_through_kubectl_and_through_kafka() -> Result<()> {
    let Some(bed) = Bed::alone()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "thousand")?;
    namespace.brokers(3)?;

    let before = Writes::so_far(&bed)?;
    let began = Instant::now();
    let all: Vec<String> = (0..TOPICS).map(|number| topic(&format!("kubectl-{number}"), "partitions: 3")).collect();
    namespace.apply(&all.join("---\n"))?;
    let applied = began.elapsed();
    ready(&namespace, TOPICS)?;
    let writes = Writes::so_far(&bed)?.since(&before);
    say(&format!("kubectl: {TOPICS} topics applied in {applied:.1?}, ready in {:.1?}; {writes}", began.elapsed()));

    let before = Writes::so_far(&bed)?;
    let began = Instant::now();
    let admin = namespace.bootstrap("external")?;
    let names: Vec<String> = (0..TOPICS).map(|number| format!("kafka-{number}")).collect();
    create_topics(&admin, &names, 3, &[])?;
    let answered = began.elapsed();
    ready(&namespace, 2 * TOPICS)?;
    let writes = Writes::so_far(&bed)?.since(&before);
    say(&format!(
        "CreateTopics: {TOPICS} topics answered in {answered:.1?}, ready in {:.1?}; {writes}",
        began.elapsed()
    ));

    let before = Writes::so_far(&bed)?;
    let began = Instant::now();
    namespace.kubectl("delete okt --all --wait=false")?;
    let asked = began.elapsed();
    in_a_while(&namespace, "get okt,oka -o name", |left| left.is_empty())?;
    let writes = Writes::so_far(&bed)?.since(&before);
    let topics = 2 * TOPICS;
    say(&format!("delete: {topics} topics asked for in {asked:.1?}, gone in {:.1?}; {writes}", began.elapsed()));
    Ok(())
}

fn ready(namespace: &Namespace<'_>, count: usize) -> Result<()> {
    let path = "{.items[*].status.conditions[?(@.type==\"Ready\")].status}";
    in_a_while(namespace, &format!("get okt -o jsonpath={path}"), |states| {
        states.split(' ').filter(|state| *state == "True").count() == count
    })
}

/// Thousands of objects that are asked for without a pause would be most of what the API server does.
fn in_a_while(namespace: &Namespace<'_>, line: &str, mut right: impl FnMut(&str) -> bool) -> Result<()> {
    namespace.satisfies(line, |printed| {
        let right = right(printed);
        if !right {
            std::thread::sleep(Duration::from_secs(1));
        }
        right
    })
}
