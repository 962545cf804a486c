//! Runs of one workload against both makers, fair to both.
//!
//! Both are warmed up first, for a JVM needs gigabytes of load before its figures stop improving. Before each run
//! memory is touched and given back, for a virtual machine backs a page on its first use, and the first user pays for
//! that. A run lasts ten seconds at least. What it wrote is deleted after it, and the next run waits until its files
//! are gone. The runs of a pair, ours and then Kafka's, follow each other, so that what the machine does besides
//! touches both.

use anyhow::Result;
use ottla_e2e::target::Maker;
use std::time::{Duration, Instant};

use crate::broker::cpu_time;
use crate::lean;
use crate::table::{Goal, Table};
use crate::transactional;

/// How much is done for a figure.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Pairs of runs.
    pub pairs: usize,
    /// How long each run lasts.
    pub run: Duration,
    /// How long each maker is loaded before the first run.
    pub warm_up: Duration,
    /// Bytes of memory that are touched before each run.
    pub touched: usize,
}

impl Plan {
    /// For figures.
    pub const FULL: Plan =
        Plan { pairs: 5, run: Duration::from_secs(10), warm_up: Duration::from_secs(60), touched: 6_000_000_000 };
    /// To see that every row works.
    pub const QUICK: Plan =
        Plan { pairs: 1, run: Duration::from_secs(1), warm_up: Duration::from_secs(1), touched: 64_000_000 };
}

/// One broker or three of one maker, which run throughout.
pub trait Brokers {
    /// Who made them.
    fn maker(&self) -> Maker;
    /// Makes a topic, replicated as these brokers can, and gives its first partition's leader's address.
    fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<String>;
    /// Deletes a topic and waits until its files are gone.
    fn remove(&self, topic: &str) -> Result<()>;
    /// CPU time of all their processes so far.
    fn cpu_time(&self) -> Result<Duration>;
    /// Resident memory of all their processes in 10⁶ bytes.
    fn resident_mb(&self) -> Result<f64>;
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Bytes of values that were acknowledged or consumed.
    pub bytes: usize,
    /// Requests that were answered.
    pub requests: usize,
    /// CPU time of a client in a process of its own.
    pub client_cpu: Duration,
}

/// One row of the table, or two or three.
#[derive(Clone, Copy)]
pub struct Workload {
    /// The row's name: it says the durability.
    pub name: &'static str,
    /// Partitions of its topic.
    pub partitions: i32,
    /// Settings of its topic.
    pub settings: &'static [(&'static str, &'static str)],
    /// What the client does.
    pub work: Work,
    /// The goals of its figures, in their order.
    pub goals: [Goal; 2],
}

/// What a client does with an address and a topic.
#[derive(Clone, Copy)]
pub enum Work {
    /// As fast as it can, for this long: MB/s and CPU time.
    Speed(fn(&str, &str, Duration) -> Result<Done>),
    /// As fast as it can, for this long: requests/s and CPU time.
    Requests(fn(&str, &str, Duration) -> Result<Done>),
    /// At a fixed rate, whether the former record is acknowledged or not: how long acknowledgements take.
    Latency {
        /// How many replicas must have a record.
        acks: i16,
        /// Records per second.
        rate: u32,
    },
    /// From the beginning again and again, for this long: MB/s and CPU time.
    Consume(fn(&str, &str, Duration) -> Result<Done>),
    /// The same: requests/s and CPU time.
    Fetches(fn(&str, &str, Duration) -> Result<Done>),
    /// The same of records that were committed in transactions.
    ConsumeCommitted(fn(&str, &str, Duration) -> Result<Done>),
}

/// Loads the brokers until they are warm, and says how much that was.
pub fn warm_up(brokers: &dyn Brokers, plan: &Plan) -> Result<()> {
    let (begin, mut bytes, mut round) = (Instant::now(), 0, 0);
    while begin.elapsed() < plan.warm_up {
        let topic = format!("warm-up-{round}");
        let address = brokers.create(&topic, 1, &[])?;
        for batch_len in [16_384, 1_000_000] {
            bytes += lean::produce(&address, &topic, -1, batch_len, plan.warm_up / 12)?.bytes;
        }
        brokers.remove(&topic)?;
        round += 1;
    }
    let (seconds, gigabytes) = (begin.elapsed().as_secs_f64(), bytes as f64 / 1e9);
    eprintln!("{:?} warmed up for {seconds:.0} s with {gigabytes:.1} GB", brokers.maker());
    Ok(())
}

/// Measures a workload and adds its figures to the table. `row` is in its topics' names.
pub fn measure(
    sides: &[Box<dyn Brokers>],
    row: usize,
    workload: &Workload,
    plan: &Plan,
    table: &mut Table,
) -> Result<()> {
    for pair in 0..plan.pairs {
        for brokers in sides {
            for (unit, goal, value) in run(&**brokers, &format!("run-{row}-{pair}"), workload, plan)? {
                let shown = value.map_or("saturated".to_owned(), |value| format!("{value:.3} {unit}"));
                eprintln!("{}, pair {pair}, {:?}: {shown}", workload.name, brokers.maker());
                match value {
                    Some(value) => table.add(workload.name, unit, goal, brokers.maker(), value),
                    None => table.add_saturated(workload.name, unit, goal, brokers.maker()),
                }
            }
        }
    }
    Ok(())
}

