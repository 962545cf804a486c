//! The groups and offsets of one `__consumer_offsets` partition.
//!
//! Memory runs ahead of the log where Kafka's does (members, generations), and waits for it where clients rely on that
//! (assignments, offsets, and every reply that rests on a record).
//!
//! The host's part: append the records of [`Effects::appends`] in the order handed out (so hand them to the log before
//! the lock is released), each [`GroupAppend`] as one batch; report each one's fate with [`Shard::appended`], in the
//! same order (and [`Shard::delayed`] when it takes too long); deliver the replies; call [`Shard::tick`] at
//! [`Shard::next_deadline`].

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::classic::group::ClassicGroup;
use crate::config::Config;
use crate::consumer::group::ConsumerGroup;
use crate::consumer::{migration, requests};
use crate::effects::{Effects, GroupAppend, GroupAppendId};
use crate::error::{GroupAppendError, GroupError};
use crate::group::Group;
use crate::ids::{GroupId, Now, Ticket};
use crate::offsets::{Offsets, Stored};
use crate::pending::Pending;
use crate::record::{ConsumerRecord, OffsetKey, OffsetValue, Record, ShareRecord, StreamsRecord};
use crate::request::GroupReply;
use crate::share;
use crate::share::deletion::Deletion;
use crate::share::group::ShareGroup;
use crate::streams;
use crate::streams::group::StreamsGroup;
use crate::timers::{TimerKey, Timers};
use crate::topics::Topics;
use crate::turn::{GroupWrite, Then, Turn};

/// The groups and offsets of one partition.
#[derive(Debug)]
pub struct Shard {
    pub(crate) config: Config,
    /// What consumer groups may subscribe to.
    pub(crate) topics: Arc<Topics>,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    /// Committed offsets: durable, unlike those in `in_flight`.
    pub(crate) offsets: Offsets,
    /// Offsets in transactions that have not ended: durable too.
    pub(crate) pending: Pending,
    pub(crate) in_flight: BTreeMap<GroupAppendId, GroupWrite>,
    pub(crate) timers: Timers,
    /// Groups of kinds that this version does not know: the keys of their records that are in the log. They keep their
    /// offsets, and are otherwise left alone until a version that knows them is back.
    pub(crate) opaque: BTreeMap<GroupId, BTreeSet<Bytes>>,
    /// Groups with records of which it is not known yet whether they are committed: they are left alone.
    pub(crate) unsettled: BTreeSet<GroupId>,
    /// Deletions of groups that wait for share coordinators.
    pub(crate) deletions: BTreeMap<Ticket, Deletion>,
    next_append: u64,
}

impl Shard {
    /// An empty shard: replay the partition into it, then call [`Shard::loaded`].
    pub fn new(config: Config) -> Self {
        Shard {
            config,
            topics: Arc::default(),
            groups: BTreeMap::new(),
            offsets: Offsets::default(),
            pending: Pending::default(),
            in_flight: BTreeMap::new(),
            timers: Timers::default(),
            opaque: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            deletions: BTreeMap::new(),
            next_append: 0,
        }
    }

    /// A committed record, in the order of the log: its offset there, and the id of the producer in whose transaction
    /// it is, if in one. Only before [`Shard::loaded`].
    pub fn replay(&mut self, offset: i64, producer_id: Option<i64>, record: Record) {
        match record {
            Record::GroupMetadata { group, value: Some(value) } => {
                self.groups.insert(group.clone(), Group::Classic(ClassicGroup::from_record(group, value)));
            }
            Record::GroupMetadata { group, value: None } => {
                if self.groups.get(&group).is_some_and(|group| group.classic().is_some()) {
                    self.groups.remove(&group);
                }
            }
            Record::Consumer { group, record } => self.replay_consumer(group, record),
            Record::Streams { group, record } => self.replay_streams(group, record),
            Record::Share { group, record } => self.replay_share(group, record),
            Record::OffsetCommit { key, value } => self.apply_offset(offset, producer_id, key, value),
            Record::Opaque { group, key, value: Some(_) } => _ = self.opaque.entry(group).or_default().insert(key),
            Record::Opaque { group, key, value: None } => {
                if let Entry::Occupied(mut keys) = self.opaque.entry(group) {
                    keys.get_mut().remove(&key);
                    if keys.get().is_empty() {
                        keys.remove();
                    }
                }
            }
        }
    }

