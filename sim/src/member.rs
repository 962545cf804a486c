//! A member of a group, of the classic protocol or of KIP-848's, as a client library acts: one request after the other.
//! It commits offsets of the partitions that it was assigned.
//!
//! It knows no connection. [`Member::ask`] says what to send to the group's coordinator, [`Member::answered`] what an
//! answer means. A member that is not in the group any more ends, and so does one that does not know what became of a
//! commit: else that commit might follow a later one. Another member then takes its place.

use anyhow::{Result, bail};
use ottla_wire::m08_offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::m11_join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_wire::m12_heartbeat::HeartbeatRequest;
use ottla_wire::m14_sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_wire::m68_consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatTopicPartitions};
use ottla_wire::{Bytes, ErrorCode, Str, decode_response};

use crate::client::bytes;
use crate::random::Random;
use crate::topics::{self, PARTITIONS};

/// How long a member of the classic group may be silent, and how long a rebalance waits for it.
pub(crate) const SESSION_MS: i32 = 6_000;
const OFFSET_COMMIT: i16 = 9;
const JOIN_GROUP: i16 = 9;
const HEARTBEAT: i16 = 4;
const SYNC_GROUP: i16 = 4;
const CONSUMER_GROUP_HEARTBEAT: i16 = 1;

/// By which protocol a group is coordinated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Members join and are assigned partitions by one of them.
    Classic,
    /// KIP-848: the coordinator assigns partitions.
    Consumer,
}

/// A member.
pub(crate) struct Member {
    group: &'static str,
    protocol: Protocol,
    /// Empty until the coordinator of a classic group has given one.
    id: Str,
    state: State,
    /// The partitions that it was assigned.
    partitions: Vec<usize>,
}

enum State {
    Joining,
    /// Of a classic group, with all members if it is to assign partitions to them.
    Syncing {
        generation: i32,
        others: Vec<Str>,
    },
    /// In this generation, or member epoch.
    Stable(i32),
    Over,
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    Join,
    Sync,
    Beat,
    Commit { partition: usize, offset: i64 },
}

/// What an answer means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Heard {
    /// It is done.
    Done,
    /// The offset is committed.
    Committed { partition: usize, offset: i64 },
    /// It is refused.
    Refused(ErrorCode),
}

