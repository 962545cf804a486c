//! What happens: topics are made, a broker dies, it returns, some restart one after the other, and the API server is
//! killed and started again.

use anyhow::{Context, Result, ensure};
use kube::runtime::reflector::Store;
use kube::{Api, Client};
use ottla_crds::{BrokerState, KafkaAssignment, KafkaCluster};
use ottla_kube::versions::SetBacks;
use ottla_kube::watch::{events, of_cluster};
use ottla_kube::watches::Watches;
use ottla_rules::assignment::{Assignment, BrokerId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

use super::plane::{ADMIN, BROKER, LINES, OPERATOR, Plane, Told};
use super::report::{Phase, Report, Used, Volume};
use super::standins::Standins;
use super::watchers::{Kind, Tally, Watchers};
use super::{CLUSTER, MIN_IN_SYNC, NAMESPACE, PORT, REPLICAS, Size, eventually, stage};
use crate::leash::{Leash, cpu_time, last_lines, resident};
use crate::writes::Writes;

/// For everything that is waited for: a hundred thousand partitions take their time on two cores.
const LIMIT: Duration = Duration::from_secs(1800);
/// A phase is over when nobody has written for so long: what the operator says of topics comes after the elections.
const QUIET: Duration = Duration::from_secs(2);
/// Where the operators listen, at addresses of their own.
const OPERATOR_PORT: u16 = 8080;

/// Plays the story with this program.
///
/// # Errors
/// When something does not start, or what is waited for does not come.
pub fn play(size: Size, ottla: &Path) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut scene = Scene::set(size, ottla).await?;
        let played = scene.play().await;
        played.with_context(|| scene.last_words())
    })
}

/// Everything that runs.
struct Scene {
    size: Size,
    admin: Client,
    standins: Standins,
    watchers: Watchers,
    shown: Store<KafkaAssignment>,
    /// The brokers that are whole, then the operators.
    processes: Vec<(String, Leash)>,
    _following: JoinSet<()>,
    plane: Plane,
}

/// How it stood when a phase began.
struct Before {
    writes: Writes,
    seen: Vec<[Tally; 4]>,
    begun: Instant,
}

impl Scene {
    async fn set(size: Size, ottla: &Path) -> Result<Scene> {
        ensure!(size.brokers > size.whole + size.rolled, "too few brokers to play with");
        let plane = Plane::start().await?;
        let admin = plane.client(ADMIN).await?;
        stage::set(&admin, &size).await?;
        let mut processes = Vec::new();
        for number in 0..2_u16 {
            // The addresses after the last broker's.
            let ip = stage::address(BrokerId(i32::from(size.brokers + number)));
            let mut operator = Command::new(ottla);
            operator.args(["operator", "--http", &format!("{ip}:{OPERATOR_PORT}"), "--pod-ip", &ip.to_string()]);
            operator.args(["--namespace", stage::OPERATORS, "--broker-image", "localhost/ottla:1"]);
            operator.env("KUBECONFIG", plane.kubeconfig(OPERATOR));
            processes.push(start(&plane, format!("operator {number}"), &operator)?);
        }
        stage::run_pods(&admin, &size).await?;
        for id in 0..size.whole {
            let broker = broker(&plane, ottla, id)?;
            processes.push(start(&plane, format!("broker {id}"), &broker)?);
        }
        let played = (size.whole..size.brokers).map(|id| BrokerId(i32::from(id)));
        let at = played.clone().map(|id| (id, SocketAddr::from((stage::address(id), PORT))));
        let mut standins = Standins::new(plane.client(BROKER).await?, at.collect::<BTreeMap<_, _>>());
        for id in played {
            standins.start(id).await?;
        }
        let mut clients = Vec::new();
        for _ in 0..size.watchers {
            clients.push(plane.client(BROKER).await?);
        }
        let (shown, following) = follow(&admin);
        let scene = Scene {
            size,
            watchers: Watchers::start(clients),
            admin,
            standins,
            shown,
            processes,
            _following: following,
            plane,
        };
        let all: Vec<BrokerId> = (0..size.brokers).map(|id| BrokerId(i32::from(id))).collect();
        scene.are_online(&all).await.with_context(|| scene.last_words())?;
        Ok(scene)
    }