    /// The last kind of records counts: a group that changes its kind deletes what it was before.
    fn replay_consumer(&mut self, id: GroupId, record: ConsumerRecord) {
        let known = self.groups.get_mut(&id).and_then(Group::consumer_mut);
        match (known, record) {
            (Some(_), ConsumerRecord::Group(None)) => _ = self.groups.remove(&id),
            (Some(group), record) => group.apply(record),
            (None, record) if record.is_tombstone() => {}
            (None, record) => {
                let mut group = ConsumerGroup::new(id.clone(), 0);
                group.apply(record);
                self.groups.insert(id, Group::Consumer(Box::new(group)));
            }
        }
    }

    fn replay_streams(&mut self, id: GroupId, record: StreamsRecord) {
        let known = self.groups.get_mut(&id).and_then(Group::streams_mut);
        match (known, record) {
            (Some(_), StreamsRecord::Group(None)) => _ = self.groups.remove(&id),
            (Some(group), record) => group.apply(record),
            (None, record) if record.is_tombstone() => {}
            (None, record) => {
                let mut group = StreamsGroup::new(id.clone(), 0);
                group.apply(record);
                self.groups.insert(id, Group::Streams(Box::new(group)));
            }
        }
    }

    fn replay_share(&mut self, id: GroupId, record: ShareRecord) {
        let known = self.groups.get_mut(&id).and_then(Group::share_mut);
        match (known, record) {
            (Some(_), ShareRecord::Group(None)) => _ = self.groups.remove(&id),
            (Some(group), record) => group.apply(record),
            (None, record) if record.is_tombstone() => {}
            (None, record) => {
                let mut group = ShareGroup::new(id.clone(), 0);
                group.apply(record);
                self.groups.insert(id, Group::Share(Box::new(group)));
            }
        }
    }

    /// The same as [`Shard::replay`] for a record of which it is not known yet whether it is committed: until
    /// [`Shard::settled`] its group is not to be shown or asked.
    pub fn replay_unsettled(&mut self, offset: i64, producer_id: Option<i64>, record: Record) {
        self.unsettled.insert(record.group().clone());
        self.replay(offset, producer_id, record);
    }

    /// The end of a producer's transaction, in the order of the log: what it has pending counts, or is dropped. Before
    /// [`Shard::loaded`] the marker may be one of which it is not known yet whether it is committed; then its groups
    /// are unsettled.
    pub fn end_transaction(&mut self, producer_id: i64, has_committed: bool, is_committed: bool) {
        for (key, stored) in self.pending.take(producer_id) {
            if !is_committed {
                self.unsettled.insert(key.group.clone());
            }
            if has_committed {
                self.offsets.apply_if_newer(key, stored);
            }
        }
    }

    /// Whether all that is known of the group is committed, or was decided here.
    pub fn is_settled(&self, group: &str) -> bool {
        !self.unsettled.contains(group)
    }

    /// Everything is replayed: the sessions of the members begin.
    pub fn loaded(&mut self, now: Now) -> Effects {
        self.add_simple_groups();
        let settled = self.groups.keys().filter(|group| !self.unsettled.contains(*group)).cloned().collect();
        self.begin(&settled, now)
    }

    /// Offsets without any record of their group belong to a consumer without group management.
    fn add_simple_groups(&mut self) {
        for (id, committed_ms) in self.offsets.groups().chain(self.pending.groups()) {
            if !self.groups.contains_key(id) && !self.is_opaque(id) {
                self.groups.insert(id.clone(), Group::Classic(ClassicGroup::new(id.clone(), committed_ms)));
            }
        }
    }

    /// Whether it is a group of a kind that this version does not know.
    pub(crate) fn is_opaque(&self, group: &GroupId) -> bool {
        self.opaque.contains_key(group)
    }

    /// How many groups are of kinds that this version does not know.
    pub fn opaque_groups(&self) -> usize {
        self.opaque.len()
    }

    /// All that was replayed is committed.
    pub fn settled(&mut self, now: Now) -> Effects {
        let settled = std::mem::take(&mut self.unsettled);
        self.begin(&settled, now)
    }

