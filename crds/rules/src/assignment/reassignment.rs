//! The operator's transitions when replicas move: add the new replicas, wait until the target is in sync, then remove
//! the others, in a new leader epoch, so that their positions do not count if they return.

use super::{Assignment, BrokerId, Live, Refusal};

impl Assignment {
    /// Begins to move the partition to `target`. Leader, leader epoch and ISR stay. If only the order changes, the move
    /// is complete at once.
    pub fn start_reassignment(&self, target: &[BrokerId]) -> Result<Self, Refusal> {
        if self.is_reassigning() {
            return Err(Refusal::Reassigning);
        }
        if target.is_empty() || target.iter().enumerate().any(|(at, broker)| target[..at].contains(broker)) {
            return Err(Refusal::BadTarget);
        }
        let mut next = self.clone();
        next.adding = without(target, &self.replicas);
        next.removing = without(&self.replicas, target);
        next.replicas = [target, &next.removing].concat();
        self.changed_to(next)
    }

    /// Completes a reassignment if every target replica is live and in sync.
    pub fn complete_reassignment(&self, live: &Live) -> Result<Self, Refusal> {
        if !self.is_reassigning() {
            return Err(Refusal::NotReassigning);
        }
        let target = self.target();
        if !target.iter().all(|broker| self.member(*broker).is_some_and(|member| member.is_valid(live))) {
            return Err(Refusal::Behind);
        }
        self.settle(target, live)
    }

    /// Returns to the replicas before the reassignment, if the valid members among them fill the floor.
    pub fn cancel_reassignment(&self, live: &Live, min_in_sync: usize) -> Result<Self, Refusal> {
        if !self.is_reassigning() {
            return Err(Refusal::NotReassigning);
        }
        let old = self.origin();
        let valid = self.isr.iter().filter(|member| old.contains(&member.broker) && member.is_valid(live)).count();
        let floor = self.floor(min_in_sync);
        if valid < floor {
            return Err(Refusal::Floor(floor));
        }
        self.settle(old, live)
    }

    /// The replicas after the reassignment; all replicas if there is none.
    pub fn target(&self) -> Vec<BrokerId> {
        without(&self.replicas, &self.removing)
    }

    /// The replicas before the reassignment; all replicas if there is none.
    pub fn origin(&self) -> Vec<BrokerId> {
        without(&self.replicas, &self.adding)
    }

    /// Whether a reassignment is in progress.
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    fn settle(&self, replicas: Vec<BrokerId>, live: &Live) -> Result<Self, Refusal> {
        let mut next = self.clone();
        next.adding.clear();
        next.removing.clear();
        next.isr.retain(|member| replicas.contains(&member.broker));
        next.reports.retain(|report| replicas.contains(&report.broker));
        next.replicas = replicas;
        next.leader = next.successor(live);
        self.changed_to(next)
    }

    /// Removes a replica of a deleted topic, once its files are removed.
    pub fn forget(&self, broker: BrokerId) -> Result<Self, Refusal> {
        let mut next = self.clone();
        for brokers in [&mut next.replicas, &mut next.adding, &mut next.removing] {
            brokers.retain(|other| *other != broker);
        }
        next.isr.retain(|member| member.broker != broker);
        next.reports.retain(|report| report.broker != broker);
        next.leader = self.leader.filter(|leader| *leader != broker);
        self.changed_to(next)
    }
}

fn without(brokers: &[BrokerId], others: &[BrokerId]) -> Vec<BrokerId> {
    brokers.iter().filter(|broker| !others.contains(broker)).copied().collect()
}
