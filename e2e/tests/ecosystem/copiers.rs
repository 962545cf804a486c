//! Kafka's own verifiable clients: what VerifiableProducer writes, two TransactionalMessageCopiers copy in
//! transactions, some of which they abort on purpose, while brokers and copiers are killed; VerifiableConsumer is given
//! each record once. One stage, because a copier counts the markers in its input as records that it waits for.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use ottla_e2e::java::jvm;
use ottla_e2e::last_read;
use ottla_e2e::leash::{Folder, Leash};
use ottla_e2e::librdkafka::LIMIT;
use ottla_e2e::need::{Need, met};
use ottla_e2e::target::{Maker, ottla_program};
use ottla_e2e::trio::Trio;
use ottla_e2e::wait::until;
use ottla_history::Partition;
use ottla_history::transactions::{Checker, Isolation};
use rdkafka::message::Message;
use rustix::process::Signal;
use serde_json::Value;

use super::counts::{said, turn};

const INPUT: &str = "written";
const OUTPUT: &str = "copied";
const PARTITIONS: i32 = 2;
/// A copier for each partition.
const COPIERS: usize = 2;
const RECORDS: usize = 6000;
/// How often a copier may be started again.
const LIVES: usize = 5;

#[test]
fn verifiable_clients_and_transactional_copiers_pass_each_record_on_once() -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let _turn = turn();
    let mut trio = Trio::start(Maker::under_test(), &ottla_program()?)?;
    [INPUT, OUTPUT].iter().try_for_each(|topic| trio.create_topic(topic, PARTITIONS, &[]))?;
    let folder = Folder::new()?;
    write(&mut trio, folder.path())?;
    copy(&mut trio, folder.path())?;
    let expected: BTreeSet<usize> = (0..RECORDS).collect();
    let consumed = consume(&trio, folder.path())?;
    ensure!(consumed.len() == RECORDS, "VerifiableConsumer was given {} records", consumed.len());
    ensure!(consumed.into_iter().collect::<BTreeSet<_>>() == expected, "VerifiableConsumer was given records twice");
    // What lies behind the last record that it took, too.
    let mut all = Vec::new();
    let (mut nobody, place) = (Checker::default(), |partition: i32| Partition(partition.unsigned_abs()));
    last_read::read(
        &trio.bootstrap(),
        (OUTPUT, PARTITIONS),
        Isolation::ReadCommitted,
        &mut nobody,
        place,
        |message| {
            all.push(std::str::from_utf8(message.payload().context("records have values")?)?.parse::<usize>()?);
            Ok(())
        },
    )?;
    all.sort_unstable();
    ensure!(all.into_iter().eq(0..RECORDS), "{OUTPUT} does not hold each record once");
    Ok(())
}

/// VerifiableProducer writes every record, while the leader of a partition is killed.
fn write(trio: &mut Trio, folder: &Path) -> Result<()> {
    // Its default is to send nothing again.
    let config = folder.join("producer.properties");
    std::fs::write(&config, "retries=2147483647\nenable.idempotence=true\n")?;
    let mut producer = tool("VerifiableProducer");
    producer.args(["--bootstrap-server", &trio.bootstrap(), "--topic", INPUT, "--throughput", "1000"]);
    producer.args(["--max-messages", &RECORDS.to_string(), "--command-config"]).arg(config);
    let log = folder.join("producer.log");
    let producer = Leash::start(&producer, &log)?;
    let sent = || values(&log, "producer_send_success").map(|sent| sent.len());
    until(LIMIT, "records to be acknowledged", || Ok((sent()? > RECORDS / 4).then_some(())))?;
    bounce(trio, INPUT)?;
    until(LIMIT, "the producer to end", || Ok((!producer.runs()).then_some(()))).with_context(|| said(&log))?;
    let values = values(&log, "producer_send_success")?;
    ensure!(values.len() == RECORDS, "VerifiableProducer had {} records acknowledged", values.len());
    Ok(())
}

