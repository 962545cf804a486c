//! Share coordinators (KIP-932): what share groups have delivered of their partitions, kept in `__share_group_state`.
//!
//! What a state *is* is decided by [`ottla_group::share_state`], as values; `coordinator` loads it and keeps its
//! records.
//!
//! - [`ShareStates`]: the states that this broker keeps, and the requests about them
//! - `machine`: a shard of states as a coordinator's machine; `pruning`: deletes the records that no state needs
//! - [`key`]: where the state of a share partition has its place
//! - [`wire`]: the five requests of brokers about states, both ways; [`codes`]: refusals as codes
//! - [`persister`]: asks the share coordinators, here and on other brokers

pub(crate) mod codes;
pub(crate) mod key;
mod machine;
mod measure;
pub(crate) mod persister;
mod pruning;
pub(crate) mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_group::share_state::{Config, Request, Shard, SharePartition, StateError, StateReply};
use uuid::Uuid;

use self::machine::effects;
use crate::coordinator::machine::{Effects, Ticket};
use crate::coordinator::{Coordinator, Coordinators};
use crate::env::Workers;
use crate::image::{ClusterImage, ImageReceiver};
use crate::metrics::Metrics;
use crate::replica::Replicas;
use crate::topics::KnownTopics;
use crate::topics::deletions::{self, Deletions};

/// The states that this broker keeps.
pub struct ShareStates {
    coordinators: Coordinators<Shard>,
}

impl ShareStates {
    /// No state yet; see [`ShareStates::run`].
    pub fn new(
        replicas: Arc<Replicas>,
        workers: Workers,
        images: ImageReceiver,
        metrics: &Metrics,
    ) -> Arc<ShareStates> {
        let prune = pruning::post(replicas.clone());
        let states = Arc::new(ShareStates { coordinators: Coordinators::new(replicas, workers, images, prune) });
        let measured = Arc::downgrade(&states);
        metrics.before_scrape(move |metrics| {
            if let Some(states) = measured.upgrade() {
                states.measure(&metrics.coordinators);
            }
        });
        states
    }

    /// Follows image and roles, and ticks, until the broker stops. Must be called on the control runtime.
    pub async fn run(self: Arc<Self>) {
        let (mut deletions, mut known) = (Deletions::default(), KnownTopics::default());
        let mut config = Config::default();
        let look = |image: &ClusterImage, begun: &[Arc<Coordinator<Shard>>]| {
            let all = self.coordinators.all();
            let is_new = known.learn(image) | (config != machine::config(image));
            config = machine::config(image);
            for coordinator in if is_new { &all[..] } else { begun } {
                let (topics, config) = (known.topics().clone(), config.clone());
                coordinator.turn_when_loaded(move |states, _| {
                    states.set_topics(topics);
                    states.set_config(config);
                    Effects::default()
                });
            }
            let gone = deletions.learn(image).into_iter().map(|topic| topic.id).collect();
            all.iter().for_each(|coordinator| forget(coordinator, &gone));
            if !begun.is_empty() {
                let standing = deletions::standing(image).into_iter().map(|topic| topic.id).collect();
                begun.iter().for_each(|coordinator| forget(coordinator, &standing));
            }
        };
        self.coordinators.run(look).await;
    }

    /// Asks about one share partition. What must happen has happened when this returns; the future waits for the
    /// answer, which is of the request's kind.
    pub fn ask(&self, of: &SharePartition, request: Request) -> impl Future<Output = StateReply> + Send + use<> {
        let key = key::of(of);
        let asked = self.coordinators.of(&key).map_err(StateError::from).and_then(|coordinator| {
            let act = |states: &mut Shard, ticket: Ticket, now| {
                effects(states.request(of, request.clone(), machine::ticket(ticket), machine::now(now)), now)
            };
            Ok(coordinator.ask(&key, act)?)
        });
        async move {
            match asked {
                Ok(answer) => answer.await.unwrap_or_else(|_| request.refused(StateError::NotCoordinator)),
                Err(error) => request.refused(error),
            }
        }
    }
}

/// Topics were deleted: so are the states of their partitions.
fn forget(coordinator: &Arc<Coordinator<Shard>>, topics: &BTreeSet<Uuid>) {
    if !topics.is_empty() {
        let topics = topics.clone();
        coordinator.turn_when_loaded(move |states, now| effects(states.delete_topics(&topics), now));
    }
}
