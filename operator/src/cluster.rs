//! One cluster on Kubernetes: its spec becomes objects, its pods and nodes become places where clients reach brokers.
//!
//! - [`watches`]: what the API server shows
//! - [`read`]: everything that a reconcile rests on
//! - [`validate`]: a spec that can be built, or what its user has to change
//! - [`build`]: the objects
//! - [`apply`]: what differs is written, what is no longer built is removed
//! - [`claims`]: volumes that grow
//! - [`replace`]: pods of an earlier spec in which nothing runs
//! - [`end`]: the cluster's end
//! - [`places`], [`waiting`]: what is to be said of the brokers
//!
//! The status is coordination's to write: it gets what it needs on a channel, as a [`Platform`].

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::events::Recorder;
use kube::{Api, Client, ResourceExt};
use ottla_crds::KafkaCluster;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::acting::Acting;
use crate::backoff::Backoff;
use crate::metrics::{Metrics, Outcome};
use crate::owner::Installation;
use crate::plan::platform::{Obstacle, Platform};

pub mod apply;
pub mod build;
pub mod claims;
pub mod end;
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
    /// What brokers run where the spec does not say.
    pub broker_image: String,
    /// How many clusters are reconciled at once.
    pub turns: Semaphore,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who tells people.
    pub recorder: Recorder,
}

/// Keeps a cluster as its spec says, and tells what Kubernetes shows of it. `changed` says that something was shown. Whoever may not
/// write only tells.
pub async fn run(
    shared: Arc<Shared>,
    shown: Shown,
    key: ClusterKey,
    mut changed: watch::Receiver<u64>,
    platform: watch::Sender<Option<Arc<Platform>>>,
    mut acting: Acting,
) {
    let mut applied = Applied::default();
    let mut backoff = Backoff::default();
    let mut acts = false;
    loop {
        changed.mark_unchanged();
        let generation = generation(&shown, &key);
        let begun = Instant::now();
        // What the other replica acted on last may not have been shown here yet.
        acts = acting.may_write() && (acts || is_shown(&shared.client, &shown, &key).await);
        let reconciled = async {
            // The semaphore is never closed.
            let _turn = shared.turns.acquire().await;
            reconcile(&shared, &read::read(&shown, &key), acts, &mut applied, &platform).await
        };
        let outcome = tokio::select! {
            outcome = reconciled => outcome,
            () = acting.ends(), if acts => continue,
        };
        if acts {
            shared.metrics.reconciled(outcome, begun.elapsed());
        }
        let again_at = match outcome {
            Outcome::Succeeded | Outcome::Invalid => {
                backoff.succeeded();
                None
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
                    if again_at.is_none() || self::generation(&shown, &key) != generation {
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

/// One reconcile: read → validate → build → apply → remove orphans → tell. Whoever does not act reads, validates and tells.
async fn reconcile(
    shared: &Shared,
    read: &Read,
    acts: bool,
    applied: &mut Applied,
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
                shared.metrics.failed(error.kind());
                tracing::warn!(cluster = object.name_any(), %error, "failed to end a cluster");
                Outcome::Failed
            }
        };
    }
    let (outcome, told) = match ValidatedCluster::new(object, &shared.broker_image) {
        Err(invalid) => {
            let obstacle = Some(Obstacle::new("InvalidSpec", invalid.to_string()));
            (Outcome::Invalid, Platform { of: object.uid(), obstacle, ..known(platform) })
        }
        Ok(cluster) => {
            let places = places::places(&cluster, read);
            let mut seen = Platform {
                of: object.uid(),
                listeners: places::listeners(&cluster, &places),
                places,
                cluster_id: claims::cluster_id(read),
                obstacle: known(platform).obstacle,
                waiting: waiting::waiting(&cluster, read),
                outdated: waiting::outdated(&cluster, read),
            };
            // Before anything is written: elections must not wait for that, least of all when an operator has just taken over.
            tell(platform, seen.clone());
            let makes = acts && !object.spec.paused;
            let made = if makes { make(shared, &cluster, read, applied).await } else { Ok(()) };
            seen.obstacle = made.as_ref().err().map(|error| Obstacle::new("ApplyFailed", error.to_string()));
            match made {
                Ok(()) => (Outcome::Succeeded, seen),
                Err(error) => {
                    shared.metrics.failed(error.kind());
                    tracing::warn!(cluster = object.name_any(), %error, "failed to make a cluster what its spec says");
                    (Outcome::Failed, seen)
                }
            }
        }
    };
    tell(platform, told);
    outcome
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

async fn make(
    shared: &Shared,
    cluster: &ValidatedCluster,
    read: &Read,
    applied: &mut Applied,
) -> Result<(), apply::Failed> {
    if let Some(object) = &read.cluster {
        end::own(shared, object).await?;
    }
    let built = build::build(cluster, read.claim_size());
    applied.apply(&shared.client, &cluster.namespace, &built, &read.live).await?;
    applied.remove_orphans(&shared.client, &cluster.namespace, &built, &read.live).await?;
    claims::apply(&shared.client, cluster, read).await?;
    replace::apply(&shared.client, cluster, read).await
}
