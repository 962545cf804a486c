//! A small benchmark: Ottla beside Apache Kafka 4.3.1 in one run, on one machine, with the same clients.
//!
//! A row shows medians, the ratio is the median of the pairs' ratios, with the smallest and the largest. Three replicas
//! come first.
//!
//! `failover`, `coordinator`, `cluster-failover` and `partitions` are other measurements, of three brokers: see
//! [`failover`], [`coordinator`], `on_cluster` and [`partitions`]. So are `authorized`, `reconnects`, `groups` and
//! `shares`, of one: see [`authorized`], [`reconnects`], [`groups`] and [`shares`].
//! `scale` counts what many brokers cost an API server: see [`scale`].
//!
//! - [`rows`]: what is measured
//! - [`runs`]: how, so that it is fair to both
//! - [`replicated`]: three brokers
//! - [`broker`]: a broker's process: start, stop, CPU time, memory
//! - [`client`]: who sees a fail-over
//! - [`laptop`]: a laptop with many partitions that starts again
//! - [`leading`]: whether partitions lead
//! - [`lean`]: our own client over a blocking socket; also who waits for the first acknowledgement
//! - [`stock`], [`franz`]: the same with librdkafka and franz-go, which applications use
//! - [`transactional`]: transactions with librdkafka
//! - [`scale`]: many brokers and partitions on a real API server
//! - [`secured`]: the lean client under TLS
//! - [`authorized`]: what authorization costs
//! - [`reconnects`]: thousands of clients that connect at once, under TLS and by SCRAM
//! - [`groups`], [`shares`]: many groups, large groups, and share consumers
//! - [`members`]: their members, over the wire
//! - [`null`]: a broker that does nothing: the ceiling of this machine
//! - [`table`]: from samples to the table

mod authorized;
mod broker;
mod client;
mod coordinator;
mod failover;
mod franz;
mod groups;
mod laptop;
mod leading;
mod lean;
mod members;
mod null;
#[cfg(feature = "cluster")]
mod on_cluster;
mod partitions;
mod reconnects;
mod replicated;
mod rows;
mod runs;
mod scale;
mod secured;
mod shares;
mod stock;
mod table;
mod transactional;

use anyhow::{Context, Result, bail, ensure};
use ottla_e2e::target::Maker;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::broker::{Broker, ottla_program};
use crate::client::Library;
use crate::runs::{Brokers, Plan};
use crate::table::{Goal, Table};

/// Fail-overs of each kind, where no number is given.
const FAILOVERS: usize = 20;
/// Partitions, likewise.
const PARTITIONS: usize = 10_000;
/// Clients that connect at once, likewise.
const CLIENTS: usize = 10_000;
/// Groups, likewise.
const GROUPS: usize = 1000;
/// Share consumers, likewise.
const SHARE_CONSUMERS: usize = 1000;
/// How long after its first record a broker is called idle.
const IDLE: Duration = Duration::from_secs(10);
/// The bytes of a record's value.
const VALUE_LEN: usize = 1024;
/// Where the table stands in the README.
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/README.md");
const BEGIN: &str = "<!-- table:begin -->\n";
const END: &str = "<!-- table:end -->";

