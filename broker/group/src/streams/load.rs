//! How many tasks members and their processes have while tasks are assigned (Kafka's `ProcessState`).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::ids::MemberId;
use crate::record::StreamsTasks;
use crate::streams::assignor::Task;

/// A process and what its members have.
#[derive(Debug, Default)]
pub(super) struct Process<'a> {
    /// How many tasks each member has, of any kind.
    counts: BTreeMap<&'a MemberId, usize>,
    /// The same for all members.
    tasks: usize,
    /// Its tasks, of any kind: two copies of a task are never in one process.
    has: BTreeSet<Task<'a>>,
    given: BTreeMap<&'a MemberId, StreamsTasks>,
}

impl<'a> Process<'a> {
    pub(super) fn join(&mut self, member: &'a MemberId) {
        self.counts.insert(member, 0);
    }

    pub(super) fn has(&self, task: &Task<'a>) -> bool {
        self.has.contains(task)
    }

    /// How many tasks the member has.
    pub(super) fn count(&self, member: &MemberId) -> usize {
        self.counts.get(member).copied().unwrap_or(0)
    }

    /// Orders processes by how many tasks they have for each of their members.
    pub(super) fn compare_load(&self, other: &Process<'_>) -> Ordering {
        let cross = |one: &Process<'_>, other: &Process<'_>| one.tasks.saturating_mul(other.counts.len());
        cross(self, other).cmp(&cross(other, self))
    }

    /// The member with the fewest tasks; `None`: the process has no members.
    pub(super) fn idlest(&self) -> Option<&'a MemberId> {
        self.counts.iter().min_by_key(|(id, count)| (**count, **id)).map(|(id, _)| *id)
    }

    /// Gives a task to a member. Returns how many the member has now.
    pub(super) fn give(&mut self, member: &'a MemberId, task: Task<'a>, is_active: bool) -> usize {
        let given = self.given.entry(member).or_default();
        let tasks = if is_active { &mut given.active } else { &mut given.standby };
        tasks.entry(task.subtopology.to_owned()).or_default().insert(task.partition);
        self.has.insert(task);
        self.tasks += 1;
        let count = self.counts.entry(member).or_default();
        *count += 1;
        *count
    }

    pub(super) fn into_given(self) -> impl Iterator<Item = (&'a MemberId, StreamsTasks)> {
        self.given.into_iter()
    }
}

/// How many tasks each member may be given out of loyalty: the mean, rounded up, of what is left for those that have
/// not reached it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    tasks: usize,
    members: usize,
    each: usize,
}

impl Quota {
    pub(super) fn new(tasks: usize, members: usize) -> Self {
        Quota { tasks, members, each: each(tasks, members) }
    }

    pub(super) fn allows(&self, count: usize) -> bool {
        count < self.each
    }

    /// A member has this many now.
    pub(super) fn given(&mut self, count: usize) {
        if count == self.each {
            *self = Quota::new(self.tasks.saturating_sub(count), self.members.saturating_sub(1));
        }
    }
}

fn each(tasks: usize, members: usize) -> usize {
    if members == 0 { 0 } else { tasks.div_ceil(members) }
}
