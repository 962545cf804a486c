//! One cluster on Kubernetes: its spec becomes objects, and its pods and nodes give the brokers' addresses.
//!
//! - [`watches`]: what the API server shows
//! - [`nodes`]: the nodes, for all clusters
//! - [`read`]: everything that a reconcile depends on
//! - [`validate`]: a spec that can be built, or what its user must change
//! - [`build`]: the objects
//! - [`revision`]: what pods need a restart for; [`revisions`]: those that are in use
//! - [`apply`]: writes what differs, removes what is no longer built
//! - [`limits`]: who may connect, if the API server refuses that
//! - [`certificates`]: certificates that cert-manager issues
//! - [`pools`]: the StatefulSets, and which of them each broker belongs to
//! - [`remembered`]: pools that exist, whatever the spec says
//! - [`claims`]: volumes that grow
//! - [`leaving`]: brokers that the spec no longer asks for
//! - [`retired`]: claims of brokers that have left
//! - [`lost`]: volumes of nodes that do not exist any more
//! - [`replace`]: pods of an earlier spec in which nothing runs
//! - [`end`]: the cluster's deletion
//! - [`places`], [`waiting`]: the brokers' addresses, and why their pods are not ready
//!
//! `coordination` writes the status: it gets what it needs on a channel, as a [`Platform`].

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::events::{Event, EventType};
use kube::{Api, Client, Resource, ResourceExt};
use ottla_client::Backoff;
use ottla_crds::KafkaCluster;
use ottla_kube::change::why;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::Instrument;

use crate::acting::Acting;
use crate::events::Recorder;
use crate::metrics::Metrics;
use crate::metrics::reconciles::ReconcileResult;
use crate::owner::Installation;
use crate::plan::condition::named;
use crate::plan::platform::{Obstacle, Platform, Revisions};

pub mod apply;
pub mod build;
pub mod certificates;
pub mod claims;
pub mod end;
pub mod leaving;
pub mod limits;
pub mod lost;
pub mod nodes;
pub mod places;
pub mod pools;
pub mod read;
pub mod remembered;
pub mod replace;
pub mod retired;
pub mod revision;
pub mod revisions;
pub mod validate;
pub mod waiting;
pub mod watches;

use apply::Applied;
use build::Kind;
use read::Read;
use validate::ValidatedCluster;
use watches::{ClusterKey, WatchedStores};

/// Changes often come together: a pod that starts shows itself a dozen times.
const GATHER: Duration = Duration::from_millis(100);

/// After a first failure.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// After many.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What all clusters share.
pub struct OperatorContext {
    /// The API server.
    pub client: Client,
    /// The installation that operates the clusters.
    pub installation: Installation,
    /// The image of the brokers of a new cluster whose spec names none.
    pub broker_image: String,
    /// The user id and group id of the brokers' processes; `None`: the platform chooses.
    pub broker_user: Option<i64>,
    /// One permit for each cluster that may be reconciled at once.
    pub turns: Semaphore,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Publishes Events.
    pub recorder: Recorder,
    /// Counts the changes of the kinds' definitions.
    pub definitions: watch::Receiver<u64>,
}

