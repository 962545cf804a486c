//! OffsetForLeaderEpoch (KIP-101, KIP-320): where a leader epoch ended, for readers that check whether their log is
//! still equal to the leader's.

use ottla_access::Operation;
use ottla_wire::ErrorCode;
use ottla_wire::m23_offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use uuid::Uuid;

use crate::handle::context::Context;
use crate::image::{BrokerId, LeaderEpoch};
use crate::replica::NotServed;
use crate::reply::Reply;

/// The largest epoch not above the one asked for, and its end; −1 and −1 when there is none.
pub(crate) fn handle(context: &Context, request: OffsetForLeaderEpochRequest) -> Reply {
    let may_all = context.sees_cluster(Operation::ClusterAction);
    let replica = BrokerId(request.replica_id);
    let is_another = replica.0 >= 0 && !context.may_be_replica(replica);
    let topics = request.topics.into_iter().map(|topic| {
        let known = match may_all {
            _ if is_another => Err(NotServed::Denied),
            true => context.known_topic(i16::MAX, &topic.topic, Uuid::nil()),
            false => context.topic_by_name(Operation::Describe, &topic.topic),
        };
        let partitions = topic.partitions.iter().map(|wanted| {
            let partition = known.and_then(|topic| context.handler.replicas.get(topic, wanted.partition));
            let (epoch, believed) = (LeaderEpoch(wanted.leader_epoch), LeaderEpoch(wanted.current_leader_epoch));
            let end = partition.and_then(|p| p.end_of_epoch(epoch, believed));
            let answer = EpochEndOffset { partition: wanted.partition, ..Default::default() };
            match end {
                Ok(Some((epoch, end_offset))) => EpochEndOffset { leader_epoch: epoch.0, end_offset, ..answer },
                Ok(None) => answer,
                Err(error) => EpochEndOffset { error_code: ErrorCode::from(&error), ..answer },
            }
        });
        OffsetForLeaderTopicResult { partitions: partitions.collect(), topic: topic.topic.clone() }
    });
    context.reply(&OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() })
}
