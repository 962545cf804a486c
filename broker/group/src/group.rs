//! A group of any kind, as far as requests for any group see it.

use crate::classic::group::{ClassicGroup, Phase};
use crate::consumer::group::ConsumerGroup;
use crate::error::GroupError;
use crate::ids::{GroupId, TopicName};
use crate::record::{OffsetValue, Record};
use crate::request::ListedGroup;
use crate::share::group::ShareGroup;
use crate::state::GroupKind;
use crate::streams::group::StreamsGroup;

/// A group.
#[derive(Debug)]
pub(crate) enum Group {
    Classic(ClassicGroup),
    Consumer(Box<ConsumerGroup>),
    Streams(Box<StreamsGroup>),
    Share(Box<ShareGroup>),
}

impl Group {
    pub(crate) fn id(&self) -> &GroupId {
        match self {
            Group::Classic(group) => &group.id,
            Group::Consumer(group) => &group.id,
            Group::Streams(group) => &group.id,
            Group::Share(group) => &group.id,
        }
    }

    pub(crate) fn classic(&self) -> Option<&ClassicGroup> {
        match self {
            Group::Classic(group) => Some(group),
            Group::Consumer(_) | Group::Streams(_) | Group::Share(_) => None,
        }
    }

    pub(crate) fn classic_mut(&mut self) -> Option<&mut ClassicGroup> {
        match self {
            Group::Classic(group) => Some(group),
            Group::Consumer(_) | Group::Streams(_) | Group::Share(_) => None,
        }
    }

    pub(crate) fn consumer(&self) -> Option<&ConsumerGroup> {
        match self {
            Group::Classic(_) | Group::Streams(_) | Group::Share(_) => None,
            Group::Consumer(group) => Some(group),
        }
    }

    pub(crate) fn consumer_mut(&mut self) -> Option<&mut ConsumerGroup> {
        match self {
            Group::Classic(_) | Group::Streams(_) | Group::Share(_) => None,
            Group::Consumer(group) => Some(group),
        }
    }

    pub(crate) fn streams(&self) -> Option<&StreamsGroup> {
        match self {
            Group::Classic(_) | Group::Consumer(_) | Group::Share(_) => None,
            Group::Streams(group) => Some(group),
        }
    }

    pub(crate) fn streams_mut(&mut self) -> Option<&mut StreamsGroup> {
        match self {
            Group::Classic(_) | Group::Consumer(_) | Group::Share(_) => None,
            Group::Streams(group) => Some(group),
        }
    }

    pub(crate) fn share(&self) -> Option<&ShareGroup> {
        match self {
            Group::Classic(_) | Group::Consumer(_) | Group::Streams(_) => None,
            Group::Share(group) => Some(group),
        }
    }

    pub(crate) fn share_mut(&mut self) -> Option<&mut ShareGroup> {
        match self {
            Group::Classic(_) | Group::Consumer(_) | Group::Streams(_) => None,
            Group::Share(group) => Some(group),
        }
    }

    /// It has no members.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Group::Classic(group) => group.is_empty(),
            Group::Consumer(group) => group.members.is_empty(),
            Group::Streams(group) => group.members.is_empty(),
            Group::Share(group) => group.members.is_empty(),
        }
    }

    /// Somebody was sent an id and is about to join; or something is on its way to the log.
    pub(crate) fn is_busy(&self) -> bool {
        match self {
            Group::Classic(group) => !group.pending.is_empty(),
            Group::Consumer(group) => !group.history.is_settled(),
            Group::Streams(group) => !group.history.is_settled(),
            Group::Share(group) => !group.history.is_settled(),
        }
    }

    /// Whether it goes when it has neither members nor offsets. Of share groups others have the offsets.
    pub(crate) fn expires(&self) -> bool {
        !matches!(self, Group::Share(_))
    }

    /// What ListGroups shows.
    pub(crate) fn listed(&self) -> ListedGroup {
        match self {
            Group::Classic(group) => ListedGroup {
                group: group.id.clone(),
                kind: GroupKind::Classic,
                protocol_type: group.protocol_type.clone().unwrap_or_default(),
                state: group.state(),
            },
            Group::Consumer(group) => ListedGroup {
                group: group.id.clone(),
                kind: GroupKind::Consumer,
                protocol_type: "consumer".to_owned(),
                state: group.state(),
            },
            Group::Streams(group) => ListedGroup {
                group: group.id.clone(),
                kind: GroupKind::Streams,
                protocol_type: "streams".to_owned(),
                state: group.state(),
            },
            Group::Share(group) => ListedGroup {
                group: group.id.clone(),
                kind: GroupKind::Share,
                protocol_type: "share".to_owned(),
                state: group.state(),
            },
        }
    }

    /// Whether offsets of the topic must be kept.
    pub(crate) fn is_subscribed_to(&self, topic: &TopicName) -> bool {
        match self {
            Group::Classic(group) => group.is_subscribed_to(topic),
            Group::Consumer(group) => group.is_subscribed_to(topic),
            Group::Streams(group) => group.is_subscribed_to(topic),
            Group::Share(_) => false,
        }
    }

    /// Of a group with members, only a consumer or streams group shows which topics its members do not use.
    pub(crate) fn may_delete_offsets(&self) -> Result<(), GroupError> {
        match self {
            Group::Classic(group) if !group.is_empty() && !group.uses_consumer_protocol() => {
                Err(GroupError::NonEmptyGroup)
            }
            Group::Classic(_) | Group::Consumer(_) | Group::Streams(_) => Ok(()),
            Group::Share(_) => Err(GroupError::GroupIdNotFound),
        }
    }

    /// When the retention of an offset began: when the group became empty, not with the commit, so that a slow consumer
    /// keeps its place (KIP-211). `None`: it does not expire.
    pub(crate) fn retention_starts(&self, offset: &OffsetValue) -> Option<i64> {
        let group = match self {
            Group::Consumer(_) | Group::Streams(_) | Group::Share(_) => return Some(offset.commit_timestamp_ms),
            Group::Classic(group) => group,
        };
        match group.phase {
            _ if group.protocol_type.is_none() => Some(offset.commit_timestamp_ms),
            Phase::Empty => Some(group.since_ms.unwrap_or(offset.commit_timestamp_ms)),
            Phase::Stable if group.subscribed_topics().is_some() => Some(offset.commit_timestamp_ms),
            Phase::Stable | Phase::PreparingRebalance(_) | Phase::CompletingRebalance => None,
        }
    }

    /// What deletes it from the log.
    pub(crate) fn tombstones(&self) -> Vec<Record> {
        match self {
            Group::Classic(group) => vec![Record::GroupMetadata { group: group.id.clone(), value: None }],
            Group::Consumer(group) => group.tombstones(),
            Group::Streams(group) => group.tombstones(),
            Group::Share(group) => group.tombstones(),
        }
    }
}
