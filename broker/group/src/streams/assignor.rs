//! Who is to have which task: Kafka's `sticky` assignor (`StickyTaskAssignor`).
//!
//! A task stays where it was active, or becomes active where it was standby, as long as its member is not given more
//! than its share; the rest goes to the process with the least load, and in it to the member with the fewest tasks.
//! Standby tasks follow by the same rules, to processes that do not have the task. Where Kafka's result depends on the
//! order of a hash table, the lower name comes first here.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::load::{Process, Quota};
use crate::ids::MemberId;
use crate::record::{StreamsTasks, Tasks};
use crate::streams::topology::TaskCount;

/// A task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Task<'a> {
    pub(super) subtopology: &'a str,
    pub(super) partition: i32,
}

/// A member, as far as it counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemberSpec<'a> {
    pub(crate) process: &'a str,
    /// The last target assignment; `None`: it had none yet.
    pub(crate) before: Option<&'a StreamsTasks>,
}

/// The new target assignment: every task is active at one member, and standby at as many other processes as wanted, as
/// far as there are so many. Without members, nothing.
pub(crate) fn assign(
    members: &BTreeMap<&MemberId, MemberSpec<'_>>,
    tasks: &BTreeMap<String, TaskCount>,
    standbys: usize,
) -> BTreeMap<MemberId, StreamsTasks> {
    let mut assignment = Assignment::new(members, tasks, standbys);
    if !members.is_empty() {
        assignment.assign_active(all(tasks, |_| true));
        if standbys > 0 {
            assignment.assign_standby(all(tasks, |count| count.is_stateful), standbys);
        }
    }
    let mut result: BTreeMap<MemberId, StreamsTasks> =
        members.keys().map(|id| ((*id).clone(), StreamsTasks::default())).collect();
    for (member, given) in assignment.processes.into_values().flat_map(Process::into_given) {
        result.insert(member.clone(), given);
    }
    result
}

/// All tasks of some subtopologies, by partition first.
fn all(tasks: &BTreeMap<String, TaskCount>, counts: impl Fn(&TaskCount) -> bool) -> Vec<Task<'_>> {
    let parts = tasks.iter().filter(|(_, count)| counts(count));
    let mut all: Vec<Task<'_>> = parts
        .flat_map(|(subtopology, count)| (0..count.tasks).map(move |partition| Task { subtopology, partition }))
        .collect();
    all.sort_by_key(|task| (task.partition, task.subtopology));
    all
}

/// A member and its process.
#[derive(Clone, Copy, Debug)]
struct ProcessMember<'a> {
    process: &'a str,
    member: &'a MemberId,
}

struct Assignment<'a> {
    processes: BTreeMap<&'a str, Process<'a>>,
    was_active: BTreeMap<Task<'a>, ProcessMember<'a>>,
    was_standby: BTreeMap<Task<'a>, Vec<ProcessMember<'a>>>,
    /// Of active tasks.
    active: Quota,
    /// Of active and standby tasks.
    total: Quota,
}

impl<'a> Assignment<'a> {
    fn new(
        members: &BTreeMap<&'a MemberId, MemberSpec<'a>>,
        tasks: &BTreeMap<String, TaskCount>,
        standbys: usize,
    ) -> Self {
        let count = |count: &TaskCount| usize::try_from(count.tasks).unwrap_or(0);
        let active: usize = tasks.values().map(count).sum();
        let stateful: usize = tasks.values().filter(|tasks| tasks.is_stateful).map(count).sum();
        let mut assignment = Assignment {
            processes: BTreeMap::new(),
            was_active: BTreeMap::new(),
            was_standby: BTreeMap::new(),
            active: Quota::new(active, members.len()),
            total: Quota::new(active + stateful * standbys, members.len()),
        };
        for (member, spec) in members {
            let place = ProcessMember { process: spec.process, member };
            assignment.processes.entry(spec.process).or_default().join(member);
            let Some(before) = spec.before else { continue };
            assignment.was_active.extend(each(&before.active).map(|task| (task, place)));
            for task in each(&before.standby) {
                assignment.was_standby.entry(task).or_default().push(place);
            }
        }
        assignment
    }

