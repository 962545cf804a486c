//! The shell around the plan: read everything, plan, apply, and again when a watch shows something.
//!
//! - [`watches`]: what the API server shows
//! - [`brokers`]: the brokers, as the plan needs them
//! - [`loads`]: what brokers hold and do
//! - [`liveness`]: who is alive: the evidence and the judgement
//! - [`tenure`]: since when brokers are live
//! - [`arrivals`]: brokers that may still start or return
//! - [`pace`]: which planned steps to take now
//! - [`apply`]: the writes
//!
//! It does not ask why it woke, and may be dropped at any await: the next reconcile plans again what is missing.
//! Without a change to make, nothing is written and nothing is polled. A standby sees the same, and writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt};
use ottla_config::BrokerSettings;
use ottla_crds::{KafkaCluster, KafkaTopic, Occasion, names};
use ottla_kube::change::why;
use ottla_kube::lease::{self, Knowledge, Sightings};
use ottla_kube::versions::SetBacks;
use ottla_kube::watch::{config, watcher};
use ottla_kube::watches::Watches;
use ottla_rules::assignment::{BrokerId, Live};
use tokio::sync::{OnceCell, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Duration, Instant, sleep, sleep_until};
use tracing::Instrument;
use uuid::Uuid;

use crate::acting::Acting;
use crate::authorities::identity::{self, Identity};
use crate::clock;
use crate::plan::assignments::last_members;
use crate::plan::platform::Platform;
use crate::plan::{self, HeldBack, Step, World, relocation};

pub mod apply;
pub mod arrivals;
pub mod brokers;
pub mod liveness;
pub mod loads;
pub mod pace;
pub mod tenure;
pub mod watches;

use apply::Writer;
use arrivals::Arrivals;
use brokers::Observation;
use liveness::Missed;
use liveness::pings::Pings;
use liveness::pods::Pods;
use pace::Pace;
use tenure::Tenure;
use watches::Shown;

/// How many writes are in flight at once: enough to hide a round trip, few enough not to overload the API server.
const WRITES_AT_ONCE: usize = 16;
/// How many steps are taken before the next plan, so that an election waits for a few round trips at most.
const STEPS_PER_PLAN: usize = 128;
const RETRY: Duration = Duration::from_millis(500);
/// How often a roll is looked at although nothing is shown.
const ROLL_LOOK: Duration = Duration::from_secs(5);
/// How often what blocks a roll is looked at although nothing is shown: it is written so often at most.
const BLOCKED_LOOK: Duration = Duration::from_secs(30);
/// How many times as long as a plan with relocations took the next one has to wait: elections come first.
const RELOCATION_PAUSE: u32 = 20;

/// Coordinates one cluster until `shutdown`. Its brokers write their addresses on their Leases.
pub async fn run(client: Client, namespace: &str, cluster: &str, shutdown: impl Future<Output = ()>) {
    coordinate_until(client, namespace, cluster, None, Acting::alone(), shutdown).await;
}

/// Coordinates the other clusters that KafkaTopics refer to, beside [`run`] in a process that operates only `cluster`,
/// so that these topics say what they wait for. Returns when nothing is watched any more.
pub async fn run_others(client: Client, namespace: &str, cluster: &str) {
    let set_backs = SetBacks::default();
    let mut watches = Watches::new(&set_backs);
    let of_others = config().fields(&format!("spec.clusterRef.name!={cluster}"));
    let topics = watcher(Api::namespaced(client.clone(), namespace), of_others, &set_backs);
    let shown: Store<KafkaTopic> = watches.keep((), topics, |_| ());
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<String, AbortHandle> = BTreeMap::new();
    while watches.next().await.is_some() {
        if !watches.are_complete() {
            continue;
        }
        let mut wanted: BTreeSet<String> =
            shown.state().into_iter().map(|topic| topic.spec.cluster_ref.name.clone()).collect();
        running.retain(|other, task| {
            let stays = wanted.remove(other);
            if !stays {
                task.abort();
            }
            stays
        });
        while tasks.try_join_next().is_some() {} // those that were aborted
        for other in wanted {
            let (client, namespace, name) = (client.clone(), namespace.to_owned(), other.clone());
            let coordinated = async move { run(client, &namespace, &name, std::future::pending()).await };
            let span = tracing::info_span!("cluster", name = other);
            running.insert(other, tasks.spawn(coordinated.instrument(span)));
        }
    }
}

