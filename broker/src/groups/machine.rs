//! A shard of groups as a coordinator's machine: the same values under other names.

use std::time::Duration;

use ottla_batch::{Batch, ControlRecordType, Marker, Record as LogRecord};
use ottla_config::BrokerSettings;
use ottla_group::record::{Encoded, TooLong};
use ottla_group::{Config, GroupError, GroupReply, Lookup, Record, Shard, StateCall};

use crate::coordinator::machine::{
    Append, AppendId, CoordinatorAppendError, CoordinatorError, Effects, Machine, NotOurs, Now, Origin, Producer,
    Ticket,
};
use crate::coordinator::{batch_of, transactional_batch_of};
use crate::groups::inputs::Inputs;
use crate::image::{CONSUMER_OFFSETS, ClusterImage, LeaderEpoch};

/// What groups want done outside of their lock.
pub(crate) enum Errand {
    /// The topics that regular expressions stand for.
    Lookup(Lookup),
    /// Share coordinators are to initialise or delete states.
    StateCall(StateCall),
}

impl Machine for Shard {
    const TOPIC: &'static str = CONSUMER_OFFSETS;
    type Reply = GroupReply;
    type Message = Errand;

    fn new(image: &ClusterImage, _: LeaderEpoch) -> Shard {
        let mut inputs = Inputs::new();
        inputs.learn(image);
        let mut groups = Shard::new(Config::default());
        inputs.give()(&mut groups);
        groups
    }

    fn commit_timeout(settings: &BrokerSettings) -> Duration {
        settings.offsets_commit_timeout
    }

    fn replay(&mut self, origin: Origin, record: &LogRecord) -> Result<(), NotOurs> {
        let record = Record::decode(record.key().ok_or(NotOurs)?, record.value()).map_err(|_| NotOurs)?;
        let producer_id = origin.producer.map(|producer| producer.id);
        if origin.is_committed {
            Shard::replay(self, origin.offset, producer_id, record);
        } else {
            self.replay_unsettled(origin.offset, producer_id, record);
        }
        Ok(())
    }

    fn control(&mut self, producer: Producer, marker: Marker, is_committed: bool) {
        self.end_transaction(producer.id, marker.outcome == ControlRecordType::Commit, is_committed);
    }

    fn loaded(&mut self, now: Now) -> Effects<Shard> {
        let begun = Shard::loaded(self, now.into());
        let opaque = self.opaque_groups();
        if opaque > 0 {
            tracing::warn!(groups = opaque, "left groups alone that a newer version has written");
        }
        effects(begun, now)
    }

    fn settled(&mut self, now: Now) -> Effects<Shard> {
        effects(Shard::settled(self, now.into()), now)
    }

    fn is_settled(&self, group: &str) -> bool {
        Shard::is_settled(self, group)
    }

    fn decided(&mut self, id: AppendId, result: Result<i64, CoordinatorAppendError>, now: Now) -> Effects<Shard> {
        let result = result.map_err(|error| match error {
            CoordinatorAppendError::NotCommitted => ottla_group::GroupAppendError::NotCommitted,
            CoordinatorAppendError::NotLeader => ottla_group::GroupAppendError::NotLeader,
            CoordinatorAppendError::Rejected => ottla_group::GroupAppendError::TooLarge,
        });
        effects(self.appended(ottla_group::GroupAppendId(id.0), result, now.into()), now)
    }

    fn delayed(&mut self, id: AppendId, now: Now) -> Effects<Shard> {
        effects(Shard::delayed(self, ottla_group::GroupAppendId(id.0), now.into()), now)
    }

    fn tick(&mut self, now: Now) -> Effects<Shard> {
        effects(Shard::tick(self, now.into()), now)
    }

    fn next_deadline(&self) -> Option<Duration> {
        Shard::next_deadline(self)
    }

    fn unload(self, now: Now) -> Vec<(Ticket, GroupReply)> {
        tickets(Shard::unload(self, now.into()))
    }
}

/// What groups have decided, for their host.
pub(super) fn effects(effects: ottla_group::Effects, now: Now) -> Effects<Shard> {
    let ottla_group::Effects { replies, appends, lookups, state_calls } = effects;
    let lookups = lookups.into_iter().map(Errand::Lookup);
    let sends = lookups.chain(state_calls.into_iter().map(Errand::StateCall)).collect();
    let appends = appends.into_iter().map(|append| Append {
        id: AppendId(append.id.0),
        batch: batch(append.producer, &append.records, now).map_err(|TooLong| CoordinatorAppendError::Rejected),
    });
    Effects { replies: tickets(replies), appends: appends.collect(), sends }
}

fn batch(producer: Option<ottla_group::Producer>, records: &[Record], now: Now) -> Result<Batch, TooLong> {
    let encoded = records.iter().map(Record::encode).collect::<Result<Vec<Encoded>, TooLong>>()?;
    let records = encoded.iter().map(|Encoded { key, value }| (&key[..], value.as_deref()));
    Ok(match producer {
        Some(ottla_group::Producer { id, epoch }) => {
            transactional_batch_of(Producer { id, epoch }, records, now.wall_ms)
        }
        None => batch_of(records, now.wall_ms),
    })
}

fn tickets(replies: Vec<(ottla_group::Ticket, GroupReply)>) -> Vec<(Ticket, GroupReply)> {
    replies.into_iter().map(|(ticket, reply)| (Ticket(ticket.0), reply)).collect()
}

impl From<Now> for ottla_group::Now {
    fn from(Now { monotonic, wall_ms }: Now) -> Self {
        ottla_group::Now { monotonic, wall_ms }
    }
}

impl From<Ticket> for ottla_group::Ticket {
    fn from(ticket: Ticket) -> Self {
        ottla_group::Ticket(ticket.0)
    }
}

impl From<CoordinatorError> for GroupError {
    fn from(error: CoordinatorError) -> Self {
        match error {
            CoordinatorError::LoadInProgress => GroupError::CoordinatorLoadInProgress,
            CoordinatorError::NotCoordinator => GroupError::NotCoordinator,
        }
    }
}
