//! The topics of the simulation, and their settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_broker::image::{CONSUMER_OFFSETS, Topic};
use ottla_config::{BrokerSettings, TopicSettings};
use ottla_rules::assignment::{Assignment, BrokerId};
use uuid::Uuid;

/// The topic that producers write to.
pub const NAME: &str = "simulated";
pub const ID: Uuid = Uuid::from_u128(1);
/// Its partitions; their entries come first.
pub const PARTITIONS: usize = 2;
const OFFSETS_ID: Uuid = Uuid::from_u128(2);
/// The entry of the partition with the groups' offsets.
pub const OFFSETS: usize = PARTITIONS;
/// Entries of all topics.
pub const ENTRIES: usize = PARTITIONS + 1;
/// A few batches.
const SEGMENT_BYTES: u32 = 1500;

/// The partition of an entry.
pub fn place(entry: usize) -> (Uuid, i32) {
    if entry == OFFSETS { (OFFSETS_ID, 0) } else { (ID, entry as i32) }
}

/// The entry of a partition.
pub fn entry(topic: Uuid, number: i32) -> usize {
    if topic == OFFSETS_ID { OFFSETS } else { number as usize }
}

/// The topic's name and the number of an entry's partition.
pub fn named(entry: usize) -> (&'static str, i32) {
    if entry == OFFSETS { (CONSUMER_OFFSETS, 0) } else { (NAME, entry as i32) }
}

/// The name of the folder of a partition.
pub fn folder(entry: usize) -> String {
    let (topic, number) = named(entry);
    format!("{topic}-{number}")
}

/// Where a broker stands.
pub fn rack(broker: BrokerId) -> String {
    format!("rack {}", broker.0 % 2)
}

/// The settings that brokers see.
#[derive(Clone, Debug)]
pub struct Told {
    pub settings: Arc<BrokerSettings>,
    /// Of the topic of the producers, and of the groups'.
    topics: [Arc<TopicSettings>; 2],
}

/// What a seed decides of settings, beside `min.insync.replicas`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taste {
    pub retention_bytes: Option<u32>,
    pub flush_messages: Option<u32>,
}

impl Told {
    pub fn new(min_in_sync: usize, taste: Taste) -> Told {
        let pairs = |pairs: &[(&str, String)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        let settings = Arc::new(BrokerSettings::resolve(&pairs(&[
            ("replica.lag.time.max.ms", "2000".into()),
            ("replica.fetch.wait.max.ms", "200".into()),
            ("log.retention.check.interval.ms", "3000".into()),
            ("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector".into()),
        ])));
        let topic = |config: &[(&str, String)]| {
            let mut config = pairs(config);
            config.insert("min.insync.replicas".into(), min_in_sync.to_string());
            config.insert("file.delete.delay.ms".into(), "2000".into());
            let resolved = TopicSettings::resolve(&config, &settings);
            Arc::new(TopicSettings { segment_bytes: SEGMENT_BYTES, ..resolved })
        };
        let mut own = Vec::new();
        own.extend(taste.retention_bytes.map(|bytes| ("retention.bytes", bytes.to_string())));
        own.extend(taste.flush_messages.map(|messages| ("flush.messages", messages.to_string())));
        let topics = [topic(&own), topic(&[("cleanup.policy", "compact".into())])];
        Told { settings, topics }
    }

    /// The topics with these entries.
    pub fn topics<'a>(&'a self, entries: &'a [Assignment]) -> impl Iterator<Item = Topic> + 'a {
        let of = [(ID, NAME, &entries[..PARTITIONS]), (OFFSETS_ID, CONSUMER_OFFSETS, &entries[PARTITIONS..])];
        of.into_iter().zip(&self.topics).map(|((id, name, partitions), settings)| Topic {
            id,
            name: name.into(),
            config: BTreeMap::new(),
            settings: settings.clone(),
            partitions: partitions.to_vec(),
        })
    }
}
