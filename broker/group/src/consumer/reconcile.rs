//! One step of a member towards its target assignment: what it has, what it is to revoke, what it waits for.
//!
//! The barrier of the protocol is here: a partition is given to a member only when no other member has it, and a member
//! has a partition until it says in a heartbeat that it does not. Until it has revoked what it must, it keeps its
//! epoch.

use std::collections::BTreeSet;

use ottla_wire::TopicIdPartition;
use uuid::Uuid;

use crate::error::GroupError;
use crate::record::{Assigned, CurrentValue, MemberState, Partitions};

/// What a step rests on.
pub(crate) struct Goal<'a> {
    /// The epoch of the target assignment.
    pub(crate) epoch: i32,
    /// What the member is to have.
    pub(crate) target: &'a Partitions,
    /// The topics that it subscribes to now, and that exist.
    pub(crate) subscribed: &'a BTreeSet<Uuid>,
    /// Its subscription changes with this heartbeat.
    pub(crate) has_resubscribed: bool,
    /// The partitions that it says it owns; `None` if it does not say.
    pub(crate) owned: Option<&'a Partitions>,
    /// Whether a member other than this one has the partition.
    pub(crate) is_taken: &'a dyn Fn(TopicIdPartition) -> bool,
}

/// Where the member is after its heartbeat.
///
/// # Errors
/// That it must join again without partitions.
pub(crate) fn step(current: &CurrentValue, goal: &Goal<'_>) -> Result<CurrentValue, GroupError> {
    let next = match current.state {
        MemberState::Stable if current.epoch != goal.epoch => advance(current, current.epoch, goal),
        MemberState::Unrevoked if !still_owns(goal.owned, &current.revoking) => advance(current, current.epoch, goal),
        MemberState::Stable | MemberState::Unrevoked if goal.has_resubscribed => drop_unsubscribed(current, goal),
        MemberState::Stable | MemberState::Unrevoked => current.clone(),
        MemberState::Unreleased => advance(current, current.epoch, goal),
        MemberState::Unknown if goal.owned.is_some_and(Partitions::is_empty) => advance(current, goal.epoch, goal),
        MemberState::Unknown => return Err(GroupError::FencedMemberEpoch),
    };
    Ok(next)
}

/// Revokes what is not in the target; when nothing is left to revoke, takes of the target what is free.
fn advance(current: &CurrentValue, epoch: i32, goal: &Goal<'_>) -> CurrentValue {
    let is_wanted = |topic: &Uuid, partition: &i32| {
        goal.subscribed.contains(topic) && goal.target.get(topic).is_some_and(|target| target.contains(partition))
    };
    let (mut assigned, revoking) = split(&current.assigned, is_wanted);
    if !revoking.is_empty() && still_owns(goal.owned, &revoking) {
        let previous_epoch = current.epoch;
        return CurrentValue { epoch, previous_epoch, state: MemberState::Unrevoked, assigned, revoking };
    }
    let mut state = MemberState::Stable;
    for (topic, partitions) in goal.target.iter().filter(|(topic, _)| goal.subscribed.contains(topic)) {
        for partition in partitions {
            if assigned.get(topic).is_some_and(|mine| mine.contains_key(partition)) {
                continue;
            } else if (goal.is_taken)(TopicIdPartition::new(*topic, *partition)) {
                state = MemberState::Unreleased;
            } else {
                assigned.entry(*topic).or_default().insert(*partition, goal.epoch);
            }
        }
    }
    CurrentValue { epoch: goal.epoch, previous_epoch: current.epoch, state, assigned, revoking: Assigned::new() }
}

/// Without a new target yet: what the member does not subscribe to any longer is to be revoked already.
fn drop_unsubscribed(current: &CurrentValue, goal: &Goal<'_>) -> CurrentValue {
    let (assigned, dropped) = split(&current.assigned, |topic, _| goal.subscribed.contains(topic));
    if dropped.is_empty() {
        return current.clone();
    }
    let mut revoking = current.revoking.clone();
    for (topic, partitions) in dropped {
        revoking.entry(topic).or_default().extend(partitions);
    }
    let previous_epoch = current.epoch;
    if still_owns(goal.owned, &revoking) {
        return CurrentValue {
            epoch: current.epoch,
            previous_epoch,
            state: MemberState::Unrevoked,
            assigned,
            revoking,
        };
    }
    CurrentValue { assigned, previous_epoch, ..current.clone() }
}

