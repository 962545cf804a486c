//! What the operator sees of a cluster, from all sources, and the [`World`] that follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use ottla_kube::change::why;
use ottla_kube::lease::Sightings;
use ottla_rules::assignment::BrokerId;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep};
use uuid::Uuid;

use super::brokers::{self, Observation};
use super::calendar::Calendar;
use super::liveness::Missed;
use super::liveness::pings::{Heard, Pings};
use super::liveness::pods::Pods;
use super::loads;
use super::watches::ClusterStores;
use crate::authorities::identity::Identity;
use crate::clock;
use crate::plan::World;
use crate::plan::platform::Platform;

const RETRY: Duration = Duration::from_millis(500);

/// Where what is seen comes from.
pub struct Sources<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// Its objects.
    pub shown: ClusterStores,
    /// The brokers' Leases.
    pub sightings: watch::Receiver<Sightings>,
    /// What brokers said about their loads.
    pub loads: watch::Receiver<loads::LoadReports>,
    /// What Kubernetes shows of the brokers; `None` on a laptop.
    pub platform: Option<watch::Receiver<Option<Arc<Platform>>>>,
    /// With what the operator connects to brokers with TLS.
    pub identity: Identity,
    /// Whether there are such brokers.
    pub needs_identity: watch::Sender<bool>,
}

/// What is seen of a cluster.
pub struct View<'a> {
    sources: Sources<'a>,
    pods: Pods,
    pings: Pings,
    heard: watch::Receiver<BTreeMap<BrokerId, Heard>>,
    missed: Missed,
    calendar: Calendar,
    loads_are_new: bool,
}

impl<'a> View<'a> {
    /// Begins to look, once every existing Lease has been observed. `selector`: the labels of the cluster's Leases and
    /// pods.
    pub async fn start(
        mut sources: Sources<'a>,
        client: &Client,
        (leases, namespace, selector): (&Api<Lease>, &str, &str),
    ) -> View<'a> {
        let pods = Pods::start(client, namespace, sources.cluster, selector).await;
        let pings = Pings::new(sources.identity.clone());
        see_every_lease(leases, selector, &mut sources.sightings).await;
        View {
            heard: pings.heard(),
            pods,
            pings,
            sources,
            missed: Missed::default(),
            calendar: Calendar::default(),
            loads_are_new: false,
        }
    }

    /// Waits until something new is seen. False: nothing ever will be again. Cancellation safe.
    pub async fn changed(&mut self) -> bool {
        let Sources { shown, sightings, loads, platform, .. } = &mut self.sources;
        tokio::select! {
            changed = shown.complete.changed() => changed.is_ok(),
            changed = shown.rebalances_complete.changed() => changed.is_ok(),
            changed = loads.changed() => {
                self.loads_are_new = true;
                changed.is_ok()
            }
            changed = sightings.changed() => changed.is_ok(),
            () = self.pods.changed() => true,
            () = shown_anew(platform) => true,
            // The sender lives as long as this: an error can't come.
            _ = self.heard.changed() => true,
        }
    }

    /// What the plan needs to know, and connections to the brokers that are seen; `None`: not all is shown yet.
    /// `relocates`: whether this plan looks at what the operator moves by itself.
    pub fn world(&mut self, relocates: bool) -> Option<World> {
        let Sources { cluster: name, shown, sightings, loads, platform, needs_identity, .. } = &mut self.sources;
        if !*shown.complete.borrow_and_update() {
            return None;
        }
        let cluster = shown.cluster.state().into_iter().next();
        let is_on_platform = platform.is_some();
        let platform = platform.as_mut().and_then(|platform| platform.borrow_and_update().clone());
        if let (Some(cluster), true) = (&cluster, is_on_platform) {
            // Else what is shown is about another cluster of this name.
            platform.as_ref().filter(|platform| platform.of == cluster.uid())?;
        }
        let (leases, heard) = (sightings.borrow_and_update().clone(), self.heard.borrow_and_update().clone());
        let pods = self.pods.seen();
        self.missed.note(brokers::unheard(name, &leases, &heard), &heard);
        let observed = Observation {
            cluster: name,
            leases: &leases,
            heard: &heard,
            missed: &self.missed,
            pods: pods.as_ref(),
            platform: platform.as_deref(),
        };
        let targets = observed.targets(cluster.as_deref());
        if targets.values().any(|target| target.tls_name.is_some()) {
            needs_identity.send_if_modified(|needs| !std::mem::replace(needs, true));
        }
        self.pings.follow(targets);
        let brokers = observed.brokers();
        let registered = observed.registered();
        let are_listed = *shown.rebalances_complete.borrow_and_update();
        let mut world = World {
            held_back: observed.held_back(&brokers),
            brokers,
            cluster,
            topics: by_name(shown.topics.state()),
            assignments: by_name(shown.assignments.state()),
            relocates,
            loads: loads.borrow_and_update().clone(),
            loads_are_new: relocates && std::mem::take(&mut self.loads_are_new),
            rebalances: are_listed.then(|| by_name(shown.rebalances.state())),
            missing: brokers::missing(name, &leases),
            forked: brokers::forked(name, &leases),
            platform,
            settled: BTreeSet::new(),
            seasoned: BTreeSet::new(),
            awaited: BTreeSet::new(),
            returning: BTreeSet::new(),
            now: clock::now(),
            // Another for each: a cluster that is made again under its name is another cluster.
            fresh_cluster_id: Uuid::new_v4(),
        };
        self.calendar.look(&mut world, &registered);
        Some(world)
    }

    /// When to look again although nothing new is seen; `None`: time alone changes nothing about this world.
    pub fn again_at(&self, world: &World) -> Option<Instant> {
        self.calendar.next(world)
    }
}

/// Two plans for the same objects are the same, in the same order.
fn by_name<K: ResourceExt>(mut objects: Vec<Arc<K>>) -> Vec<Arc<K>> {
    objects.sort_by(|one, other| one.meta().name.cmp(&other.meta().name));
    objects
}

/// Waits until Kubernetes shows something new of the brokers.
/// Waits until something else is shown there.
pub async fn shown_anew<T>(shown: &mut Option<watch::Receiver<T>>) {
    let shown = match shown {
        Some(shown) => shown.changed().await.is_ok(),
        None => false,
    };
    if !shown {
        // On a laptop nothing will be; else the sender ends together with the receiver.
        std::future::pending().await
    }
}

/// Waits until every existing Lease has been observed, so that a broker that was not observed yet is not judged dead.
async fn see_every_lease(leases: &Api<Lease>, selector: &str, sightings: &mut watch::Receiver<Sightings>) {
    let existing = loop {
        match leases.list(&ListParams::default().labels(selector)).await {
            Ok(list) => break list.items,
            Err(error) => tracing::warn!(error = why(&error), "failed to list the brokers' leases"),
        }
        sleep(RETRY).await;
    };
    let names: Vec<String> = existing.iter().map(Lease::name_any).collect();
    let all = |seen: &Sightings| names.iter().all(|name| seen.contains_key(name));
    // The sender lives as long as this: an error can't come.
    let _ = sightings.wait_for(all).await;
}
