//! The last read of a topic, which the checker of transactions needs of every partition.

use anyhow::{Result, bail};
use ottla_history::transactions::{Checker, Isolation, Operation};
use ottla_history::{Id, Partition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::Duration;

use crate::librdkafka::{LIMIT, config};
use crate::wait::until;

/// A consumer that sees where partitions end, and commits nothing by itself.
pub fn reader(bootstrap: &str, isolation: Isolation, group: &str) -> Result<BaseConsumer> {
    let isolation = match isolation {
        Isolation::ReadCommitted => "read_committed",
        Isolation::ReadUncommitted => "read_uncommitted",
    };
    let settings = [("group.id", group), ("enable.auto.commit", "false"), ("isolation.level", isolation)];
    Ok(config(bootstrap, &settings).set("enable.partition.eof", "true").create()?)
}

/// Every partition of a topic, from its beginning.
pub fn whole(topic: &str, partitions: i32) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    Ok(list)
}

/// Reads a topic from start to end once every transaction in it has ended. The checker sees its partitions under the
/// numbers that `place` gives them, and `see` each record.
pub fn read(
    bootstrap: &str,
    (topic, partitions): (&str, i32),
    isolation: Isolation,
    checker: &mut Checker,
    place: impl Fn(i32) -> Partition,
    mut see: impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    let committed = reader(bootstrap, Isolation::ReadCommitted, "nobody")?;
    let all = reader(bootstrap, Isolation::ReadUncommitted, "nobody")?;
    let mut bounds = Vec::new();
    for partition in 0..partitions {
        bounds.push(until(LIMIT, &format!("the end of all transactions in {topic}"), || {
            let (start, stable) = committed.fetch_watermarks(topic, partition, LIMIT)?;
            let (_, end) = all.fetch_watermarks(topic, partition, LIMIT)?;
            Ok((stable == end).then_some((start, end)))
        })?);
    }
    let consumer = match isolation {
        Isolation::ReadCommitted => committed,
        Isolation::ReadUncommitted => all,
    };
    consumer.assign(&whole(topic, partitions)?)?;
    let mut ended = 0;
    until(LIMIT, &format!("the end of {topic}"), || {
        while let Some(polled) = consumer.poll(Duration::from_millis(100)) {
            match polled {
                Ok(message) => {
                    let (partition, offset) = (place(message.partition()), message.offset());
                    let id = message.payload().and_then(Id::read);
                    checker.observe(Operation::Logged { isolation, partition, offset, id });
                    see(&message)?;
                }
                Err(KafkaError::PartitionEOF(_)) => ended += 1,
                Err(error) => bail!("{topic}: {error}"),
            }
        }
        Ok((ended >= partitions).then_some(()))
    })?;
    for (partition, (start, end)) in (0..).zip(bounds) {
        checker.observe(Operation::LogRead { isolation, partition: place(partition), start, end });
    }
    Ok(())
}
