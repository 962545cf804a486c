//! TxnOffsetCommit (KIP-98, KIP-447, KIP-890): a group stores the offsets up to which a transaction has read. They
//! count when it is committed.

use ottla_access::Operation;
use ottla_group::{CommitRequest, InstanceId, OffsetToCommit, Producer};
use ottla_txn::TopicPartition;
use ottla_wire::ErrorCode;
use ottla_wire::m28_txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestTopic, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
};

use super::producer;
use crate::groups::BeginError;
use crate::handle::context::Context;
use crate::handle::errors::{group_error, group_result};
use crate::image::CONSUMER_OFFSETS;
use crate::replica::partition::AppendError;
use crate::reply::Reply;
use crate::transactions::verifier::{Verification, VerificationKind, VerifyError};

/// The version from which on clients know TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 4;
/// The version from which on the group's partition is added to the transaction by its coordinator.
const ADDS_FROM: i16 = 5;

/// Answers when the offsets are replicated.
pub(crate) fn handle(context: &Context, request: TxnOffsetCommitRequest) -> Reply {
    let denied = if !context.may_transactional_id(Operation::Write, &request.transactional_id) {
        Some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    } else if !context.may_group(Operation::Read, &request.group_id) {
        Some(ErrorCode::GROUP_AUTHORIZATION_FAILED)
    } else {
        None
    };
    if let Some(error_code) = denied {
        let topics = request.topics.iter().map(|topic| refuse(topic, error_code)).collect();
        return context.reply(&TxnOffsetCommitResponse { topics, ..Default::default() });
    }
    let mut offsets = Vec::new();
    let topics = request.topics.iter().map(|topic| check_topic(context, topic, &mut offsets)).collect();
    let mut response = TxnOffsetCommitResponse { topics, ..Default::default() };
    if offsets.is_empty() {
        return context.reply(&response);
    }
    let whose = Producer { id: request.producer_id, epoch: request.producer_epoch };
    let commit = CommitRequest {
        group: (&*request.group_id).into(),
        member: (&*request.member_id).into(),
        instance: request.group_instance_id.as_deref().map(InstanceId::from),
        generation: request.generation_id,
        knows_group_id_not_found: false,
        retention_ms: None,
        offsets,
    };
    let (handler, version) = (context.handler.clone(), context.version);
    let adds = version >= ADDS_FROM;
    context.later(async move {
        let committed = async {
            let begun = handler.groups.begin_verification(&commit.group, whose, adds);
            let (partition, guard) = begun.map_err(|error| not_begun(&error))?;
            if guard.is_some() {
                let verification = Verification {
                    transactional_id: (&*request.transactional_id).into(),
                    producer: producer(whose.id, whose.epoch),
                    partitions: vec![TopicPartition { topic: CONSUMER_OFFSETS.into(), partition }],
                    kind: if adds { VerificationKind::Add } else { VerificationKind::Verify },
                };
                handler.verifier.verify(verification).await.map_err(|error| unverified(error, version))?;
            }
            handler.groups.commit_offsets_in_transaction(whose, guard, commit).await.map_err(group_error)
        };
        let results = committed.await;
        let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        let open = partitions.filter(|partition| partition.error_code == ErrorCode::NONE);
        match results {
            Ok(results) => {
                open.zip(&results).for_each(|(partition, result)| partition.error_code = group_result(result));
            }
            Err(code) => open.for_each(|partition| partition.error_code = code),
        }
        response
    })
}

/// Collects the offsets that can be committed, and prepares the answer, with NONE for these.
fn check_topic(
    context: &Context,
    topic: &TxnOffsetCommitRequestTopic,
    offsets: &mut Vec<OffsetToCommit>,
) -> TxnOffsetCommitResponseTopic {
    if !context.may_topic(Operation::Read, &topic.name) {
        return refuse(topic, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    }
    let known = context.image.topic(&topic.name);
    let partitions = topic.partitions.iter().map(|asked| {
        let partition_index = asked.partition_index;
        let error_code = match known.filter(|_| context.image.assignment(&topic.name, partition_index).is_some()) {
            Some(known) => {
                offsets.push(OffsetToCommit {
                    topic: (&*topic.name).into(),
                    topic_id: Some(known.id),
                    partition: partition_index,
                    offset: asked.committed_offset,
                    leader_epoch: asked.committed_leader_epoch,
                    metadata: asked.committed_metadata.as_deref().unwrap_or_default().to_owned(),
                });
                ErrorCode::NONE
            }
            None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        };
        TxnOffsetCommitResponsePartition { partition_index, error_code }
    });
    TxnOffsetCommitResponseTopic { name: topic.name.clone(), partitions: partitions.collect() }
}

/// The same code for each partition.
fn refuse(topic: &TxnOffsetCommitRequestTopic, error_code: ErrorCode) -> TxnOffsetCommitResponseTopic {
    let partitions = topic
        .partitions
        .iter()
        .map(|asked| TxnOffsetCommitResponsePartition { partition_index: asked.partition_index, error_code });
    TxnOffsetCommitResponseTopic { name: topic.name.clone(), partitions: partitions.collect() }
}

fn not_begun(error: &BeginError) -> ErrorCode {
    match error {
        BeginError::Group(error) => group_error(*error),
        BeginError::Partition(AppendError::NotServed(_)) => ErrorCode::NOT_COORDINATOR,
        BeginError::Partition(error) => error.into(),
    }
}

/// As Kafka's group coordinator: clients repeat a commit after 14 and 15 only.
fn unverified(error: VerifyError, version: i16) -> ErrorCode {
    match error.code() {
        ErrorCode::NETWORK_EXCEPTION => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS | ErrorCode::COORDINATOR_NOT_AVAILABLE | ErrorCode::NOT_COORDINATOR => {
            ErrorCode::COORDINATOR_NOT_AVAILABLE
        }
        ErrorCode::CONCURRENT_TRANSACTIONS if version < ADDS_FROM => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::TRANSACTION_ABORTABLE if version < ABORTABLE_FROM => ErrorCode::INVALID_TXN_STATE,
        code => code,
    }
}
