//! Kafka's own tools against a broker with quotas: a producer is slowed down to its quota, and hears of it.
//!
//! `producer_byte_rate` counts over ten whole windows, so a client that begins has these at once: what it sends beyond
//! takes as long as its quota says, on Ottla and on Kafka.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ottla_e2e::need::{Need, met};
use ottla_e2e::target::{Maker, Target};
use ottla_e2e::tools::Tools;

/// Bytes per second.
const QUOTA: usize = 300_000;
const RECORD: usize = 1_000;
/// Three seconds beyond ten windows.
const RECORDS: usize = 13 * QUOTA / RECORD;

/// Gives clients that call themselves `slow` a quota: with Kafka's own tool; to Ottla in its KafkaCluster.
fn give_quota(target: &Target, tools: &mut Tools) -> Result<()> {
    match target.maker() {
        Maker::Kafka => {
            let (bootstrap, quota) = (target.bootstrap(), format!("producer_byte_rate={QUOTA}"));
            let client = ["--entity-type", "clients", "--entity-name", "slow"];
            let alter = ["--bootstrap-server", &bootstrap, "--alter", "--add-config", &quota];
            tools.expect("configs", &[&alter[..], &client].concat(), "")?;
        }
        Maker::Ottla => {
            let patch =
                format!(r#"{{"spec":{{"quotas":{{"clients":[{{"clientId":"slow","producerByteRate":{QUOTA}}}]}}}}}}"#);
            target.patch(&patch)?;
        }
    }
    Ok(())
}

#[test]
fn a_producer_is_slowed_down_to_its_quota_and_hears_of_it() -> Result<()> {
    if !met(&[Need::Java, Need::Program("kubectl")]) {
        return Ok(());
    }
    let target = Target::start()?;
    let (mut tools, bootstrap) = (Tools::start()?, target.bootstrap());
    give_quota(&target, &mut tools)?;
    let mut run = |line: String| {
        let words: Vec<&str> = line.split_whitespace().collect();
        tools.expect(words[0], &words[1..], "")
    };
    run(format!("topics --bootstrap-server {bootstrap} --create --topic slow --partitions 1"))?;
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
