//! The control plane: the real operators' coordination and the real brokers' windows (`coord`) over the embedded API,
//! each a process with a runtime and a paused clock of its own, in one thread.
//!
//! - `process`: a process, killed or frozen at will
//! - `door`: its way to the API server: slow, broken, refusing, forgetful, with frozen watches
//! - `network`: between operators and brokers
//! - `broker`: a broker without replicas
//! - `troubles`: what goes wrong; `alone`: what moves nobody, or is played through when all else is well
//! - `referee`: what must always hold
//! - `trace`: what happened; `view`: what the API server holds
//! - here: the processes, their time, and what must be true in the end
//!
//! Time passes by turns, in which the seed lets one process run after the other. The wall clocks that stand in Leases
//! almost stand still meanwhile: an observer that believed them would take everybody for alive, or for dead.
//!
//! Always: no epoch of an entry falls, no leader changes within one, no ISR shrinks below its floor, no topic is placed
//! again, and none is buried nor a file removed but somebody has deleted the topic; no member that may have
//! acknowledged records is dropped without an order; one leader in a leader epoch; what a broker has seen of its own
//! partitions it never forgets; trouble of the API server or of operators alone moves nobody, and nothing is written
//! when it is over but Leases. In the end: every broker online with its own Lease, every replica in sync, everything
//! Ready, everybody knows it, nothing is left of deleted topics, and nothing is written but Leases.

mod alone;
mod broker;
mod door;
mod network;
mod process;
mod referee;
mod trace;
mod troubles;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use ottla_broker::env::simulated as env;
use ottla_client::simulated::Connect;
use ottla_crds::{BrokerState, Brokers, ClusterRef, KafkaCluster, KafkaClusterSpec, KafkaTopic, KafkaTopicSpec, names};
use ottla_history::Report;
use ottla_kube::lease::BrokerSession;
use ottla_local_api::{Server, Store, uids};
use ottla_operator::clock;
use ottla_rules::assignment::BrokerId;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use uuid::Uuid;

use self::broker::Broker;
use self::door::Door;
use self::network::Network;
use self::process::Process;
use self::referee::{COPIED, MIN_IN_SYNC, Referee};
use self::trace::Trace;
use self::view::View;
use crate::fault::{Counts, Fault};
use crate::random::Random;
use crate::world::Outcome;

const CLUSTER: &str = "local";
const NAMESPACE: &str = "default";
const TOPICS: [(&str, i32); 4] = [("audit", 1), ("clicks", 4), ("fleeting", 3), ("orders", 12)];
const OPERATORS: usize = 2;
/// How long processes run by turns. A ping and its answer take three turns at most, which is less than a broker is
/// waited for.
const TURN: Duration = Duration::from_millis(150);
/// Things that go wrong in one seed.
const FAULTS: usize = 8;
/// When everything must be well again.
const HEALING: Duration = Duration::from_secs(180);
/// After so long leaders return to the brokers that are preferred.
const RETURN_AFTER: Duration = Duration::from_secs(60);
/// By then they have.
const SETTLED: Duration = Duration::from_secs(75);
/// How long it is watched that nothing happens.
const QUIET: Duration = Duration::from_secs(60);
/// A Lease may be written so often while nothing happens: every two seconds, and a few times because an answer was
/// lost.
const RENEWALS: u64 = QUIET.as_secs() / 2 + 3;

/// Plays one seed.
///
/// # Errors
/// When the machine has no temporary folder to give.
pub fn run(seed: u64) -> Result<Outcome> {
    // In memory where that is possible.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let network = Network::default();
    draw_by(Some((seed, network.clone())));
    let played = World::new(seed, dir.path(), network).map(|mut world| {
        let verdict = world.play().map(|()| Report::default());
        let trace = world.trace.lock().end();
        let counts = std::mem::take(&mut world.counts);
        Outcome { trace, steps: world.turns, counts, transactions: Default::default(), verdict }
    });
    draw_by(None);
    played
}

