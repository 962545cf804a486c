//! One broker, from its data directory to its Lease: the same on a laptop and on Kubernetes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{io, net};

use bytestring::ByteString as Str;
use ottla_crds::Endpoint;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::broker::{Broker, Setup, StartError};
use crate::coord::{self, Coord};
use crate::data_dir::{DataDir, DataDirError};
use crate::disk_space::DiskSpace;
use crate::drain;
use crate::env;
use crate::filling;
use crate::hanging;
use crate::http::{self, Loaded, Probed};
use crate::image::Me;
use crate::image::{BrokerId, ImageReceiver};
use crate::metrics::Metrics;

/// What the starting program sets for a broker.
#[derive(Clone, Debug)]
pub struct Config {
    /// The broker's id.
    pub id: BrokerId,
    /// The namespace of the cluster's objects.
    pub namespace: String,
    /// The KafkaCluster's name.
    pub cluster: String,
    /// The data directory; created if it does not exist.
    pub data: PathBuf,
    /// The ports for clients and other brokers.
    pub listeners: Vec<Listener>,
    /// The folder of keys, certificates and authorities for TLS; it need not exist if no listener has TLS.
    pub tls: PathBuf,
    /// The address of the HTTP port: metrics and probes.
    pub http: SocketAddr,
    /// The pod's uid; `None` outside Kubernetes.
    pub pod_uid: Option<String>,
    /// The number of threads that serve connections.
    pub reactors: usize,
    /// The number of threads for blocking work.
    pub workers: usize,
    /// The memory for requests that are being read, in bytes.
    pub request_memory: usize,
}

/// A port for clients.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The listener's name.
    pub name: Str,
    /// The address and port; with port 0 the system chooses a free one.
    pub bind: SocketAddr,
    /// The host that this broker advertises, with the port on which it listens. `None`: the operator advertises, on
    /// Kubernetes.
    pub advertised_host: Option<String>,
}

/// A running broker.
pub struct Node {
    /// The addresses that this broker itself advertises.
    pub endpoints: Vec<Endpoint>,
    /// The address of the HTTP port.
    pub http: SocketAddr,
    data: DataDir,
    coord: Coord,
    broker: Broker,
    _http_port: Task<io::Result<()>>,
    _giving_way: Task<()>,
    _looking_at_disk: [Task<()>; 2],
}

/// A task that is aborted when its owner is dropped.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory is in use, belongs to another broker or cluster, or is damaged.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A port can't be listened on.
    #[error("failed to listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// Another version of Ottla has finalized a level that this one does not support.
    #[error(
        "the cluster has finalized level {level} of {feature}, which this version of Ottla does not support: run the \
        version that the other brokers run, or a later one"
    )]
    Feature {
        /// Kafka's name of the feature.
        feature: String,
        /// The finalized level.
        level: i16,
    },
    /// The broker's rooms do not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// The disk failed: the broker can't continue.
#[derive(Debug, thiserror::Error)]
#[error(
    "the data directory {} has failed: an earlier log line names the file and the error; the next start discards the \
    directory's content and copies it from other brokers",
    .0.display()
)]
pub struct DiskFailed(PathBuf);

