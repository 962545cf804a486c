//! A member's answer: it accepts, releases or rejects records, renews their locks, or says that there are none.

use std::time::Duration;

use super::batch::{Pending, SlotState};
use super::release::release;
use super::share_partition::{SharePartition, StateWrite};
use crate::config::Config;
use crate::error::AcknowledgeError;
use crate::ids::{MemberId, Offset};
use crate::state::{DeliveryState, StateBatch, push};

/// What a member acknowledges in one share partition, with one request.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledge<'a> {
    /// The member.
    pub member: &'a MemberId,
    /// The request's batches, in order.
    pub batches: &'a [AcknowledgementBatch],
    /// The request's `IsRenewAck`: whether locks may be among it to be renewed. False below version 2 (KIP-1222).
    pub may_renew: bool,
}

/// A batch of acknowledgements, as on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AcknowledgementBatch {
    /// The first offset.
    pub first: Offset,
    /// The last offset.
    pub last: Offset,
    /// One type for all, or one for each: 0 gap, 1 accept, 2 release, 3 reject, 4 renew.
    pub types: Vec<i8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Type {
    Gap,
    Accept,
    Release,
    Reject,
    Renew,
}

/// What is decided: changes to persist, and locks to renew (first to last offset). Both in order.
#[derive(Default)]
struct Plan {
    changes: Vec<StateBatch>,
    renewals: Vec<(Offset, Offset)>,
    /// The last offset that it has.
    last: Option<Offset>,
}

impl SharePartition {
    /// Acknowledges records: all of them, or none if one may not be. Locks are renewed at once. The rest changes when
    /// the persister has it; until then the member neither has the records nor may acknowledge them again. Records
    /// before the start are passed over. `None`: there is nothing to persist, and the host answers at once.
    ///
    /// # Errors
    /// See [`AcknowledgeError`]. Nothing has changed.
    pub fn acknowledge(
        &mut self,
        config: &Config,
        now: Duration,
        request: &Acknowledge<'_>,
    ) -> Result<Option<StateWrite>, AcknowledgeError> {
        check(request)?;
        let mut plan = Plan::default();
        for batch in request.batches.iter().filter(|batch| batch.last >= self.start) {
            self.plan(config, request.member, batch, &mut plan)?;
        }
        for (first, last) in plan.renewals {
            self.change(first, last, |slot| {
                if let SlotState::Acquired(lock) = &mut slot.state {
                    lock.until = now + config.record_lock_duration;
                }
            });
        }
        if plan.changes.is_empty() {
            return Ok(None);
        }
        let number = self.number_write();
        for batch in &plan.changes {
            self.change(batch.first, batch.last, |slot| {
                if let SlotState::Acquired(lock) = &mut slot.state {
                    lock.pending = Some(Pending { write: number, state: batch.state });
                }
            });
        }
        Ok(Some(self.write(number, plan.changes)))
    }

    fn plan(
        &self,
        config: &Config,
        member: &MemberId,
        batch: &AcknowledgementBatch,
        plan: &mut Plan,
    ) -> Result<(), AcknowledgeError> {
        let first = batch.first.max(self.start);
        self.find(first, batch.last)?;
        // A batch that begins before the first offset may hold it.
        let from = self.batch_before(first).unwrap_or(first);
        let runs = self.batches.range(from..=batch.last).flat_map(|(_, known)| known.between(first, batch.last));
        for run in runs {
            let held = run.slot.settled_lock().is_some_and(|lock| lock.member == *member);
            if !held || plan.last.is_some_and(|last| run.first <= last) {
                return Err(AcknowledgeError::InvalidRecordState);
            }
            for (kind, first, last) in typed(batch, run.first, run.last) {
                plan.add(config, kind, first, last, run.slot.delivery_count)?;
            }
        }
        Ok(())
    }

    /// Whether the offsets are among those in flight, as far as Kafka looks (`fetchSubMapForAcknowledgementBatch`).
    fn find(&self, first: Offset, last: Offset) -> Result<(), AcknowledgeError> {
        let Some(from) = self.batch_before(first) else { return Err(AcknowledgeError::InvalidRecordState) };
        match self.batches.range(from..=last).next_back() {
            Some((_, known)) if known.last() >= last => Ok(()),
            _ => Err(AcknowledgeError::InvalidRequest),
        }
    }
}

impl Plan {
    fn add(
        &mut self,
        config: &Config,
        kind: Type,
        first: Offset,
        last: Offset,
        delivery_count: i16,
    ) -> Result<(), AcknowledgeError> {
        let state = match kind {
            Type::Accept => DeliveryState::Acknowledged,
            Type::Gap | Type::Reject => DeliveryState::Archived,
            Type::Release => release(config, first, last, delivery_count).state,
            Type::Renew if !config.renew_acknowledge_enable => return Err(AcknowledgeError::InvalidRecordState),
            Type::Renew => {
                self.renewals.push((first, last));
                self.last = Some(last);
                return Ok(());
            }
        };
        push(&mut self.changes, StateBatch { first, last, state, delivery_count });
        self.last = Some(last);
        Ok(())
    }
}

/// What can be seen to be wrong without looking at records (`KafkaApis.validateAcknowledgementBatches`).
fn check(request: &Acknowledge<'_>) -> Result<(), AcknowledgeError> {
    let mut last = -1;
    for batch in request.batches {
        let in_order = last <= batch.first && batch.first <= batch.last;
        let one_or_each = match batch.types.len() {
            0 => false,
            1 => true,
            types => batch.last.checked_sub(batch.first).is_some_and(|more| more == types as i64 - 1),
        };
        let known = batch.types.iter().all(|&id| kind(id).is_some_and(|kind| kind != Type::Renew || request.may_renew));
        if !(in_order && one_or_each && known) {
            return Err(AcknowledgeError::InvalidRequest);
        }
        last = batch.last;
    }
    Ok(())
}

fn kind(id: i8) -> Option<Type> {
    match id {
        0 => Some(Type::Gap),
        1 => Some(Type::Accept),
        2 => Some(Type::Release),
        3 => Some(Type::Reject),
        4 => Some(Type::Renew),
        _ => None,
    }
}

/// What the batch says of the offsets from the first to the last, which it has: offsets of one type together.
fn typed(batch: &AcknowledgementBatch, first: Offset, last: Offset) -> Vec<(Type, Offset, Offset)> {
    let type_of = |offset: Offset| {
        let index = if batch.types.len() == 1 { 0 } else { (offset - batch.first) as usize };
        batch.types.get(index).and_then(|&id| kind(id))
    };
    let mut typed: Vec<(Type, Offset, Offset)> = Vec::new();
    if batch.types.len() == 1 {
        typed.extend(type_of(first).map(|kind| (kind, first, last)));
        return typed;
    }
    for offset in first..=last {
        let Some(kind) = type_of(offset) else { continue };
        match typed.last_mut() {
            Some((before, _, last)) if *before == kind => *last = offset,
            _ => typed.push((kind, offset, offset)),
        }
    }
    typed
}
