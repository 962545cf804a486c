//! WriteTxnMarkers (KIP-98, KIP-1228): transaction coordinators end transactions in the partitions that this broker
//! leads; so does `kafka-transactions --abort`.

use ottla_access::Operation;
use std::time::Duration;

use ottla_batch::{ControlRecordType, Marker};
use ottla_wire::ErrorCode;
use ottla_wire::m27_write_txn_markers::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult, WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
};

use crate::env;
use crate::handle::context::Context;
use crate::replica::partition::transactions::TransactionEnd;
use crate::reply::Reply;
use crate::transactions::ends::{EndError, WrittenMarker};

/// How long markers may take to be committed. Kafka's default for `request.timeout.ms` of brokers.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Appends all, and answers when all are committed.
pub(crate) fn handle(context: &Context, request: WriteTxnMarkersRequest) -> Reply {
    let is_denied = !context.sees_cluster(Operation::Alter) && !context.may_cluster(Operation::ClusterAction);
    let mut all: Vec<Result<WrittenMarker, EndError>> = Vec::new();
    let mut response = WriteTxnMarkersResponse::default();
    for marker in request.markers {
        let outcome = if marker.transaction_result { ControlRecordType::Commit } else { ControlRecordType::Abort };
        let end = TransactionEnd {
            producer_id: marker.producer_id,
            producer_epoch: marker.producer_epoch,
            marker: Marker { outcome, coordinator_epoch: marker.coordinator_epoch },
            transaction_version: marker.transaction_version,
        };
        if !is_denied && !context.is_broker() {
            let partitions: Vec<_> =
                marker.topics.iter().map(|topic| (&topic.name, &topic.partition_indexes)).collect();
            let (id, epoch) = (marker.producer_id, marker.producer_epoch);
            context
                .audit(&format!("ends a transaction of producer {id}, epoch {epoch}, by {outcome:?}: {partitions:?}"));
        }
        let topics = marker.topics.into_iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|number| {
                if is_denied {
                    let error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
                    return WritableTxnMarkerPartitionResult { partition_index: *number, error_code };
                }
                all.push(context.handler.ends.append(&topic.name, *number, end));
                WritableTxnMarkerPartitionResult { partition_index: *number, ..Default::default() }
            });
            WritableTxnMarkerTopicResult { partitions: partitions.collect(), name: topic.name }
        });
        let topics = topics.collect();
        response.markers.push(WritableTxnMarkerResult { producer_id: marker.producer_id, topics });
    }
    if is_denied {
        return context.reply(&response);
    }
    let deadline = env::now() + TIMEOUT;
    context.later(async move {
        let topics = response.markers.iter_mut().flat_map(|marker| &mut marker.topics);
        for (partition, written) in topics.flat_map(|topic| &mut topic.partitions).zip(all) {
            let committed = match written {
                Ok(written) => written.committed(deadline).await,
                Err(error) => Err(error),
            };
            partition.error_code = committed.map_or_else(|error| ErrorCode::from(&error), |()| ErrorCode::NONE);
        }
        response
    })
}
