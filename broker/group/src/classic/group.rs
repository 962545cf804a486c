//! One classic group: its members, its generation, and what it can answer about itself.
//!
//! Always: a member with an instance id is the only one with it; the leader is a member; there is a leader unless the
//! group has no members; an id is either pending or a member's, never both.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use crate::classic::subscription::{self, CONSUMER_PROTOCOL};
use crate::error::GroupError;
use crate::ids::{GroupId, InstanceId, MemberId, Ticket, TopicName};
use crate::record::{GroupValue, MemberValue, Record};
use crate::request::{DescribedGroup, DescribedMember, JoinedMember, Protocol};
use crate::state::GroupState;
use crate::timers::millis;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Empty,
    PreparingRebalance(JoinPhase),
    CompletingRebalance,
    Stable,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum JoinPhase {
    /// The group was empty. It waits for more members while they keep coming, rather than rebalance for each (KIP-134).
    Initial { newcomers: bool, delay: Duration, remaining: Duration },
    /// Every member is to join again.
    Rejoin,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// The instance id of a static member; `None`: a dynamic one.
    pub(crate) instance: Option<InstanceId>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    /// Its JoinGroup, which waits for the rebalance; `None`: none waits.
    pub(crate) awaiting_join: Option<Ticket>,
    /// Its SyncGroup, which waits for the leader's; `None`: none waits.
    pub(crate) awaiting_sync: Option<Ticket>,
    /// It has joined for the first time and has no answer yet, so it cannot send heartbeats.
    pub(crate) is_new: bool,
    /// It is in the generation and has not sent SyncGroup.
    pub(crate) owes_sync: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) id: GroupId,
    pub(crate) phase: Phase,
    /// Wall clock of the last change of phase; unknown for groups from very old records.
    pub(crate) since_ms: Option<i64>,
    pub(crate) generation: i32,
    /// None for a group that only stores offsets.
    pub(crate) protocol_type: Option<String>,
    /// The strategy of the present generation; `None` before the first one, and without members.
    pub(crate) protocol_name: Option<String>,
    /// Who assigns; `None`: the group has no members.
    pub(crate) leader: Option<MemberId>,
    pub(crate) members: BTreeMap<MemberId, Member>,
    /// Ids that were handed out with MEMBER_ID_REQUIRED and have not come back.
    pub(crate) pending: BTreeSet<MemberId>,
}

impl ClassicGroup {
    pub(crate) fn new(id: GroupId, now_ms: i64) -> Self {
        ClassicGroup {
            id,
            phase: Phase::Empty,
            since_ms: Some(now_ms),
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            pending: BTreeSet::new(),
        }
    }

    /// A group as it was written down: Stable if it has members.
    pub(crate) fn from_record(id: GroupId, value: GroupValue) -> Self {
        let protocol = value.protocol.clone().unwrap_or_default();
        let members: BTreeMap<_, _> = value
            .members
            .into_iter()
            .map(|member| (member.member.clone(), Member::from_record(member, &protocol)))
            .collect();
        ClassicGroup {
            id,
            phase: if members.is_empty() { Phase::Empty } else { Phase::Stable },
            since_ms: value.since_ms,
            generation: value.generation,
            protocol_type: Some(value.protocol_type).filter(|name| !name.is_empty()),
            protocol_name: value.protocol,
            leader: value.leader.filter(|leader| members.contains_key(leader)).or(members.keys().next().cloned()),
            members,
            pending: BTreeSet::new(),
        }
    }

