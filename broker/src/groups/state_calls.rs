//! What share groups ask of share coordinators: states are initialised and deleted.

use std::sync::Arc;

use futures::future::join_all;
use ottla_group::share_state::{Request, SharePartition, StateReply};
use ottla_group::{Shard, StateCall, StateCallKind, StateResults};
use ottla_wire::TopicIdPartition;

use super::machine::effects;
use crate::coordinator::Coordinator;
use crate::share_state::persister::Persister;

/// Asks for each partition of a call; the results come back to the group.
pub(super) async fn carry_out(persister: Arc<Persister>, coordinator: Arc<Coordinator<Shard>>, call: StateCall) {
    let asked = requests(&call).into_iter().map(async |(of, request)| {
        let place = TopicIdPartition::new(of.topic_id, of.partition);
        match persister.ask(of, request).await {
            StateReply::Initialize(result) | StateReply::Delete(result) => Some((place, result)),
            // What has no result has failed.
            StateReply::Read(_) | StateReply::Write(_) | StateReply::Summarize(_) => None,
        }
    });
    let results: StateResults = join_all(asked).await.into_iter().flatten().collect();
    coordinator.turn(|groups, now| effects(groups.state_call_answered(&call, &results, now.into()), now));
}

fn requests(call: &StateCall) -> Vec<(SharePartition, Request)> {
    let of = |topic_id, partition| SharePartition { group: call.group.clone(), topic_id, partition };
    match &call.what {
        StateCallKind::Initialize { state_epoch, offsets } => {
            let topics = offsets.iter().flat_map(|(topic_id, partitions)| {
                partitions.iter().map(move |(partition, start_offset)| (*topic_id, *partition, *start_offset))
            });
            let request = |(topic_id, partition, start_offset)| {
                (of(topic_id, partition), Request::Initialize { state_epoch: *state_epoch, start_offset })
            };
            topics.map(request).collect()
        }
        StateCallKind::Delete { partitions } => {
            let topics = partitions.iter().flat_map(|(topic_id, all)| all.iter().map(move |one| (*topic_id, *one)));
            topics.map(|(topic_id, partition)| (of(topic_id, partition), Request::Delete)).collect()
        }
    }
}
