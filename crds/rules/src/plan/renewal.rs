//! Whether a broker can do without what is on its volume: the rule before its volume is replaced.
//!
//! Always: no partition loses its floor. Every partition of the broker keeps, on other live brokers, as many in-sync
//! replicas as its `min.insync.replicas`, and at least one: each of them holds every acknowledged record.

use crate::assignment::{Assignment, BrokerId, Live};

/// Why a partition needs the volume of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// No other live broker is in sync: the partition would lose records.
    LastReplica,
    /// Fewer than `min.insync.replicas` others would be in sync: acks=all would be refused.
    TooFewInSync {
        /// How many others are in sync.
        others: usize,
        /// How many must be.
        floor: usize,
    },
}

/// Why `entry` needs the volume of broker `id`; `None`: it does not. `min_in_sync` is the topic's
/// `min.insync.replicas`; `None`: it is not known, and all other replicas must be in sync.
pub fn need(entry: &Assignment, id: BrokerId, live: &Live, min_in_sync: Option<usize>) -> Option<Need> {
    if !entry.replicas.contains(&id) {
        return None;
    }
    // One that is draining is about to leave the ISR.
    let is_valid = |broker: BrokerId, incarnation| {
        live.get(&broker).is_some_and(|other| other.incarnation == incarnation && !other.draining)
    };
    let others =
        entry.isr.iter().filter(|member| member.broker != id && is_valid(member.broker, member.incarnation)).count();
    let floor = min_in_sync.unwrap_or(entry.replicas.len() - 1).max(1);
    match others {
        0 => Some(Need::LastReplica),
        others if others < floor => Some(Need::TooFewInSync { others, floor }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::{Incarnation, LiveBroker};

    #[test]
    fn a_volume_is_needed_while_too_few_others_have_its_records() {
        let live = |ids: &[i32]| -> Live {
            let broker = |id: &i32| (BrokerId(*id), LiveBroker { incarnation: Incarnation(1), draining: false });
            ids.iter().map(broker).collect()
        };
        let all = live(&[0, 1, 2]);
        let at = |replicas: &[i32], in_sync: &[i32]| {
            let replicas = replicas.iter().copied().map(BrokerId).collect();
            Assignment::create(0, replicas, &live(in_sync)).unwrap()
        };
        let mut restarted = all.clone();
        restarted.insert(BrokerId(2), LiveBroker { incarnation: Incarnation(2), draining: false });
        let of_two = at(&[0, 1], &[0, 1]);
        let of_three = at(&[0, 1, 2], &[0, 1, 2]);
        let too_few = |others, floor| Some(Need::TooFewInSync { others, floor });
        for (story, entry, live, min_in_sync, expected) in [
            ("it holds nothing", at(&[0, 2], &[0, 2]), &all, Some(2), None),
            ("the others are enough", of_three.clone(), &all, Some(2), None),
            ("it is the only one", at(&[1], &[1]), &all, Some(1), Some(Need::LastReplica)),
            ("the other is enough", of_two.clone(), &all, Some(1), None),
            ("the other is not enough", of_two.clone(), &all, Some(2), too_few(1, 2)),
            ("the other is dead", of_two.clone(), &live(&[1]), Some(1), Some(Need::LastReplica)),
            ("it is dead itself", of_two, &live(&[0]), Some(1), None),
            ("another is out of sync", at(&[0, 1, 2], &[0, 1]), &all, Some(2), too_few(1, 2)),
            ("another lost its log", of_three.clone(), &restarted, Some(2), too_few(1, 2)),
            ("nothing says how many are needed", of_three.clone(), &all, None, None),
            ("the same, and one is away", of_three, &live(&[0, 1]), None, too_few(1, 2)),
        ] {
            assert_eq!(need(&entry, BrokerId(1), live, min_in_sync), expected, "{story}");
        }
    }
}
