//! Starts the rooms of a broker, and stops them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString as Str;
use ottla_access::{ListenerAccess, Listeners};
use ottla_crds::names;
use ottla_log::under_way;
use ottla_wire::ApiKey;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ask::AskSender;
use crate::dialer::Dialer;
use crate::env::{self, Workers};
use crate::fetch_sessions::FetchSessions;
use crate::groups::Groups;
use crate::handle::{Creations, Handler, Passwords, ask_for_topic};
use crate::health::Health;
use crate::image::{ImageReceiver, IsCurrent, Me, SHARE_GROUP_STATE};
use crate::loads::Loads;
use crate::log_ends::LogEnds;
use crate::metrics::Metrics;
use crate::producer_ids::ProducerIds;
use crate::quotas::Quotas;
use crate::replica::checkpoints::{CheckpointError, Checkpoints};
use crate::replica::{Replicas, RoleWorkers};
use crate::server::Server;
use crate::server::buffers::Budget;
use crate::server::reactor::SocketLimits;
use crate::share::Shares;
use crate::share_state::ShareStates;
use crate::share_state::persister::Persister;
use crate::tls::Keys;
use crate::transactions::Transactions;
use crate::transactions::ends::Ends;
use crate::transactions::verifier::Verifier;

/// What a broker needs to start.
pub struct Setup {
    /// Its id, cluster and incarnation.
    pub me: Me,
    /// Its data directory, locked by the caller.
    pub data: PathBuf,
    /// Whether the last process closed its logs, so that they need no recovery.
    pub clean: bool,
    /// Whether the directory's content kept its incarnation: the machine has not crashed since.
    pub intact: bool,
    /// Where clients connect: bound sockets by listener name.
    pub listeners: Vec<(Str, TcpListener)>,
    /// The number of threads that serve connections.
    pub reactors: usize,
    /// The number of threads for blocking work.
    pub workers: usize,
    /// The memory for requests that are being read, in bytes, if `queued.max.request.bytes` is not set.
    pub request_memory: usize,
    /// The cluster as this broker knows it. The first image must exist, because limits are read from it.
    pub images: ImageReceiver,
    /// Whether the image is current.
    pub is_current: IsCurrent,
    /// The queue of changes that the broker asks for.
    pub ask: AskSender,
    /// The folder of keys, certificates and authorities for TLS; it need not exist if no listener has TLS.
    pub tls: PathBuf,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

/// A running broker.
pub struct Broker {
    server: Server,
    rooms: Rooms,
    /// Reads the TLS files.
    keys: JoinHandle<()>,
    loaded: watch::Receiver<String>,
    workers: Workers,
    me: Me,
    images: ImageReceiver,
    metrics: Arc<Metrics>,
    /// Last, because the rooms' tasks run there.
    _side: Side,
}

/// What a broker's rooms need to start, without sockets and threads.
pub struct RoomsSetup {
    /// As in [`Setup`].
    pub me: Me,
    /// How it connects to other brokers.
    pub dialer: Dialer,
    /// As in [`Setup`].
    pub data: PathBuf,
    /// As in [`Setup`].
    pub clean: bool,
    /// As in [`Setup`].
    pub intact: bool,
    /// The threads for blocking work.
    pub workers: Workers,
    /// The threads on which roles begin.
    pub role_workers: RoleWorkers,
    /// Where tasks run that may wait for a partition, or write to one: not on the control threads.
    pub side: Handle,
    /// As in [`Setup`].
    pub images: ImageReceiver,
    /// As in [`Setup`].
    pub is_current: IsCurrent,
    /// As in [`Setup`].
    pub ask: AskSender,
    /// As in [`Setup`].
    pub metrics: Arc<Metrics>,
    /// The broker's properties that no setting sets, for DescribeConfigs.
    pub facts: BTreeMap<&'static str, String>,
}

/// A broker's rooms: replicas, groups, the handlers above them, and their tasks.
pub struct Rooms {
    /// Answers requests.
    pub handler: Arc<Handler>,
    loads: Arc<Loads>,
    tasks: Vec<JoinHandle<()>>,
}

impl Rooms {
    /// Opens the rooms. Must be called on the control runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn open(setup: RoomsSetup) -> Result<Rooms, StartError> {
        let RoomsSetup {
            me,
            dialer,
            data,
            clean,
            intact,
            workers,
            role_workers,
            side,
            images,
            is_current,
            ask,
            metrics,
            facts,
        } = setup;
        let threads = (workers.clone(), role_workers);
        let checkpoints = Checkpoints::load(&data, clean, intact)?;
        let (replicas, joining) =
            Replicas::new((me, dialer.clone()), &data, checkpoints, threads, metrics.clone(), ask.clone())?;
        let share_states = ShareStates::new(replicas.clone(), workers.clone(), images.clone(), &metrics);
        let persister = Persister::new(dialer.clone(), images.clone(), share_states.clone(), {
            let ask = ask.clone();
            Box::new(move |image| ask_for_topic(&ask, image, SHARE_GROUP_STATE))
        });
        let groups = Groups::new(replicas.clone(), workers.clone(), images.clone(), persister.clone(), &metrics);
        let shares = Shares::new(replicas.clone(), workers.clone(), images.clone(), persister.clone(), &metrics);
        let producer_ids = Arc::new(ProducerIds::new(ask.clone()));
        let transactions =
            Transactions::new(replicas.clone(), workers.clone(), images.clone(), producer_ids.clone(), &metrics);
        let ends = Ends { images: images.clone(), replicas: replicas.clone(), groups: groups.clone() };
        let local = transactions.clone();
        let verifier = Verifier::new(
            dialer.clone(),
            images.clone(),
            Box::new(move |verification| {
                let local = local.clone();
                Box::pin(async move { local.verify(verification).await })
            }),
        );
        let handler = Arc::new(Handler {
            id: me.id,
            images: images.clone(),
            replicas: replicas.clone(),
            groups: groups.clone(),
            transactions: transactions.clone(),
            ends: ends.clone(),
            verifier,
            shares: shares.clone(),
            share_states: share_states.clone(),
            persister,
            log_ends: LogEnds::new(dialer.clone(), images.clone(), replicas.clone()),
            creations: Creations::new(),
            passwords: Passwords::default(),
            producer_ids,
            fetch_sessions: FetchSessions::default(),
            ask,
            workers,
            quotas: Arc::new(Quotas::new(&images.borrow().settings.quotas, metrics.clone())),
            metrics: metrics.clone(),
            facts,
        });
        let retention_interval = {
            let images = images.clone();
            move || images.borrow().settings.log_retention_check_interval
        };
        let max_lag = {
            let images = images.clone();
            move || images.borrow().settings.replica_lag_time_max
        };
        measure(&replicas, &handler.workers, &metrics);
        let loads = Loads::new(replicas.clone(), metrics.clone());
        let tasks = vec![
            tokio::spawn(follow(replicas.clone(), images.clone())),
            side.spawn(loads.clone().keep_sampling()),
            side.spawn(replicas.clone().keep_house(retention_interval)),
            side.spawn(replicas.clone().keep_removing()),
            side.spawn(replicas.clone().keep_in_sync(max_lag, joining)),
            side.spawn(transactions.run(dialer, images.clone(), is_current, ends)),
            side.spawn(replicas.keep_scrubbing(images)),
            side.spawn(groups.run()),
            side.spawn(share_states.run()),
            side.spawn(shares.run()),
        ];
        Ok(Rooms { handler, loads, tasks })
    }

