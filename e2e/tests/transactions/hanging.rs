//! A hanging transaction: a partition has its records, and its coordinator knows nothing of it, so nobody ends it.
//! `kafka-transactions.sh` finds it and aborts it, and consumers of committed records continue.
//!
//! Brokers that verify transactions make none, so the test writes one into the log of a broker that does not run, as a
//! broker of an older version would have left it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use ottla_batch::{BatchBuilder, Batches, Codec, NewRecord};
use ottla_e2e::need::{Need, met};
use ottla_e2e::raw::Connection;
use ottla_e2e::target::Target;
use ottla_e2e::tools::Tools;
use ottla_e2e::wait::until;
use ottla_wire::ErrorCode;
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};

const LIMIT: Duration = Duration::from_secs(120);
const TOPIC: &str = "payments";
const PRODUCER: i64 = 4711;
/// Longer than a transaction may last by default (15 minutes), after which `find-hanging` looks at it.
const AGE: Duration = Duration::from_secs(7200);

#[test]
fn a_hanging_transaction_is_found_and_aborted() -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let mut tools = Tools::start()?;
    let mut target = Target::start()?;
    let bootstrap = target.bootstrap();
    tools.expect("topics", &["--bootstrap-server", &bootstrap, "--create", "--topic", TOPIC], "")?;
    produce(&mut tools, &bootstrap, "before")?;
    target.kill()?;
    append_open_transaction(&segment(&target))?;
    target.restart()?;
    until(LIMIT, "the partition's leader", || Ok((last_stable(&bootstrap)? == Some(1)).then_some(())))?;
    produce(&mut tools, &bootstrap, "after")?;
    ensure!(last_stable(&bootstrap)? == Some(1), "the transaction is open");

    let found = find_hanging(&mut tools, &bootstrap)?;
    let [row] = found.as_slice() else { anyhow::bail!("one transaction hangs: {found:?}") };
    let expected = [TOPIC, "0", "4711", "0", "-1", "1"];
    ensure!(row[..6] == expected && row[7] == "120", "topic, partition, producer, epochs, offset, minutes: {row:?}");
    let abort =
        ["--bootstrap-server", &bootstrap, "abort", "--topic", TOPIC, "--partition", "0", "--start-offset", "1"];
    tools.expect("transactions", &abort, "")?;

    until(LIMIT, "the marker to be committed", || Ok((last_stable(&bootstrap)? == Some(4)).then_some(())))?;
    ensure!(find_hanging(&mut tools, &bootstrap)?.is_empty(), "nothing hangs any more");
    let describe = ["--bootstrap-server", &bootstrap, "describe-producers", "--topic", TOPIC, "--partition", "0"];
    let producers = tools.expect("transactions", &describe, "")?;
    let of_it: Vec<&str> = producers.lines().filter(|line| line.starts_with("4711")).collect();
    ensure!(of_it.len() == 1 && of_it[0].trim_end().ends_with("None"), "it has no open transaction: {producers}");
    let consume = ["--bootstrap-server", &bootstrap, "--topic", TOPIC, "--from-beginning", "--max-messages", "2"];
    let committed = [&consume[..], &["--isolation-level", "read_committed", "--timeout-ms", "60000"]].concat();
    ensure!(tools.expect("console-consumer", &committed, "")? == "before\nafter\n", "committed records");
    // Aborted already: there is no transaction at that offset.
    let again = tools.run("transactions", &abort, "")?;
    ensure!(again.code != 0 && again.err.contains("Could not find any open transactions"), "{again:?}");
    Ok(())
}

fn produce(tools: &mut Tools, bootstrap: &str, value: &str) -> Result<()> {
    let produced = ["--bootstrap-server", bootstrap, "--topic", TOPIC];
    tools.expect("console-producer", &produced, &format!("{value}\n")).map(drop)
}

fn segment(target: &Target) -> PathBuf {
    target.log_dir().join(format!("{TOPIC}-0/{:020}.log", 0))
}

/// Appends the first batch of a transaction, as the partition's last leader would have.
fn append_open_transaction(segment: &PathBuf) -> Result<()> {
    let bytes = std::fs::read(segment)?;
    let last = Batches::new(bytes.into()).last().context("the log has a batch")??;
    let written = SystemTime::now().checked_sub(AGE).context("the clock is right")?;
    let timestamp = i64::try_from(written.duration_since(UNIX_EPOCH)?.as_millis())?;
    let mut batch = BatchBuilder::new(Codec::None).producer(PRODUCER, 0, 0).transactional();
    batch.push(NewRecord { timestamp, value: Some(b"of nobody"), ..NewRecord::default() });
    let header = last.header();
    let stamped = batch.build().stamp(header.last_offset() + 1, header.partition_leader_epoch, None);
    let mut log = OpenOptions::new().append(true).open(segment)?;
    stamped.slices().iter().try_for_each(|part| log.write_all(part))?;
    Ok(log.sync_all()?)
}

/// The rows below the heading, each as words.
fn find_hanging(tools: &mut Tools, bootstrap: &str) -> Result<Vec<Vec<String>>> {
    let shown =
        tools.expect("transactions", &["--bootstrap-server", bootstrap, "find-hanging", "--broker-id", "0"], "")?;
    let rows = shown.lines().skip(1).map(|row| row.split_whitespace().map(str::to_owned).collect());
    Ok(rows.collect())
}

/// Where readers of committed records stop; `None` while nobody leads.
fn last_stable(bootstrap: &str) -> Result<Option<i64>> {
    let latest = ListOffsetsPartition { partition_index: 0, timestamp: -1, ..Default::default() };
    let topics = vec![ListOffsetsTopic { name: TOPIC.into(), partitions: vec![latest] }];
    let request = ListOffsetsRequest { replica_id: -1, isolation_level: 1, topics, ..Default::default() };
    let answer = Connection::open(bootstrap)?.ask(7, &request)?.context("the broker answers")?;
    let partition = &answer.topics[0].partitions[0];
    Ok((partition.error_code == ErrorCode::NONE).then_some(partition.offset))
}
