//! What in-sync replicas hold: all the time the same, also where they never lead.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use ottla_rules::assignment::{BrokerId, IsrMember};

use crate::records::{self, Latest};
use crate::topics::PARTITIONS;
use crate::world::World;

impl World {
    /// In-sync replicas hold the same committed batches, of the same leader epochs; and where logs are compacted, each
    /// at another time, the same last record of each key.
    pub(crate) fn compare_copies(&self, entry: usize) -> Result<()> {
        let copy = |member: &IsrMember| {
            let node = &self.nodes[member.broker.0 as usize];
            let is_trusted = node.incarnation == member.incarnation && !node.is_doomed();
            node.partition(entry).filter(|_| is_trusted).map(|copy| (member.broker, copy))
        };
        let copies: Vec<_> = self.api.entry(entry).isr.iter().filter_map(copy).collect();
        let found = if entry < PARTITIONS {
            first_difference(&copies, |first, second| {
                let from = first.status().log_start.max(second.status().log_start);
                let [ones, others] = [first, second].map(|copy| records::batches_from(copy, from));
                let differs = ones.into_iter().zip(others).find(|(first, second)| first != second);
                differs.map(|differs| format!("{differs:?}"))
            })
        } else {
            // Without those of which nobody can say yet what they hold: the others are compared with each other.
            let decided: Vec<_> = copies
                .iter()
                .filter_map(|(broker, copy)| records::latest(copy).map(|latest| (*broker, latest)))
                .collect();
            first_difference(&decided, differing)
        };
        ensure!(found.is_none(), "the copies of {entry} differ: {}", found.unwrap_or_default());
        Ok(())
    }
}

/// Whose copies differ, and in what.
fn first_difference<T>(copies: &[(BrokerId, T)], differs: impl Fn(&T, &T) -> Option<String>) -> Option<String> {
    copies.array_windows().find_map(|[(one, first), (another, second)]| {
        differs(first, second).map(|what| format!("that on {one} and that on {another}: {what}"))
    })
}

/// A key whose last record is not the same in both. Logs of different length are not compared: in the longer one a
/// later record may have overtaken what is still in the other. And a tombstone goes after a while.
fn differing(ones: &Latest, others: &Latest) -> Option<String> {
    let keys: BTreeSet<&Vec<u8>> = ones.by_key.keys().chain(others.by_key.keys()).collect();
    let differs = |key: &&&Vec<u8>| match [ones, others].map(|copy| copy.by_key.get(**key)) {
        [Some((_, None)), None] | [None, Some((_, None))] => false,
        [one, other] => one != other,
    };
    let key = keys.iter().find(differs).filter(|_| ones.end == others.end)?;
    let [one, other] = [ones, others].map(|copy| copy.by_key.get(*key));
    Some(format!("{}: {one:?}, {other:?}", key.escape_ascii()))
}
