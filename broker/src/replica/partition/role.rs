//! What this broker is to a partition, and how it becomes that.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_config::TopicSettings;
use ottla_log::{DiskResult, LogError};
use ottla_rules::assignment::Age;

use super::following::Following;
use super::leadership::{Leadership, Surroundings};
use super::{Partition, PartitionState};
use crate::env;
use crate::image::{Assignment, IsrMember, LeaderEpoch};
use crate::replica::rules::log_config;

/// What this broker is to a partition.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "each lives inside its partition, and any may come to lead")]
pub(super) enum Role {
    /// Nothing yet, or nothing any more: nobody leads, or the entry that names us is void.
    Bystander,
    /// Appends, and answers consumers.
    Leader(Leadership),
    /// Copies the leader.
    Follower(Following),
    /// Its files can't be trusted or its disk failed: served again after a restart.
    Offline,
}

impl Role {
    /// The epoch in which this broker leads the partition; `None` while it does not, or gives way.
    pub(super) fn leader_epoch(&self) -> Option<LeaderEpoch> {
        match self {
            Role::Leader(leadership) if !leadership.gives_way() => Some(leadership.epoch()),
            Role::Leader(_) | Role::Bystander | Role::Follower(_) | Role::Offline => None,
        }
    }
}

/// What [`Partition::assume`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Small files that are written, and not synced.
    Writes,
    /// The device: the leader epochs of a compacted topic are synced whenever they change, and a log that ends before
    /// it must begin is replaced. Or the partition is busy.
    Device,
}

impl Partition {
    /// As [`Partition::assume`], for a control thread: where the role stays what it is, which waits for nothing.
    ///
    /// # Errors
    /// What the role would wait for that is to begin.
    pub fn assume_at_once(
        &self,
        assignment: &Assignment,
        settings: &Arc<TopicSettings>,
        surroundings: &Surroundings,
    ) -> Result<(), Waits> {
        let mut state = self.unless_busy().ok_or(Waits::Device)?;
        if self.stays(&mut state, assignment, settings, surroundings) {
            return Ok(());
        }
        let begins = assignment.leader_epoch > state.acted_on.leader || matches!(state.role, Role::Bystander);
        let epochs_change = assignment.leader.is_some() && begins;
        let is_replaced = assignment.log_start.is_some_and(|log_start| log_start > state.log.log_end());
        let syncs = epochs_change && (state.settings.cleanup_policy.compact || is_replaced);
        Err(if syncs { Waits::Device } else { Waits::Writes })
    }

    /// Another broker leads, by an assignment that [`Partition::assume`] has yet to act on: until then this one serves
    /// and acknowledges nothing any more. Waits for nothing.
    pub fn supersede(&self) {
        self.is_superseded.store(true, Ordering::SeqCst);
    }

    /// Whether another broker leads, as [`Partition::supersede`] said, and the role here has yet to follow.
    pub fn is_superseded(&self) -> bool {
        self.is_superseded.load(Ordering::SeqCst)
    }

    /// Takes the role that the assignment gives. May be called with the same assignment again; an older one is ignored.
    /// False when the disk has no room for what must be written first: then it has no role until it is called again.
    pub fn assume(&self, assignment: &Assignment, settings: &Arc<TopicSettings>, surroundings: Surroundings) -> bool {
        let _span = self.span().entered();
        let mut state = self.state.lock();
        if self.stays(&mut state, assignment, settings, &surroundings) {
            self.is_superseded.store(false, Ordering::SeqCst);
            return true;
        }
        let begun = self.begin_role(&mut state, assignment, surroundings);
        let has_room = !matches!(&begun, Err(LogError::Disk(error)) if error.lacks_room());
        match begun {
            Ok(role) => {
                self.note_room(&mut state);
                state.acted_on = assignment.epochs();
                state.role = role;
            }
            // The log is half cut.
            Err(_) if matches!(state.role, Role::Offline) => {}
            Err(LogError::Disk(error)) => {
                state.role = Role::Bystander;
                self.note_disk_error(&mut state, &error);
            }
            Err(error @ LogError::Corrupt { .. }) => self.take_offline(&mut state, &error),
        }
        self.advance_high_watermark(&mut state);
        self.low_watermark.reset(-1);
        self.advance_low_watermark(&state);
        self.is_superseded.store(false, Ordering::SeqCst);
        drop(state);
        self.disturb();
        has_room
    }

