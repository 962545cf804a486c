//! One turn of a shard: what a request may use while it is handled, and what it has decided so far.

use std::sync::Arc;
use std::time::Duration;

use crate::classic::group::Member;
use crate::config::Config;
use crate::effects::{Lookup, StateCall};
use crate::error::{GroupAppendError, GroupError};
use crate::group::Group;
use crate::ids::{GroupId, MemberId, Now, Producer, Ticket};
use crate::record::{Record, TooLong};
use crate::request::{GroupReply, JoinRefused};
use crate::timers::{TimerKey, Timers};
use crate::topics::Topics;

pub(crate) struct Turn<'a> {
    pub(crate) config: &'a Config,
    pub(crate) topics: &'a Arc<Topics>,
    pub(crate) timers: &'a mut Timers,
    pub(crate) now: Now,
    pub(crate) replies: Vec<(Ticket, GroupReply)>,
    pub(crate) writes: Vec<GroupWrite>,
    pub(crate) lookups: Vec<Lookup>,
    pub(crate) state_calls: Vec<StateCall>,
    /// The states of a group are deleted, or could not be, for the DeleteGroups of this ticket.
    pub(crate) states_deleted: Vec<(Ticket, GroupId, Result<(), GroupError>)>,
}

/// Records to append together, and what waits for their fate.
#[derive(Debug)]
pub(crate) struct GroupWrite {
    /// The producer in whose transaction they are, if in one.
    pub(crate) producer: Option<Producer>,
    pub(crate) records: Vec<Record>,
    pub(crate) then: Then,
    /// Delivered on success; on failure, the same kinds of reply with the error.
    pub(crate) replies: Vec<(Ticket, GroupReply)>,
    /// How many of the writes that come next are parts of the same change: what fails here fails there.
    pub(crate) parts_left: u64,
    /// Why a part before it has failed; `None`: none has.
    pub(crate) spoiled: Option<GroupAppendError>,
}

impl GroupWrite {
    fn new(records: Vec<Record>, then: Then) -> GroupWrite {
        GroupWrite { producer: None, records, then, replies: Vec::new(), parts_left: 0, spoiled: None }
    }
}

/// Records of one batch, in bytes, at most, where they need not be together: Kafka's default of `max.message.bytes` is
/// 1 MiB.
const PART_BYTES: usize = 500_000;
/// The header of a batch.
const BATCH_BYTES: usize = 61;
/// What a tombstone takes besides its group's and topic's names, at most.
const TOMBSTONE_BYTES: usize = 40;
/// What a record takes besides its key and value, at most.
const RECORD_BYTES: usize = 30;

/// What becomes of the group when its records are durable, or when they failed.
#[derive(Debug)]
pub(crate) enum Then {
    /// Memory is right either way.
    Nothing,
    /// A new group was written down; if that failed and nobody came meanwhile, it was never there.
    Created(GroupId),
    /// The leader's assignments were written down: the group is Stable, or begins again.
    Assigned { group: GroupId, generation: i32 },
    /// A static member came back under a new id without a rebalance.
    Replaced { group: GroupId, replacement: Box<Replacement> },
    /// Groups were deleted, and come back if that failed.
    Deleted(Vec<Group>),
    /// Some of what a consumer group has changed was written down. If that failed, it is written again.
    Consumer { group: GroupId, life: u64 },
    /// The same of a streams group.
    Streams { group: GroupId, life: u64 },
    /// The same of a share group.
    Share { group: GroupId, life: u64 },
}