    /// The group as it is to be written down, with these assignments.
    pub(crate) fn to_record(&self, assignment_of: impl Fn(&MemberId, &Member) -> Bytes) -> Record {
        let members = self
            .members
            .iter()
            .map(|(id, member)| MemberValue {
                member: id.clone(),
                instance: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                subscription: self.metadata_of(member),
                assignment: assignment_of(id, member),
            })
            .collect();
        let value = GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol_name.clone(),
            leader: self.leader.clone(),
            since_ms: self.since_ms,
            members,
        };
        Record::GroupMetadata { group: self.id.clone(), value: Some(value) }
    }

    pub(crate) fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty => GroupState::Empty,
            Phase::PreparingRebalance(_) => GroupState::PreparingRebalance,
            Phase::CompletingRebalance => GroupState::CompletingRebalance,
            Phase::Stable => GroupState::Stable,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.phase == Phase::Empty
    }

    pub(crate) fn is_leader(&self, member: &MemberId) -> bool {
        self.leader.as_ref() == Some(member)
    }

    pub(crate) fn static_member(&self, instance: &InstanceId) -> Option<&MemberId> {
        self.members.iter().find(|(_, member)| member.instance.as_ref() == Some(instance)).map(|(id, _)| id)
    }

    /// Is this a member, and the one its instance id belongs to?
    pub(crate) fn validate(&self, member: &MemberId, instance: Option<&InstanceId>) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            match self.static_member(instance) {
                None => return Err(GroupError::UnknownMemberId),
                Some(holder) if holder != member => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    pub(crate) fn awaiting_join(&self) -> usize {
        self.members.values().filter(|member| member.awaiting_join.is_some()).count()
    }

    /// Everybody who is expected has joined.
    pub(crate) fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|member| member.awaiting_join.is_some())
    }

    /// How long to wait for members: as long as the most patient of them asks.
    pub(crate) fn rebalance_timeout(&self) -> Duration {
        millis(self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0))
    }

    /// Could a member with these protocols be in the group?
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| self.members.values().all(|member| member.supports(&protocol.name)))
    }

    /// The protocol most members prefer among those that all support; of several, the one the leader likes best.
    /// `None`: the group has no members, or they support no common protocol.
    pub(crate) fn select_protocol(&self) -> Option<String> {
        let common = |name: &str| self.members.values().all(|member| member.supports(name));
        let vote_of = |member: &Member| member.protocols.iter().map(|p| p.name.clone()).find(|name| common(name));
        let mut votes: BTreeMap<String, usize> = BTreeMap::new();
        for vote in self.members.values().filter_map(vote_of) {
            *votes.entry(vote).or_default() += 1;
        }
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader))?;
        let liked_less = |name: &String| leader.protocols.iter().position(|protocol| &protocol.name == name);
        votes.into_iter().min_by_key(|(name, votes)| (usize::MAX - votes, liked_less(name))).map(|(name, _)| name)
    }

    /// The member's metadata under the chosen protocol.
    pub(crate) fn metadata_of(&self, member: &Member) -> Bytes {
        let chosen = self.protocol_name.as_deref().and_then(|name| member.metadata(name));
        chosen.cloned().unwrap_or_default()
    }

    pub(crate) fn joined_members(&self) -> Vec<JoinedMember> {
        let joined = |(id, member): (&MemberId, &Member)| JoinedMember {
            member: id.clone(),
            instance: member.instance.clone(),
            metadata: self.metadata_of(member),
        };
        self.members.iter().map(joined).collect()
    }

    pub(crate) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL)
    }

    /// What DescribeGroups shows.
    pub(crate) fn describe(&self) -> DescribedGroup {
        let stable = self.state() == GroupState::Stable;
        let members = self
            .members
            .iter()
            .map(|(id, member)| DescribedMember {
                member: id.clone(),
                instance: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                metadata: if stable { self.metadata_of(member) } else { Bytes::new() },
                assignment: member.assignment.clone(),
            })
            .collect();
        DescribedGroup {
            state: self.state(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_name: self.protocol_name.clone().filter(|_| stable).unwrap_or_default(),
            members,
        }
    }

    /// The topics its members subscribe to; `None` where that cannot be known.
    pub(crate) fn subscribed_topics(&self) -> Option<BTreeSet<TopicName>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(self.protocol_name.as_deref()?)?;
            all.extend(subscription::topics(metadata)?);
        }
        Some(all)
    }

    /// Whether offsets of the topic must be kept. A consumer group we cannot read counts as subscribed to everything.
    pub(crate) fn is_subscribed_to(&self, topic: &TopicName) -> bool {
        match self.subscribed_topics() {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }
}

impl Member {
    fn from_record(value: MemberValue, protocol: &str) -> Self {
        Member {
            instance: value.instance,
            client_id: value.client_id,
            client_host: value.client_host,
            session_timeout_ms: value.session_timeout_ms,
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            protocols: vec![Protocol { name: protocol.to_owned(), metadata: value.subscription }],
            assignment: value.assignment,
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
            owes_sync: false,
        }
    }

    pub(crate) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|supported| supported.name == protocol)
    }

    pub(crate) fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|supported| supported.name == protocol).map(|supported| &supported.metadata)
    }

    /// A member that waits for us is alive without heartbeats, unless it is new: its client may have gone, and
    /// would leave a dead member behind with every retry.
    pub(crate) fn may_be_silent(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}