/// As [`run`], on Kubernetes, which shows the brokers' addresses. Begins when the first platform is shown. A standby
/// watches and pings brokers, too: it can elect as soon as it may.
pub async fn run_on_platform(
    client: Client,
    namespace: &str,
    cluster: &str,
    platform: watch::Receiver<Option<Arc<Platform>>>,
    acting: Acting,
) {
    coordinate_until(client, namespace, cluster, Some(platform), acting, std::future::pending()).await;
}

async fn coordinate_until(
    client: Client,
    namespace: &str,
    cluster: &str,
    platform: Option<watch::Receiver<Option<Arc<Platform>>>>,
    acting: Acting,
    shutdown: impl Future<Output = ()>,
) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let selector = format!("{}={cluster}", names::CLUSTER_LABEL);
    let (seen, sightings) = watch::channel(Sightings::new());
    let set_backs = SetBacks::default();
    let (following, shown) = watches::start(&client, namespace, cluster, &set_backs);
    let (needs_identity, needed) = watch::channel(false);
    let (publish, identity) = watch::channel(None);
    let identified = identity::follow(client.clone(), namespace, cluster, needed, publish);
    let (ask, asked) = watch::channel(None);
    let (tell, loads) = watch::channel(None);
    let coordination = Coordination {
        ask_for_loads: ask,
        loads,
        client,
        namespace,
        cluster,
        leases: leases.clone(),
        selector: &selector,
        set_backs: set_backs.clone(),
        platform,
        acting,
        identity,
        needs_identity,
    };
    tokio::select! {
        biased; // all of them each time, and in the same order each time
        () = lease::observe(leases, &selector, seen, &set_backs) => {}
        () = following => {}
        () = identified => {}
        () = loads::follow(asked, tell) => {}
        () = coordination.run(shown, sightings) => {}
        () = shutdown => {}
    }
}

struct Coordination<'a> {
    client: Client,
    namespace: &'a str,
    cluster: &'a str,
    leases: Api<Lease>,
    selector: &'a str,
    set_backs: SetBacks,
    /// What Kubernetes shows of the brokers; `None` on a laptop.
    platform: Option<watch::Receiver<Option<Arc<Platform>>>>,
    acting: Acting,
    /// With what the operator connects to brokers with TLS.
    identity: Identity,
    /// Whether there are such brokers.
    needs_identity: watch::Sender<bool>,
    /// Which brokers to ask for their loads.
    ask_for_loads: watch::Sender<loads::Asked>,
    /// What they said.
    loads: watch::Receiver<loads::Told>,
}

