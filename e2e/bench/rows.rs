//! The rows of the table: three replicas first, then one broker, then the ceiling of the machine.

use anyhow::Result;
use ottla_e2e::target::Maker;
use std::path::Path;
use std::time::Duration;

use crate::broker::Broker;
use crate::replicated::Replicated;
use crate::runs::{Brokers, Plan, Work, Workload, measure, touch, warm_up};
use crate::table::{Goal, Table};
use crate::{franz, lean, null, stock, transactional};

const ALL: i16 = -1;
const FASTER: [Goal; 2] = [Goal::AtLeast(2.0), Goal::AtMost(0.3)];
const QUICKER: [Goal; 2] = [Goal::AtMost(0.5), Goal::AtMost(0.2)];
/// Beside Kafka with TLS.
const SECURELY: [Goal; 2] = [Goal::AtLeast(2.0), Goal::AtMost(0.4)];
/// Producers of small transactions.
const SMALL_PRODUCERS: usize = 10;
/// Every record is on three disks before it is acknowledged.
const FLUSHED: &[(&str, &str)] = &[("flush.messages", "1")];

const fn speed(name: &'static str, work: fn(&str, &str, Duration) -> Result<crate::runs::Done>) -> Workload {
    Workload { name, partitions: 1, settings: &[], work: Work::Speed(work), goals: FASTER }
}

const fn latency(name: &'static str, acks: i16, rate: u32) -> Workload {
    Workload { name, partitions: 1, settings: &[], work: Work::Latency { acks, rate }, goals: QUICKER }
}

/// The row before it says what it costs to read committed records only.
const COMMITTED: Workload = Workload {
    name: "consume committed transactions, read_committed, librdkafka",
    partitions: transactional::PARTITIONS,
    settings: &[],
    work: Work::ConsumeCommitted(|at, topic, run| transactional::consume(at, topic, "read_committed", run)),
    goals: [Goal::AtLeast(1.0), Goal::AtMost(1.0)],
};

/// acks=all, min.insync.replicas 2: in the page caches of two brokers at least, and of all three that are in sync.
const REPLICATED: [Workload; 11] = [
    speed("acks=all, three replicas, franz-go", |at, topic, run| franz::produce(at, topic, ALL, run)),
    speed("acks=all, three replicas, librdkafka, batch.size 16384", |at, topic, run| {
        stock::produce(at, topic, ALL, 16_384, run)
    }),
    speed("acks=all, three replicas, librdkafka, batch.size 1000000", |at, topic, run| {
        stock::produce(at, topic, ALL, 1_000_000, run)
    }),
    speed("acks=all, three replicas, lean client, 16 KB batches, 5 in flight", |at, topic, run| {
        lean::produce(at, topic, ALL, 16_384, run)
    }),
    Workload {
        name: "acks=all, three replicas, flush.messages=1, 64 partitions, a record of 1 KB each",
        partitions: lean::MANY,
        settings: FLUSHED,
        work: Work::Requests(|at, topic, run| lean::requests(at, topic, ALL, run)),
        goals: [Goal::AtLeast(5.0), Goal::None],
    },
    Workload {
        partitions: transactional::PARTITIONS,
        ..speed(
            "transactions of 100 ms, three replicas, records of 1 KB to 10 partitions, librdkafka",
            transactional::produce,
        )
    },
    Workload {
        name: "transactions of one record, three replicas, ten producers, franz-go",
        partitions: transactional::PARTITIONS,
        settings: &[],
        work: Work::Requests(|at, topic, run| franz::small(at, topic, transactional::PARTITIONS, SMALL_PRODUCERS, run)),
        goals: FASTER,
    },
    Workload {
        name: "consume committed transactions, read_uncommitted, librdkafka",
        work: Work::ConsumeCommitted(|at, topic, run| transactional::consume(at, topic, "read_uncommitted", run)),
        ..COMMITTED
    },
    COMMITTED,
    latency("acks=all, three replicas, open loop, 1,000 records of 1 KB per second", ALL, 1_000),
    latency("acks=all, three replicas, open loop, 10,000 records of 1 KB per second", ALL, 10_000),
];

/// acks=1: in the page cache of one broker, not on disk.
const SINGLE: [Workload; 9] = [
    speed("acks=1, franz-go", |at, topic, run| franz::produce(at, topic, 1, run)),
    speed("acks=1, librdkafka, batch.size 16384", |at, topic, run| stock::produce(at, topic, 1, 16_384, run)),
    speed("acks=1, librdkafka, batch.size 1000000", |at, topic, run| stock::produce(at, topic, 1, 1_000_000, run)),
    speed(LEAN_SMALL, |at, topic, run| lean::produce(at, topic, 1, 16_384, run)),
    speed(LEAN_LARGE, |at, topic, run| lean::produce(at, topic, 1, 1_000_000, run)),
    Workload {
        name: "acks=1, flush.messages=1, 64 partitions, a record of 1 KB each",
        partitions: lean::MANY,
        settings: FLUSHED,
        work: Work::Requests(|at, topic, run| lean::requests(at, topic, 1, run)),
        goals: [Goal::AtLeast(5.0), Goal::None],
    },
    latency("acks=1, open loop, 1,000 records of 1 KB per second", 1, 1_000),
    latency("acks=1, open loop, 50,000 records of 1 KB per second", 1, 50_000),
    Workload {
        name: "consume from page cache, librdkafka",
        partitions: 1,
        settings: &[],
        work: Work::Consume(stock::consume),
        goals: [Goal::AtLeast(1.0), Goal::AtMost(1.0)],
    },
];
const LEAN_SMALL: &str = "acks=1, lean client, 16 KB batches, 5 in flight";
const LEAN_LARGE: &str = "acks=1, lean client, 1 MB batches, 5 in flight";
/// The rows that have a ceiling, with the size of their batches, and whether under TLS.
pub const CEILING: [(&str, usize, bool); 2] = [(LEAN_SMALL, 16_384, false), (LEAN_LARGE, 1_000_000, false)];

