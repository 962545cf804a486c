//! AddPartitionsToTxn (KIP-98, KIP-890): partitions become part of a transaction. Clients send versions 0 to 3. Brokers
//! send later ones, about many transactions, and may only ask.

use ottla_access::Operation;
use std::collections::BTreeSet;

use crate::image::is_internal;
use ottla_txn::{AddPartitions, TopicName, TopicPartition, TransactionVersion};
use ottla_wire::ErrorCode;
use ottla_wire::Str;
use ottla_wire::m24_add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction,
};

use super::{code, producer};
use crate::handle::context::Context;
use crate::handle::request::ADD_PARTITIONS_OF_BROKERS;
use crate::reply::Reply;
use crate::transactions::verifier::{Verification, VerificationKind, VerifyError};

/// Answers when the partitions are written down.
pub(crate) fn handle(context: &Context, request: AddPartitionsToTxnRequest) -> Reply {
    if context.version >= ADD_PARTITIONS_OF_BROKERS {
        of_brokers(context, request)
    } else {
        of_client(context, request)
    }
}

fn of_client(context: &Context, request: AddPartitionsToTxnRequest) -> Reply {
    let topics = request.v3_and_below_topics;
    if !context.may_transactional_id(Operation::Write, &request.v3_and_below_transactional_id) {
        let results_by_topic_v3_and_below = results(&topics, |_, _| ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
        return context.reply(&AddPartitionsToTxnResponse { results_by_topic_v3_and_below, ..Default::default() });
    }
    let names: BTreeSet<&Str> = topics.iter().map(|topic| &topic.name).collect();
    let may = |name: &&&Str| !is_internal(name) && context.may_topic(Operation::Write, name);
    let allowed: BTreeSet<Str> = names.iter().filter(may).map(|name| (*name).clone()).collect();
    let exists = |topic: &str, partition| context.image.assignment(topic, partition).is_some();
    let all_exist = topics.iter().all(|topic| topic.partitions.iter().all(|number| exists(&topic.name, *number)));
    if !all_exist || allowed.len() < names.len() {
        // As in Kafka: one that is missing or denied refuses all.
        let results = results(&topics, |topic, partition| match exists(topic, partition) {
            _ if !allowed.contains(topic) => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            true => ErrorCode::OPERATION_NOT_ATTEMPTED,
            false => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        });
        return context
            .reply(&AddPartitionsToTxnResponse { results_by_topic_v3_and_below: results, ..Default::default() });
    }
    let adding = AddPartitions {
        transactional_id: (&*request.v3_and_below_transactional_id).into(),
        producer: producer(request.v3_and_below_producer_id, request.v3_and_below_producer_epoch),
        partitions: partitions(&topics).collect(),
        client_version: TransactionVersion::V0,
    };
    let (handler, version) = (context.handler.clone(), context.version);
    context.later(async move {
        let code = code(&handler.transactions.add_partitions(adding).await, version);
        let results_by_topic_v3_and_below = results(&topics, |_, _| code);
        AddPartitionsToTxnResponse { results_by_topic_v3_and_below, ..Default::default() }
    })
}

fn of_brokers(context: &Context, request: AddPartitionsToTxnRequest) -> Reply {
    if !context.may_cluster(Operation::ClusterAction) {
        let error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
        return context.reply(&AddPartitionsToTxnResponse { error_code, ..Default::default() });
    }
    let handler = context.handler.clone();
    context.later(async move {
        let answers = request.transactions.into_iter().map(async |transaction| {
            let verification = verification(&transaction);
            let mut codes = handler.transactions.verify(verification).await.into_iter().map(|result| match result {
                Ok(()) => ErrorCode::NONE,
                // The broker that asks decides what its client gets for it.
                Err(VerifyError::Refused(code)) => code,
                Err(error) => error.code(),
            });
            let topic_results =
                results(&transaction.topics, |_, _| codes.next().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR));
            AddPartitionsToTxnResult { transactional_id: transaction.transactional_id, topic_results }
        });
        let results_by_transaction = futures::future::join_all(answers).await;
        AddPartitionsToTxnResponse { results_by_transaction, ..Default::default() }
    })
}

fn verification(transaction: &AddPartitionsToTxnTransaction) -> Verification {
    Verification {
        transactional_id: (&*transaction.transactional_id).into(),
        producer: producer(transaction.producer_id, transaction.producer_epoch),
        partitions: partitions(&transaction.topics).collect(),
        kind: if transaction.verify_only { VerificationKind::Verify } else { VerificationKind::Add },
    }
}

fn partitions(topics: &[AddPartitionsToTxnTopic]) -> impl Iterator<Item = TopicPartition> {
    topics.iter().flat_map(|topic| {
        let name = TopicName::from(&*topic.name);
        topic.partitions.iter().map(move |partition| TopicPartition { topic: name.clone(), partition: *partition })
    })
}

/// A code for each partition, in the request's order.
fn results(
    topics: &[AddPartitionsToTxnTopic],
    mut code: impl FnMut(&str, i32) -> ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut topic = |topic: &AddPartitionsToTxnTopic| {
        let results = topic.partitions.iter().map(|partition| AddPartitionsToTxnPartitionResult {
            partition_index: *partition,
            partition_error_code: code(&topic.name, *partition),
        });
        AddPartitionsToTxnTopicResult { name: topic.name.clone(), results_by_partition: results.collect() }
    };
    topics.iter().map(&mut topic).collect()
}
