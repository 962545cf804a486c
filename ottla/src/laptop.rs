//! The laptop mode: API, operator and brokers in one process, started and stopped in order.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use ottla_broker::image::BrokerId;
use ottla_broker::node::{Config, DiskFailed, Listener, Node};
use ottla_crds::{Brokers, KafkaCluster, KafkaClusterSpec, names};
use ottla_kube::lease::{self, Sightings};
use ottla_kube::versions::SetBacks;
use ottla_local_api::{Server, Store};
use ottla_operator::acting::Acting;
use ottla_operator::pruned::Pruned;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::keys;
use crate::options::LaptopOptions;

const NAMESPACE: &str = "default";
/// The name of the one cluster.
const CLUSTER: &str = "laptop";
/// The name of the one listener.
const LISTENER: &str = "internal";
/// The number of threads for blocking work of each broker.
const WORKERS: usize = 4;
/// The memory for requests that are being read, of all brokers together, in bytes.
const REQUEST_MEMORY: usize = 256 << 20;
/// How long the operator waits at a start for the brokers of the last run. It takes milliseconds.
const RETURN: Duration = Duration::from_secs(10);
/// How long a start waits for the brokers to know each other. It takes milliseconds.
const ACQUAINTANCE: Duration = Duration::from_secs(10);

/// What differs from Kafka's defaults: as in the `server.properties` of Kafka's quick start, a new group does not wait
/// for more members, and an internal topic has no more replicas than there are brokers.
fn settings(brokers: u16) -> [(String, String); 2] {
    [("offsets.topic.replication.factor", brokers.clamp(1, 3)), ("group.initial.rebalance.delay.ms", 0)]
        .map(|(name, value)| (name.to_owned(), value.to_string()))
}

/// Everything that runs.
pub struct Laptop {
    data: PathBuf,
    api: SocketAddr,
    nodes: Vec<Node>,
    operator: Stoppable,
    api_port: Stoppable,
}

