//! The operator's transitions when brokers die, drain and return: the members of the ISR, and the leader.

use super::{Assignment, BrokerId, IsrMemberState, Live, Refusal};

impl Assignment {
    /// The assignment for the live brokers: void, dead and draining members leave the ISR as far as the floor allows,
    /// and a valid member leads, if there is one.
    ///
    /// Void members leave first, because they hold nothing; then dead ones, whose content may return. A draining broker
    /// keeps leading while no other member can lead. While no member can lead, every member stays: the first that
    /// returns with its content leads, and a recovery waits for all of them.
    pub fn heal(&self, live: &Live, min_in_sync: usize) -> Result<Self, Refusal> {
        let mut next = self.clone();
        next.leader = next.successor(live);
        if next.leader.is_none() {
            return self.changed_to(next);
        }
        next.drop_members(IsrMemberState::Void, live, min_in_sync);
        next.drop_members(IsrMemberState::Dead, live, min_in_sync);
        next.drop_members(IsrMemberState::Draining, live, min_in_sync);
        self.changed_to(next)
    }

    /// Elects the preferred replica, the first one, if it is in sync and not draining.
    pub fn prefer(&self, live: &Live) -> Result<Self, Refusal> {
        if self.is_reassigning() {
            return Err(Refusal::Reassigning);
        }
        let preferred = self.replicas.first().ok_or(Refusal::NotReplica)?;
        let member = self.member(*preferred).ok_or(Refusal::NotInIsr)?;
        if member.state(live) != IsrMemberState::Valid {
            return Err(Refusal::Leaving);
        }
        let mut next = self.clone();
        next.leader = Some(*preferred);
        self.changed_to(next)
    }

    /// Whether the preferred replica, the first one, leads.
    pub fn is_led_by_preferred(&self) -> bool {
        self.leader.is_some() && self.leader.as_ref() == self.replicas.first()
    }

    /// Who should lead: the present leader if it is valid; else the first valid replica in order of preference; else,
    /// in the same order, a draining one. `None`: no replica can lead.
    pub(super) fn successor(&self, live: &Live) -> Option<BrokerId> {
        let with = |wanted: IsrMemberState| {
            let leads =
                move |broker: &BrokerId| self.member(*broker).is_some_and(|member| member.state(live) == wanted);
            self.leader.into_iter().chain(self.replicas.iter().copied()).find(leads)
        };
        with(IsrMemberState::Valid).or_else(|| with(IsrMemberState::Draining))
    }

    fn drop_members(&mut self, unwanted: IsrMemberState, live: &Live, min_in_sync: usize) {
        let floor = self.floor(min_in_sync);
        let mut left = self.isr.len();
        let leader = self.leader.filter(|_| unwanted == IsrMemberState::Draining);
        self.isr.retain(|member| {
            let stays = left <= floor || leader == Some(member.broker) || member.state(live) != unwanted;
            left -= usize::from(!stays);
            stays
        });
    }
}
