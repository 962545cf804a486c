//! The topics that regular expressions stand for (KIP-848): looked up on a worker, because a cluster may have many
//! topics and a group many expressions.

use std::sync::Arc;

use ottla_group::{Lookup, Shard};

use super::machine::effects;
use crate::coordinator::Coordinator;
use crate::env::Workers;

/// Looks topics up; they come back to the groups that asked.
pub(super) async fn look_up(workers: Workers, coordinator: Arc<Coordinator<Shard>>, lookup: Lookup) {
    let (lookup, found) = workers
        .run(move || {
            let found = lookup.find(&lookup.topics, |_| true);
            (lookup, found)
        })
        .await;
    coordinator.turn(|groups, now| effects(groups.looked_up(&lookup, Some(found), now.into()), now));
}
