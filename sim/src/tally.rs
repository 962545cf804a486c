//! What many seeds come to.

use std::fmt;
use std::time::Instant;

use ottla_history::transactions::Counts as Ended;

use crate::fault::{Counts, Fault, Stage};
use crate::{Half, Outcome};

/// The sum of one half's seeds.
#[derive(Debug)]
pub struct Tally {
    half: Half,
    seeds: u64,
    bad: Vec<u64>,
    steps: u64,
    acknowledged: u64,
    /// Transactions that were committed, aborted, and that nobody knows of.
    transactions: [u64; 3],
    counts: Counts,
    began: Instant,
}

impl Tally {
    /// Of no seeds yet.
    pub fn of(half: Half) -> Tally {
        Tally {
            half,
            seeds: 0,
            bad: Vec::new(),
            steps: 0,
            acknowledged: 0,
            transactions: [0; 3],
            counts: Counts::new(),
            began: Instant::now(),
        }
    }

    /// Plays a seed; says at once when it is a bad one.
    ///
    /// # Errors
    /// When it can't be played.
    pub fn play(&mut self, seed: u64) -> anyhow::Result<()> {
        let outcome = self.half.play(seed)?;
        self.add(seed, &outcome);
        Ok(())
    }

    fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.seeds += 1;
        self.steps += outcome.steps;
        self.acknowledged += outcome.verdict.as_ref().map_or(0, |report| report.counts.acknowledged);
        let Ended { committed, aborted, in_doubt, .. } = outcome.transactions;
        for (sum, count) in self.transactions.iter_mut().zip([committed, aborted, in_doubt]) {
            *sum += count;
        }
        for (fault, count) in &outcome.counts {
            *self.counts.entry(*fault).or_default() += count;
        }
        if !outcome.is_good() {
            println!(
                "seed {seed}: {}\nagain, with its trace: cargo run -p ottla-sim -- --half {} --seed {seed}",
                outcome.verdict(),
                self.half.name()
            );
            self.bad.push(seed);
        }
    }

    /// Whether none was bad.
    pub fn is_good(&self) -> bool {
        self.bad.is_empty()
    }

    /// Faults of this half that were never played.
    pub fn missing(&self) -> Vec<Fault> {
        let stage = match self.half {
            Half::Replicas => Stage::Replicas,
            Half::ControlPlane => Stage::ControlPlane,
        };
        let played = |fault: &Fault| self.counts.contains_key(fault);
        Fault::ALL.iter().filter(|fault| fault.stage() == stage && !played(fault)).copied().collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { half, seeds, bad, steps, acknowledged, transactions, counts, began } = self;
        let [committed, aborted, in_doubt] = transactions;
        let speed = *seeds as f64 / began.elapsed().as_secs_f64();
        writeln!(
            f,
            "{}: {seeds} seeds, {} of them bad; {steps} steps, {acknowledged} records acknowledged; {speed:.2} seeds per second",
            half.name(),
            bad.len()
        )?;
        if *half == Half::Replicas {
            writeln!(f, "transactions: {committed} committed, {aborted} aborted, {in_doubt} in doubt")?;
        }
        let counts: Vec<String> = counts.iter().map(|(fault, count)| format!("{fault:?} {count}")).collect();
        write!(f, "faults: {}", counts.join(", "))
    }
}
