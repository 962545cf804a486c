//! Who is in sync, asked of a partition: followers' fetches come in, changes of the ISR go out.

use super::reading::ReadFrom;
use super::role::Role;
use super::{Partition, PartitionState};
use crate::env;
use crate::image::{Assignment, IsrMember};

/// A change of an ISR.
pub struct IsrChange {
    /// The entry as it should be.
    pub next: Assignment,
    /// A replica joins; else some leave.
    pub expands: bool,
}

impl Partition {
    /// A follower asks for what comes at an offset: so it has everything before, from where its log begins.
    pub(super) fn note_fetch(&self, state: &mut PartitionState, member: IsrMember, from: &ReadFrom, again: bool) {
        let IsrMember { broker, incarnation } = member;
        let log_end = state.log.log_end();
        let log_start = state.deleted_to();
        let Role::Leader(leadership) = &mut state.role else { return };
        leadership.fetched(broker, incarnation, from.offset, log_end, env::now());
        leadership.begins_at(broker, from.log_start);
        if !again {
            leadership.asks(broker);
        }
        let may_join = leadership.may_join(broker, self.high_watermark.get(), log_start);
        self.advance_high_watermark(state);
        self.advance_low_watermark(state);
        if may_join {
            // With no room left the next regular look finds it.
            let _ = self.joining.try_send(self.id());
        }
    }

    /// Whether this broker is to throttle what it sends to `follower`: where its topic says so, and never to one that
    /// is in sync.
    pub fn leads_slowly(&self, follower: IsrMember) -> bool {
        let state = self.state.lock();
        match &state.role {
            Role::Leader(leadership) => {
                !leadership.waits_for(follower) && state.settings.leader_throttled.contains(self.number, self.me.id.0)
            }
            Role::Bystander | Role::Follower(_) | Role::Offline => false,
        }
    }

    /// The change of the ISR that is due, if any. From now on it counts as if it were written, until an image shows
    /// what became of it: so it must be asked for. None while the partition is busy. Writes a small file: for worker
    /// threads.
    pub fn propose_isr(&self) -> Option<IsrChange> {
        let mut guard = self.unless_busy()?;
        let snapshot = self.leader_snapshot(&guard);
        let state = &mut *guard;
        let Role::Leader(leadership) = &mut state.role else { return None };
        let next = match leadership.adopt_orphan() {
            Some(orphan) => orphan,
            None => {
                let next = leadership.isr_change(&snapshot)?;
                if let Err(error) = state.proposal.keep(&next) {
                    self.note_disk_error(state, &error);
                    return None;
                }
                leadership.propose(next.clone());
                next
            }
        };
        let expands = next.isr.len() > leadership.assignment().isr.len();
        Some(IsrChange { next, expands })
    }

    /// While this broker is `cut_off` from the cluster, clients are sent away from here if no follower comes either.
    /// True where that has just begun or ended. Nothing changes while the partition is busy.
    pub fn give_way(&self, cut_off: bool) -> bool {
        let Some(mut state) = self.unless_busy() else { return false };
        let Role::Leader(leadership) = &mut state.role else { return false };
        let changed = leadership.give_way(cut_off, env::now());
        drop(state);
        if changed {
            self.disturb();
        }
        changed
    }

    /// Whether nobody knows yet what became of a proposal, nor while the partition is busy.
    pub fn is_undecided(&self, proposal: &Assignment) -> bool {
        let Some(state) = self.unless_busy() else { return true };
        match &state.role {
            Role::Leader(leadership) => leadership.proposed() == Some(proposal),
            Role::Bystander | Role::Follower(_) | Role::Offline => false,
        }
    }
}