    fn assign_active(&mut self, mut tasks: Vec<Task<'a>>) {
        tasks.retain(|task| match self.was_active.get(task).copied() {
            Some(place) => !self.give_active_if_allowed(place, *task),
            None => true,
        });
        tasks.retain(|task| match self.idlest(task, false) {
            Some(place) => !self.give_active_if_allowed(place, *task),
            None => true,
        });
        tasks.sort(); // neighbours of a subtopology come to the same member, as long as it is the idlest
        for task in tasks {
            if let Some(place) = self.least_loaded(|_| true) {
                self.give(place, task, true);
            }
        }
    }

    fn give_active_if_allowed(&mut self, place: ProcessMember<'a>, task: Task<'a>) -> bool {
        let is_allowed = self.active.allows(self.count(place));
        if is_allowed {
            self.give(place, task, true);
        }
        is_allowed
    }

    fn assign_standby(&mut self, mut tasks: Vec<Task<'a>>, standbys: usize) {
        tasks.reverse();
        let mut left = Vec::new();
        for task in tasks {
            for given in 0..standbys {
                let before = self.was_active.get(&task).copied().filter(|place| self.may_copy(*place, &task));
                let place = before.or_else(|| self.idlest(&task, true).filter(|place| self.may_copy(*place, &task)));
                match place {
                    Some(place) => self.give(place, task, false),
                    None => {
                        left.push((task, standbys - given));
                        break;
                    }
                }
            }
        }
        left.sort_by_key(|(task, _)| Reverse(*task));
        for (task, count) in left {
            for _ in 0..count {
                // Without a process that does not have the task, there are fewer copies than wanted.
                let Some(place) = self.least_loaded(|process| !process.has(&task)) else { break };
                self.give(place, task, false);
            }
        }
    }

    /// Whether the member's share has room for a copy of the task, which its process does not have.
    fn may_copy(&self, place: ProcessMember<'a>, task: &Task<'a>) -> bool {
        let is_free = self.processes.get(place.process).is_some_and(|process| !process.has(task));
        is_free && self.total.allows(self.count(place))
    }

    /// Of the members where the task was standby the one with the least load.
    fn idlest(&self, task: &Task<'a>, must_be_free: bool) -> Option<ProcessMember<'a>> {
        let places = self.was_standby.get(task)?;
        let process = |place: &ProcessMember<'a>| self.processes.get(place.process);
        let free = places.iter().filter(|place| !must_be_free || process(place).is_some_and(|all| !all.has(task)));
        free.copied().min_by(|one, other| match (process(one), process(other)) {
            (Some(first), Some(second)) => {
                let by_member = first.count(one.member).cmp(&second.count(other.member));
                first.compare_load(second).then(by_member).then(one.member.cmp(other.member))
            }
            _ => one.member.cmp(other.member),
        })
    }

    /// The idlest member of the process with the least load.
    fn least_loaded(&self, may_be: impl Fn(&Process<'a>) -> bool) -> Option<ProcessMember<'a>> {
        let all = self.processes.iter().filter(|(_, process)| may_be(process));
        let (process, least) = all.min_by(|one, other| one.1.compare_load(other.1).then(one.0.cmp(other.0)))?;
        Some(ProcessMember { process, member: least.idlest()? })
    }

    fn count(&self, place: ProcessMember<'a>) -> usize {
        self.processes.get(place.process).map_or(0, |process| process.count(place.member))
    }

    fn give(&mut self, place: ProcessMember<'a>, task: Task<'a>, is_active: bool) {
        let Some(process) = self.processes.get_mut(place.process) else { return };
        let count = process.give(place.member, task, is_active);
        if is_active {
            self.active.given(count);
        }
        self.total.given(count);
    }
}

fn each(tasks: &Tasks) -> impl Iterator<Item = Task<'_>> {
    tasks
        .iter()
        .flat_map(|(subtopology, all)| all.iter().map(move |partition| Task { subtopology, partition: *partition }))
}

#[cfg(test)]
#[path = "assignor_tests.rs"]
mod tests;
