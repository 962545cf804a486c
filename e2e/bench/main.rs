//! A small benchmark: Ottla beside Apache Kafka 4.3.1 in one run, on one machine, with the same clients.
//!
//! Both run throughout; the runs of a pair (ours, then Kafka's) follow each other, so that what the machine does
//! besides touches both. The first pair is a warm-up and dropped. A row shows medians, the ratio is the median of the
//! pairs' ratios, with the smallest and the largest.
//!
//! `failover`, `cluster-failover`, `partitions` and `replicated` are other measurements, of three brokers: see [`failover`],
//! `on_cluster`, [`partitions`] and [`replicated`].
//!
//! - [`broker`]: a broker's process: start, stop, CPU time, memory
//! - [`client`]: who sees a fail-over
//! - [`lean`]: our own client over a blocking socket; also who waits for the first acknowledgement
//! - [`stock`]: the same with librdkafka, which applications use
//! - [`table`]: from samples to the table

mod broker;
mod client;
mod failover;
mod lean;
#[cfg(feature = "cluster")]
mod on_cluster;
mod partitions;
mod replicated;
mod stock;
mod table;

use anyhow::{Result, bail};
use ottla_e2e::target::Maker;
use std::time::{Duration, Instant};

use crate::broker::{Broker, cpu_time, ottla_program};
use crate::client::Library;
use crate::table::{Goal, Table};

/// Pairs that count.
const PAIRS: usize = 5;
/// Fail-overs of each kind, where no number is given.
const FAILOVERS: usize = 20;
/// Partitions, likewise.
const PARTITIONS: usize = 10_000;
/// How long after its first record a broker is called idle.
const IDLE: Duration = Duration::from_secs(10);
/// The bytes of a record's value.
const VALUE_LEN: usize = 1024;
/// Bytes of values in a run with small batches, and in one with large batches: a few seconds of work for either broker.
const SMALL_RUN: usize = 1_000_000_000;
const LARGE_RUN: usize = 2_000_000_000;

/// What a client does in one run.
#[derive(Clone, Copy)]
enum Work {
    StockProduce { batch_len: usize },
    LeanProduce { batch_len: usize },
    StockConsume,
}

struct Workload {
    name: &'static str,
    work: Work,
    bytes: usize,
    /// The goals for MB/s and for the broker's CPU time per GB.
    goals: [Goal; 2],
}

const PRODUCE_GOALS: [Goal; 2] = [Goal::AtLeast(2.0), Goal::AtMost(0.3)];

const WORKLOADS: [Workload; 5] = [
    Workload {
        name: "produce, librdkafka, batch.size 16384",
        work: Work::StockProduce { batch_len: 16_384 },
        bytes: SMALL_RUN,
        goals: PRODUCE_GOALS,
    },
    Workload {
        name: "produce, librdkafka, batch.size 1000000",
        work: Work::StockProduce { batch_len: 1_000_000 },
        bytes: LARGE_RUN,
        goals: PRODUCE_GOALS,
    },
    Workload {
        name: "produce, lean client, 16 KB batches, 5 in flight",
        work: Work::LeanProduce { batch_len: 16_384 },
        bytes: SMALL_RUN,
        goals: PRODUCE_GOALS,
    },
    Workload {
        name: "produce, lean client, 1 MB batches, 5 in flight",
        work: Work::LeanProduce { batch_len: 1_000_000 },
        bytes: LARGE_RUN,
        goals: PRODUCE_GOALS,
    },
    Workload {
        name: "consume from page cache, librdkafka",
        work: Work::StockConsume,
        bytes: LARGE_RUN,
        goals: [Goal::AtLeast(1.0), Goal::AtMost(1.0)],
    },
];