    /// The replicas that run here.
    pub fn replicas(&self) -> &Arc<Replicas> {
        &self.handler.replicas
    }

    /// Closes every log. True when all are closed cleanly. Not cancellation safe.
    pub async fn close(self) -> bool {
        for task in self.tasks {
            task.abort();
            // Aborted tasks end with an error that says so.
            let _ = task.await;
        }
        self.handler.replicas.close().await
    }
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
    /// The system refuses a thread, a poller or a socket.
    #[error("failed to start a thread: {0}")]
    System(#[from] io::Error),
}

/// Roles that begin with a sync at the same time. The file system puts syncs that overlap into one commit of its
/// journal.
const WAITING_ROLES: usize = 4;
/// Roles that begin without one at the same time.
const WRITING_ROLES: usize = 2;
/// Threads of [`Side`].
const SIDE_THREADS: usize = 2;

/// The threads of tasks that may wait for a partition, or write to one: the timers of coordinators for instance. Such a
/// thread hangs while the disk does; the control threads must not, because the Lease is renewed there, and elections
/// are acted on. Dropped, it waits for nobody.
struct Side(Option<Runtime>);

impl Side {
    fn start() -> io::Result<(Side, Handle)> {
        let mut threads = Builder::new_multi_thread();
        let runtime = threads.worker_threads(SIDE_THREADS).thread_name("side").enable_all().build()?;
        let handle = runtime.handle().clone();
        Ok((Side(Some(runtime)), handle))
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// "Never", as a duration that can be added to a clock without overflow.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Broker {
    /// Starts serving. Must be called on the control runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(setup: Setup) -> Result<Broker, StartError> {
        let Setup {
            me,
            data,
            clean,
            intact,
            listeners,
            reactors,
            workers,
            request_memory,
            images,
            is_current,
            ask,
            tls,
            metrics,
        } = setup;
        let settings = images.borrow().settings.clone();
        let workers = Workers::start(workers)?;
        let (writing, waiting) = (Workers::start(WRITING_ROLES)?, Workers::start(WAITING_ROLES)?);
        let (role_workers, (side, side_tasks)) = (RoleWorkers { writing, waiting }, Side::start()?);
        let facts = facts(me, &data, &listeners, &images.borrow().access.listeners);
        let (keys, tls, client_tls) = Keys::read(me.id, tls, images.clone(), metrics.clone());
        let replicates_securely = listeners.iter().any(|(name, _)| &**name == names::REPLICATION_LISTENER);
        let loaded = keys.loaded();
        let keys = tokio::spawn(keys.keep());
        let rooms = Rooms::open(RoomsSetup {
            me,
            dialer: if replicates_securely { Dialer::new(me.id, client_tls) } else { Dialer::plain(me.id) },
            data: data.clone(),
            clean,
            intact,
            workers: workers.clone(),
            role_workers,
            side: side_tasks,
            images: images.clone(),
            is_current,
            ask,
            metrics: metrics.clone(),
            facts,
        })?;
        let memory = settings.queued_max_request_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let limits = SocketLimits {
            max_request: settings.socket_request_max_bytes,
            max_stranger_request: settings.sasl_server_max_receive,
            max_idle: settings.connections_max_idle.unwrap_or(NEVER),
        };
        // The largest request must fit, or it would wait for itself.
        let budget = Budget::new(memory.unwrap_or(request_memory).max(limits.max_request));
        let mut server = Server::start(listeners, &rooms.handler, reactors, budget, limits, tls)?;
        let replicas = rooms.replicas().clone();
        server.watch_disk(data, move || replicas.is_late_to_give_way());
        Ok(Broker { server, rooms, keys, loaded, workers, me, images, metrics, _side: side })
    }

