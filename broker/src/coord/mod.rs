//! The only room that knows Kubernetes: objects in, one image out; asks in, changes of objects out.
//!
//! - `api_server`: the cluster's objects, read and watched; `watching`: from what is shown to the image
//! - [`session`]: the directory's incarnation, and what is said on the Lease; `presence`: the Lease, held
//! - [`known`]: the newest version of everything that the API server ever showed
//! - [`image`]: from objects to the image, a pure function
//! - `users`: KafkaUsers and passwords; `access`: from these to who may do what, a pure function; `acls`:
//!   ACLs
//! - [`copy`]: the copy of what is known, on disk
//! - [`restore`]: from brokers' copies to lost objects, a pure function
//! - `put_back`: restores what an API server that was set back has lost; `peers`: whether entries may be written
//! - [`asks`]: the changes that the broker's rooms ask for
//!
//! Fail-static: while the API server is away, the image stays as it is.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use ottla_crds::Endpoint;
use ottla_kube::versions::SetBacks;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::ask::{AskSender, QUEUE_BOUND};
use crate::data_dir::{DataDir, DataDirError, Surroundings};
use crate::env::Instant;
use crate::image::{BrokerId, ImageReceiver, Incarnation, Me};
use crate::metrics::Metrics;

mod access;
mod acls;
mod api_server;
mod asks;
pub mod copy;
pub mod image;
pub mod known;
mod peers;
mod presence;
mod put_back;
mod quotas;
pub mod restore;
pub mod session;
mod users;
mod watching;

use api_server::ApiServer;
use asks::Desk;
use presence::Presence;
use users::{KnownUsers, Learner};

/// Returns `client` with its writes counted.
pub fn counted(client: Client, namespace: &str, metrics: Arc<Metrics>) -> Client {
    let count = move |kind: &str, verb| metrics.cluster.kubernetes_writes.with_label_values(&[kind, verb]).inc();
    ottla_kube::counted(client, namespace, count)
}

/// What this room needs to start.
pub struct Setup {
    /// The client of the API server.
    pub client: Client,
    /// The namespace of the cluster's objects.
    pub namespace: String,
    /// The KafkaCluster's name.
    pub cluster: String,
    /// The addresses that this broker advertises, by listener; empty if the operator sets them.
    pub endpoints: Vec<Endpoint>,
    /// Where the operator finds its HTTP port; `None`: at its pod's address.
    pub http: Option<SocketAddr>,
    /// The pod's uid; `None` outside Kubernetes.
    pub pod_uid: Option<String>,
}

/// The running room. Dropped, it ends as in a killed process, without a write.
pub struct Coord {
    me: BrokerId,
    images: ImageReceiver,
    signs: watch::Receiver<Instant>,
    ask: AskSender,
    /// Watch, restore and serve the asks.
    serving: JoinSet<()>,
    copying: JoinSet<()>,
    stop_copying: oneshot::Sender<()>,
    presence: Presence,
}

/// How current the broker's view of its cluster is.
#[derive(Clone, Debug)]
pub struct SignsOfLife {
    renewed: watch::Receiver<Option<Instant>>,
    signs: watch::Receiver<Instant>,
}

impl SignsOfLife {
    /// When this broker last renewed its Lease, whether it holds the Lease now or not; `None`: never.
    pub fn renewed(&self) -> Option<Instant> {
        *self.renewed.borrow()
    }

    /// When the API server last answered, in any way.
    pub fn last(&self) -> Instant {
        let shown = *self.signs.borrow();
        self.renewed().map_or(shown, |renewed| renewed.max(shown))
    }
}

/// How long a stop waits until the last copy is on disk: other brokers wait for the Lease meanwhile.
const LAST_COPY_WITHIN: Duration = Duration::from_secs(2);

