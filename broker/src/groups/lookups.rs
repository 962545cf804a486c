//! The topics that regular expressions stand for (KIP-848): looked up on a worker, because a cluster may have many
//! topics and a group many expressions.

use std::sync::Arc;

use ottla_access::{Access, Operation, Principal, Question, ResourceType};
use ottla_group::{Asker, Lookup, Shard};

use super::machine::effects;
use crate::coordinator::Coordinator;
use crate::env::Workers;

/// Looks topics up; they come back to the groups that asked. As in Kafka, those count that the client may describe
/// whose request led to this.
pub(super) async fn look_up(
    workers: Workers,
    coordinator: Arc<Coordinator<Shard>>,
    access: Arc<Access>,
    lookup: Lookup,
) {
    let (lookup, found) = workers
        .run(move || {
            let found = lookup.find(&lookup.topics, |topic| may_describe(&access, &lookup.asker, topic));
            (lookup, found)
        })
        .await;
    coordinator.turn(|groups, now| effects(groups.looked_up(&lookup, Some(found), now.into()), now));
}

fn may_describe(access: &Access, asker: &Asker, topic: &str) -> bool {
    let Some(rules) = &access.authorizer else { return true };
    // The machine keeps the address as Kafka prints it.
    let Ok(host) = asker.host.trim_start_matches('/').parse() else { return false };
    let principal = &Principal::new(&*asker.principal);
    let (operation, kind) = (Operation::Describe, ResourceType::Topic);
    rules.allows(Question { principal, host, operation, kind, name: topic })
}
