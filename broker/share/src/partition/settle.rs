//! The persister's answer: changes are completed, or taken back.

use super::batch::SlotState;
use super::share_partition::{SharePartition, StateWrite};
use crate::error::PersisterError;

impl SharePartition {
    /// The persister has answered. If it has the write, the changes in it are completed; if not, they are taken back:
    /// members have their records again, and may acknowledge them again while their lock lasts. Afterwards the host
    /// answers who acknowledged, and looks at the fetches that wait for this share partition: there may be records to
    /// acquire. It drops the share partition if the error says so ([`PersisterError::drops_share_partition`]).
    ///
    /// A lock whose time ran out meanwhile is over with the next [`SharePartition::expire`].
    pub fn settle(&mut self, write: &StateWrite, answer: Result<(), PersisterError>) {
        for batch in &write.batches {
            self.change(batch.first, batch.last, |slot| {
                if let SlotState::Acquired(lock) = &mut slot.state
                    && let Some(pending) = lock.pending.filter(|pending| pending.write == write.number)
                {
                    match answer {
                        Ok(()) => slot.state = pending.state.into(),
                        Err(_) => lock.pending = None,
                    }
                }
            });
        }
        self.advance();
    }
}
