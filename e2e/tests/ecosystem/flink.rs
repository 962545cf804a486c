//! Apache Flink counts records exactly once while its job fails and a broker is killed.
//!
//! The job stands in `java/Flink.java`: it fails by itself with its transactions open, prepared and committed, and is
//! restored from its checkpoint each time. Flink resumes and commits transactions of earlier attempts by itself, by
//! reflection in the fields of Kafka's producer, and it fences and aborts what they left.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use ottla_e2e::java::flink;
use ottla_e2e::leash::{Folder, Leash};
use ottla_e2e::librdkafka::{Record, Sender};
use ottla_e2e::need::{Need, met};
use ottla_e2e::target::{Maker, ottla_program};
use ottla_e2e::trio::Trio;
use rustix::process::Signal;

use super::counts::{Counts, said, turn};

const RECORDS: &str = "records";
/// Of the sink that gives each transaction a new id, and of the one that takes ids from a pool.
const COUNTS: [&str; 2] = ["counts-incrementing", "counts-pooling"];
const PARTITIONS: i32 = 4;
const EACH: usize = 8000;
const KEYS: usize = 50;
/// The record at which the job fails for the first time.
const FAILS_AT: usize = 2000;
const FAILURES: [&str; 3] = ["WITH_OPEN_TRANSACTIONS", "BEFORE_COMMITS", "AFTER_COMMITS"];

#[test]
fn flink_counts_each_record_once_whatever_fails_or_dies() -> Result<()> {
    if !met(&[Need::Java, Need::Flink]) {
        return Ok(());
    }
    let _turn = turn();
    let mut trio = Trio::start(Maker::under_test(), &ottla_program()?)?;
    for topic in [RECORDS].iter().chain(&COUNTS) {
        // The records are from 1970, and Flink gives each count its record's time.
        trio.create_topic(topic, PARTITIONS, &[("retention.ms", "-1")])?;
    }
    let folder = Folder::new()?;
    let log = folder.path().join("log");
    let mut job = flink("512m", "Flink", folder.path())?;
    job.args([&trio.bootstrap(), RECORDS]).args(COUNTS).arg(FAILS_AT.to_string());
    let job = Leash::start(&job, &log)?;
    let sender = Sender::new(&trio.bootstrap(), &[("enable.idempotence", "true")])?;
    let send = |number: usize| -> Result<()> {
        let value = format!("key-{} {number}", number % KEYS).into_bytes();
        let record = Record { key: None, value, timestamp: 1, headers: Vec::new() };
        sender.send(RECORDS, Some(i32::try_from(number)? % PARTITIONS), &record)
    };
    let outputs = COUNTS.iter().map(|topic| Counts::of(&trio.bootstrap(), topic, PARTITIONS));
    let mut outputs = outputs.collect::<Result<Vec<_>>>()?;
    let mut wait_for = |count| outputs.iter_mut().try_for_each(|output| output.wait_for(count, || said(&log)));

    (0..EACH).try_for_each(send)?;
    wait_for(EACH)?;
    (EACH..2 * EACH).try_for_each(send)?;
    wait_for(EACH + 1)?;
    let dead = trio.leader(COUNTS[0], 0)?.context("partition 0 has a leader")?;
    trio.end_broker(dead, Signal::KILL)?;
    wait_for(EACH * 3 / 2)?;
    trio.start_broker(dead)?;
    (2 * EACH..3 * EACH).try_for_each(send)?;
    ensure!(sender.finish()? == 3 * EACH, "every record is acknowledged");
    wait_for(3 * EACH)?;
    job.end(Signal::KILL)?;

    let text = std::fs::read_to_string(&log)?;
    for failure in FAILURES {
        ensure!(text.contains(&format!("failed: {failure}")), "the job did not fail {failure}");
    }
    for (topic, output) in COUNTS.iter().zip(outputs) {
        let number = |value: &str| value.split(' ').nth(1)?.parse::<usize>().ok();
        let numbers: BTreeSet<_> = output.values().filter_map(number).collect();
        ensure!(numbers.into_iter().eq(0..3 * EACH), "{topic} lacks records");
        for key in 0..KEYS {
            let counted = output.of_key(&format!("key-{key}"))?;
            let count = 3 * EACH / KEYS;
            ensure!(counted.iter().copied().eq(1..=count), "{topic}: key-{key} was counted as {counted:?}");
        }
    }
    Ok(())
}
