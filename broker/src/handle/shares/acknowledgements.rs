//! What ShareFetch and ShareAcknowledge have in common: a session's member, and what it acknowledges.

use futures::future::{BoxFuture, join_all};
use ottla_group::share_state::SharePartition;
use ottla_share::{AcknowledgementBatch, GroupId, MemberId};
use ottla_wire::TopicIdPartition;
use ottla_wire::{Str, m78_share_fetch};

use super::denied_topics;
use crate::handle::context::Context;
use crate::replica::NotServed;
use crate::share::ShareError;

/// The longest id of a member, in UTF-16 units: as many as a UUID's text has (`KafkaApis.isMemberIdValid`).
const LONGEST_MEMBER_ID: usize = 36;

/// A member of a group.
#[derive(Clone)]
pub(super) struct Member {
    pub group: GroupId,
    pub id: MemberId,
    /// The group's id, as coordinators have it.
    pub group_text: Str,
}

impl Member {
    /// The member that a request names; `None` if it names none.
    pub(super) fn of(group: Option<Str>, member: Option<Str>) -> Option<Member> {
        let id = member.filter(|id| !id.is_empty() && id.encode_utf16().count() <= LONGEST_MEMBER_ID)?;
        let group_text = group?;
        Some(Member { group: (&*group_text).into(), id: (&*id).into(), group_text })
    }

    /// The group's share partition.
    pub(super) fn place(&self, TopicIdPartition { topic_id, partition }: TopicIdPartition) -> SharePartition {
        SharePartition { group: (&*self.group_text).into(), topic_id, partition }
    }
}

/// What became of the acknowledgements of a partition.
pub(super) type Acknowledged = (TopicIdPartition, Result<(), ShareError>);

/// Takes the acknowledgements of partitions, in order, before it returns; the future waits until they are safe.
pub(super) fn acknowledge(
    context: &Context,
    member: &Member,
    partitions: Vec<(TopicIdPartition, Vec<m78_share_fetch::AcknowledgementBatch>)>,
    may_renew: bool,
) -> BoxFuture<'static, Vec<Acknowledged>> {
    let handler = &context.handler;
    let denied = denied_topics(context, partitions.iter().map(|(partition, _)| partition.topic_id));
    let begun: Vec<_> = (partitions.into_iter())
        .map(|(partition, batches)| {
            let batches: Vec<AcknowledgementBatch> = batches.into_iter().map(batch).collect();
            let may = !denied.contains(&partition.topic_id);
            let answer =
                may.then(|| handler.shares.acknowledge(&member.place(partition), &member.id, &batches, may_renew));
            async move {
                match answer {
                    Some(answer) => (partition, answer.await),
                    None => (partition, Err(ShareError::NotServed(NotServed::Denied))),
                }
            }
        })
        .collect();
    Box::pin(join_all(begun))
}

fn batch(batch: m78_share_fetch::AcknowledgementBatch) -> AcknowledgementBatch {
    AcknowledgementBatch { first: batch.first_offset, last: batch.last_offset, types: batch.acknowledge_types }
}

/// Whether the answer should name the partition's leader (KIP-951).
pub(super) fn asks_for_leader(error: ShareError) -> bool {
    matches!(
        error,
        ShareError::NotServed(NotServed::NotLeader | NotServed::FencedLeaderEpoch)
            | ShareError::Persister(ottla_share::PersisterError::Fenced)
    )
}