    /// Learns the settings and what is new in the assignment; whether the role stays what it is.
    fn stays(
        &self,
        state: &mut PartitionState,
        assignment: &Assignment,
        settings: &Arc<TopicSettings>,
        surroundings: &Surroundings,
    ) -> bool {
        if !Arc::ptr_eq(&state.settings, settings) {
            state.log.set_config(log_config(settings));
            state.settings = settings.clone();
        }
        if let Role::Leader(leadership) = &mut state.role {
            leadership.set_surroundings(surroundings.clone());
        }
        if !Self::is_news(state, assignment) {
            return true;
        }
        let goes_on = self.goes_on(state, assignment);
        if goes_on {
            state.acted_on = assignment.epochs();
        }
        goes_on
    }

    /// Whether there is anything to do about an assignment: not about one that is shown late, or by an API server that
    /// was set back, nor when the replica can have no role any more.
    fn is_news(state: &PartitionState, assignment: &Assignment) -> bool {
        let is_over = state.retired || matches!(state.role, Role::Offline);
        !is_over && assignment.epochs().age(state.acted_on) == Age::Newer
    }

    /// Whether the role stays what it is: then it has learnt what is new in the assignment.
    fn goes_on(&self, state: &mut PartitionState, assignment: &Assignment) -> bool {
        let (leads, in_sync) = (self.is_to_lead(assignment), self.is_in_sync(assignment));
        let added = assignment.adding.contains(&self.me.id);
        match &mut state.role {
            Role::Leader(leadership) if leads && leadership.epoch() == assignment.leader_epoch => {
                leadership.learn(assignment);
                self.advance_high_watermark(state);
                self.advance_low_watermark(state);
                true
            }
            Role::Follower(following)
                if following.leader_epoch == assignment.leader_epoch && assignment.leader == Some(following.leader) =>
            {
                (following.in_sync, following.added) = (in_sync, added);
                true
            }
            Role::Leader(_) | Role::Follower(_) | Role::Bystander | Role::Offline => false,
        }
    }

    fn is_in_sync(&self, assignment: &Assignment) -> bool {
        assignment.isr.contains(&IsrMember { broker: self.me.id, incarnation: self.me.incarnation })
    }

    /// Only an entry that names what our disk holds now makes us leader (COORDINATION §2.5).
    fn is_to_lead(&self, assignment: &Assignment) -> bool {
        assignment.may_lead(self.me.id, self.me.incarnation, None)
    }

    fn begin_role(
        &self,
        state: &mut PartitionState,
        assignment: &Assignment,
        around: Surroundings,
    ) -> Result<Role, LogError> {
        if assignment.leader_epoch > state.acted_on.leader {
            // Before anything is done in it: a broker that has acted in an epoch must never follow or lead in an older
            // one again, not even when its process restarts and is shown only an older copy.
            state.proposal.keep(assignment)?;
        }
        if self.is_to_lead(assignment) {
            self.lead(state, assignment, around)
        } else {
            Ok(self.follow(state, assignment)?)
        }
    }

    fn lead(
        &self,
        state: &mut PartitionState,
        assignment: &Assignment,
        surroundings: Surroundings,
    ) -> Result<Role, LogError> {
        if let Some(log_start) = assignment.log_start {
            self.delete_before(state, log_start)?;
        }
        // The epoch is written before the first append under it: a follower that asks in between must learn that the
        // old epoch has ended, or it keeps records that we are about to overwrite (KIP-101).
        state.log.start_epoch(assignment.leader_epoch.0)?;
        let epoch_start = state.log.log_end();
        let mut leadership = Leadership::new(self.me, assignment.clone(), surroundings, epoch_start, env::now());
        // An epoch that no image showed may have been another broker's.
        if let Role::Leader(before) = &state.role
            && assignment.leader_epoch.follows(before.epoch())
        {
            // Requests that wait for what was appended continue to wait: it is still there (Kafka's DelayedProduce
            // knows no epoch).
            leadership.lead_on(before.led_since());
        }
        if let Some(undecided) = state.proposal.undecided(assignment) {
            leadership.inherit(undecided);
            // With no room left the next regular look finds it.
            let _ = self.joining.try_send(self.id());
        }
        Ok(Role::Leader(leadership))
    }

