//! The only room that knows Kubernetes: objects in, one image out; asks in, changes of objects out.
//!
//! - [`session`]: the directory's incarnation and the Lease
//! - [`known`]: the newest version of everything that the API server ever showed
//! - [`image`]: from objects to the image, a pure function
//! - [`copy`]: the copy of what is known, on disk
//! - [`restore`]: from brokers' copies to lost objects, a pure function
//! - `put_back`: restores what an API server that was set back has lost; `peers`: whether entries may be written
//! - [`asks`]: the changes that the broker's rooms ask for
//!
//! Fail-static: while the API server is away, the image stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use ottla_crds::{Endpoint, KafkaCluster, names};
use ottla_kube::change::why;
use ottla_kube::lease;
use ottla_kube::versions::SetBacks;
use ottla_kube::watch::{named, of_cluster, watcher};
use ottla_kube::watches::{Told, Watches};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::ask::{AskSender, QUEUE_BOUND};
use crate::data_dir::{Content, DataDir, DataDirError, Identity, Surroundings};
use crate::env::{self, Instant};
use crate::image::{BrokerId, ClusterImage, ImageReceiver, Incarnation, Me};
use crate::metrics::Metrics;

mod asks;
pub mod copy;
pub mod image;
pub mod known;
mod peers;
mod put_back;
pub mod restore;
pub mod session;

use asks::Desk;
use known::{Compared, Known, Lists, News};
use session::{Seen, Session};

/// Returns `client` with its writes counted.
pub fn counted(client: Client, namespace: &str, metrics: Arc<Metrics>) -> Client {
    let count = move |kind: &str, verb| metrics.kubernetes_writes.with_label_values(&[kind, verb]).inc();
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
    /// The pod's uid; `None` outside Kubernetes.
    pub pod_uid: Option<String>,
}

/// The running room.
pub struct Coord {
    images: ImageReceiver,
    ask: AskSender,
    said: Said,
    annotations: watch::Sender<BTreeMap<String, String>>,
    held: watch::Receiver<Option<Instant>>,
    renewed: watch::Receiver<Option<Instant>>,
    signs: watch::Receiver<Instant>,
    // Dropped in this order: when this is dropped, it ends as in a killed process, without a write.
    others: JoinSet<()>,
    counting: JoinSet<()>,
    copying: JoinSet<()>,
    lease: JoinSet<()>,
    stop_copying: oneshot::Sender<()>,
    stop_lease: oneshot::Sender<()>,
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

/// What the broker writes on its Lease.
struct Said {
    broker: BrokerId,
    identity: Identity,
    endpoints: Vec<Endpoint>,
}

/// How long a start waits for the API server before it uses the copy on disk.
const AWAY_AFTER: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(200);
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
        let Setup { client, namespace, cluster, endpoints, pod_uid } = setup;
        let me = dir.broker();
        let copy = copy::read(dir.path())?.unwrap_or_default();
        let (publish, mut images) = watch::channel(Arc::new(ClusterImage::default()));
        let (sign, signs) = watch::channel(env::now());
        let (keep, known) = watch::channel(copy.clone());
        let (miss, missing) = watch::channel(copy.missing_topics(me));
        let (compare, compared) = watch::channel(Compared::default());
        let set_backs = SetBacks::default();
        let watching = Watching { me, publish: publish.clone(), sign, keep, miss, compare, known: copy.clone() };
        let mut others = JoinSet::new();
        others.spawn(watching.run(watches(&client, &namespace, &cluster, &set_backs)));

        let api = ApiServer { client: &client, namespace: &namespace, cluster: &cluster };
        let session = api.begin_session(dir, Surroundings::of_process(pod_uid), &mut images, &copy).await?;
        let said = Said { broker: me, identity: session.identity.clone(), endpoints };

