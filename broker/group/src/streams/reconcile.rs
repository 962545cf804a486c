//! One step of a member towards its target assignment (Kafka's `CurrentAssignmentBuilder`): what it has, what it is to
//! revoke, what it waits for.
//!
//! The barrier of the protocol is here: a task becomes active at a member only when no other member has it as active,
//! and a process never has two copies of a task, of whatever kinds. A member has a task until it says in a heartbeat
//! that it does not. Until it has revoked what it must, it keeps its epoch, or gets the next one if it must revoke
//! more.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::GroupError;
use crate::record::{MemberState, StreamsAssigned, StreamsCurrentValue, StreamsTasks, Tasks, TasksWithEpochs};

/// What a step rests on.
pub(super) struct Goal<'a> {
    /// The epoch of the target assignment.
    pub(super) epoch: i32,
    /// What the member is to have.
    pub(super) target: &'a StreamsTasks,
    /// The tasks that it says it owns; `None` if it does not say.
    pub(super) owned: Option<&'a StreamsTasks>,
    /// Who has tasks already.
    pub(super) holders: &'a dyn Holders,
}

/// Who has a task already: members other than the one that takes the step.
pub(super) trait Holders {
    /// Some member has it as active.
    fn is_active(&self, subtopology: &str, partition: i32) -> bool;
    /// A member of the same process has it, of whatever kind.
    fn is_in_process(&self, subtopology: &str, partition: i32) -> bool;
}

/// Where the member is after its heartbeat.
///
/// # Errors
/// That it must join again without tasks.
pub(super) fn step(current: &StreamsCurrentValue, goal: &Goal<'_>) -> Result<StreamsCurrentValue, GroupError> {
    let owns_nothing = goal.owned.is_some_and(StreamsTasks::is_empty);
    let next = match current.state {
        MemberState::Stable if current.epoch == goal.epoch => current.clone(),
        MemberState::Stable | MemberState::Unreleased => advance(current, current.epoch, goal),
        MemberState::Unrevoked if still_owns(goal.owned, &current.revoking) => current.clone(),
        MemberState::Unrevoked => advance(current, current.epoch.saturating_add(1), goal),
        MemberState::Unknown if owns_nothing => advance(current, goal.epoch, goal),
        MemberState::Unknown => return Err(GroupError::FencedMemberEpoch),
    };
    Ok(next)
}

/// Revokes what is not in the target; when nothing is left to revoke, takes of the target what is free.
fn advance(current: &StreamsCurrentValue, epoch: i32, goal: &Goal<'_>) -> StreamsCurrentValue {
    let (has, target) = (&current.assigned, goal.target);
    let (active, active_revoking) = split_active(&has.active, &target.active);
    let (standby, standby_revoking) = split(&has.standby, &target.standby);
    let (warmup, warmup_revoking) = split(&has.warmup, &target.warmup);
    let mut assigned = StreamsAssigned { active, standby, warmup };
    let revoking = StreamsAssigned { active: active_revoking, standby: standby_revoking, warmup: warmup_revoking };
    let previous_epoch = current.epoch;
    if !revoking.is_empty() && still_owns(goal.owned, &revoking) {
        return StreamsCurrentValue { epoch, previous_epoch, state: MemberState::Unrevoked, assigned, revoking };
    }
    let mut waits = take_active(&mut assigned.active, goal);
    waits |= take(&mut assigned.standby, &target.standby, goal.holders);
    waits |= take(&mut assigned.warmup, &target.warmup, goal.holders);
    StreamsCurrentValue {
        epoch: goal.epoch,
        previous_epoch,
        state: if waits { MemberState::Unreleased } else { MemberState::Stable },
        assigned,
        revoking: StreamsAssigned::default(),
    }
}

/// Takes active tasks that are free. Whether some are not.
fn take_active(active: &mut TasksWithEpochs, goal: &Goal<'_>) -> bool {
    let mut waits = false;
    for (id, partitions) in &goal.target.active {
        for partition in partitions {
            if active.get(id).is_some_and(|mine| mine.contains_key(partition)) {
                continue;
            }
            if goal.holders.is_active(id, *partition) || goal.holders.is_in_process(id, *partition) {
                waits = true;
            } else {
                active.entry(id.clone()).or_default().insert(*partition, goal.epoch);
            }
        }
    }
    waits
}

/// The same for standby and warm-up tasks, which only need a process without the task.
fn take(mine: &mut Tasks, target: &Tasks, holders: &dyn Holders) -> bool {
    let mut waits = false;
    for (id, partitions) in target {
        for partition in partitions {
            if mine.get(id).is_some_and(|mine| mine.contains(partition)) {
                continue;
            }
            if holders.is_in_process(id, *partition) {
                waits = true;
            } else {
                mine.entry(id.clone()).or_default().insert(*partition);
            }
        }
    }
    waits
}

/// What stays and what goes.
fn split_active(has: &TasksWithEpochs, target: &Tasks) -> (TasksWithEpochs, TasksWithEpochs) {
    let (mut kept, mut others) = (TasksWithEpochs::new(), TasksWithEpochs::new());
    for (id, partitions) in has {
        for (partition, epoch) in partitions {
            let stays = target.get(id).is_some_and(|target| target.contains(partition));
            let side: &mut BTreeMap<_, BTreeMap<i32, i32>> = if stays { &mut kept } else { &mut others };
            side.entry(id.clone()).or_default().insert(*partition, *epoch);
        }
    }
    (kept, others)
}

fn split(has: &Tasks, target: &Tasks) -> (Tasks, Tasks) {
    let (mut kept, mut others) = (Tasks::new(), Tasks::new());
    for (id, partitions) in has {
        for partition in partitions {
            let stays = target.get(id).is_some_and(|target| target.contains(partition));
            let side: &mut BTreeMap<_, BTreeSet<i32>> = if stays { &mut kept } else { &mut others };
            side.entry(id.clone()).or_default().insert(*partition);
        }
    }
    (kept, others)
}

/// A member that does not say what it owns may own all that it was given.
fn still_owns(owned: Option<&StreamsTasks>, revoking: &StreamsAssigned) -> bool {
    let Some(owned) = owned else { return true };
    let shares = |owned: &Tasks, revoking: &Tasks| {
        owned.iter().any(|(id, owned)| revoking.get(id).is_some_and(|revoking| !revoking.is_disjoint(owned)))
    };
    let revoking = revoking.tasks();
    shares(&owned.active, &revoking.active)
        || shares(&owned.standby, &revoking.standby)
        || shares(&owned.warmup, &revoking.warmup)
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