impl Member {
    /// A member that never was in the group; `number` is its own.
    pub(crate) fn new(group: &'static str, protocol: Protocol, number: u32) -> Member {
        let id = match protocol {
            Protocol::Classic => Str::default(),
            Protocol::Consumer => format!("member {number}").into(),
        };
        Member { group, protocol, id, state: State::Joining, partitions: Vec::new() }
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// It ends, without a word.
    pub(crate) fn end(&mut self) {
        self.state = State::Over;
    }

    /// Its id, and its generation or member epoch, while it is a member.
    pub(crate) fn standing(&self) -> Option<(Str, i32)> {
        if let State::Stable(epoch) = self.state { Some((self.id.clone(), epoch)) } else { None }
    }

    /// The partitions that it was assigned.
    pub(crate) fn partitions(&self) -> &[usize] {
        &self.partitions
    }

    /// What to ask next. `next` gives the offset to commit of a partition, higher than all before.
    pub(crate) fn ask(&mut self, random: &mut Random, next: impl FnOnce(usize) -> i64) -> Option<(Turn, Vec<u8>)> {
        if let State::Stable(epoch) = self.state
            && random.happens(500)
            && let Some(partition) = random.pick(&self.partitions).copied()
        {
            let offset = next(partition);
            return Some((Turn::Commit { partition, offset }, self.commit(epoch, partition, offset)));
        }
        self.stay()
    }

    /// What brings it into the group, or keeps it there.
    pub(crate) fn stay(&self) -> Option<(Turn, Vec<u8>)> {
        match (&self.state, self.protocol) {
            (State::Over, _) => None,
            (State::Joining, Protocol::Classic) => Some((Turn::Join, self.join())),
            (State::Joining, Protocol::Consumer) => Some((Turn::Beat, self.beat_of_consumer(0))),
            (State::Syncing { generation, others }, _) => Some((Turn::Sync, self.sync(*generation, others))),
            (State::Stable(epoch), Protocol::Classic) => Some((Turn::Beat, self.beat(*epoch))),
            (State::Stable(epoch), Protocol::Consumer) => Some((Turn::Beat, self.beat_of_consumer(*epoch))),
        }
    }

    fn join(&self) -> Vec<u8> {
        let protocol = JoinGroupRequestProtocol { name: "simulated".into(), metadata: Bytes::new() };
        let request = JoinGroupRequest {
            group_id: self.group.into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: SESSION_MS,
            member_id: self.id.clone(),
            group_instance_id: None,
            protocol_type: "simulated".into(),
            protocols: vec![protocol],
            reason: None,
        };
        bytes(0, JOIN_GROUP, &request)
    }

    /// The one that assigns gives each partition to one of them.
    fn sync(&self, generation: i32, others: &[Str]) -> Vec<u8> {
        let assigned = |number: usize| (0..PARTITIONS).filter(move |partition| partition % others.len() == number);
        let assignments = others.iter().enumerate().map(|(number, member)| SyncGroupRequestAssignment {
            member_id: member.clone(),
            assignment: assigned(number).map(|partition| partition as u8).collect::<Vec<u8>>().into(),
        });
        let request = SyncGroupRequest {
            group_id: self.group.into(),
            generation_id: generation,
            member_id: self.id.clone(),
            assignments: assignments.collect(),
            ..SyncGroupRequest::default()
        };
        bytes(0, SYNC_GROUP, &request)
    }

    fn beat(&self, generation_id: i32) -> Vec<u8> {
        let (group_id, member_id) = (self.group.into(), self.id.clone());
        let request = HeartbeatRequest { group_id, generation_id, member_id, group_instance_id: None };
        bytes(0, HEARTBEAT, &request)
    }

    fn beat_of_consumer(&self, member_epoch: i32) -> Vec<u8> {
        let joins = member_epoch == 0;
        let partitions = self.partitions.iter().map(|partition| *partition as i32).collect::<Vec<_>>();
        let owned = ConsumerGroupHeartbeatTopicPartitions { topic_id: topics::ID, partitions };
        let request = ConsumerGroupHeartbeatRequest {
            group_id: self.group.into(),
            member_id: self.id.clone(),
            member_epoch,
            rebalance_timeout_ms: if joins { SESSION_MS } else { -1 },
            subscribed_topic_names: joins.then(|| vec![topics::NAME.into()]),
            topic_partitions: Some(if self.partitions.is_empty() { Vec::new() } else { vec![owned] }),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        bytes(0, CONSUMER_GROUP_HEARTBEAT, &request)
    }

    fn commit(&self, epoch: i32, partition: usize, offset: i64) -> Vec<u8> {
        let partitions = vec![OffsetCommitRequestPartition {
            partition_index: partition as i32,
            committed_offset: offset,
            ..OffsetCommitRequestPartition::default()
        }];
        let topics = vec![OffsetCommitRequestTopic { name: topics::NAME.into(), partitions, ..Default::default() }];
        let request = OffsetCommitRequest {
            group_id: self.group.into(),
            generation_id_or_member_epoch: epoch,
            member_id: self.id.clone(),
            topics,
            ..OffsetCommitRequest::default()
        };
        bytes(0, OFFSET_COMMIT, &request)
    }

    /// What the answer to `turn` means.
    pub(crate) fn answered(&mut self, turn: Turn, frame: Bytes) -> Result<Heard> {
        let code = match (turn, self.protocol) {
            (Turn::Join, _) => {
                let (_, answer) = decode_response::<JoinGroupRequest>(JOIN_GROUP, frame)?;
                match answer.error_code {
                    ErrorCode::NONE => {
                        let leads = answer.leader == answer.member_id;
                        let others = answer.members.into_iter().map(|member| member.member_id).collect();
                        let others = if leads { others } else { Vec::new() };
                        self.id = answer.member_id;
                        self.state = State::Syncing { generation: answer.generation_id, others };
                    }
                    ErrorCode::MEMBER_ID_REQUIRED => {
                        self.id = answer.member_id;
                        return Ok(Heard::Done);
                    }
                    _ => {}
                }
                answer.error_code
            }
            (Turn::Sync, _) => {
                let (_, answer) = decode_response::<SyncGroupRequest>(SYNC_GROUP, frame)?;
                if let (ErrorCode::NONE, State::Syncing { generation, .. }) = (answer.error_code, &self.state) {
                    self.partitions = answer.assignment.iter().map(|partition| usize::from(*partition)).collect();
                    self.state = State::Stable(*generation);
                }
                answer.error_code
            }
            (Turn::Beat, Protocol::Classic) => decode_response::<HeartbeatRequest>(HEARTBEAT, frame)?.1.error_code,
            (Turn::Beat, Protocol::Consumer) => {
                let (_, answer) = decode_response::<ConsumerGroupHeartbeatRequest>(CONSUMER_GROUP_HEARTBEAT, frame)?;
                if answer.error_code == ErrorCode::NONE {
                    self.state = State::Stable(answer.member_epoch);
                    if let Some(assignment) = answer.assignment {
                        let partitions = assignment.topic_partitions.into_iter().flat_map(|topic| topic.partitions);
                        self.partitions = partitions.map(|partition| partition as usize).collect();
                    }
                }
                answer.error_code
            }
            (Turn::Commit { partition, offset }, _) => {
                let (_, answer) = decode_response::<OffsetCommitRequest>(OFFSET_COMMIT, frame)?;
                let answer = answer.topics.into_iter().flat_map(|topic| topic.partitions).next();
                let Some(answer) = answer else { bail!("an answer to OffsetCommit without a partition") };
                if answer.error_code == ErrorCode::NONE {
                    return Ok(Heard::Committed { partition, offset });
                }
                answer.error_code
            }
        };
        match code {
            ErrorCode::NONE => return Ok(Heard::Done),
            // The group has another generation, and still knows the member.
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION => {
                self.partitions.clear();
                self.state = State::Joining;
            }
            // Its next heartbeat brings its epoch.
            ErrorCode::STALE_MEMBER_EPOCH => {}
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_MEMBER_EPOCH => self.end(),
            // Nobody knows what became of it.
            _ if matches!(turn, Turn::Commit { .. }) => self.end(),
            _ => {}
        }
        Ok(Heard::Refused(code))
    }
}
