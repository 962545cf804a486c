//! DeleteRecords (KIP-107): moves the log start of partitions forward. Files go later, as with retention.

use ottla_wire::ErrorCode;
use ottla_wire::m21_delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use super::Context;
use crate::image::is_internal;
use crate::replica::partition::reading::ReadError;
use crate::reply::Reply;

/// Nothing to give where it failed.
const INVALID_LOW_WATERMARK: i64 = -1;

/// Answers when the log starts have moved.
pub fn handle(context: &Context, request: DeleteRecordsRequest) -> Reply {
    let topics = request.topics.into_iter().map(|topic| {
        let delete = |index: i32, offset: i64| -> Result<i64, ErrorCode> {
            if is_internal(&topic.name) {
                return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
            }
            let partition = context.partition(&topic.name, index).map_err(|error| ErrorCode::from(&error))?;
            if !partition.allows_delete_records() {
                return Err(ErrorCode::POLICY_VIOLATION);
            }
            partition.delete_records(offset).map_err(|error: ReadError| ErrorCode::from(&error))
        };
        let partitions = topic.partitions.iter().map(|wanted| {
            let deleted = delete(wanted.partition_index, wanted.offset);
            DeleteRecordsPartitionResult {
                partition_index: wanted.partition_index,
                low_watermark: *deleted.as_ref().unwrap_or(&INVALID_LOW_WATERMARK),
                error_code: deleted.err().unwrap_or(ErrorCode::NONE),
            }
        });
        DeleteRecordsTopicResult { partitions: partitions.collect(), name: topic.name.clone() }
    });
    context.reply(&DeleteRecordsResponse { topics: topics.collect(), ..Default::default() })
}