impl Coordination<'_> {
    async fn run(mut self, mut shown: Shown, mut sightings: watch::Receiver<Sightings>) {
        let writer = Writer::new(&self.client, self.namespace, self.cluster, self.set_backs.clone());
        let mut pace = Pace::default();
        let mut pods = Pods::start(&self.client, self.namespace, self.cluster, self.selector).await;
        let mut pings = Pings::new(self.identity.clone());
        let mut heard = pings.heard();
        let mut missed = Missed::default();
        let (mut tenure, mut seasons) = (Tenure::default(), Tenure::default());
        let mut arrivals = Arrivals::first();
        let mut returns = Arrivals::back();
        see_every_lease(&self.leases, self.selector, &mut sightings).await;
        let mut again_at = None;
        let (mut acts, mut loads_are_new) = (false, false);
        let mut relocates_at = Instant::now();
        loop {
            tokio::select! {
                changed = shown.complete.changed() => if changed.is_err() { return },
                changed = shown.rebalances_complete.changed() => if changed.is_err() { return },
                changed = self.loads.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    loads_are_new = true;
                }
                changed = sightings.changed() => if changed.is_err() { return },
                () = pods.changed() => {}
                () = shown_anew(&mut self.platform) => {}
                // The sender lives as long as this: an error can't come.
                _ = heard.changed() => {}
                () = self.acting.begins(), if !acts => {}
                () = until(again_at) => {}
            }
            acts = self.acting.may_write();
            if !*shown.complete.borrow_and_update() {
                continue;
            }
            let object = shown.cluster.state().into_iter().next();
            let platform = self.platform.as_mut().and_then(|platform| platform.borrow_and_update().clone());
            let of = |object: &Arc<KafkaCluster>| platform.as_ref().is_some_and(|platform| platform.of == object.uid());
            if self.platform.is_some() && object.as_ref().is_some_and(|object| !of(object)) {
                continue; // not shown yet
            }
            let (leases, heard, pods) =
                (sightings.borrow_and_update().clone(), heard.borrow_and_update().clone(), pods.seen());
            missed.note(brokers::unheard(self.cluster, &leases, &heard), &heard);
            let observed = Observation {
                cluster: self.cluster,
                leases: &leases,
                heard: &heard,
                missed: &missed,
                pods: pods.as_ref(),
                platform: platform.as_deref(),
            };
            let targets = observed.targets(object.as_deref());
            if targets.values().any(|target| target.tls_name.is_some()) {
                self.needs_identity.send_if_modified(|needs| !std::mem::replace(needs, true));
            }
            pings.follow(targets);
            let brokers = observed.brokers();
            let held_back = observed.held_back(&brokers);
            let after = object.as_ref().and_then(|cluster| return_after(cluster));
            let fill_after = object.as_ref().and_then(|cluster| fill_after(cluster));
            let wanted = object.as_ref().map_or(0, |cluster| cluster.spec.brokers.replicas);
            let assignments = by_name(shown.assignments.state());
            let are_listed = *shown.rebalances_complete.borrow_and_update();
            let here = brokers.iter().filter(|(_, broker)| broker.live.is_some()).map(|(id, _)| *id).collect();
            let now = Instant::now();
            let relocates = now >= relocates_at;
            let world = World {
                relocates,
                returning: returns.awaited(last_members(&assignments), &here, Instant::now()),
                settled: settled(tenure.settled(&brokers, after, Instant::now()), object.as_deref(), after.is_some()),
                seasoned: seasons.settled(&brokers, fill_after, Instant::now()),
                awaited: arrivals.awaited((0..wanted).map(BrokerId), &observed.registered(), Instant::now()),
                brokers,
                cluster: object,
                topics: by_name(shown.topics.state()),
                assignments,
                loads_are_new: relocates && std::mem::take(&mut loads_are_new),
                loads: self.loads.borrow_and_update().clone(),
                rebalances: are_listed.then(|| by_name(shown.rebalances.state())),
                missing: brokers::missing(self.cluster, &leases),
                held_back,
                forked: brokers::forked(self.cluster, &leases),
                platform,
                now: clock::now(),
                // Another for each: a cluster that is made again under its name is another cluster.
                fresh_cluster_id: Uuid::new_v4(),
            };
            self.ask_for_loads.send_if_modified(|asked| {
                let needed = acts.then(|| relocation::asks_for_loads(&world)).flatten();
                std::mem::replace(asked, needed.clone()) != needed
            });
            let steps = if acts { plan::plan(&world) } else { Vec::new() };
            if relocates {
                relocates_at = now + now.elapsed() * RELOCATION_PAUSE;
            }
            let live = world.live();
            let next_try = if acts {
                let look = Look { leases: &self.leases, selector: self.selector, set_backs: &self.set_backs };
                tokio::select! {
                    next_try = look_and_take(look, self.cluster, &writer, &mut pace, steps, &live) => next_try,
                    () = self.acting.ends() => {
                        acts = false; // plans again, should it be back in a moment
                        None
                    }
                }
            } else {
                None
            };
            let rolls = world.cluster.as_ref().and_then(|cluster| look_after(cluster, &world.now));
            let rolls = rolls.map(|after| Instant::now() + after);
            let looks_again = (!relocates).then_some(relocates_at);
            let others = [rolls, seasons.next(fill_after), looks_again].into_iter().flatten();
            again_at = next_try
                .into_iter()
                .chain(others)
                .chain(tenure.next(after))
                .chain(arrivals.next())
                .chain(returns.next())
                .min();
        }
    }
}

