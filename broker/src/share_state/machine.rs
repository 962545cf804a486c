//! A shard of states as a coordinator's machine: the same values under other names.

use std::time::Duration;

use ottla_batch::{Batch, Marker, Record as LogRecord};
use ottla_config::BrokerSettings;
use ottla_group::share_state::{self, Config, Encoded, Record, Shard, StateReply, TooLong};

use super::key;
use crate::coordinator::batch_of;
use crate::coordinator::machine::{
    Append, AppendId, CoordinatorAppendError, Effects, Machine, NotOurs, Now, Origin, Producer, Ticket,
};
use crate::image::{ClusterImage, LeaderEpoch, SHARE_GROUP_STATE};

/// Every record before this offset is of no use any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeleteBefore(pub i64);

impl Machine for Shard {
    const TOPIC: &'static str = SHARE_GROUP_STATE;
    type Reply = StateReply;
    type Message = DeleteBefore;

    fn new(image: &ClusterImage, _: LeaderEpoch) -> Shard {
        Shard::new(config(image), 0)
    }

    fn commit_timeout(settings: &BrokerSettings) -> Duration {
        settings.share_coordinator.write_timeout
    }

    fn replay(&mut self, origin: Origin, record: &LogRecord) -> Result<(), NotOurs> {
        let record = Record::decode(record.key().ok_or(NotOurs)?, record.value()).map_err(|_| NotOurs)?;
        // A kind of record that Kafka 4.3 does not know is passed over.
        match record {
            Some(record) if origin.is_committed => Shard::replay(self, origin.offset, &record),
            Some(record) => self.replay_unsettled(origin.offset, &record),
            None => {}
        }
        Ok(())
    }

    /// Nobody's transaction writes to this topic.
    fn control(&mut self, _: Producer, _: Marker, _: bool) {}

    fn loaded(&mut self, at: Now) -> Effects<Shard> {
        effects(Shard::loaded(self, now(at)), at)
    }

    fn settled(&mut self, _: Now) -> Effects<Shard> {
        Shard::settled(self);
        Effects::default()
    }

    fn is_settled(&self, key: &str) -> bool {
        key::parse(key).is_none_or(|partition| Shard::is_settled(self, &partition))
    }

    fn decided(&mut self, id: AppendId, result: Result<i64, CoordinatorAppendError>, at: Now) -> Effects<Shard> {
        let result = result.map_err(|error| match error {
            CoordinatorAppendError::NotCommitted => ottla_group::GroupAppendError::NotCommitted,
            CoordinatorAppendError::NotLeader => ottla_group::GroupAppendError::NotLeader,
            CoordinatorAppendError::Rejected => ottla_group::GroupAppendError::TooLarge,
        });
        effects(Shard::decided(self, share_state::StateAppendId(id.0), result, now(at)), at)
    }

    fn delayed(&mut self, id: AppendId, at: Now) -> Effects<Shard> {
        effects(Shard::delayed(self, share_state::StateAppendId(id.0)), at)
    }

    fn tick(&mut self, at: Now) -> Effects<Shard> {
        effects(Shard::tick(self, now(at)), at)
    }

    fn next_deadline(&self) -> Option<Duration> {
        Shard::next_deadline(self)
    }

    fn unload(self, _: Now) -> Vec<(Ticket, StateReply)> {
        tickets(Shard::unload(self))
    }
}

/// The settings of share coordinators.
pub(super) fn config(image: &ClusterImage) -> Config {
    let updates_per_snapshot = image.settings.share_coordinator.updates_per_snapshot;
    Config { updates_per_snapshot, ..Config::default() }
}

/// What the states have decided, for their host.
pub(super) fn effects(effects: share_state::Effects, now: Now) -> Effects<Shard> {
    let share_state::Effects { replies, appends, delete_before } = effects;
    let appends = appends.into_iter().map(|append| Append {
        id: AppendId(append.id.0),
        batch: batch(&append.records, now).map_err(|TooLong| CoordinatorAppendError::Rejected),
    });
    Effects {
        replies: tickets(replies),
        appends: appends.collect(),
        sends: delete_before.map(DeleteBefore).into_iter().collect(),
    }
}

fn batch(records: &[Record], now: Now) -> Result<Batch, TooLong> {
    let encoded = records.iter().map(Record::encode).collect::<Result<Vec<Encoded>, TooLong>>()?;
    let records = encoded.iter().map(|Encoded { key, value }| (&key[..], value.as_deref()));
    Ok(batch_of(records, now.wall_ms))
}

fn tickets(replies: Vec<(ottla_group::Ticket, StateReply)>) -> Vec<(Ticket, StateReply)> {
    replies.into_iter().map(|(ticket, reply)| (Ticket(ticket.0), reply)).collect()
}

pub(super) fn ticket(ticket: Ticket) -> ottla_group::Ticket {
    ottla_group::Ticket(ticket.0)
}

pub(super) fn now(Now { monotonic, wall_ms }: Now) -> ottla_group::Now {
    ottla_group::Now { monotonic, wall_ms }
}