        let mut first = said.annotations(false);
        // An earlier process may have listed unheard leaders.
        first.insert(names::UNHEARD_ANNOTATION.to_owned(), String::new());
        first.insert(names::MISSING_ANNOTATION.to_owned(), session::list(&missing.borrow()));
        first.extend(session::compared(&compared.borrow()));
        first.extend([session::ticks(&session.identity, session.ticks.count())]);
        let (annotations, to_write) = watch::channel(first);
        others.spawn(session::annotate(names::MISSING_ANNOTATION, missing, annotations.clone()));
        others.spawn(session::annotate_compared(compared, annotations.clone()));
        others.spawn(put_back::put_back(Api::namespaced(client.clone(), &namespace), known.clone()));
        let (hold, mut held) = watch::channel(None);
        let (stop_lease, stopped) = oneshot::channel::<()>();
        let leases = Api::namespaced(client.clone(), &namespace);
        let mut claim = session::claim(&cluster, me, &session, set_backs.clone());
        let (renew, renewed) = watch::channel(None);
        others.spawn(session::remember_renewals(held.clone(), renew));
        let stopped = async { stopped.await.unwrap_or_default() };
        let mut lease = JoinSet::new();
        let content = Content { identity: session.identity.clone(), ticks: session.ticks.count() };
        let lease_unread = session.lease_unread;
        let mut counting = JoinSet::new();
        counting.spawn(session::count(session.identity.clone(), session.ticks, annotations.clone()));
        lease.spawn(async move {
            let mut stopped = pin!(stopped);
            if lease_unread {
                claim = tokio::select! {
                    claim = session::claim_once_read(&leases, claim, &content) => claim,
                    () = &mut stopped => return,
                };
            }
            lease::hold(leases, claim, to_write, hold, stopped).await;
        });
        if images.borrow().cluster_id.is_empty() {
            publish.send_replace(Arc::new(image::image(me, &copy, &ClusterImage::default())));
        } else {
            // An earlier process of this broker may still run.
            let _ = held.wait_for(Option::is_some).await;
        }

        let (ask, asks) = mpsc::channel(QUEUE_BOUND);
        let (keep, kept) = watch::channel(Arc::new(copy));
        let here = Me { id: me, incarnation: session.identity.incarnation };
        let desk = Desk::new(&api, here, images.clone(), kept, known.clone(), set_backs);
        others.spawn(desk.serve(asks));
        let (stop_copying, stopped) = oneshot::channel::<()>();
        let stopped = async { stopped.await.unwrap_or_default() };
        let mut copying = JoinSet::new();
        copying.spawn(copy::keep(dir.path().to_owned(), known, keep, stopped));
        Ok(Coord {
            images,
            ask,
            said,
            annotations,
            held,
            renewed,
            signs,
            others,
            counting,
            copying,
            lease,
            stop_copying,
            stop_lease,
        })
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
        self.said.broker
    }

    /// The incarnation of the data directory.
    pub fn incarnation(&self) -> Incarnation {
        self.said.identity.incarnation
    }

    /// Until when this process holds the broker's Lease; `None`: it does not hold it.
    pub fn session(&self) -> watch::Receiver<Option<Instant>> {
        self.held.clone()
    }

    /// When the API server last answered.
    pub fn signs_of_life(&self) -> SignsOfLife {
        SignsOfLife { renewed: self.renewed.clone(), signs: self.signs.clone() }
    }

    /// Writes on the Lease that this broker is draining.
    pub fn drain(&self) {
        self.annotations.send_modify(|annotations| annotations.extend(self.said.annotations(true)));
    }

    /// From now on lists unheard leaders on the Lease, as evidence beside the operator's pings.
    pub fn report_unheard(&mut self, unheard: watch::Receiver<BTreeSet<BrokerId>>) {
        self.others.spawn(session::annotate(names::UNHEARD_ANNOTATION, unheard, self.annotations.clone()));
    }

    /// Stops counting ticks. Call it before the marker of a clean stop is written: the marker syncs the ticks, and the
    /// Lease must not have more.
    pub async fn stop_counting(&mut self) {
        self.counting.shutdown().await;
    }

    /// Stops: writes the last copy, if the disk takes it in time, and releases the Lease. A broker does this last. Not
    /// cancellation safe.
    pub async fn stop(mut self) {
        let _ = self.stop_copying.send(());
        if timeout(LAST_COPY_WITHIN, self.copying.join_next()).await.is_err() {
            tracing::warn!("the last copy of the cluster's objects was not written to the disk in time");
        }
        self.counting.shutdown().await;
        self.others.shutdown().await;
        let _ = self.stop_lease.send(());
        let _ = self.lease.join_next().await;
    }
}

impl Said {
    fn annotations(&self, draining: bool) -> BTreeMap<String, String> {
        session::annotations(&self.identity, &self.endpoints, draining)
    }
}

