//! MirrorMaker 2, unchanged, from Kafka to the broker under test: records arrive in order, and a group that moves
//! continues where it was.

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
/// What the group has read before it moves.
const READ: usize = 600;

#[test]
fn a_group_moves_from_kafka_with_its_offsets() -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let (from, to) = (Target::start_of(Maker::Kafka)?, Target::start()?);
    let mut tools = Tools::start()?;
    let source = from.bootstrap();
    tools.expect(
        "topics",
        &["--bootstrap-server", &source, "--create", "--topic", "orders", "--partitions", "1"],
        "",
    )?;
    let lines: String = (0..RECORDS).map(|number| format!("order {number}\n")).collect();
    tools.expect("console-producer", &["--bootstrap-server", &source, "--topic", "orders"], &lines)?;
    let read = READ.to_string();
    let group = ["--bootstrap-server", &source, "--topic", "orders", "--group", "readers", "--from-beginning"];
    tools.expect("console-consumer", &[&group[..], &["--max-messages", &read]].concat(), "")?;

    let folder = Folder::new()?;
    let file = folder.path().join("mirror.properties");
    std::fs::write(&file, settings(&source, &to.bootstrap()))?;
    let mut command = jvm("512m");
    command.arg("org.apache.kafka.connect.mirror.MirrorMaker").arg(&file);
    let _mirror = Leash::start(&command, &folder.path().join("log"))?;

    let target = to.bootstrap();
    let offset = until(LIMIT, "the group's offset", || {
        let described =
            tools.run("consumer-groups", &["--bootstrap-server", &target, "--describe", "--group", "readers"], "")?;
        let of_topic = described.out.lines().find(|line| line.contains("source.orders")).map(str::to_owned);
        let offset = of_topic.and_then(|line| line.split_whitespace().nth(3)?.parse::<usize>().ok());
        Ok(offset.filter(|offset| *offset > 0))
    })?;
    ensure!(offset <= READ, "the group would miss records: it is at {offset}, and has read {READ}");
    let all = ["--bootstrap-server", &target, "--topic", "source.orders", "--from-beginning", "--timeout-ms", "10000"];
    let mirrored = until(LIMIT, "every record", || {
        let said = tools.run("console-consumer", &all, "")?.out;
        let orders: Vec<String> = said.lines().filter(|line| line.starts_with("order ")).map(str::to_owned).collect();
        Ok((orders.len() >= RECORDS).then_some(orders))
    })?;
    let expected: Vec<String> = (0..RECORDS).map(|number| format!("order {number}")).collect();
    ensure!(mirrored == expected, "{} records, or another order", mirrored.len());
    let rest = (RECORDS - offset).to_string();
    let goes_on =
        ["--bootstrap-server", &target, "--topic", "source.orders", "--group", "readers", "--max-messages", &rest];
    let said = tools.expect("console-consumer", &goes_on, "")?;
    let first = said.lines().find(|line| line.starts_with("order "));
    ensure!(first == Some(&*format!("order {offset}")), "the group continues with {first:?}");
    Ok(())
}

fn settings(source: &str, target: &str) -> String {
    format!(
        "clusters=source,target\nsource.bootstrap.servers={source}\ntarget.bootstrap.servers={target}\n\
         source->target.enabled=true\nsource->target.topics=orders\nsource->target.groups=readers\n\
         target->source.enabled=false\nreplication.factor=1\ncheckpoints.topic.replication.factor=1\n\
         heartbeats.topic.replication.factor=1\noffset-syncs.topic.replication.factor=1\n\
         offset.storage.replication.factor=1\nstatus.storage.replication.factor=1\nconfig.storage.replication.factor=1\n\
         emit.checkpoints.interval.seconds=1\nsync.group.offsets.enabled=true\nsync.group.offsets.interval.seconds=1\n\
         refresh.topics.interval.seconds=5\nrefresh.groups.interval.seconds=5\noffset.lag.max=0\n"
    )
}
