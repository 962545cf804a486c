//! The verdict: counts, and the first few of each kind of violation.

use std::collections::BTreeMap;
use std::fmt;

/// Examples that are kept of each kind.
const EXAMPLES: usize = 5;

/// What can be wrong with a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A record that was acknowledged, or that a consumer has read, is not in the log.
    Lost,
    /// A record is in the log more than once.
    Duplicated,
    /// Two acknowledged records of one producer lie in a partition in another order than they were sent in.
    Reordered,
    /// A record that nobody has sent, or whose bytes have changed.
    NeverWritten,
    /// An offset held one record and then another.
    TwoValues,
    /// A record lies elsewhere than its producer's answer said.
    Misplaced,
    /// A record of an aborted transaction was read.
    AbortedRead,
    /// A consumer was not given a record that lies between two that it was given.
    Skipped,
    /// An end, a committed offset or a consumer's position went back.
    Stale,
    /// A record that was certainly not written is there.
    FailedButPresent,
    /// The history is not whole: a partition that was written to was not read at the end.
    NotRead,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records that certainly were not written.
    pub failed: u64,
    /// Records of which nobody knows.
    pub unknown: u64,
    /// Those of them that are in the log.
    pub unknown_present: u64,
    /// Records given to consumers.
    pub read: u64,
    /// Records in the logs at the end.
    pub logged: u64,
    /// Partitions read at the end.
    pub partitions: u64,
}

/// What a history shows.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How much there was to see.
    pub counts: Counts,
    found: BTreeMap<Kind, Found>,
}

#[derive(Clone, Debug, Default)]
struct Found {
    count: u64,
    examples: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.found.is_empty()
    }

    /// How many violations of a kind there are.
    pub fn count(&self, kind: Kind) -> u64 {
        self.found.get(&kind).map_or(0, |found| found.count)
    }

    /// The kinds that were found.
    pub fn kinds(&self) -> Vec<Kind> {
        self.found.keys().copied().collect()
    }

    pub(crate) fn add(&mut self, kind: Kind, example: impl FnOnce() -> String) {
        let found = self.found.entry(kind).or_default();
        found.count += 1;
        if found.examples.len() < EXAMPLES {
            found.examples.push(example());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { acknowledged, failed, unknown, unknown_present, read, logged, partitions } = self.counts;
        writeln!(
            f,
            "{acknowledged} records acknowledged, {failed} failed, {unknown} unknown ({unknown_present} of them written); \
             {read} given to consumers; {logged} in the logs of {partitions} partitions"
        )?;
        if self.is_good() {
            return write!(f, "nothing lost, duplicated, reordered, made up, changed or stale");
        }
        for (kind, Found { count, examples }) in &self.found {
            writeln!(f, "{kind:?}: {count}")?;
            for example in examples {
                writeln!(f, "  {example}")?;
            }
            if *count > examples.len() as u64 {
                writeln!(f, "  …")?;
            }
        }
        Ok(())
    }
}
