//! What groups want done outside of their lock. The result comes back to them as a turn.

use std::sync::Arc;

use ottla_group::Shard;

use super::machine::Errand;
use super::{lookups, state_calls};
use crate::coordinator::{Coordinator, Post};
use crate::env::Workers;
use crate::image::ImageReceiver;
use crate::share_state::persister::Persister;

/// Carries errands out.
pub(super) fn post(workers: Workers, images: ImageReceiver, persister: Arc<Persister>) -> Post<Shard> {
    Arc::new(move |coordinator: &Arc<Coordinator<Shard>>, errand: Errand| {
        let groups = coordinator.clone();
        match errand {
            Errand::Lookup(lookup) => {
                let access = images.borrow().access.clone();
                coordinator.spawn(lookups::look_up(workers.clone(), groups, access, lookup));
            }
            Errand::StateCall(call) => coordinator.spawn(state_calls::carry_out(persister.clone(), groups, call)),
        }
    })
}