    fn begin(&mut self, begun: &BTreeSet<GroupId>, now: Now) -> Effects {
        self.turn(now, |groups, turn| {
            for group in groups.values_mut().filter(|group| begun.contains(group.id())) {
                let group = match group {
                    Group::Classic(group) => group,
                    Group::Consumer(group) => {
                        group.begin(turn);
                        migration::downgrade_if_due(group, turn);
                        requests::flush(group, turn);
                        continue;
                    }
                    Group::Streams(group) => {
                        group.begin(turn);
                        continue;
                    }
                    Group::Share(group) => {
                        group.begin(turn);
                        continue;
                    }
                };
                for member in group.members.keys() {
                    group.restart_session(member, turn);
                }
                if group.members.len() > turn.config.max_size {
                    group.prepare_rebalance(turn); // the limit was lowered: who joins first stays
                }
            }
        })
    }

    /// The partition is no longer led here: clients that wait must look for the new coordinator.
    pub fn unload(mut self, now: Now) -> Vec<(Ticket, GroupReply)> {
        let in_flight = std::mem::take(&mut self.in_flight);
        let deletions = std::mem::take(&mut self.deletions);
        let effects = self.turn(now, |groups, turn| {
            for ticket in deletions.into_keys() {
                turn.reply(ticket, GroupReply::DeleteGroups(Err(GroupError::NotCoordinator)));
            }
            for (ticket, reply) in in_flight.into_values().flat_map(|write| write.replies) {
                turn.reply(ticket, reply.refused(GroupError::NotCoordinator));
            }
            for group in groups.values_mut() {
                match group {
                    Group::Classic(group) => {
                        for (id, member) in &mut group.members {
                            member.release(id, GroupError::NotCoordinator, turn);
                        }
                    }
                    Group::Consumer(group) => {
                        turn.replies.extend(group.history.refuse(GroupError::NotCoordinator));
                    }
                    Group::Streams(group) => {
                        turn.replies.extend(group.history.refuse(GroupError::NotCoordinator));
                    }
                    Group::Share(group) => group.refuse_all(GroupError::NotCoordinator, turn),
                }
            }
        });
        effects.replies
    }

    /// The settings from now on; sessions keep the time-out that they began with until the next heartbeat. What
    /// [`Shard::set_max_batch`] has set stays.
    pub fn set_config(&mut self, config: Config) {
        self.config = Config { max_batch: self.config.max_batch, ..config };
    }

    /// The log accepts as many bytes in one batch from now on: tombstones come in batches that fit.
    pub fn set_max_batch(&mut self, bytes: usize) {
        self.config.max_batch = bytes;
    }

    /// When [`Shard::tick`] has something to do, on [`Now::monotonic`]'s scale; `None`: not before something else
    /// happens.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Acts on every deadline that has passed.
    pub fn tick(&mut self, now: Now) -> Effects {
        let due = self.timers.due(now.monotonic);
        self.turn(now, |groups, turn| {
            for key in due {
                if !turn.timers.take(&key, now.monotonic) {
                    continue;
                }
                match groups.get_mut(key.group()) {
                    None => {}
                    Some(Group::Classic(group)) => match &key {
                        TimerKey::Join(_) => group.join_expired(turn),
                        TimerKey::Sync(_) => group.sync_expired(turn),
                        TimerKey::Session(_, member) => group.session_expired(member, turn),
                        TimerKey::Revocation(..)
                        | TimerKey::MemberJoin(..)
                        | TimerKey::MemberSync(..)
                        | TimerKey::InitialDelay(_)
                        | TimerKey::StateCall(_)
                        | TimerKey::Unwritten(_) => {}
                    },
                    Some(Group::Streams(group)) => streams::requests::expired(group, &key, turn),
                    Some(Group::Share(group)) => share::writing::expired(group, &key, turn),
                    Some(Group::Consumer(_)) => requests::act(groups, key.group(), turn, |group, turn| match &key {
                        TimerKey::Session(_, member)
                        | TimerKey::MemberJoin(_, member)
                        | TimerKey::MemberSync(_, member) => group.fence(member, turn),
                        TimerKey::Revocation(_, member) => group.revocation_expired(member, turn),
                        TimerKey::Join(_)
                        | TimerKey::Sync(_)
                        | TimerKey::InitialDelay(_)
                        | TimerKey::StateCall(_)
                        | TimerKey::Unwritten(_) => {}
                    }),
                }
            }
        })
    }

