//! ListOffsets (KIP-79, KIP-734, KIP-405): offsets by timestamp, by record, and the ends of partitions.

use ottla_log::FoundRecord;
use ottla_wire::ErrorCode;
use ottla_wire::m02_list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

use super::Context;
use super::once::once;
use crate::replica::partition::reading::{Bound, Wanted};
use crate::reply::Reply;

/// Answers at once, from the index and at most one segment's worth of batches.
pub fn handle(context: &Context, request: ListOffsetsRequest) -> Reply {
    let bound = if request.isolation_level == 0 { Bound::HighWatermark } else { Bound::LastStable };
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = once(topic.partitions, |wanted| wanted.partition_index).into_iter().map(|(wanted, times)| {
            let found = match times {
                1 => find(context, &topic.name, &wanted, bound),
                _ => Err(ErrorCode::INVALID_REQUEST),
            };
            let answer = ListOffsetsPartitionResponse { partition_index: wanted.partition_index, ..Default::default() };
            match found {
                Ok(Some(FoundRecord { offset, timestamp, leader_epoch })) => {
                    ListOffsetsPartitionResponse { offset, timestamp, leader_epoch, ..answer }
                }
                Ok(None) => answer,
                Err(error_code) => ListOffsetsPartitionResponse { error_code, ..answer },
            }
        });
        ListOffsetsTopicResponse { partitions: partitions.collect(), name: topic.name.clone() }
    });
    context.reply(&ListOffsetsResponse { topics: topics.collect(), ..Default::default() })
}

fn find(
    context: &Context,
    topic: &str,
    wanted: &ListOffsetsPartition,
    bound: Bound,
) -> Result<Option<FoundRecord>, ErrorCode> {
    let what = what(wanted.timestamp, context.version).ok_or(ErrorCode::UNSUPPORTED_VERSION)?;
    let partition = context.partition(topic, wanted.partition_index).map_err(|error| ErrorCode::from(&error))?;
    partition.find(what, bound, wanted.current_leader_epoch).map_err(|error| match ErrorCode::from(&error) {
        // The version that brought the newer code.
        ErrorCode::OFFSET_NOT_AVAILABLE if context.version < 5 => ErrorCode::LEADER_NOT_AVAILABLE,
        code => code,
    })
}

/// What a timestamp asks for; the special ones from the version on that brought them. None: not in this version.
fn what(timestamp: i64, version: i16) -> Option<Wanted> {
    match timestamp {
        0.. => Some(Wanted::Timestamp(timestamp)),
        -1 => Some(Wanted::Latest),
        -2 => Some(Wanted::Earliest),
        -3 if version >= 7 => Some(Wanted::MaxTimestamp),
        // Without tiered storage everything is local …
        -4 if version >= 8 => Some(Wanted::Earliest),
        // … nothing is tiered, and nothing waits to be.
        -5 if version >= 9 => Some(Wanted::Nothing),
        -6 if version >= 11 => Some(Wanted::Nothing),
        _ => None,
    }
}
