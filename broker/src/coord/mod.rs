//! The broker's only window on Kubernetes: objects in, one image out; asks in, changes of objects out.
//!
//! - [`session`]: the directory's incarnation and the Lease
//! - [`known`]: the newest of everything that was ever shown
//! - [`image`]: from objects to the image, a pure function
//! - [`copy`]: what is known, on disk
//! - [`restore`]: from brokers' copies to objects that were lost, a pure function
//! - `put_back`: what an API server that was set back has lost; `peers`: whether entries may be written before
//! - [`asks`]: what the broker's rooms want changed
//!
//! Fail-static: with the API server away the image stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client, Resource};
use ottla_crds::change::why;
use ottla_crds::versions::SetBacks;
use ottla_crds::watch::{config as watch_config, watcher};
use ottla_crds::{Endpoint, KafkaCluster, lease, names};
use serde::de::DeserializeOwned;
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

/// `client`, whose writes are counted.
pub fn counted(client: Client, namespace: &str, metrics: Arc<Metrics>) -> Client {
    let count = move |kind: &str, verb| metrics.kubernetes_writes.with_label_values(&[kind, verb]).inc();
    ottla_crds::counted(client, namespace, count)
}

/// What the window needs.
pub struct Setup {
    /// The way to the API server.
    pub client: Client,
    /// Where the cluster's objects are.
    pub namespace: String,
    /// The KafkaCluster's name.
    pub cluster: String,
    /// Where clients are told to reach this broker, by listener; empty where the operator tells them.
    pub endpoints: Vec<Endpoint>,
    /// The pod's uid, on Kubernetes.
    pub pod_uid: Option<String>,
}

/// The open window.
pub struct Coord {
    images: ImageReceiver,
    ask: AskSender,
    said: Said,
    annotations: watch::Sender<BTreeMap<String, String>>,
    held: watch::Receiver<Option<Instant>>,
    renewed: watch::Receiver<Option<Instant>>,
    signs: watch::Receiver<Instant>,
    // Dropped in this order: a window that is dropped ends as a killed process does, without a word.
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
    /// When the Lease was renewed last, whether it is held now or not.
    pub fn renewed(&self) -> Option<Instant> {
        *self.renewed.borrow()
    }

    /// When the API server was last heard of, by whatever way.
    pub fn last(&self) -> Instant {
        let shown = *self.signs.borrow();
        self.renewed().map_or(shown, |renewed| renewed.max(shown))
    }
}

/// What the broker says on its Lease.
struct Said {
    broker: BrokerId,
    identity: Identity,
    endpoints: Vec<Endpoint>,
}

/// How long a start waits for the API server before it makes do with the copy on disk.
const AWAY_AFTER: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(200);
/// How long a stop waits for the disk to take the last copy: others wait for the Lease meanwhile.
const LAST_COPY_WITHIN: Duration = Duration::from_secs(2);
/// Events that are taken in before the next image.
const MOST_AT_ONCE: usize = 4096;

impl Coord {
    /// Opens the window: waits for the cluster's id, begins the session, and returns with the first image and the Lease
    /// held. With the API server away it returns with the copy on disk, where the directory alone proves that it is
    /// current.
    ///
    /// # Errors
    /// When the data directory is another cluster's or the disk refuses.
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
        others.spawn(watching.run(news(&client, &namespace, &cluster, &set_backs), set_backs.told()));

        let api = ApiServer { client: &client, namespace: &namespace, cluster: &cluster };
        let session = api.begin_session(dir, Surroundings::of_process(pod_uid), &mut images, &copy).await?;
        let said = Said { broker: me, identity: session.identity.clone(), endpoints };

        let mut first = said.annotations(false);
        // A former process may have said whom it did not hear.
        first.insert(names::UNHEARD_ANNOTATION.to_owned(), String::new());
        first.insert(names::MISSING_ANNOTATION.to_owned(), session::list(&missing.borrow()));
        first.extend(session::compared(&compared.borrow()));
        first.extend([session::ticks(&session.identity, session.ticks.count())]);
        let (annotations, to_write) = watch::channel(first);
        others.spawn(session::tell(names::MISSING_ANNOTATION, missing, annotations.clone()));
        others.spawn(session::tell_compared(compared, annotations.clone()));
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
            // Another process may still be this broker.
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

    /// The cluster as it is known. The first image is there.
    pub fn images(&self) -> ImageReceiver {
        self.images.clone()
    }

