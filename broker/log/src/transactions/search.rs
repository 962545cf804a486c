//! The aborted transactions of a range of offsets. In two steps like reading: [`Log::aborted_from`] notes what there is
//! under the partition's lock, [`AbortedSearch::run`] may wait for the disk.

use std::sync::Arc;

use super::index::{AbortedTransaction, TransactionIndex};
use crate::log::Log;
use crate::sealed::Sealed;
use crate::walk::LogError;

/// The transaction indexes of a log as they were when the lock was held. They know every aborted transaction that has
/// records below the last stable offset of that time.
#[derive(Debug)]
pub struct AbortedSearch {
    /// The oldest first.
    sealed: Vec<Arc<Sealed>>,
    active: TransactionIndex,
}

impl Log {
    /// Search for aborted transactions that have a record, or their marker, at `from` or behind it.
    pub fn aborted_from(&self, from: i64) -> AbortedSearch {
        let reached = self.sealed.values().rev().take_while(|segment| segment.end_offset > from);
        let mut sealed: Vec<Arc<Sealed>> = reached.filter(|segment| segment.has_aborted).cloned().collect();
        sealed.reverse();
        AbortedSearch { sealed, active: self.active.indexes.aborted.clone() }
    }
}

impl AbortedSearch {
    /// Those that overlap offsets from `from`, which is not before the one that the search was made for, up to `up_to`,
    /// which is not above the last stable offset of that time. By their first offset.
    ///
    /// # Errors
    /// When an index can't be read.
    pub fn run(&self, from: i64, up_to: i64) -> Result<Vec<AbortedTransaction>, LogError> {
        let mut found = Vec::new();
        let mut ended = false;
        for segment in &self.sealed {
            ended = segment.aborted()?.collect(from, up_to, &mut found);
            if ended {
                break;
            }
        }
        if !ended {
            self.active.collect(from, up_to, &mut found);
        }
        found.sort_by_key(|transaction| transaction.first_offset);
        Ok(found)
    }
}
