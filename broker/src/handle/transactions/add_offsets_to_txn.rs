//! AddOffsetsToTxn (KIP-98): the offsets of a group become part of a transaction, which is to say the partition in
//! which the group's coordinator keeps them.

use ottla_access::Operation;
use ottla_txn::{AddPartitions, TopicPartition, TransactionVersion};
use ottla_wire::ErrorCode;
use ottla_wire::m25_add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::{code, producer};
use crate::coordinator::partition_for;
use crate::handle::context::Context;
use crate::handle::topics::internal_topics::ask_for_topic;
use crate::image::CONSUMER_OFFSETS;
use crate::reply::Reply;

/// Answers when the partition is written down.
pub(crate) fn handle(context: &Context, request: AddOffsetsToTxnRequest) -> Reply {
    let refuse = |error_code| context.reply(&AddOffsetsToTxnResponse { error_code, ..Default::default() });
    if !context.may_transactional_id(Operation::Write, &request.transactional_id) {
        return refuse(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    }
    if !context.may_group(Operation::Read, &request.group_id) {
        return refuse(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    let Some(topic) = context.image.topic(CONSUMER_OFFSETS) else {
        // The first group of the cluster commits in a transaction.
        ask_for_topic(&context.handler.ask, &context.image, CONSUMER_OFFSETS);
        return refuse(ErrorCode::COORDINATOR_NOT_AVAILABLE);
    };
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX).max(1);
    let partition =
        TopicPartition { topic: CONSUMER_OFFSETS.into(), partition: partition_for(&request.group_id, count) };
    let adding = AddPartitions {
        transactional_id: (&*request.transactional_id).into(),
        producer: producer(request.producer_id, request.producer_epoch),
        partitions: [partition].into(),
        client_version: TransactionVersion::V0,
    };
    let (handler, version) = (context.handler.clone(), context.version);
    context.later(async move {
        let error_code = code(&handler.transactions.add_partitions(adding).await, version);
        AddOffsetsToTxnResponse { error_code, ..Default::default() }
    })
}
