//! The verdict: violations, those that KAFKA-17754 may explain, what Kafka allows, and a few examples of each.

use std::collections::BTreeMap;
use std::fmt;

/// Examples that are kept of each finding.
const EXAMPLES: usize = 5;

/// What can be wrong with a history. Adya's name stands in brackets where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A consumer was given a record of an aborted transaction (G1a).
    AbortedRead,
    /// An event of a transaction is a consequence of itself (G1c).
    CircularFlow,
    /// A record that is committed, or that a consumer was given, is not in the log.
    Lost,
    /// A record is in the log more than once.
    Duplicated,
    /// A record of an aborted transaction is in the log as read with read_committed.
    AbortedStays,
    /// Some records of a transaction in doubt are in the log and some are not.
    Torn,
    /// A record is committed, but a reader that has reached the end was not given it, and nothing shows that it is
    /// lost; or the last stable offset stays below the end.
    Unseen,
    /// A client was given a record of its own transaction while that was open.
    OwnWriteSeen,
    /// A consumer was not given a record that lies between two that it was given.
    Skipped,
    /// A consumer was given an offset that it had already passed.
    Reversed,
    /// Two records of one client lie in a partition in another order than they were sent in.
    Reordered,
    /// A record had two places, or an offset held two records (Jepsen's inconsistent offsets).
    Misplaced,
    /// A record that nobody has sent, or whose bytes have changed.
    NeverWritten,
    /// A group's committed offsets and the output of the transactions that committed them don't match: an input record
    /// has no committed output, or more than one.
    OffsetMismatch,
    /// The history is not whole: a partition was not read at the end, or an operation belongs to no transaction.
    Incomplete,
}

/// What Kafka allows. Counted, because a test may want to see that it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Allowed {
    /// A poll ended inside a transaction (G1b).
    IntermediateRead,
    /// Open transactions appended to the same partitions in different orders (G0).
    WriteCycle,
    /// A cycle of transactions by the order of their writes and by their reads; not one of events.
    MixedCycle,
    /// A rebalance changed a consumer's position.
    Moved,
}

/// How a finding counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Finding {
    Violation(Kind),
    /// A violation that KAFKA-17754 may explain.
    Delayed(Kind),
    Allowed(Allowed),
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transactions committed.
    pub committed: u64,
    /// Transactions aborted.
    pub aborted: u64,
    /// Transactions in doubt.
    pub in_doubt: u64,
    /// Transactions in doubt whose records are in the logs.
    pub in_doubt_committed: u64,
    /// Records sent, with or without a transaction.
    pub sent: u64,
    /// Records given to consumers.
    pub polled: u64,
    /// Records in the logs at the end, with read_committed.
    pub logged: u64,
    /// Partitions read at the end, with read_committed.
    pub partitions: u64,
}

/// What a history shows.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How much there was to see.
    pub counts: Counts,
    found: BTreeMap<Finding, Found>,
}

#[derive(Clone, Debug, Default)]
struct Found {
    count: u64,
    examples: Vec<String>,
}

impl Report {
    /// Whether there is no violation. What [`Report::delayed`] counts does not make a history bad.
    pub fn is_good(&self) -> bool {
        self.kinds().is_empty()
    }

    /// How many violations of a kind there are.
    pub fn count(&self, kind: Kind) -> u64 {
        self.count_of(Finding::Violation(kind))
    }

    /// How many violations of a kind there are that KAFKA-17754 may explain: of transactions with [`Protocol::V1`],
    /// whose client had others before or after.
    ///
    /// [`Protocol::V1`]: super::Protocol::V1
    pub fn delayed(&self, kind: Kind) -> u64 {
        self.count_of(Finding::Delayed(kind))
    }

    /// How often something was seen that is allowed.
    pub fn allowed(&self, allowed: Allowed) -> u64 {
        self.count_of(Finding::Allowed(allowed))
    }

    /// The kinds of violations that were found.
    pub fn kinds(&self) -> Vec<Kind> {
        let violation = |finding: &Finding| if let Finding::Violation(kind) = finding { Some(*kind) } else { None };
        self.found.keys().filter_map(violation).collect()
    }

    /// The kinds of violations that KAFKA-17754 may explain: none, where no request was delayed.
    pub fn delayed_kinds(&self) -> Vec<Kind> {
        let delayed = |finding: &Finding| if let Finding::Delayed(kind) = finding { Some(*kind) } else { None };
        self.found.keys().filter_map(delayed).collect()
    }

    pub(super) fn add(&mut self, finding: Finding, example: impl FnOnce() -> String) {
        let found = self.found.entry(finding).or_default();
        found.count += 1;
        if found.examples.len() < EXAMPLES {
            found.examples.push(example());
        }
    }

    fn count_of(&self, finding: Finding) -> u64 {
        self.found.get(&finding).map_or(0, |found| found.count)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Violation(kind) => write!(f, "{kind:?}"),
            Finding::Delayed(kind) => write!(f, "{kind:?}, perhaps KAFKA-17754"),
            Finding::Allowed(allowed) => write!(f, "{allowed:?}, allowed"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { committed, aborted, in_doubt, in_doubt_committed, sent, polled, logged, partitions } = self.counts;
        write!(
            f,
            "{committed} transactions committed, {aborted} aborted, {in_doubt} in doubt ({in_doubt_committed} of them \
             committed); {sent} records sent, {polled} given to consumers, {logged} in the logs of {partitions} \
             partitions"
        )?;
        if self.is_good() {
            write!(f, "\nno violation")?;
        }
        for (finding, Found { count, examples }) in &self.found {
            write!(f, "\n{finding}: {count}")?;
            for example in examples {
                write!(f, "\n  {example}")?;
            }
            if *count > examples.len() as u64 {
                write!(f, "\n  …")?;
            }
        }
        Ok(())
    }
}