    /// The replicas that run here.
    pub fn replicas(&self) -> &Arc<Replicas> {
        self.rooms.replicas()
    }

    /// How much each replica has and gets.
    pub fn loads(&self) -> &Arc<Loads> {
        &self.rooms.loads
    }

    /// Hashes of the authorities and the certificate that it has loaded, as its Lease shows them; empty: none.
    pub fn loaded_keys(&self) -> watch::Receiver<String> {
        self.loaded.clone()
    }

    /// The parts that probes check; and whether the disk hangs.
    pub fn health(&self, hangs: watch::Receiver<bool>) -> Health {
        let disk = (self.workers.clone(), hangs);
        Health::new(self.me, self.server.pulses(), disk, self.replicas().clone(), self.images.clone())
    }

    /// The threads that wait for the disk and compute passwords.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// How many Produce and Fetch requests have come in so far.
    pub fn requests_for_records(&self) -> u64 {
        [ApiKey::Produce, ApiKey::Fetch].iter().map(|api| self.metrics.clients.api(*api).requests.get()).sum()
    }

    /// Ends every connection, then closes every log. True when the logs are closed cleanly: the caller may leave the
    /// clean-shutdown marker. Not cancellation safe.
    pub async fn stop(self) -> bool {
        self.keys.abort();
        self.server.stop().await;
        self.rooms.close().await
    }
}

fn facts(me: Me, data: &Path, listeners: &[(Str, TcpListener)], access: &Listeners) -> BTreeMap<&'static str, String> {
    let address = |listener: &TcpListener| listener.local_addr().map_or_else(|_| String::new(), |a| a.to_string());
    let named: Vec<String> =
        listeners.iter().map(|(name, listener)| format!("{}://{}", name.to_uppercase(), address(listener))).collect();
    let protocol = |name: &Str| access.get(name).map_or("PLAINTEXT", ListenerAccess::protocol);
    let protocols: Vec<String> =
        listeners.iter().map(|(name, _)| format!("{}:{}", name.to_uppercase(), protocol(name))).collect();
    let id = me.id.to_string();
    BTreeMap::from([
        ("listener.security.protocol.map", protocols.join(",")),
        ("node.id", id.clone()),
        ("broker.id", id),
        ("listeners", named.join(",")),
        ("log.dirs", data.display().to_string()),
    ])
}

/// Computes the size of the logs, and whether the disk hangs, at each scrape.
fn measure(replicas: &Arc<Replicas>, workers: &Workers, metrics: &Metrics) {
    let (replicas, progress) = (Arc::downgrade(replicas), workers.progress());
    metrics.before_scrape(move |metrics| {
        let mut stalled = progress.stalled_for(env::now());
        if let Some(replicas) = replicas.upgrade() {
            stalled = stalled.max(under_way::longest(replicas.dir()).of_any());
            replicas.measure(metrics);
        }
        metrics.disk.stalled.with_label_values::<&str>(&[]).set(stalled.as_secs_f64());
    });
}

async fn follow(replicas: Arc<Replicas>, images: ImageReceiver) {
    replicas.follow(images).await;
}
