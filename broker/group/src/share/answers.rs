//! What a group makes of the answers of share coordinators, and who gets an answer.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_wire::TopicIdPartition;
use uuid::Uuid;

use crate::effects::{StateCall, StateCallKind, StateResults};
use crate::error::GroupError;
use crate::record::Partitions;
use crate::request::GroupReply;
use crate::share::calls::{Made, Offsets, Purpose};
use crate::share::group::ShareGroup;
use crate::share_state::StateError;
use crate::timers::TimerKey;
use crate::turn::Turn;

/// A host that has not answered by then has lost the call. Kafka's `group.share.initialize.retry.interval.ms`.
const LONGEST_CALL: Duration = Duration::from_secs(30);

impl ShareGroup {
    /// Makes the next call if it may be made.
    pub(super) fn call_next(&mut self, turn: &mut Turn<'_>) {
        if let Some((id, what)) = self.calls.next(self.history.durable()) {
            turn.schedule(TimerKey::StateCall(self.id.clone()), LONGEST_CALL);
            turn.state_calls.push(StateCall { id, group: self.id.clone(), life: self.life, what });
        }
    }

    /// The answer to a call. What has no result has failed.
    pub(super) fn answered(&mut self, call: &StateCall, results: &StateResults, turn: &mut Turn<'_>) {
        if let Some(made) = self.calls.end(call.id, &call.what) {
            turn.timers.cancel(&TimerKey::StateCall(self.id.clone()));
            self.conclude(made, results, turn);
        }
    }

    /// The answer has not come.
    pub(super) fn call_expired(&mut self, turn: &mut Turn<'_>) {
        if let Some(made) = self.calls.end_unanswered() {
            self.conclude(made, &StateResults::new(), turn);
        }
    }

    fn conclude(&mut self, made: Made, results: &StateResults, turn: &mut Turn<'_>) {
        let Made { what, purpose, .. } = made;
        match &what {
            StateCallKind::Initialize { offsets, .. } => {
                // What heartbeats asked for they ask for again.
                self.conclude_initialization(offsets, results, purpose == Purpose::Heartbeat);
            }
            // The group itself is about to go.
            StateCallKind::Delete { .. } if matches!(purpose, Purpose::DeleteGroup(_)) => {}
            StateCallKind::Delete { partitions } => self.conclude_deletion(partitions, results),
        }
        match purpose {
            Purpose::Heartbeat => {}
            Purpose::Alter(ticket, mut topics) => {
                for topic in &mut topics {
                    let Some(id) = topic.id else { continue };
                    for (partition, outcome) in topic.partitions.iter_mut().filter(|(_, outcome)| outcome.is_ok()) {
                        *outcome = result_of(results, id, *partition);
                    }
                }
                turn.replies.extend(self.history.reply(ticket, GroupReply::AlterShareOffsets(Ok(topics))));
            }
            Purpose::DeleteOffsets(ticket, mut topics) => {
                let StateCallKind::Delete { partitions } = &what else { return };
                for topic in &mut topics {
                    if let Some((id, all)) = topic.id.and_then(|id| partitions.get_key_value(&id)) {
                        topic.result = deletion_of(*id, all, results);
                    }
                }
                turn.replies.extend(self.history.reply(ticket, GroupReply::DeleteShareOffsets(Ok(topics))));
            }
            Purpose::DeleteGroup(ticket) => {
                let StateCallKind::Delete { partitions } = &what else { return };
                let mut all = partitions.iter().map(|(id, all)| deletion_of(*id, all, results));
                let outcome = all.find_map(Result::err).map_or(Ok(()), |error| Err(refusal(error)));
                turn.states_deleted.push((ticket, self.id.clone(), outcome));
            }
        }
    }

    fn conclude_initialization(&mut self, offsets: &Offsets, results: &StateResults, keeps_failed: bool) {
        let (mut done, mut dropped) = (Partitions::new(), Partitions::new());
        for (topic, all) in offsets {
            for partition in all.keys() {
                if result_of(results, *topic, *partition).is_ok() {
                    done.entry(*topic).or_default().insert(*partition);
                } else if !keeps_failed {
                    dropped.entry(*topic).or_default().insert(*partition);
                }
            }
        }
        self.initialized(&done, &dropped);
    }

    fn conclude_deletion(&mut self, partitions: &Partitions, results: &StateResults) {
        let mut shared = self.partitions.clone();
        for (topic, all) in partitions {
            if deletion_of(*topic, all, results).is_ok() {
                shared.deleting.remove(topic);
            }
        }
        self.write_partitions(shared);
    }

    /// Clients do not wait for calls that are held up by an append that failed, or takes too long.
    pub(super) fn refuse_queued(&mut self, error: GroupError, turn: &mut Turn<'_>) {
        let purposes = self.calls.forget_queued();
        self.refuse(purposes, error, turn);
    }

    /// Nobody waits any more.
    pub(crate) fn refuse_all(&mut self, error: GroupError, turn: &mut Turn<'_>) {
        turn.replies.extend(self.history.refuse(error));
        let purposes = self.calls.forget_all();
        self.refuse(purposes, error, turn);
    }

    fn refuse(&self, purposes: Vec<Purpose>, error: GroupError, turn: &mut Turn<'_>) {
        for purpose in purposes {
            match purpose {
                Purpose::Heartbeat => {}
                Purpose::Alter(ticket, _) => turn.reply(ticket, GroupReply::AlterShareOffsets(Err(error))),
                Purpose::DeleteOffsets(ticket, _) => turn.reply(ticket, GroupReply::DeleteShareOffsets(Err(error))),
                Purpose::DeleteGroup(ticket) => turn.states_deleted.push((ticket, self.id.clone(), Err(error))),
            }
        }
    }
}

fn result_of(results: &StateResults, topic: Uuid, partition: i32) -> Result<(), StateError> {
    results.get(&TopicIdPartition::new(topic, partition)).copied().unwrap_or(Err(StateError::CoordinatorNotAvailable))
}

/// The state of a partition that does not exist is gone, or will be soon.
fn deletion_of(topic: Uuid, partitions: &BTreeSet<i32>, results: &StateResults) -> Result<(), StateError> {
    let results = partitions.iter().map(|partition| result_of(results, topic, *partition));
    results.filter(|result| *result != Err(StateError::UnknownTopicOrPartition)).collect()
}

/// Why a group cannot be deleted whose states cannot.
fn refusal(error: StateError) -> GroupError {
    match error {
        StateError::InvalidRequest(why) => GroupError::InvalidRequest(why),
        StateError::NotCoordinator | StateError::CoordinatorLoadInProgress | StateError::CoordinatorNotAvailable => {
            GroupError::CoordinatorNotAvailable
        }
        StateError::FencedLeaderEpoch
        | StateError::FencedStateEpoch
        | StateError::UnknownTopicOrPartition
        | StateError::ClusterAuthorizationFailed
        | StateError::UnknownServerError => GroupError::UnknownServerError,
    }
}