impl Laptop {
    /// Starts the API, the operator and the brokers on one folder.
    ///
    /// # Errors
    /// One sentence with the cause: a folder in use, a port in use, a file that can't be read.
    pub async fn start(options: &LaptopOptions) -> anyhow::Result<Laptop> {
        check_loopback(options.api)?;
        std::fs::create_dir_all(&options.data)
            .with_context(|| format!("failed to create the data folder {}", options.data.display()))?;
        // The folder before the port, so that a second start of the same command says that the folder is in use.
        let server = Server::new(Store::Folder(options.data.join("kubernetes")), ottla_crds::all())?;
        let socket = TcpListener::bind(options.api).await;
        let socket = socket.with_context(|| format!("failed to listen on {} (--api)", options.api))?;
        let api = socket.local_addr()?;
        let client = server.client(NAMESPACE);
        let wanted = ensure_cluster(client.clone(), options).await?;

        let here = if options.apart { 0 } else { wanted.brokers };
        let former = FormerSessions::of(client.clone(), here).await?;
        if wanted.has_authorities {
            let clusters: Api<KafkaCluster> = Api::namespaced(client.clone(), NAMESPACE);
            let cluster = clusters.get(CLUSTER).await?;
            ottla_operator::authorities::ensure(&client, &cluster, &mut Pruned::default()).await?;
            keys::write(&client, NAMESPACE, CLUSTER, &tls_folder(options)).await?;
        }
        let operator = Stoppable::spawn({
            let (client, tls) = (client.clone(), tls_folder(options));
            |mut stop| async move {
                tokio::select! {
                    () = former.replaced() => operate(client, tls, stop).await,
                    () = &mut stop => {}
                }
            }
        });
        let starting = (0..here).map(|id| Node::start(config(options, id, &wanted), client.clone()));
        let mut nodes = Vec::new();
        let mut failed = None;
        for started in futures::future::join_all(starting).await {
            match started {
                Ok(node) => nodes.push(node),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            for node in nodes {
                // The reason was printed already.
                let _ = node.close().await;
            }
            operator.stop().await;
            return Err(error.into());
        }
        let acquainted = futures::future::join_all(nodes.iter().map(|node| knows_all(node, nodes.len())));
        if tokio::time::timeout(ACQUAINTANCE, acquainted).await.is_err() {
            tracing::warn!("the brokers do not all know each other yet");
        }
        let api_port = Stoppable::spawn(|stop| async move {
            if let Err(error) = server.serve(socket, stop).await {
                tracing::error!(%error, "the port of the API failed");
            }
        });
        Ok(Laptop { data: options.data.clone(), api, nodes, operator, api_port })
    }

    /// Returns when a broker's disk has failed. Never without brokers.
    pub async fn disk_failed(&self) -> DiskFailed {
        let failing: Vec<_> = self.nodes.iter().map(|node| Box::pin(node.disk_failed())).collect();
        if failing.is_empty() { std::future::pending().await } else { futures::future::select_all(failing).await.0 }
    }

    /// Stops everything, so that the next start needs no recovery. Not cancellation safe.
    ///
    /// # Errors
    /// When a broker's disk fails meanwhile; everything has stopped then, too.
    pub async fn stop(self) -> Result<(), DiskFailed> {
        // The operator first: when all brokers stop, none can take over, and the present leaders can lead at the next
        // start.
        self.operator.stop().await;
        let stopped = futures::future::join_all(self.nodes.into_iter().map(Node::close)).await;
        self.api_port.stop().await;
        stopped.into_iter().collect()
    }
}

impl fmt::Display for Laptop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<String> = self
            .nodes
            .iter()
            .flat_map(|node| &node.endpoints)
            .filter(|endpoint| endpoint.listener != names::REPLICATION_LISTENER)
            .map(|endpoint| format!("{}:{}", endpoint.host, endpoint.port))
            .collect();
        let kafka = endpoints.join(",");
        let metrics: Vec<String> = self.nodes.iter().map(|node| format!("http://{}/metrics", node.http)).collect();
        let version = env!("CARGO_PKG_VERSION");
        if self.nodes.is_empty() {
            writeln!(f, "ottla {version} is waiting for its brokers; objects are in {}", self.data.display())?;
            writeln!(f)?;
            return write!(f, "api      http://{}", self.api);
        }
        writeln!(f, "ottla {version} serves Kafka; records are in {}", self.data.display())?;
        writeln!(f)?;
        writeln!(f, "kafka    {kafka}")?;
        writeln!(f, "api      http://{}", self.api)?;
        writeln!(f, "metrics  {}", metrics.join(" "))?;
        writeln!(f)?;
        writeln!(f, "Try:")?;
        writeln!(f, "  kafka-topics.sh --bootstrap-server {kafka} --create --topic hello --partitions 3")?;
        writeln!(f, "  kafka-console-producer.sh --bootstrap-server {kafka} --topic hello")?;
        writeln!(f, "  kafka-console-consumer.sh --bootstrap-server {kafka} --topic hello --from-beginning")?;
        write!(f, "  kubectl --server http://{} get kafkatopics", self.api)
    }
}

/// Coordinates the cluster and keeps its certificates and the credentials of its users, until `stop`.
async fn operate(client: Client, tls: PathBuf, stop: impl Future<Output = ()>) {
    let users = ottla_operator::users::run(client.clone(), NAMESPACE, CLUSTER, Acting::alone(), None, |_| {});
    let authorities = ottla_operator::authorities::run(client.clone(), NAMESPACE, CLUSTER, Acting::alone(), None);
    let issuers = ottla_operator::issuers::run(client.clone(), NAMESPACE, CLUSTER, Acting::alone(), None);
    let keys = keys::follow(client.clone(), NAMESPACE, CLUSTER, tls);
    let others = ottla_operator::coordination::others::run_others(client.clone(), NAMESPACE, CLUSTER);
    tokio::select! {
        () = others => {}
        () = authorities => {}
        () = issuers => {}
        () = keys => {}
        () = ottla_operator::coordination::run(client, NAMESPACE, CLUSTER, stop) => {}
        () = users => {}
    }
}

