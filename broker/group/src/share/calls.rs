//! What a group asks of share coordinators: the host carries it out, as InitializeShareGroupState and
//! DeleteShareGroupState, and answers.
//!
//! A call is made when what led to it is durable. One call of a group is under way at a time, so that a deletion never
//! overtakes what initialises the same partition again. An answer that does not come in time counts as a failure.

use std::collections::{BTreeMap, VecDeque};

use uuid::Uuid;

use crate::effects::{StateCallId, StateCallKind};
use crate::ids::Ticket;
use crate::request::{AlteredShareOffsets, DeletedShareOffsets};

/// What is to be done with the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// Nobody waits for it.
    Heartbeat,
    /// AlterShareGroupOffsets.
    Alter(Ticket, Vec<AlteredShareOffsets>),
    /// DeleteShareGroupOffsets. The topics that are not in the call have their results.
    DeleteOffsets(Ticket, Vec<DeletedShareOffsets>),
    /// DeleteGroups, of this group among others.
    DeleteGroup(Ticket),
}

/// By topic: partitions, and where each begins.
pub(super) type Offsets = BTreeMap<Uuid, BTreeMap<i32, i64>>;

#[derive(Debug)]
struct Queued {
    /// How many changes of the group must be durable before.
    after: u64,
    what: StateCallKind,
    purpose: Purpose,
}

/// A call that is made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) id: StateCallId,
    pub(super) what: StateCallKind,
    pub(super) purpose: Purpose,
}

/// What a group has asked for, and is about to.
#[derive(Debug, Default)]
pub(super) struct Calls {
    queue: VecDeque<Queued>,
    under_way: Option<Made>,
    next_id: u64,
}

impl Calls {
    /// Makes a call when so many changes of the group are durable.
    pub(super) fn push(&mut self, after: u64, what: StateCallKind, purpose: Purpose) {
        self.queue.push_back(Queued { after, what, purpose });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.under_way.is_none()
    }

    /// Whether the partition is being initialised, or is about to be.
    pub(super) fn is_initializing(&self, topic: Uuid, partition: i32) -> bool {
        let queued = self.queue.iter().map(|queued| &queued.what);
        let mut all = queued.chain(self.under_way.iter().map(|made| &made.what));
        all.any(|what| match what {
            StateCallKind::Initialize { offsets, .. } => {
                offsets.get(&topic).is_some_and(|partitions| partitions.contains_key(&partition))
            }
            StateCallKind::Delete { .. } => false,
        })
    }

    /// The next call, if it may be made: it is under way from now on.
    pub(super) fn next(&mut self, durable: u64) -> Option<(StateCallId, StateCallKind)> {
        if self.under_way.is_some() || self.queue.front().is_none_or(|queued| queued.after > durable) {
            return None;
        }
        let Queued { what, purpose, .. } = self.queue.pop_front()?;
        let id = StateCallId(self.next_id);
        self.next_id += 1;
        self.under_way = Some(Made { id, what: what.clone(), purpose });
        Some((id, what))
    }

    /// The call under way ends, if it is this one. After a restart ids begin again, so that a late answer may be one to
    /// another call.
    pub(super) fn end(&mut self, id: StateCallId, what: &StateCallKind) -> Option<Made> {
        self.under_way.take_if(|made| made.id == id && made.what == *what)
    }

    /// The call under way ends without an answer; `None`: no call is under way.
    pub(super) fn end_unanswered(&mut self) -> Option<Made> {
        self.under_way.take()
    }

    /// Who waits for calls that were not made yet; the calls will be made all the same.
    pub(super) fn forget_queued(&mut self) -> Vec<Purpose> {
        self.queue.iter_mut().map(|queued| std::mem::replace(&mut queued.purpose, Purpose::Heartbeat)).collect()
    }

    /// Who waits for any call.
    pub(super) fn forget_all(&mut self) -> Vec<Purpose> {
        let mut purposes = self.forget_queued();
        let under_way = self.under_way.as_mut();
        purposes.extend(under_way.map(|made| std::mem::replace(&mut made.purpose, Purpose::Heartbeat)));
        purposes
    }
}