const SECURE_SMALL: &str = "acks=1, TLS, lean client, 16 KB batches, 5 in flight";
const SECURE_LARGE: &str = "acks=1, TLS, lean client, 1 MB batches, 5 in flight";
/// The same under TLS.
pub const SECURE_CEILING: [(&str, usize, bool); 2] = [(SECURE_SMALL, 16_384, true), (SECURE_LARGE, 1_000_000, true)];

/// The same under TLS 1.3, where Kafka's brokers do without sendfile too.
const SECURED: [Workload; 3] = [
    Workload { goals: SECURELY, ..speed(SECURE_SMALL, |at, topic, run| lean::produce(at, topic, 1, 16_384, run)) },
    Workload { goals: SECURELY, ..speed(SECURE_LARGE, |at, topic, run| lean::produce(at, topic, 1, 1_000_000, run)) },
    Workload {
        name: "consume from page cache, TLS, lean client",
        partitions: 1,
        settings: &[],
        work: Work::Consume(|at, topic, run| lean::consume(at, topic, 1_000_000, run)),
        goals: SECURELY,
    },
];

/// The rows under TLS whose name contains `only`.
pub fn secured(makers: &[Maker], only: Option<&str>, plan: &Plan, table: &mut Table) -> Result<()> {
    let rows = wanted(&SECURED, only);
    if rows.is_empty() {
        return Ok(());
    }
    let start = |maker: &Maker| Ok(Box::new(Broker::start_secure(*maker)?) as Box<dyn Brokers>);
    let sides = makers.iter().map(start).collect::<Result<Vec<_>>>()?;
    run(&sides, &rows, "one broker under TLS, resident memory after the load", plan, table)
}

/// The three-replica rows whose name contains `only`.
pub fn replicated(makers: &[Maker], ottla: &Path, only: Option<&str>, plan: &Plan, table: &mut Table) -> Result<()> {
    let rows = wanted(&REPLICATED, only);
    if rows.is_empty() {
        return Ok(());
    }
    let start = |maker: &Maker| Ok(Box::new(Replicated::start(*maker, ottla)?) as Box<dyn Brokers>);
    let sides = makers.iter().map(start).collect::<Result<Vec<_>>>()?;
    run(&sides, &rows, "three brokers, resident memory after the load", plan, table)
}

/// The rows of one broker whose name contains `only`.
pub fn single(makers: &[Maker], only: Option<&str>, plan: &Plan, table: &mut Table) -> Result<()> {
    let rows = wanted(&SINGLE, only);
    if rows.is_empty() {
        return Ok(());
    }
    let start = |maker: &Maker| {
        let mut broker = Broker::prepare(*maker)?;
        broker.start()?;
        lean::first_acknowledgement(&broker.address(), "first")?;
        Ok(Box::new(broker) as Box<dyn Brokers>)
    };
    let sides = makers.iter().map(start).collect::<Result<Vec<_>>>()?;
    run(&sides, &rows, "one broker, resident memory after the load", plan, table)
}

/// The ceiling: a broker that does nothing but read frames, check their batches and write them to a file, with the same
/// client.
pub fn ceiling(rows: &[(&'static str, usize, bool)], only: Option<&str>, plan: &Plan, table: &mut Table) -> Result<()> {
    for (name, batch_len, secure) in rows.iter().copied() {
        if only.is_some_and(|only| !name.contains(only) && only != "ceiling") {
            continue;
        }
        for pair in 0..plan.pairs {
            let broker = null::Null::start(secure)?;
            touch(plan.touched);
            let (begin, before) = (std::time::Instant::now(), broker.cpu_time()?);
            let bytes = lean::produce(&broker.address(), "null", 1, batch_len, plan.run)?.bytes as f64;
            let speed = bytes / 1e6 / begin.elapsed().as_secs_f64();
            let spent = (broker.cpu_time()? - before).as_secs_f64() / (bytes / 1e9);
            eprintln!("{name}, pair {pair}, null broker: {speed:.1} MB/s, {spent:.3} CPU-s/GB");
            table.add_ceiling(name, "MB/s", speed);
            table.add_ceiling(name, "brokers' CPU-s/GB", spent);
        }
    }
    Ok(())
}

fn wanted<'a>(rows: &'a [Workload], only: Option<&str>) -> Vec<&'a Workload> {
    rows.iter().filter(|row| only.is_none_or(|part| row.name.contains(part))).collect()
}

fn run(
    sides: &[Box<dyn Brokers>],
    rows: &[&Workload],
    memory: &'static str,
    plan: &Plan,
    table: &mut Table,
) -> Result<()> {
    for side in sides {
        warm_up(&**side, plan)?;
    }
    for (number, row) in rows.iter().enumerate() {
        measure(sides, number, row, plan, table)?;
    }
    for side in sides {
        table.add(memory, "MB", Goal::AtMost(0.3), side.maker(), side.resident_mb()?);
    }
    Ok(())
}
