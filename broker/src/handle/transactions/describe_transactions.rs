//! DescribeTransactions (KIP-664): the state of transactional ids that this broker coordinates.

use ottla_access::{Operation, ResourceType};
use std::collections::BTreeMap;

use ottla_txn::DescribedTransaction;
use ottla_wire::m65_describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, DescribedTransactionState, DescribedTransactionTopic,
};
use ottla_wire::{ErrorCode, Str};

use crate::handle::context::Context;
use crate::handle::once::once;
use crate::reply::Reply;

/// Answers from memory.
pub(crate) fn handle(context: &Context, request: DescribeTransactionsRequest) -> Reply {
    let ids = once(request.transactional_ids, Str::clone).into_iter();
    let states = ids.map(|(id, _)| {
        match context.may_transactional_id(Operation::Describe, &id).then(|| context.handler.transactions.describe(&id))
        {
            None => refused(id, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
            Some(Ok(described)) => state(context, id, described),
            Some(Err(error)) => refused(id, error.code()),
        }
    });
    context.reply(&DescribeTransactionsResponse { transaction_states: states.collect(), ..Default::default() })
}

fn state(context: &Context, transactional_id: Str, described: DescribedTransaction) -> DescribedTransactionState {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for place in &described.partitions {
        topics.entry(&place.topic).or_default().push(place.partition);
    }
    topics.retain(|name, _| context.sees(Operation::Describe, ResourceType::Topic, name));
    let topic = |(name, partitions): (&str, _)| DescribedTransactionTopic { topic: name.into(), partitions };
    DescribedTransactionState {
        error_code: ErrorCode::NONE,
        transactional_id,
        transaction_state: described.state.name().into(),
        transaction_timeout_ms: described.timeout_ms,
        transaction_start_time_ms: described.start_ms,
        producer_id: described.producer.producer_id,
        producer_epoch: described.producer.producer_epoch,
        topics: topics.into_iter().map(topic).collect(),
    }
}

fn refused(transactional_id: Str, error_code: ErrorCode) -> DescribedTransactionState {
    DescribedTransactionState { error_code, transactional_id, ..Default::default() }
}