/// Who draws what the real code draws for itself, and connects; none: chance and the machine.
fn draw_by(seeded: Option<(u64, Network)>) {
    let ids = |seed| -> Box<dyn FnMut() -> Uuid> {
        let mut ids = Random::new(seed);
        Box::new(move || uuid::Builder::from_random_bytes(ids.next_bytes()).into_uuid())
    };
    let seed = seeded.as_ref().map(|(seed, _)| *seed);
    env::draw_ids(seed.map(|seed| ids(!seed)));
    uids::draw_by(seed.map(|seed| ids(seed.rotate_left(32))));
    // The waits between attempts to watch.
    fastrand::seed(seed.unwrap_or_else(|| fastrand::u64(..)));
    ottla_client::simulated::connect_by(
        seeded.map(|(_, network)| -> Connect { Box::new(move |_, port| network.connect(port)) }),
    );
}

struct World {
    random: Random,
    // Processes end before the server does.
    hosts: Vec<Host>,
    client: Client,
    server: Server,
    /// The API server's own.
    api: Process,
    network: Network,
    /// The topics that are to be there, and how many partitions each has.
    topics: BTreeMap<&'static str, i32>,
    referee: Arc<Mutex<Referee>>,
    dir: PathBuf,
    counts: Counts,
    turns: u64,
    /// What time it is for people who read statuses.
    now: Timestamp,
    trace: Arc<Mutex<Trace>>,
}

/// A place with a process of ours, or without one.
struct Host {
    role: Role,
    door: Arc<Door>,
    process: Option<Process>,
    /// SIGTERM, while the process has not got it.
    stop: Option<oneshot::Sender<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Broker(BrokerId),
    Operator,
}

impl World {
    fn new(seed: u64, dir: &Path, network: Network) -> Result<World> {
        let mut random = Random::new(seed);
        let (trace, referee) = (Arc::default(), Arc::default());
        let brokers = 3 + random.below(3);
        let host = |at: usize| {
            let broker = BrokerId(i32::try_from(at).unwrap_or_default());
            let role = if at < brokers { Role::Broker(broker) } else { Role::Operator };
            let name = if at < brokers { format!("broker {at}") } else { format!("operator {}", at - brokers) };
            let door = Door::new(name, random.next(), Arc::clone(&trace), Arc::clone(&referee));
            Host { role, door, process: None, stop: None }
        };
        let hosts = (0..brokers + OPERATORS).map(host).collect();
        let api = Process::start(std::future::pending())?;
        let (server, client) = api.now(async {
            let server = Server::new(Store::Memory, ottla_crds::all())?;
            let client = server.client(NAMESPACE);
            anyhow::Ok((server, client))
        })?;
        let (dir, counts, turns, topics) = (dir.to_owned(), Counts::new(), 0, BTreeMap::new());
        let now = Timestamp::UNIX_EPOCH;
        clock::simulated::set(now);
        Ok(World { random, hosts, client, server, api, network, topics, referee, dir, counts, turns, now, trace })
    }

    fn play(&mut self) -> Result<()> {
        self.begin()?;
        for _ in 0..FAULTS {
            self.trouble()?;
        }
        self.heal()?;
        self.settle()?;
        self.is_quiet("in the end")
    }

    fn objects<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn brokers(&self) -> usize {
        self.hosts.len() - OPERATORS
    }

    /// A cluster with its topics.
    fn begin(&mut self) -> Result<()> {
        let spec: KafkaClusterSpec = serde_json::from_value(serde_json::json!({
            "config": { "leader.imbalance.check.interval.seconds": RETURN_AFTER.as_secs().to_string() },
        }))?;
        let brokers = Brokers { replicas: i32::try_from(self.brokers())?, ..Brokers::default() };
        let cluster = KafkaCluster::new(CLUSTER, KafkaClusterSpec { brokers, ..spec });
        self.api.now(self.objects().create(&PostParams::default(), &cluster))?;
        for at in 0..self.hosts.len() {
            self.start(at)?;
        }
        self.until(HEALING, "the brokers come", |world, view| world.online(view) == world.brokers())?;
        for (name, partitions) in TOPICS {
            self.create_topic(name, partitions)?;
        }
        self.until(HEALING, "the topics are placed", World::is_whole)?;
        self.pass(COPIED)
    }

