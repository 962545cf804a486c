//! A broker: its disk, and the process that runs on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ottla_broker::image::{Me, Topic};
use ottla_broker::metrics::{Metrics, TopicMetrics};
use ottla_broker::replica::Key;
use ottla_broker::replica::checkpoints::Positions;
use ottla_broker::replica::partition::leadership::Surroundings;
use ottla_broker::replica::partition::{Found, Partition};
use ottla_broker::replica::proposal::Proposal;
use ottla_config::{BrokerSettings, TopicSettings};
use ottla_crds::assignment::{Assignment, BrokerId, Incarnation, LiveBroker};
use ottla_log::{Files, Log, LogConfig, RecoveryHint};
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use crate::random::Random;

const LOG_FILE: &str = "00000000000000000000.log";
/// `replica.lag.time.max.ms` here.
pub const MAX_LAG: Duration = Duration::from_secs(2);

/// A broker.
pub struct Node {
    pub id: BrokerId,
    dir: PathBuf,
    pub incarnation: Incarnation,
    /// Which process this is, counted.
    pub life: u64,
    pub process: Option<Process>,
    /// It runs, but does nothing (SIGSTOP).
    pub frozen: bool,
    pub draining: bool,
    /// Brokers that it is cut off from.
    pub cut_off: Vec<usize>,
    /// The copy of the entry on its disk.
    copy: Assignment,
    /// The checkpoint files.
    checkpoint: Positions,
    /// Bytes of the log's file that a power cut leaves.
    flushed: u64,
    topic: Topic,
    metrics: Arc<Metrics>,
}

/// What is gone when the process is.
pub struct Process {
    /// None while the broker holds no replica.
    pub partition: Option<Arc<Partition>>,
    /// The newest entry that it has seen.
    pub seen: Assignment,
    /// Since when it waits for an answer.
    pub waiting_since: Option<Instant>,
    /// The change of the ISR that it has asked for, and when.
    pub asked: Option<(Assignment, Instant)>,
    joining: mpsc::Sender<Key>,
    _joined: mpsc::Receiver<Key>,
}

impl Node {
    pub fn new(dir: &Path, number: usize, entry: &Assignment) -> Result<Node> {
        let config = BTreeMap::from([("min.insync.replicas".to_owned(), "2".to_owned())]);
        let settings = Arc::new(TopicSettings::resolve(&config, &BrokerSettings::resolve(&BTreeMap::new())));
        let topic = Topic {
            id: Uuid::from_u128(1),
            name: "simulated".into(),
            config,
            settings,
            partitions: vec![entry.clone()],
        };
        let dir = dir.join(number.to_string());
        fs::create_dir(&dir)?;
        let mut node = Node {
            id: BrokerId(i32::try_from(number)?),
            dir,
            incarnation: Incarnation(1),
            life: 0,
            process: None,
            frozen: false,
            draining: false,
            cut_off: Vec::new(),
            copy: entry.clone(),
            checkpoint: Positions::default(),
            flushed: 0,
            topic,
            metrics: Metrics::new(),
        };
        node.start(Some(entry), &Surroundings { max_lag: MAX_LAG, ..Surroundings::default() })?;
        Ok(node)
    }

    /// What is true of it, for whoever looks.
    pub fn truth(&self) -> Option<LiveBroker> {
        let there = self.process.is_some() && !self.frozen;
        there.then_some(LiveBroker { incarnation: self.incarnation, draining: self.draining })
    }

    /// Its partition, while its process runs and is not frozen.
    pub fn partition(&self) -> Option<&Arc<Partition>> {
        self.process.as_ref().filter(|_| !self.frozen)?.partition.as_ref()
    }

    /// Starts a process. It has seen what the copy on its disk says; or what the API server shows, where that is there.
    pub fn start(&mut self, shown: Option<&Assignment>, surroundings: &Surroundings) -> Result<()> {
        let seen = shown.filter(|shown| shown.epochs() >= self.copy.epochs()).unwrap_or(&self.copy).clone();
        let (joining, joined) = mpsc::channel(16);
        self.life += 1;
        self.frozen = false;
        self.process = Some(Process {
            partition: None,
            seen: seen.clone(),
            waiting_since: None,
            asked: None,
            joining,
            _joined: joined,
        });
        self.act_on(&seen, surroundings)
    }

