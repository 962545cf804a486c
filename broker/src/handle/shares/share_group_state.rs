//! Initialize-, Read-, Write-, DeleteShareGroupState and ReadShareGroupStateSummary (KIP-932): brokers ask the share
//! coordinators that run here.

use futures::future::join_all;
use ottla_access::Operation;
use ottla_group::share_state::SharePartition;
use ottla_group::share_state::{Request, StateError};

use crate::handle::context::Context;
use crate::reply::Reply;
use crate::share_state::wire::{Of, StateMessage};

/// Answers when what was changed is replicated.
pub(crate) fn handle<M: StateMessage>(context: &Context, request: M) -> Reply {
    let (group, asked) = request.asked();
    if !context.may_cluster(Operation::ClusterAction) {
        let refuse = |(topic_id, partition, request): Of<Request>| {
            (topic_id, partition, request.refused(StateError::ClusterAuthorizationFailed))
        };
        return context.reply(&M::answer(asked.into_iter().map(refuse).collect()));
    }
    let states = &context.handler.share_states;
    let answers: Vec<_> = (asked.into_iter())
        .map(|(topic_id, partition, request)| {
            let of = SharePartition { group: group.clone(), topic_id, partition };
            let answer = states.ask(&of, request);
            async move { (topic_id, partition, answer.await) }
        })
        .collect();
    context.later(async move {
        let replies: Vec<Of<_>> = join_all(answers).await;
        M::answer(replies)
    })
}
