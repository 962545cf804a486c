//! A replica whose log can't be read: its broker takes back what it said of it, so that others go on, and copies it
//! anew from them.
//!
//! What a broker has said of its log holds as long as its incarnation: the ISR vouches for it, its report in a recovery
//! does, and so does a leader of an epoch in which it has fetched, which may ask to take it in at any time. So its
//! entry is made void, its report goes and that leader epoch is ended before anything of the log goes; leaders of later
//! epochs know nothing of what was said before.
//!
//! A void entry is what a broker leaves behind that has lost its disk: elections, the floor and recoveries treat both
//! alike.

use super::{Assignment, BrokerId, Incarnation, IsrMember, RecoveryReport, Refusal};

/// What a broker is to do about a log that it can't read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Ask for this change: what it said of its log does not count any more.
    Disown(Assignment),
    /// Put aside what can't be read, and copy it from the leader: nobody relies on it.
    CopyAnew,
    /// Leave everything as it is: nobody leads, and what is there may be mended and needed.
    Wait,
}

impl Assignment {
    /// What `broker` is to do about its log. `acted_in` is the last leader epoch in which it had a role with that log,
    /// -1 if it never had.
    pub fn remedy(&self, broker: BrokerId, incarnation: Incarnation, acted_in: i32) -> Remedy {
        let another_leads = self.leader.is_some_and(|leader| leader != broker);
        let is_in_sync = self.isr.contains(&IsrMember { broker, incarnation });
        let has_reported = |report: &RecoveryReport| (report.broker, report.incarnation) == (broker, incarnation);
        if is_in_sync || self.reports.iter().any(has_reported) || (another_leads && self.leader_epoch <= acted_in) {
            return self.disown(broker).map_or(Remedy::Wait, Remedy::Disown);
        }
        if another_leads { Remedy::CopyAnew } else { Remedy::Wait }
    }

    /// Takes back, for `broker`, what it said of its log. Its entry in the ISR stays and is void, so nothing falls
    /// below the floor; nobody leads in its place until the operator elects. If another leads it goes on, in a new
    /// epoch.
    pub fn disown(&self, broker: BrokerId) -> Result<Self, Refusal> {
        if !self.replicas.contains(&broker) {
            return Err(Refusal::NotReplica);
        }
        let mut next = self.clone();
        next.reports.retain(|report| report.broker != broker);
        for member in next.isr.iter_mut().filter(|member| member.broker == broker) {
            member.incarnation = Incarnation::NONE;
        }
        next.leader = self.leader.filter(|leader| *leader != broker);
        if next.leader.is_none() {
            return self.changed_to(next);
        }
        next.partition_epoch = self.partition_epoch.checked_add(1).ok_or(Refusal::Exhausted)?;
        next.leader_epoch = self.leader_epoch.checked_add(1).ok_or(Refusal::Exhausted)?;
        Ok(next)
    }
}