    /// Deletes what every in-sync replica had deleted before a recovery election, in which this log was the longest.
    /// The assignment asks for that until another replica has joined the ISR: a restart before the next checkpoint
    /// brings the records back.
    fn delete_before(&self, state: &mut PartitionState, log_start: i64) -> Result<(), LogError> {
        let log_end = state.log.log_end();
        if log_start > log_end {
            tracing::warn!(
                log_start,
                log_end,
                "this replica leads, and every record that it has was deleted: its log begins where the deletion ended"
            );
            let anew = state.log.truncate_fully_and_start_at(log_start, env::wall_clock_ms());
            anew.inspect_err(|error| self.note_half_cut(state, error))?;
            self.set_back(state);
        }
        if log_start > state.log.log_start() {
            tracing::warn!(
                from = state.log.log_start(),
                to = log_start,
                "this replica leads, and had records that were deleted on the in-sync replicas: it has deleted them"
            );
            state.log.advance_log_start(log_start);
        }
        self.high_watermark.advance(log_start);
        self.advance_last_stable(state);
        Ok(())
    }

    fn follow(&self, state: &mut PartitionState, assignment: &Assignment) -> DiskResult<Role> {
        let Some(leader) = assignment.leader.filter(|leader| *leader != self.me.id) else { return Ok(Role::Bystander) };
        state.log.forget_epochs_without_records()?;
        // The first fetch acknowledges what this broker has written as leader, too, or has found after a restart.
        if self.must_flush(state) {
            (state.flush_due, state.flush_put_off) = (state.log.log_end(), true);
        }
        let (leader_epoch, in_sync) = (assignment.leader_epoch, self.is_in_sync(assignment));
        let added = assignment.adding.contains(&self.me.id);
        Ok(Role::Follower(Following { leader, leader_epoch, told: -1, in_sync, added }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Fixture, batch};
    use super::super::{AppendError, LOOK};
    use crate::env;
    use crate::image::LeaderEpoch;
    use crate::replica::not_served::NotServed;

    #[test]
    fn only_the_first_look_waits_for_a_partition_that_stays_busy() {
        let fixture = Fixture::new(&[]);
        let busy = fixture.partition.state.lock();
        let (began, looks) = (env::now(), 1_000);
        assert!((0..looks).all(|_| fixture.partition.status_unless_busy().is_none()));
        assert!(began.elapsed() < LOOK * looks / 2, "{looks} looks took {:?}", began.elapsed());
        drop(busy);
        assert!(fixture.partition.status_unless_busy().is_some());
    }

    #[test]
    fn who_hears_of_another_leader_while_an_append_hangs_acknowledges_nothing_afterwards() {
        let fixture = Fixture::new(&[("min.insync.replicas", "1")]);
        fixture.elect(0, 1);
        let partition = &fixture.partition;
        let (append, is_acknowledged) = (
            || partition.append_own(&batch(b'x', 10), LeaderEpoch(1), 0),
            |appended: &_| partition.is_acknowledged(appended, false),
        );
        let before = append().unwrap();
        assert!(is_acknowledged(&before));
        partition.supersede();
        assert!(!is_acknowledged(&before), "it may have hung until now");
        assert!(matches!(append(), Err(AppendError::NotServed(NotServed::NotLeader))));
        assert_eq!((partition.leader_epoch(), partition.leader_epoch_unless_busy()), (None, Ok(None)));
        fixture.elect(1, 2);
        assert_eq!(partition.follows().map(|(_, epoch)| epoch), Some(LeaderEpoch(2)));
        fixture.elect(0, 3);
        let leads = Some(LeaderEpoch(3));
        assert_eq!(
            (partition.leader_epoch(), partition.leader_epoch_unless_busy()),
            (leads, Ok(leads)),
            "it leads again"
        );
    }
}
