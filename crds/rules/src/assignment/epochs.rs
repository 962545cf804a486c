//! The two counters of an entry, each with its own type: a leader epoch can't be passed for a partition epoch.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Counts the changes of a partition's leader, from 0. It also rises when a replica leaves or disowns its log. Kafka's
/// leader epoch: each batch in the log carries that of the leader that appended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LeaderEpoch(pub i32);

impl LeaderEpoch {
    /// The epoch of a new partition.
    pub const FIRST: LeaderEpoch = LeaderEpoch(0);
    /// No epoch, as Kafka writes it: a log without batches has none, and a client may name none.
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);

    /// Whether this names no epoch. A client may send any negative number for that.
    pub fn is_none(self) -> bool {
        self < LeaderEpoch::FIRST
    }

    /// The epoch after this one; `None` if this is the largest.
    pub fn next(self) -> Option<LeaderEpoch> {
        self.0.checked_add(1).map(LeaderEpoch)
    }

    /// Whether this is the epoch right after `before`.
    pub fn follows(self, before: LeaderEpoch) -> bool {
        before.next() == Some(self)
    }
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the changes of an entry, from 0: the token of compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PartitionEpoch(pub i32);

impl PartitionEpoch {
    /// The epoch of a new entry.
    pub const FIRST: PartitionEpoch = PartitionEpoch(0);
    /// Older than that of every entry.
    pub const NONE: PartitionEpoch = PartitionEpoch(-1);

    /// The epoch after this one; `None` if this is the largest.
    pub fn next(self) -> Option<PartitionEpoch> {
        self.0.checked_add(1).map(PartitionEpoch)
    }

    /// Whether a change made an entry of `before` into one of this epoch.
    pub fn follows(self, before: PartitionEpoch) -> bool {
        before.next() == Some(self)
    }

    /// A change to this epoch rests on the entry of the epoch before. This is the newest epoch that is older than the
    /// entry on which the change rests.
    pub fn before_basis(self) -> PartitionEpoch {
        PartitionEpoch(self.0.saturating_sub(2))
    }
}

impl fmt::Display for PartitionEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The epochs of an entry, ordered by leader epoch, then by partition epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epochs {
    /// The leader epoch.
    pub leader: LeaderEpoch,
    /// The partition epoch.
    pub partition: PartitionEpoch,
}

impl Epochs {
    /// Older than those of every entry.
    pub const NONE: Epochs = Epochs { leader: LeaderEpoch::NONE, partition: PartitionEpoch::NONE };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_adds_one_until_there_is_no_number_left() {
        assert_eq!(PartitionEpoch::NONE.next(), Some(PartitionEpoch::FIRST));
        assert_eq!(PartitionEpoch(i32::MAX).next(), None);
        assert_eq!(LeaderEpoch::NONE.next(), Some(LeaderEpoch::FIRST));
        assert_eq!(LeaderEpoch(i32::MAX).next(), None);
        assert!(LeaderEpoch(8).follows(LeaderEpoch(7)) && !LeaderEpoch(7).follows(LeaderEpoch(7)));
        assert!(PartitionEpoch(8).follows(PartitionEpoch(7)));
        assert!(!PartitionEpoch(9).follows(PartitionEpoch(7)) && !PartitionEpoch(7).follows(PartitionEpoch(7)));
        assert!(!PartitionEpoch(i32::MIN).follows(PartitionEpoch(i32::MAX)));
    }

    #[test]
    fn what_a_change_rests_on_is_newer_than_what_came_before() {
        let rests_on = PartitionEpoch(7);
        let change = rests_on.next().unwrap();
        assert!(change.before_basis() < rests_on && change.before_basis().next() == Some(rests_on));
    }

    #[test]
    fn every_negative_number_names_no_leader_epoch() {
        assert!(LeaderEpoch::NONE.is_none() && LeaderEpoch(-7).is_none());
        assert!(!LeaderEpoch::FIRST.is_none() && !LeaderEpoch(7).is_none());
    }
}
