//! What many seeds come to.

use std::fmt;

use crate::fault::{Counts, Fault, Stage};
use crate::world::Outcome;

/// The sum of seeds.
#[derive(Debug, Default)]
pub struct Tally {
    seeds: u64,
    bad: Vec<u64>,
    steps: u64,
    acknowledged: u64,
    counts: Counts,
}

impl Tally {
    /// Adds a seed; says at once when it is a bad one.
    pub fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.seeds += 1;
        self.steps += outcome.steps;
        self.acknowledged += outcome.verdict.as_ref().map_or(0, |report| report.counts.acknowledged);
        for (fault, count) in &outcome.counts {
            *self.counts.entry(*fault).or_default() += count;
        }
        if !outcome.is_good() {
            println!(
                "seed {seed}: {}\nagain, with its trace: cargo run -p ottla-sim -- --seed {seed}",
                outcome.verdict()
            );
            self.bad.push(seed);
        }
    }

    /// Whether none was bad.
    pub fn is_good(&self) -> bool {
        self.bad.is_empty()
    }

    /// Faults of this stage that were never played.
    pub fn missing(&self, stage: Stage) -> Vec<Fault> {
        let played = |fault: &Fault| self.counts.contains_key(fault);
        Fault::ALL.iter().filter(|fault| fault.stage() == stage && !played(fault)).copied().collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { seeds, bad, steps, acknowledged, counts } = self;
        writeln!(f, "{seeds} seeds, {} of them bad; {steps} steps, {acknowledged} records acknowledged", bad.len())?;
        let counts: Vec<String> = counts.iter().map(|(fault, count)| format!("{fault:?} {count}")).collect();
        write!(f, "faults: {}", counts.join(", "))
    }
}
