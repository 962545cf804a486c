//! A broker: the machine with its disk, and the process that runs on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::coordination::v1::Lease;
use ottla_broker::coord::session::{self, LeaseRead, Session};
use ottla_broker::data_dir::{self, DataDir, DataDirError, Identity, Ticks};
use ottla_broker::image::{Broker, ClusterImage, Endpoint, Me, Topic};
use ottla_broker::metrics::Metrics;
use ottla_broker::replica::partition::Partition;
use ottla_kube::lease::BrokerSession;
use ottla_rules::assignment::{Assignment, BrokerId, Incarnation, LiveBroker};
use ottla_rules::features::{Features, SupportedFeatures};
use tokio::sync::oneshot;

use crate::disk::{Disk, Trouble};
use crate::process::{Beginning, Process};
use crate::random::Random;
use crate::shortening;
use crate::topics::{self, Told};

/// Whose directory it is.
const IDENTITY: &str = "ottla.identity";
/// The copy of what the process has seen.
const COPY: &str = "ottla.objects";
/// When a disk hangs for so long, its broker asks to be relieved, until some time after that.
const HANGS: Duration = Duration::from_secs(2);
/// How long a broker may go without a renewal of its Lease until it counts as cut off.
const LEASE: Duration = Duration::from_secs(6);

/// A broker.
pub(crate) struct Node {
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
    /// It has cut a log just now.
    pub has_cut: bool,
    /// A log of it was shortened, and may not have been copied again.
    pub is_damaged: bool,
    /// Which process this is, counted.
    pub life: u64,
    running: Option<Running>,
    /// When it had a process last.
    pub ran: Duration,
    /// It runs, but does nothing (SIGSTOP).
    pub frozen: bool,
    /// It was, and has not run since.
    slept: bool,
    pub draining: bool,
    /// Brokers that it is cut off from.
    pub cut_off: Vec<usize>,
    pub cut_off_from_api: bool,
    /// The lists that it is shown lack the producers' topic, which nobody has deleted.
    pub lacks_topic: bool,
    pub slow: bool,
    /// From when until when its disk hangs.
    hangs: (Duration, Duration),
    /// Its disk hangs for so long that others are to lead.
    is_relieved: bool,
    /// How far its wall clock is off, in milliseconds.
    pub skew_ms: i64,
    /// There is a snapshot of its volume: from the start of this number, and what was counted in it then.
    snapshot: Option<(u64, u64)>,
    metrics: Arc<Metrics>,
}

/// What is gone when the process is.
struct Running {
    process: Process,
    data: DataDir,
    session: Session,
    /// The newest entries that it has seen.
    seen: Vec<Assignment>,
    told: Told,
    /// When its Lease was renewed last.
    renewed: Duration,
    /// Who waits until the copy on its disk knows of these assignments.
    waiting: Vec<(Moved, oneshot::Sender<()>)>,
}

impl Running {
    /// Shows the cluster to the process as it has seen it.
    fn show(&mut self, around: &[Peer], lacks_topic: bool) {
        let image = image(&self.seen, &self.told, around, lacks_topic);
        self.process.images.send_replace(Arc::new(image));
    }
}

/// Assignments by which replicas were moved away, and the entries that they are of.
type Moved = Vec<(usize, Assignment)>;

