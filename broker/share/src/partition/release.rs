//! How members lose what they have acquired: their session ends, or their time runs out.

use std::time::Duration;

use super::batch::{Pending, SlotState};
use super::share_partition::{SharePartition, StateWrite};
use crate::config::Config;
use crate::ids::{MemberId, Offset};
use crate::state::{DeliveryState, StateBatch, push};

impl SharePartition {
    /// Releases what a member holds, because its session has ended: its records become available, or archived at the
    /// limit of deliveries, once the persister has it. Acknowledgements on their way stay. `None`: nothing to release.
    pub fn release(&mut self, config: &Config, member: &MemberId) -> Option<StateWrite> {
        let batches = self.released(config, |lock_member, _| lock_member == member);
        if batches.is_empty() {
            return None;
        }
        let number = self.number_write();
        for batch in &batches {
            self.change(batch.first, batch.last, |slot| {
                if let SlotState::Acquired(lock) = &mut slot.state {
                    lock.pending = Some(Pending { write: number, state: batch.state });
                }
            });
        }
        Some(self.write(number, batches))
    }

    /// Ends the locks whose time is over: their records are available, or archived at the limit of deliveries, at once
    /// and whatever the persister answers. A lock is not over while a change is being persisted. Afterwards the host
    /// looks at the fetches that wait. `None`: no lock was over.
    pub fn expire(&mut self, config: &Config, now: Duration) -> Option<StateWrite> {
        let batches = self.released(config, |_, until| until <= now);
        if batches.is_empty() {
            return None;
        }
        for batch in &batches {
            self.change(batch.first, batch.last, |slot| slot.state = batch.state.into());
        }
        let number = self.number_write();
        let write = self.write(number, batches);
        self.advance();
        Some(write)
    }

    /// What becomes of the records whose lock (its member, its end) is to be released, in order.
    fn released(&self, config: &Config, which: impl Fn(&MemberId, Duration) -> bool) -> Vec<StateBatch> {
        let mut batches = Vec::new();
        for run in self.runs() {
            if run.slot.settled_lock().is_some_and(|lock| which(&lock.member, lock.until)) {
                push(&mut batches, release(config, run.first, run.last, run.slot.delivery_count));
            }
        }
        batches
    }
}

/// What records become that a member does not process: archived at the limit of deliveries.
pub(super) fn release(config: &Config, first: Offset, last: Offset, delivery_count: i16) -> StateBatch {
    let exhausted = delivery_count >= config.delivery_count_limit;
    let state = if exhausted { DeliveryState::Archived } else { DeliveryState::Available };
    StateBatch { first, last, state, delivery_count }
}
