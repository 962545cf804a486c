//! From the persister to a machine: where the group was, or where it begins.

use std::sync::Arc;

use ottla_config::OffsetReset;
use ottla_group::share_state::{self, ReadState, Request, StateError, StateReply};
use ottla_share::{DeliveryState, LoadError, PersisterError, SharePartition, StateBatch, Stored};

use super::ShareError;
use super::shared::{Active, LedSharePartition, SharePartitionState};
use crate::env;
use crate::image::LeaderEpoch;
use crate::replica::NotServed;
use crate::replica::partition::reading::{Bound, FoundOffset, OffsetSpec, ReadError};
use crate::share_state::codes;

/// Stands for a start that nobody has chosen yet.
const NO_START: i64 = -1;

impl LedSharePartition {
    /// Asks the persister, and serves then.
    pub(super) async fn load(self: Arc<Self>) {
        let loaded = self.read().await;
        let mut state = self.state.lock();
        if let SharePartitionState::Loading { is_left } = &*state {
            *state = match loaded {
                Ok(_) if *is_left => SharePartitionState::Over(ShareError::NotFetched),
                Ok(machine) => SharePartitionState::Active(Box::new(Active::new(machine))),
                Err(why) => {
                    let group = &self.place.group;
                    let (topic, partition) = (self.place.topic_id, self.place.partition);
                    tracing::warn!(%group, %topic, partition, %why, "failed to load a share partition");
                    SharePartitionState::Over(why)
                }
            };
        }
        drop(state);
        self.changed.disturb();
    }

    async fn read(&self) -> Result<SharePartition, ShareError> {
        let request = Request::Read { leader_epoch: self.since_epoch.0 };
        let ReadState { state_epoch, start_offset, batches } =
            match self.persister.ask(self.place.clone(), request).await {
                StateReply::Read(read) => read.map_err(persister_error)?,
                StateReply::Initialize(_) | StateReply::Write(_) | StateReply::Delete(_) | StateReply::Summarize(_) => {
                    return Err(ShareError::BadState);
                }
            };
        let start = if start_offset == NO_START { self.first_start().await? } else { start_offset };
        let batches = batches.iter().map(stored_batch).collect::<Result<_, LoadError>>();
        let stored = batches.map(|batches| Stored { state_epoch, start, batches });
        let mut machine = stored.and_then(|stored| SharePartition::load(&stored)).map_err(|error| {
            tracing::error!(group = %self.place.group, %error, "the state of a share partition makes no sense");
            ShareError::BadState
        })?;
        machine.move_log_start(self.find(OffsetSpec::Earliest).await?);
        Ok(machine)
    }

    /// Where a group begins that has never fetched.
    async fn first_start(&self) -> Result<i64, ShareError> {
        self.find(match self.sharing().offset_reset {
            OffsetReset::Earliest => OffsetSpec::Earliest,
            OffsetReset::Latest => OffsetSpec::Latest,
            OffsetReset::ByDuration(ago) => {
                let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                OffsetSpec::Timestamp(env::wall_clock_ms().saturating_sub(ago).max(0))
            }
        })
        .await
    }

    /// Looks an offset up; the log's end if there is no such record.
    async fn find(&self, wanted: OffsetSpec) -> Result<i64, ShareError> {
        let found = self.partition.find(wanted, Bound::HighWatermark, LeaderEpoch::NONE).map_err(read_error)?;
        let search = match found {
            FoundOffset::At(record) => return Ok(record.offset),
            FoundOffset::Somewhere(search) => search,
        };
        let found = self.workers.run(move || search.run()).await.map_err(read_error)?;
        Ok(found.map_or_else(|| self.partition.high_watermark.get(), |record| record.offset))
    }
}

fn stored_batch(batch: &share_state::StateBatch) -> Result<StateBatch, LoadError> {
    let share_state::StateBatch { first_offset, last_offset, delivery_count, delivery_state } = *batch;
    let state = DeliveryState::try_from(delivery_state)?;
    Ok(StateBatch { first: first_offset, last: last_offset, state, delivery_count })
}

/// What the share coordinator's refusal means to a leader.
pub(super) fn persister_error(error: StateError) -> PersisterError {
    PersisterError::from(codes::code(error))
}

/// Why records can't be read here.
pub(super) fn read_error(error: ReadError) -> ShareError {
    match error {
        ReadError::NotServed(error) => error.into(),
        // A new leader, which does not know yet what is committed: ask again.
        ReadError::NotAvailable | ReadError::OutOfRange { .. } => NotServed::NotLeader.into(),
        ReadError::Log(error) => {
            tracing::error!(%error, "failed to read records of a share group");
            NotServed::Storage.into()
        }
    }
}