    async fn play(&mut self) -> Result<Report> {
        let mut phases = Vec::new();
        let before = self.before().await?;
        stage::make_topics(&self.admin, &self.size).await?;
        let (topics, partitions) = (self.size.topics, self.size.topics * self.size.partitions_per_topic);
        self.until("every partition to be there", |objects| {
            objects.len() == topics && entries(objects).filter(|entry| is_whole(entry)).count() == partitions
        })
        .await?;
        phases.push(self.after(before, "topics are created").await?);
        let volume = self.volume().await?;

        let victim = BrokerId(i32::from(self.size.brokers) - 1);
        let touched = self.held_by(victim);
        let before = self.before().await?;
        self.standins.kill(victim).await?;
        self.until("others to lead", |objects| !entries(objects).any(|entry| needs(entry, victim))).await?;
        phases.push(self.after(before, "a broker dies").await?);
        let before = self.before().await?;
        self.standins.start(victim).await?;
        self.join(victim).await?;
        phases.push(self.after(before, "it returns").await?);

        let before = self.before().await?;
        for id in (self.size.whole..).take(usize::from(self.size.rolled)).map(|id| BrokerId(i32::from(id))) {
            self.standins.drain(id)?;
            self.until("it to lead nothing", |objects| !entries(objects).any(|entry| needs(entry, id))).await?;
            self.standins.stop(id).await?;
            self.standins.start(id).await?;
            self.join(id).await?;
        }
        if self.size.rolled > 0 {
            phases.push(self.after(before, "a roll").await?);
        }
        let used = self.used()?;

        let mut before = self.before().await?;
        self.plane.kill_api()?;
        self.plane.start_api().await?;
        before.writes = Writes::default(); // it counts from its start
        let lists =
            |seen: &[[Tally; 4]]| -> u64 { seen.iter().flatten().map(|tally| tally.count.lists).min().unwrap_or(0) };
        let listed = lists(&before.seen);
        eventually(LIMIT, "everybody to list again", async || {
            Ok((lists(&self.watchers.so_far()) > listed && self.standins.hold_their_leases()).then_some(()))
        })
        .await?;
        phases.push(self.after(before, "the API server restarts").await?);
        Ok(Report { size: self.size, phases, volume, touched, used })
    }

    async fn before(&self) -> Result<Before> {
        let seen = self.watchers.so_far();
        Ok(Before { writes: Told::now(&self.admin).await?.writes, seen, begun: Instant::now() })
    }

    /// Waits until nobody writes, and counts.
    async fn after(&self, before: Before, name: &'static str) -> Result<Phase> {
        let took = before.begun.elapsed();
        let said = |writes: &Writes| -> u64 {
            let is_news = |name: &&String| !name.contains("leases") && !name.contains(" events");
            writes.requests.iter().filter(|(name, _)| is_news(name)).map(|(_, count)| count).sum()
        };
        let mut last = (Told::now(&self.admin).await?.writes, Instant::now());
        while last.1.elapsed() < QUIET {
            tokio::time::sleep(QUIET / 4).await;
            let now = Told::now(&self.admin).await?.writes;
            if said(&now) != said(&last.0) {
                last = (now, Instant::now());
            }
            ensure!(before.begun.elapsed() < 2 * LIMIT, "somebody writes for ever: {}", last.0);
        }
        Ok(Phase::of(
            name,
            took,
            Told::now(&self.admin).await?.writes.since(&before.writes),
            (&before.seen, before.begun),
            &self.watchers.so_far(),
        ))
    }

    /// How large everything is, as one client that lists it sees it.
    async fn volume(&self) -> Result<Volume> {
        let begun = Instant::now();
        let one = Watchers::start(vec![self.plane.client(BROKER).await?]);
        let listed = eventually(LIMIT, "a list", async || {
            let seen = one.so_far();
            Ok(seen.into_iter().find(|kinds| kinds.iter().all(|tally| tally.count.lists == 1)))
        })
        .await?;
        let bytes = |kind: Kind| listed[kind as usize].count.list_bytes;
        Ok(Volume {
            topics: bytes(Kind::Topics),
            assignments: bytes(Kind::Assignments),
            cluster: bytes(Kind::Cluster),
            listed_in: begun.elapsed(),
            etcd: Told::now(&self.admin).await?.etcd,
        })
    }

    fn used(&self) -> Result<Vec<Used>> {
        let others = self.processes.iter().map(|(name, process)| (name.as_str(), process.pid()));
        let own = i32::try_from(std::process::id())?;
        let all = self.plane.processes()?.into_iter().chain(others).chain([("the counter", own)]);
        all.map(|(name, pid)| {
            Ok(Used { name: name.to_owned(), resident: resident(pid)?, cpu: cpu_time(&pid.to_string())? })
        })
        .collect()
    }

    /// Waits until the operator says that these brokers are there.
    async fn are_online(&self, ids: &[BrokerId]) -> Result<()> {
        let clusters: Api<KafkaCluster> = Api::namespaced(self.admin.clone(), NAMESPACE);
        eventually(LIMIT, "brokers to be online", async || {
            let status = clusters.get(CLUSTER).await?.status.unwrap_or_default();
            let is_online = |id: &BrokerId| {
                status.brokers.iter().any(|broker| broker.id == *id && broker.state == BrokerState::Online)
            };
            Ok(ids.iter().all(is_online).then_some(()))
        })
        .await
    }

