//! What an application that counts writes: a record per count, under the key that it counts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use ottla_e2e::leash::last_lines;
use ottla_e2e::librdkafka::{LIMIT, config};
use ottla_e2e::wait::until;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// A topic of counts, read with read_committed from its beginning.
pub struct Counts {
    consumer: BaseConsumer,
    /// The values of each key, in their order.
    values: BTreeMap<String, Vec<String>>,
    seen: usize,
}

impl Counts {
    /// Those in a topic of so many partitions.
    pub fn of(bootstrap: &str, topic: &str, partitions: i32) -> Result<Counts> {
        let settings = [("group.id", "nobody"), ("enable.auto.commit", "false"), ("isolation.level", "read_committed")];
        let consumer: BaseConsumer = config(bootstrap, &settings).create()?;
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            all.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&all)?;
        Ok(Counts { consumer, values: BTreeMap::new(), seen: 0 })
    }

    /// Reads until so many counts have come out in all.
    pub fn wait_for(&mut self, count: usize, said: impl Fn() -> String) -> Result<()> {
        let came = until(LIMIT, &format!("{count} counts"), || {
            while let Some(polled) = self.consumer.poll(Duration::from_millis(50)) {
                let Ok(message) = polled else { continue };
                let text = |bytes: Option<&[u8]>| Some(std::str::from_utf8(bytes?).ok()?.to_owned());
                let key = text(message.key()).context("a count has its key")?;
                let value = text(message.payload()).context("a count is text")?;
                self.values.entry(key).or_default().push(value);
                self.seen += 1;
            }
            Ok((self.seen >= count).then_some(()))
        });
        came.with_context(|| format!("{} counts came; the application said:\n{}", self.seen, said()))
    }

    /// A key's counts in their order: the last word of each value.
    pub fn of_key(&self, key: &str) -> Result<Vec<usize>> {
        let values = self.values.get(key).with_context(|| format!("{key} was never counted"))?;
        let last = |value: &String| value.rsplit(' ').next().unwrap_or_default().parse();
        Ok(values.iter().map(last).collect::<Result<_, _>>()?)
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.values().flatten().map(String::as_str)
    }
}

/// The end of what the application has written to its log, for an error.
pub fn said(log: &Path) -> String {
    last_lines(log, 30)
}

/// Its holder is the only test with three brokers and an application.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
