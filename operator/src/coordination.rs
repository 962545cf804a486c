//! The shell around the plan: look at everything, plan, take the steps, and again when something new is seen.
//!
//! - [`view`]: what the operator sees, from all sources
//!   - [`watches`]: what the API server shows
//!   - [`brokers`]: the brokers, as the plan needs them
//!   - [`loads`]: what brokers hold and do
//!   - [`liveness`]: who is alive: the evidence and the judgement
//!   - [`calendar`]: what only time changes
//!     - [`tenure`]: since when brokers are live
//!     - [`arrivals`]: brokers that may still start or return
//! - [`steps`]: takes the planned steps
//!   - [`pace`]: which of them now
//!   - [`apply`]: the writes
//!   - [`reads`]: what they need to know first, read once for all of a plan
//! - [`others`]: clusters that topics refer to and that no process operates
//!
//! It does not ask why it woke, and may be dropped at any await: the next reconcile plans again what is missing.
//! Without a change to make, nothing is written and nothing is polled. A standby sees the same, and writes nothing.

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use ottla_crds::names;
use ottla_kube::lease::{self, Sightings};
use ottla_kube::versions::SetBacks;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, Span};

use crate::acting::Acting;
use crate::authorities::identity;
use crate::plan::platform::Platform;
use crate::plan::{self, World, relocation};

pub mod apply;
pub mod arrivals;
pub mod brokers;
pub mod calendar;
pub mod liveness;
pub mod loads;
pub mod others;
pub mod pace;
pub mod reads;
pub mod steps;
pub mod tenure;
pub mod view;
pub mod watches;

use apply::Writer;
use pace::Pace;
use steps::{LeaseReader, look_and_take};
use view::{Sources, View, shown_anew};

/// How many times as long as a plan with relocations took the next one has to wait: elections come first.
const RELOCATION_PAUSE: u32 = 20;

/// Coordinates one cluster until `shutdown`. Its brokers write their addresses on their Leases.
pub async fn run(client: Client, namespace: &str, cluster: &str, shutdown: impl Future<Output = ()>) {
    coordinate_until(client, namespace, cluster, None, Acting::alone(), shutdown).instrument(span()).await;
}

/// What Kubernetes shows beside the objects of a cluster.
pub struct OnPlatform {
    /// The brokers; `None`: not shown yet.
    pub platform: watch::Receiver<Option<Arc<Platform>>>,
    /// Counts the changes of the kinds' definitions.
    pub definitions: watch::Receiver<u64>,
}

/// As [`run`], on Kubernetes, which shows the brokers' addresses. Begins when the first platform is shown. A standby
/// watches and pings brokers, too: it can elect as soon as it may.
pub async fn run_on_platform(client: Client, namespace: &str, cluster: &str, on_platform: OnPlatform, acting: Acting) {
    let never = std::future::pending();
    coordinate_until(client, namespace, cluster, Some(on_platform), acting, never).instrument(span()).await;
}

/// For log lines of what coordinates brokers, beside those of what keeps a cluster's Kubernetes objects.
fn span() -> Span {
    tracing::error_span!("coordination")
}

async fn coordinate_until(
    client: Client,
    namespace: &str,
    cluster: &str,
    on_platform: Option<OnPlatform>,
    acting: Acting,
    shutdown: impl Future<Output = ()>,
) {
    let (platform, definitions) =
        on_platform.map(|OnPlatform { platform, definitions }| (platform, definitions)).unzip();
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let selector = format!("{}={cluster}", names::CLUSTER_LABEL);
    let (seen, sightings) = watch::channel(Sightings::new());
    let set_backs = SetBacks::default();
    let (following, shown) = watches::start(&client, namespace, cluster, &set_backs);
    let (needs_identity, needed) = watch::channel(false);
    let (publish, identity) = watch::channel(None);
    let identified = identity::follow(client.clone(), namespace, cluster, needed, publish);
    let (ask_for_loads, asked) = watch::channel(None);
    let (tell, loads) = watch::channel(None);
    let sources = Sources { cluster, shown, sightings, loads, platform, identity, needs_identity };
    let coordination = Coordination {
        client,
        namespace,
        cluster,
        leases: leases.clone(),
        selector: &selector,
        set_backs: set_backs.clone(),
        acting,
        definitions,
        ask_for_loads,
    };
    tokio::select! {
        biased; // all of them each time, and in the same order each time
        () = lease::observe(leases, &selector, seen, &set_backs) => {}
        () = following => {}
        () = identified => {}
        () = loads::follow(asked, tell) => {}
        () = coordination.run(sources) => {}
        () = shutdown => {}
    }
}

struct Coordination<'a> {
    client: Client,
    namespace: &'a str,
    cluster: &'a str,
    leases: Api<Lease>,
    /// The labels of the cluster's Leases and pods.
    selector: &'a str,
    set_backs: SetBacks,
    acting: Acting,
    /// Counts the changes of the kinds' definitions; `None` on a laptop, where they are this version's.
    definitions: Option<watch::Receiver<u64>>,
    /// Which brokers to ask for their loads.
    ask_for_loads: watch::Sender<loads::LoadTargets>,
}

impl Coordination<'_> {
    async fn run(mut self, sources: Sources<'_>) {
        let writer = Writer::new(&self.client, self.namespace, self.cluster, self.set_backs.clone());
        let mut view = View::start(sources, &self.client, (&self.leases, self.namespace, self.selector)).await;
        let mut pace = Pace::default();
        let (mut acts, mut again_at, mut relocates_at) = (false, None, Instant::now());
        loop {
            tokio::select! {
                sees_on = view.changed() => if !sees_on { return },
                () = shown_anew(&mut self.definitions) => pace.forget_pruned(),
                () = self.acting.begins(), if !acts => {}
                () = until(again_at) => {}
            }
            acts = self.acting.may_write();
            again_at = None;
            let begun = Instant::now();
            let relocates = begun >= relocates_at;
            let Some(world) = view.world(relocates) else { continue };
            self.ask_for_loads(&world, acts);
            if acts {
                let (planned, live) = (plan::plan(&world), world.live());
                if relocates {
                    relocates_at = begun + begun.elapsed() * RELOCATION_PAUSE;
                }
                let look = LeaseReader { leases: &self.leases, selector: self.selector, set_backs: &self.set_backs };
                again_at = tokio::select! {
                    next_try = look_and_take(look, self.cluster, &writer, &mut pace, planned, &live) => next_try,
                    () = self.acting.ends() => {
                        acts = false; // plans again, should it be back in a moment
                        None
                    }
                };
            }
            let relocates_next = (!relocates).then_some(relocates_at);
            again_at = [again_at, relocates_next, view.again_at(&world)].into_iter().flatten().min();
        }
    }

    /// Has brokers asked for their loads while this operator acts and a plan needs them.
    fn ask_for_loads(&self, world: &World, acts: bool) {
        self.ask_for_loads.send_if_modified(|asked| {
            let needed = acts.then(|| relocation::asks_for_loads(world)).flatten();
            std::mem::replace(asked, needed.clone()) != needed
        });
    }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}
