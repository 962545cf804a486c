//! The shell around the plan: read everything, plan, apply; again when something was shown.
//!
//! - [`watches`]: what the API server shows
//! - [`brokers`]: who is there
//! - [`liveness`]: who is alive: the evidence and the judgement
//! - [`pace`]: which planned steps to take now
//! - [`apply`]: the writes
//!
//! It does not ask why it woke, and may be dropped at any await: what is missing is planned again by whoever comes next.
//! Where nothing is to change nothing is written and nothing is polled.

use futures::{StreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use ottla_crds::lease::{self, Sightings};
use ottla_crds::names;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::plan::{self, Step, World};

pub mod apply;
pub mod brokers;
pub mod liveness;
pub mod pace;
pub mod watches;

use apply::Writer;
use brokers::Observation;
use liveness::pings::Pings;
use liveness::pods::Pods;
use pace::Pace;
use watches::Watches;

/// Writes in flight at once: enough to hide a round trip, few enough to be kind to the API server.
const WRITES_AT_ONCE: usize = 16;
/// Steps between two looks at the world: however much there is to do, an election waits for a few round trips at most.
const STEPS_PER_PLAN: usize = 128;
const RETRY: Duration = Duration::from_millis(500);

/// Coordinates one cluster until `shutdown`.
pub async fn run(client: Client, namespace: &str, cluster: &str, shutdown: impl Future<Output = ()>) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let selector = format!("{}={cluster}", names::CLUSTER_LABEL);
    let (seen, sightings) = watch::channel(Sightings::new());
    tokio::select! {
        () = lease::observe(leases.clone(), &selector, seen) => {}
        () = coordinate(client, namespace, cluster, leases, &selector, sightings) => {}
        () = shutdown => {}
    }
}

async fn coordinate(
    client: Client,
    namespace: &str,
    cluster: &str,
    leases: Api<Lease>,
    selector: &str,
    mut sightings: watch::Receiver<Sightings>,
) {
    let mut watches = Watches::start(&client, namespace, cluster);
    let writer = Writer::new(&client, namespace);
    let fresh_cluster_id = Uuid::new_v4();
    let mut pace = Pace::default();
    let mut pods = Pods::start(&client, namespace, cluster, selector).await;
    let mut pings = Pings::default();
    let mut heard = pings.heard();
    see_every_lease(&leases, selector, &mut sightings).await;
    let mut again_at = None;
    loop {
        tokio::select! {
            () = watches.changed() => {}
            changed = sightings.changed() => if changed.is_err() { return },
            () = pods.changed() => {}
            // The sender lives as long as this: an error can't come.
            _ = heard.changed() => {}
            () = until(again_at) => {}
        }
        if !watches.are_complete() {
            continue;
        }
        let object = watches.cluster.state().into_iter().next();
        let (leases, heard, pods) =
            (sightings.borrow_and_update().clone(), heard.borrow_and_update().clone(), pods.seen());
        let observed = Observation { cluster, leases: &leases, heard: &heard, pods: pods.as_ref() };
        pings.follow(observed.targets(object.as_deref()));
        let world = World {
            cluster: object,
            topics: watches.topics.state(),
            assignments: watches.assignments.state(),
            brokers: observed.brokers(),
            now: Time(Timestamp::now()),
            fresh_cluster_id,
        };
        let steps = plan::plan(&world);
        again_at = take(&writer, &mut pace, steps).await;
    }
}

/// Takes the steps that may be taken now; says when to plan again if nothing new is shown until then.
async fn take(writer: &Writer, pace: &mut Pace, steps: Vec<Step>) -> Option<Instant> {
    let now = Instant::now();
    let (mut due, held_back) = pace.divide(steps, now);
    let more = due.len() > STEPS_PER_PLAN;
    due.truncate(STEPS_PER_PLAN);
    let mut planned = held_back;
    let writes = due.into_iter().map(|step| async move {
        let outcome = writer.apply(&step).await;
        (step, outcome)
    });
    let mut outcomes = stream::iter(writes).buffer_unordered(WRITES_AT_ONCE);
    while let Some((step, outcome)) = outcomes.next().await {
        match &outcome {
            Ok(()) => {}
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                tracing::debug!(%status.message, "another writer was faster");
            }
            Err(error) => tracing::warn!(%error, step = step.name(), "failed to write an object"),
        }
        pace.tried(&step, outcome.is_ok(), Instant::now());
        planned.push(step);
    }
    let next_try = pace.next_try(&planned);
    if more { Some(now) } else { next_try }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Waits until every Lease that exists has been sighted: a broker that was not looked for is not dead.
async fn see_every_lease(leases: &Api<Lease>, selector: &str, sightings: &mut watch::Receiver<Sightings>) {
    let existing = loop {
        match leases.list(&ListParams::default().labels(selector)).await {
            Ok(list) => break list.items,
            Err(error) => tracing::warn!(%error, "failed to list the brokers' leases"),
        }
        sleep(RETRY).await;
    };
    let names: Vec<String> = existing.iter().map(Lease::name_any).collect();
    let all = |seen: &Sightings| names.iter().all(|name| seen.contains_key(name));
    // The sender lives as long as this: an error can't come.
    let _ = sightings.wait_for(all).await;
}
