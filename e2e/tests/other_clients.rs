//! kafka-python and franz-go produce, consume, compress with each codec, commit and rebalance.
//!
//! What each scenario demands stands in `python/client.py` and `go/main.go`.

use anyhow::{Result, ensure};
use ottla_e2e::need::{Need, cache, met};
use ottla_e2e::target::{Target, needs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const CODECS: &str = "none,gzip,snappy,lz4,zstd";

fn run(command: &mut Command, scenarios: &str) -> Result<()> {
    let output = command.arg(scenarios).arg(Target::shared().bootstrap()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{scenarios}: {said}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(said.matches("ok ").count() == scenarios.split(',').count(), "{scenarios}: {said}");
    Ok(())
}

fn python(scenarios: &str) -> Result<()> {
    if !met(&needs()) || !met(&[Need::Python]) {
        return Ok(());
    }
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/client.py");
    run(Command::new(cache().join("python/bin/python")).arg(client), scenarios)
}

fn franz(scenarios: &str) -> Result<()> {
    if !met(&needs()) || !met(&[Need::Go]) {
        return Ok(());
    }
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let build = || ottla_e2e::franz::build(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("franz-go's program builds");
    let program = PROGRAM.get_or_init(build);
    run(&mut Command::new(program), scenarios)
}

#[test]
fn kafka_python_round_trips_every_codec() -> Result<()> {
    python(CODECS)
}

#[test]
fn kafka_python_produces_idempotently() -> Result<()> {
    python("idempotent")
}

#[test]
fn kafka_python_reads_its_offsets_back() -> Result<()> {
    python("offsets")
}

#[test]
fn kafka_python_rebalances_a_group_of_three() -> Result<()> {
    python("group")
}

#[test]
fn franz_go_round_trips_every_codec() -> Result<()> {
    franz(CODECS)
}

#[test]
fn franz_go_produces_idempotently() -> Result<()> {
    franz("idempotent")
}

#[test]
fn franz_go_reads_its_offsets_back() -> Result<()> {
    franz("offsets")
}

#[test]
fn franz_go_rebalances_a_group_of_three() -> Result<()> {
    franz("group")
}

#[test]
fn franz_go_rebalances_a_group_of_the_consumer_protocol() -> Result<()> {
    franz("consumers")
}

#[test]
fn franz_go_takes_and_writes_each_record_once() -> Result<()> {
    franz("transactions")
}
