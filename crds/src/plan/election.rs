//! What becomes of assignments when brokers come and go: the operator's one step, for a list.

use crate::assignment::{Assignment, BrokerId, Live, Refusal};

/// The assignments that must change, as they should be. `min_in_sync` is the topic's `min.insync.replicas`.
pub fn elect(assignments: &[Assignment], live: &Live, min_in_sync: usize) -> Vec<Assignment> {
    assignments.iter().filter_map(|assignment| step(assignment, live, min_in_sync)).collect()
}

/// The next step of one assignment: heal it, or recover it, or end its reassignment. What is left after one step shows when the
/// operator reads the result.
fn step(assignment: &Assignment, live: &Live, min_in_sync: usize) -> Option<Assignment> {
    let settled = |step: &Result<Assignment, Refusal>| step.is_ok();
    [assignment.complete_reassignment(live), assignment.heal(live, min_in_sync), assignment.recover(live)]
        .into_iter()
        .find(settled)?
        .ok()
}

/// Partitions that nobody leads, with the members that each waits for.
pub fn offline(assignments: &[Assignment], live: &Live) -> Vec<(i32, Vec<BrokerId>)> {
    let leaderless = assignments.iter().filter(|assignment| assignment.leader.is_none());
    leaderless.map(|assignment| (assignment.partition, assignment.waits_for(live))).collect()
}
