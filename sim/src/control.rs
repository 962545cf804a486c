//! The entry in the API server, and the operators that change it.

use ottla_crds::assignment::{Assignment, BrokerId, Live, RecoveryReport};
use ottla_crds::plan::election::elect;

use crate::random::Random;

/// `min.insync.replicas`.
pub const MIN_IN_SYNC: usize = 2;

/// The API server, with every version that the entry ever had.
pub struct Api {
    versions: Vec<Assignment>,
    /// Nobody reads or writes.
    pub away: bool,
}

/// An operator: whom it believes to be there.
pub struct Operator {
    pub live: Live,
}

impl Api {
    pub fn new(entry: Assignment) -> Api {
        Api { versions: vec![entry], away: false }
    }

    /// The newest version.
    pub fn entry(&self) -> &Assignment {
        self.versions.last().expect("there is one from the start")
    }

    /// A version that a watch may show which has shown `seen`: the next, or any later one.
    pub fn shown(&self, seen: &Assignment, random: &mut Random) -> &Assignment {
        let next = self.versions.partition_point(|version| version.partition_epoch <= seen.partition_epoch);
        let newer = self.versions.len() - next;
        if newer == 0 { self.entry() } else { &self.versions[next + random.below(newer)] }
    }

    /// Compare-and-swap: whether `next` took the place of the very version that it rests on.
    pub fn write(&mut self, next: Assignment) -> bool {
        let rests_on_newest = next.partition_epoch == self.entry().partition_epoch + 1;
        if rests_on_newest {
            self.versions.push(next);
        }
        rests_on_newest
    }

    /// A broker says what it has, of the entry that it has seen.
    pub fn report(&mut self, seen: &Assignment, report: RecoveryReport) -> bool {
        !self.away && seen.report(report).is_ok_and(|next| self.write(next))
    }
}

impl Operator {
    /// What it would write now.
    pub fn step(&self, entry: &Assignment) -> Option<Assignment> {
        elect(std::slice::from_ref(entry), &self.live, MIN_IN_SYNC).pop()
    }

    /// What a person asks it for: a move to other brokers, or back.
    pub fn reassign(&self, entry: &Assignment, brokers: usize, random: &mut Random) -> Option<Assignment> {
        if entry.is_reassigning() {
            return entry.cancel_reassignment(&self.live, MIN_IN_SYNC).ok();
        }
        let mut left: Vec<BrokerId> = (0..brokers as i32).map(BrokerId).collect();
        let target: Vec<BrokerId> = (0..3).map(|_| left.swap_remove(random.below(left.len()))).collect();
        entry.start_reassignment(&target).ok()
    }
}
