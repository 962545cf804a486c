//! What a request does to the state of its partition: an answer, and a record if something changes.

use super::batches::{NO_OFFSET, StateBatch, combine};
use super::record::{Update, Value};
use super::request::{ReadState, Request, SharePartition, StateError, StateReply, Summary, WriteState};
use super::state::{ShareGroupState, Tracked};
use crate::topics::Topics;

/// What a decision rests on besides the request.
pub(super) struct DecisionInputs<'a> {
    /// What is committed of the partition; `None`: nothing.
    pub(super) tracked: Option<&'a Tracked>,
    pub(super) topics: &'a Topics,
    pub(super) updates_per_snapshot: u32,
    pub(super) wall_ms: i64,
}

/// An answer, and what is to be written down first.
pub(super) type StateDecision = (StateReply, Option<Value>);

/// Leaders and group coordinators that do not say their epoch are not fenced.
const UNCHECKED: i32 = -1;

pub(super) fn decide(partition: &SharePartition, request: &Request, known: &DecisionInputs<'_>) -> StateDecision {
    let decided = match request {
        Request::Initialize { state_epoch, start_offset } => initialize(partition, *state_epoch, *start_offset, known)
            .map(|value| (StateReply::Initialize(Ok(())), value)),
        Request::Read { leader_epoch } => {
            read(partition, *leader_epoch, known).map(|(read, value)| (StateReply::Read(Ok(read)), value))
        }
        Request::Write(write) => {
            self::write(partition, write, known).map(|value| (StateReply::Write(Ok(())), Some(value)))
        }
        Request::Delete => exists(partition, known)
            .map(|()| (StateReply::Delete(Ok(())), known.tracked.is_some().then_some(Value::Deleted))),
        Request::Summarize => {
            exists(partition, known).map(|()| (StateReply::Summarize(Ok(summarize(known.tracked))), None))
        }
    };
    decided.unwrap_or_else(|error| (request.refused(error), None))
}

/// A repeated request without a start offset finds the state as it is to be, and does not throw away what leaders have
/// written since. Kafka begins again.
fn initialize(
    partition: &SharePartition,
    state_epoch: i32,
    start_offset: i64,
    known: &DecisionInputs<'_>,
) -> Result<Option<Value>, StateError> {
    has_number(partition)?;
    if known.tracked.is_some_and(|it| state_epoch != UNCHECKED && it.state_epoch > state_epoch) {
        return Err(StateError::FencedStateEpoch);
    }
    is_known(partition, known)?;
    let state = known.tracked.map(|it| &it.state);
    if start_offset == NO_OFFSET && state.is_some_and(|state| state.state_epoch == state_epoch) {
        return Ok(None);
    }
    Ok(Some(Value::Snapshot(ShareGroupState {
        snapshot_epoch: state.map_or(0, |state| state.snapshot_epoch.saturating_add(1)),
        state_epoch,
        // Kafka writes 0, and no longer fences older leaders once the records before are deleted.
        leader_epoch: known.tracked.map_or(0, |it| it.leader_epoch.max(0)),
        start_offset,
        delivery_complete_count: if start_offset == NO_OFFSET { -1 } else { 0 },
        created_ms: known.wall_ms,
        written_ms: known.wall_ms,
        batches: Vec::new(),
    })))
}

fn read(
    partition: &SharePartition,
    leader_epoch: i32,
    known: &DecisionInputs<'_>,
) -> Result<(ReadState, Option<Value>), StateError> {
    has_number(partition)?;
    let tracked = known.tracked.ok_or(StateError::InvalidRequest(
        "the state of the partition cannot be read, because it was not initialized",
    ))?;
    is_not_older(leader_epoch, tracked)?;
    is_known(partition, known)?;
    let state = &tracked.state;
    let read =
        ReadState { state_epoch: state.state_epoch, start_offset: state.start_offset, batches: state.batches.clone() };
    let is_new = leader_epoch != UNCHECKED && leader_epoch != tracked.leader_epoch;
    let news =
        is_new.then(|| change(tracked, leader_epoch, state.start_offset, state.delivery_complete_count, &[], known));
    Ok((read, news))
}

fn write(partition: &SharePartition, write: &WriteState, known: &DecisionInputs<'_>) -> Result<Value, StateError> {
    has_number(partition)?;
    let tracked = known.tracked.ok_or(StateError::InvalidRequest(
        "the state of the partition cannot be written, because it was not initialized",
    ))?;
    is_not_older(write.leader_epoch, tracked)?;
    if write.state_epoch != UNCHECKED && tracked.state_epoch > write.state_epoch {
        return Err(StateError::FencedStateEpoch);
    }
    is_known(partition, known)?;
    if !write.batches.iter().all(StateBatch::is_valid) {
        return Err(StateError::InvalidRequest("a batch of the state ends before it begins"));
    }
    let epoch = tracked.state.leader_epoch; // only reading changes it
    Ok(change(tracked, epoch, write.start_offset, write.delivery_complete_count, &write.batches, known))
}

/// An update, or a snapshot if there were many updates.
fn change(
    tracked: &Tracked,
    leader_epoch: i32,
    start_offset: i64,
    delivery_complete_count: i32,
    batches: &[StateBatch],
    known: &DecisionInputs<'_>,
) -> Value {
    let state = &tracked.state;
    if tracked.updates < known.updates_per_snapshot {
        return Value::Update(Update {
            snapshot_epoch: state.snapshot_epoch,
            leader_epoch,
            start_offset,
            delivery_complete_count,
            batches: combine(&[], batches, start_offset),
        });
    }
    let start_offset = if start_offset == NO_OFFSET { state.start_offset } else { start_offset };
    Value::Snapshot(ShareGroupState {
        snapshot_epoch: state.snapshot_epoch.saturating_add(1),
        state_epoch: state.state_epoch,
        leader_epoch,
        start_offset,
        delivery_complete_count,
        created_ms: known.wall_ms,
        written_ms: known.wall_ms,
        batches: combine(&state.batches, batches, start_offset),
    })
}

fn summarize(tracked: Option<&Tracked>) -> Summary {
    match tracked {
        Some(Tracked { state, .. }) => Summary {
            state_epoch: state.state_epoch,
            leader_epoch: state.leader_epoch,
            start_offset: state.start_offset,
            delivery_complete_count: state.delivery_complete_count,
        },
        None => Summary { state_epoch: 0, leader_epoch: 0, start_offset: NO_OFFSET, delivery_complete_count: -1 },
    }
}

fn exists(partition: &SharePartition, known: &DecisionInputs<'_>) -> Result<(), StateError> {
    has_number(partition)?;
    is_known(partition, known)
}

fn has_number(partition: &SharePartition) -> Result<(), StateError> {
    match partition.partition {
        ..0 => Err(StateError::InvalidRequest("the number of the partition is negative")),
        0.. => Ok(()),
    }
}

fn is_known(partition: &SharePartition, known: &DecisionInputs<'_>) -> Result<(), StateError> {
    match known.topics.partitions(partition.topic_id) {
        Some(partitions) if partition.partition < partitions => Ok(()),
        Some(_) | None => Err(StateError::UnknownTopicOrPartition),
    }
}

fn is_not_older(leader_epoch: i32, tracked: &Tracked) -> Result<(), StateError> {
    if leader_epoch != UNCHECKED && tracked.leader_epoch > leader_epoch {
        return Err(StateError::FencedLeaderEpoch);
    }
    Ok(())
}
