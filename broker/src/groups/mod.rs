//! The groups that this broker coordinates: requests to them, and what changes them without a request.
//!
//! What groups *do* is decided by `ottla-group`, as values; `coordinator` loads them and keeps their records.
//!
//! - [`Groups`]: expires offsets, and removes those of deleted topics
//! - `machine`: a shard of groups as a coordinator's machine
//! - `requests`: one function per request
//! - `inputs`: the topics and settings that groups must know
//! - `errands`: what groups want done outside of their lock; `lookups`: the topics that regular expressions stand for;
//!   `state_calls`: what share groups ask of share coordinators
//! - `measure`: metrics

mod errands;
mod inputs;
mod lookups;
mod machine;
mod measure;
mod requests;
mod state_calls;

use std::sync::Arc;
use std::time::Duration;

use ottla_group::{DeletedTopic, Shard};

use self::inputs::Inputs;
use self::machine::effects;
pub(crate) use self::requests::BeginError;
use crate::coordinator::machine::Effects;
use crate::coordinator::{Coordinator, Coordinators};
use crate::env::{self, Workers};
use crate::image::{CONSUMER_OFFSETS, ClusterImage, ImageReceiver, Topic};
use crate::metrics::Metrics;
use crate::replica::Replicas;
use crate::share_state::persister::Persister;
use crate::topics::deletions::{self, Deletions};

/// How often offsets are looked through for those past their retention. Kafka's default for
/// `offsets.retention.check.interval.ms`.
const RETENTION_CHECK: Duration = Duration::from_secs(600);

/// The groups that this broker coordinates.
pub struct Groups {
    coordinators: Coordinators<Shard>,
    replicas: Arc<Replicas>,
    images: ImageReceiver,
}

impl Groups {
    /// No group yet; see [`Groups::run`].
    pub fn new(
        replicas: Arc<Replicas>,
        workers: Workers,
        images: ImageReceiver,
        persister: Arc<Persister>,
        metrics: &Metrics,
    ) -> Arc<Groups> {
        let post = errands::post(workers.clone(), images.clone(), persister);
        let coordinators = Coordinators::new(replicas.clone(), workers, images.clone(), post);
        let groups = Arc::new(Groups { coordinators, replicas, images });
        let measured = Arc::downgrade(&groups);
        metrics.before_scrape(move |metrics| {
            if let Some(groups) = measured.upgrade() {
                groups.measure(&metrics.coordinators);
            }
        });
        groups
    }

    /// Follows image and roles, and ticks, until the broker stops. Must be called on the control runtime.
    pub async fn run(self: Arc<Self>) {
        let (mut deletions, mut inputs) = (Deletions::default(), Inputs::new());
        let look = |image: &ClusterImage, begun: &[Arc<Coordinator<Shard>>]| {
            let all = self.coordinators.all();
            let to_inform = if inputs.learn(image) { &all[..] } else { begun };
            to_inform.iter().for_each(|coordinator| inform(coordinator, inputs.give()));
            let (gone, max_batch) = (deletions.learn(image), max_batch(image));
            all.iter().for_each(|coordinator| forget(coordinator, &gone, max_batch));
            if !begun.is_empty() {
                let standing = deletions::standing(image);
                begun.iter().for_each(|coordinator| forget(coordinator, &standing, max_batch));
            }
        };
        tokio::join!(self.coordinators.run(look), self.expire());
    }

    async fn expire(&self) {
        loop {
            env::sleep_until(env::now() + RETENTION_CHECK).await;
            let max_batch = max_batch(&self.images.borrow());
            for coordinator in self.coordinators.all() {
                coordinator.turn(|groups, now| {
                    groups.set_max_batch(max_batch);
                    effects(groups.expire(now.into()), now)
                });
            }
        }
    }
}

/// Bytes that one batch of the groups' topic may have by its present settings.
fn max_batch(image: &ClusterImage) -> usize {
    let accepted = |topic: &Arc<Topic>| topic.settings.max_message_bytes.min(topic.settings.segment_bytes) as usize;
    image.topic(CONSUMER_OFFSETS).map_or(usize::MAX, accepted)
}

/// The cluster's topics or settings have changed.
fn inform(coordinator: &Arc<Coordinator<Shard>>, give: impl FnOnce(&mut Shard) + Send + 'static) {
    coordinator.turn_when_loaded(move |groups, _| {
        give(groups);
        Effects::default()
    });
}

/// Topics were deleted: so are all offsets in them.
fn forget(coordinator: &Arc<Coordinator<Shard>>, topics: &[DeletedTopic], max_batch: usize) {
    if !topics.is_empty() {
        let topics = topics.to_vec();
        coordinator.turn_when_loaded(move |groups, now| {
            groups.set_max_batch(max_batch);
            let mut effects = effects(groups.topics_deleted(&topics, now.into()), now);
            let ids = topics.iter().map(|topic| topic.id).collect();
            effects.extend(machine::effects(groups.shared_topics_deleted(&ids, now.into()), now));
            effects
        });
    }
}