/// Two plans for the same objects are the same, in the same order.
fn by_name<K: ResourceExt>(mut objects: Vec<Arc<K>>) -> Vec<Arc<K>> {
    objects.sort_by(|one, other| one.meta().name.cmp(&other.meta().name));
    objects
}

async fn shown_anew(platform: &mut Option<watch::Receiver<Option<Arc<Platform>>>>) {
    let shown = match platform {
        Some(platform) => platform.changed().await.is_ok(),
        None => false,
    };
    if !shown {
        // On a laptop nothing will be; else the sender ends together with the receiver.
        std::future::pending().await
    }
}

/// The settled brokers: after a planned restart leaders return at once.
fn settled(
    mut settled: BTreeSet<BrokerId>,
    cluster: Option<&KafkaCluster>,
    leaders_return: bool,
) -> BTreeSet<BrokerId> {
    let rollout = cluster.and_then(|cluster| cluster.status.as_ref()?.rollout.as_ref()).filter(|_| leaders_return);
    settled.extend(rollout.iter().flat_map(|rollout| &rollout.away).copied());
    settled
}

/// When to look at a roll and at features again although nothing is shown; `None`: time changes nothing about them.
fn look_after(cluster: &KafkaCluster, now: &Time) -> Option<Duration> {
    let status = cluster.status.as_ref()?;
    let rollout = status.rollout.as_ref();
    let restarts = rollout.filter(|rollout| !rollout.away.is_empty()).map(|_| ROLL_LOOK);
    let is_blocked = rollout.filter(|rollout| !rollout.blocked_by.is_empty()).map(|_| BLOCKED_LOOK);
    let opens = rollout.and_then(|rollout| rollout.window_opens.as_ref()).map(|opens| opens.0);
    let settled = status.features.as_ref().and_then(|features| features.settled_at(cluster.spec.features_settle_for()));
    let until = |then: Timestamp| Duration::try_from(then.duration_since(now.0)).unwrap_or_default().max(ROLL_LOOK);
    let times = opens.into_iter().chain(settled).map(until);
    times.chain(restarts).chain(is_blocked).min()
}

/// How long a broker must have been live before leaders return to it; `None`: they do not return.
fn return_after(cluster: &KafkaCluster) -> Option<Duration> {
    BrokerSettings::resolve(&cluster.spec.broker_config()).leader_return_after
}

/// How long a new broker must have been live before it gets replicas of the others; `None`: it does not.
fn fill_after(cluster: &KafkaCluster) -> Option<Duration> {
    let rebalance = &cluster.spec.rebalance;
    let seconds = u64::try_from(rebalance.add_after_seconds).unwrap_or_default();
    rebalance.auto.contains(&Occasion::Add).then(|| Duration::from_secs(seconds))
}

/// A consistent read of the Leases.
struct Look<'a> {
    leases: &'a Api<Lease>,
    selector: &'a str,
    set_backs: &'a SetBacks,
}

impl Look<'_> {
    /// Whether the API server is as new as what it has shown, and no live broker knows newer entries. Entries that were
    /// listed a moment ago can't show it: the watch of the Leases may show a restore only later.
    async fn is_current(&self, cluster: &str, live: &Live) -> bool {
        let shown = self.set_backs.shown();
        let leases = match self.leases.list(&ListParams::default().labels(self.selector)).await {
            Ok(leases) => leases,
            Err(error) => {
                tracing::warn!(
                    error = why(&error),
                    "failed to list the brokers' leases: no assignment is written \
                until this succeeds"
                );
                return false;
            }
        };
        let version = leases.metadata.resource_version.as_ref().and_then(|version| version.parse().ok());
        let is_there =
            |lease: &&Lease| names::broker_id(cluster, &lease.name_any()).is_some_and(|id| live.contains_key(&id));
        let mut there = leases.items.iter().filter(is_there);
        !self.set_backs.compare_list(version, shown) && there.all(|lease| Knowledge::of(lease) == Knowledge::AsShown)
    }
}

