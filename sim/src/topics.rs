//! The topics of the simulation, their settings, and the groups that read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_broker::image::{CONSUMER_OFFSETS, TRANSACTION_STATE, Topic};
use ottla_config::{BrokerSettings, TopicSettings};
use ottla_rules::assignment::{Assignment, BrokerId};
use uuid::Uuid;

/// The topic that producers write to.
pub(crate) const NAME: &str = "simulated";
pub(crate) const ID: Uuid = Uuid::from_u128(1);
/// Its partitions; their entries come first.
pub(crate) const PARTITIONS: usize = 2;
const OFFSETS_ID: Uuid = Uuid::from_u128(2);
/// The entry of the partition with the groups' offsets.
pub(crate) const OFFSETS: usize = PARTITIONS;
const STATE_ID: Uuid = Uuid::from_u128(3);
/// The entry of the partition with the states of transactional ids, in a world with transactions.
pub(crate) const STATE: usize = OFFSETS + 1;
/// Entries of all topics, with transactions.
pub(crate) const MOST_ENTRIES: usize = STATE + 1;
/// The groups, by the number that the judge has for each: one without members, two that `groups` plays, and two whose
/// members are jobs.
pub(crate) const GROUPS: [&str; 5] = ["group", "classic", "consumer", "classic jobs", "consumer jobs"];
/// The first group whose members are jobs.
pub(crate) const JOBS: usize = 3;
/// A few batches.
const SEGMENT_BYTES: u32 = 1500;

/// The partition of an entry.
pub(crate) fn place(entry: usize) -> (Uuid, i32) {
    match entry {
        OFFSETS => (OFFSETS_ID, 0),
        STATE => (STATE_ID, 0),
        partition => (ID, partition as i32),
    }
}

/// The entry of a partition.
pub(crate) fn entry(topic: Uuid, number: i32) -> usize {
    match topic {
        OFFSETS_ID => OFFSETS,
        STATE_ID => STATE,
        _ => number as usize,
    }
}

/// The topic's name and the number of an entry's partition.
pub(crate) fn named(entry: usize) -> (&'static str, i32) {
    match entry {
        OFFSETS => (CONSUMER_OFFSETS, 0),
        STATE => (TRANSACTION_STATE, 0),
        partition => (NAME, partition as i32),
    }
}

/// The name of the folder of a partition.
pub(crate) fn folder(entry: usize) -> String {
    let (topic, number) = named(entry);
    format!("{topic}-{number}")
}

/// Where a broker stands.
pub(crate) fn rack(broker: BrokerId) -> String {
    format!("rack {}", broker.0 % 2)
}

/// The settings that brokers see.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub settings: Arc<BrokerSettings>,
    /// Of the topic of the producers, of the groups' and of the transactional ids'.
    topics: [Arc<TopicSettings>; 3],
}

/// What a seed decides of settings, beside `min.insync.replicas`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taste {
    pub retention_bytes: Option<u32>,
    pub flush_messages: Option<u32>,
    pub producer_expiration_ms: Option<u32>,
}

impl Told {
    pub(crate) fn new(min_in_sync: usize, taste: Taste) -> Told {
        let pairs = |pairs: &[(&str, String)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        let mut of_brokers = vec![
            ("replica.lag.time.max.ms", "2000".into()),
            ("group.initial.rebalance.delay.ms", "300".into()),
            ("group.consumer.session.timeout.ms", "6000".into()),
            ("group.consumer.min.session.timeout.ms", "6000".into()),
            ("group.consumer.heartbeat.interval.ms", "1000".into()),
            ("group.consumer.min.heartbeat.interval.ms", "1000".into()),
            ("replica.fetch.wait.max.ms", "200".into()),
            ("log.retention.check.interval.ms", "3000".into()),
            ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "3000".into()),
            ("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector".into()),
        ];
        of_brokers.extend(taste.producer_expiration_ms.map(|time| ("producer.id.expiration.ms", time.to_string())));
        let settings = Arc::new(BrokerSettings::resolve(&pairs(&of_brokers)));
        let topic = |config: &[(&str, String)]| {
            let mut config = pairs(config);
            config.insert("min.insync.replicas".into(), min_in_sync.to_string());
            config.insert("file.delete.delay.ms".into(), "2000".into());
            let resolved = TopicSettings::resolve(&config, &settings);
            Arc::new(TopicSettings { segment_bytes: SEGMENT_BYTES, ..resolved })
        };
        let mut own = Vec::new();
        own.extend(taste.retention_bytes.map(|bytes| ("retention.bytes", bytes.to_string())));
        let flush = taste.flush_messages.map(|messages| ("flush.messages", messages.to_string()));
        own.extend(flush.clone());
        let mut of_coordinators = vec![("cleanup.policy", "compact".to_owned())];
        of_coordinators.extend(flush);
        let compacted = topic(&of_coordinators);
        let topics = [topic(&own), compacted.clone(), compacted];
        Told { settings, topics }
    }

    /// The topics with these entries.
    pub(crate) fn topics<'a>(&'a self, entries: &'a [Assignment]) -> impl Iterator<Item = Topic> + 'a {
        let of = [
            (ID, NAME, &entries[..PARTITIONS]),
            (OFFSETS_ID, CONSUMER_OFFSETS, &entries[OFFSETS..STATE]),
            (STATE_ID, TRANSACTION_STATE, &entries[STATE..]),
        ];
        let there = of.into_iter().zip(&self.topics).filter(|((_, _, partitions), _)| !partitions.is_empty());
        there.map(|((id, name, partitions), settings)| Topic {
            id,
            name: name.into(),
            config: BTreeMap::new(),
            settings: settings.clone(),
            partitions: partitions.to_vec(),
        })
    }
}
