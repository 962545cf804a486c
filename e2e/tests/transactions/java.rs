//! Kafka's own clients, with the protocol that the cluster offers: the second one (KIP-890).
//!
//! What each scenario demands stands in `java/Transactions.java`.

use anyhow::{Result, bail, ensure};
use ottla_e2e::java::{jvm, source};
use ottla_e2e::need::{Need, met};
use ottla_e2e::target::Target;

const SCENARIOS: [&str; 5] = ["session", "transform", "fenced", "group", "consumers"];

/// Runs all scenarios; the protocol that the producers have used.
fn run(target: &Target) -> Result<String> {
    let mut program = jvm("256m");
    program.arg(source("Transactions.java")).arg(target.bootstrap()).args(SCENARIOS);
    let output = program.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for scenario in SCENARIOS {
        ensure!(said.lines().any(|line| line == format!("ok {scenario}")), "no {scenario}: {said}");
    }
    match said.lines().find_map(|line| line.strip_prefix("protocol ")) {
        Some(protocol) => Ok(protocol.to_owned()),
        None => bail!("it names no protocol: {said}"),
    }
}

#[test]
fn java_speaks_the_second_protocol() -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let target = Target::start()?;
    let protocol = run(&target)?;
    ensure!(protocol == "V2", "the producers speak {protocol}");
    Ok(())
}
