//! The entries in the API server, and the operators that change them.

use ottla_broker::ask::PRODUCER_ID_BLOCK;
use ottla_rules::assignment::{Assignment, BrokerId, LeaderEpoch, Live, RecoveryReport};
use ottla_rules::plan::election::elect;

use crate::random::Random;

/// The API server, with every version that each entry ever had.
pub(crate) struct Api {
    versions: Vec<Vec<Assignment>>,
    /// The topics' `min.insync.replicas`.
    pub min_in_sync: usize,
    /// Nobody reads or writes.
    pub away: bool,
    /// The first producer id that no broker was given; none that a producer here has by itself.
    next_producer_id: i64,
}

/// An operator.
pub(crate) struct Operator {
    /// Whom it believes to be there.
    pub live: Live,
    /// The entries as it has seen them last.
    pub seen: Vec<Assignment>,
    pub min_in_sync: usize,
    /// It does nothing, and learns nothing.
    pub paused: bool,
}

impl Api {
    pub(crate) fn new(entries: Vec<Assignment>, min_in_sync: usize) -> Api {
        let versions = entries.into_iter().map(|entry| vec![entry]).collect();
        Api { versions, min_in_sync, away: false, next_producer_id: 1_000 }
    }

    /// How many entries there are.
    pub(crate) fn count(&self) -> usize {
        self.versions.len()
    }

    /// The newest version of an entry.
    pub(crate) fn entry(&self, entry: usize) -> &Assignment {
        self.versions[entry].last().expect("there is one from the start")
    }

    /// The newest of all.
    pub(crate) fn entries(&self) -> Vec<Assignment> {
        (0..self.versions.len()).map(|entry| self.entry(entry).clone()).collect()
    }

    /// A version that a watch may show which has shown `seen`: the next, or any later one.
    pub(crate) fn shown(&self, entry: usize, seen: &Assignment, random: &mut Random) -> &Assignment {
        let versions = &self.versions[entry];
        let next = versions.partition_point(|version| version.partition_epoch <= seen.partition_epoch);
        random.pick(&versions[next..]).unwrap_or_else(|| self.entry(entry))
    }

    /// Compare-and-swap: whether `next` took the place of the very version that it rests on.
    pub(crate) fn write(&mut self, entry: usize, next: Assignment) -> bool {
        let rests_on_newest = next.partition_epoch.follows(self.entry(entry).partition_epoch);
        if rests_on_newest {
            self.versions[entry].push(next);
        }
        rests_on_newest
    }

    /// The first id of a block that a broker may give to producers.
    pub(crate) fn take_producer_ids(&mut self) -> i64 {
        let first = self.next_producer_id;
        self.next_producer_id += PRODUCER_ID_BLOCK;
        first
    }

    /// A broker says what it has, as it was while nobody led in this leader epoch.
    pub(crate) fn report(&mut self, entry: usize, leader_epoch: LeaderEpoch, report: RecoveryReport) -> bool {
        let reported = self.entry(entry).report(leader_epoch, report);
        reported.is_ok_and(|next| self.write(entry, next))
    }
}

impl Operator {
    /// What it would write now: entries with their numbers.
    pub(crate) fn step(&self) -> Vec<(usize, Assignment)> {
        let each = self.seen.iter().enumerate();
        each.flat_map(|(number, entry)| {
            let next = elect(std::slice::from_ref(entry), &self.live, self.min_in_sync);
            next.into_iter().map(move |next| (number, next))
        })
        .collect()
    }

    /// What a person asks it for: a move to other brokers, or back.
    pub(crate) fn reassign(&self, entry: usize, brokers: usize, random: &mut Random) -> Option<Assignment> {
        let entry = &self.seen[entry];
        if entry.is_reassigning() {
            return entry.cancel_reassignment(&self.live, self.min_in_sync).ok().filter(|_| random.happens(500));
        }
        let mut left: Vec<BrokerId> = (0..brokers as i32).map(BrokerId).collect();
        let is_spare = |broker: &&BrokerId| !entry.replicas.contains(broker);
        if let Some(spare) = left.iter().find(is_spare).filter(|_| random.happens(700)) {
            // One replica moves; that takes the least time.
            let mut target = entry.replicas.clone();
            target[random.below(entry.replicas.len())] = *spare;
            return entry.start_reassignment(&target).ok();
        }
        let factor = 3 + random.below(brokers - 2);
        let target: Vec<BrokerId> = (0..factor).map(|_| left.swap_remove(random.below(left.len()))).collect();
        entry.start_reassignment(&target).ok()
    }
}