impl OperatorContext {
    /// Publishes an Event about a cluster. One that can't be written is dropped.
    async fn tell(&self, object: &KafkaCluster, reason: &str, note: &str) {
        let event = Event {
            type_: EventType::Normal,
            reason: reason.to_owned(),
            note: Some(note.to_owned()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &object.object_ref(&())).await {
            tracing::debug!(%error, reason, "failed to publish an event");
        }
    }
}

/// Keeps a cluster as its spec says, and reports what Kubernetes shows of it. `changed` is notified when a watch shows
/// something. An operator that may not write only reports.
pub async fn run(
    shared: Arc<OperatorContext>,
    shown: WatchedStores,
    key: ClusterKey,
    mut changed: watch::Receiver<u64>,
    platform: watch::Sender<Option<Arc<Platform>>>,
    mut acting: Acting,
) {
    let mut memory = Memory::default();
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let mut acts = false;
    loop {
        changed.mark_unchanged();
        let generation = generation(&shown, &key);
        let status = read::cluster(&shown, &key).and_then(|cluster| cluster.status.clone()).unwrap_or_default();
        shared.metrics.statuses.shows(&key, status);
        let begun = Instant::now();
        // What the other replica acted on last may not have been shown here yet.
        acts = acting.may_write() && (acts || is_shown(&shared.client, &shown, &key).await);
        let reconciled = async {
            // The semaphore is never closed.
            let _turn = shared.turns.acquire().await;
            reconcile(&shared, &key, &read::read(&shown, &key), acts, &mut memory, &platform).await
        };
        let reconciled = reconciled.instrument(tracing::error_span!("reconcile", generation));
        let outcome = tokio::select! {
            outcome = reconciled => outcome,
            () = acting.ends(), if acts => continue,
        };
        if acts {
            shared.metrics.reconciles.ended(&key, outcome, begun.elapsed());
        }
        let has_failed = outcome == ReconcileResult::Failed;
        let again_at = match outcome {
            ReconcileResult::Succeeded | ReconcileResult::Invalid => {
                backoff.succeeded();
                memory.again_after.take().map(|after| Instant::now() + after)
            }
            ReconcileResult::Failed => Some(Instant::now() + jittered(backoff.failed())),
        };
        // A failed cluster waits for its back-off, even if its pods change, unless its spec changes.
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

/// Less up to a half by chance: clusters are not to try again at the same moment.
fn jittered(wait: Duration) -> Duration {
    let chance = f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0;
    wait.mul_f64(1.0 - chance / 2.0)
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Whether what is shown of the cluster is its newest spec.
async fn is_shown(client: &Client, shown: &WatchedStores, key: &ClusterKey) -> bool {
    let clusters: Api<KafkaCluster> = Api::namespaced(client.clone(), &key.namespace);
    match clusters.get_opt(&key.name).await {
        Ok(newest) => {
            let of = |object: &KafkaCluster| (object.uid(), object.metadata.generation);
            newest.as_ref().map(of) == read::cluster(shown, key).as_deref().map(of)
        }
        Err(error) => {
            tracing::warn!(error = why(&error), "failed to read a cluster");
            false
        }
    }
}

fn generation(shown: &WatchedStores, key: &ClusterKey) -> Option<i64> {
    read::cluster(shown, key)?.metadata.generation
}

/// One reconcile: read → validate → build → apply → remove orphans → report. A standby reads, validates and reports.
async fn reconcile(
    shared: &OperatorContext,
    key: &ClusterKey,
    read: &Read,
    acts: bool,
    memory: &mut Memory,
    platform: &watch::Sender<Option<Arc<Platform>>>,
) -> ReconcileResult {
    let Some(object) = &read.cluster else { return ReconcileResult::Succeeded };
    if object.metadata.deletion_timestamp.is_some() {
        if !acts {
            return ReconcileResult::Succeeded;
        }
        return match end::end(shared, object, read).await {
            Ok(None) => ReconcileResult::Succeeded,
            Ok(obstacle) => {
                tell(platform, Platform { of: object.uid(), obstacle, ..known(platform) });
                ReconcileResult::Succeeded
            }
            Err(error) => {
                shared.metrics.reconciles.failed(key, error.kind());
                tracing::warn!(%error, "failed to delete what belongs to a deleted cluster");
                ReconcileResult::Failed
            }
        };
    }
    let image = read.image().unwrap_or(&shared.broker_image);
    let valid = ValidatedCluster::new(object, image);
    let (outcome, told) = match valid.and_then(|cluster| remembered::check(&cluster, read).map(|()| cluster)) {
        Err(invalid) => {
            let obstacle = Some(Obstacle::new("InvalidSpec", invalid.to_string()));
            let generation = object.metadata.generation;
            (ReconcileResult::Invalid, Platform { of: object.uid(), generation, obstacle, ..known(platform) })
        }
        Ok(mut cluster) => {
            cluster.user = shared.broker_user;
            let present = leaving::present(&cluster, read);
            memory.lost.note(&present, read, Instant::now());
            let pools = remembered::told(&present, read, |set| memory.applied.has_made(set));
            let mut seen = Platform { pools: Some(pools), ..see(&present, read, &memory.lost, known(platform)) };
            // Before anything is read or written: elections must not wait for that, least of all when an operator has
            // just taken over.
            tell(platform, seen.clone());
            if memory.lost.learn(&shared.client, &present, read).await {
                memory.lost.note(&present, read, Instant::now());
                seen.volumes = claims::volumes(&present, read, &memory.lost);
                tell(platform, seen.clone());
            }
            let made = make(shared, cluster, read, acts, memory).await;
            memory.again_after = memory.again_after.into_iter().chain(memory.lost.again_after()).min();
            match made {
                Ok(made) => (ReconcileResult::Succeeded, made.told(object, seen)),
                Err(error) => {
                    shared.metrics.reconciles.failed(key, error.kind());
                    tracing::warn!(%error, "failed to apply the spec of a cluster");
                    let obstacle = Some(Obstacle::new(error.reason(), error.to_string()));
                    (ReconcileResult::Failed, Platform { generation: object.metadata.generation, obstacle, ..seen })
                }
            }
        }
    };
    tell(platform, told);
    outcome
}

/// The platform by what is shown of the cluster; the rest is as known before.
fn see(cluster: &ValidatedCluster, read: &Read, lost: &lost::KnownVolumes, known: Platform) -> Platform {
    let of = read.cluster.as_ref().and_then(|object| object.uid());
    let known = if known.of == of { known } else { Platform::default() };
    let places = places::places(cluster, read);
    Platform {
        of,
        listeners: places::listeners(cluster, &places),
        places,
        cluster_id: claims::cluster_id(read),
        volume_size: claims::smallest(cluster, &cluster.pools[0], read),
        volumes: claims::volumes(cluster, read, lost),
        claimants: Some(claims::of_brokers(&cluster.name, read).map(|(id, ..)| id).collect()),
        waiting: waiting::waiting(cluster, read),
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

/// The last report: the brokers of a cluster whose spec can't be read any more keep their addresses.
fn known(platform: &watch::Sender<Option<Arc<Platform>>>) -> Platform {
    platform.borrow().as_deref().cloned().unwrap_or_default()
}

/// What one reconcile leaves to the next.
#[derive(Default)]
struct Memory {
    applied: Applied,
    refused: claims::RefusedSizes,
    certificates: certificates::KnownCertificates,
    revisions: revisions::KnownRevisions,
    looks: leaving::Looks,
    caution: retired::Caution,
    lost: lost::KnownVolumes,
    /// When to reconcile again although nothing is shown; `None`: only when something is shown.
    again_after: Option<Duration>,
}

/// The outcome of applying a spec.
struct Made {
    /// The image of the brokers' pods, if these were built.
    image: Option<String>,
    /// Whether Kubernetes shows every object as it should be, and the StatefulSet's controller has observed it.
    is_shown: bool,
    /// A problem that does not prevent the other steps.
    obstacle: Option<Obstacle>,
    /// What leaving brokers wait for.
    leaving: Option<Obstacle>,
    /// The revisions of the brokers' pods.
    revisions: Revisions,
}

impl Made {
    /// What to report about it.
    fn told(self, object: &KafkaCluster, seen: Platform) -> Platform {
        let Made { image, is_shown, obstacle, leaving, revisions } = self;
        let examined = is_shown || obstacle.is_some();
        Platform {
            generation: if examined { object.metadata.generation } else { seen.generation },
            image: image.or(seen.image),
            revisions: Some(revisions),
            obstacle,
            leaving,
            ..seen
        }
    }
}

/// Makes the cluster what its spec says, if this process acts and the cluster is not paused; else only compares.
async fn make(
    shared: &OperatorContext,
    mut cluster: ValidatedCluster,
    read: &Read,
    acts: bool,
    memory: &mut Memory,
) -> Result<Made, apply::ApplyError> {
    let choice = revisions::choose(&shared.client, &cluster, &shared.broker_image, read, &mut memory.revisions).await?;
    let mut leaving = None;
    let present = leaving::present(&cluster, read);
    if present != cluster && acts && !is_paused(read) {
        let look = leaving::look(&shared.client, &cluster, read, &present, &mut memory.looks).await?;
        (cluster, leaving) = (look.staying, look.obstacle);
        memory.again_after = Some(look.again_after);
    } else {
        memory.looks.forget();
    }
    let cluster = &cluster;
    let sets = remembered::sets(cluster, read);
    let built = build::build(cluster, &sets, (&choice.pinned, choice.other()));
    let revisions = choice.shown(cluster, read);
    let key = ClusterKey { namespace: cluster.namespace.clone(), name: cluster.name.clone() };
    let to_restart = revisions.pods.values().filter(|pod| !pod.has(&choice.pinned.hash)).count();
    shared.metrics.reconciles.to_restart(&key, to_restart);
    let mut made = Made { image: None, is_shown: false, obstacle: None, leaving, revisions };
    if let (Some(object), true) = (&read.cluster, acts && !is_paused(read)) {
        end::own(shared, object).await?;
        retired::mark(&shared.client, cluster, read).await?;
        let names = (cluster.namespace.as_str(), cluster.name.as_str());
        memory.applied.apply(&shared.client, names, &built, &read.live).await?;
        let mut unused = choice.unused(read);
        let has_gone = |set: &str| {
            let mut pools = cluster.pools.iter().filter(|pool| pool.stateful_set(&cluster.name) == set);
            pools.any(|pool| remembered::has_gone(&cluster.name, pool, read))
        };
        unused.retain(|(kind, name), _| *kind != Kind::StatefulSet || has_gone(name));
        memory.applied.remove_orphans(&shared.client, &cluster.namespace, &built, &unused).await?;
        let no_issuer = certificates::apply(&shared.client, cluster, object, &mut memory.certificates).await?;
        let no_authority =
            certificates::without_authority(&shared.client, cluster, object, &mut memory.certificates).await?;
        if cluster.listeners.iter().any(|listener| listener.issuer.is_some())
            || object.spec.listeners.iter().any(certificates::has_rules)
        {
            let is_missing = no_issuer.is_some() || no_authority.is_some();
            let again = if is_missing { certificates::MISSING_FOR } else { certificates::AGAIN };
            memory.again_after = memory.again_after.or(Some(again));
        }
        replace::apply(&shared.client, cluster, read).await?;
        made.image = choice.pinned.image().map(str::to_owned);
        made.obstacle = claims::apply(&shared.client, cluster, read, &mut memory.refused).await?;
        if made.obstacle.is_some() {
            memory.again_after = memory.again_after.or(Some(claims::REFUSED_FOR));
        }
        let refused = memory.applied.refused().map(|(name, refused)| limits::refused(cluster, name, refused));
        if refused.is_some() {
            memory.again_after = memory.again_after.or(Some(apply::REFUSED_FOR));
        }
        made.obstacle = refused.or(made.obstacle).or(no_issuer).or(no_authority);
        let left: Vec<i32> =
            present.brokers().filter(|id| read.asks_for(cluster, *id) && !cluster.has(*id)).map(|id| id.0).collect();
        if !left.is_empty() {
            let note = format!("{} left: empty, and the volumes stay", named("broker", left));
            shared.tell(object, "BrokersRemoved", &note).await;
        }
        let again = retired::delete(shared, object, cluster, read, &mut memory.caution).await?;
        memory.again_after = memory.again_after.into_iter().chain(again).min();
    }
    // While it is paused, the roll that the spec asks for does not begin.
    let is_held_back = is_paused(read) && made.revisions.by_user.is_some();
    let are_told = cluster.pools.iter().all(|pool| pool.is_told);
    let are_shown = memory.applied.differing(&built, &read.live).is_empty() && read.is_observed();
    made.is_shown = are_shown && are_told && !is_held_back;
    Ok(made)
}

fn is_paused(read: &Read) -> bool {
    read.cluster.as_ref().is_some_and(|cluster| cluster.spec.paused)
}

#[cfg(test)]
mod tests;
