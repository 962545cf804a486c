//! The groups and offsets of one `__consumer_offsets` partition.
//!
//! Memory runs ahead of the log where Kafka's does (members, generations), and waits for it where clients rely on that
//! (assignments, offsets, and every reply that rests on a record).
//!
//! The shell's part: append the records of [`Effects::appends`] in the order handed out (so hand them to the log before
//! the lock is released), each [`Append`] as one batch; report each one's fate with [`Shard::appended`], in the same
//! order (and [`Shard::delayed`] when it takes too long); deliver the replies; call [`Shard::tick`] at
//! [`Shard::next_deadline`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::error::{AppendError, GroupError};
use crate::group::ClassicGroup;
use crate::ids::{GroupId, Now, Ticket};
use crate::offsets::Offsets;
use crate::record::Record;
use crate::request::Reply;
use crate::timers::{TimerKey, Timers};
use crate::turn::{Then, Turn, Write};

/// A new member's JoinGroup may wait this long; then its client is taken for gone. Kafka's constant.
pub(crate) const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The broker's settings, under Kafka's names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`
    pub min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout: Duration,
    /// `group.max.size`
    pub max_size: usize,
    /// `offset.metadata.max.bytes`; Kafka counts UTF-16 units
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`
    pub offsets_retention: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            initial_rebalance_delay: Duration::from_secs(3),
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(30 * 60),
            max_size: i32::MAX as usize,
            offset_metadata_max: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

/// What the shell is to do.
#[derive(Default, PartialEq, Debug)]
#[must_use]
pub struct Effects {
    /// Deliver these now.
    pub replies: Vec<(Ticket, Reply)>,
    /// Append these, in this order, and say what became of them.
    pub appends: Vec<Append>,
}

impl Effects {
    /// These, then those.
    pub fn extend(&mut self, others: Effects) {
        let Effects { replies, appends } = others;
        self.replies.extend(replies);
        self.appends.extend(appends);
    }
}

/// Names an append until its fate is known. Grows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AppendId(pub u64);

/// Records that belong together: one batch.
#[derive(PartialEq, Debug)]
pub struct Append {
    /// For [`Shard::appended`].
    pub id: AppendId,
    /// Not empty.
    pub records: Vec<Record>,
}

/// The groups and offsets of one partition.
#[derive(Debug)]
pub struct Shard {
    pub(crate) config: Config,
    pub(crate) groups: BTreeMap<GroupId, ClassicGroup>,
    /// Committed offsets: durable, unlike those in `in_flight`.
    pub(crate) offsets: Offsets,
    pub(crate) in_flight: BTreeMap<AppendId, Write>,
    pub(crate) timers: Timers,
    /// Groups with records of which it is not known yet whether they are committed: they are left alone.
    pub(crate) unsettled: BTreeSet<GroupId>,
    next_append: u64,
}

impl Shard {
    /// An empty shard: replay the partition into it, then call [`Shard::loaded`].
    pub fn new(config: Config) -> Self {
        Shard {
            config,
            groups: BTreeMap::new(),
            offsets: Offsets::default(),
            in_flight: BTreeMap::new(),
            timers: Timers::default(),
            unsettled: BTreeSet::new(),
            next_append: 0,
        }
    }

    /// A committed record, in the order of the log. Only before [`Shard::loaded`].
    pub fn replay(&mut self, record: Record) {
        match record {
            Record::GroupMetadata { group, value: Some(value) } => {
                self.groups.insert(group.clone(), ClassicGroup::from_record(group, value));
            }
            Record::GroupMetadata { group, value: None } => {
                self.groups.remove(&group);
            }
            Record::OffsetCommit { key, value } => {
                if let Some(value) = &value {
                    // Offsets without a group record belong to a consumer without group management.
                    let simple = || ClassicGroup::new(key.group.clone(), value.commit_timestamp_ms);
                    self.groups.entry(key.group.clone()).or_insert_with(simple);
                }
                self.offsets.apply(key, value);
            }
        }
    }

    /// The same for a record of which it is not known yet whether it is committed: until [`Shard::settled`] its group
    /// is not to be shown or asked.
    pub fn replay_unsettled(&mut self, record: Record) {
        self.unsettled.insert(record.group().clone());
        self.replay(record);
    }

    /// Whether all that is known of the group is committed, or was decided here.
    pub fn is_settled(&self, group: &str) -> bool {
        !self.unsettled.contains(group)
    }

    /// Everything is replayed: the sessions of the members begin.
    pub fn loaded(&mut self, now: Now) -> Effects {
        let settled = self.groups.keys().filter(|group| !self.unsettled.contains(*group)).cloned().collect();
        self.begin(&settled, now)
    }

    /// All that was replayed is committed.
    pub fn settled(&mut self, now: Now) -> Effects {
        let settled = std::mem::take(&mut self.unsettled);
        self.begin(&settled, now)
    }

    fn begin(&mut self, begun: &BTreeSet<GroupId>, now: Now) -> Effects {
        self.turn(now, |groups, turn| {
            for group in groups.values_mut().filter(|group| begun.contains(&group.id)) {
                for member in group.members.keys() {
                    group.restart_session(member, turn);
                }
                if group.members.len() > turn.config.max_size {
                    group.prepare_rebalance(turn); // the limit was lowered: who joins first stays
                }
            }
        })
    }

