//! DeleteRecords (KIP-107): moves the log start of partitions forward. Files go later, as with retention.

use std::collections::BTreeMap;

use ottla_wire::m21_delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use ottla_wire::{ErrorCode, Str};

use super::Context;
use crate::image::is_internal;
use crate::replica::partition::reading::ReadError;
use crate::reply::Reply;

/// Nothing to give where it failed.
const INVALID_LOW_WATERMARK: i64 = -1;

/// Answers when the log starts have moved.
pub fn handle(context: &Context, request: DeleteRecordsRequest) -> Reply {
    // Each is a matter of the disk: what is named twice moves once, by the last word, as in Kafka.
    let mut wanted: BTreeMap<Str, BTreeMap<i32, i64>> = BTreeMap::new();
    for topic in request.topics {
        let partitions = topic.partitions.iter().map(|wanted| (wanted.partition_index, wanted.offset));
        wanted.entry(topic.name).or_default().extend(partitions);
    }
    let topics = wanted.into_iter().map(|(name, partitions)| {
        let delete = |index: i32, offset: i64| -> Result<i64, ErrorCode> {
            if is_internal(&name) {
                return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
            }
            let partition = context.partition(&name, index).map_err(|error| ErrorCode::from(&error))?;
            if !partition.allows_delete_records() {
                return Err(ErrorCode::POLICY_VIOLATION);
            }
            partition.delete_records(offset).map_err(|error: ReadError| ErrorCode::from(&error))
        };
        let partitions = partitions.iter().map(|(index, offset)| {
            let deleted = delete(*index, *offset);
            DeleteRecordsPartitionResult {
                partition_index: *index,
                low_watermark: *deleted.as_ref().unwrap_or(&INVALID_LOW_WATERMARK),
                error_code: deleted.err().unwrap_or(ErrorCode::NONE),
            }
        });
        DeleteRecordsTopicResult { partitions: partitions.collect(), name: name.clone() }
    });
    context.reply(&DeleteRecordsResponse { topics: topics.collect(), ..Default::default() })
}