fn main() -> Result<()> {
    let mut makers = vec![Maker::Ottla, Maker::Kafka];
    let (mut only, mut count, mut library) = (None, None, Library::Librdkafka);
    for argument in std::env::args().skip(1) {
        match (argument.as_str(), argument.parse()) {
            ("ottla", _) => makers.retain(|maker| *maker == Maker::Ottla),
            ("kafka", _) => makers.retain(|maker| *maker == Maker::Kafka),
            ("java", _) => library = Library::Java,
            (_, Ok(number)) => count = Some(number),
            (_, Err(_)) => only = Some(argument),
        }
    }
    match only.as_deref() {
        Some("failover") => return failover::run(&makers, library, count.unwrap_or(FAILOVERS), &ottla_program()?),
        #[cfg(feature = "cluster")]
        Some("cluster-failover") => return on_cluster::run(count.unwrap_or(FAILOVERS)),
        Some("partitions") => return partitions::run(count.unwrap_or(PARTITIONS), &ottla_program()?),
        _ => {}
    }
    if cfg!(debug_assertions) {
        bail!("build with --release: the client would be measured, not the brokers");
    }
    if only.as_deref() == Some("replicated") {
        return replicated::run(&makers, &ottla_program()?);
    }
    let wanted = |name: &str| only.as_ref().is_none_or(|part| name.contains(part.as_str()));

    let mut table = Table::default();
    if wanted("start") {
        start_and_idle(&makers, &mut table)?;
    }
    let mut brokers = Vec::new();
    for maker in makers {
        let mut broker = Broker::prepare(maker)?;
        broker.start()?;
        lean::first_acknowledgement(&broker.address(), "first")?;
        brokers.push(broker);
    }
    for workload in WORKLOADS.iter().filter(|workload| wanted(workload.name)) {
        load(&brokers, workload, &mut table)?;
    }
    for broker in &brokers {
        table.add("resident memory after the load", "MB", Goal::None, broker.maker(), broker.resident_mb()?);
    }
    print!("{table}");
    Ok(())
}

/// From nothing to a record acknowledged, memory when idle, and the same again on what the first start left.
fn start_and_idle(makers: &[Maker], table: &mut Table) -> Result<()> {
    for pair in 0..=PAIRS {
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
            std::thread::sleep(IDLE.saturating_sub(first.elapsed()));
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

/// Interleaved runs of one workload.
fn load(brokers: &[Broker], workload: &Workload, table: &mut Table) -> Result<()> {
    let consumes = matches!(workload.work, Work::StockConsume);
    if consumes {
        for broker in brokers {
            lean::create_topic(&broker.address(), "backlog")?;
            lean::produce(&broker.address(), "backlog", 1, 1_000_000, workload.bytes)?;
        }
    }
    for pair in 0..=PAIRS {
        for broker in brokers {
            let address = broker.address();
            let topic = format!("run-{pair}");
            if !consumes {
                lean::create_topic(&address, &topic)?;
            }
            let (broker_cpu, client_cpu) = (broker.cpu_time()?, cpu_time("self")?);
            let begin = Instant::now();
            match workload.work {
                Work::StockProduce { batch_len } => stock::produce(&address, &topic, 1, batch_len, workload.bytes)?,
                Work::LeanProduce { batch_len } => lean::produce(&address, &topic, 1, batch_len, workload.bytes)?,
                Work::StockConsume => stock::consume(&address, "backlog", workload.bytes)?,
            }
            let seconds = begin.elapsed().as_secs_f64();
            let broker_cpu = (broker.cpu_time()? - broker_cpu).as_secs_f64();
            let client_cpu = (cpu_time("self")? - client_cpu).as_secs_f64();
            if !consumes {
                lean::delete_topic(&address, &topic)?;
            }
            let gigabytes = workload.bytes as f64 / 1e9;
            let [speed, cost] = workload.goals;
            let measured = [
                ("MB/s", speed, gigabytes * 1e3 / seconds),
                ("broker CPU-s/GB", cost, broker_cpu / gigabytes),
                ("client CPU-s/GB", Goal::None, client_cpu / gigabytes),
            ];
            for (unit, goal, value) in measured {
                eprintln!("{} pair {pair}, {:?}: {value:.3} {unit}", workload.name, broker.maker());
                if pair > 0 {
                    table.add(workload.name, unit, goal, broker.maker(), value);
                }
            }
        }
    }
    Ok(())
}
