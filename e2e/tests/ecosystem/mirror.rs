//! MirrorMaker 2, unchanged, from Kafka to the broker under test and back: records arrive in order, and a group that
//! moves continues where it was.

use anyhow::{Result, ensure};
use ottla_e2e::java::jvm;
use ottla_e2e::leash::{Folder, Leash};
use ottla_e2e::need::{Need, met};
use ottla_e2e::target::{Maker, Target};
use ottla_e2e::tools::Tools;
use ottla_e2e::wait::until;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(240);
const RECORDS: usize = 1000;
/// What a group has read before it moves.
const READ: usize = 600;

/// A topic and its group on the way from one cluster to the other.
struct Move<'a> {
    from: &'a str,
    to: &'a str,
    topic: &'a str,
    group: &'a str,
    /// The topic at its destination.
    mirrored: &'a str,
}

#[test]
fn groups_move_from_kafka_and_back_with_their_offsets() -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let (kafka, tested) = (Target::start_of(Maker::Kafka)?, Target::start()?);
    let mut tools = Tools::start()?;
    let [kafka, tested] = [&kafka, &tested].map(Target::bootstrap);
    let moves = [
        Move { from: &kafka, to: &tested, topic: "orders", group: "readers", mirrored: "kafka.orders" },
        Move { from: &tested, to: &kafka, topic: "payments", group: "payers", mirrored: "tested.payments" },
    ];
    moves.iter().try_for_each(|one| one.prepare(&mut tools))?;
    let folder = Folder::new()?;
    let file = folder.path().join("mirror.properties");
    std::fs::write(&file, settings(&kafka, &tested))?;
    let mut command = jvm("512m");
    command.arg("org.apache.kafka.connect.mirror.MirrorMaker").arg(&file);
    let _mirror = Leash::start(&command, &folder.path().join("log"))?;
    moves.iter().try_for_each(|one| one.judge(&mut tools))
}

impl Move<'_> {
    fn prepare(&self, tools: &mut Tools) -> Result<()> {
        let there = ["--bootstrap-server", self.from, "--topic", self.topic];
        tools.expect("topics", &[&there[..], &["--create", "--partitions", "1"]].concat(), "")?;
        let lines: String = (0..RECORDS).map(|number| self.line(number)).map(|line| line + "\n").collect();
        tools.expect("console-producer", &there, &lines)?;
        let read = READ.to_string();
        let group = ["--group", self.group, "--from-beginning", "--max-messages", &read];
        tools.expect("console-consumer", &[&there[..], &group].concat(), "")?;
        Ok(())
    }

    fn judge(&self, tools: &mut Tools) -> Result<()> {
        let mirrored = self.mirrored;
        let offset = until(LIMIT, "the group's offset", || {
            let arguments = ["--bootstrap-server", self.to, "--describe", "--group", self.group];
            let described = tools.run("consumer-groups", &arguments, "")?;
            let of_topic = described.out.lines().find(|line| line.contains(mirrored)).map(str::to_owned);
            let offset = of_topic.and_then(|line| line.split_whitespace().nth(3)?.parse::<usize>().ok());
            Ok(offset.filter(|offset| *offset > 0))
        })?;
        ensure!(offset <= READ, "{mirrored}: the group is at {offset} and misses records: it has read {READ}");
        until(LIMIT, "every record", || {
            let arguments = ["--bootstrap-server", self.to, "--topic", mirrored];
            let end = tools.expect("get-offsets", &arguments, "")?;
            let end: usize = end.trim().rsplit(':').next().unwrap_or_default().parse()?;
            Ok((end >= RECORDS).then_some(()))
        })?;
        let all = ["--from-beginning", "--max-messages", &RECORDS.to_string()].map(str::to_owned);
        let expected: Vec<String> = (0..RECORDS).map(|number| self.line(number)).collect();
        let found = self.consume(tools, &all)?;
        ensure!(found == expected, "{mirrored}: {} records, or another order", found.len());
        let rest = ["--group", self.group, "--max-messages", &(RECORDS - offset).to_string()].map(str::to_owned);
        let found = self.consume(tools, &rest)?;
        ensure!(found == expected[offset..], "{mirrored}: the group continues with {:?}", found.first());
        Ok(())
    }

    /// The records that a consumer gets at the destination.
    fn consume(&self, tools: &mut Tools, options: &[String]) -> Result<Vec<String>> {
        let there = ["--bootstrap-server", self.to, "--topic", self.mirrored].map(str::to_owned);
        let said = tools.expect("console-consumer", &[&there[..], options].concat(), "")?;
        Ok(said.lines().filter(|line| line.starts_with(self.topic)).map(str::to_owned).collect())
    }

    fn line(&self, number: usize) -> String {
        format!("{} {number}", self.topic)
    }
}

fn settings(kafka: &str, tested: &str) -> String {
    format!(
        "clusters=kafka,tested\nkafka.bootstrap.servers={kafka}\ntested.bootstrap.servers={tested}\n\
         kafka->tested.enabled=true\nkafka->tested.topics=orders\nkafka->tested.groups=readers\n\
         tested->kafka.enabled=true\ntested->kafka.topics=payments\ntested->kafka.groups=payers\n\
         replication.factor=1\ncheckpoints.topic.replication.factor=1\n\
         heartbeats.topic.replication.factor=1\noffset-syncs.topic.replication.factor=1\n\
         offset.storage.replication.factor=1\nstatus.storage.replication.factor=1\nconfig.storage.replication.factor=1\n\
         emit.checkpoints.interval.seconds=1\nsync.group.offsets.enabled=true\nsync.group.offsets.interval.seconds=1\n\
         refresh.topics.interval.seconds=5\nrefresh.groups.interval.seconds=5\noffset.lag.max=0\n"
    )
}