    /// The append is not durable in time: clients that wait for it hear so. It may become durable yet, so its fate is
    /// still to be reported.
    pub fn delayed(&mut self, id: GroupAppendId, now: Now) -> Effects {
        let Some(write) = self.in_flight.get_mut(&id) else { return Effects::default() };
        let waiting = std::mem::take(&mut write.replies);
        let then = match &write.then {
            Then::Assigned { .. } | Then::Replaced { .. } => std::mem::replace(&mut write.then, Then::Nothing),
            Then::Consumer { group, .. } => {
                let group = group.clone();
                return self.turn(now, |groups, turn| {
                    if let Some(group) = groups.get_mut(&group).and_then(Group::consumer_mut) {
                        turn.replies.extend(group.history.late());
                    }
                });
            }
            Then::Streams { group, .. } => {
                let group = group.clone();
                return self.turn(now, |groups, turn| {
                    if let Some(group) = groups.get_mut(&group).and_then(Group::streams_mut) {
                        turn.replies.extend(group.history.late());
                    }
                });
            }
            Then::Share { group, .. } => {
                let group = group.clone();
                return self.turn(now, |groups, turn| {
                    if let Some(group) = groups.get_mut(&group).and_then(Group::share_mut) {
                        share::writing::delayed(group, turn);
                    }
                });
            }
            // Nobody was promised anything but the reply: what is written stands until it fails.
            Then::Nothing | Then::Created(_) | Then::Deleted(_) => Then::Nothing,
        };
        let late = Err(GroupAppendError::NotCommitted.into());
        self.turn(now, |groups, turn| conclude(groups, then, &[], waiting, late, turn))
    }

    /// The fate of an append: durable (committed, not only written), with the offset of its first record; or not there
    /// and never will be.
    pub fn appended(&mut self, id: GroupAppendId, result: Result<i64, GroupAppendError>, now: Now) -> Effects {
        let Some(write) = self.in_flight.remove(&id) else { return Effects::default() };
        let GroupWrite { producer, records, then, replies, parts_left, spoiled } = write;
        if let Ok(base_offset) = result {
            self.apply_offsets(base_offset, producer.map(|producer| producer.id), &records);
        }
        let result = spoiled.map_or(result.map(|_| ()), Err);
        if let Err(error) = result {
            for (_, part) in self.in_flight.range_mut(GroupAppendId(id.0 + 1)..GroupAppendId(id.0 + 1 + parts_left)) {
                part.spoiled = Some(error);
            }
        }
        let then = match then {
            Then::Created(group) if self.has_offsets(&group) || self.is_in_flight(&group) => Then::Nothing,
            then => then,
        };
        let result = result.map_err(GroupError::from);
        self.turn(now, |groups, turn| conclude(groups, then, &records, replies, result, turn))
    }

    pub(crate) fn is_in_flight(&self, group: &GroupId) -> bool {
        self.in_flight.values().flat_map(|write| &write.records).any(|record| record.group() == group)
    }

    /// Committed ones, or some of a transaction that may yet commit them.
    fn has_offsets(&self, group: &GroupId) -> bool {
        self.offsets.has(group) || self.pending.has(group)
    }

    fn apply_offsets(&mut self, base_offset: i64, producer_id: Option<i64>, records: &[Record]) {
        for (offset, record) in (base_offset..).zip(records) {
            match record {
                Record::OffsetCommit { key, value } => {
                    self.apply_offset(offset, producer_id, key.clone(), value.clone());
                }
                // memory is ahead of it
                Record::GroupMetadata { .. }
                | Record::Consumer { .. }
                | Record::Streams { .. }
                | Record::Share { .. }
                | Record::Opaque { .. } => {}
            }
        }
    }

    fn apply_offset(&mut self, at: i64, producer_id: Option<i64>, key: OffsetKey, value: Option<OffsetValue>) {
        match (producer_id, value) {
            (None, Some(value)) => self.offsets.apply(key, Some(Stored { value, at })),
            (Some(producer_id), Some(value)) => self.pending.insert(producer_id, key, Stored { value, at }),
            (_, None) => {
                self.pending.remove_all(&key);
                self.offsets.apply(key, None);
            }
        }
    }

