//! A shard of transactional ids as a coordinator's machine: the same values under other names.

use std::time::Duration;

use ottla_batch::{Batch, Marker, Record as LogRecord};
use ottla_config::{BrokerSettings, TransactionSettings};
use ottla_rules::features::TRANSACTION_VERSION;
use ottla_txn::record::{Encoded, TooLong};
use ottla_txn::{Config, Record, Shard, TransactionVersion, TxnError, TxnReply, WriteMarkers};

use crate::coordinator::batch_of;
use crate::coordinator::machine::{
    Append, AppendId, CoordinatorAppendError, CoordinatorError, Effects, Machine, NotOurs, Now, Origin, Producer,
    Ticket,
};
use crate::image::{ClusterImage, LeaderEpoch, TRANSACTION_STATE};

/// How long a request waits for its record to be committed. Kafka takes the request time-out of brokers.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

impl Machine for Shard {
    const TOPIC: &'static str = TRANSACTION_STATE;
    type Reply = TxnReply;
    type Message = WriteMarkers;

    fn new(image: &ClusterImage, leader_epoch: LeaderEpoch) -> Shard {
        let TransactionSettings { max_timeout, id_expiration, timeout_interval, expiry_interval } =
            image.settings.transactions;
        let transaction_version = transaction_version(image);
        let config = Config { max_timeout, id_expiration, timeout_interval, expiry_interval, transaction_version };
        Shard::new(config, leader_epoch.0)
    }

    fn commit_timeout(_: &BrokerSettings) -> Duration {
        COMMIT_TIMEOUT
    }

    fn replay(&mut self, origin: Origin, record: &LogRecord) -> Result<(), NotOurs> {
        let record = Record::decode(record.key().ok_or(NotOurs)?, record.value()).map_err(|_| NotOurs)?;
        // A kind of record that Kafka 4.3 does not know is passed over.
        match record {
            Some(record) if origin.is_committed => Shard::replay(self, record),
            Some(record) => self.replay_unsettled(record),
            None => {}
        }
        Ok(())
    }

    /// Nobody's transaction writes to this topic.
    fn control(&mut self, _: Producer, _: Marker, _: bool) {}

    fn loaded(&mut self, now: Now) -> Effects<Shard> {
        effects(Shard::loaded(self, now.into()), now)
    }

    fn settled(&mut self, now: Now) -> Effects<Shard> {
        effects(Shard::settled(self, now.into()), now)
    }

    fn is_settled(&self, id: &str) -> bool {
        Shard::is_settled(self, id)
    }

    fn decided(&mut self, id: AppendId, result: Result<i64, CoordinatorAppendError>, now: Now) -> Effects<Shard> {
        let result = result.map_err(|error| match error {
            CoordinatorAppendError::NotCommitted => ottla_txn::TxnAppendError::NotCommitted,
            CoordinatorAppendError::NotLeader => ottla_txn::TxnAppendError::NotLeader,
            CoordinatorAppendError::Rejected => ottla_txn::TxnAppendError::TooLarge,
        });
        effects(Shard::decided(self, ottla_txn::TxnAppendId(id.0), result, now.into()), now)
    }

    fn delayed(&mut self, id: AppendId, now: Now) -> Effects<Shard> {
        effects(Shard::delayed(self, ottla_txn::TxnAppendId(id.0)), now)
    }

    fn tick(&mut self, now: Now) -> Effects<Shard> {
        effects(Shard::tick(self, now.into()), now)
    }

    fn next_deadline(&self) -> Option<Duration> {
        Shard::next_deadline(self)
    }

    fn unload(self, _: Now) -> Vec<(Ticket, TxnReply)> {
        tickets(Shard::unload(self))
    }
}

/// The finalized level of `transaction.version`, but at least 1: records of version 1 keep the last epoch, and every
/// version of Ottla reads them. No client hears of the difference between 0 and 1.
pub(super) fn transaction_version(image: &ClusterImage) -> TransactionVersion {
    match image.features.level(TRANSACTION_VERSION) {
        ..=1 => TransactionVersion::V1,
        2.. => TransactionVersion::V2,
    }
}

/// What transactions have decided, for their host.
pub(super) fn effects(effects: ottla_txn::Effects, now: Now) -> Effects<Shard> {
    let ottla_txn::Effects { replies, appends, sends } = effects;
    let appends = appends.into_iter().map(|append| Append {
        id: AppendId(append.id.0),
        batch: batch(&append.records, now).map_err(|TooLong| CoordinatorAppendError::Rejected),
    });
    Effects { replies: tickets(replies), appends: appends.collect(), sends }
}

fn batch(records: &[Record], now: Now) -> Result<Batch, TooLong> {
    let encoded = records.iter().map(Record::encode).collect::<Result<Vec<Encoded>, TooLong>>()?;
    Ok(batch_of(encoded.iter().map(|Encoded { key, value }| (&key[..], value.as_deref())), now.wall_ms))
}

fn tickets(replies: Vec<(ottla_txn::Ticket, TxnReply)>) -> Vec<(Ticket, TxnReply)> {
    replies.into_iter().map(|(ticket, reply)| (Ticket(ticket.0), reply)).collect()
}

impl From<Now> for ottla_txn::Now {
    fn from(Now { monotonic, wall_ms }: Now) -> Self {
        ottla_txn::Now { monotonic, wall_ms }
    }
}

impl From<Ticket> for ottla_txn::Ticket {
    fn from(ticket: Ticket) -> Self {
        ottla_txn::Ticket(ticket.0)
    }
}

pub(super) fn refused(error: CoordinatorError) -> TxnError {
    match error {
        CoordinatorError::LoadInProgress => TxnError::CoordinatorLoadInProgress,
        CoordinatorError::NotCoordinator => TxnError::NotCoordinator,
    }
}