    fn create_topic(&mut self, name: &'static str, partitions: i32) -> Result<()> {
        let spec = KafkaTopicSpec {
            cluster_ref: ClusterRef { name: CLUSTER.into() },
            partitions: Some(partitions),
            replication_factor: Some(3),
            config: BTreeMap::from([("min.insync.replicas".to_owned(), MIN_IN_SYNC.to_string())]),
            ..KafkaTopicSpec::default()
        };
        self.api.now(self.objects().create(&PostParams::default(), &KafkaTopic::new(name, spec)))?;
        self.topics.insert(name, partitions);
        Ok(())
    }

    /// Starts a process where there is none.
    fn start(&mut self, at: usize) -> Result<()> {
        let (server, host) = (self.server.clone(), &mut self.hosts[at]);
        if host.process.is_some() {
            return Ok(());
        }
        let door = host.door.clone();
        host.process = Some(match host.role {
            Role::Broker(id) => {
                let (sender, stop) = oneshot::channel();
                host.stop = Some(sender);
                let (data, network, referee) =
                    (self.dir.join(id.to_string()), self.network.clone(), self.referee.clone());
                let broker = Broker { id, data, network, referee };
                Process::start(async move { broker.run(door.client(&server), stop).await })?
            }
            Role::Operator => Process::start(async move {
                let client = door.client(&server);
                ottla_operator::coordination::run(client, NAMESPACE, CLUSTER, std::future::pending()).await;
            })?,
        });
        Ok(())
    }

    fn kill(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        (host.process, host.stop) = (None, None);
        if let Role::Broker(id) = host.role {
            self.referee.lock().killed(id);
        }
    }

    /// SIGTERM.
    fn stop(&mut self, at: usize) {
        // A broker that has it does not get it again.
        let _ = self.hosts[at].stop.take().map(|stop| stop.send(()));
    }

    fn is_stopping(&self, at: usize) -> bool {
        let host = &self.hosts[at];
        matches!(host.role, Role::Broker(_)) && host.process.is_some() && host.stop.is_none()
    }

    /// Time passes for everybody.
    fn pass(&mut self, time: Duration) -> Result<()> {
        let mut left = time;
        while !left.is_zero() {
            let turn = left.min(TURN);
            left -= turn;
            self.turns += 1;
            self.now += turn;
            clock::simulated::set(self.now);
            self.api.pass(turn);
            let mut waiting: Vec<usize> = (0..self.hosts.len()).collect();
            while !waiting.is_empty() {
                let at = waiting.swap_remove(self.random.below(waiting.len()));
                if let Some(process) = &mut self.hosts[at].process {
                    process.pass(turn);
                }
                if self.hosts[at].process.as_ref().is_some_and(Process::has_ended) {
                    self.kill(at);
                }
                if self.hosts[at].door.take_died() {
                    self.kill(at);
                    if self.hosts[at].role == Role::Operator {
                        *self.counts.entry(Fault::OperatorKilled).or_default() += 1;
                    }
                }
            }
            self.trace.lock().pass(turn);
            self.referee.lock().pass(turn);
        }
        let wrong = self.referee.lock().take_wrong();
        ensure!(wrong.is_empty(), "{}", wrong.join("; "));
        Ok(())
    }

    /// Waits until something is so.
    fn until(&mut self, limit: Duration, what: &str, is_so: impl Fn(&World, &View) -> bool) -> Result<()> {
        let mut passed = Duration::ZERO;
        loop {
            let view = self.look()?;
            if is_so(self, &view) {
                return Ok(());
            }
            if passed >= limit {
                bail!("never: {what}: {}", self.describe(&view));
            }
            self.pass(Duration::from_secs(1))?;
            passed += Duration::from_secs(1);
        }
    }

    fn look(&self) -> Result<View> {
        let all = ListParams::default();
        self.api.now(async {
            let cluster = self.objects().get(CLUSTER).await?;
            let topics = self.objects().list(&all).await?.items;
            let assignments = self.objects().list(&all).await?.items;
            let leases = self.objects().list(&all).await?.items;
            anyhow::Ok(View { cluster, topics, assignments, leases })
        })
    }

    fn online(&self, view: &View) -> usize {
        let brokers = view.cluster.status.as_ref().map_or(&[][..], |status| &status.brokers);
        brokers.iter().filter(|broker| broker.state == BrokerState::Online).count()
    }

