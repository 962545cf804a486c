//! Plans of small clusters as tables.

mod evacuation;
mod even;

use std::collections::BTreeSet;

use super::*;
use crate::assignment::{Assignment, BrokerId, Incarnation, IsrMember, Live, LiveBroker};

/// A cluster whose brokers are all live.
struct Cluster {
    brokers: Vec<Broker>,
    entries: Vec<Assignment>,
    pinned: Vec<i32>,
    bytes: u64,
    /// The partitions from this one on have ten times as many bytes.
    large_from: i32,
}

impl Cluster {
    /// Brokers 0, 1, … in these racks, and one topic on them, 100 bytes in each partition.
    fn new(racks: &[&str], replicas: &[&[i32]]) -> Self {
        let broker = |(id, rack): (i32, &&str)| Broker {
            id: BrokerId(id),
            rack: Some((*rack).to_owned()),
            node: None,
            capacity: None,
            used: None,
            role: Role::Serves,
        };
        let brokers: Vec<Broker> = (0..).zip(racks).map(broker).collect();
        let entry = |(number, replicas): (i32, &&[i32])| Assignment::create(number, ids(replicas), &live()).unwrap();
        let entries = (0..).zip(replicas).map(entry).collect();
        Self { brokers, entries, pinned: Vec::new(), bytes: 100, large_from: i32::MAX }
    }

    fn with(mut self, broker: usize, role: Role) -> Self {
        self.brokers[broker].role = role;
        self
    }

    fn of_capacity(mut self, broker: usize, capacity: u64) -> Self {
        self.brokers[broker].capacity = Some(capacity);
        self
    }

    fn partitions(&self) -> Vec<Partition<'_>> {
        let factor = |entry: &Assignment| if entry.partition >= self.large_from { 10 } else { 1 };
        let load = |entry| Load { bytes: self.bytes * factor(entry), bytes_in: 0, bytes_out: 0 };
        let partition = |entry| Partition { topic: "t", entry, pinned: self.is_pinned(entry), load: load(entry) };
        self.entries.iter().map(partition).collect()
    }

    fn is_pinned(&self, entry: &Assignment) -> bool {
        self.pinned.contains(&entry.partition)
    }

    /// Starts and cancels what the plan says.
    fn begin(&mut self, mode: &Mode, budget: &Budget) -> usize {
        let partitions = self.partitions();
        let plan = balance(&self.brokers, &partitions, mode, budget, 7);
        let count = plan.start.len() + plan.cancel.len();
        let cancelled: Vec<i32> = plan.cancel.iter().map(|(_, partition)| *partition).collect();
        let started: Vec<(i32, Vec<BrokerId>)> =
            plan.start.into_iter().map(|next| (next.partition, next.target)).collect();
        for partition in cancelled {
            let entry = &mut self.entries[partition as usize];
            *entry = entry.cancel_reassignment(&live(), 1).unwrap();
        }
        for (partition, target) in started {
            let entry = &mut self.entries[partition as usize];
            *entry = entry.start_reassignment(&target).unwrap();
        }
        count
    }

    /// Every replica that is being copied catches up.
    fn catch_up(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| entry.is_reassigning()) {
            let member = |broker: BrokerId| IsrMember { broker, incarnation: Incarnation(1) };
            entry.isr.extend(entry.adding.iter().copied().map(member));
            *entry = entry.complete_reassignment(&live()).unwrap();
        }
    }

    /// Rounds until the plan is empty.
    fn settle(&mut self, mode: &Mode) -> usize {
        for round in 0..100 {
            if self.begin(mode, &Budget::default()) == 0 {
                return round;
            }
            self.catch_up();
        }
        panic!("it never ends: {:?}", self.entries);
    }

    fn blocked(&self, mode: &Mode) -> Vec<(i32, i32, Reason)> {
        let partitions = self.partitions();
        let plan = balance(&self.brokers, &partitions, mode, &Budget::default(), 7);
        plan.blocked.iter().map(|blocked| (blocked.partition, blocked.broker.0, blocked.reason)).collect()
    }

    fn replicas(&self) -> Vec<Vec<i32>> {
        self.entries.iter().map(|entry| entry.replicas.iter().map(|id| id.0).collect()).collect()
    }
}

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn live() -> Live {
    (0..50).map(|id| (BrokerId(id), LiveBroker { incarnation: Incarnation(1), draining: false })).collect()
}
