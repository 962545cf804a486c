//! From a machine to the persister: what records have become. What comes while a write is under way goes together in
//! the next one.

use std::sync::Arc;

use ottla_group::share_state::{self, Request, StateReply, WriteState};
use ottla_share::{PersisterError, StateBatch, StateWrite};
use tokio::sync::oneshot;

use super::ShareError;
use super::loading::persister_error;
use super::shared::{Active, LedSharePartition, Queued, SharePartitionState};

impl LedSharePartition {
    /// Takes a write for the persister.
    pub(super) fn post(
        self: &Arc<Self>,
        active: &mut Active,
        write: StateWrite,
        answer: Option<oneshot::Sender<Result<(), PersisterError>>>,
    ) {
        active.queue.push(Queued { write, answer });
        if !active.is_writing {
            active.is_writing = true;
            self.runtime.spawn(self.clone().write());
        }
    }

    /// Sends writes until none is left.
    async fn write(self: Arc<Self>) {
        while let Some(queued) = self.next_writes() {
            let Some(request) = self.request(&queued) else { return };
            let written = match self.persister.ask(self.place.clone(), Request::Write(request)).await {
                StateReply::Write(result) => result.map_err(persister_error),
                StateReply::Initialize(_) | StateReply::Read(_) | StateReply::Delete(_) | StateReply::Summarize(_) => {
                    Err(PersisterError::Unknown)
                }
            };
            self.settle(queued, written);
        }
    }

    /// What is to be written next; `None` if that is nothing.
    fn next_writes(&self) -> Option<Vec<Queued>> {
        let mut state = self.state.lock();
        let SharePartitionState::Active(active) = &mut *state else { return None };
        if !active.queue.is_empty() {
            return Some(std::mem::take(&mut active.queue));
        }
        active.is_writing = false;
        if active.is_left {
            *state = SharePartitionState::Over(ShareError::NotFetched);
            drop(state);
            self.changed.disturb();
        }
        None
    }

    /// All of them as one: later states of a record follow earlier ones, and the last start and count hold.
    fn request(&self, queued: &[Queued]) -> Option<WriteState> {
        let last = &queued.last()?.write;
        let batches = queued.iter().flat_map(|queued| &queued.write.batches).map(state_batch).collect();
        Some(WriteState {
            state_epoch: last.state_epoch,
            leader_epoch: self.since_epoch.0,
            start_offset: last.start,
            delivery_complete_count: last.delivery_complete_count,
            batches,
        })
    }

    fn settle(&self, queued: Vec<Queued>, written: Result<(), PersisterError>) {
        let config = self.config();
        let mut state = self.state.lock();
        let mut may_acquire = true;
        if let SharePartitionState::Active(active) = &mut *state {
            let was_full = !active.machine.can_acquire(&config);
            queued.iter().for_each(|queued| active.machine.settle(&queued.write, written));
            // Mostly records were accepted, and there is nothing new for the members that wait.
            may_acquire = was_full || active.machine.next_fetch_offset() < active.machine.end();
        }
        if let Err(error) = written {
            let (group, topic, partition) = (&self.place.group, self.place.topic_id, self.place.partition);
            tracing::warn!(%group, %topic, partition, %error, "failed to write the state of a share partition");
            if error.drops_share_partition() {
                *state = SharePartitionState::Over(error.into());
                may_acquire = true;
            }
        }
        self.follow_up(&state);
        drop(state);
        for Queued { answer, .. } in queued {
            // A client that has hung up does not care.
            answer.map(|answer| answer.send(written));
        }
        if may_acquire {
            self.changed.disturb();
        }
    }
}

fn state_batch(batch: &StateBatch) -> share_state::StateBatch {
    let StateBatch { first, last, state, delivery_count } = *batch;
    share_state::StateBatch { first_offset: first, last_offset: last, delivery_count, delivery_state: state.id() }
}
