//! Changes of existing assignments: elections, and the removal of assignments of deleted topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_crds::KafkaAssignment;
use ottla_rules::assignment::{Assignment, BrokerId};
use ottla_rules::plan::election::{elect, obey};
use ottla_rules::plan::roster::Wanted;
use uuid::Uuid;

use super::condition::named;
use super::news::{News, Recovered};
use super::rules::RuleBook;
use super::step::Step;
use super::world::World;

/// The brokers in the ISR of partitions without a leader, and those that have reported about one.
pub fn last_members(assignments: &[Arc<KafkaAssignment>]) -> BTreeSet<BrokerId> {
    let entries = assignments.iter().flat_map(|object| &object.spec.partitions);
    let leaderless = entries.filter(|entry| entry.leader.is_none());
    let names = |entry: &Assignment| {
        let members = entry.isr.iter().map(|member| member.broker);
        members.chain(entry.reports.iter().map(|report| report.broker)).collect::<Vec<_>>()
    };
    leaderless.flat_map(names).collect()
}

/// Changes every assignment to fit the live brokers and the administrators' orders.
pub fn elections(world: &World, rules: &RuleBook<'_>) -> Vec<Step> {
    let live = world.live();
    let cluster_id = world.cluster.as_ref().and_then(|cluster| cluster.status.as_ref()?.cluster_id.as_deref());
    let standing = world.assignments.iter().filter(|assignment| !assignment.spec.deleted);
    standing
        .filter_map(|read| {
            let entries = &read.spec.partitions;
            let speaker = rules.speaker(&read.spec.topic_name);
            let undecided = world.undecided(read, rules.min_in_sync(&read.spec.topic_name));
            let mut elected = elect(entries, &live, min_in_sync(rules, read));
            elected.retain(|next| !undecided.contains(&next.partition));
            let orders = speaker
                .zip(cluster_id)
                .map_or(&[][..], |(topic, cluster_id)| topic.spec.recovery_orders(cluster_id, read.spec.topic_id));
            let obeyed = obey(entries, orders, &live);
            let recovered = [(recovered(entries, &elected), false), (numbers(obeyed.iter()), true)];
            let about = |(partitions, by_order)| Some(Recovered { topic: speaker?.clone(), partitions, by_order });
            let recovered = recovered.into_iter().filter_map(about).collect();
            let next = [elected, obeyed].concat();
            (!next.is_empty()).then(|| Step::Change { read: read.clone(), next, recovered })
        })
        .collect()
}

/// The partitions that were recovered: only a recovery by the operator adds a broker to an ISR.
fn recovered(before: &[Assignment], elected: &[Assignment]) -> Vec<i32> {
    let joined = |after: &&Assignment| {
        let before = before.iter().find(|before| before.partition == after.partition);
        before.is_some_and(|before| after.isr.iter().any(|member| !before.isr.contains(member)))
    };
    numbers(elected.iter().filter(joined))
}

fn numbers<'a>(entries: impl Iterator<Item = &'a Assignment>) -> Vec<i32> {
    entries.map(|entry| entry.partition).collect()
}

impl Recovered {
    /// The Events, if anything was written: not of the partitions whose entries were `stale`.
    pub fn news(&self, stale: &[i32]) -> Option<News> {
        let mut written = self.partitions.iter().copied().filter(|partition| !stale.contains(partition)).peekable();
        written.peek()?;
        let written: Vec<i32> = written.collect();
        let continues = if written.len() == 1 { "continues" } else { "continue" };
        let partitions = named("partition", written);
        let (reason, note) = if self.by_order {
            let note = format!(
                "{partitions} {continues} with the brokers that spec.recovery names: \
                 records that only the missing brokers hold are lost"
            );
            ("RecoveredByOrder", note)
        } else {
            let note = format!(
                "every in-sync replica of {partitions} has lost data: each continues with the longest log among all \
                replicas"
            );
            ("Recovered", note)
        };
        Some(News { warning: true, reason: reason.to_owned(), note })
    }
}

/// Removes brokers that have gone with their volumes from the assignments of deleted topics: nobody else could. While
/// its claim exists, a broker may return, and must find the tombstone.
pub fn forgotten(world: &World) -> Vec<Step> {
    let Some(claimants) = world.platform.as_ref().and_then(|platform| platform.claimants.as_ref()) else {
        return Vec::new();
    };
    let is_live = |id: &BrokerId| world.brokers.get(id).is_some_and(|broker| broker.live.is_some());
    let has_gone = |id: &&BrokerId| world.wanted(**id) == Wanted::Leaving && !is_live(id) && !claimants.contains(*id);
    let forget = |entry: &Assignment| entry.forget(*entry.replicas.iter().find(has_gone)?).ok();
    let buried = world.assignments.iter().filter(|object| object.spec.deleted);
    let step = |read: &Arc<KafkaAssignment>| {
        let next: Vec<Assignment> = read.spec.partitions.iter().filter_map(forget).collect();
        (!next.is_empty()).then(|| Step::Change { read: read.clone(), next, recovered: Vec::new() })
    };
    buried.filter_map(step).collect()
}

/// Removes the assignments of deleted topics whose replicas are all gone. A topic's objects are removed together: while
/// one of them names a replica, the others show it how many partitions there were.
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