    /// The way to ask for changes.
    pub fn ask(&self) -> AskSender {
        self.ask.clone()
    }

    /// Who this is.
    pub fn broker(&self) -> BrokerId {
        self.said.broker
    }

    /// What the data directory holds.
    pub fn incarnation(&self) -> Incarnation {
        self.said.identity.incarnation
    }

    /// Until when this process counts as the broker; none: not at all.
    pub fn session(&self) -> watch::Receiver<Option<Instant>> {
        self.held.clone()
    }

    /// When the API server was heard of.
    pub fn signs_of_life(&self) -> SignsOfLife {
        SignsOfLife { renewed: self.renewed.clone(), signs: self.signs.clone() }
    }

    /// Says on the Lease that this broker wants to lead nothing any more.
    pub fn drain(&self) {
        self.annotations.send_modify(|annotations| annotations.extend(self.said.annotations(true)));
    }

    /// From now on says on the Lease whom this broker follows and does not hear: another witness beside the operator's
    /// own pings.
    pub fn tell_of_unheard(&mut self, unheard: watch::Receiver<BTreeSet<BrokerId>>) {
        self.others.spawn(session::tell(names::UNHEARD_ANNOTATION, unheard, self.annotations.clone()));
    }

    /// Counts no more in the directory. To be called before its marker of a clean stop: what it has counted until then
    /// is synced with that, and the Lease must not say more.
    pub async fn stop_counting(&mut self) {
        self.counting.shutdown().await;
    }

    /// Closes the window, with a copy of all that was seen where the disk takes it in time, and releases the Lease: the
    /// last thing a broker does. Not cancellation safe.
    pub async fn stop(mut self) {
        let _ = self.stop_copying.send(());
        if timeout(LAST_COPY_WITHIN, self.copying.join_next()).await.is_err() {
            tracing::warn!("the disk does not take the last copy of the cluster's objects in time");
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
            // The guard that it gives must not live across the read below: the next image waits for it.
            let shown = shown.await.is_ok();
            let session = match self.read(dir.broker()).await {
                Ok((Some(cluster_id), lease)) if shown => {
                    dir.claim(&cluster_id, env::random_uuid())?;
                    session::begin(dir, Seen::Read(lease.as_ref()), here.clone())?
                }
                Ok(_) => None,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(error = why(&error), "the API server is away");
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

/// Turns what is shown into images.
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
    async fn run(mut self, news: BoxStream<'static, News>, mut set_backs: watch::Receiver<u64>) {
        let mut lists = Lists::default();
        let mut learned = false;
        let mut news = news.ready_chunks(MOST_AT_ONCE);
        loop {
            let news = tokio::select! {
                biased;
                Ok(()) = set_backs.changed() => {
                    // What was shown before says nothing of what there is.
                    lists = Lists::default();
                    self.compare.send_modify(|compared| compared.newer = None);
                    continue;
                }
                news = news.next() => match news {
                    Some(news) => news,
                    None => return,
                },
            };
            self.sign.send_replace(env::now());
            learned |= self.known.learn(self.me, &mut lists, news);
            // Half a list shows half a cluster.
            if !lists.are_whole() {
                continue;
            }
            // First: the Lease that is taken with the first image says so.
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

/// The three watches, each begun with a consistent list and begun anew when it breaks.
fn news(client: &Client, namespace: &str, cluster: &str, set_backs: &SetBacks) -> BoxStream<'static, News> {
    let of_cluster = watch_config().fields(&format!("spec.clusterRef.name={cluster}"));
    let named = watch_config().fields(&format!("metadata.name={cluster}"));
    let clusters = events(client, namespace, named, set_backs).map(News::Cluster);
    let topics = events(client, namespace, of_cluster.clone(), set_backs).map(News::Topic);
    let assignments = events(client, namespace, of_cluster, set_backs).map(News::Assignment);
    stream::select_all([clusters.boxed(), topics.boxed(), assignments.boxed()]).boxed()
}

fn events<K>(
    client: &Client,
    namespace: &str,
    config: Config,
    set_backs: &SetBacks,
) -> impl Stream<Item = Event<K>> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let events = watcher::<K>(Api::namespaced(client.clone(), namespace), config, set_backs);
    events.filter_map(|event| async {
        event.inspect_err(|error| tracing::warn!(%error, kind = %K::kind(&()), "a watch broke: it begins anew")).ok()
    })
}
