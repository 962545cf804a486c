//! The operator's part when replicas move: grow to the union, wait until the target is in sync, then let go of the
//! others, in a new leader epoch: what they had does not count if they come back.

use super::{Assignment, BrokerId, Live, Refusal};

impl Assignment {
    /// Begins to move the partition to `target`. Leader, epoch and ISR stay; a mere change of preference is done at
    /// once.
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

    /// Ends a reassignment whose every target replica is there and in the ISR with its current content.
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

    /// Returns to the replicas before the reassignment, while enough of them are valid members to fill the floor.
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

    /// Its replicas once no reassignment is under way any more.
    pub fn target(&self) -> Vec<BrokerId> {
        without(&self.replicas, &self.removing)
    }

    /// Its replicas before a reassignment, if one is under way.
    pub fn origin(&self) -> Vec<BrokerId> {
        without(&self.replicas, &self.adding)
    }

    /// Whether a reassignment is under way.
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

    /// Removes a replica of a deleted topic whose files are gone.
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