/// Runs a workload once, with a topic of its own.
pub fn run(brokers: &dyn Brokers, topic: &str, workload: &Workload, plan: &Plan) -> Result<Vec<Figure>> {
    let address = brokers.create(topic, workload.partitions, workload.settings)?;
    match workload.work {
        Work::Consume(_) | Work::Fetches(_) => _ = lean::produce(&address, topic, 1, 1_000_000, plan.run / 4)?,
        Work::ConsumeCommitted(_) => _ = transactional::produce(&address, topic, plan.run / 2)?,
        Work::Speed(_) | Work::Requests(_) | Work::Latency { .. } => {}
    }
    touch(plan.touched);
    let figures = one(brokers, &address, topic, workload, plan)?;
    brokers.remove(topic)?;
    Ok(figures)
}

/// What is measured, its goal, and how much it is; `None` if the brokers do not keep the rate.
pub type Figure = (&'static str, Goal, Option<f64>);

fn one(brokers: &dyn Brokers, address: &str, topic: &str, workload: &Workload, plan: &Plan) -> Result<Vec<Figure>> {
    let [first, second] = workload.goals;
    let work = match workload.work {
        Work::Latency { acks, rate } => {
            let records = u32::try_from(plan.run.as_millis() * u128::from(rate) / 1000)?;
            let pace = Duration::from_secs(1) / rate;
            let mut took = lean::latencies(address, topic, acks, pace, records)?;
            let saturated = is_saturated(&took, pace, plan.run);
            took.sort();
            let at = |share: f64| {
                let latency = took[(share * (took.len() - 1) as f64) as usize];
                (!saturated).then_some(latency.as_secs_f64() * 1e3)
            };
            return Ok(vec![
                ("p50 ms", first, at(0.5)),
                ("p99 ms", Goal::None, at(0.99)),
                ("p99.9 ms", second, at(0.999)),
            ]);
        }
        Work::Speed(work)
        | Work::Requests(work)
        | Work::Consume(work)
        | Work::Fetches(work)
        | Work::ConsumeCommitted(work) => work,
    };
    let (brokers_before, client_before, begin) = (brokers.cpu_time()?, cpu_time("self")?, Instant::now());
    let done = work(address, topic, plan.run)?;
    let seconds = begin.elapsed().as_secs_f64();
    let spent = (brokers.cpu_time()? - brokers_before).as_secs_f64();
    let client = (cpu_time("self")? - client_before + done.client_cpu).as_secs_f64();
    Ok(match workload.work {
        Work::Requests(_) | Work::Fetches(_) => {
            let thousands = done.requests as f64 / 1e3;
            vec![
                ("requests/s", first, Some(done.requests as f64 / seconds)),
                ("brokers' CPU-ms per 1,000 requests", second, Some(spent * 1e3 / thousands)),
            ]
        }
        Work::Speed(_) | Work::Consume(_) | Work::ConsumeCommitted(_) | Work::Latency { .. } => {
            let gigabytes = done.bytes as f64 / 1e9;
            vec![
                ("MB/s", first, Some(gigabytes * 1e3 / seconds)),
                ("brokers' CPU-s/GB", second, Some(spent / gigabytes)),
                ("client CPU-s/GB", Goal::None, Some(client / gigabytes)),
            ]
        }
    })
}

/// Whether more than a twentieth of the records, one due each `pace`, were acknowledged after the end of the run: then
/// the backlog grows as long as the run lasts, and a latency says nothing but how long that was.
fn is_saturated(latencies: &[Duration], pace: Duration, run: Duration) -> bool {
    let due = (0..).map(|number| pace * number);
    let late = due.zip(latencies).filter(|(due, latency)| *due + **latency > run).count();
    late * 20 > latencies.len()
}

/// Uses so much memory once and gives it back: the machine under this one has backed it then.
pub fn touch(bytes: usize) {
    const PIECE: usize = 256 << 20;
    const PAGE: usize = 4096;
    let mut pieces = Vec::new();
    for _ in 0..bytes.div_ceil(PIECE) {
        let mut piece = vec![0u8; PIECE.min(bytes)];
        piece.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        pieces.push(std::hint::black_box(piece));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_too_late_for_the_rate_is_saturated() {
        let (pace, run) = (Duration::from_millis(1), Duration::from_secs(10));
        let is_saturated = |latency: &dyn Fn(u32) -> Duration| {
            let latencies: Vec<Duration> = (0..10_000).map(latency).collect();
            super::is_saturated(&latencies, pace, run)
        };
        assert!(!is_saturated(&|_| Duration::from_millis(3)), "the rate is kept");
        assert!(!is_saturated(&|number| Duration::from_millis(u64::from(5_000u32.saturating_sub(number)))), "a pause");
        assert!(!is_saturated(&|_| Duration::from_millis(400)), "slow, but the rate is kept");
        assert!(is_saturated(&|number| pace * (number / 4)), "four fifths of the rate");
        assert!(is_saturated(&|number| pace * (4 * number)), "a fifth of the rate");
    }
}
