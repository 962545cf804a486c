//! A broker: the machine with its disk, and the process that runs on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::coordination::v1::Lease;
use ottla_broker::coord::session::{self, Seen, Session};
use ottla_broker::data_dir::{self, DataDir, DataDirError, Ticks};
use ottla_broker::handle::refusals::Refusals;
use ottla_broker::image::{ClusterImage, Me, Topic};
use ottla_broker::metrics::{Metrics, TopicMetrics};
use ottla_broker::replica::checkpoints::Checkpoints;
use ottla_broker::replica::opening::open_log;
use ottla_broker::replica::partition::leadership::Surroundings;
use ottla_broker::replica::partition::{Appended, Found, Partition};
use ottla_broker::replica::{Key, folders};
use ottla_config::{BrokerSettings, TopicSettings};
use ottla_crds::assignment::{Assignment, BrokerId, Incarnation, LiveBroker};
use ottla_crds::lease::BrokerSession;
use ottla_log::Files;
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use crate::disk::{Disk, Trouble};
use crate::random::Random;

/// `replica.lag.time.max.ms` here.
pub const MAX_LAG: Duration = Duration::from_secs(2);
/// A few batches.
const SEGMENT_BYTES: u32 = 1500;
/// The copy of what the process has seen.
const COPY: &str = "ottla.objects";

/// A broker.
pub struct Node {
    pub id: BrokerId,
    home: PathBuf,
    pub disk: Disk,
    /// How often its machine was started.
    boots: u32,
    /// How many pods it has had.
    pods: u32,
    /// Its Lease, in the API server.
    pub lease: Option<Lease>,
    pub incarnation: Incarnation,
    /// What its disk holds is not what it held in this incarnation.
    has_lost_content: bool,
    /// Which process this is, counted.
    pub life: u64,
    pub process: Option<Process>,
    /// It runs, but does nothing (SIGSTOP).
    pub frozen: bool,
    pub draining: bool,
    /// Brokers that it is cut off from.
    pub cut_off: Vec<usize>,
    pub cut_off_from_api: bool,
    pub slow: bool,
    /// How far its wall clock is off, in milliseconds.
    pub skew_ms: i64,
    /// There is a snapshot of its volume: from the start of this number, and what was counted in it then.
    snapshot: Option<(u64, u64)>,
    topic: Topic,
    metrics: Arc<Metrics>,
}

/// What is gone when the process is.
pub struct Process {
    data: DataDir,
    session: Session,
    checkpoints: Checkpoints,
    pub min_in_sync: usize,
    settings: Arc<TopicSettings>,
    /// By partition number.
    pub replicas: Vec<Replica>,
    joining: mpsc::Sender<Key>,
    _joined: mpsc::Receiver<Key>,
}

/// A partition, here or not.
pub struct Replica {
    /// None while the broker holds no replica.
    pub partition: Option<Arc<Partition>>,
    /// The newest entry that the process has seen.
    pub seen: Assignment,
    /// Since when it waits for an answer.
    pub waiting_since: Option<Instant>,
    /// The change of the ISR that it has asked for, and when.
    pub asked: Option<(Assignment, Instant)>,
    /// Producers that wait for an acknowledgement.
    pub producing: Vec<Producing>,
    /// What was refused, by connection.
    pub refusals: BTreeMap<u64, Refusals>,
}

/// A producer that waits.
pub struct Producing {
    pub producer: usize,
    pub connection: u64,
    pub sequence: u32,
    pub appended: Appended,
}