    /// Everything is as it should be, and everybody has seen it.
    fn is_whole(&self, view: &View) -> bool {
        let referee = self.referee.lock();
        let own_lease = |host: &Host| match host.role {
            Role::Operator => true,
            Role::Broker(id) => {
                let lease = view.leases.iter().find(|lease| lease.name_any() == names::broker(CLUSTER, id));
                let session = lease.and_then(BrokerSession::of).map(|session| session.incarnation);
                let holder = lease.and_then(|lease| lease.spec.as_ref()?.holder_identity.as_ref());
                holder.is_some() && session.is_some() && session.as_ref() == referee.incarnations.get(&id)
            }
        };
        let wanted: BTreeSet<(&str, i32)> =
            self.topics.iter().flat_map(|(topic, count)| (0..*count).map(|n| (*topic, n))).collect();
        let epochs = view.epochs();
        let cluster = view.cluster.status.iter().flat_map(|status| &status.conditions);
        let topics = view.topics.iter().flat_map(|topic| &topic.status).flat_map(|status| &status.conditions);
        let ready = cluster.chain(topics).filter(|condition: &&Condition| condition.type_ == "Ready");
        self.online(view) == self.brokers()
            && self.hosts.iter().all(own_lease)
            && view.topics.len() == self.topics.len()
            && view.placed() == wanted
            && view.entries().count() == wanted.len()
            && view.entries().all(|(_, entry)| referee.is_in_sync(entry))
            && referee.seen.len() == self.brokers()
            && referee.seen.values().all(|seen| *seen == epochs)
            && referee.files == view.replicas()
            && ready.filter(|condition| condition.status == "True").count() == 1 + self.topics.len()
    }

    fn describe(&self, view: &View) -> String {
        let referee = self.referee.lock();
        let behind: Vec<_> = view.entries().filter(|(_, entry)| !referee.is_in_sync(entry)).take(3).collect();
        let away: Vec<_> = view.entries().filter(|(_, entry)| !entry.is_led_by_preferred()).take(3).collect();
        let leases: Vec<_> = view.leases.iter().map(|lease| (lease.name_any(), BrokerSession::of(lease))).collect();
        let topics: Vec<_> =
            view.topics.iter().map(|topic| topic.status.as_ref().map(|status| &status.conditions)).collect();
        format!(
            "{:?}; leases {leases:?}; topics {topics:?}; running {:?}; not in sync {behind:?}; \
             led by others than the preferred {away:?}; seen {:?}; files {:?}; epochs {:?}",
            view.cluster.status,
            referee.incarnations,
            referee.seen,
            referee.files,
            view.epochs()
        )
    }

    /// Everything is as it should be again, and must become whole.
    fn heal(&mut self) -> Result<()> {
        for at in 0..self.hosts.len() {
            self.hosts[at].door.heal();
            self.cut_off(at, false);
            if self.is_stopping(at) {
                self.kill(at); // it gets no more time
            }
            if let Some(process) = &mut self.hosts[at].process {
                process.thaw();
            }
            self.start(at)?;
        }
        self.until(HEALING, "all is well", World::is_whole)
    }

    /// Waits until leaders have returned to the brokers that are preferred.
    fn settle(&mut self) -> Result<()> {
        self.pass(SETTLED)?;
        let at_home =
            |world: &World, view: &View| world.is_whole(view) && view.entries().all(|(_, e)| e.is_led_by_preferred());
        self.until(HEALING, "leaders have returned", at_home)
    }

    /// Nothing is written but a renewal for each broker in two seconds, and nobody moves.
    fn is_quiet(&mut self, when: &str) -> Result<()> {
        self.hosts.iter().for_each(|host| _ = host.door.take_writes());
        let before = self.look()?.epochs();
        self.pass(QUIET)?;
        for host in &self.hosts {
            let writes = host.door.take_writes();
            let most = |kind: &str| if host.role != Role::Operator && kind == "leases" { RENEWALS } else { 0 };
            let within = writes.iter().all(|(kind, count)| *count <= most(kind));
            ensure!(within, "{when} {:?} writes {writes:?} in {QUIET:?}", host.role);
        }
        ensure!(self.look()?.epochs() == before, "{when} entries change though nothing happens");
        Ok(())
    }
}
