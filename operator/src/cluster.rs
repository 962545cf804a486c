//! One cluster on Kubernetes: its spec becomes objects, its pods and nodes become places where clients reach brokers.
//!
//! - [`watches`]: what the API server shows
//! - [`nodes`]: the nodes, for all clusters
//! - [`read`]: everything that a reconcile rests on
//! - [`validate`]: a spec that can be built, or what its user has to change
//! - [`build`]: the objects
//! - [`apply`]: what differs is written, what is no longer built is removed
//! - [`claims`]: volumes that grow
//! - [`leaving`]: brokers that are not asked for any more
//! - [`replace`]: pods of an earlier spec in which nothing runs
//! - [`end`]: the cluster's end
//! - [`places`], [`waiting`]: what is to be said of the brokers
//!
//! The status is coordination's to write: it gets what it needs on a channel, as a [`Platform`].

use std::sync::Arc;
use std::time::Duration;

use kube::{Api, Client, ResourceExt};
use ottla_crds::KafkaCluster;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::acting::Acting;
use crate::backoff::Backoff;
use crate::events::Recorder;
use crate::metrics::{Metrics, Outcome};
use crate::owner::Installation;
use crate::plan::platform::{Obstacle, Platform};

pub mod apply;
pub mod build;
pub mod claims;
pub mod end;
pub mod leaving;
pub mod nodes;
pub mod places;
pub mod read;
pub mod replace;
pub mod validate;
pub mod waiting;
pub mod watches;

use apply::Applied;
use read::Read;
use validate::ValidatedCluster;
use watches::{ClusterKey, Shown};

/// Changes often come together: a pod that starts shows itself a dozen times.
const GATHER: Duration = Duration::from_millis(100);

/// What all clusters share.
pub struct Shared {
    /// The API server.
    pub client: Client,
    /// Whose clusters these are.
    pub installation: Installation,
    /// What the brokers of a new cluster run where its spec does not say.
    pub broker_image: String,
    /// The user, and group, that brokers run as; none: the platform chooses.
    pub broker_user: Option<i64>,
    /// How many clusters are reconciled at once.
    pub turns: Semaphore,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who tells people.
    pub recorder: Recorder,
}

/// Keeps a cluster as its spec says, and tells what Kubernetes shows of it. `changed` says that something was shown.
/// Whoever may not write only tells.
pub async fn run(
    shared: Arc<Shared>,
    shown: Shown,
    key: ClusterKey,
    mut changed: watch::Receiver<u64>,
    platform: watch::Sender<Option<Arc<Platform>>>,
    mut acting: Acting,
) {
    let mut memory = Memory::default();
    let mut backoff = Backoff::default();
    let mut acts = false;
    loop {
        changed.mark_unchanged();
        let generation = generation(&shown, &key);
        let status = read::cluster(&shown, &key).and_then(|cluster| cluster.status.clone()).unwrap_or_default();
        shared.metrics.conditions(&key, status.conditions);
        let begun = Instant::now();
        // What the other replica acted on last may not have been shown here yet.
        acts = acting.may_write() && (acts || is_shown(&shared.client, &shown, &key).await);
        let reconciled = async {
            // The semaphore is never closed.
            let _turn = shared.turns.acquire().await;
            reconcile(&shared, &key, &read::read(&shown, &key), acts, &mut memory, &platform).await
        };
        let outcome = tokio::select! {
            outcome = reconciled => outcome,
            () = acting.ends(), if acts => continue,
        };
        if acts {
            shared.metrics.reconciled(&key, outcome, begun.elapsed());
        }
        let has_failed = outcome == Outcome::Failed;
        let again_at = match outcome {
            Outcome::Succeeded | Outcome::Invalid => {
                backoff.succeeded();
                memory.again_after.take().map(|after| Instant::now() + after)
            }
            Outcome::Failed => Some(Instant::now() + backoff.failed(jitter())),
        };
        // A failed cluster waits its time, whatever its pods do, unless its spec changes.
        loop {
            tokio::select! {
                () = until(again_at) => break,
                () = acting.begins(), if !acts => break,
                seen = changed.changed() => {
                    if seen.is_err() {
                        return;
                    }
                    if !has_failed || self::generation(&shown, &key) != generation {
                        break;
                    }
                }
            }
        }
        sleep(GATHER).await;
    }
}

/// From 0 to 1: enough for clusters not to try again at the same moment.
fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Whether what is shown of the cluster is its newest spec.
async fn is_shown(client: &Client, shown: &Shown, key: &ClusterKey) -> bool {
    let clusters: Api<KafkaCluster> = Api::namespaced(client.clone(), &key.namespace);
    match clusters.get_opt(&key.name).await {
        Ok(newest) => {
            let of = |object: &KafkaCluster| (object.uid(), object.metadata.generation);
            newest.as_ref().map(of) == read::cluster(shown, key).as_deref().map(of)
        }
        Err(error) => {
            tracing::warn!(cluster = %key, %error, "failed to read a cluster");
            false
        }
    }
}

fn generation(shown: &Shown, key: &ClusterKey) -> Option<i64> {
    read::cluster(shown, key)?.metadata.generation
}

