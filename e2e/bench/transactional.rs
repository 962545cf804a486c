//! Transactions with librdkafka: large ones, and reading what was committed.

use anyhow::{Context, Result, bail};
use ottla_e2e::librdkafka::{LIMIT, config};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

use crate::VALUE_LEN;
use crate::runs::Done;

/// Partitions that each large transaction writes to.
pub const PARTITIONS: i32 = 10;
/// How long a large transaction is open.
const OPEN: Duration = Duration::from_millis(100);
/// Records between two looks at the clock.
const RECORDS_A_LOOK: usize = 1000;

/// Writes records to ten partitions as fast as it can, and commits each 100 ms.
pub fn produce(address: &str, topic: &str, run: Duration) -> Result<Done> {
    let producer = producer(address, topic, &[("linger.ms", "5"), ("queue.buffering.max.messages", "20000")])?;
    let value = [b'x'; VALUE_LEN];
    let (begin, mut records) = (Instant::now(), 0);
    while begin.elapsed() < run {
        let opened = Instant::now();
        producer.begin_transaction()?;
        // The clock is asked now and then: asking costs as much as a record.
        while opened.elapsed() < OPEN {
            for partition in (0..PARTITIONS).cycle().take(RECORDS_A_LOOK) {
                send(&producer, BaseRecord::to(topic).partition(partition).payload(&value[..]))?;
            }
            records += RECORDS_A_LOOK;
        }
        producer.commit_transaction(LIMIT)?;
    }
    Ok(Done { bytes: records * VALUE_LEN, ..Done::default() })
}

/// Consumes all partitions for this long, from the beginning again whenever all ends are reached.
pub fn consume(address: &str, topic: &str, isolation: &str, run: Duration) -> Result<Done> {
    let settings = [
        ("group.id", "bench"),
        ("enable.auto.commit", "false"),
        ("enable.partition.eof", "true"),
        ("isolation.level", isolation),
    ];
    let consumer: BaseConsumer = config(address, &settings).create()?;
    let from_the_beginning = || -> Result<()> {
        let mut partitions = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        Ok(consumer.assign(&partitions)?)
    };
    from_the_beginning()?;
    let (begin, mut done, mut ends, mut records) = (Instant::now(), Done::default(), 0, 0u32);
    while records % 1024 != 0 || begin.elapsed() < run {
        match consumer.poll(LIMIT).context("no record in time")? {
            Ok(message) => {
                done.bytes += message.payload_len();
                records = records.wrapping_add(1);
            }
            Err(KafkaError::PartitionEOF(_)) => {
                ends += 1;
                if ends == PARTITIONS {
                    ends = 0;
                    from_the_beginning()?;
                }
            }
            Err(error) => bail!(error),
        }
    }
    Ok(done)
}

fn producer(address: &str, id: &str, more: &[(&str, &str)]) -> Result<BaseProducer> {
    let settings = [("transactional.id", id), ("compression.type", "none")];
    let all: Vec<(&str, &str)> = settings.iter().chain(more).copied().collect();
    let producer: BaseProducer = config(address, &all).create()?;
    producer.init_transactions(LIMIT)?;
    Ok(producer)
}

fn send(producer: &BaseProducer, mut record: BaseRecord<'_, (), [u8]>) -> Result<()> {
    while let Err((error, again)) = producer.send(record) {
        if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
            bail!("a record was not taken: {error}");
        }
        producer.poll(Duration::from_millis(1));
        record = again;
    }
    Ok(())
}