impl Node {
    /// Starts a broker. Must be called on the control runtime.
    ///
    /// # Errors
    /// See [`NodeError`]; nothing is left running then.
    pub async fn start(config: Config, client: kube::Client) -> Result<Node, NodeError> {
        let data = DataDir::open(&config.data, config.id)?;
        let (clean, before) = (data.was_clean(), data.identity()?);
        let metrics_socket = listen(config.http).await?;
        let http = metrics_socket.local_addr().unwrap_or(config.http);
        let (metrics, probed, loaded) = (Metrics::new(), Probed::default(), Loaded::default());
        let serving = http::serve(metrics_socket, metrics.clone(), probed.clone(), loaded.clone());
        let http_port = Task(tokio::spawn(serving));
        let mut listeners = Vec::new();
        let mut endpoints = Vec::new();
        for Listener { name, bind, advertised_host } in config.listeners {
            let socket = listen(bind).await?;
            let port = socket.local_addr().map_or(bind.port(), |address| address.port());
            let told = advertised_host.map(|host| Endpoint { listener: name.to_string(), host, port: i32::from(port) });
            endpoints.extend(told);
            listeners.push((name, socket));
        }
        let setup = coord::Setup {
            client: coord::counted(client, &config.namespace, metrics.clone()),
            namespace: config.namespace,
            cluster: config.cluster,
            endpoints: endpoints.clone(),
            // On Kubernetes it is at the pod's address.
            http: Some(http).filter(|http| !http.ip().is_unspecified()),
            pod_uid: config.pod_uid,
        };
        let mut coord = Coord::start(setup, &data).await?;
        measure(&coord, &metrics);
        measure_disk(config.data.clone(), &metrics);
        shown(&coord, config.id).await;
        let features = coord.images().borrow().features.clone();
        if let Some((feature, level)) = features.unsupported() {
            coord.stop().await;
            return Err(NodeError::Feature { feature: feature.to_owned(), level });
        }
        let (filling, fills) = watch::channel(false);
        let (hanging, hangs) = watch::channel(false);
        let looking_at_disk = [
            Task(tokio::spawn(filling::watch(config.data.clone(), filling))),
            Task(tokio::spawn(hanging::watch(config.data.clone(), hanging))),
        ];
        let signs = coord.signs_of_life();
        let broker = Broker::start(Setup {
            me: Me { id: config.id, incarnation: coord.incarnation() },
            data: config.data,
            clean,
            intact: before.is_some_and(|before| before.incarnation == coord.incarnation()),
            listeners,
            reactors: config.reactors,
            workers: config.workers,
            request_memory: config.request_memory,
            images: coord.images(),
            is_current: Arc::new(move || signs.last().elapsed() < CURRENT_FOR),
            ask: coord.ask(),
            tls: config.tls,
            metrics,
        })
        .await?;
        coord.report_unheard(broker.replicas().unheard());
        coord.report_keys(broker.loaded_keys());
        coord.report_disk(hangs.clone(), fills);
        let _ = (probed.set(broker.health(hangs)), loaded.set(broker.loads().clone()));
        let session = coord.session();
        let is_cut_off = move || session.borrow().is_none_or(|until| until <= env::now());
        let giving_way = Task(tokio::spawn(broker.replicas().clone().give_way(is_cut_off)));
        Ok(Node {
            endpoints,
            http,
            data,
            coord,
            broker,
            _http_port: http_port,
            _giving_way: giving_way,
            _looking_at_disk: looking_at_disk,
        })
    }

    /// The cluster as this broker sees it.
    pub fn images(&self) -> ImageReceiver {
        self.coord.images()
    }

    /// Hands partitions over to other brokers, and serves meanwhile for `patience` at most; then stops. The next start
    /// needs no recovery. Not cancellation safe.
    ///
    /// # Errors
    /// When the data directory fails meanwhile: see [`Node::disk_failed`]. Then there is no marker of a clean stop.
    pub async fn stop(self, patience: Duration) -> Result<(), DiskFailed> {
        tokio::select! {
            () = self.hand_over(patience) => {}
            failed = self.disk_failed() => return Err(failed),
        }
        self.close().await
    }

    /// Stops at once, without handing over. The next start needs no recovery. For a process whose brokers all stop. Not
    /// cancellation safe.
    ///
    /// # Errors
    /// As [`Node::stop`].
    pub async fn close(mut self) -> Result<(), DiskFailed> {
        let closed = self.broker.stop().await;
        self.coord.stop_counting().await;
        if closed && let Err(error) = self.data.mark_clean() {
            tracing::error!(%error, "failed to write the clean-shutdown marker: the next start recovers the logs");
        }
        if self.data.has_failed() {
            return Err(DiskFailed(self.data.path().to_owned()));
        }
        self.coord.stop().await;
        Ok(())
    }