/// What it takes to answer a static member that came back, or to undo its coming.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(crate) ticket: Ticket,
    pub(crate) old: MemberId,
    pub(crate) before: Member,
    /// The leader before the member came back; `None`: the group had none.
    pub(crate) leader_before: Option<MemberId>,
    pub(crate) id: MemberId,
    pub(crate) can_skip_assignment: bool,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(config: &'a Config, topics: &'a Arc<Topics>, timers: &'a mut Timers, now: Now) -> Self {
        Turn {
            config,
            topics,
            timers,
            now,
            replies: Vec::new(),
            writes: Vec::new(),
            lookups: Vec::new(),
            state_calls: Vec::new(),
            states_deleted: Vec::new(),
        }
    }

    pub(crate) fn reply(&mut self, ticket: Ticket, reply: GroupReply) {
        self.replies.push((ticket, reply));
    }

    pub(crate) fn refuse_join(&mut self, ticket: Ticket, error: GroupError, member: &MemberId) {
        self.reply(ticket, GroupReply::Join(Err(JoinRefused { error, member: member.clone() })));
    }

    /// Writes the records together, if there are any.
    pub(crate) fn write(&mut self, records: Vec<Record>, then: Then) {
        if !records.is_empty() {
            self.writes.push(GroupWrite::new(records, then));
        }
    }

    /// The same in a producer's transaction.
    pub(crate) fn write_in_transaction(&mut self, producer: Producer, records: Vec<Record>, then: Then) {
        if !records.is_empty() {
            self.writes.push(GroupWrite { producer: Some(producer), ..GroupWrite::new(records, then) });
        }
    }

    /// Writes tombstones, in as many batches as they need: a group may have more offsets than fit in one. They are one
    /// change all the same: `then` and clients that wait hear of the first failure.
    pub(crate) fn write_tombstones(&mut self, tombstones: Vec<Record>, then: Then) {
        let mut parts: Vec<Vec<Record>> = Vec::new();
        let most = self.batch_bytes();
        let mut room = 0;
        for tombstone in tombstones {
            let bytes = TOMBSTONE_BYTES + tombstone.names_len();
            match parts.last_mut().filter(|_| bytes <= room) {
                Some(part) => part.push(tombstone),
                None => {
                    parts.push(vec![tombstone]);
                    room = most;
                }
            }
            room = room.saturating_sub(bytes);
        }
        let Some(last) = parts.pop() else { return };
        let mut parts_left = parts.len() as u64;
        for part in parts {
            self.writes.push(GroupWrite { parts_left, ..GroupWrite::new(part, Then::Nothing) });
            parts_left -= 1;
        }
        self.writes.push(GroupWrite::new(last, then));
    }

    /// How many bytes of records are written together, if they need not be.
    pub(crate) fn batch_bytes(&self) -> usize {
        PART_BYTES.min(self.most_bytes())
    }

    /// How many bytes of records the log accepts in one batch.
    fn most_bytes(&self) -> usize {
        self.config.max_batch.saturating_sub(BATCH_BYTES)
    }

    /// Refuses a record that is too large for the log. To be asked before the group changes: what a group has changed
    /// must be written down.
    pub(crate) fn check_size(&self, record: &Record) -> Result<(), GroupError> {
        let encoded = record.encode().map_err(|TooLong| GroupAppendError::TooLarge)?;
        let bytes = RECORD_BYTES + encoded.key.len() + encoded.value.map_or(0, |value| value.len());
        if self.accepts(bytes) { Ok(()) } else { Err(GroupAppendError::TooLarge.into()) }
    }

    /// Whether the log accepts a record of so many bytes.
    pub(crate) fn accepts(&self, bytes: usize) -> bool {
        bytes <= self.most_bytes()
    }

    /// Whether the interval between two target assignments has passed (KIP-1263) since the last one, if there was one.
    pub(crate) fn may_assign(&self, computed_ms: Option<i64>, interval: Duration) -> bool {
        let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        computed_ms.is_none_or(|computed_ms| self.now.age_ms(computed_ms) >= interval_ms)
    }

    /// Replies when what this turn writes is durable; at once if it writes nothing.
    pub(crate) fn reply_when_durable(&mut self, ticket: Ticket, reply: GroupReply) {
        match self.writes.last_mut() {
            Some(write) => write.replies.push((ticket, reply)),
            None => self.reply(ticket, reply),
        }
    }

    pub(crate) fn schedule(&mut self, key: TimerKey, delay: Duration) {
        self.timers.schedule(key, self.now.monotonic.saturating_add(delay));
    }
}
