//! ListOffsets (KIP-79, KIP-734, KIP-405): offsets by timestamp, by record, and the ends of partitions.

use std::sync::Arc;

use ottla_access::Operation;
use ottla_log::FoundRecord;
use ottla_wire::m02_list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
    ListOffsetsTopicResponse,
};
use ottla_wire::{ErrorCode, Str};

use crate::handle::context::Context;
use crate::handle::once::once;
use crate::image::{LeaderEpoch, Topic};
use crate::replica::NotServed;
use crate::replica::partition::reading::{Bound, FoundOffset, OffsetSpec, ReadError};
use crate::reply::Reply;

/// The lookup of each partition of each topic, and its result so far.
type Lookups = Vec<(Str, Vec<(i32, Result<FoundOffset, ErrorCode>)>)>;

/// Answers at once for the ends of partitions. A worker searches for records, because they may be anywhere on the disk.
pub(crate) fn handle(context: &Context, request: ListOffsetsRequest) -> Reply {
    let bound = if request.isolation_level == 0 { Bound::HighWatermark } else { Bound::LastStable };
    let find_in = |topic: ListOffsetsTopic| {
        let known = context.topic_by_name(Operation::Describe, &topic.name);
        let partitions = once(topic.partitions, |wanted| wanted.partition_index).into_iter().map(|(wanted, times)| {
            let found = match times {
                _ if matches!(known, Err(NotServed::Denied)) => Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
                1 => find(context, known, &wanted, bound),
                _ => Err(ErrorCode::INVALID_REQUEST),
            };
            (wanted.partition_index, found)
        });
        let partitions = partitions.collect();
        (topic.name, partitions)
    };
    let lookups: Lookups = request.topics.into_iter().map(find_in).collect();
    let version = context.version;
    let mut found = lookups.iter().flat_map(|(_, partitions)| partitions);
    if found.any(|(_, found)| matches!(found, Ok(FoundOffset::Somewhere(_)))) {
        return context.later(context.handler.workers.run(move || response(lookups, version)));
    }
    context.reply(&response(lookups, version))
}

fn find(
    context: &Context,
    topic: Result<&Arc<Topic>, NotServed>,
    wanted: &ListOffsetsPartition,
    bound: Bound,
) -> Result<FoundOffset, ErrorCode> {
    let what = what(wanted.timestamp, context.version).ok_or(ErrorCode::UNSUPPORTED_VERSION)?;
    let partition = topic.and_then(|topic| context.handler.replicas.get(topic, wanted.partition_index));
    let partition = partition.map_err(|error| ErrorCode::from(&error))?;
    let found = partition.find(what, bound, LeaderEpoch(wanted.current_leader_epoch));
    found.map_err(|error| code(&error, context.version))
}

fn code(error: &ReadError, version: i16) -> ErrorCode {
    match ErrorCode::from(error) {
        // The version that brought the newer code.
        ErrorCode::OFFSET_NOT_AVAILABLE if version < 5 => ErrorCode::LEADER_NOT_AVAILABLE,
        code => code,
    }
}

/// Completes the remaining searches.
fn response(lookups: Lookups, version: i16) -> ListOffsetsResponse {
    let answer = |(partition_index, found): (i32, Result<FoundOffset, ErrorCode>)| {
        let found = found.and_then(|found| match found {
            FoundOffset::At(record) => Ok(Some(record)),
            FoundOffset::Somewhere(search) => search.run().map_err(|error| code(&error, version)),
        });
        let answer = ListOffsetsPartitionResponse { partition_index, ..Default::default() };
        match found {
            Ok(Some(FoundRecord { offset, timestamp, leader_epoch })) => {
                ListOffsetsPartitionResponse { offset, timestamp, leader_epoch, ..answer }
            }
            Ok(None) => answer,
            Err(error_code) => ListOffsetsPartitionResponse { error_code, ..answer },
        }
    };
    let topics = lookups.into_iter().map(|(name, partitions)| ListOffsetsTopicResponse {
        name,
        partitions: partitions.into_iter().map(answer).collect(),
    });
    ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
}

/// The meaning of a timestamp; special ones are valid from the version on that introduced them. `None`: not in this
/// version.
fn what(timestamp: i64, version: i16) -> Option<OffsetSpec> {
    match timestamp {
        0.. => Some(OffsetSpec::Timestamp(timestamp)),
        -1 => Some(OffsetSpec::Latest),
        -2 => Some(OffsetSpec::Earliest),
        -3 if version >= 7 => Some(OffsetSpec::MaxTimestamp),
        // Without tiered storage everything is local …
        -4 if version >= 8 => Some(OffsetSpec::Earliest),
        // … nothing is tiered, and nothing waits to be.
        -5 if version >= 9 => Some(OffsetSpec::Nothing),
        -6 if version >= 11 => Some(OffsetSpec::Nothing),
        _ => None,
    }
}
