//! DescribeShareGroupOffsets (KIP-932, KIP-1226): where share groups are in their partitions, and how far behind.

use ottla_access::{Operation, ResourceType};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::future::join_all;
use ottla_group::share_state::{Request, SharePartition, StateError, StateReply, Summary};
use ottla_group::{GroupError, GroupId};
use ottla_wire::m90_describe_share_group_offsets::{
    DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequestGroup, DescribeShareGroupOffsetsResponse,
    DescribeShareGroupOffsetsResponseGroup, DescribeShareGroupOffsetsResponsePartition,
    DescribeShareGroupOffsetsResponseTopic,
};
use ottla_wire::{ErrorCode, Str};
use uuid::Uuid;

use super::are_served;
use crate::handle::context::Context;
use crate::handle::errors::group_error;
use crate::handle::handler::Handler;
use crate::log_ends::NamedPartition;
use crate::reply::Reply;

/// Stands for an offset, a count or a lag that nobody knows.
const UNKNOWN: i64 = -1;

/// A topic of the request: `None` for its id if there is no such topic.
type RequestedTopic = (Str, Option<Uuid>, Vec<i32>);

/// Asks the share coordinators and the leaders of the partitions.
pub(crate) fn handle(context: &Context, request: DescribeShareGroupOffsetsRequest) -> Reply {
    let asked: Vec<_> = (request.groups.into_iter())
        .map(|mut group| {
            let denied = take_denied(context, &mut group);
            (group.group_id.clone(), asked(context, group), denied)
        })
        .collect();
    let handler = context.handler.clone();
    context.later(async move {
        let groups = asked.into_iter().map(async |(group_id, asked, denied)| match asked {
            _ if denied.is_err() => DescribeShareGroupOffsetsResponseGroup {
                group_id,
                error_code: ErrorCode::GROUP_AUTHORIZATION_FAILED,
                ..Default::default()
            },
            Ok(topics) => {
                let mut described = describe(&handler, group_id, topics).await;
                described.topics.extend(denied.into_iter().flatten());
                described
            }
            Err(error) => DescribeShareGroupOffsetsResponseGroup {
                group_id,
                error_code: group_error(error),
                error_message: Some(error.to_string().into()),
                ..Default::default()
            },
        });
        DescribeShareGroupOffsetsResponse { groups: join_all(groups).await, ..Default::default() }
    })
}

/// The topics of a request that the client may not describe, taken out of it and refused.
///
/// # Errors
/// The client may not describe the group.
fn take_denied(
    context: &Context,
    group: &mut DescribeShareGroupOffsetsRequestGroup,
) -> Result<Vec<DescribeShareGroupOffsetsResponseTopic>, ()> {
    if !context.may_group(Operation::Describe, &group.group_id) {
        return Err(());
    }
    let named = group
        .topics
        .take()
        .map(|topics| topics.into_iter().partition(|topic| context.may_topic(Operation::Describe, &topic.topic_name)));
    let Some((allowed, denied)): Option<(Vec<_>, Vec<_>)> = named else { return Ok(Vec::new()) };
    group.topics = Some(allowed);
    let refused = |partition_index| DescribeShareGroupOffsetsResponsePartition {
        partition_index,
        start_offset: UNKNOWN,
        lag: UNKNOWN,
        error_code: ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        error_message: Some("Topic authorization failed.".into()),
        ..Default::default()
    };
    let topics = denied.into_iter().map(|topic| DescribeShareGroupOffsetsResponseTopic {
        partitions: topic.partitions.into_iter().map(refused).collect(),
        topic_name: topic.topic_name,
        ..Default::default()
    });
    Ok(topics.collect())
}