/// Takes the steps that may be taken now, those that change entries only after a look at the Leases.
async fn look_and_take(
    look: Look<'_>,
    cluster: &str,
    writer: &Writer,
    pace: &mut Pace,
    mut steps: Vec<Step>,
    live: &Live,
) -> Option<Instant> {
    let waits = |step: &Step| step.waits_for(&HeldBack::Comparing);
    if !steps.iter().any(waits) || look.is_current(cluster, live).await {
        return take(writer, pace, steps).await;
    }
    steps.retain(|step| !waits(step));
    let again = Instant::now() + RETRY;
    take(writer, pace, steps).await.into_iter().chain([again]).min()
}

/// Takes the steps that may be taken now; says when to plan again if nothing new is shown until then.
async fn take(writer: &Writer, pace: &mut Pace, steps: Vec<Step>) -> Option<Instant> {
    let now = Instant::now();
    let (mut due, held_back) = pace.divide(steps, now);
    let more = due.len() > STEPS_PER_PLAN;
    due.truncate(STEPS_PER_PLAN);
    let mut planned = held_back;
    let ending = &OnceCell::new();
    let writes = due.into_iter().map(|step| async move {
        let outcome = writer.apply(&step, ending).await;
        (step, outcome)
    });
    let mut outcomes = stream::iter(writes).buffer_unordered(WRITES_AT_ONCE);
    while let Some((step, outcome)) = outcomes.next().await {
        match &outcome {
            Ok(()) => {}
            Err(kube::Error::Api(status))
                if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
            {
                tracing::debug!(%status.message, "another writer has changed the object");
            }
            Err(error) => tracing::warn!(error = why(error), step = step.name(), "failed to write an object"),
        }
        pace.tried(&step, outcome.is_ok(), Instant::now());
        planned.push(step);
    }
    let next_try = pace.next_try(&planned, Instant::now());
    if more { Some(now) } else { next_try }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
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

#[cfg(test)]
mod tests {
    use kube::api::{ObjectMeta, PostParams};
    use ottla_kube::versions::version;
    use ottla_local_api::{Server, Store};
    use ottla_rules::assignment::{Incarnation, LiveBroker};

    use super::*;

    #[tokio::test]
    async fn nothing_is_made_of_entries_that_were_listed_after_a_restore_and_before_the_leases() {
        let server = Server::new(Store::Memory, Vec::new()).unwrap();
        let leases: Api<Lease> = Api::namespaced(server.client("default"), "default");
        let labels = BTreeMap::from([(names::CLUSTER_LABEL.to_owned(), "prod".to_owned())]);
        let says = |newer: &str| Some(BTreeMap::from([(names::NEWER_ANNOTATION.to_owned(), newer.to_owned())]));
        let name = names::broker("prod", BrokerId(0));
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            labels: Some(labels),
            annotations: says("7"),
            ..ObjectMeta::default()
        };
        let lease = Lease { metadata, ..Lease::default() };
        let mut lease = leases.create(&PostParams::default(), &lease).await.unwrap();
        let live = Live::from([(BrokerId(0), LiveBroker { incarnation: Incarnation(1), draining: false })]);
        let set_backs = SetBacks::default();
        let selector = format!("{}=prod", names::CLUSTER_LABEL);
        let look = Look { leases: &leases, selector: &selector, set_backs: &set_backs };
        assert!(!look.is_current("prod", &live).await, "it knows newer entries");
        assert!(look.is_current("prod", &Live::new()).await, "it is not there");

        let backup = server.faults().snapshot();
        lease.metadata.annotations = says("0");
        let renewed = leases.replace(&name, &PostParams::default(), &lease).await.unwrap();
        set_backs.was_shown(version(&renewed.metadata));
        assert!(look.is_current("prod", &live).await);
        let before = set_backs.times();
        server.faults().set_back(&backup, true);
        assert!(!look.is_current("prod", &Live::new()).await, "the live brokers");
        assert_eq!(set_backs.times(), before + 1, "everything is listed again");
    }
}