/// Returns when a broker knows that all brokers are alive: before that, a topic would be refused because of too few
/// brokers.
async fn knows_all(node: &Node, brokers: usize) {
    let mut images = node.images();
    // An error says that there will be no further image: the broker is stopping.
    let _ = images.wait_for(|image| image.brokers.values().filter(|broker| broker.alive).count() >= brokers).await;
}

/// Refuses an address that is not loopback: the API has no authentication.
fn check_loopback(api: SocketAddr) -> anyhow::Result<()> {
    if !api.ip().is_loopback() {
        bail!("--api {api}: the API has no authentication and listens on loopback only; use 127.0.0.1 or [::1]");
    }
    Ok(())
}

/// What the KafkaCluster says of the brokers of this process.
struct LaptopBrokers {
    brokers: u16,
    /// Listeners beside the one of `--kafka`, with the ports of broker 0.
    more_listeners: Vec<(String, u16)>,
    /// Whether brokers reach each other under TLS.
    has_authorities: bool,
}

fn tls_folder(options: &LaptopOptions) -> PathBuf {
    options.data.join("tls")
}

/// Makes the KafkaCluster what the options say, and returns what it says then.
async fn ensure_cluster(client: Client, options: &LaptopOptions) -> anyhow::Result<LaptopBrokers> {
    let clusters: Api<KafkaCluster> = Api::namespaced(client, NAMESPACE);
    let found = clusters.get_opt(CLUSTER).await?;
    let wanted = i32::from(options.brokers);
    let Some(found) = found else {
        let config = settings(options.brokers).into_iter();
        let spec = KafkaClusterSpec {
            brokers: Brokers { replicas: wanted, ..Brokers::default() },
            listeners: vec![ottla_crds::Listener {
                name: LISTENER.to_owned(),
                port: 9092,
                ..ottla_crds::Listener::default()
            }],
            config: config.chain(options.settings.iter().cloned()).collect(),
            ..KafkaClusterSpec::default()
        };
        clusters.create(&PostParams::default(), &KafkaCluster::new(CLUSTER, spec)).await?;
        return Ok(LaptopBrokers { brokers: options.brokers, more_listeners: Vec::new(), has_authorities: false });
    };
    // The existing brokers have partitions, so this option can add brokers and never remove them.
    let replicas = found.spec.brokers.replicas.max(wanted);
    let settings: serde_json::Map<_, _> = options.settings.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    if replicas != found.spec.brokers.replicas || !settings.is_empty() {
        let patch = json!({ "spec": { "brokers": { "replicas": replicas }, "config": settings } });
        clusters.patch(CLUSTER, &PatchParams::default(), &Patch::Merge(patch)).await?;
    }
    let has_authorities = found.spec.has_authorities();
    let more = found.spec.listeners.into_iter().filter(|listener| listener.name != LISTENER);
    let more_listeners = more.map(|listener| Ok((listener.name, u16::try_from(listener.port)?)));
    let more_listeners = more_listeners.collect::<anyhow::Result<_>>()?;
    Ok(LaptopBrokers { brokers: u16::try_from(replicas)?, more_listeners, has_authorities })
}

