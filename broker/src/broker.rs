//! Puts the rooms together and takes them down again.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString as Str;
use ottla_wire::ApiKey;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::ask::AskSender;
use crate::env::Workers;
use crate::fetch_sessions::FetchSessions;
use crate::groups::Groups;
use crate::handle::Handler;
use crate::health::Health;
use crate::image::ImageReceiver;
use crate::image::Me;
use crate::metrics::Metrics;
use crate::producer_ids::ProducerIds;
use crate::replica::Replicas;
use crate::replica::checkpoints::{CheckpointError, Checkpoints};
use crate::server::Server;
use crate::server::buffers::Budget;
use crate::server::reactor::Limits;

/// What a broker is made from.
pub struct Setup {
    /// Who it is.
    pub me: Me,
    /// Its data directory, locked by the caller.
    pub data: PathBuf,
    /// Whether the last process closed its logs.
    pub clean: bool,
    /// Whether the directory's content kept its incarnation: the machine has not crashed since.
    pub intact: bool,
    /// Where clients connect: bound sockets by listener name.
    pub listeners: Vec<(Str, TcpListener)>,
    /// Threads that serve connections.
    pub reactors: usize,
    /// Threads for what blocks.
    pub workers: usize,
    /// Memory for requests that are being read, in bytes, where `queued.max.request.bytes` does not say.
    pub request_memory: usize,
    /// The cluster as it is known now. The first image must be there: limits are read from it.
    pub images: ImageReceiver,
    /// The way to ask for changes.
    pub ask: AskSender,
    /// What Prometheus is told.
    pub metrics: Arc<Metrics>,
}

/// A running broker.
pub struct Broker {
    server: Server,
    replicas: Arc<Replicas>,
    workers: Workers,
    me: Me,
    images: ImageReceiver,
    metrics: Arc<Metrics>,
    tasks: Vec<JoinHandle<()>>,
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory's checkpoints are damaged.
    #[error(transparent)]
    Checkpoints(#[from] CheckpointError),
    /// The data directory can't be used.
    #[error(transparent)]
    Disk(#[from] ottla_log::DiskError),
    /// The system has no thread, no poller or no socket to give.
    #[error("failed to start a thread: {0}")]
    System(#[from] io::Error),
}

/// "Never", for a duration that is added to a clock.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Broker {
    /// Starts serving. Must be called on the control runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(setup: Setup) -> Result<Broker, StartError> {
        let Setup { me, data, clean, intact, listeners, reactors, workers, request_memory, images, ask, metrics } =
            setup;
        let settings = images.borrow().settings.clone();
        let workers = Workers::start(workers)?;
        let checkpoints = Checkpoints::load(&data, clean, intact)?;
        let (replicas, joining) = Replicas::new(me, &data, checkpoints, workers.clone(), metrics.clone(), ask.clone())?;
        let groups = Groups::new(replicas.clone(), workers.clone(), images.clone(), &metrics);
        let handler = Arc::new(Handler {
            id: me.id,
            images: images.clone(),
            replicas: replicas.clone(),
            groups: groups.clone(),
            producer_ids: ProducerIds::new(ask.clone()),
            fetch_sessions: FetchSessions::default(),
            ask,
            workers: workers.clone(),
            metrics: metrics.clone(),
            facts: facts(me, &data, &listeners),
        });
        let retention_interval = {
            let images = images.clone();
            move || images.borrow().settings.log_retention_check_interval
        };
        let max_lag = {
            let images = images.clone();
            move || images.borrow().settings.replica_lag_time_max
        };
        measure(&replicas, &metrics);
        let tasks = vec![
            tokio::spawn(follow(replicas.clone(), images.clone())),
            tokio::spawn(replicas.clone().keep_house(retention_interval)),
            tokio::spawn(replicas.clone().keep_in_sync(max_lag, joining)),
            tokio::spawn(replicas.clone().keep_scrubbing(images.clone())),
            tokio::spawn(groups.run()),
        ];
        let memory = settings.queued_max_request_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let limits = Limits {
            max_request: settings.socket_request_max_bytes,
            max_idle: settings.connections_max_idle.unwrap_or(NEVER),
        };
        // The largest request must fit, or it would wait for itself.
        let budget = Budget::new(memory.unwrap_or(request_memory).max(limits.max_request));
        let server = Server::start(listeners, &handler, reactors, budget, limits)?;
        Ok(Broker { server, replicas, workers, me, images, metrics, tasks })
    }

    /// The replicas that run here.
    pub fn replicas(&self) -> &Arc<Replicas> {
        &self.replicas
    }

    /// What of it can be well or ill.
    pub fn health(&self) -> Health {
        Health::new(self.me, self.server.pulses(), self.workers.clone(), self.replicas.clone(), self.images.clone())
    }

    /// How many requests that send or ask for records have come in so far.
    pub fn requests_for_records(&self) -> u64 {
        [ApiKey::Produce, ApiKey::Fetch].iter().map(|api| self.metrics.api(*api).requests.get()).sum()
    }

    /// Ends every connection, then closes every log. True when the logs are closed cleanly: the caller may leave the
    /// clean-shutdown marker. Not cancellation safe.
    pub async fn stop(self) -> bool {
        self.server.stop().await;
        for task in self.tasks {
            task.abort();
            // Aborted tasks end with an error that says so.
            let _ = task.await;
        }
        self.replicas.close().await
    }
}

fn facts(me: Me, data: &Path, listeners: &[(Str, TcpListener)]) -> BTreeMap<&'static str, String> {
    let address = |listener: &TcpListener| listener.local_addr().map_or_else(|_| String::new(), |a| a.to_string());
    let named: Vec<String> =
        listeners.iter().map(|(name, listener)| format!("{}://{}", name.to_uppercase(), address(listener))).collect();
    let id = me.id.to_string();
    BTreeMap::from([
        ("node.id", id.clone()),
        ("broker.id", id),
        ("listeners", named.join(",")),
        ("log.dirs", data.display().to_string()),
    ])
}

/// Lets each scrape see how large the logs are.
fn measure(replicas: &Arc<Replicas>, metrics: &Metrics) {
    let replicas = Arc::downgrade(replicas);
    metrics.before_scrape(move |metrics| {
        if let Some(replicas) = replicas.upgrade() {
            replicas.measure(metrics);
        }
    });
}

async fn follow(replicas: Arc<Replicas>, images: ImageReceiver) {
    replicas.follow(images).await;
}