fn split(assigned: &Assigned, keeps: impl Fn(&Uuid, &i32) -> bool) -> (Assigned, Assigned) {
    let (mut kept, mut others) = (Assigned::new(), Assigned::new());
    for (topic, partitions) in assigned {
        for (partition, epoch) in partitions {
            let side = if keeps(topic, partition) { &mut kept } else { &mut others };
            side.entry(*topic).or_default().insert(*partition, *epoch);
        }
    }
    (kept, others)
}

/// A member that does not say what it owns may own all that it was given.
fn still_owns(owned: Option<&Partitions>, revoking: &Assigned) -> bool {
    let Some(owned) = owned else { return true };
    owned.iter().any(|(topic, partitions)| {
        revoking.get(topic).is_some_and(|revoking| partitions.iter().any(|partition| revoking.contains_key(partition)))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// `1-0@3`: partition 0 of topic 1, assigned at epoch 3. In what follows nothing else is written.
    fn assigned(text: &str) -> Assigned {
        let mut assigned = Assigned::new();
        for word in text.split_whitespace() {
            let (at, epoch) = word.split_once('@').unwrap();
            let (topic, partition) = at.split_once('-').unwrap();
            let topic = Uuid::from_u128(topic.parse().unwrap());
            assigned.entry(topic).or_default().insert(partition.parse().unwrap(), epoch.parse().unwrap());
        }
        assigned
    }

    fn partitions(text: &str) -> Partitions {
        let with_epochs: Vec<String> = text.split_whitespace().map(|at| format!("{at}@0")).collect();
        let without = |partitions: BTreeMap<i32, i32>| partitions.into_keys().collect();
        assigned(&with_epochs.join(" ")).into_iter().map(|(topic, all)| (topic, without(all))).collect()
    }

    fn current(epoch: i32, previous_epoch: i32, state: MemberState, has: &str, revoking: &str) -> CurrentValue {
        CurrentValue { epoch, previous_epoch, state, assigned: assigned(has), revoking: assigned(revoking) }
    }

    use MemberState::{Stable, Unknown, Unreleased, Unrevoked};

    #[test]
    fn a_member_moves_to_its_target() {
        // Before; target at epoch 11; what it owns; what others have; after.
        let cases = [
            // Nothing new.
            (current(11, 10, Stable, "1-0@9", ""), "1-0", None, "", current(11, 10, Stable, "1-0@9", "")),
            // A new epoch without a change.
            (current(10, 9, Stable, "1-0@9", ""), "1-0", None, "", current(11, 10, Stable, "1-0@9", "")),
            // A new partition that is free, and one that is not.
            (current(10, 9, Stable, "1-0@9", ""), "1-0 1-1", None, "", current(11, 10, Stable, "1-0@9 1-1@11", "")),
            (current(10, 9, Stable, "1-0@9", ""), "1-0 1-1", None, "1-1", current(11, 10, Unreleased, "1-0@9", "")),
            (current(10, 9, Stable, "", ""), "1-0 1-1", None, "1-1", current(11, 10, Unreleased, "1-0@11", "")),
            // One goes: it keeps its epoch until it has revoked it, and gets nothing before.
            (
                current(10, 9, Stable, "1-0@9 1-1@10", ""),
                "1-0 1-2",
                None,
                "",
                current(10, 10, Unrevoked, "1-0@9", "1-1@10"),
            ),
            // It says at once that it does not own it.
            (
                current(10, 9, Stable, "1-0@9 1-1@10", ""),
                "1-0 1-2",
                Some("1-0"),
                "",
                current(11, 10, Stable, "1-0@9 1-2@11", ""),
            ),
            // It has not revoked yet, and says so or nothing.
            (
                current(10, 10, Unrevoked, "1-0@9", "1-1@10"),
                "1-0 1-2",
                Some("1-0 1-1"),
                "",
                current(10, 10, Unrevoked, "1-0@9", "1-1@10"),
            ),
            (
                current(10, 10, Unrevoked, "1-0@9", "1-1@10"),
                "1-0",
                None,
                "",
                current(10, 10, Unrevoked, "1-0@9", "1-1@10"),
            ),
            // It has.
            (
                current(10, 10, Unrevoked, "1-0@9", "1-1@10"),
                "1-0 1-2",
                Some("1-0"),
                "",
                current(11, 10, Stable, "1-0@9 1-2@11", ""),
            ),
            // It has, but the target has moved on and wants more of it.
            (
                current(10, 10, Unrevoked, "1-0@9", "1-1@10"),
                "1-2",
                Some("1-0"),
                "",
                current(10, 10, Unrevoked, "", "1-0@9"),
            ),
            // What it has just revoked comes back: nobody else can have it.
            (current(10, 10, Unrevoked, "", "1-0@9"), "1-0", Some(""), "", current(11, 10, Stable, "1-0@11", "")),
            // It waits, is given what is released, and waits for the rest.
            (
                current(11, 10, Unreleased, "1-0@9", ""),
                "1-0 1-1 1-2",
                None,
                "1-2",
                current(11, 11, Unreleased, "1-0@9 1-1@11", ""),
            ),
            (
                current(11, 11, Unreleased, "1-0@9 1-1@11", ""),
                "1-0 1-1 1-2",
                None,
                "",
                current(11, 11, Stable, "1-0@9 1-1@11 1-2@11", ""),
            ),
            // While it waits there is a newer target, which takes something from it.
            (
                current(10, 9, Unreleased, "1-0@9 1-1@9", ""),
                "1-0",
                None,
                "1-2",
                current(10, 10, Unrevoked, "1-0@9", "1-1@9"),
            ),
            // A state of a newer version: it begins again without partitions.
            (current(10, 9, Unknown, "", ""), "1-0", Some(""), "", current(11, 10, Stable, "1-0@11", "")),
        ];
        let subscribed = BTreeSet::from([Uuid::from_u128(1), Uuid::from_u128(2)]);
        for (before, target, owned, taken, after) in cases {
            let (target, owned, taken) = (partitions(target), owned.map(partitions), partitions(taken));
            let is_taken =
                |at: TopicIdPartition| taken.get(&at.topic_id).is_some_and(|taken| taken.contains(&at.partition));
            let goal = Goal {
                epoch: 11,
                target: &target,
                subscribed: &subscribed,
                has_resubscribed: false,
                owned: owned.as_ref(),
                is_taken: &is_taken,
            };
            assert_eq!(step(&before, &goal), Ok(after), "{before:?} to {target:?}");
        }
    }

    #[test]
    fn a_topic_without_subscription_is_revoked_at_once() {
        let cases = [
            (current(11, 10, Stable, "1-0@9 2-0@9", ""), None, current(11, 11, Unrevoked, "1-0@9", "2-0@9")),
            (current(11, 10, Stable, "1-0@9 2-0@9", ""), Some("1-0"), current(11, 11, Stable, "1-0@9", "")),
            (current(11, 10, Stable, "1-0@9", ""), None, current(11, 10, Stable, "1-0@9", "")),
            (
                current(10, 10, Unrevoked, "1-0@9 2-0@9", "1-1@9"),
                Some("1-0 1-1 2-0"),
                current(10, 10, Unrevoked, "1-0@9", "1-1@9 2-0@9"),
            ),
            // A target that is older than the subscription: it counts as far as the member subscribes.
            (current(10, 9, Stable, "1-0@9 2-0@9", ""), None, current(10, 10, Unrevoked, "1-0@9", "2-0@9")),
            (current(10, 9, Unreleased, "1-0@9", ""), None, current(11, 10, Stable, "1-0@9", "")),
        ];
        let (subscribed, target) = (BTreeSet::from([Uuid::from_u128(1)]), partitions("1-0 2-0 2-1"));
        for (before, owned, after) in cases {
            let owned = owned.map(partitions);
            let goal = Goal {
                epoch: 11,
                target: &target,
                subscribed: &subscribed,
                has_resubscribed: true,
                owned: owned.as_ref(),
                is_taken: &|_| false,
            };
            assert_eq!(step(&before, &goal), Ok(after), "{before:?}");
        }
    }

    #[test]
    fn a_member_in_an_unknown_state_must_not_bring_partitions() {
        for owned in [None, Some(partitions("1-0"))] {
            let goal = Goal {
                epoch: 11,
                target: &partitions("1-0"),
                subscribed: &BTreeSet::from([Uuid::from_u128(1)]),
                has_resubscribed: false,
                owned: owned.as_ref(),
                is_taken: &|_| false,
            };
            assert_eq!(step(&current(10, 9, Unknown, "1-0@9", ""), &goal), Err(GroupError::FencedMemberEpoch));
        }
    }
}
