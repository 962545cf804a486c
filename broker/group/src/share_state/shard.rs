//! The states of one `__share_group_state` partition.
//!
//! Memory never runs ahead of the log: it is what the committed records say. While a record of a partition is on its
//! way, other requests about that partition wait for its fate; then they are decided together, in their order, and
//! their records are one batch.
//!
//! The host's part: append the records of [`Effects::appends`] in the order handed out, each [`StateAppend`] as one
//! batch; report each one's fate with [`Shard::decided`], in the same order (and [`Shard::delayed`] when it takes too
//! long); deliver the replies; delete records as [`Effects::delete_before`] says; call [`Shard::tick`] at
//! [`Shard::next_deadline`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::decide::{DecisionInputs, decide};
use super::record::Record;
use super::request::{Request, SharePartition, StateError, StateReply};
use super::state::{ShareGroupState, Tracked, apply};
use crate::error::GroupAppendError;
use crate::ids::{Now, Ticket};
use crate::topics::Topics;

/// Settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Kafka's `share.coordinator.snapshot.update.records.per.snapshot`.
    pub updates_per_snapshot: u32,
    /// How long a snapshot may be the last one of its partition while others get newer ones, and how often the records
    /// before all last snapshots are deleted. Both are 5 min in Kafka.
    pub upkeep_interval: Duration,
    /// How many bytes a batch may have, about, if its records need not be together.
    pub batch_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config { updates_per_snapshot: 500, upkeep_interval: Duration::from_secs(5 * 60), batch_bytes: 500_000 }
    }
}

/// What the host is to do.
#[derive(Default, PartialEq, Debug)]
#[must_use]
pub struct Effects {
    /// Deliver these now.
    pub replies: Vec<(Ticket, StateReply)>,
    /// Append these, in this order, and say what became of them.
    pub appends: Vec<StateAppend>,
    /// Delete the records before this offset, which are all committed, and say so with [`Shard::deleted`]. It is asked
    /// for again later if it fails. `None`: delete nothing.
    pub delete_before: Option<i64>,
}

impl Effects {
    /// These, then those.
    pub fn extend(&mut self, others: Effects) {
        let Effects { replies, appends, delete_before } = others;
        self.replies.extend(replies);
        self.appends.extend(appends);
        self.delete_before = delete_before.or(self.delete_before);
    }
}

/// Names an append of one shard until its fate is known. Grows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StateAppendId(pub u64);

/// Records that belong together: one batch.
#[derive(PartialEq, Debug)]
pub struct StateAppend {
    /// For [`Shard::decided`].
    pub id: StateAppendId,
    /// Not empty.
    pub records: Vec<Record>,
}

/// An append whose fate is not known.
#[derive(Debug)]
struct PendingAppend {
    records: Vec<Record>,
    /// Delivered when the records are committed; if they can't be, the same kinds of reply with the error.
    replies: Vec<(Ticket, StateReply)>,
}

/// A partition with records on their way.
#[derive(Debug, Default)]
struct Busy {
    /// What is to be decided next.
    waiting: Vec<(Ticket, Request)>,
    /// It takes too long: nobody is to wait for it.
    is_late: bool,
}

/// The states of one partition.
#[derive(Debug)]
pub struct Shard {
    pub(super) config: Config,
    topics: Arc<Topics>,
    /// What is committed.
    pub(super) partitions: BTreeMap<SharePartition, Tracked>,
    busy: BTreeMap<SharePartition, Busy>,
    in_flight: BTreeMap<StateAppendId, PendingAppend>,
    next_append: u64,
    /// Partitions of deleted topics, until their states are deleted too.
    pub(super) doomed: BTreeSet<SharePartition>,
    /// Partitions with records of which it is not known yet whether they are committed: they are left alone.
    pub(super) unsettled: BTreeSet<SharePartition>,
    /// The offset after the last record that was replayed or committed here.
    pub(super) end: i64,
    /// Records before it are deleted.
    pub(super) deleted_before: i64,
    /// When [`Shard::tick`] has something to do, on [`Now::monotonic`]'s scale; `None` before [`Shard::loaded`].
    pub(super) upkeep_at: Option<Duration>,
}

impl Shard {
    /// An empty shard: replay the partition into it, then call [`Shard::loaded`]. The records before `log_start` are
    /// deleted already.
    pub fn new(config: Config, log_start: i64) -> Self {
        Shard {
            config,
            topics: Arc::default(),
            partitions: BTreeMap::new(),
            busy: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            next_append: 0,
            doomed: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            end: log_start,
            deleted_before: log_start,
            upkeep_at: None,
        }
    }

    /// A committed record at this offset, in the order of the log. Only before [`Shard::loaded`].
    pub fn replay(&mut self, offset: i64, record: &Record) {
        let before = self.partitions.remove(&record.partition);
        if let Some(after) = apply(before, &record.value, offset) {
            self.partitions.insert(record.partition.clone(), after);
        }
        self.end = offset.saturating_add(1);
    }

    /// The same for a record of which it is not known yet whether it is committed: until [`Shard::settled`] its
    /// partition is not to be asked about.
    pub fn replay_unsettled(&mut self, offset: i64, record: &Record) {
        self.unsettled.insert(record.partition.clone());
        self.replay(offset, record);
    }

    /// Everything is replayed: time begins.
    pub fn loaded(&mut self, now: Now) -> Effects {
        self.upkeep_at = Some(now.monotonic.saturating_add(self.config.upkeep_interval));
        Effects::default()
    }

    /// All that was replayed is committed.
    pub fn settled(&mut self) {
        self.unsettled.clear();
    }

