//! Who leads which partitions and who is in sync, as the API server shows it.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cluster::LIMIT;
use crate::cluster::namespace::Namespace;
use crate::wait::until;

/// One partition of any topic.
#[derive(Debug)]
pub struct Partition {
    /// The topic's name.
    pub topic: String,
    /// Its number in the topic.
    pub number: usize,
    /// The broker that leads it.
    pub leader: Option<u64>,
    /// The brokers that hold it.
    pub replicas: Vec<u64>,
    /// Those of them that have all of it.
    pub in_sync: Vec<u64>,
}

impl Namespace<'_> {
    /// Every partition, those of Kafka's own topics too.
    pub fn partitions(&self) -> Result<Vec<Partition>> {
        let objects: Value = serde_json::from_str(&self.kubectl("get oka -o json")?)?;
        let objects = objects["items"].as_array().context("a list has items")?;
        let ids = |value: &Value, id: fn(&Value) -> Option<u64>| -> Vec<u64> {
            value.as_array().into_iter().flatten().filter_map(id).collect()
        };
        let partition = |topic: &Value, entry: &Value| Partition {
            topic: topic.as_str().unwrap_or_default().to_owned(),
            number: entry["partition"].as_u64().unwrap_or_default() as usize,
            leader: entry["leader"].as_u64(),
            replicas: ids(&entry["replicas"], Value::as_u64),
            in_sync: ids(&entry["isr"], |member| member["broker"].as_u64()),
        };
        let of_object = |object: &Value| {
            let entries = object["spec"]["partitions"].as_array().into_iter().flatten();
            entries.map(|entry| partition(&object["spec"]["topicName"], entry)).collect::<Vec<_>>()
        };
        Ok(objects.iter().flat_map(of_object).collect())
    }

    /// The broker that leads most of a topic.
    pub fn busiest(&self, topic: &str, brokers: u64) -> Result<u64> {
        let partitions = self.partitions()?;
        let led_by = |id: &u64| partitions.iter().filter(|one| one.topic == topic && one.leader == Some(*id)).count();
        (0..brokers).max_by_key(led_by).context("there are brokers")
    }

    /// Waits until every replica is in sync.
    pub fn wait_until_whole(&self) -> Result<()> {
        let whole =
            |partition: &Partition| partition.leader.is_some() && partition.in_sync.len() == partition.replicas.len();
        self.wait_until_all("all replicas in sync", whole)
    }

    /// Waits until others lead what this broker led.
    pub fn wait_until_led_by_others(&self, than: u64) -> Result<()> {
        self.wait_until_all("others to lead", |partition| partition.leader.is_some_and(|leader| leader != than))
    }

    fn wait_until_all(&self, what: &str, right: impl Fn(&Partition) -> bool) -> Result<()> {
        let mut wrong = Vec::new();
        until(LIMIT, what, || {
            // What can't be asked for once is not right yet.
            let partitions = self.partitions().unwrap_or_default();
            let some = !partitions.is_empty();
            wrong = partitions.into_iter().filter(|partition| !right(partition)).collect();
            Ok((some && wrong.is_empty()).then_some(()))
        })
        .with_context(|| format!("not of {wrong:?}"))
    }
}