    /// Sees an entry: opens, leads, follows, removes.
    pub fn see(&mut self, entry: &Assignment, surroundings: &Surroundings) -> Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        if entry.epochs() < process.seen.epochs() {
            return Ok(());
        }
        process.seen = entry.clone();
        self.act_on(entry, surroundings)
    }

    fn act_on(&mut self, entry: &Assignment, surroundings: &Surroundings) -> Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        if !entry.replicas.contains(&self.id) {
            if let Some(partition) = process.partition.take() {
                partition.retire();
                process.waiting_since = None;
                drop(partition);
                fs::remove_dir_all(self.dir.join("log"))?;
                self.checkpoint = Positions::default();
                self.flushed = 0;
            }
            return Ok(());
        }
        let partition = match &process.partition {
            Some(partition) => partition.clone(),
            None => {
                let hint = RecoveryHint {
                    clean: false,
                    recovery_point: self.checkpoint.recovery_point,
                    log_start: self.checkpoint.log_start,
                };
                let log = Log::open(&self.dir.join("log"), LogConfig::default(), hint, &Files::new(8, 1 << 20), 0);
                let (log, opened) = log.context("a log does not open")?;
                anyhow::ensure!(opened.corrupt.is_empty(), "damage below the recovery point: {:?}", opened.corrupt);
                let me = Me { id: self.id, incarnation: self.incarnation };
                let high_watermark = self.checkpoint.high_watermark;
                let found = Found { log, high_watermark, proposal: Proposal::open(&self.dir.join("log"))? };
                let metrics = TopicMetrics::of(&self.metrics, &self.topic.name);
                Arc::new(Partition::new(&self.topic, 0, me, found, metrics, process.joining.clone()))
            }
        };
        let before = partition.follows();
        partition.assume(entry, &self.topic.settings, surroundings.clone());
        if partition.follows() != before {
            process.waiting_since = None;
        }
        process.partition = Some(partition);
        Ok(())
    }

    /// Writes the checkpoints and the copy of what it has seen.
    pub fn keep(&mut self) {
        let Some(process) = &self.process else { return };
        self.copy = process.seen.clone();
        if let Some(partition) = &process.partition {
            self.checkpoint = partition.positions();
        }
    }

    /// Flushes the log.
    pub fn flush(&mut self) {
        let Some(partition) = self.partition() else { return };
        partition.flush();
        self.flushed = self.size();
    }

    /// The log was cut: what is new behind it has not been flushed.
    pub fn was_cut(&mut self) {
        self.flushed = self.flushed.min(self.size());
        self.keep();
    }

    fn size(&self) -> u64 {
        fs::metadata(self.dir.join("log").join(LOG_FILE)).map_or(0, |file| file.len())
    }

    /// The process is killed.
    pub fn kill(&mut self) {
        self.process = None;
        self.frozen = false;
        self.draining = false;
    }

    /// The machine loses its power: what was not flushed is gone from any byte on, or it is not what it was.
    pub fn cut_power(&mut self, random: &mut Random) -> Result<()> {
        self.kill();
        self.incarnation = Incarnation(self.incarnation.0 + 1);
        if random.happens(300) && self.dir.join("log").exists() {
            fs::write(self.dir.join("log/isr-proposal"), "{")?; // never synced
        }
        let path = self.dir.join("log").join(LOG_FILE);
        let size = self.size();
        if size > self.flushed {
            let left = self.flushed + random.below((size - self.flushed) as usize + 1) as u64;
            let file = fs::OpenOptions::new().write(true).open(path)?;
            file.set_len(left)?;
            if random.happens(300) {
                file.set_len(size)?; // the file's length was written, its blocks were not
            }
        }
        Ok(())
    }

    /// The volume is replaced by an empty one.
    pub fn lose_volume(&mut self) -> Result<()> {
        self.kill();
        self.incarnation = Incarnation(self.incarnation.0 + 1);
        if self.dir.join("log").exists() {
            fs::remove_dir_all(self.dir.join("log"))?;
        }
        self.checkpoint = Positions::default();
        self.flushed = 0;
        Ok(())
    }
}
