//! A share group's members accept each record, whatever dies: a broker, and one of the members.
//!
//! The members are Kafka's `VerifiableShareConsumer`. A record that a member has accepted comes to nobody any more; one
//! whose member or leader died may come again, because nobody knows what has become of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ottla_e2e::java::jvm;
use ottla_e2e::leash::{Folder, Leash};
use ottla_e2e::librdkafka::{LIMIT, Record, Sender};
use ottla_e2e::need::{Need, met};
use ottla_e2e::target::{Maker, ottla_program};
use ottla_e2e::trio::Trio;
use ottla_e2e::wait::until;
use rustix::process::Signal;
use serde_json::Value;

const TOPIC: &str = "jobs";
const GROUP: &str = "workers";
const PARTITIONS: i32 = 3;
const EACH: usize = 2000;

/// Partition and offset.
type Place = (i64, i64);

#[test]
fn a_share_group_accepts_each_record_whatever_dies() -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let mut trio = Trio::start(Maker::under_test(), &ottla_program()?)?;
    trio.create_topic(TOPIC, PARTITIONS, &[])?;
    let folder = Folder::new()?;
    let bootstrap = trio.bootstrap();
    let log = |member: usize| folder.path().join(format!("member-{member}"));
    let start = |member: usize| Leash::start(&member_of(&bootstrap), &log(member));
    let sender = Sender::new(&trio.bootstrap(), &[("enable.idempotence", "true")])?;
    let send = |number: usize| -> Result<()> {
        let record = Record { key: None, value: number.to_string().into_bytes(), timestamp: 1, headers: Vec::new() };
        sender.send(TOPIC, Some(i32::try_from(number)? % PARTITIONS), &record)
    };
    let all = |members: usize| -> Result<Seen> {
        let mut seen = Seen::default();
        (0..members).try_for_each(|member| seen.read(&log(member)))?;
        Ok(seen)
    };

    let mut members = vec![start(0)?, start(1)?, start(2)?];
    (0..EACH).try_for_each(send)?;
    until(LIMIT, "half of the first records", || Ok((all(3)?.accepted.len() >= EACH / 2).then_some(())))?;
    let dead = trio.leader(TOPIC, 0)?.context("partition 0 has a leader")?;
    trio.end_broker(dead, Signal::KILL)?;
    (EACH..2 * EACH).try_for_each(send)?;
    until(LIMIT, "records while a broker is away", || Ok((all(3)?.accepted.len() >= EACH * 3 / 2).then_some(())))?;
    trio.start_broker(dead)?;
    members.remove(0).end(Signal::KILL)?;
    members.push(start(3)?);
    (2 * EACH..3 * EACH).try_for_each(send)?;
    ensure!(sender.finish()? == 3 * EACH, "every record is acknowledged");
    until(LIMIT, "that nothing is left", || {
        let said = described(&trio)?;
        let lags: Vec<&str> = said.lines().filter(|line| line.starts_with(GROUP)).filter_map(last_word).collect();
        Ok((lags.len() == PARTITIONS as usize && lags.iter().all(|lag| *lag == "0")).then_some(()))
    })?;
    let seen = all(4)?;
    let twice: Vec<_> = seen.accepted.iter().filter(|(_, times)| **times > 1).collect();
    ensure!(twice.is_empty(), "accepted more than once: {twice:?}");
    let never = 3 * EACH - seen.delivered.len();
    ensure!(never == 0, "{never} records came to nobody");
    Ok(())
}

/// The group's offsets as Kafka's tool prints them.
fn described(trio: &Trio) -> Result<String> {
    let mut command = jvm("128m");
    command.arg("org.apache.kafka.tools.consumer.group.ShareGroupCommand");
    command.args(["--bootstrap-server", &trio.bootstrap(), "--describe", "--group", GROUP]);
    Ok(String::from_utf8(command.output()?.stdout)?)
}

fn last_word(line: &str) -> Option<&str> {
    line.split_whitespace().last()
}

fn member_of(bootstrap: &str) -> Command {
    let mut command = jvm("128m");
    command.arg("org.apache.kafka.tools.VerifiableShareConsumer");
    command.args(["--bootstrap-server", bootstrap, "--topic", TOPIC, "--group-id", GROUP]);
    command.args(["--acknowledgement-mode", "sync", "--offset-reset-strategy", "earliest"]);
    command
}

/// What members have said.
#[derive(Default)]
struct Seen {
    delivered: BTreeSet<Place>,
    /// How often each was accepted.
    accepted: BTreeMap<Place, usize>,
}

impl Seen {
    fn read(&mut self, log: &Path) -> Result<()> {
        let text = std::fs::read_to_string(log)?;
        for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            match event["name"].as_str() {
                Some("records_consumed") => self.delivered.extend(places(&event)),
                Some("offsets_acknowledged") if event["success"] == true => {
                    places(&event).for_each(|place| *self.accepted.entry(place).or_default() += 1);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn places(event: &Value) -> impl Iterator<Item = Place> {
    let partitions = event["partitions"].as_array().into_iter().flatten();
    partitions.flat_map(|partition| {
        let number = partition["partition"].as_i64().unwrap_or(-1);
        partition["offsets"].as_array().into_iter().flatten().filter_map(move |offset| Some((number, offset.as_i64()?)))
    })
}