    /// One turn: what `act` decides becomes effects, and its writes are in flight.
    pub(crate) fn turn(&mut self, now: Now, act: impl FnOnce(&mut BTreeMap<GroupId, Group>, &mut Turn<'_>)) -> Effects {
        let mut turn = Turn::new(&self.config, &self.topics, &mut self.timers, now);
        act(&mut self.groups, &mut turn);
        let Turn { replies, writes, lookups, state_calls, states_deleted, .. } = turn;
        let mut appends = Vec::new();
        for write in writes {
            let id = GroupAppendId(self.next_append);
            self.next_append += 1;
            appends.push(GroupAppend { id, producer: write.producer, records: write.records.clone() });
            self.in_flight.insert(id, write);
        }
        let mut effects = Effects { replies, appends, lookups, state_calls };
        for (ticket, group, result) in states_deleted {
            effects.extend(self.states_deleted(ticket, &group, result, now));
        }
        effects
    }
}

/// What a write's outcome means to its group, and to those who wait for it.
fn conclude(
    groups: &mut BTreeMap<GroupId, Group>,
    then: Then,
    records: &[Record],
    waiting: Vec<(Ticket, GroupReply)>,
    result: Result<(), GroupError>,
    turn: &mut Turn<'_>,
) {
    match (then, result) {
        (Then::Nothing, _) | (Then::Created(_) | Then::Deleted(_), Ok(())) => {}
        (Then::Consumer { group, life }, result) => {
            let found = groups.get_mut(&group).and_then(Group::consumer_mut);
            if let Some(found) = found.filter(|group| group.life == life) {
                requests::decided(found, result, turn);
                migration::succeed(groups, &group, turn);
            }
        }
        (Then::Streams { group, life }, result) => {
            let found = groups.get_mut(&group).and_then(Group::streams_mut);
            if let Some(found) = found.filter(|group| group.life == life) {
                streams::requests::decided(found, result, turn);
            }
        }
        (Then::Share { group, life }, result) => {
            let found = groups.get_mut(&group).and_then(Group::share_mut);
            if let Some(found) = found.filter(|group| group.life == life) {
                share::writing::decided(found, result, turn);
            }
        }
        (Then::Created(group), Err(error)) => forget(groups, &group, error, turn),
        (Then::Deleted(deleted), Err(_)) => {
            for mut group in deleted {
                if let Some(group) = group.consumer_mut() {
                    group.write_again(); // some of the tombstones may be in the log
                    requests::flush(group, turn);
                }
                if let Some(group) = group.streams_mut() {
                    group.write_again();
                    streams::requests::flush(group, turn);
                }
                if let Some(group) = group.share_mut() {
                    group.write_again();
                    share::writing::flush(group, turn);
                }
                groups.entry(group.id().clone()).or_insert(group);
            }
        }
        (Then::Assigned { group, generation }, result) => {
            if let Some(group) = groups.get_mut(&group).and_then(Group::classic_mut) {
                group.assigned(generation, records, result, turn);
            }
        }
        (Then::Replaced { group, replacement }, result) => {
            if let Some(group) = groups.get_mut(&group).and_then(Group::classic_mut) {
                group.replaced(*replacement, result, turn);
            }
        }
    }
    for (ticket, reply) in waiting {
        match result {
            Ok(()) => turn.reply(ticket, reply),
            Err(error) => turn.reply(ticket, reply.refused(error)),
        }
    }
}

/// A group whose creation failed was never there, unless it has come to life meanwhile.
fn forget(groups: &mut BTreeMap<GroupId, Group>, id: &GroupId, error: GroupError, turn: &mut Turn<'_>) {
    if groups.get(id).and_then(Group::classic).is_none_or(|group| group.generation > 0) {
        return;
    }
    let Some(Group::Classic(mut group)) = groups.remove(id) else { return };
    turn.timers.cancel(&TimerKey::Join(id.clone()));
    for (member, mut waiting) in std::mem::take(&mut group.members) {
        turn.timers.cancel(&TimerKey::Session(id.clone(), member.clone()));
        waiting.release(&member, error, turn);
    }
    for pending in group.pending {
        turn.timers.cancel(&TimerKey::Session(id.clone(), pending));
    }
}
