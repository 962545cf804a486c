//! Kafka Streams counts words exactly once while its process is killed and loses its state, and a broker is killed.
//!
//! As a classic group, whose leader assigns tasks and creates topics, and as a streams group (KIP-1071), whose
//! coordinator does. What the application does stands in `java/Streams.java`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use ottla_e2e::java::{jvm, source};
use ottla_e2e::leash::{Folder, Leash};
use ottla_e2e::librdkafka::{Record, Sender};
use ottla_e2e::need::{Need, met};
use ottla_e2e::target::{Maker, ottla_program};
use ottla_e2e::trio::{Setting, Trio};
use rustix::process::Signal;

use super::counts::{Counts, said, turn};

const LINES: &str = "lines";
const COUNTS: &str = "counts";
const PARTITIONS: i32 = 4;
/// Each has three words.
const EACH: usize = 500;
const WORDS: usize = 40;

#[test]
fn streams_counts_each_word_once_whatever_dies() -> Result<()> {
    each_word_is_counted_once(&[], &["session.timeout.ms=6000", "heartbeat.interval.ms=1000"])
}

#[test]
fn a_streams_group_counts_each_word_once_whatever_dies() -> Result<()> {
    // Its members have these settings from their coordinator.
    let settings = [
        ("group.streams.min.session.timeout.ms", "6000"),
        ("group.streams.session.timeout.ms", "6000"),
        ("group.streams.min.heartbeat.interval.ms", "1000"),
        ("group.streams.heartbeat.interval.ms", "1000"),
    ];
    each_word_is_counted_once(&settings, &["group.protocol=streams"])
}

/// With these settings of the brokers, and of the application.
fn each_word_is_counted_once(brokers: &[Setting], settings: &[&str]) -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let _turn = turn();
    let mut trio = Trio::start_with(Maker::under_test(), &ottla_program()?, brokers)?;
    for topic in [LINES, COUNTS] {
        trio.create_topic(topic, PARTITIONS, &[])?;
    }
    let folder = Folder::new()?;
    let log = folder.path().join("log");
    let start = |life: u32| Leash::start(&application(&trio, &folder.path().join(life.to_string()), settings), &log);
    let mut output = Counts::of(&trio.bootstrap(), COUNTS, PARTITIONS)?;
    let sender = Sender::new(&trio.bootstrap(), &[("enable.idempotence", "true")])?;
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    let mut send = |number: usize| -> Result<()> {
        let words =
            [number % WORDS, (number / 7) % WORDS, (number * number) % WORDS].map(|word| format!("word-{word}"));
        words.iter().for_each(|word| *expected.entry(word.clone()).or_default() += 1);
        let record = Record { key: None, value: words.join(" ").into_bytes(), timestamp: 1, headers: Vec::new() };
        sender.send(LINES, Some(i32::try_from(number)? % PARTITIONS), &record)
    };

    let application = start(0)?;
    (0..EACH).try_for_each(&mut send)?;
    output.wait_for(EACH / 2, || said(&log))?;
    // The next one has no state, and restores it from its changelog.
    application.end(Signal::KILL)?;
    let application = start(1)?;
    (EACH..2 * EACH).try_for_each(&mut send)?;
    output.wait_for(2 * EACH, || said(&log))?;
    trio.end_broker(0, Signal::KILL)?;
    (2 * EACH..3 * EACH).try_for_each(&mut send)?;
    trio.start_broker(0)?;
    ensure!(sender.finish()? == 3 * EACH, "every line is acknowledged");
    output.wait_for(3 * 3 * EACH, || said(&log))?;
    application.end(Signal::KILL)?;
    for (word, count) in expected {
        let counted = output.of_key(&word)?;
        ensure!(counted.iter().copied().eq(1..=count), "{word} comes {count} times and was counted as {counted:?}");
    }
    Ok(())
}

fn application(trio: &Trio, state: &Path, settings: &[&str]) -> Command {
    let mut command = jvm("256m");
    command.arg(source("Streams.java")).args([&trio.bootstrap(), LINES, COUNTS]).arg(state);
    command.args(["commit.interval.ms=100", "replication.factor=3"]).args(settings);
    command
}