    /// A broker that is back joins all ISRs, and leads again what it prefers to lead.
    async fn join(&self, id: BrokerId) -> Result<()> {
        self.are_online(&[id]).await?;
        eventually(LIMIT, "a broker to be in all ISRs", async || {
            let objects = self.shown.state();
            let lacking: Vec<Arc<KafkaAssignment>> = objects
                .into_iter()
                .filter(|object| object.spec.partitions.iter().any(|entry| lacks(entry, id)))
                .collect();
            let done = lacking.is_empty();
            self.standins.join(id, Standins::incarnation(id), lacking).await?;
            Ok(done.then_some(()))
        })
        .await?;
        self.until("leaders to return", |objects| entries(objects).all(is_whole)).await
    }

    /// How many objects name this broker as a replica, and how many of them name it as a leader.
    fn held_by(&self, id: BrokerId) -> (usize, usize) {
        let objects = self.shown.state();
        let with = |right: &dyn Fn(&Assignment) -> bool| {
            objects.iter().filter(|object| object.spec.partitions.iter().any(right)).count()
        };
        (with(&|entry| entry.replicas.contains(&id)), with(&|entry| entry.leader == Some(id)))
    }

    async fn until(&self, what: &str, right: impl Fn(&[Arc<KafkaAssignment>]) -> bool) -> Result<()> {
        eventually(LIMIT, what, async || Ok(right(&self.shown.state()).then_some(()))).await
    }

    fn last_words(&self) -> String {
        let said =
            self.processes.iter().map(|(name, _)| format!("{name}: {}", last_lines(&log(&self.plane, name), LINES)));
        said.collect::<Vec<_>>().join("\n")
    }
}

fn entries(objects: &[Arc<KafkaAssignment>]) -> impl Iterator<Item = &Assignment> {
    objects.iter().flat_map(|object| &object.spec.partitions)
}

/// Whether every replica is in sync, and the first one leads.
fn is_whole(entry: &Assignment) -> bool {
    entry.isr.len() == REPLICAS && entry.is_led_by_preferred()
}

/// Whether the broker leads, or is in sync beside as many others as the floor asks for.
fn needs(entry: &Assignment, id: BrokerId) -> bool {
    entry.leader == Some(id) || (entry.isr.len() > MIN_IN_SYNC && entry.isr.iter().any(|member| member.broker == id))
}

fn lacks(entry: &Assignment, id: BrokerId) -> bool {
    entry.replicas.contains(&id) && !entry.isr.iter().any(|member| member.broker == id)
}

/// What the assignments are, as the operator sees them.
fn follow(client: &Client) -> (Store<KafkaAssignment>, JoinSet<()>) {
    let mut watches = Watches::new(&SetBacks::default());
    let assignments: Api<KafkaAssignment> = Api::namespaced(client.clone(), NAMESPACE);
    let shown = watches.keep((), events(assignments, of_cluster(CLUSTER)), |_| ());
    let mut following = JoinSet::new();
    following.spawn(async move { while watches.next().await.is_some() {} });
    (shown, following)
}

fn log(plane: &Plane, name: &str) -> PathBuf {
    plane.folder().join(format!("{}.log", name.replace(' ', "-")))
}

fn start(plane: &Plane, name: String, command: &Command) -> Result<(String, Leash)> {
    let process = Leash::start(command, &log(plane, &name))?;
    Ok((name, process))
}

/// A whole broker, as a pod would run it.
fn broker(plane: &Plane, ottla: &Path, id: u16) -> Result<Command> {
    let (data, file) = (plane.folder().join(format!("data-{id}")), plane.folder().join(format!("broker-{id}.yaml")));
    let ip = stage::address(BrokerId(i32::from(id)));
    std::fs::write(
        &file,
        format!(
            "cluster: {CLUSTER}\nnamespace: {NAMESPACE}\ndata: {}\nhttp: '{ip}:9404'\n\
             listeners: [{{ name: internal, bind: '{ip}:{PORT}' }}]\ndrainSeconds: 25\n",
            data.display()
        ),
    )?;
    let mut broker = Command::new(ottla);
    broker.arg("broker").arg("--config").arg(file);
    broker.env("KUBECONFIG", plane.kubeconfig(BROKER));
    broker.env("POD_NAME", format!("{CLUSTER}-broker-{id}")).env("POD_UID", format!("pod-{id}"));
    Ok(broker)
}
