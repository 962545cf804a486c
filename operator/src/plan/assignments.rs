//! What becomes of assignments that exist: leaders are elected, graves are cleared.

use std::collections::BTreeMap;

use ottla_crds::KafkaAssignment;
use ottla_crds::plan::election::elect;
use uuid::Uuid;

use super::rules::RuleBook;
use super::{Step, World};

/// Brings every assignment in line with who is there.
pub fn elections(world: &World, rules: &RuleBook<'_>) -> Vec<Step> {
    let live = world.live();
    let standing = world.assignments.iter().filter(|assignment| !assignment.spec.deleted);
    standing
        .filter_map(|read| {
            let next = elect(&read.spec.partitions, &live, min_in_sync(rules, read));
            (!next.is_empty()).then(|| Step::Change { read: read.clone(), next })
        })
        .collect()
}

/// Removes the tombstones of topics whose replicas are all gone. A topic's objects go together: while one of them names a
/// replica, the others tell it how many partitions there were.
pub fn emptied_graves(world: &World) -> Vec<Step> {
    let mut topics: BTreeMap<Uuid, Vec<_>> = BTreeMap::new();
    for assignment in &world.assignments {
        topics.entry(assignment.spec.topic_id).or_default().push(assignment);
    }
    let empty = |object: &KafkaAssignment| {
        object.spec.deleted && object.spec.partitions.iter().all(|entry| entry.replicas.is_empty())
    };
    topics.retain(|_, objects| objects.iter().all(|object| empty(object)));
    topics.into_values().flatten().map(|object| Step::Remove(object.clone())).collect()
}

/// The topic's `min.insync.replicas`, for the floor of the ISR. With one replica the floor is one whatever it says.
fn min_in_sync(rules: &RuleBook<'_>, assignment: &KafkaAssignment) -> usize {
    if assignment.spec.partitions.iter().all(|entry| entry.replicas.len() <= 1) {
        return 1;
    }
    rules.of_named(&assignment.spec.topic_name).min_in_sync
}
