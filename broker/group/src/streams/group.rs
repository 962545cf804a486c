//! A streams group: what its records say, and what follows from that. Every change goes through
//! [`StreamsGroup::write`], so the group after a restart is the group before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::history::History;
use crate::ids::{GroupId, MemberId, TopicName};
use crate::overload::Overload;
use crate::record::{
    MemberState, Record, StreamsAssigned, StreamsCurrentValue, StreamsGroupValue, StreamsMemberValue, StreamsRecord,
    StreamsTasks, TargetValue, Topology,
};
use crate::state::GroupState;
use crate::streams::topology::Configured;

/// What a member sends to join.
pub(super) const JOINING: i32 = 0;
/// What a member sends to leave, and the epoch of one whose end is written down in part.
pub(super) const LEAVING: i32 = -1;
/// What a static member would send that will be back.
pub(super) const AWAY: i32 = -2;
/// The epoch of a group, and of its target assignment, before there is a record of it.
const FIRST_EPOCH: i32 = 1;
/// Instead of the epoch of a topology: none.
pub(super) const NO_TOPOLOGY: i32 = -1;

/// A member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    /// What it has said about itself.
    pub(crate) value: StreamsMemberValue,
    /// What it has.
    pub(crate) current: StreamsCurrentValue,
}

#[derive(Debug)]
pub(crate) struct StreamsGroup {
    pub(crate) id: GroupId,
    pub(crate) epoch: i32,
    pub(super) metadata_hash: i64,
    /// The epoch of the topology whose topics were all found as they must be.
    pub(super) validated_epoch: i32,
    /// The settings that the epoch was made for.
    pub(super) configs: BTreeMap<String, String>,
    /// What it works on; `None`: no member has given it a topology.
    pub(super) topology: Option<Topology>,
    pub(crate) members: BTreeMap<MemberId, Member>,
    pub(super) target_epoch: i32,
    /// Wall clock at which the target assignment was computed; `None`: not known, or there is none yet.
    pub(super) target_ms: Option<i64>,
    pub(super) target: BTreeMap<MemberId, StreamsTasks>,

    /// The topology beside the topics of the cluster; `None` until a member asks after a restart.
    pub(super) configured: Option<Arc<Configured>>,
    /// The version of the topics that `configured` was last compared with; `None`: not compared yet.
    pub(super) checked_topics: Option<u64>,
    /// The member that has asked all to shut down; `None`: none has.
    pub(super) shutdown_by: Option<MemberId>,
    /// Grows with every change of what members with endpoints have.
    pub(super) endpoint_epoch: i32,
    /// The target assignment that was computed last, if it is too large for the log.
    pub(super) overload: Overload,
    /// What it has changed, and what of it is in the log.
    pub(crate) history: History,
    /// Distinguishes the group from one of the same name before it, whose append may be under way.
    pub(crate) life: u64,
}

impl StreamsGroup {
    /// A group without members. `life` is of every group of the name another one.
    pub(crate) fn new(id: GroupId, life: u64) -> Self {
        StreamsGroup {
            id,
            epoch: FIRST_EPOCH,
            metadata_hash: 0,
            validated_epoch: NO_TOPOLOGY,
            configs: BTreeMap::new(),
            topology: None,
            members: BTreeMap::new(),
            target_epoch: FIRST_EPOCH,
            target_ms: None,
            target: BTreeMap::new(),
            configured: None,
            checked_topics: None,
            shutdown_by: None,
            endpoint_epoch: 0,
            overload: Overload::default(),
            history: History::default(),
            life,
        }
    }

    /// Changes the group, and remembers the change for the log.
    pub(super) fn write(&mut self, record: StreamsRecord) {
        self.apply(record.clone());
        self.history.push(self.record(record));
    }

    /// A part of the group as a record.
    pub(super) fn record(&self, record: StreamsRecord) -> Record {
        Record::Streams { group: self.id.clone(), record }
    }