    async fn hand_over(&self, patience: Duration) {
        let me = self.coord.broker();
        let deadline = env::now() + patience;
        let mut images = self.coord.images();
        let led = drain::leads(&images.borrow(), me);
        self.coord.drain();
        let handed_over = images.wait_for(|image| !drain::is_needed(image, me));
        if tokio::time::timeout_at(deadline, handed_over).await.is_err() {
            tracing::warn!(broker = %me, "stopping before other brokers have taken over all partitions");
        } else if led && !drain::leads(&images.borrow(), me) {
            self.see_clients_off(deadline).await;
        }
    }

    /// Returns when the data directory has failed. The broker has no other, so the process must end, as Kafka's does:
    /// other leaders are elected at once, and the next start on this disk draws a new incarnation
    /// ([`DataDir::has_failed`]).
    pub async fn disk_failed(&self) -> DiskFailed {
        self.broker.replicas().disk_failed().await;
        DiskFailed(self.data.path().to_owned())
    }

    /// Keeps serving while clients produce or fetch: each gets the new leader's address and goes there. A client whose
    /// connection broke would have to look for the new leader, after a pause.
    async fn see_clients_off(&self, deadline: env::Instant) {
        let deadline = deadline.min(env::now() + LONGEST_FAREWELL);
        let mut seen = self.broker.requests_for_records();
        while env::now() < deadline {
            env::sleep_until(deadline.min(env::now() + QUIET)).await;
            let before = std::mem::replace(&mut seen, self.broker.requests_for_records());
            if before == seen {
                return;
            }
        }
    }
}

/// When no client has produced or fetched for so long, all have moved to the new leaders.
const QUIET: Duration = Duration::from_millis(300);
/// The longest time for which a broker that leads nothing waits for that.
const LONGEST_FAREWELL: Duration = Duration::from_secs(1);

/// How long after an answer of the API server the image counts as current: the broker renews its Lease every 2 s.
const CURRENT_FOR: Duration = Duration::from_secs(10);

/// Waits until the KafkaCluster shows this broker, and not its earlier process, which was draining. Then Metadata names
/// it, and topics can be created. It does not wait for long, because the API server may be away.
async fn shown(coord: &Coord, id: BrokerId) {
    let mut images = coord.images();
    let is_shown =
        images.wait_for(|image| image.brokers.get(&id).is_some_and(|broker| broker.alive && !broker.draining));
    if tokio::time::timeout(SHOWN_WITHIN, is_shown).await.is_err() {
        tracing::warn!(broker = %id, "serving before the KafkaCluster shows this broker");
    }
}

/// How long a start waits for that: the operator needs one round trip.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);

/// Computes the age of the broker's view of its cluster at each scrape.
fn measure(coord: &Coord, metrics: &Metrics) {
    let signs = coord.signs_of_life();
    metrics.before_scrape(move |metrics| {
        let age = |since: env::Instant| since.elapsed().as_secs_f64();
        metrics.cluster.control_plane_staleness.with_label_values::<&str>(&[]).set(age(signs.last()));
        if let Some(renewed) = signs.renewed() {
            metrics.cluster.lease_age.with_label_values::<&str>(&[]).set(age(renewed));
        }
    });
}

/// Computes how full the disk is at each scrape.
fn measure_disk(data: PathBuf, metrics: &Metrics) {
    metrics.before_scrape(move |metrics| match DiskSpace::of(&data) {
        Ok(disk) => {
            let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
            metrics.disk.size.set(bytes(disk.size()));
            metrics.disk.free.set(bytes(disk.free));
        }
        Err(error) => tracing::warn!(%error, "failed to see how full the disk is"),
    });
}

/// Listens, even while connections of an earlier process are still in TIME_WAIT.
async fn listen(address: SocketAddr) -> Result<TcpListener, NodeError> {
    let bound = async {
        let socket = match address {
            net::SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
            net::SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound.await.map_err(|error| NodeError::Listen { address, error })
}

/// How many connections the kernel queues until they are accepted: after a restart all clients connect at once.
const BACKLOG: u32 = 4096;
