//! From what the persister has read to a share partition.

use super::batch::{Batch, Slot};
use super::share_partition::SharePartition;
use crate::error::LoadError;
use crate::state::Stored;

impl SharePartition {
    /// The share partition that the persister has read. The host then applies the log's start
    /// ([`SharePartition::move_log_start`]), which may have moved meanwhile.
    ///
    /// # Errors
    /// If what was read contradicts itself, or has no start.
    pub fn load(stored: &Stored) -> Result<Self, LoadError> {
        let Stored { state_epoch, start, batches } = stored;
        if *start < 0 {
            return Err(LoadError::NoStart);
        }
        let mut partition = SharePartition::new(*state_epoch, *start);
        for batch in batches {
            let in_order = partition.end <= batch.first && batch.first <= batch.last && batch.last < i64::MAX;
            if !in_order || batch.delivery_count < 0 {
                return Err(LoadError::OutOfOrder(batch.first));
            }
            if partition.end < batch.first {
                partition.unread.insert(partition.end, batch.first - 1);
            }
            let slot = Slot { state: batch.state.into(), delivery_count: batch.delivery_count };
            partition.batches.insert(batch.first, Batch::new(batch.first, batch.last, slot));
            partition.end = batch.last + 1;
        }
        partition.advance();
        Ok(partition)
    }
}