    /// Takes a record in, from the log or on its way there.
    pub(crate) fn apply(&mut self, record: StreamsRecord) {
        match record {
            StreamsRecord::Group(value) => {
                let unwritten = || StreamsGroupValue {
                    epoch: FIRST_EPOCH,
                    metadata_hash: 0,
                    validated_epoch: NO_TOPOLOGY,
                    configs: BTreeMap::new(),
                };
                let StreamsGroupValue { epoch, metadata_hash, validated_epoch, configs } =
                    value.unwrap_or_else(unwritten);
                (self.epoch, self.metadata_hash) = (epoch, metadata_hash);
                (self.validated_epoch, self.configs) = (validated_epoch, configs);
            }
            StreamsRecord::Topology(value) => {
                self.topology = value.map(|topology| *topology);
                (self.configured, self.checked_topics) = (None, None);
            }
            StreamsRecord::Member(id, Some(value)) => {
                self.members.entry(id).or_insert_with(Member::new).value = *value;
            }
            StreamsRecord::Member(id, None) => {
                self.members.remove(&id);
                if self.members.is_empty() {
                    self.shutdown_by = None;
                }
            }
            StreamsRecord::Target(value) => {
                let value = value.unwrap_or(TargetValue { epoch: -1, computed_ms: None });
                (self.target_epoch, self.target_ms) = (value.epoch, value.computed_ms);
            }
            StreamsRecord::TargetMember(id, Some(tasks)) => _ = self.target.insert(id, tasks),
            StreamsRecord::TargetMember(id, None) => _ = self.target.remove(&id),
            StreamsRecord::Current(id, Some(value)) => {
                self.members.entry(id).or_insert_with(Member::new).current = value;
            }
            StreamsRecord::Current(id, None) => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.current = StreamsCurrentValue { epoch: LEAVING, previous_epoch: LEAVING, ..no_tasks() };
                }
            }
        }
    }

    /// It has no members, but that is not durable yet.
    pub(crate) fn is_changing(&self) -> bool {
        self.members.is_empty() && !self.history.is_settled()
    }

    /// What a group without members has in the log.
    pub(crate) fn write_again(&mut self) {
        if let Some(topology) = self.topology.clone() {
            self.write(StreamsRecord::Topology(Some(Box::new(topology))));
        }
        self.write(StreamsRecord::Group(Some(self.value())));
        let value = TargetValue { epoch: self.target_epoch, computed_ms: self.target_ms };
        self.write(StreamsRecord::Target(Some(value)));
    }

    pub(super) fn value(&self) -> StreamsGroupValue {
        StreamsGroupValue {
            epoch: self.epoch,
            metadata_hash: self.metadata_hash,
            validated_epoch: self.validated_epoch,
            configs: self.configs.clone(),
        }
    }

    /// What deletes the group from the log. The group itself comes last: a reader that stops before it knows that the
    /// rest is no other group's.
    pub(crate) fn tombstones(&self) -> Vec<Record> {
        let ids: BTreeSet<&MemberId> = self.members.keys().chain(self.target.keys()).collect();
        let of_members = ids.into_iter().flat_map(|id| {
            [
                StreamsRecord::Current(id.clone(), None),
                StreamsRecord::TargetMember(id.clone(), None),
                StreamsRecord::Member(id.clone(), None),
            ]
        });
        let last = [StreamsRecord::Target(None), StreamsRecord::Topology(None), StreamsRecord::Group(None)];
        of_members.chain(last).map(|record| self.record(record)).collect()
    }

    pub(crate) fn state(&self) -> GroupState {
        let topology_epoch = self.topology.as_ref().map(|topology| topology.epoch);
        if self.members.is_empty() {
            GroupState::Empty
        } else if topology_epoch != Some(self.validated_epoch) {
            GroupState::NotReady
        } else if self.epoch > self.target_epoch {
            GroupState::Assigning
        } else if self.members.values().all(|member| member.is_reconciled(self.target_epoch)) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// Whether offsets of the topic must be kept.
    pub(crate) fn is_subscribed_to(&self, topic: &TopicName) -> bool {
        let mut parts = self.topology.iter().flat_map(|topology| &topology.subtopologies);
        !self.members.is_empty() && parts.any(|part| part.reads().any(|name| name == topic))
    }
}

impl Member {
    pub(super) fn new() -> Self {
        let value = StreamsMemberValue {
            instance: None,
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout_ms: -1,
            topology_epoch: NO_TOPOLOGY,
            process: String::new(),
            endpoint: None,
            client_tags: BTreeMap::new(),
        };
        Member { value, current: no_tasks() }
    }

    pub(super) fn is_reconciled(&self, target_epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.epoch == target_epoch
    }
}

fn no_tasks() -> StreamsCurrentValue {
    StreamsCurrentValue {
        epoch: JOINING,
        previous_epoch: JOINING,
        state: MemberState::Stable,
        assigned: StreamsAssigned::default(),
        revoking: StreamsAssigned::default(),
    }
}
