//! Kafka Streams counts words exactly once while its process is killed and loses its state, and a broker is killed.
//!
//! As a classic group, whose leader assigns tasks and creates topics, and as a streams group (KIP-1071), whose
//! coordinator does. What the application does stands in `java/Streams.java`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_e2e::java::{jvm, source};
use ottla_e2e::leash::{Folder, Leash};
use ottla_e2e::librdkafka::{LIMIT, Record, Sender, config};
use ottla_e2e::need::{Need, met};
use ottla_e2e::target::{Maker, ottla_program};
use ottla_e2e::trio::{Setting, Trio};
use ottla_e2e::wait::until;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rustix::process::Signal;

const LINES: &str = "lines";
const COUNTS: &str = "counts";
const PARTITIONS: i32 = 4;
/// Each has three words.
const EACH: usize = 500;
const WORDS: usize = 40;

/// What has come out: the counts of each word, in their order.
struct Output {
    consumer: BaseConsumer,
    counts: BTreeMap<String, Vec<usize>>,
    seen: usize,
}

/// One after the other: each has three brokers.
static TURN: Mutex<()> = Mutex::new(());

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
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut trio = Trio::start_with(Maker::under_test(), &ottla_program()?, brokers)?;
    for topic in [LINES, COUNTS] {
        trio.create_topic(topic, PARTITIONS, &[])?;
    }
    let folder = Folder::new()?;
    let start = |life: u32| {
        Leash::start(&application(&trio, &folder.path().join(life.to_string()), settings), &folder.path().join("log"))
    };
    let mut output = Output::of(&trio.bootstrap())?;
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
    output.wait_for(EACH / 2, || said(&folder))?;
    // The next one has no state, and restores it from its changelog.
    application.end(Signal::KILL)?;
    let application = start(1)?;
    (EACH..2 * EACH).try_for_each(&mut send)?;
    output.wait_for(2 * EACH, || said(&folder))?;
    trio.end_broker(0, Signal::KILL)?;
    (2 * EACH..3 * EACH).try_for_each(&mut send)?;
    trio.start_broker(0)?;
    ensure!(sender.finish()? == 3 * EACH, "every line is acknowledged");
    output.wait_for(3 * 3 * EACH, || said(&folder))?;
    application.end(Signal::KILL)?;
    for (word, count) in expected {
        let counted = output.counts.get(&word).with_context(|| word.clone())?;
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

/// The end of what the application has said, for an error.
fn said(folder: &Folder) -> String {
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    log.lines().rev().take(30).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
}

impl Output {
    fn of(bootstrap: &str) -> Result<Output> {
        let settings = [("group.id", "nobody"), ("enable.auto.commit", "false"), ("isolation.level", "read_committed")];
        let consumer: BaseConsumer = config(bootstrap, &settings).create()?;
        let mut partitions = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition_offset(COUNTS, partition, Offset::Beginning)?;
        }
        consumer.assign(&partitions)?;
        Ok(Output { consumer, counts: BTreeMap::new(), seen: 0 })
    }

    /// Reads until so many counts have come out in all.
    fn wait_for(&mut self, count: usize, said: impl Fn() -> String) -> Result<()> {
        let came = until(LIMIT, &format!("{count} counts"), || {
            while let Some(polled) = self.consumer.poll(Duration::from_millis(50)) {
                let Ok(message) = polled else { continue };
                let text = |bytes: Option<&[u8]>| Some(std::str::from_utf8(bytes?).ok()?.to_owned());
                let word = text(message.key()).context("a count has its word")?;
                let count = text(message.payload()).context("a count is a number")?.parse()?;
                self.counts.entry(word).or_default().push(count);
                self.seen += 1;
            }
            Ok((self.seen >= count).then_some(()))
        });
        came.with_context(|| format!("{} counts came; the application said:\n{}", self.seen, said()))
    }
}
