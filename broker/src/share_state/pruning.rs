//! Deletes the records that no state needs: those before the oldest of all last snapshots. Compaction would not do: a
//! state is its last snapshot and all updates after it.

use std::sync::Arc;

use ottla_group::share_state::Shard;

use super::machine::DeleteBefore;
use crate::coordinator::machine::Effects;
use crate::coordinator::{Coordinator, Post};
use crate::replica::Replicas;

/// Deletes records, and says so to the states whose records they were.
pub(super) fn post(replicas: Arc<Replicas>) -> Post<Shard> {
    Arc::new(move |coordinator: &Arc<Coordinator<Shard>>, DeleteBefore(offset): DeleteBefore| {
        let (replicas, answered) = (replicas.clone(), coordinator.clone());
        coordinator.spawn(async move {
            let partition = answered.partition().0.clone();
            match partition.delete_records(offset) {
                Ok(_) => {
                    replicas.keep_log_starts(vec![partition]).await;
                    answered.turn(|states, _| {
                        states.deleted(offset);
                        Effects::default()
                    });
                }
                // It is asked for again later, by this coordinator or the next.
                Err(error) => {
                    let partition = partition.number;
                    tracing::debug!(partition, %error, "failed to delete records that no state needs");
                }
            }
        });
    })
}