/// One reconcile: read → validate → build → apply → remove orphans → tell. Whoever does not act reads, validates and
/// tells.
async fn reconcile(
    shared: &Shared,
    key: &ClusterKey,
    read: &Read,
    acts: bool,
    memory: &mut Memory,
    platform: &watch::Sender<Option<Arc<Platform>>>,
) -> Outcome {
    let Some(object) = &read.cluster else { return Outcome::Succeeded };
    if object.metadata.deletion_timestamp.is_some() {
        if !acts {
            return Outcome::Succeeded;
        }
        return match end::end(shared, object, read).await {
            Ok(None) => Outcome::Succeeded,
            Ok(obstacle) => {
                tell(platform, Platform { of: object.uid(), obstacle, ..known(platform) });
                Outcome::Succeeded
            }
            Err(error) => {
                shared.metrics.failed(key, error.kind());
                tracing::warn!(cluster = object.name_any(), %error, "failed to end a cluster");
                Outcome::Failed
            }
        };
    }
    let image = read.image().unwrap_or(&shared.broker_image);
    let (outcome, told) = match ValidatedCluster::new(object, image) {
        Err(invalid) => {
            let obstacle = Some(Obstacle::new("InvalidSpec", invalid.to_string()));
            let generation = object.metadata.generation;
            (Outcome::Invalid, Platform { of: object.uid(), generation, obstacle, ..known(platform) })
        }
        Ok(mut cluster) => {
            cluster.user = shared.broker_user;
            let wanted = cluster.replicas;
            cluster.replicas = leaving::present(&cluster, read);
            let seen = see(&cluster, read, known(platform));
            // Before anything is written: elections must not wait for that, least of all when an operator has just
            // taken over.
            tell(platform, seen.clone());
            cluster.replicas = wanted;
            match make(shared, cluster, read, acts, memory).await {
                Ok(made) => (Outcome::Succeeded, made.told(object, &shared.broker_image, seen)),
                Err(error) => {
                    shared.metrics.failed(key, error.kind());
                    tracing::warn!(cluster = object.name_any(), %error, "failed to make a cluster what its spec says");
                    let obstacle = Some(Obstacle::new(error.reason(), error.to_string()));
                    (Outcome::Failed, Platform { generation: object.metadata.generation, obstacle, ..seen })
                }
            }
        }
    };
    tell(platform, told);
    outcome
}

/// What is shown of the cluster; the rest is what was known of it.
fn see(cluster: &ValidatedCluster, read: &Read, known: Platform) -> Platform {
    let of = read.cluster.as_ref().and_then(|object| object.uid());
    let known = if known.of == of { known } else { Platform::default() };
    let places = places::places(cluster, read);
    Platform {
        of,
        listeners: places::listeners(cluster, &places),
        places,
        cluster_id: claims::cluster_id(read),
        volume_size: claims::smallest(cluster, read),
        waiting: waiting::waiting(cluster, read),
        outdated: waiting::outdated(cluster, read),
        ..known
    }
}

fn tell(platform: &watch::Sender<Option<Arc<Platform>>>, told: Platform) {
    platform.send_if_modified(|known| {
        let news = known.as_deref() != Some(&told);
        *known = Some(Arc::new(told));
        news
    });
}

/// What was told last: brokers of a cluster whose spec can't be read any more are where they were.
fn known(platform: &watch::Sender<Option<Arc<Platform>>>) -> Platform {
    platform.borrow().as_deref().cloned().unwrap_or_default()
}

/// What one reconcile leaves to the next.
#[derive(Default)]
struct Memory {
    applied: Applied,
    refused: claims::Refused,
    /// When to look again although nothing is shown; none: not before.
    again_after: Option<Duration>,
}

/// What became of a spec.
struct Made {
    /// The image of the brokers' pods, if they were made.
    image: Option<String>,
    /// Whether Kubernetes shows every object as it is to be, and the StatefulSet's controller has taken note.
    is_shown: bool,
    /// What could not be done and keeps nothing else from being done.
    obstacle: Option<Obstacle>,
    /// What brokers that leave wait for.
    leaving: Option<Obstacle>,
}

impl Made {
    /// What to tell of it.
    fn told(self, object: &KafkaCluster, own_image: &str, seen: Platform) -> Platform {
        let Made { image, is_shown, obstacle, leaving } = self;
        let examined = is_shown || obstacle.is_some();
        let image = image.or(seen.image);
        let names_none = object.spec.brokers.image.is_none();
        Platform {
            generation: if examined { object.metadata.generation } else { seen.generation },
            held: image.as_ref().filter(|image| names_none && *image != own_image).map(|_| own_image.to_owned()),
            image,
            obstacle,
            leaving,
            ..seen
        }
    }
}

/// Makes the cluster what its spec says, if this process acts and the cluster is not paused; else sees whether it is.
async fn make(
    shared: &Shared,
    mut cluster: ValidatedCluster,
    read: &Read,
    acts: bool,
    memory: &mut Memory,
) -> Result<Made, apply::Failed> {
    let mut leaving = None;
    let present = leaving::present(&cluster, read);
    if present > cluster.replicas && acts {
        (cluster.replicas, leaving) = leaving::staying(&shared.client, &cluster, present).await?;
        memory.again_after = Some(leaving::LOOK);
    }
    let cluster = &cluster;
    let built = build::build(cluster, read.claim_size());
    let mut made = Made { image: None, is_shown: false, obstacle: None, leaving };
    if let (Some(object), true) = (&read.cluster, acts && !is_paused(read)) {
        end::own(shared, object).await?;
        let names = (cluster.namespace.as_str(), cluster.name.as_str());
        memory.applied.apply(&shared.client, names, &built, &read.live).await?;
        memory.applied.remove_orphans(&shared.client, &cluster.namespace, &built, &read.live).await?;
        replace::apply(&shared.client, cluster, read).await?;
        made.image = Some(cluster.image.clone());
        made.obstacle = claims::apply(&shared.client, cluster, read, &mut memory.refused).await?;
        if made.obstacle.is_some() {
            memory.again_after = memory.again_after.or(Some(claims::REFUSED_FOR));
        }
    }
    made.is_shown = memory.applied.differing(&built, &read.live).is_empty() && read.is_observed();
    Ok(made)
}

fn is_paused(read: &Read) -> bool {
    read.cluster.as_ref().is_some_and(|cluster| cluster.spec.paused)
}