    /// Whether all that is known of the partition is committed.
    pub fn is_settled(&self, partition: &SharePartition) -> bool {
        !self.unsettled.contains(partition)
    }

    /// The topics from now on. States of topics that are not among them stay, because the host may be behind:
    /// [`Shard::delete_topics`] deletes them.
    pub fn set_topics(&mut self, topics: Arc<Topics>) {
        self.topics = topics;
    }

    /// The settings from now on.
    pub fn set_config(&mut self, config: Config) {
        self.config = config;
    }

    /// What is committed of the partition; `None`: nothing.
    pub fn state(&self, partition: &SharePartition) -> Option<&ShareGroupState> {
        self.partitions.get(partition).map(|tracked| &tracked.state)
    }

    /// How many partitions have a state.
    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Whether no partition has a state.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// A request. Its answer is among the effects, or among later ones.
    pub fn request(&mut self, partition: &SharePartition, request: Request, ticket: Ticket, now: Now) -> Effects {
        let mut effects = Effects::default();
        match self.busy.get_mut(partition) {
            Some(busy) if busy.is_late => {
                effects.replies.push((ticket, request.refused(GroupAppendError::NotCommitted.into())));
            }
            Some(busy) => busy.waiting.push((ticket, request)),
            None => self.decide(partition, vec![(ticket, request)], now, &mut effects),
        }
        effects
    }

    /// Decides requests about a partition that has no records on their way, each on what the ones before it do.
    fn decide(
        &mut self,
        partition: &SharePartition,
        requests: Vec<(Ticket, Request)>,
        now: Now,
        effects: &mut Effects,
    ) {
        let mut changed: Option<Option<Tracked>> = None;
        let (mut records, mut replies) = (Vec::new(), Vec::new());
        for (ticket, request) in requests {
            let tracked = changed.as_ref().map_or_else(|| self.partitions.get(partition), Option::as_ref);
            let known = DecisionInputs {
                tracked,
                topics: &self.topics,
                updates_per_snapshot: self.config.updates_per_snapshot,
                wall_ms: now.wall_ms,
            };
            let (reply, value) = decide(partition, &request, &known);
            if let Some(value) = value {
                changed = Some(apply(tracked.cloned(), &value, self.end));
                records.push(Record { partition: partition.clone(), value });
            }
            let replies = if records.is_empty() { &mut effects.replies } else { &mut replies };
            replies.push((ticket, reply));
        }
        self.write(records, replies, effects);
    }

    /// Appends the records as one batch. None of their partitions has others on their way.
    pub(super) fn write(&mut self, records: Vec<Record>, replies: Vec<(Ticket, StateReply)>, effects: &mut Effects) {
        if records.is_empty() {
            return;
        }
        let id = StateAppendId(self.next_append);
        self.next_append += 1;
        for record in &records {
            self.busy.entry(record.partition.clone()).or_default();
        }
        effects.appends.push(StateAppend { id, records: records.clone() });
        self.in_flight.insert(id, PendingAppend { records, replies });
    }

    pub(super) fn is_busy(&self, partition: &SharePartition) -> bool {
        self.busy.contains_key(partition)
    }

    /// The append is not committed in time: the clients that wait for it get an error. It may still be committed, so
    /// the caller must still report its fate. Until then nobody waits for its partitions.
    pub fn delayed(&mut self, id: StateAppendId) -> Effects {
        let mut effects = Effects::default();
        let Some(write) = self.in_flight.get_mut(&id) else { return effects };
        let error = StateError::from(GroupAppendError::NotCommitted);
        let refused = |(ticket, reply): (Ticket, StateReply)| (ticket, reply.refused(error));
        effects.replies.extend(std::mem::take(&mut write.replies).into_iter().map(refused));
        for record in &write.records {
            if let Some(busy) = self.busy.get_mut(&record.partition) {
                busy.is_late = true;
                let waiting = std::mem::take(&mut busy.waiting).into_iter();
                effects.replies.extend(waiting.map(|(ticket, request)| (ticket, request.refused(error))));
            }
        }
        effects
    }

    /// The fate of an append: committed (not only written), with the offset of its first record; or not there and never
    /// will be.
    pub fn decided(&mut self, id: StateAppendId, fate: Result<i64, GroupAppendError>, now: Now) -> Effects {
        let mut effects = Effects::default();
        let Some(PendingAppend { records, replies }) = self.in_flight.remove(&id) else { return effects };
        match fate {
            Ok(first) => {
                for (offset, record) in (first..).zip(&records) {
                    self.replay(offset, record);
                }
                effects.replies = replies;
            }
            Err(error) => {
                let refused = |(ticket, reply): (Ticket, StateReply)| (ticket, reply.refused(error.into()));
                effects.replies = replies.into_iter().map(refused).collect();
            }
        }
        let partitions: BTreeSet<&SharePartition> = records.iter().map(|record| &record.partition).collect();
        for partition in partitions {
            if let Some(busy) = self.busy.remove(partition) {
                self.decide(partition, busy.waiting, now, &mut effects);
            }
        }
        effects
    }

    /// Another broker leads the partition: clients that wait get an error and look for the new coordinator.
    pub fn unload(self) -> Vec<(Ticket, StateReply)> {
        let error = StateError::NotCoordinator;
        let written = self.in_flight.into_values().flat_map(|write| write.replies);
        let written = written.map(|(ticket, reply)| (ticket, reply.refused(error)));
        let waiting = self.busy.into_values().flat_map(|busy| busy.waiting);
        written.chain(waiting.map(|(ticket, request)| (ticket, request.refused(error)))).collect()
    }
}
