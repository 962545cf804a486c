//! How replicas move to the wanted brokers: one step of one assignment at a time.

use super::placement::{self, Broker, Load, TooFewBrokers};
use crate::assignment::{Assignment, BrokerId, Live};

/// The next step towards `target`, the wanted replicas in order of preference; `None`: there is no step to take now. A
/// move to other brokers is cancelled first.
pub fn step(entry: &Assignment, target: &[BrokerId], live: &Live, min_in_sync: usize) -> Option<Assignment> {
    if entry.target() == target {
        return None;
    }
    if entry.is_reassigning() {
        return entry.cancel_reassignment(live, min_in_sync).ok();
    }
    entry.start_reassignment(target).ok()
}

/// The replicas of `entry` once there are `factor` of them. Replicas that are not in sync go first, then the least
/// preferred; new ones come where [`placement::extend`] puts them.
///
/// # Errors
/// When there are too few brokers.
pub fn resized(
    entry: &Assignment,
    factor: usize,
    brokers: &[Broker],
    load: &Load,
    seed: u64,
) -> Result<Vec<BrokerId>, TooFewBrokers> {
    let mut replicas = entry.target();
    while replicas.len() > factor {
        let in_sync = |broker: &BrokerId| entry.isr.iter().any(|member| member.broker == *broker);
        let last = replicas.iter().rposition(|broker| !in_sync(broker)).unwrap_or(replicas.len() - 1);
        replicas.remove(last);
    }
    placement::extend(replicas, entry.partition, factor, brokers, load, seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::{Incarnation, IsrMember, LiveBroker};

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId).collect()
    }

    fn live() -> Live {
        let broker = |id| (BrokerId(id), LiveBroker { incarnation: Incarnation(1), draining: false });
        (0..4).map(broker).collect()
    }

    fn join(entry: &mut Assignment, broker: i32) {
        entry.isr.push(IsrMember { broker: BrokerId(broker), incarnation: Incarnation(1) });
    }

    /// Steps until there is none; everyone who is added catches up.
    fn walk(mut entry: Assignment, target: &[i32]) -> Assignment {
        for _ in 0..10 {
            let Some(next) = step(&entry, &ids(target), &live(), 1).or_else(|| {
                let mut caught_up = entry.clone();
                for broker in caught_up.adding.clone() {
                    join(&mut caught_up, broker.0);
                }
                caught_up.complete_reassignment(&live()).ok()
            }) else {
                return entry;
            };
            entry = next;
        }
        panic!("it never ends: {entry:?}");
    }

    #[test]
    fn a_partition_gets_where_it_is_wanted_from_wherever_it_is() {
        let at = |replicas: &[i32]| Assignment::create(0, ids(replicas), &live()).unwrap();
        let moving = |from: &[i32], to: &[i32]| at(from).start_reassignment(&ids(to)).unwrap();
        let cases = [
            ("nothing to do", at(&[0, 1]), &[0, 1][..]),
            ("another preference", at(&[0, 1]), &[1, 0]),
            ("elsewhere", at(&[0, 1]), &[2, 3]),
            ("more", at(&[0]), &[0, 1, 2]),
            ("fewer", at(&[0, 1, 2]), &[1]),
            ("elsewhere while it moves", moving(&[0, 1], &[2, 3]), &[1, 2]),
            ("back while it moves", moving(&[0, 1], &[1, 2]), &[0, 1]),
        ];
        for (story, entry, target) in cases {
            let there = walk(entry, target);
            assert_eq!((there.replicas.clone(), there.is_reassigning()), (ids(target), false), "{story}");
            assert!(there.leader.is_some_and(|leader| there.replicas.contains(&leader)), "{story}: {there:?}");
        }
    }

    #[test]
    fn a_changed_factor_keeps_who_is_in_sync_and_spreads_who_is_new() {
        let broker = |(id, rack): (i32, &str)| Broker { id: BrokerId(id), rack: Some(rack.to_owned()), away: false };
        let brokers = [(0, "a"), (1, "a"), (2, "b"), (3, "c")].map(broker);
        let mut entry = Assignment::create(0, ids(&[0, 1, 2]), &live()).unwrap();
        entry.isr.retain(|member| member.broker != BrokerId(1));
        let resized = |factor| resized(&entry, factor, &brokers, &Load::default(), 7);
        assert_eq!(resized(3).unwrap(), ids(&[0, 1, 2]));
        assert_eq!(resized(4).unwrap(), ids(&[0, 1, 2, 3]));
        assert_eq!(resized(2).unwrap(), ids(&[0, 2]), "who is not in sync goes first");
        assert_eq!(resized(1).unwrap(), ids(&[0]));
        assert_eq!(
            resized(5).unwrap_err().to_string(),
            "a replication factor of 5 needs 5 brokers, and the cluster has 4 that take new replicas"
        );
    }
}
