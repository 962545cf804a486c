//! The topics that regular expressions stand for (KIP-848): looked up on a worker, because a cluster may have many
//! topics and a group many expressions.

use std::sync::Arc;

use ottla_group::{Lookup, Shard};

use super::machine::effects;
use crate::coordinator::{Coordinator, Post};
use crate::env::Workers;

/// Carries lookups out; their results come back to the groups that asked.
pub fn post(workers: Workers) -> Post<Shard> {
    Arc::new(move |coordinator: &Arc<Coordinator<Shard>>, lookup: Lookup| {
        let (workers, answered) = (workers.clone(), coordinator.clone());
        coordinator.spawn(async move {
            let (lookup, found) = workers
                .run(move || {
                    let found = lookup.find(&lookup.topics, |_| true);
                    (lookup, found)
                })
                .await;
            answered.turn(|groups, now| effects(groups.looked_up(&lookup, Some(found), now.into()), now));
        });
    })
}