fn config(options: &LaptopOptions, id: u16, wanted: &LaptopBrokers) -> Config {
    let brokers = wanted.brokers;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let brokers = usize::from(brokers);
    let first = (LISTENER, options.kafka);
    let more = wanted.more_listeners.iter().map(|(name, port)| {
        // Where the system chooses the ports, it chooses these, too.
        let port = if options.kafka.port() == 0 { 0 } else { *port };
        (&**name, SocketAddr::new(options.kafka.ip(), port))
    });
    // Brokers find each other's ports in the KafkaCluster, so the system chooses these.
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let replication = wanted.has_authorities.then(|| Listener {
        name: names::REPLICATION_LISTENER.into(),
        bind: loopback,
        advertised_host: Some(loopback.ip().to_string()),
    });
    let listeners = std::iter::once(first).chain(more).map(|(name, address)| Listener {
        name: name.into(),
        bind: above(address, id),
        advertised_host: Some(advertised_host(options)),
    });
    Config {
        id: BrokerId(i32::from(id)),
        namespace: NAMESPACE.to_owned(),
        cluster: CLUSTER.to_owned(),
        data: broker_dir(&options.data, id),
        tls: tls_folder(options),
        listeners: listeners.chain(replication).collect(),
        http: above(options.metrics, id),
        pod_uid: None,
        reactors: cores.div_ceil(brokers),
        workers: WORKERS,
        request_memory: REQUEST_MEMORY / brokers,
    }
}

fn broker_dir(data: &Path, id: u16) -> PathBuf {
    data.join(format!("broker-{id}"))
}

/// Broker N's address; with port 0 the system chooses a free port for each broker.
fn above(first: SocketAddr, id: u16) -> SocketAddr {
    let port = if first.port() == 0 { 0 } else { first.port().saturating_add(id) };
    SocketAddr::new(first.ip(), port)
}

fn advertised_host(options: &LaptopOptions) -> String {
    match &options.advertise {
        Some(host) => host.clone(),
        // "Everywhere" is no address to connect to.
        None if options.kafka.ip().is_unspecified() => "localhost".to_owned(),
        None => options.kafka.ip().to_string(),
    }
}

/// The brokers' Leases after the last run of this program.
struct FormerSessions {
    leases: Api<Lease>,
    /// The holder of each Lease; `None`: it was released.
    holders: BTreeMap<String, Option<String>>,
}

impl FormerSessions {
    async fn of(client: Client, brokers: u16) -> anyhow::Result<FormerSessions> {
        let leases: Api<Lease> = Api::namespaced(client, NAMESPACE);
        let mut holders = BTreeMap::new();
        for id in 0..brokers {
            let name = names::broker(CLUSTER, BrokerId(i32::from(id)));
            if let Some(lease) = leases.get_opt(&name).await? {
                holders.insert(name, lease.spec.and_then(|spec| spec.holder_identity));
            }
        }
        Ok(FormerSessions { leases, holders })
    }

    /// Waits until each of these brokers holds its Lease again, for a limited time. Otherwise the operator would judge
    /// starting brokers dead, and elect other leaders.
    async fn replaced(self) {
        let (seen, mut sightings) = watch::channel(Sightings::new());
        let set_backs = SetBacks::default();
        let selector = format!("{}={CLUSTER}", names::CLUSTER_LABEL);
        let is_replaced = |(name, former): (&String, &Option<String>), seen: &Sightings| {
            seen.get(name).is_some_and(|sighting| sighting.holder.is_some() && sighting.holder != *former)
        };
        let all = |seen: &Sightings| self.holders.iter().all(|one| is_replaced(one, seen));
        tokio::select! {
            () = lease::observe(self.leases.clone(), &selector, seen, &set_backs) => {}
            waited = tokio::time::timeout(RETURN, sightings.wait_for(all)) => if waited.is_err() {
                tracing::warn!("some brokers of the last run have not started; the operator starts without them");
            },
        }
    }
}

/// A task that ends on request.
struct Stoppable {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Stoppable {
    fn spawn<F>(start: impl FnOnce(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> F) -> Stoppable
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(start(Box::pin(async {
            // An error says that the sender is gone: stop as well.
            let _ = stopped.await;
        })));
        Stoppable { stop, task }
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        if self.task.await.is_err() {
            tracing::error!("a task panicked");
        }
    }
}
