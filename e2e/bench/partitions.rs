//! Many partitions on three brokers: what they cost the API server, and how long it takes to make them, to lose a
//! broker, to start again.
//!
//! Topics of a hundred partitions, three replicas each, no load. Times end when any broker's metadata shows it; they
//! are looked at every 100 ms.

use anyhow::{Context, Result, ensure};
use ottla_e2e::raw::Connection;
use ottla_e2e::target::Maker;
use ottla_e2e::trio::{BROKERS, Trio};
use ottla_e2e::wait::until;
use ottla_wire::m03_metadata::MetadataResponsePartition;
use ottla_wire::m19_create_topics::CreatableTopic;
use ottla_wire::{CreateTopicsRequest, ErrorCode};
use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::{laptop, leading};

pub const PARTITIONS_PER_TOPIC: usize = 100;
/// A request may create 10,000 topics and partitions.
const TOPICS_PER_REQUEST: usize = 90;
pub const LIMIT: Duration = Duration::from_secs(900);
/// Every look at ten thousand partitions is half a megabyte.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Measures Ottla with so many partitions, and prints the table.
pub fn run(partitions: usize, ottla: &Path) -> Result<()> {
    let mut trio = Trio::start(Maker::Ottla, ottla)?;
    println!("| {partitions} partitions in topics of {PARTITIONS_PER_TOPIC}, three replicas each | |\n|---|--:|");

    let begin = Instant::now();
    create(&trio.address(0), partitions / PARTITIONS_PER_TOPIC)?;
    row("CreateTopics, ninety topics a request, answered after", seconds(begin));
    wait_for(&trio, partitions, "every replica in sync", is_whole)?;
    row("every replica in sync after", seconds(begin));
    until(LIMIT, "every replica's folder", || {
        std::thread::sleep(LOOK_EVERY);
        let folders = (0..BROKERS).map(|id| folders(&trio.data(id))).sum::<Result<usize>>()?;
        Ok((folders == partitions * usize::from(BROKERS)).then_some(()))
    })?;
    row("every replica's folder on its disk after", seconds(begin));
    for kind in ["kafkatopics", "kafkaassignments"] {
        let objects = trio.objects(kind)?;
        let bytes: usize = objects.iter().map(|object| object.to_string().len()).sum();
        row(&format!("{kind}: objects, bytes of JSON"), format!("{}, {bytes}", objects.len()));
    }
    row("resident memory of the brokers, and of API and operator, MB", resident(&trio)?);

    let written = generations(&trio)?;
    let victim = 0;
    let begin = Instant::now();
    trio.end_broker(victim, Signal::KILL)?;
    wait_for(&trio, partitions, "others to lead", |one| one.leader_id > i32::from(victim))?;
    row("kill −9 of one broker: others lead everything after", seconds(begin));
    row("writes of KafkaAssignments for that", (generations(&trio)? - written).to_string());
    let begin = Instant::now();
    trio.start_broker(victim)?;
    wait_for(&trio, partitions, "every replica in sync", is_whole)?;
    row("started again: every replica in sync after", seconds(begin));

    for id in 0..BROKERS {
        trio.end_broker(id, Signal::TERM)?;
    }
    start_again(&mut trio, partitions, "stopped one after the other, and all started")?;

    trio.kill_control()?;
    for id in 0..BROKERS {
        trio.end_broker(id, Signal::KILL)?;
    }
    start_again(&mut trio, partitions, "all killed and started")?;
    drop(trio);
    laptop::run(partitions, ottla)
}

/// Creates so many topics.
pub fn create(address: &str, topics: usize) -> Result<()> {
    let topic = |number: usize| CreatableTopic {
        name: format!("many-{number}").into(),
        num_partitions: PARTITIONS_PER_TOPIC as i32,
        replication_factor: BROKERS as i16,
        ..Default::default()
    };
    let mut connection = Connection::open(address)?;
    connection.wait_at_most(LIMIT)?;
    let topics: Vec<_> = (0..topics).map(topic).collect();
    for topics in topics.chunks(TOPICS_PER_REQUEST) {
        let request = CreateTopicsRequest { topics: topics.to_vec(), timeout_ms: 900_000, ..Default::default() };
        let answer = connection.ask(7, &request)?.context("closed")?;
        let refused = answer.topics.iter().find(|topic| topic.error_code != ErrorCode::NONE);
        ensure!(refused.is_none(), "{refused:?}");
    }
    Ok(())
}

/// What a broker has of the topics in this data directory.
pub fn folders(data: &Path) -> Result<usize> {
    let entries = std::fs::read_dir(data)?.flatten();
    Ok(entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("many-")).count())
}

/// Whether every replica is in sync.
pub fn is_whole(partition: &MetadataResponsePartition) -> bool {
    partition.leader_id >= 0 && partition.isr_nodes.len() == usize::from(BROKERS)
}

fn wait_for(
    trio: &Trio,
    partitions: usize,
    what: &str,
    right: impl Fn(&MetadataResponsePartition) -> bool,
) -> Result<()> {
    until(LIMIT, what, || {
        std::thread::sleep(LOOK_EVERY);
        let shown = trio.all_partitions().unwrap_or_default();
        Ok((shown.len() == partitions && shown.iter().all(&right)).then_some(()))
    })
}

/// Starts what does not run, and prints what it took; `how` says what happened before.
fn start_again(trio: &mut Trio, partitions: usize, how: &str) -> Result<()> {
    let begin = Instant::now();
    trio.heal()?;
    until(LIMIT, "leaders", || {
        std::thread::sleep(LOOK_EVERY);
        let all_lead = leading::all_lead(|broker| trio.address(broker), partitions);
        Ok(all_lead.unwrap_or(false).then_some(()))
    })?;
    row(&format!("{how}: every partition leads after"), seconds(begin));
    wait_for(trio, partitions, "every replica in sync", is_whole)?;
    row(&format!("{how}: every replica in sync after"), seconds(begin));
    Ok(())
}

/// How often the assignments have been written so far.
fn generations(trio: &Trio) -> Result<i64> {
    let objects = trio.objects("kafkaassignments")?;
    Ok(objects.iter().filter_map(|object| object["metadata"]["generation"].as_i64()).sum())
}

fn resident(trio: &Trio) -> Result<String> {
    let mut all = Vec::new();
    for pid in trio.pids() {
        all.push(format!("{:.0}", crate::broker::resident_mb(pid)?));
    }
    Ok(all.join(", "))
}

/// How long it took.
pub fn seconds(begin: Instant) -> String {
    format!("{:.1} s", begin.elapsed().as_secs_f64())
}

/// Prints a row of the table.
pub fn row(what: &str, value: String) {
    println!("| {what} | {value} |");
}
