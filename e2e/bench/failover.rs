//! Fail-over as a client sees it: from the last acknowledgement before to the first after, on the partitions that the
//! broker led.
//!
//! Three brokers of each maker, one after the other; a topic of three replicas, min.insync.replicas 2; one producer,
//! one record a millisecond to the partitions in turn. A run's number is the longest time that one of the affected
//! partitions went without an acknowledgement.

use anyhow::{Context, Result};
use ottla_e2e::target::Maker;
use ottla_e2e::trio::{BROKERS, Trio};
use ottla_e2e::wait::until;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::client::{Client, LIMIT, Library, PARTITIONS};

const TOPIC: &str = "failover";

/// What happens to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Freeze,
    Drain,
}

const FAULTS: [Fault; 3] = [Fault::Kill, Fault::Freeze, Fault::Drain];

/// What was measured, by fault.
#[derive(Default)]
struct Measured {
    pauses: BTreeMap<Fault, Vec<Duration>>,
    given_up: usize,
}

/// Measures each maker, and prints the table.
pub fn run(makers: &[Maker], library: Library, runs: usize, ottla: &Path) -> Result<()> {
    let mut measured = Vec::new();
    for maker in makers {
        let of_maker = measure(*maker, library, runs, ottla)?;
        println!("{maker:?}: {} records failed", of_maker.given_up);
        measured.push((*maker, of_maker));
    }
    print!("{}", Table { runs, measured });
    Ok(())
}

fn measure(maker: Maker, library: Library, runs: usize, ottla: &Path) -> Result<Measured> {
    let mut trio = Trio::start(maker, ottla)?;
    trio.create_topic(TOPIC, PARTITIONS as i32, &[])?;
    let client = Client::start(library, &trio.bootstrap(), TOPIC)?;
    let pauses = suffer(&mut trio, &client, runs)?;
    Ok(Measured { pauses, given_up: client.finish()? })
}

/// Each fault as often as asked for, and how long the affected partitions paused.
fn suffer(trio: &mut Trio, client: &Client, runs: usize) -> Result<BTreeMap<Fault, Vec<Duration>>> {
    let mut pauses: BTreeMap<Fault, Vec<Duration>> = BTreeMap::new();
    for (run, fault) in (0..runs).flat_map(|run| FAULTS.map(|fault| (run, fault))) {
        trio.wait_until_whole(TOPIC)?;
        client.all_acknowledged(20)?;
        let partitions = trio.partitions(TOPIC)?;
        let led_by = |id: u16| {
            let led = (0..).zip(&partitions).filter(move |(_, one)| one.leader_id == i32::from(id));
            led.map(|(number, _)| number).collect::<Vec<usize>>()
        };
        let victim = (0..BROKERS).max_by_key(|id| led_by(*id).len()).context("there are brokers")?;
        let affected = led_by(victim);
        std::thread::sleep(moment(run));
        client.forget_pauses();
        let begin = Instant::now();
        match fault {
            Fault::Kill => trio.end_broker(victim, Signal::KILL)?,
            Fault::Freeze => trio.freeze(victim)?,
            Fault::Drain => trio.end_broker(victim, Signal::TERM)?,
        }
        until(LIMIT, "others to lead", || {
            let partitions = trio.partitions(TOPIC).unwrap_or_default();
            let by_another = |number: &usize| {
                partitions.get(*number).is_some_and(|one| one.leader_id >= 0 && one.leader_id != i32::from(victim))
            };
            Ok(affected.iter().all(by_another).then_some(()))
        })?;
        let led = begin.elapsed();
        client.all_acknowledged(5)?;
        let pause = client.longest_pause(&affected)?;
        eprintln!(
            "{:?}, run {run}, {fault:?}: {} ms on {} partitions; led by others after {} ms",
            trio.maker(),
            pause.as_millis(),
            affected.len(),
            led.as_millis()
        );
        pauses.entry(fault).or_default().push(pause);
        trio.heal()?;
    }
    Ok(pauses)
}

/// How long a run waits with its fault. A client looks for late requests at fixed times after it has connected, which
/// it does in each run: without this all faults would come at the same distance from one.
pub(crate) fn moment(run: usize) -> Duration {
    Duration::from_secs_f64((run as f64 * 0.618).fract())
}

struct Table {
    runs: usize,
    measured: Vec<(Maker, Measured)>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        writeln!(
            f,
            "{cores} cores shared by brokers and client; {} runs of each; from–to: of the runs one by one.\n",
            self.runs
        )?;
        writeln!(f, "| fault | Ottla p50 ms | max | Kafka 4.3.1 p50 ms | max | ratio of p50 (from–to) | goal | met |")?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|---|---|")?;
        FAULTS.iter().try_for_each(|fault| {
            let (ours, kafkas) = (self.pauses(*fault, Maker::Ottla), self.pauses(*fault, Maker::Kafka));
            let (p50, max) = median_and_max(&ours);
            let (kafkas_p50, kafkas_max) = median_and_max(&kafkas);
            let ratios: Vec<f64> = ours.iter().zip(&kafkas).map(|(ours, kafkas)| ours / kafkas).collect();
            let least = ratios.iter().copied().fold(f64::NAN, f64::min);
            let most = ratios.iter().copied().fold(f64::NAN, f64::max);
            let goal = fault.goal();
            writeln!(
                f,
                "| {} | {p50:.0} | {max:.0} | {kafkas_p50:.0} | {kafkas_max:.0} | {:.3}× ({least:.3}–{most:.3}) | {goal} | {} |",
                fault.name(),
                p50 / kafkas_p50,
                goal.verdict(p50, max)
            )
        })
    }
}

impl Table {
    /// In milliseconds; none of a maker that was not measured.
    fn pauses(&self, fault: Fault, maker: Maker) -> Vec<f64> {
        let of_maker = self.measured.iter().filter(|(measured, _)| *measured == maker);
        let pauses = of_maker.filter_map(|(_, measured)| measured.pauses.get(&fault)).flatten();
        pauses.map(|pause| pause.as_secs_f64() * 1e3).collect()
    }
}

/// Not numbers, where there are none.
pub(crate) fn median_and_max(pauses: &[f64]) -> (f64, f64) {
    let mut sorted = pauses.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    (at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill −9",
            Fault::Freeze => "SIGSTOP",
            Fault::Drain => "SIGTERM (drain)",
        }
    }

    fn goal(self) -> Goal {
        match self {
            Fault::Kill => Goal { p50: 50, max: 500 },
            Fault::Freeze => Goal { p50: 1100, max: 2000 },
            Fault::Drain => Goal { p50: 50, max: 100 },
        }
    }
}

/// How long clients may wait for a fail-over at most, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) p50: u32,
    pub(crate) max: u32,
}

impl Goal {
    /// What a table says of these waits, in milliseconds.
    pub(crate) fn verdict(self, p50: f64, max: f64) -> &'static str {
        if p50 <= f64::from(self.p50) && max <= f64::from(self.max) { "yes" } else { "no" }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 ≤ {}, max ≤ {}", self.p50, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_by_median_and_maximum_and_by_nobody_who_was_not_measured() {
        let goal = Goal { p50: 50, max: 500 };
        let nobody = median_and_max(&[]);
        for ((p50, max), verdict) in
            [((50.0, 500.0), "yes"), ((51.0, 500.0), "no"), ((50.0, 501.0), "no"), (nobody, "no")]
        {
            assert_eq!(goal.verdict(p50, max), verdict, "{p50}, {max}");
        }
    }
}