/// Copiers copy everything, while the leader of a partition and one of the copiers are killed.
fn copy(trio: &mut Trio, folder: &Path) -> Result<()> {
    let bootstrap = trio.bootstrap();
    let log = |number: usize, life: usize| folder.join(format!("copier-{number}-{life}.log"));
    let start = |number: usize, life: usize| {
        let mut copier = tool("TransactionalMessageCopier");
        copier.args(["--broker-list", &bootstrap, "--input-topic", INPUT, "--input-partition", "0"]);
        copier.args(["--output-topic", OUTPUT, "--consumer-group", "copiers"]);
        copier.args(["--transactional-id", &format!("copier-{number}"), "--transaction-size", "50"]);
        copier.args([
            "--transaction-timeout",
            "20000",
            "--enable-random-aborts",
            "--group-mode",
            "--use-group-metadata",
        ]);
        Leash::start(&copier, &log(number, life))
    };
    let mut copiers = (0..COPIERS).map(|number| Ok((start(number, 0)?, 0))).collect::<Result<Vec<_>>>()?;
    let committed = |line: &Value| line["totalProcessed"].as_u64() > Some(0);
    let first = || Ok(said_of(&log(0, 0), "ProcessLoop")?.iter().any(committed).then_some(()));
    until(LIMIT, "the first transaction", first).with_context(|| said(&log(0, 0)))?;
    copiers[0].0.end(Signal::KILL)?;
    copiers[0] = (start(0, 1)?, 1);
    bounce(trio, OUTPUT)?;
    // One ends by itself when nothing is left of what it has, or after an error; then another takes its place.
    for (number, (copier, life)) in copiers.iter_mut().enumerate() {
        loop {
            let log = log(number, *life);
            until(LIMIT, "a copier to end", || Ok((!copier.runs()).then_some(()))).with_context(|| said(&log))?;
            let last = said_of(&log, "ShutdownComplete")?.pop();
            if last.is_some_and(|last| last["remaining"] == 0) {
                break;
            }
            ensure!(*life < LIVES, "no copier copies everything: {}", said(&log));
            *life += 1;
            *copier = start(number, *life)?;
        }
    }
    Ok(())
}

/// Kills the leader of the topic's first partition, and starts it again.
fn bounce(trio: &mut Trio, topic: &str) -> Result<()> {
    let leader = trio.leader(topic, 0)?.context("partition 0 has a leader")?;
    trio.end_broker(leader, Signal::KILL)?;
    trio.wait_until_without(leader, topic)?;
    trio.start_broker(leader)?;
    trio.wait_until_whole(topic)
}

/// What VerifiableConsumer is given.
fn consume(trio: &Trio, folder: &Path) -> Result<Vec<usize>> {
    let config = folder.join("consumer.properties");
    std::fs::write(&config, "isolation.level=read_committed\n")?;
    let mut consumer = tool("VerifiableConsumer");
    consumer.args(["--bootstrap-server", &trio.bootstrap(), "--topic", OUTPUT, "--group-id", "verifying", "--verbose"]);
    consumer.args(["--max-messages", &RECORDS.to_string(), "--command-config"]).arg(config);
    let log = folder.join("consumer.log");
    let consumer = Leash::start(&consumer, &log)?;
    until(LIMIT, "the consumer to end", || Ok((!consumer.runs()).then_some(()))).with_context(|| said(&log))?;
    values(&log, "record_data")
}

fn tool(class: &str) -> Command {
    let mut command = jvm("256m");
    command.arg(format!("org.apache.kafka.tools.{class}"));
    command
}

/// The values in a tool's lines of this name.
fn values(log: &Path, name: &str) -> Result<Vec<usize>> {
    let value = |line: Value| Ok(line["value"].as_str().context("a line has a value")?.parse()?);
    said_of(log, name)?.into_iter().map(value).collect()
}

/// A tool's lines of this name: each line is an object. The copier calls it a stage.
fn said_of(log: &Path, name: &str) -> Result<Vec<Value>> {
    let text = match std::fs::read_to_string(log) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => bail!("{}: {error}", log.display()),
    };
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(lines.filter(|line| line["name"] == name || line["stage"] == name).collect())
}
