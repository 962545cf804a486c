//! ListTransactions (KIP-664, KIP-994, KIP-1152): the transactional ids that this broker coordinates.

use ottla_access::{Operation, ResourceType};
use ottla_group::Pattern;
use ottla_txn::{ListFilter, states_named};
use ottla_wire::ErrorCode;
use ottla_wire::m66_list_transactions::{ListTransactionsRequest, ListTransactionsResponse, ListedTransactionState};

use crate::env;
use crate::handle::context::Context;
use crate::reply::Reply;

/// Answers from memory.
pub(crate) fn handle(context: &Context, request: ListTransactionsRequest) -> Reply {
    let refuse = |error_code| context.reply(&ListTransactionsResponse { error_code, ..Default::default() });
    let pattern = request.transactional_id_pattern.as_deref().filter(|pattern| !pattern.is_empty());
    let Ok(pattern) = pattern.map(Pattern::new).transpose() else {
        return refuse(ErrorCode::INVALID_REGULAR_EXPRESSION);
    };
    let (states, unknown) = states_named(request.state_filters.iter().map(|name| &**name));
    let matches = |id: &str| pattern.as_ref().is_none_or(|pattern| pattern.matches(id));
    let filter = ListFilter {
        producer_ids: &request.producer_id_filters,
        states: states.as_ref(),
        duration_ms: Some(request.duration_filter),
        id_matches: Some(&matches),
    };
    match context.handler.transactions.list(filter, env::wall_clock_ms()) {
        Ok(listed) => {
            let sees = |id: &str| context.sees(Operation::Describe, ResourceType::TransactionalId, id);
            let seen = listed.into_iter().filter(|listed| sees(&listed.transactional_id));
            let states = seen.map(|listed| ListedTransactionState {
                transactional_id: (&*listed.transactional_id).into(),
                producer_id: listed.producer_id,
                transaction_state: listed.state.name().into(),
            });
            context.reply(&ListTransactionsResponse {
                unknown_state_filters: unknown.into_iter().map(Into::into).collect(),
                transaction_states: states.collect(),
                ..Default::default()
            })
        }
        Err(error) => refuse(error.code()),
    }
}
