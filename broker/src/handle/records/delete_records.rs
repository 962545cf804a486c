//! DeleteRecords (KIP-107): moves the log start of partitions forward. Files are deleted later, as with retention.
//!
//! Answers when every in-sync replica has moved its log start too, so that no later leader shows the records again, or
//! at the request's time-out.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_access::Operation;
use ottla_wire::m21_delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use ottla_wire::{ErrorCode, Str};

use crate::handle::context::{Context, Deadline};
use crate::image::is_internal;
use crate::replica::NotServed;
use crate::replica::partition::Partition;
use crate::replica::partition::deleting::DeleteError;
use crate::reply::Reply;

/// The low watermark in the answer for a partition that failed.
const INVALID_LOW_WATERMARK: i64 = -1;

/// The outcome for a partition: the new log start on this broker, or why it did not move.
type DeletionResult = Result<(Arc<Partition>, i64), ErrorCode>;

/// Moves the log starts before it returns.
pub(crate) fn handle(context: &Context, request: DeleteRecordsRequest) -> Reply {
    let deadline = Deadline::after_ms(request.timeout_ms).0;
    // Each is a matter of the disk: what is named twice moves once, by the last word, as in Kafka.
    let mut wanted: BTreeMap<Str, BTreeMap<i32, i64>> = BTreeMap::new();
    for topic in request.topics {
        let partitions = topic.partitions.iter().map(|wanted| (wanted.partition_index, wanted.offset));
        wanted.entry(topic.name).or_default().extend(partitions);
    }
    let delete = |(name, partitions): (Str, BTreeMap<i32, i64>)| {
        let outcomes = partitions.into_iter().map(|(index, offset)| (index, delete(context, &name, index, offset)));
        let outcomes: Vec<(i32, DeletionResult)> = outcomes.collect();
        (name, outcomes)
    };
    let topics: Vec<_> = wanted.into_iter().map(delete).collect();
    for (name, outcomes) in &topics {
        let offset = |(index, outcome): &(i32, DeletionResult)| Some((*index, outcome.as_ref().ok()?.1));
        let deleted: BTreeMap<i32, i64> = outcomes.iter().filter_map(offset).collect();
        if !deleted.is_empty() {
            context
                .audit(&format!("deletes the records of the topic {name:?} before offsets of partitions: {deleted:?}"));
        }
    }
    let outcomes = topics.iter().flat_map(|(_, outcomes)| outcomes);
    let moved =
        outcomes.filter_map(|(_, outcome)| outcome.as_ref().ok()).map(|(partition, _)| partition.clone()).collect();
    let replicas = context.handler.replicas.clone();
    context.later(async move {
        replicas.keep_log_starts(moved).await;
        let mut response = DeleteRecordsResponse::default();
        for (name, outcomes) in topics {
            let mut partitions = Vec::with_capacity(outcomes.len());
            for (partition_index, outcome) in outcomes {
                let (low_watermark, error_code) = match outcome {
                    Ok((partition, offset)) => result(partition.deleted_everywhere(offset, deadline).await),
                    Err(code) => (INVALID_LOW_WATERMARK, code),
                };
                partitions.push(DeleteRecordsPartitionResult { partition_index, low_watermark, error_code });
            }
            response.topics.push(DeleteRecordsTopicResult { partitions, name });
        }
        response
    })
}

fn delete(context: &Context, name: &str, index: i32, offset: i64) -> DeletionResult {
    let topic = context.topic_by_name(Operation::Delete, name).map_err(|error| ErrorCode::from(&error))?;
    let partition = context.handler.replicas.get(topic, index);
    match &partition {
        Err(NotServed::UnknownTopicOrPartition) => return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        _ if is_internal(name) => return Err(ErrorCode::INVALID_TOPIC_EXCEPTION),
        _ => {}
    }
    let partition = partition.map_err(|error| ErrorCode::from(&error))?;
    let offset = partition.delete_records(offset).map_err(|error| ErrorCode::from(&error))?;
    Ok((partition, offset))
}

fn result(deleted: Result<i64, DeleteError>) -> (i64, ErrorCode) {
    match deleted {
        Ok(low_watermark) => (low_watermark, ErrorCode::NONE),
        Err(error @ DeleteError::TimedOut { low_watermark }) => (low_watermark, ErrorCode::from(&error)),
        Err(error) => (INVALID_LOW_WATERMARK, ErrorCode::from(&error)),
    }
}
