//! The target assignment of a group: when it is computed, and whether the group adopts it.

use std::collections::BTreeMap;

use crate::ids::MemberId;
use crate::overload::Overload;
use crate::record::{StreamsCurrentValue, StreamsRecord, StreamsTasks, TargetValue};
use crate::request::{StatusCode, StreamsStatus};
use crate::streams::assignor::{self, MemberSpec};
use crate::streams::group::{Member, StreamsGroup};
use crate::streams::topology::Configured;
use crate::timers::TimerKey;
use crate::turn::Turn;

impl StreamsGroup {
    /// What the member is to have: computed if it is due. While a new group waits for more members, nothing.
    pub(super) fn target(
        &mut self,
        id: &MemberId,
        was_empty: bool,
        configured: &Configured,
        statuses: &mut Vec<StreamsStatus>,
        turn: &mut Turn<'_>,
    ) -> StreamsTasks {
        let delayed = |detail: &str| StreamsStatus { code: StatusCode::AssignmentDelayed, detail: detail.to_owned() };
        let key = TimerKey::InitialDelay(self.id.clone());
        let config = turn.config.of_streams_group(&self.id);
        if was_empty && !config.initial_delay.is_zero() && !turn.timers.is_scheduled(&key) {
            turn.schedule(key.clone(), config.initial_delay);
        }
        if turn.timers.is_scheduled(&key) {
            statuses.push(delayed("Assignment delayed due to the configured initial rebalance delay."));
            return StreamsTasks::default();
        }
        self.assign_if_due(configured, turn);
        if self.overload.is_of(self.epoch) {
            statuses
                .push(delayed("Assignment delayed: a member would be assigned more tasks than its record can hold."));
        } else if self.target_epoch < self.epoch {
            statuses.push(delayed("Assignment delayed due to the configured assignment interval."));
        }
        self.target.get(id).cloned().unwrap_or_default()
    }

    /// The first members have had time to join.
    pub(super) fn delay_expired(&mut self, turn: &Turn<'_>) {
        let Some(configured) = self.configured.clone() else { return };
        if !self.members.is_empty() {
            self.assign_if_due(&configured, turn);
        }
    }

    /// Computes a target of the group's epoch if the group has none, and may have one now.
    fn assign_if_due(&mut self, configured: &Configured, turn: &Turn<'_>) {
        let config = turn.config.of_streams_group(&self.id);
        let is_due = self.target_epoch < self.epoch && !self.overload.is_of(self.epoch);
        if is_due && turn.may_assign(self.target_ms, config.assignment_interval) {
            self.assign(configured, config.standby_replicas, turn);
        }
    }

    /// Nothing is assigned as long as topics are missing or wrong. The target is not adopted if a member is to have too
    /// much.
    fn assign(&mut self, configured: &Configured, standbys: usize, turn: &Turn<'_>) {
        let spec = |(id, member)| {
            let member: &Member = member;
            (id, MemberSpec { process: member.value.process.as_str(), before: self.target.get(id) })
        };
        let members = self.members.iter().map(spec).collect();
        let no_tasks = BTreeMap::new();
        let tasks = if configured.is_ready() { &configured.tasks } else { &no_tasks };
        let target = assignor::assign(&members, tasks, standbys);
        self.overload = Overload::of(self.epoch, &target, |id, its| self.can_have(id, its, turn));
        if self.overload.is_of(self.epoch) {
            return;
        }
        for (id, tasks) in target {
            if self.target.get(&id) != Some(&tasks) {
                self.write(StreamsRecord::TargetMember(id, Some(tasks)));
            }
        }
        let value = TargetValue { epoch: self.epoch, computed_ms: Some(turn.now.wall_ms) };
        self.write(StreamsRecord::Target(Some(value)));
    }

    /// Whether the log accepts the records of a member that is to have these tasks.
    fn can_have(&self, id: &MemberId, tasks: &StreamsTasks, turn: &Turn<'_>) -> bool {
        let empty = self.record(StreamsRecord::Current(id.clone(), None)).size();
        turn.accepts(empty + StreamsCurrentValue::most_bytes(tasks))
    }
}
