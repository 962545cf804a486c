//! Whether an entry that is shown is older or newer than the one that is known.
//!
//! Epochs never fall, so of two entries of one history the newer has no lower epoch. If each has a change that the
//! other lacks, the API server was set back and then changed: the entries are a fork, and a person decides which one to
//! keep.

use super::{Assignment, Epochs};

/// How an entry relates to another of the same partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// It is older: it is shown late, or by an API server that was set back.
    Older,
    /// It is the same entry.
    Same,
    /// It is newer.
    Newer,
    /// Neither is older: they are a fork.
    Forked,
}

impl Epochs {
    /// How these epochs relate to others.
    pub fn age(self, other: Epochs) -> Age {
        match (self.leader.cmp(&other.leader), self.partition.cmp(&other.partition)) {
            (std::cmp::Ordering::Equal, std::cmp::Ordering::Equal) => Age::Same,
            (leader, std::cmp::Ordering::Greater) if leader.is_ge() => Age::Newer,
            (leader, std::cmp::Ordering::Less) if leader.is_le() => Age::Older,
            _ => Age::Forked,
        }
    }
}

impl Assignment {
    /// How this entry relates to another of the same partition. Different entries with the same epochs are a fork, too.
    pub fn age(&self, other: &Assignment) -> Age {
        match self.epochs().age(other.epochs()) {
            Age::Same if self != other => Age::Forked,
            age => age,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BrokerId, LeaderEpoch, PartitionEpoch};
    use super::*;

    #[test]
    fn of_two_entries_one_is_newer_or_history_forked() {
        let at = |(leader, partition)| Epochs { leader: LeaderEpoch(leader), partition: PartitionEpoch(partition) };
        for (story, shown, known, expected) in [
            ("nothing happened", (3, 9), (3, 9), Age::Same),
            ("the ISR changed", (3, 10), (3, 9), Age::Newer),
            ("another leader", (4, 10), (3, 9), Age::Newer),
            ("the first that is ever seen", (0, 0), (-1, -1), Age::Newer),
            ("a watch lags behind an ISR change", (3, 8), (3, 9), Age::Older),
            ("the API server was set back to before an election", (2, 5), (3, 9), Age::Older),
            ("it was set back, and somebody elected", (4, 8), (3, 9), Age::Forked),
            ("the same, as often as really happened", (4, 9), (3, 9), Age::Forked),
            ("it was set back, and an ISR changed often", (2, 12), (3, 9), Age::Forked),
            ("the same number of changes, one an election", (2, 9), (3, 9), Age::Forked),
        ] {
            assert_eq!(at(shown).age(at(known)), expected, "{story}");
        }
    }

    #[test]
    fn two_entries_that_differ_at_the_same_epochs_are_forks() {
        let entry = Assignment {
            partition: 0,
            replicas: vec![],
            adding: vec![],
            removing: vec![],
            leader: None,
            leader_epoch: LeaderEpoch(3),
            partition_epoch: PartitionEpoch(9),
            isr: vec![],
            reports: vec![],
            log_start: None,
        };
        let other = Assignment { replicas: vec![BrokerId(1)], ..entry.clone() };
        assert_eq!((entry.age(&entry.clone()), entry.age(&other)), (Age::Same, Age::Forked));
    }
}
