//! A broker that is added to a laptop gets its part of the replicas; a KafkaRebalance makes uneven brokers even.

use anyhow::{Result, ensure};
use ottla_e2e::wait::until;

use crate::bed::{LIMIT, Laptop, can_run};
use crate::client::{create, produce, read, wait_for_leaders};
use crate::{ensure_numbered, rows};

const PARTITIONS: usize = 12;
const RECORDS: i64 = 20;

fn produce_to_all(laptop: &Laptop, leaders: &[i32]) -> Result<()> {
    for (partition, &leader) in (0..).zip(leaders) {
        let mut connection = laptop.connect(u16::try_from(leader)?)?;
        for number in 0..RECORDS {
            produce(&mut connection, "orders", partition, format!("record {number}").as_bytes())?;
        }
    }
    Ok(())
}

fn read_all(laptop: &Laptop, leaders: &[i32]) -> Result<()> {
    for (partition, &leader) in (0..).zip(leaders) {
        ensure_numbered(&read(&mut laptop.connect(u16::try_from(leader)?)?, "orders", partition)?, RECORDS)?;
    }
    Ok(())
}

/// How many of the partitions, with one replica each, these brokers hold; none while any moves.
fn held(laptop: &Laptop, brokers: &[i32]) -> Result<Option<Vec<usize>>> {
    let path = "jsonpath={range .items[*].spec.partitions[*]}{.replicas}{.adding}{\"\\n\"}{end}";
    let mut command = laptop.kubectl_command("get oka -o");
    command.arg(path);
    let printed = String::from_utf8(command.output()?.stdout)?;
    let lines: Vec<&str> = printed.lines().collect();
    let on = |broker: &i32| lines.iter().filter(|line| **line == format!("[{broker}]")).count();
    let held: Vec<usize> = brokers.iter().map(on).collect();
    Ok((held.iter().sum::<usize>() == PARTITIONS).then_some(held))
}

/// A laptop whose two brokers got a topic with records, and a third broker after a restart. `rebalance`: that part of
/// the spec, as JSON without blanks.
fn grown(rebalance: &str) -> Result<Laptop> {
    let mut laptop = Laptop::new(&["--brokers", "2"])?;
    laptop.start()?;
    create(&mut laptop.connect(0)?, "orders", i32::try_from(PARTITIONS)?)?;
    produce_to_all(&laptop, &wait_for_leaders(&mut laptop.connect(0)?, "orders", PARTITIONS)?)?;
    laptop.kubectl(&format!(r#"patch okc laptop --type=merge -p {{"spec":{{"rebalance":{rebalance}}}}}"#))?;
    laptop.terminate()?;
    let command = laptop.command(&["--brokers", "3"])?;
    laptop.start_with(&command)?;
    Ok(laptop)
}

#[test]
fn a_broker_that_is_added_gets_its_part_and_keeps_every_record() -> Result<()> {
    if !can_run(&["kubectl"]) {
        return Ok(());
    }
    let laptop = grown(r#"{"addAfterSeconds":1}"#)?;

    let even =
        until(
            LIMIT,
            "the third broker to get its part",
            || Ok(held(&laptop, &[0, 1, 2])?.filter(|held| held[2] >= 3)),
        )?;
    ensure!(even.iter().all(|held| (3..=5).contains(held)), "{even:?}");
    until(LIMIT, "that to be said", || {
        let shown = laptop.kubectl("get okc laptop -o jsonpath={.status.moves}{.status.brokers[*].unfilled}")?;
        Ok(shown.is_empty().then_some(()))
    })?;
    read_all(&laptop, &wait_for_leaders(&mut laptop.connect(0)?, "orders", PARTITIONS)?)
}

#[test]
fn a_rebalance_moves_nothing_before_it_is_approved() -> Result<()> {
    if !can_run(&["kubectl"]) {
        return Ok(());
    }
    let laptop = grown(r#"{"auto":[]}"#)?;
    // A proposal is for the brokers that are there.
    until(LIMIT, "the third broker", || {
        let states = laptop.kubectl("get okc laptop -o jsonpath={.status.brokers[*].state}")?;
        Ok((states == "Online Online Online").then_some(()))
    })?;
    let file = laptop.folder().join("even.yaml");
    let object = "apiVersion: ottla.io/v1alpha1\nkind: KafkaRebalance\nmetadata: {name: even}\n\
                  spec: {clusterRef: {name: laptop}}\n";
    std::fs::write(&file, object)?;
    let versions = || laptop.kubectl("get oka -o jsonpath={.items[*].metadata.resourceVersion}");
    let before = versions()?;
    laptop.kubectl(&format!("apply -f {}", file.display()))?;
    // A broker whose disk is not known yet is waited for first: the hash comes with the proposal.
    let hash = until(LIMIT, "a proposal", || {
        let hash = laptop.kubectl("get okr even -o jsonpath={.status.hash}")?;
        Ok((!hash.is_empty()).then_some(hash))
    })?;
    let table = laptop.kubectl("get okr")?;
    ensure!(rows(&table)[0].starts_with(&["NAME", "STATE", "MOVES", "BYTES", "ETA"]), "{table}");
    ensure!(rows(&table)[1].starts_with(&["even", "Proposed"]), "{table}");
    ensure!(versions()? == before, "a dry run wrote to an assignment");

    let patch = format!("{{\"spec\":{{\"approved\":\"{hash}\"}}}}");
    laptop.kubectl(&format!("patch okr even --type=merge -p {patch}"))?;
    laptop.kubectl("wait okr/even --for=condition=Ready --timeout=120s")?;
    let even = until(LIMIT, "even brokers", || held(&laptop, &[0, 1, 2]))?;
    ensure!(even.iter().all(|held| (3..=5).contains(held)), "{even:?}");
    read_all(&laptop, &wait_for_leaders(&mut laptop.connect(0)?, "orders", PARTITIONS)?)
}
