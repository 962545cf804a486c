//! One share partition: one group's progress in one partition that this broker leads.
//!
//! The lock is never held while reading records or waiting. Always: the persister gets the writes in the order in which
//! the machine decided them, and one at a time.

use std::sync::Arc;
use std::time::Duration;

use ottla_config::SharingSettings;
use ottla_group::share_state::SharePartition as SharePartitionKey;
use ottla_share::{
    Acknowledge, AcknowledgementBatch, Acquired, Config, MemberId, PersisterError, SharePartition, StateWrite,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{ShareError, Shares, config, sharing};
use crate::coordinator::Clock;
use crate::env::Workers;
use crate::image::{ImageReceiver, LeaderEpoch};
use crate::replica::NotServed;
use crate::replica::partition::Partition;
use crate::share_state::persister::Persister;
use crate::watermark::{Reached, Watermark};

/// The type of an acknowledgement that makes records available again.
const RELEASE: i8 = 2;

/// One group's progress in one partition, while this broker leads it without a break.
pub struct LedSharePartition {
    pub(super) place: SharePartitionKey,
    pub(super) partition: Arc<Partition>,
    /// The leader epoch in which it began.
    pub(super) since_epoch: LeaderEpoch,
    pub(super) clock: Arc<Clock>,
    pub(super) workers: Workers,
    images: ImageReceiver,
    pub(super) persister: Arc<Persister>,
    pub(super) runtime: Handle,
    /// Disturbed when there may be more to acquire, or nothing more will come.
    pub(super) changed: Arc<Watermark>,
    pub(super) state: Mutex<SharePartitionState>,
}

pub(super) enum SharePartitionState {
    /// The persister is asked.
    Loading {
        /// As in [`Active`].
        is_left: bool,
    },
    Active(Box<Active>),
    /// Why nobody gets anything of it any more.
    Over(ShareError),
}

/// A share partition that serves.
pub(super) struct Active {
    pub(super) machine: SharePartition,
    /// Writes that the persister has not got yet, oldest first, with who waits for them.
    pub(super) queue: Vec<Queued>,
    /// A task sends writes.
    pub(super) is_writing: bool,
    /// Nobody of the group has a session here.
    pub(super) is_left: bool,
    /// A fetch reads records to acquire: the others wait for what it leaves.
    pub(super) is_taken: bool,
    /// Another fetch has come meanwhile.
    pub(super) was_refused: bool,
}

impl Active {
    pub(super) fn new(machine: SharePartition) -> Active {
        let (is_writing, is_left, is_taken, was_refused) = (false, false, false, false);
        Active { machine, queue: Vec::new(), is_writing, is_left, is_taken, was_refused }
    }
}

/// A write on its way to the persister.
pub(super) struct Queued {
    pub(super) write: StateWrite,
    /// Where the outcome is sent; `None`: nobody waits for it.
    pub(super) answer: Option<oneshot::Sender<Result<(), PersisterError>>>,
}

impl LedSharePartition {
    /// A share partition that is yet to be loaded; see [`LedSharePartition::load`].
    pub(super) fn new(
        shares: &Shares,
        place: SharePartitionKey,
        partition: Arc<Partition>,
        since_epoch: LeaderEpoch,
    ) -> Arc<LedSharePartition> {
        Arc::new(LedSharePartition {
            place,
            partition,
            since_epoch,
            clock: shares.clock.clone(),
            workers: shares.workers.clone(),
            images: shares.images.clone(),
            persister: shares.persister.clone(),
            runtime: shares.runtime.clone(),
            changed: Watermark::new(0),
            state: Mutex::new(SharePartitionState::Loading { is_left: false }),
        })
    }

    /// Whose it is, and of which partition.
    pub fn place(&self) -> &SharePartitionKey {
        &self.place
    }

    /// Whether it is of this very replica, serves or is about to, and nobody else has led since it began.
    pub(super) fn is_for(&self, partition: &Arc<Partition>) -> bool {
        Arc::ptr_eq(&self.partition, partition) && self.partition.leads_since(self.since_epoch) && !self.is_over()
    }

    /// Whether nothing will come of it any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(*self.state.lock(), SharePartitionState::Over(_))
    }

    /// Ends it if this broker no longer leads.
    pub(super) fn check_leads(&self) {
        if !self.partition.leads_since(self.since_epoch) {
            self.end(NotServed::NotLeader.into());
        }
    }

    /// Nobody gets anything of it any more; the next fetch begins with another one.
    pub(super) fn end(&self, why: ShareError) {
        *self.state.lock() = SharePartitionState::Over(why);
        self.changed.disturb();
    }

    /// Resolves when there may be more to acquire than there was when this was called, or nothing more will come.
    pub fn changed(&self) -> Reached {
        self.changed.reached(i64::MAX)
    }

    pub(super) fn sharing(&self) -> SharingSettings {
        sharing(&self.images.borrow(), &self.place.group)
    }

    pub(super) fn config(&self) -> Config {
        config(&self.sharing())
    }

    /// Takes acknowledgements. `None`: there is nothing to wait for.
    pub(super) fn acknowledge(
        self: &Arc<Self>,
        member: &MemberId,
        batches: &[AcknowledgementBatch],
        may_renew: bool,
    ) -> Result<Option<oneshot::Receiver<Result<(), PersisterError>>>, ShareError> {
        let config = self.config();
        let mut state = self.state.lock();
        let active = match &mut *state {
            SharePartitionState::Active(active) => active,
            // Nobody can have anything of it yet.
            SharePartitionState::Loading { .. } => return Err(ottla_share::AcknowledgeError::InvalidRecordState.into()),
            SharePartitionState::Over(why) => return Err(*why),
        };
        let request = Acknowledge { member, batches, may_renew };
        let Some(write) = active.machine.acknowledge(&config, self.clock.now().monotonic, &request)? else {
            self.follow_up(&state);
            return Ok(None);
        };
        let (answer, answered) = oneshot::channel();
        self.post(active, write, Some(answer));
        self.follow_up(&state);
        Ok(Some(answered))
    }

    /// A member's session has ended: its records are released.
    pub(super) fn release(self: &Arc<Self>, member: &MemberId) {
        let config = self.config();
        if let SharePartitionState::Active(active) = &mut *self.state.lock()
            && let Some(write) = active.machine.release(&config, member)
        {
            self.post(active, write, None);
        }
    }

    /// A member does not hear of records that it has acquired: they are released.
    pub(super) fn give_back(self: &Arc<Self>, member: &MemberId, acquired: &[Acquired]) {
        let release = |run: &Acquired| AcknowledgementBatch { first: run.first, last: run.last, types: vec![RELEASE] };
        let batches: Vec<_> = acquired.iter().map(release).collect();
        // Refused if they were released already, with the member's session; and nobody waits for the persister.
        let _ = self.acknowledge(member, &batches, false);
    }

    /// The last session of the group has ended: it goes when everything is loaded and written.
    pub(super) fn leave(&self) {
        let mut state = self.state.lock();
        match &mut *state {
            SharePartitionState::Loading { is_left } => *is_left = true,
            SharePartitionState::Active(active) => {
                active.is_left = true;
                if !active.is_writing {
                    *state = SharePartitionState::Over(ShareError::NotFetched);
                    drop(state);
                    self.changed.disturb();
                }
            }
            SharePartitionState::Over(_) => {}
        }
    }

    /// Whether it went because nobody of the group was left. A fetch that came just then begins with another one.
    pub fn has_left(&self) -> bool {
        matches!(*self.state.lock(), SharePartitionState::Over(ShareError::NotFetched))
    }

    /// Somebody of the group fetches again.
    pub(super) fn stay(&self) {
        match &mut *self.state.lock() {
            SharePartitionState::Loading { is_left } => *is_left = false,
            SharePartitionState::Active(active) => active.is_left = false,
            SharePartitionState::Over(_) => {}
        }
    }

    /// Ends the locks whose time is over; returns when the next is. `None`: there is none, or the partition is not
    /// active.
    pub(super) fn tick(self: &Arc<Self>) -> Option<Duration> {
        let config = self.config();
        let mut state = self.state.lock();
        let SharePartitionState::Active(active) = &mut *state else { return None };
        if let Some(write) = active.machine.expire(&config, self.clock.now().monotonic) {
            self.post(active, write, None);
            self.changed.disturb();
        }
        active.machine.next_deadline()
    }

    /// After anything that a lock's end may rest on.
    pub(super) fn follow_up(&self, state: &MutexGuard<'_, SharePartitionState>) {
        if let SharePartitionState::Active(active) = &**state {
            self.clock.wake_by(active.machine.next_deadline());
        }
    }

    /// How many records are in flight, of the groups' members or done with out of order.
    pub(super) fn in_flight(&self) -> i64 {
        match &*self.state.lock() {
            SharePartitionState::Active(active) => active.machine.end() - active.machine.start(),
            SharePartitionState::Loading { .. } | SharePartitionState::Over(_) => 0,
        }
    }
}
