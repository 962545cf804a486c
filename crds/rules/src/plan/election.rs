//! How assignments change when brokers die and return: the operator's next step for each.

use crate::assignment::{Assignment, BrokerId, Live, RecoveryOrder, Refusal};

/// The next step of each assignment that must change. `min_in_sync` is the topic's `min.insync.replicas`.
pub fn elect(assignments: &[Assignment], live: &Live, min_in_sync: usize) -> Vec<Assignment> {
    assignments.iter().filter_map(|assignment| step(assignment, live, min_in_sync)).collect()
}

/// The next step of one assignment: complete its reassignment, or heal it, or recover it. The operator takes a further
/// step after it has read the result.
fn step(assignment: &Assignment, live: &Live, min_in_sync: usize) -> Option<Assignment> {
    let settled = |step: &Result<Assignment, Refusal>| step.is_ok();
    [assignment.complete_reassignment(live), assignment.heal(live, min_in_sync), assignment.recover(live)]
        .into_iter()
        .find(settled)?
        .ok()
}

/// The assignments that an administrator's orders change. None of them is in the result of [`elect`]: an order has no
/// effect if a leader can be elected without it.
pub fn obey(assignments: &[Assignment], orders: &[RecoveryOrder], live: &Live) -> Vec<Assignment> {
    let waiting = assignments.iter().filter(|assignment| assignment.leader.is_none());
    let next = |assignment: &Assignment| {
        let order = orders.iter().find(|order| order.partition == assignment.partition)?;
        assignment.obey(order, live).ok()
    };
    waiting.filter_map(next).collect()
}

/// The partitions without a leader, with the brokers that each waits for.
pub fn offline(assignments: &[Assignment], live: &Live) -> Vec<(i32, Vec<BrokerId>)> {
    let leaderless = assignments.iter().filter(|assignment| assignment.leader.is_none());
    leaderless.map(|assignment| (assignment.partition, assignment.waits_for(live))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::{Incarnation, LeaderEpoch, LiveBroker, RecoveryReport};

    fn live(brokers: &[(i32, i64)]) -> Live {
        let broker =
            |(id, life): &(i32, i64)| (BrokerId(*id), LiveBroker { incarnation: Incarnation(*life), draining: false });
        brokers.iter().map(broker).collect()
    }

    fn topic() -> Vec<Assignment> {
        let replicas = [vec![0, 1], vec![1, 2], vec![2, 0], vec![0]];
        let everybody = live(&[(0, 1), (1, 1), (2, 1)]);
        let partition = |(number, replicas): (usize, &Vec<i32>)| {
            Assignment::create(number as i32, replicas.iter().copied().map(BrokerId).collect(), &everybody).unwrap()
        };
        replicas.iter().enumerate().map(partition).collect()
    }

    /// Which partitions changed, and who leads them.
    fn leaders(changed: &[Assignment]) -> Vec<(i32, Option<i32>)> {
        changed.iter().map(|assignment| (assignment.partition, assignment.leader.map(|leader| leader.0))).collect()
    }

    #[test]
    fn a_death_changes_the_dead_brokers_partitions_and_no_others() {
        let topic = topic();
        assert_eq!(elect(&topic, &live(&[(0, 1), (1, 1), (2, 1)]), 1), []);
        let changed = elect(&topic, &live(&[(1, 1), (2, 1)]), 1);
        assert_eq!(leaders(&changed), [(0, Some(1)), (2, Some(2)), (3, None)]);
        assert_eq!(offline(&changed, &live(&[(1, 1), (2, 1)])), [(3, vec![BrokerId(0)])]);
    }

    #[test]
    fn a_sole_replica_that_lost_its_content_leads_again_in_two_steps() {
        let sole = topic().split_off(3);
        let returned = live(&[(0, 2)]);
        let leaderless = elect(&sole, &returned, 1);
        assert_eq!(leaders(&leaderless), [(3, None)]);
        assert_eq!(elect(&leaderless, &returned, 1), [], "it has not reported yet");
        let (broker, incarnation) = (BrokerId(0), Incarnation(2));
        let report =
            RecoveryReport { broker, incarnation, last_epoch: LeaderEpoch::FIRST, log_end: 17, log_start: Some(0) };
        let reported = [leaderless[0].report(leaderless[0].leader_epoch, report).unwrap()];
        assert_eq!(leaders(&elect(&reported, &returned, 1)), [(3, Some(0))]);
    }

    #[test]
    fn a_reassignment_ends_in_one_step_and_its_leader_goes_with_it() {
        let everybody = live(&[(0, 1), (1, 1), (2, 1)]);
        let moving = [topic()[0].start_reassignment(&[BrokerId(1)]).unwrap()];
        assert_eq!(leaders(&elect(&moving, &everybody, 1)), [(0, Some(1))]);
    }
}