impl Node {
    pub(crate) fn new(root: &Path, number: usize) -> Result<Node> {
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
            has_cut: false,
            is_damaged: false,
            ran: Duration::ZERO,
            life: 0,
            running: None,
            frozen: false,
            slept: false,
            draining: false,
            cut_off: Vec::new(),
            cut_off_from_api: false,
            lacks_topic: false,
            slow: false,
            hangs: (Duration::ZERO, Duration::ZERO),
            is_relieved: false,
            skew_ms: 0,
            snapshot: None,
            metrics: Metrics::new(),
        })
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Whether it has a process, perhaps a frozen one.
    pub(crate) fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// Its state, as it really is.
    pub(crate) fn truth(&self) -> Option<LiveBroker> {
        self.process_runs().then_some(LiveBroker { incarnation: self.incarnation, draining: self.is_draining() })
    }

    /// Whether others are to lead in its place.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining || self.is_relieved
    }

    /// Its disk hangs: what is asked of it is done afterwards.
    pub(crate) fn hang(&mut self, now: Duration, until: Duration) {
        self.hangs = (now, until);
    }

    /// Whether its disk hangs.
    pub(crate) fn is_hanging(&self, now: Duration) -> bool {
        now < self.hangs.1
    }

    /// A client connects, if there is a process; one that is frozen takes it later.
    pub(crate) fn accept(&self, stream: tokio::io::DuplexStream) {
        if let Some(running) = &self.running {
            running.process.accept(stream);
        }
    }

    /// Whether its process runs and is not frozen.
    pub(crate) fn process_runs(&self) -> bool {
        self.is_up() && !self.frozen
    }

    /// Its process, unless that is frozen.
    pub(crate) fn process(&mut self) -> Option<&mut Process> {
        self.running.as_mut().filter(|_| !self.frozen).map(|running| &mut running.process)
    }

    /// Its replica of the partition with this entry, while its process runs and is not frozen.
    pub(crate) fn partition(&self, entry: usize) -> Option<Arc<Partition>> {
        let running = self.running.as_ref().filter(|_| !self.frozen)?;
        let (topic, number) = topics::place(entry);
        let image = running.process.images.borrow().clone();
        running.process.handler().replicas.get(image.topics.get(&topic)?, number).ok()
    }

    /// Whether it has files of the partition with this entry.
    pub(crate) fn has_files(&self, entry: usize) -> bool {
        self.data().join(topics::folder(entry)).exists()
    }

    /// The newest entry that its process has seen.
    pub(crate) fn seen(&self, entry: usize) -> Option<&Assignment> {
        self.running.as_ref()?.seen.get(entry)
    }

    /// Begins the session of the first process of a new cluster, before there is any entry.
    pub(crate) fn join(&mut self) -> Result<()> {
        let data = DataDir::open(&self.data(), self.id)?;
        self.begin_session(&data, true).map(drop)
    }

    /// The session, if the directory could say who it is.
    fn begin_session(&mut self, data: &DataDir, api_is_there: bool) -> Result<Option<Session>> {
        let here = data_dir::Surroundings {
            boot_id: format!("boot {}", self.boots),
            pod_uid: Some(format!("pod {}", self.pods)),
        };
        let seen = if api_is_there { LeaseRead::Read(self.lease.as_ref()) } else { LeaseRead::Away };
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
    pub(crate) fn renew(&mut self, api_is_there: bool, now: Duration) {
        let Some(running) = self.running.as_mut().filter(|_| self.disk.trouble() == Trouble::None) else { return };
        let Session { identity, ticks, .. } = &mut running.session;
        // The thread that ticks hangs; the one that renews does not.
        let ticked = if now < self.hangs.1 { Ok(ticks.count()) } else { ticks.tick() };
        let Ok(count) = ticked else { return };
        if let Some(lease) = self.lease.as_mut().filter(|_| api_is_there) {
            lease.metadata.annotations.get_or_insert_default().extend([session::ticks(identity, count)]);
            running.renewed = now;
        }
    }

    /// Starts a process, if its directory can say who it is. It has seen what the copy on its disk says; or what the
    /// API server shows, where that is there.
    pub(crate) fn start(
        &mut self,
        shown: Option<&[Assignment]>,
        told: &Told,
        around: &[Peer],
        now: Duration,
    ) -> Result<bool> {
        let data = DataDir::open(&self.data(), self.id)?;
        let copy: Option<Vec<Assignment>> = data_dir::read_checked(&self.data().join(COPY))?;
        if shown.is_none() && copy.is_none() {
            return Ok(false);
        }
        let (clean, before) = (data.was_clean(), data.identity()?);
        let Some(session) = self.begin_session(&data, shown.is_some())? else { return Ok(false) };
        let (shown, copy) = (shown.unwrap_or_default(), copy.unwrap_or_default());
        let newest = |number: usize| match (shown.get(number), copy.get(number)) {
            (Some(shown), Some(copy)) if shown.epochs() < copy.epochs() => Some(copy),
            (shown, copy) => shown.or(copy),
        };
        let seen: Vec<Assignment> = (0..).map_while(newest).cloned().collect();
        let beginning = Beginning {
            me: Me { id: self.id, incarnation: self.incarnation },
            data: self.data(),
            clean,
            intact: before.is_some_and(|before| before.incarnation == self.incarnation),
            image: image(&seen, told, around, self.lacks_topic),
            metrics: self.metrics.clone(),
        };
        let process = Process::start(beginning, now)?;
        self.life += 1;
        self.frozen = false;
        self.slept = false;
        self.running =
            Some(Running { process, data, session, seen, told: told.clone(), renewed: now, waiting: Vec::new() });
        Ok(true)
    }

    /// How often it has compacted a log, over all its lives.
    pub(crate) fn compactions(&self) -> u64 {
        self.metrics.replicas.compactions.get()
    }

    /// Sees an entry.
    pub(crate) fn see(&mut self, number: usize, entry: &Assignment, around: &[Peer]) {
        let Some(running) = &mut self.running else { return };
        if entry.epochs() < running.seen[number].epochs() {
            return;
        }
        running.seen[number] = entry.clone();
        running.show(around, self.lacks_topic);
    }

    /// Sees the producers' topic from now on, or does not.
    pub(crate) fn see_topic(&mut self, is_seen: bool, around: &[Peer]) {
        if self.lacks_topic == is_seen {
            self.lacks_topic = !is_seen;
            self.running.iter_mut().for_each(|running| running.show(around, !is_seen));
        }
    }

    /// Sees the topics' settings.
    pub(crate) fn see_settings(&mut self, told: &Told) {
        if let Some(running) = &mut self.running {
            running.told = told.clone();
        }
    }

    /// Time passes for its process.
    pub(crate) fn run(&mut self, now: Duration) {
        let Some(running) = self.running.as_mut() else { return };
        if self.frozen {
            self.slept = true;
            return;
        }
        let (since, until) = self.hangs;
        if now >= until + HANGS {
            self.is_relieved = false;
        } else if now < until && now - since.min(now) >= HANGS {
            self.is_relieved = true;
        }
        running.process.set_hanging(now < until);
        running.process.set_slow(self.slow);
        running.process.set_cut_off(now - running.renewed.min(now) > LEASE);
        running.process.run(now, std::mem::take(&mut self.slept));
    }

    /// Writes the copy of what it has seen. What can't be written is written later.
    pub(crate) fn keep(&mut self, now: Duration) {
        let dir = self.data();
        if let Some(running) = self.running.as_mut().filter(|_| now >= self.hangs.1)
            && data_dir::write_checked(&dir.join(COPY), &running.seen).is_ok()
        {
            let is_known = |(entry, moved): &(usize, Assignment)| running.seen[*entry].epochs() >= moved.epochs();
            for (_, answer) in running.waiting.extract_if(.., |(moved, _)| moved.iter().all(is_known)) {
                let _ = answer.send(());
            }
        }
    }

    /// Answers when the copy on its disk knows of these assignments.
    pub(crate) fn answer_when_kept(&mut self, moved: Vec<(usize, Assignment)>, answer: oneshot::Sender<()>) {
        if let Some(running) = &mut self.running {
            running.waiting.push((moved, answer));
        }
    }

    /// Whether its disk has failed: then its process gives its directory up, and ends.
    pub(crate) fn gives_up(&mut self) -> bool {
        let has_failed = |running: &&mut Running| running.process.has_failed_disk();
        let gives_up = self.running.as_mut().filter(has_failed).is_some();
        if gives_up {
            self.kill();
        }
        gives_up
    }

    /// Whether its disk does not hold, or will not, what it held in its incarnation.
    pub(crate) fn is_doomed(&self) -> bool {
        self.has_lost_content
            || self.is_damaged
            || self.has_disowned()
            || matches!(self.disk.trouble(), Trouble::DiesAfter(_) | Trouble::SyncFails)
    }

    /// Whether its directory does not say any more that it is of its incarnation: its process has given it up, which
    /// may be long before that ends.
    fn has_disowned(&self) -> bool {
        let identity: Result<Option<Identity>, _> = data_dir::read_checked(&self.data().join(IDENTITY));
        identity.is_ok_and(|identity| identity.is_none_or(|identity| identity.incarnation != self.incarnation))
    }

    /// The process is killed.
    pub(crate) fn kill(&mut self) {
        self.running = None;
        self.frozen = false;
        self.draining = false;
        self.is_relieved = false;
    }

    /// The kernel forgets what a failed sync has not written. How many files are not what they were.
    pub(crate) fn lose_unwritten(&mut self, random: &mut Random) -> Result<usize> {
        // Also what is still there is not believed any more: the directory is disowned.
        self.has_lost_content |= self.disk.has_unwritten();
        self.disk.lose_unwritten(random)
    }

    /// Somebody shortens a log while no process has it, or removes its folder: see [`shortening`]. True when that is
    /// so.
    pub(crate) fn shorten(&mut self, random: &mut Random) -> Result<bool> {
        let is_shorter = shortening::shorten(&self.data(), random)?;
        if is_shorter {
            self.has_lost_content = true;
            self.is_damaged = true;
            self.disk.replaced()?;
        }
        Ok(is_shorter)
    }

    /// The process stops as it should, and says so if it can.
    pub(crate) fn stop(&mut self) {
        if let Some(Running { process, data, .. }) = self.running.take()
            && process.close()
        {
            let _ = data.mark_clean();
        }
        self.kill();
    }

    /// The machine loses its power. How many files are not what they were.
    pub(crate) fn cut_power(&mut self, random: &mut Random) -> Result<usize> {
        self.kill();
        self.has_lost_content = true;
        self.boots += 1;
        self.disk.cut_power(random)
    }

    /// The volume is replaced by an empty one, for a new pod.
    pub(crate) fn lose_volume(&mut self) -> Result<()> {
        self.kill();
        self.has_lost_content = true;
        self.pods += 1;
        fs::remove_dir_all(self.data())?;
        fs::create_dir(self.data())?;
        self.disk.replaced()
    }

    /// A second process wants its volume.
    pub(crate) fn is_refused_a_second_process(&self) -> bool {
        matches!(DataDir::open(&self.data(), self.id), Err(DataDirError::InUse(_)))
    }

    /// A snapshot of the volume is taken.
    pub(crate) fn take_snapshot(&mut self) -> Result<()> {
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
    pub(crate) fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Whether the Lease has been renewed since the snapshot: a younger one is not distinguished from the volume
    /// itself.
    pub(crate) fn has_older_snapshot(&self) -> bool {
        self.snapshot.is_some_and(|snapshot| snapshot < self.said())
    }

    /// The starts that its Lease has shown, and the ticks.
    fn said(&self) -> (u64, u64) {
        let Some(lease) = &self.lease else { return (0, 0) };
        let start = BrokerSession::of(lease).map_or(0, |session| session.start);
        (start, session::counted(lease, start).unwrap_or_default())
    }

    /// The volume is restored from the snapshot, for a new pod.
    pub(crate) fn restore_snapshot(&mut self) -> Result<()> {
        self.kill();
        self.has_lost_content = true;
        self.pods += 1;
        fs::remove_dir_all(self.data())?;
        copy_dir(&self.home.join("snapshot"), &self.data())?;
        self.disk.replaced()
    }
}

/// What is shown of a broker.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub id: BrokerId,
    pub alive: bool,
    pub draining: bool,
}