fn main() -> Result<()> {
    let mut makers = vec![Maker::Ottla, Maker::Kafka];
    let (mut only, mut numbers, mut library) = (None, Vec::new(), Library::Librdkafka);
    let (mut plan, mut write) = (Plan::FULL, false);
    for argument in std::env::args().skip(1) {
        match (argument.as_str(), argument.parse()) {
            ("ottla", _) => makers.retain(|maker| *maker == Maker::Ottla),
            ("kafka", _) => makers.retain(|maker| *maker == Maker::Kafka),
            ("java", _) => library = Library::Java,
            ("franz-go", _) => library = Library::FranzGo,
            ("quick", _) => plan = Plan::QUICK,
            ("write", _) => write = true,
            (null::ARGUMENT, _) => return null::serve(false),
            (null::SECURE_ARGUMENT, _) => return null::serve(true),
            (_, Ok(number)) => numbers.push(number),
            (_, Err(_)) => only = Some(argument),
        }
    }
    let count = numbers.first().copied();
    match only.as_deref() {
        Some("scale") => return scale::run(&numbers, &ottla_program()?),
        Some("failover") => return failover::run(&makers, library, count.unwrap_or(FAILOVERS), &ottla_program()?),
        Some("coordinator") => {
            return coordinator::run(&makers, library, count.unwrap_or(FAILOVERS), &ottla_program()?);
        }
        #[cfg(feature = "cluster")]
        Some("cluster-failover") => return on_cluster::run(library, count.unwrap_or(FAILOVERS)),
        Some("partitions") => return partitions::run(count.unwrap_or(PARTITIONS), &ottla_program()?),
        // The first number is that of clients or groups.
        Some("reconnects" | "groups" | "shares") => plan.pairs = numbers.get(1).copied().unwrap_or(plan.pairs),
        _ => plan.pairs = count.unwrap_or(plan.pairs),
    }
    if cfg!(debug_assertions) && plan.run == Plan::FULL.run {
        bail!("build with --profile dist: the client would be measured, not the brokers");
    }
    let table = match only.as_deref() {
        Some("authorized") => authorized::run(&plan)?,
        Some("reconnects") => reconnects::run(&makers, count.unwrap_or(CLIENTS), &plan)?,
        Some("groups") => groups::run(&makers, count.unwrap_or(GROUPS), &plan)?,
        Some("shares") => shares::run(&makers, count.unwrap_or(SHARE_CONSUMERS), &plan)?,
        only => {
            let mut table = Table::default();
            measure(&makers, only, &plan, &mut table)?;
            table
        }
    };
    print!("{table}");
    if write {
        ensure!(plan.run == Plan::FULL.run && only.is_none() && makers.len() == 2, "only a whole table is written");
        write_table(&table, plan.pairs)?;
    }
    Ok(())
}

/// Three replicas first: that is what is run in production.
fn measure(makers: &[Maker], only: Option<&str>, plan: &Plan, table: &mut Table) -> Result<()> {
    // The two groups of rows have names of their own.
    let part = only.filter(|only| !["replicated", "secured", "single"].contains(only));
    if part.is_some() || only.is_none_or(|only| only == "secured") {
        rows::secured(makers, part, plan, table)?;
        rows::ceiling(&rows::SECURE_CEILING, part, plan, table)?;
    }
    if only == Some("secured") {
        return Ok(());
    }
    if only != Some("single") {
        rows::replicated(makers, &ottla_program()?, part, plan, table)?;
    }
    if only != Some("replicated") {
        if part.is_none_or(|part| part.contains("start")) {
            start_and_idle(makers, plan, table)?;
        }
        rows::single(makers, part, plan, table)?;
        rows::ceiling(&rows::CEILING, part, plan, table)?;
    }
    Ok(())
}

/// Puts the table between its marks in the README.
fn write_table(table: &Table, pairs: usize) -> Result<()> {
    let text = std::fs::read_to_string(README)?;
    let (before, rest) = text.split_once(BEGIN).context("the README has a mark where the table begins")?;
    let (_, after) = rest.split_once(END).context("the README has a mark where the table ends")?;
    let day = Command::new("date").arg("+%F").output()?;
    let day = String::from_utf8_lossy(&day.stdout).trim().to_owned();
    std::fs::write(
        README,
        format!("{before}{BEGIN}On {day}, {pairs} pairs of runs, nothing else running; {table}{END}{after}"),
    )?;
    Ok(())
}

/// From nothing to a record acknowledged, memory when idle, and the same again on what the first start left.
fn start_and_idle(makers: &[Maker], plan: &Plan, table: &mut Table) -> Result<()> {
    let idle = IDLE.min(plan.run);
    for pair in 0..=plan.pairs {
        runs::touch(plan.touched);
        let mut brokers = Vec::new();
        let mut record = |name, unit, maker, value| {
            if pair > 0 {
                table.add(name, unit, Goal::AtMost(0.1), maker, value);
            }
        };
        for maker in makers {
            let mut broker = Broker::prepare(*maker)?;
            let begin = broker.start()?;
            lean::first_acknowledgement(&broker.address(), "first")?;
            record("start to first acknowledged record, empty folder", "ms", *maker, millis(begin));
            brokers.push((broker, Instant::now()));
        }
        for (broker, first) in &brokers {
            std::thread::sleep(idle.saturating_sub(first.elapsed()));
            record("resident memory, idle, 10 s after the first record", "MB", broker.maker(), broker.resident_mb()?);
            broker.stop()?;
        }
        for (broker, _) in &mut brokers {
            let begin = broker.start()?;
            lean::first_acknowledgement(&broker.address(), "first")?;
            record("start to first acknowledged record, after a stop", "ms", broker.maker(), millis(begin));
        }
    }
    Ok(())
}

fn millis(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e3
}
