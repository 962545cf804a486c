//! Kafka's own tools against a broker with quotas: a producer is slowed down to its quota, and hears of it.
//!
//! `producer_byte_rate` counts over ten whole windows, so a client that begins has these at once: what it sends beyond
//! takes as long as its quota says, on Ottla and on Kafka.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ottla_e2e::need::{Need, met};
use ottla_e2e::raw::Connection;
use ottla_e2e::target::Target;
use ottla_e2e::tools::Tools;
use ottla_wire::ApiVersionsRequest;

/// AlterClientQuotas.
const ALTER_QUOTAS: i16 = 49;
/// Bytes per second.
const QUOTA: usize = 300_000;
const RECORD: usize = 1_000;
/// Three seconds beyond ten windows.
const RECORDS: usize = 13 * QUOTA / RECORD;

/// Whether quotas can be given over the wire; says so if not, as [`met`] does.
fn can_be_given(target: &Target) -> Result<bool> {
    let request = ApiVersionsRequest { client_software_name: "e2e".into(), client_software_version: "0".into() };
    let answer = Connection::open(target.bootstrap())?.ask(3, &request)?.context("no answer to ApiVersions")?;
    let can = answer.api_keys.iter().any(|api| api.api_key == ALTER_QUOTAS);
    if !can {
        let _ = writeln!(std::io::stderr(), "SKIPPED the clients of quotas: AlterClientQuotas is not served");
    }
    Ok(can)
}

#[test]
fn a_producer_is_slowed_down_to_its_quota_and_hears_of_it() -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let target = Target::start()?;
    if !can_be_given(&target)? {
        return Ok(());
    }
    let (mut tools, bootstrap) = (Tools::start()?, target.bootstrap());
    let quota = format!("producer_byte_rate={QUOTA}");
    let mut run = |line: String| {
        let words: Vec<&str> = line.split_whitespace().collect();
        tools.expect(words[0], &words[1..], "")
    };
    run(format!("topics --bootstrap-server {bootstrap} --create --topic slow --partitions 1"))?;
    run(format!(
        "configs --bootstrap-server {bootstrap} --alter --add-config {quota} --entity-type clients --entity-name slow"
    ))?;
    let produce = |client_id: &str| {
        format!(
            "producer-perf-test --topic slow --num-records {RECORDS} --record-size {RECORD} --throughput -1 \
             --print-metrics --producer-props bootstrap.servers={bootstrap} client.id={client_id} acks=all"
        )
    };
    let started = Instant::now();
    let said = run(produce("slow"))?;
    let took = started.elapsed();
    // Less what rounds, and the last request, after which nobody waits.
    ensure!(took >= Duration::from_millis(2_500), "{RECORDS} records in {took:?}\n{said}");
    let longest = throttle_time(&said)?;
    ensure!(longest > 0.0, "{said}");

    let said = run(produce("fast"))?;
    let longest = throttle_time(&said)?;
    ensure!(longest == 0.0, "another client id has no quota: {longest}");
    Ok(())
}

/// The longest throttle time that the producer has heard, in milliseconds.
fn throttle_time(said: &str) -> Result<f64> {
    let line = said.lines().find(|line| line.contains("produce-throttle-time-max")).context("no throttle time")?;
    Ok(line.rsplit(':').next().context("no number")?.trim().parse()?)
}
