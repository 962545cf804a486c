//! What the shard does by itself: it aborts transactions that are open for too long, forgets ids that nobody uses, and
//! repeats what could not be written down.
//!
//! Transactions and ids are scanned at Kafka's intervals, so a time-out may be noticed an interval late.

use std::time::Duration;

use crate::config::Config;
use crate::effects::Effects;
use crate::ids::{Now, TransactionalId};
use crate::shard::{Shard, TransactionChange};
use crate::transaction::{Transaction, TransactionState};

/// Pause before a completion is written again that could not be: too few replicas are in sync.
const COMPLETION_RETRY: Duration = Duration::from_millis(100);
/// A transaction of a two-phase commit, as Kafka marks it: another coordinator ends it, however long that takes.
const NO_TIMEOUT: i32 = i32::MAX;
/// Tombstones of one batch, in bytes: well below what `max.message.bytes` lets into the topic, which is 1 MiB.
const BATCH_BYTES: usize = 500_000;
/// What a tombstone takes besides its id, at most.
const TOMBSTONE_BYTES: usize = 40;

/// When to act next, on [`Now::monotonic`]'s scale. `None`: not before something else happens.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Deadlines {
    timeouts: Option<Duration>,
    expiry: Option<Duration>,
    completions: Option<Duration>,
}

impl Deadlines {
    pub(crate) fn begin(&mut self, config: &Config, now: Now) {
        self.timeouts = Some(now.monotonic.saturating_add(config.timeout_interval));
        self.expiry = Some(now.monotonic.saturating_add(config.expiry_interval));
    }

    /// An append failed, perhaps that of a completion.
    pub(crate) fn retry_completions(&mut self, now: Now) {
        self.completions.get_or_insert(now.monotonic.saturating_add(COMPLETION_RETRY));
    }

    fn next(&self) -> Option<Duration> {
        [self.timeouts, self.expiry, self.completions].into_iter().flatten().min()
    }
}

/// Whether the deadline has passed. If so, there is none any longer.
fn take_due(deadline: &mut Option<Duration>, now: Now) -> bool {
    deadline.take_if(|deadline| *deadline <= now.monotonic).is_some()
}

impl Shard {
    /// When [`Shard::tick`] has something to do, on [`Now::monotonic`]'s scale; `None`: not before something else
    /// happens.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.next()
    }

    /// Acts on every deadline that has passed.
    pub fn tick(&mut self, now: Now) -> Effects {
        let mut effects = Effects::default();
        if take_due(&mut self.deadlines.completions, now) {
            for id in self.idle_ids(|transaction| matches!(transaction.state, TransactionState::Prepare(_))) {
                self.complete(&id, now, &mut effects);
            }
        }
        if take_due(&mut self.deadlines.timeouts, now) {
            self.deadlines.timeouts = Some(now.monotonic.saturating_add(self.config.timeout_interval));
            self.abort_timed_out(now, &mut effects);
        }
        if take_due(&mut self.deadlines.expiry, now) {
            self.deadlines.expiry = Some(now.monotonic.saturating_add(self.config.expiry_interval));
            self.expire(now, &mut effects);
        }
        effects
    }

    /// The ids with such a transaction that no change is under way of.
    fn idle_ids(&self, is_such: impl Fn(&Transaction) -> bool) -> Vec<TransactionalId> {
        let ids = self
            .transactions
            .iter()
            .filter(|(id, transaction)| is_such(transaction) && !self.is_pending(id) && self.is_settled(id));
        ids.map(|(id, _)| id.clone()).collect()
    }

    fn abort_timed_out(&mut self, now: Now, effects: &mut Effects) {
        for id in self.idle_ids(|transaction| has_timed_out(transaction, now)) {
            let Some(transaction) = self.transactions.get(&id) else { continue };
            // Without a fresh producer id, it is done at the next scan.
            if let Ok(next) = transaction.fenced(self.config.transaction_version, &mut self.ids, now.wall_ms) {
                self.write(vec![(id, TransactionChange::To(Box::new(next)))], Vec::new(), effects);
            }
        }
    }

    fn expire(&mut self, now: Now, effects: &mut Effects) {
        let expiration_ms = i64::try_from(self.config.id_expiration.as_millis()).unwrap_or(i64::MAX);
        let unused_since = now.wall_ms.saturating_sub(expiration_ms);
        let mut batch = Vec::new();
        let mut room = BATCH_BYTES;
        for id in self.idle_ids(|transaction| has_expired(transaction, unused_since)) {
            let bytes = TOMBSTONE_BYTES + id.len();
            if bytes > room && !batch.is_empty() {
                self.write(std::mem::take(&mut batch), Vec::new(), effects);
                room = BATCH_BYTES;
            }
            room = room.saturating_sub(bytes);
            batch.push((id, TransactionChange::Dead));
        }
        if !batch.is_empty() {
            self.write(batch, Vec::new(), effects);
        }
    }
}

fn has_timed_out(transaction: &Transaction, now: Now) -> bool {
    let Transaction { state: TransactionState::Ongoing, start_ms: Some(start_ms), timeout_ms, .. } = *transaction
    else {
        return false;
    };
    timeout_ms != NO_TIMEOUT && start_ms.saturating_add(i64::from(timeout_ms)) < now.wall_ms
}

fn has_expired(transaction: &Transaction, unused_since_ms: i64) -> bool {
    match transaction.state {
        TransactionState::Empty | TransactionState::Complete(_) => transaction.last_update_ms <= unused_since_ms,
        TransactionState::Ongoing | TransactionState::Prepare(_) => false,
    }
}