impl Coord {
    /// Starts: waits for the cluster's id, begins the session, and returns with the first image and the Lease held.
    /// While the API server is away, it returns with the copy on disk, if the directory alone proves that it is
    /// current.
    ///
    /// # Errors
    /// When the data directory belongs to another cluster, or the disk refuses.
    pub async fn start(setup: Setup, dir: &DataDir) -> Result<Coord, DataDirError> {
        let Setup { client, namespace, cluster, endpoints, http, pod_uid } = setup;
        let api = ApiServer { client, namespace, cluster };
        let (me, set_backs) = (dir.broker(), SetBacks::default());
        let copy = copy::read(dir.path())?.unwrap_or_default();

        let mut serving = JoinSet::new();
        let (learn, users) = watch::channel(Arc::new(KnownUsers::read(dir.path())));
        let (watching, mut views) = watching::start(&api, me, copy.clone(), users.clone(), &set_backs);
        serving.spawn(watching);
        let learner = Learner { api: api.clone(), set_backs: set_backs.clone(), publish: learn };
        serving.spawn(learner.clone().follow_users());
        serving.spawn(learner.follow_credentials(views.images.clone()));
        serving.spawn(users::keep(users.clone(), dir.path().to_owned()));
        serving.spawn(put_back::put_back(api.objects(), views.known.clone()));

        let here = Surroundings::of_process(pod_uid);
        let session = api.begin_session(dir, here, &mut views.images, &copy).await?;
        let mut presence = Presence::begin(&api, me, session, (endpoints, http), &views, set_backs.clone());
        if views.images.borrow().cluster_id.is_empty() {
            views.publish_copy(me, &copy, users.borrow().clone());
        } else {
            presence.is_held().await;
        }

        let (keep, kept) = watch::channel(Arc::new(copy));
        let (stop_copying, stopped) = oneshot::channel();
        let stopped = async { stopped.await.unwrap_or_default() };
        let mut copying = JoinSet::new();
        copying.spawn(copy::keep(dir.path().to_owned(), views.known.clone(), keep, stopped));

        let (ask, asks) = mpsc::channel(QUEUE_BOUND);
        let identity = Me { id: me, incarnation: presence.identity.incarnation };
        serving.spawn(Desk::new(&api, identity, &views, kept, set_backs).serve(asks));
        Ok(Coord { me, images: views.images, signs: views.signs, ask, serving, copying, stop_copying, presence })
    }

    /// The cluster as this broker knows it. The first image exists.
    pub fn images(&self) -> ImageReceiver {
        self.images.clone()
    }

    /// The queue of asks.
    pub fn ask(&self) -> AskSender {
        self.ask.clone()
    }

    /// This broker's id.
    pub fn broker(&self) -> BrokerId {
        self.me
    }

    /// The incarnation of the data directory.
    pub fn incarnation(&self) -> Incarnation {
        self.presence.identity.incarnation
    }

    /// Until when this process holds the broker's Lease; `None`: it does not hold it.
    pub fn session(&self) -> watch::Receiver<Option<Instant>> {
        self.presence.held.clone()
    }

    /// When the API server last answered.
    pub fn signs_of_life(&self) -> SignsOfLife {
        SignsOfLife { renewed: self.presence.renewed.clone(), signs: self.signs.clone() }
    }

    /// Writes on the Lease that this broker is draining.
    pub fn drain(&self) {
        self.presence.drain();
    }

    /// From now on lists unheard leaders on the Lease, as evidence beside the operator's pings.
    pub fn report_unheard(&mut self, unheard: watch::Receiver<BTreeSet<BrokerId>>) {
        self.presence.report_unheard(unheard);
    }

    /// From now on writes on the Lease which keys this broker has loaded, because rotations wait for it.
    pub fn report_keys(&mut self, loaded: watch::Receiver<String>) {
        self.presence.report_keys(loaded);
    }

    /// From now on writes on the Lease whether the disk hangs, and whether it fills up: the operator has others lead
    /// instead of a broker whose disk hangs, and gives neither a new replica.
    pub fn report_disk(&mut self, hanging: watch::Receiver<bool>, filling: watch::Receiver<bool>) {
        self.presence.report_disk(hanging, filling);
    }

    /// Stops counting ticks. Call it before the marker of a clean stop is written: the marker syncs the ticks, and the
    /// Lease must not have more.
    pub async fn stop_counting(&mut self) {
        self.presence.stop_counting().await;
    }

    /// Stops: writes the last copy, if the disk takes it in time, and releases the Lease. A broker does this last. Not
    /// cancellation safe.
    pub async fn stop(mut self) {
        let _ = self.stop_copying.send(());
        if timeout(LAST_COPY_WITHIN, self.copying.join_next()).await.is_err() {
            tracing::warn!("the last copy of the cluster's objects was not written to the disk in time");
        }
        self.serving.shutdown().await;
        self.presence.release().await;
    }
}
