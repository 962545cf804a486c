//! The operator as a process on Kubernetes. Of two replicas, the one that holds the Lease acts. The other is the
//! standby: it watches all objects and pings brokers, so that it can elect as soon as it takes over.
//!
//! Always: the tasks that write are dropped as soon as the process does not hold the Lease for certain, also while the
//! API server is away, and before the Lease is released.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::events::Reporter;
use kube::{Api, Client};
use ottla_kube::counted;
use ottla_kube::lease::{self, Claim, Observed, Pace};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};
use uuid::Uuid;

use crate::acting::Acting;
use crate::cluster::OperatorContext;
use crate::cluster::build::label::{MANAGED_BY_LABEL, MANAGER};
use crate::cluster::nodes::Nodes;
use crate::events::Recorder;
use crate::metrics::Metrics;
use crate::owner::{Installation, LEASE};
use crate::{definitions, fleet, http};

/// How many clusters are reconciled at once, so that a restart with many clusters does not overload the API server.
const CLUSTERS_AT_ONCE: usize = 8;

/// The options of the process.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address of the HTTP port: metrics and probes.
    pub http: SocketAddr,
    /// The pod's address, where the standby asks whether this replica is alive when its Lease is overdue; `None`:
    /// unknown.
    pub pod_ip: Option<IpAddr>,
    /// The namespace of the operator's own Lease.
    pub namespace: String,
    /// The namespaces whose clusters are operated; empty: all.
    pub watch_namespaces: Vec<String>,
    /// The image of the brokers of new clusters that name none.
    pub broker_image: String,
    /// The user id and group id of the brokers' processes; `None`: the platform chooses, as OpenShift does.
    pub broker_user: Option<i64>,
}

/// Why the operator ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP port can't be bound.
    #[error("failed to listen on {0} (--http): {1}")]
    Http(SocketAddr, std::io::Error),
    /// The task that renews the Lease has ended: the process must restart.
    #[error("the task that holds the Lease has ended")]
    Holder,
}

/// Operates every cluster until `shutdown`.
///
/// # Errors
/// See [`Error`].
pub async fn run(client: Client, options: Options, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let listener = TcpListener::bind(options.http).await.map_err(|error| Error::Http(options.http, error))?;
    let metrics = Arc::new(Metrics::new());
    let counting = metrics.clone();
    let client = counted(client, &options.namespace, move |kind, verb| counting.writes(kind, verb));
    let identity = identity();
    let (held, holding) = watch::channel(None);
    let (release, released) = oneshot::channel::<()>();
    let fleets = options.watch_namespaces.len().max(1);
    let (complete, are_complete) = watch::channel(0);

    let claim = Claim {
        name: LEASE.to_owned(),
        labels: BTreeMap::from([(MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned())]),
        identity: identity.clone(),
        predecessor: None,
        pace: Pace::OPERATOR,
        observed: Observed::default(),
        set_backs: ottla_kube::versions::SetBacks::default(),
    };
    let leases: Api<Lease> = Api::namespaced(client.clone(), &options.namespace);
    let answers_at = options.pod_ip.map(|ip| lease::answers_at(SocketAddr::new(ip, options.http.port())));
    let (_says_the_same, annotations) = watch::channel(answers_at.unwrap_or_default());
    let mut holder = tokio::spawn(lease::hold(leases, claim, annotations, held, async move {
        let _ = released.await;
    }));
    let reporter = Reporter { controller: "ottla.io/operator".to_owned(), instance: Some(identity) };
    let recorder = Recorder::new(client.clone(), reporter);
    let (changes, definitions) = watch::channel(0);
    let comparing = definitions::follow(client.clone(), metrics.clone(), changes);
    let shared = Arc::new(OperatorContext {
        installation: Installation {
            client: client.clone(),
            namespace: options.namespace.clone(),
            recorder: recorder.clone(),
        },
        recorder,
        client,
        broker_image: options.broker_image,
        broker_user: options.broker_user,
        turns: Semaphore::new(CLUSTERS_AT_ONCE),
        metrics: metrics.clone(),
        definitions,
    });
    let acting = Acting::while_held(holding);
    let ended = tokio::select! {
        () = operate(&shared, &options.watch_namespaces, &acting, &complete) => Ok(()),
        () = tell_of_acting(&shared.metrics, acting.clone()) => Ok(()),
        () = comparing => Ok(()),
        served = http::serve(listener, metrics, are_complete, fleets) => served.map_err(|error| Error::Http(options.http, error)),
        () = shutdown => Ok(()),
        _ = &mut holder => return Err(Error::Holder),
    };
    drop(release);
    // Releasing has its own deadline.
    let _ = holder.await;
    ended
}

/// The holder's name: the pod, and a random id of this process.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "operator".to_owned());
    format!("{host}_{}", Uuid::new_v4())
}

/// Operates every cluster of these namespaces, for ever.
async fn operate(
    shared: &Arc<OperatorContext>,
    namespaces: &[String],
    acting: &Acting,
    complete: &watch::Sender<usize>,
) {
    let (nodes, following) = Nodes::start(&shared.client);
    let fleet = |namespace| fleet::run(shared.clone(), namespace, nodes.clone(), acting.clone(), complete.clone());
    let fleets = async {
        if namespaces.is_empty() {
            return fleet(None).await;
        }
        join_all(namespaces.iter().map(|namespace| fleet(Some(namespace.clone())))).await;
    };
    tokio::select! {
        () = fleets => {}
        () = following => {}
    }
}

/// Keeps the metric that says whether this replica acts, for ever.
async fn tell_of_acting(metrics: &Metrics, mut acting: Acting) {
    loop {
        acting.begins().await;
        tracing::info!("took the lease: operating the clusters");
        metrics.set_leader(true);
        acting.ends().await;
        tracing::warn!("lost the lease: operating no cluster");
        metrics.set_leader(false);
    }
}