    /// The partition is no longer led here: whoever waits must look for the new coordinator.
    pub fn unload(mut self, now: Now) -> Vec<(Ticket, Reply)> {
        let in_flight = std::mem::take(&mut self.in_flight);
        let effects = self.turn(now, |groups, turn| {
            for (ticket, reply) in in_flight.into_values().flat_map(|write| write.replies) {
                turn.reply(ticket, reply.refused(GroupError::NotCoordinator));
            }
            for group in groups.values_mut() {
                for (id, member) in &mut group.members {
                    member.release(id, GroupError::NotCoordinator, turn);
                }
            }
        });
        effects.replies
    }

    /// When [`Shard::tick`] has something to do: on [`Now::monotonic`]'s scale.
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
                let (TimerKey::Join(group) | TimerKey::Sync(group) | TimerKey::Session(group, _)) = &key;
                let Some(group) = groups.get_mut(group) else { continue };
                match &key {
                    TimerKey::Join(_) => group.join_expired(turn),
                    TimerKey::Sync(_) => group.sync_expired(turn),
                    TimerKey::Session(_, member) => group.session_expired(member, turn),
                }
            }
        })
    }

    /// The append is not durable in time: whoever waits for it hears so. It may become durable yet, so its fate is
    /// still to be reported.
    pub fn delayed(&mut self, id: AppendId, now: Now) -> Effects {
        let Some(write) = self.in_flight.get_mut(&id) else { return Effects::default() };
        let waiting = std::mem::take(&mut write.replies);
        let then = match write.then {
            Then::Assigned { .. } | Then::Replaced { .. } => std::mem::replace(&mut write.then, Then::Nothing),
            // Nobody was promised anything but the reply: what is written stands until it fails.
            Then::Nothing | Then::Created(_) | Then::Deleted(_) => Then::Nothing,
        };
        let late = Err(AppendError::NotCommitted.into());
        self.turn(now, |groups, turn| conclude(groups, then, &[], waiting, late, turn))
    }

    /// The fate of an append: durable (committed, not only written), or not there and never will be.
    pub fn appended(&mut self, id: AppendId, result: Result<(), AppendError>, now: Now) -> Effects {
        let Some(write) = self.in_flight.remove(&id) else { return Effects::default() };
        let Write { records, then, replies, parts_left, spoiled } = write;
        if result.is_ok() {
            self.apply_offsets(&records);
        }
        let result = spoiled.map_or(result, Err);
        if let Err(error) = result {
            for (_, part) in self.in_flight.range_mut(AppendId(id.0 + 1)..AppendId(id.0 + 1 + parts_left)) {
                part.spoiled = Some(error);
            }
        }
        let then = match then {
            Then::Created(group) if self.offsets.has(&group) || self.is_in_flight(&group) => Then::Nothing,
            then => then,
        };
        let result = result.map_err(GroupError::from);
        self.turn(now, |groups, turn| conclude(groups, then, &records, replies, result, turn))
    }

    pub(crate) fn is_in_flight(&self, group: &GroupId) -> bool {
        self.in_flight.values().flat_map(|write| &write.records).any(|record| record.group() == group)
    }

    fn apply_offsets(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::OffsetCommit { key, value } => self.offsets.apply(key.clone(), value.clone()),
                Record::GroupMetadata { .. } => {} // memory is ahead of it
            }
        }
    }

    /// One turn: what `act` decides becomes effects, and its writes are in flight.
    pub(crate) fn turn(
        &mut self,
        now: Now,
        act: impl FnOnce(&mut BTreeMap<GroupId, ClassicGroup>, &mut Turn<'_>),
    ) -> Effects {
        let mut turn = Turn::new(&self.config, &mut self.timers, now);
        act(&mut self.groups, &mut turn);
        let Turn { replies, writes, .. } = turn;
        let mut appends = Vec::new();
        for write in writes {
            let id = AppendId(self.next_append);
            self.next_append += 1;
            appends.push(Append { id, records: write.records.clone() });
            self.in_flight.insert(id, write);
        }
        Effects { replies, appends }
    }
}

/// What a write's outcome means to its group, and to those who wait for it.
fn conclude(
    groups: &mut BTreeMap<GroupId, ClassicGroup>,
    then: Then,
    records: &[Record],
    waiting: Vec<(Ticket, Reply)>,
    result: Result<(), GroupError>,
    turn: &mut Turn<'_>,
) {
    match (then, result) {
        (Then::Nothing, _) | (Then::Created(_) | Then::Deleted(_), Ok(())) => {}
        (Then::Created(group), Err(error)) => forget(groups, &group, error, turn),
        (Then::Deleted(deleted), Err(_)) => {
            for group in deleted {
                groups.entry(group.id.clone()).or_insert(group);
            }
        }
        (Then::Assigned { group, generation }, result) => {
            if let Some(group) = groups.get_mut(&group) {
                group.assigned(generation, records, result, turn);
            }
        }
        (Then::Replaced { group, replacement }, result) => {
            if let Some(group) = groups.get_mut(&group) {
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
fn forget(groups: &mut BTreeMap<GroupId, ClassicGroup>, id: &GroupId, error: GroupError, turn: &mut Turn<'_>) {
    if groups.get(id).is_none_or(|group| group.generation > 0) {
        return;
    }
    let Some(mut group) = groups.remove(id) else { return };
    turn.timers.cancel(&TimerKey::Join(id.clone()));
    for (member, mut waiting) in std::mem::take(&mut group.members) {
        turn.timers.cancel(&TimerKey::Session(id.clone(), member.clone()));
        waiting.release(&member, error, turn);
    }
    for pending in group.pending {
        turn.timers.cancel(&TimerKey::Session(id.clone(), pending));
    }
}
