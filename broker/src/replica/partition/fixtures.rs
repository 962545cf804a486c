//! A partition of three replicas in a folder of its own, for the tests beside the code.

use std::path::Path;
use std::sync::Arc;

use ottla_batch::{Batch, BatchBuilder, Codec, NewRecord};
use ottla_config::{BrokerSettings, TopicSettings};
use ottla_log::{Files, Log, LogConfig, RecoveryHint};
use tempfile::TempDir;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::leadership::Surroundings;
use super::{Partition, StoredReplica};
use crate::image::{Assignment, BrokerId, Incarnation, IsrMember, LeaderEpoch, Me, PartitionEpoch, Topic};
use crate::metrics::Metrics;
use crate::replica::proposal::Proposal;

pub(crate) const ME: Me = Me { id: BrokerId(0), incarnation: Incarnation(100) };

/// The partition of broker 0; 1 and 2 have the others, all in sync.
pub(crate) struct Fixture {
    pub(crate) partition: Partition,
    settings: Arc<TopicSettings>,
    _data: TempDir,
}

pub(crate) fn member(broker: i32) -> IsrMember {
    IsrMember { broker: BrokerId(broker), incarnation: Incarnation(100 + i64::from(broker)) }
}

/// One record of so many bytes.
pub(crate) fn batch(byte: u8, len: usize) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(NewRecord { value: Some(&vec![byte; len]), ..NewRecord::default() });
    builder.build()
}

impl Fixture {
    /// Nobody leads yet.
    pub(crate) fn new(config: &[(&str, &str)]) -> Fixture {
        let data = tempfile::tempdir().unwrap();
        let (partition, settings) = opened(data.path(), config);
        Fixture { partition, settings, _data: data }
    }

    /// From now on this broker leads.
    pub(crate) fn elect(&self, leader: i32, leader_epoch: i32) {
        self.partition.assume(&assignment(Some(leader), leader_epoch), &self.settings, Surroundings::default());
    }

    /// From now on this broker leads alone, after a recovery: its log must begin there, or later.
    pub(crate) fn recover(&self, leader_epoch: i32, log_start: i64) {
        let isr = vec![member(ME.id.0)];
        let recovered = Assignment { isr, log_start: Some(log_start), ..assignment(Some(ME.id.0), leader_epoch) };
        self.partition.assume(&recovered, &self.settings, Surroundings::default());
    }
}

/// A partition in the folder `t-0` below `data` that broker 0 leads alone.
pub(crate) fn leading_alone(data: &Path) -> Partition {
    let (partition, settings) = opened(data, &[]);
    partition.assume(&alone(0), &settings, Surroundings::default());
    partition
}

/// Broker 0 has the only replica, and leads.
pub(crate) fn alone(leader_epoch: i32) -> Assignment {
    Assignment { replicas: vec![ME.id], isr: vec![member(ME.id.0)], ..assignment(Some(ME.id.0), leader_epoch) }
}

fn opened(data: &Path, config: &[(&str, &str)]) -> (Partition, Arc<TopicSettings>) {
    let config = config.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let settings = Arc::new(TopicSettings::resolve(&config, &BrokerSettings::default()));
    let topic = Topic {
        id: Uuid::from_u128(1),
        name: "t".into(),
        config,
        settings: settings.clone(),
        partitions: vec![assignment(None, 0)],
    };
    let (dir, hint) = (data.join("t-0"), RecoveryHint::default());
    let (log, _) = Log::open(&dir, LogConfig::default(), hint, &Files::new(1, 1 << 10), 0).unwrap();
    let found = StoredReplica { log, high_watermark: 0, proposal: Proposal::open(&dir).unwrap() };
    let metrics = Metrics::new().topics.of("t");
    (Partition::new(&topic, 0, ME, found, metrics, mpsc::channel(1).0), settings)
}

fn assignment(leader: Option<i32>, leader_epoch: i32) -> Assignment {
    Assignment {
        partition: 0,
        replicas: [0, 1, 2].map(BrokerId).to_vec(),
        adding: vec![],
        removing: vec![],
        leader: leader.map(BrokerId),
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: PartitionEpoch(leader_epoch),
        isr: [0, 1, 2].map(member).to_vec(),
        reports: vec![],
        log_start: None,
    }
}