/// The cluster as a process sees it.
fn image(seen: &[Assignment], told: &Told, around: &[Peer], lacks_topic: bool) -> ClusterImage {
    let broker = |peer: &Peer| {
        let endpoint = Endpoint { host: peer.id.to_string().into(), port: 9092 };
        let broker = Broker {
            id: peer.id,
            rack: Some(topics::rack(peer.id).into()),
            alive: peer.alive,
            draining: peer.draining,
            endpoints: BTreeMap::from([("internal".into(), endpoint)]),
            address: None,
        };
        (peer.id, broker)
    };
    let is_shown = |topic: &Topic| topic.id != topics::ID || !lacks_topic;
    let topics: Vec<Arc<Topic>> = told.topics(seen).filter(is_shown).map(Arc::new).collect();
    ClusterImage {
        cluster_id: "simulated".into(),
        inter_broker_listener: "internal".into(),
        brokers: around.iter().map(broker).collect(),
        topic_names: topics.iter().map(|topic| (topic.name.clone(), topic.id)).collect(),
        topics: topics.into_iter().map(|topic| (topic.id, topic)).collect(),
        settings: told.settings.clone(),
        features: all_features(),
        ..ClusterImage::default()
    }
}

/// Those of a cluster whose brokers are all of this version.
fn all_features() -> Features {
    let none = Features::default();
    none.raised(&none.higher([Some(&SupportedFeatures::of_this_version())], &BTreeMap::new(), &BTreeMap::new()))
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