/// One cluster on one API server.
struct ApiServer<'a> {
    client: &'a Client,
    namespace: &'a str,
    cluster: &'a str,
}

impl ApiServer<'_> {
    async fn begin_session(
        &self,
        dir: &DataDir,
        here: Surroundings,
        images: &mut ImageReceiver,
        copy: &Known,
    ) -> Result<Session, DataDirError> {
        let away_at = env::now() + AWAY_AFTER;
        let mut told = false;
        loop {
            let shown = tokio::time::timeout_at(away_at, images.wait_for(|image| !image.cluster_id.is_empty()));
            // The guard must not live across the read below, because the next image waits for it.
            let shown = shown.await.is_ok();
            let session = match self.read(dir.broker()).await {
                Ok((Some(cluster_id), lease)) if shown => {
                    dir.claim(&cluster_id, env::random_uuid())?;
                    session::begin(dir, Seen::Read(lease.as_ref()), here.clone())?
                }
                Ok(_) => None,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(
                            error = why(&error),
                            "the API server does not answer: serving from the last \
                        known state"
                        );
                    }
                    let known = copy.cluster.is_some() && env::now() >= away_at;
                    if known { session::begin(dir, Seen::Away, here.clone())? } else { None }
                }
            };
            match session {
                Some(session) => return Ok(session),
                None => env::sleep_until(env::now() + RETRY).await,
            }
        }
    }

    /// The cluster's id, if it has one yet, and the broker's Lease.
    async fn read(&self, me: BrokerId) -> Result<(Option<String>, Option<Lease>), kube::Error> {
        let clusters: Api<KafkaCluster> = Api::namespaced(self.client.clone(), self.namespace);
        let cluster = clusters.get_opt(self.cluster).await?;
        let cluster_id = cluster.and_then(|cluster| cluster.status?.cluster_id);
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), self.namespace);
        Ok((cluster_id, leases.get_opt(&names::broker(self.cluster, me)).await?))
    }
}

/// Makes images of what the watches show.
struct Watching {
    me: BrokerId,
    known: Known,
    publish: watch::Sender<Arc<ClusterImage>>,
    sign: watch::Sender<Instant>,
    keep: watch::Sender<Known>,
    miss: watch::Sender<BTreeSet<String>>,
    compare: watch::Sender<Compared>,
}

impl Watching {
    async fn run(mut self, mut watches: Watches<News>) {
        let mut lists = Lists::default();
        let mut learned = false;
        while let Some(told) = watches.next().await {
            let news = match told {
                Told::Events(news) => news,
                Told::SetBack => {
                    // What was shown before may not exist any more.
                    lists = Lists::default();
                    self.compare.send_modify(|compared| compared.newer = None);
                    continue;
                }
            };
            self.sign.send_replace(env::now());
            learned |= self.known.learn(self.me, &mut lists, news);
            // A list that is not complete shows a part of the cluster.
            if !watches.are_complete() {
                continue;
            }
            // This comes first, because the Lease that is taken with the first image has it.
            let compared = self.known.compared();
            self.compare.send_if_modified(|told| std::mem::replace(told, compared.clone()) != compared);
            let before = self.publish.borrow().clone();
            if std::mem::take(&mut learned) || before.cluster_id.is_empty() {
                self.publish.send_replace(Arc::new(image::image(self.me, &self.known, &before)));
                self.keep.send_replace(self.known.clone());
                let missing = self.known.missing_topics(self.me);
                self.miss.send_if_modified(|told| std::mem::replace(told, missing.clone()) != missing);
            }
        }
    }
}

/// The three watches. Each starts with a consistent list, and starts again when it fails.
fn watches(client: &Client, namespace: &str, cluster: &str, set_backs: &SetBacks) -> Watches<News> {
    let mut watches = Watches::new(set_backs);
    let clusters = watcher(Api::namespaced(client.clone(), namespace), named(cluster), set_backs);
    watches.add(&(), clusters, News::Cluster);
    let topics = watcher(Api::namespaced(client.clone(), namespace), of_cluster(cluster), set_backs);
    watches.add(&(), topics, News::Topic);
    let assignments = watcher(Api::namespaced(client.clone(), namespace), of_cluster(cluster), set_backs);
    watches.add(&(), assignments, News::Assignment);
    watches
}