/// The partitions that a request names, or all that the group has offsets in. Topics that are gone have none.
fn asked(context: &Context, group: DescribeShareGroupOffsetsRequestGroup) -> Result<Vec<RequestedTopic>, GroupError> {
    are_served(context)?;
    if let Some(topics) = group.topics {
        let id = |name: &Str| context.image.topic(name).map(|topic| topic.id);
        return Ok(topics
            .into_iter()
            .map(|topic| (topic.topic_name.clone(), id(&topic.topic_name), topic.partitions))
            .collect());
    }
    let all = match context.handler.groups.shared_partitions(&GroupId::from(&*group.group_id)) {
        // As in Kafka, a group that does not exist has no offsets.
        Err(GroupError::GroupIdNotFound) => BTreeMap::new(),
        all => all?,
    };
    let topic = |(id, partitions)| Some((context.image.topics.get(&id)?.name.clone(), Some(id), partitions));
    let sees = |(name, ..): &RequestedTopic| context.sees(Operation::Describe, ResourceType::Topic, name);
    Ok(all.into_iter().filter_map(topic).filter(sees).collect())
}

async fn describe(
    handler: &Arc<Handler>,
    group_id: Str,
    topics: Vec<RequestedTopic>,
) -> DescribeShareGroupOffsetsResponseGroup {
    let group = GroupId::from(&*group_id);
    let found = topics.into_iter().map(async |(name, id, partitions)| {
        let summaries = partitions.into_iter().map(async |partition| {
            let summary = match id {
                Some(topic_id) => summary(handler, SharePartition { group: group.clone(), topic_id, partition }).await,
                None => None,
            };
            (partition, summary)
        });
        (name, id, join_all(summaries).await)
    });
    let found = join_all(found).await;
    let begun = |(_, summary): &&(i32, Option<Summary>)| summary.is_some_and(|summary| has_lag(&summary));
    let places = found.iter().flat_map(|(name, _, summaries)| {
        summaries.iter().filter(begun).map(|(partition, _)| (name.clone(), *partition))
    });
    let ends = handler.log_ends.of(places.collect()).await;
    let topics = found.into_iter().map(|(topic_name, id, summaries)| DescribeShareGroupOffsetsResponseTopic {
        topic_id: id.unwrap_or_default(),
        partitions: summaries
            .into_iter()
            .map(|(number, summary)| partition((topic_name.clone(), number), summary, &ends))
            .collect(),
        topic_name,
    });
    DescribeShareGroupOffsetsResponseGroup { topics: topics.collect(), group_id, ..Default::default() }
}

/// What the share coordinator knows; `None` if it does not say. Kafka shows that as missing, not as an error.
async fn summary(handler: &Arc<Handler>, of: SharePartition) -> Option<Summary> {
    match handler.persister.ask(of, Request::Summarize).await {
        StateReply::Summarize(summary) => {
            summary.inspect_err(|error: &StateError| tracing::debug!(%error, "no summary")).ok()
        }
        StateReply::Initialize(_) | StateReply::Read(_) | StateReply::Write(_) | StateReply::Delete(_) => None,
    }
}

fn has_lag(summary: &Summary) -> bool {
    summary.start_offset != UNKNOWN && i64::from(summary.delivery_complete_count) != UNKNOWN
}

fn partition(
    place: NamedPartition,
    summary: Option<Summary>,
    ends: &HashMap<NamedPartition, Result<i64, ErrorCode>>,
) -> DescribeShareGroupOffsetsResponsePartition {
    let partition_index = place.1;
    let Some(summary) = summary else {
        return DescribeShareGroupOffsetsResponsePartition {
            partition_index,
            start_offset: UNKNOWN,
            lag: UNKNOWN,
            ..Default::default()
        };
    };
    let Summary { leader_epoch, start_offset, delivery_complete_count, .. } = summary;
    let known = DescribeShareGroupOffsetsResponsePartition {
        partition_index,
        start_offset,
        leader_epoch,
        ..Default::default()
    };
    match ends.get(&place) {
        None => DescribeShareGroupOffsetsResponsePartition { lag: UNKNOWN, ..known },
        Some(Ok(end)) => DescribeShareGroupOffsetsResponsePartition {
            lag: end.saturating_sub(start_offset).saturating_sub(i64::from(delivery_complete_count)),
            ..known
        },
        Some(Err(error_code)) => DescribeShareGroupOffsetsResponsePartition {
            partition_index,
            error_code: *error_code,
            error_message: Some("The end of the partition is not known now.".into()),
            ..Default::default()
        },
    }
}
