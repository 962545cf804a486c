//! What the topics and groups of a chain hold at its end.

use anyhow::{Context, Result};
use ottla_history::transactions::{Checker, Isolation, Operation};
use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use super::Plan;
use super::job::{place, topic};
use crate::last_read::{self, reader, whole};
use crate::librdkafka::LIMIT;

/// Reads a topic from start to end once every transaction in it has ended, and says where it does not hold each
/// record of the source once and in order.
pub(super) fn read_log(bootstrap: &str, stage: u32, plan: &Plan, checker: &mut Checker) -> Result<Vec<String>> {
    let topic = topic(stage);
    let place = |partition| place(stage, partition, plan.partitions);
    let mut origins = Vec::new();
    last_read::read(bootstrap, (&topic, plan.partitions), Isolation::ReadCommitted, checker, place, |message| {
        let origin: u32 = std::str::from_utf8(message.key().context("records have keys")?)?.parse()?;
        origins.push((message.partition(), origin));
        Ok(())
    })?;
    let mut wrong = Vec::new();
    for partition in 0..plan.partitions {
        let order: Vec<u32> = origins.iter().filter(|(of, _)| *of == partition).map(|(_, origin)| *origin).collect();
        if let Some(two) = order.windows(2).find(|two| two[0] >= two[1]) {
            wrong.push(format!("{topic}-{partition} is out of order: {two:?}"));
        }
    }
    let mut once: Vec<u32> = origins.into_iter().map(|(_, origin)| origin).collect();
    once.sort_unstable();
    let expected: Vec<u32> = (0..plan.records).collect();
    if once != expected {
        wrong.push(format!("{topic} does not hold each record once: {} of {}", once.len(), expected.len()));
    }
    Ok(wrong)
}

pub(super) fn read_group(bootstrap: &str, stage: u32, partitions: i32, checker: &mut Checker) -> Result<()> {
    let consumer = reader(bootstrap, Isolation::ReadCommitted, &format!("stage-{stage}"))?;
    let committed = consumer.committed_offsets(whole(&topic(stage), partitions)?, LIMIT)?;
    for found in committed.elements() {
        let offset = if let Offset::Offset(offset) = found.offset() { Some(offset) } else { None };
        let partition = place(stage, found.partition(), partitions);
        checker.observe(Operation::GroupRead { group: stage, partition, offset });
    }
    Ok(())
}