impl Node {
    pub fn new(root: &Path, number: usize, entries: &[Assignment]) -> Result<Node> {
        let topic = Topic {
            id: Uuid::from_u128(1),
            name: "simulated".into(),
            config: BTreeMap::new(),
            settings: settings(1),
            partitions: entries.to_vec(),
        };
        let home = root.join(number.to_string());
        fs::create_dir_all(home.join("data"))?;
        let disk = Disk::new(&home.join("data"));
        Ok(Node {
            id: BrokerId(i32::try_from(number)?),
            home,
            disk,
            boots: 1,
            pods: 1,
            lease: None,
            incarnation: Incarnation(0),
            has_lost_content: false,
            life: 0,
            process: None,
            frozen: false,
            draining: false,
            cut_off: Vec::new(),
            cut_off_from_api: false,
            slow: false,
            skew_ms: 0,
            snapshot: None,
            topic,
            metrics: Metrics::new(),
        })
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// What is true of it, for whoever looks.
    pub fn truth(&self) -> Option<LiveBroker> {
        let there = self.process.is_some() && !self.frozen;
        there.then_some(LiveBroker { incarnation: self.incarnation, draining: self.draining })
    }

    /// A replica of its process, while that is not frozen.
    pub fn replica(&self, number: usize) -> Option<&Replica> {
        self.process.as_ref().filter(|_| !self.frozen)?.replicas.get(number)
    }

    /// The same, to change it.
    pub fn replica_mut(&mut self, number: usize) -> Option<&mut Replica> {
        self.process.as_mut().filter(|_| !self.frozen)?.replicas.get_mut(number)
    }

    /// Its partition, while its process runs and is not frozen.
    pub fn partition(&self, number: usize) -> Option<&Arc<Partition>> {
        self.replica(number)?.partition.as_ref()
    }

    /// Begins the session of the first process of a new cluster, before there is any entry.
    pub fn join(&mut self) -> Result<()> {
        let data = DataDir::open(&self.data(), self.id)?;
        self.begin_session(&data, true).map(drop)
    }

    /// The session, if the directory could tell who it is.
    fn begin_session(&mut self, data: &DataDir, api_is_there: bool) -> Result<Option<Session>> {
        let here = data_dir::Surroundings {
            boot_id: format!("boot {}", self.boots),
            pod_uid: Some(format!("pod {}", self.pods)),
        };
        let seen = if api_is_there { Seen::Read(self.lease.as_ref()) } else { Seen::Away };
        let Some(session) = session::begin(data, seen, here)? else { return Ok(None) };
        self.incarnation = session.identity.incarnation;
        self.has_lost_content = false;
        if api_is_there {
            let mut annotations = session::annotations(&session.identity, &[], false);
            annotations.extend([session::ticks(&session.identity, session.ticks.count())]);
            let mut lease = Lease::default();
            lease.metadata.annotations = Some(annotations);
            self.lease = Some(lease);
        }
        Ok(Some(session))
    }

    /// Counts, and says so on its Lease if it can.
    pub fn renew(&mut self, api_is_there: bool) {
        let Some(process) = self.process.as_mut().filter(|_| self.disk.trouble() == Trouble::None) else { return };
        let Session { identity, ticks, .. } = &mut process.session;
        let Ok(count) = ticks.tick() else { return };
        if let Some(lease) = self.lease.as_mut().filter(|_| api_is_there) {
            lease.metadata.annotations.get_or_insert_default().extend([session::ticks(identity, count)]);
        }
    }

    /// Starts a process, if its directory can tell who it is. It has seen what the copy on its disk says; or what the API server
    /// shows, where that is there.
    pub fn start(&mut self, shown: Option<&[Assignment]>, min_in_sync: usize, around: &Surroundings) -> Result<bool> {
        let data = DataDir::open(&self.data(), self.id)?;
        let copy: Option<Vec<Assignment>> = data_dir::read_checked(&self.data().join(COPY))?;
        if shown.is_none() && copy.is_none() {
            return Ok(false);
        }
        let Some(session) = self.begin_session(&data, shown.is_some())? else { return Ok(false) };
        let (shown, copy) = (shown.unwrap_or_default(), copy.unwrap_or_default());
        let newest = |number: usize| match (shown.get(number), copy.get(number)) {
            (Some(shown), Some(copy)) if shown.epochs() < copy.epochs() => Some(copy),
            (shown, copy) => shown.or(copy),
        };
        let seen: Vec<Assignment> = (0..).map_while(newest).cloned().collect();
        folders::finish_removals(&self.data())?;
        let checkpoints = Checkpoints::load(&self.data(), data.was_clean(), false)?;
        let (joining, joined) = mpsc::channel(16);
        let replica = |seen: &Assignment| Replica {
            partition: None,
            seen: seen.clone(),
            waiting_since: None,
            asked: None,
            producing: Vec::new(),
            refusals: BTreeMap::new(),
        };
        self.life += 1;
        self.frozen = false;
        self.process = Some(Process {
            data,
            session,
            checkpoints,
            min_in_sync,
            settings: settings(min_in_sync),
            replicas: seen.iter().map(replica).collect(),
            joining,
            _joined: joined,
        });
        for entry in &seen {
            self.act_on(entry, around)?;
        }
        Ok(true)
    }

    /// Sees an entry: opens, leads, follows, removes.
    pub fn see(&mut self, entry: &Assignment, around: &Surroundings) -> Result<()> {
        let Some(replica) = self.replica_mut(entry.partition as usize) else { return Ok(()) };
        if entry.epochs() < replica.seen.epochs() {
            return Ok(());
        }
        replica.seen = entry.clone();
        self.act_on(entry, around)
    }

    /// Sees the topic's `min.insync.replicas`.
    pub fn see_min_in_sync(&mut self, min_in_sync: usize) {
        let Some(process) = &mut self.process else { return };
        if process.min_in_sync != min_in_sync {
            process.min_in_sync = min_in_sync;
            process.settings = settings(min_in_sync);
        }
    }

    fn act_on(&mut self, entry: &Assignment, around: &Surroundings) -> Result<()> {
        let (dir, name) = (self.data(), self.topic.name.to_string());
        let number = entry.partition;
        let Some(process) = &mut self.process else { return Ok(()) };
        let Some(replica) = process.replicas.get_mut(number as usize) else { return Ok(()) };
        if !entry.replicas.contains(&self.id) {
            if let Some(partition) = replica.partition.take() {
                partition.retire();
                replica.waiting_since = None;
                drop(partition);
                folders::remove(&dir, &name, number, self.topic.id)?;
                process.checkpoints.forget(&name, number)?;
            }
            return Ok(());
        }
        let partition = match &replica.partition {
            Some(partition) => partition.clone(),
            None => {
                let (hint, known) = process.checkpoints.of(&name, number);
                let (log, proposal) =
                    open_log(&dir, &ClusterImage::default(), &self.topic, number, hint, &Files::new(8, 1 << 20))?;
                let me = Me { id: self.id, incarnation: self.incarnation };
                let found = Found { log, high_watermark: known.high_watermark, proposal };
                let metrics = TopicMetrics::of(&self.metrics, &name);
                Arc::new(Partition::new(&self.topic, number, me, found, metrics, process.joining.clone()))
            }
        };
        let before = partition.follows();
        partition.assume(entry, &process.settings, around.clone());
        if partition.follows() != before {
            replica.waiting_since = None;
        }
        replica.partition = Some(partition);
        Ok(())
    }

    /// Writes the checkpoints and the copy of what it has seen. What can't be written is written later.
    pub fn keep(&mut self) {
        let (dir, name) = (self.data(), self.topic.name.to_string());
        let Some(process) = &mut self.process else { return };
        let copy: Vec<&Assignment> = process.replicas.iter().map(|replica| &replica.seen).collect();
        let _ = data_dir::write_checked(&dir.join(COPY), &copy);
        let running = process.replicas.iter().filter_map(|replica| replica.partition.as_ref());
        let positions = running.map(|partition| ((name.clone(), partition.number), partition.positions()));
        let _ = process.checkpoints.store(positions);
    }

    /// Flushes the logs.
    pub fn flush(&self) {
        for replica in self.process.iter().flat_map(|process| &process.replicas) {
            if let Some(partition) = &replica.partition {
                partition.flush();
            }
        }
    }

    /// Whether its disk does not hold, or will not, what it held in its incarnation.
    pub fn is_doomed(&self) -> bool {
        self.has_lost_content || matches!(self.disk.trouble(), Trouble::DiesAfter(_))
    }

    /// Whether one of its partitions has given up on its disk.
    pub fn is_offline(&self) -> bool {
        let replicas = self.process.iter().flat_map(|process| &process.replicas);
        replicas.filter_map(|replica| replica.partition.as_ref()).any(|partition| partition.standing().offline)
    }

    /// The process is killed.
    pub fn kill(&mut self) {
        self.process = None;
        self.frozen = false;
        self.draining = false;
    }

    /// The process stops as it should, and says so if it can.
    pub fn stop(&mut self) {
        let name = self.topic.name.to_string();
        let Some(mut process) = self.process.take() else { return };
        let closed: Result<Vec<_>, _> = process
            .replicas
            .iter()
            .filter_map(|replica| replica.partition.as_ref())
            .map(|partition| partition.close().map(|positions| ((name.clone(), partition.number), positions)))
            .collect();
        if let Ok(closed) = closed
            && process.checkpoints.store(closed).is_ok()
        {
            let _ = process.data.mark_clean();
        }
        self.kill();
    }

    /// The machine loses its power. How many files are not what they were.
    pub fn cut_power(&mut self, random: &mut Random) -> Result<usize> {
        self.kill();
        self.has_lost_content = true;
        self.boots += 1;
        self.disk.cut_power(random)
    }

    /// The volume is replaced by an empty one, for a new pod.
    pub fn lose_volume(&mut self) -> Result<()> {
        self.kill();
        self.has_lost_content = true;
        self.pods += 1;
        fs::remove_dir_all(self.data())?;
        fs::create_dir(self.data())?;
        self.disk.replaced()
    }

    /// A second process wants its volume.
    pub fn is_refused_a_second_process(&self) -> bool {
        matches!(DataDir::open(&self.data(), self.id), Err(DataDirError::InUse(_)))
    }

    /// A snapshot of the volume is taken.
    pub fn take_snapshot(&mut self) -> Result<()> {
        let snapshot = self.home.join("snapshot");
        if snapshot.exists() {
            fs::remove_dir_all(&snapshot)?;
        }
        copy_dir(&self.data(), &snapshot)?;
        let (starts, _) = self.said();
        self.snapshot = Some((starts, Ticks::of(&snapshot)?.count()));
        Ok(())
    }

    /// Whether a snapshot was taken.
    pub fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Whether the Lease has been renewed since the snapshot: a younger one is not told from the volume itself.
    pub fn has_older_snapshot(&self) -> bool {
        self.snapshot.is_some_and(|snapshot| snapshot < self.said())
    }

    /// The starts that its Lease has told of, and what it says was counted.
    fn said(&self) -> (u64, u64) {
        let Some(lease) = &self.lease else { return (0, 0) };
        let start = BrokerSession::of(lease).map_or(0, |session| session.start);
        (start, session::counted(lease, start).unwrap_or_default())
    }

    /// The volume is restored from the snapshot, for a new pod.
    pub fn restore_snapshot(&mut self) -> Result<()> {
        self.kill();
        self.has_lost_content = true;
        self.pods += 1;
        fs::remove_dir_all(self.data())?;
        copy_dir(&self.home.join("snapshot"), &self.data())?;
        self.disk.replaced()
    }
}

fn settings(min_in_sync: usize) -> Arc<TopicSettings> {
    let config = BTreeMap::from([("min.insync.replicas".to_owned(), min_in_sync.to_string())]);
    let resolved = TopicSettings::resolve(&config, &BrokerSettings::resolve(&BTreeMap::new()));
    Arc::new(TopicSettings { segment_bytes: SEGMENT_BYTES, ..resolved })
}

fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_dir(&path, &copy)?;
        } else {
            fs::copy(&path, &copy)?;
        }
    }
    Ok(())
}
