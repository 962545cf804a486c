//! Records to three replicas each, with acks=all and min.insync.replicas 2: speed, CPU time, how long an acknowledgement takes.
//!
//! Three brokers of each maker run throughout; what they cost is the CPU time of all three, of Ottla's also of API and operator.

use anyhow::{Context, Result};
use ottla_e2e::target::Maker;
use ottla_e2e::trio::Trio;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::broker::cpu_time;
use crate::table::{Goal, Table};
use crate::{PRODUCE_GOALS, lean, stock};

/// Pairs that count; a warm-up comes before them.
const PAIRS: usize = 3;
/// Each is written three times.
const BYTES: usize = 500_000_000;
const ALL: i16 = -1;
/// Records for the latencies: far from what either can take, so that nothing queues.
const PACE: Duration = Duration::from_millis(5);
const RECORDS: u32 = 2000;

/// Produces as fast as it can, to a bootstrap address and a topic.
type Produce = fn(&str, &str) -> Result<()>;

const SPEEDS: [(&str, Produce); 3] = [
    ("acks=all, three replicas, librdkafka, batch.size 16384", |at, topic| {
        stock::produce(at, topic, ALL, 16_384, BYTES)
    }),
    ("acks=all, three replicas, librdkafka, batch.size 1000000", |at, topic| {
        stock::produce(at, topic, ALL, 1_000_000, BYTES)
    }),
    ("acks=all, three replicas, lean client, 16 KB batches, 5 in flight", |at, topic| {
        lean::produce(at, topic, ALL, 16_384, BYTES)
    }),
];
const LATENCY: &str = "acks=all, three replicas, lean client, a record of 1 KB each 5 ms";

/// Measures, and prints the table.
pub fn run(makers: &[Maker], ottla: &Path) -> Result<()> {
    let trios = makers.iter().map(|maker| Trio::start(*maker, ottla)).collect::<Result<Vec<_>>>()?;
    let mut table = Table::default();
    for pair in 0..=PAIRS {
        for trio in &trios {
            for (number, (name, produce)) in SPEEDS.into_iter().enumerate() {
                let (seconds, cpu) = on_a_topic(trio, &format!("speed-{number}-{pair}"), produce)?;
                let gigabytes = BYTES as f64 / 1e9;
                let [speed, cost] = PRODUCE_GOALS;
                add(&mut table, pair, name, ("MB/s", speed), trio.maker(), gigabytes * 1e3 / seconds);
                add(&mut table, pair, name, ("brokers' CPU-s/GB", cost), trio.maker(), cpu / gigabytes);
            }
            let mut latencies = Vec::new();
            on_a_topic(trio, &format!("latency-{pair}"), |leader, topic| {
                latencies = lean::latencies(leader, topic, PACE, RECORDS)?;
                Ok(())
            })?;
            latencies.sort();
            let at = |share: f64| latencies[(share * (latencies.len() - 1) as f64) as usize].as_secs_f64() * 1e3;
            add(&mut table, pair, LATENCY, ("p50 ms", Goal::None), trio.maker(), at(0.5));
            add(&mut table, pair, LATENCY, ("p99 ms", Goal::AtMost(0.3)), trio.maker(), at(0.99));
        }
    }
    print!("{table}");
    Ok(())
}

fn add(table: &mut Table, pair: usize, name: &'static str, unit: (&'static str, Goal), maker: Maker, value: f64) {
    eprintln!("{name}, pair {pair}, {maker:?}: {value:.3} {}", unit.0);
    if pair > 0 {
        table.add(name, unit.0, unit.1, maker, value);
    }
}

/// Does the work on a new topic of one partition, by its leader's address; the seconds that it took, and those of CPU.
fn on_a_topic(trio: &Trio, topic: &str, mut work: impl FnMut(&str, &str) -> Result<()>) -> Result<(f64, f64)> {
    trio.create_topic(topic, 1, &[])?;
    let leader = trio.address(trio.leader(topic, 0)?.context("it has a leader")?);
    lean::first_acknowledgement(&leader, topic)?;
    let cpu = || trio.pids().iter().map(|pid| cpu_time(&pid.to_string())).sum::<Result<Duration>>();
    let (before, begin) = (cpu()?, Instant::now());
    work(&leader, topic)?;
    let measured = (begin.elapsed().as_secs_f64(), (cpu()? - before).as_secs_f64());
    lean::delete_topic(&leader, topic)?;
    Ok(measured)
}
