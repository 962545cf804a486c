//! librdkafka, the leanest of the stock clients, with the same settings for both brokers.

use anyhow::{Context, Result, anyhow, bail};
use ottla_e2e::librdkafka::{LIMIT, config};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::VALUE_LEN;
use crate::runs::Done;

/// Remembers the first record that failed.
#[derive(Default)]
struct Failure(OnceLock<KafkaError>);

impl ClientContext for Failure {}

impl ProducerContext for Failure {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let _ = self.0.set(error.clone());
        }
    }
}

/// Produces for this long and waits for every acknowledgement.
pub fn produce(address: &str, topic: &str, acks: i16, batch_len: usize, run: Duration) -> Result<Done> {
    let (batch_len, acks) = (batch_len.to_string(), acks.to_string());
    let settings = [
        ("acks", acks.as_str()),
        ("batch.size", batch_len.as_str()),
        ("linger.ms", "5"),
        ("compression.type", "none"),
        // 20 MB: enough to be never short of records, little enough for the caches.
        ("queue.buffering.max.messages", "20000"),
    ];
    let producer: BaseProducer<Failure> = config(address, &settings).create_with_context(Failure::default())?;
    let value = [b'x'; VALUE_LEN];
    let (begin, mut records) = (Instant::now(), 0);
    // The clock is asked now and then: asking costs as much as a record.
    while records % 1024 != 0 || begin.elapsed() < run {
        records += 1;
        let mut record = BaseRecord::<(), [u8]>::to(topic).partition(0).payload(&value);
        while let Err((error, again)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                bail!("a record was not taken: {error}");
            }
            producer.poll(Duration::from_millis(1));
            record = again;
        }
    }
    producer.flush(LIMIT)?;
    match producer.context().0.get() {
        None => Ok(Done { bytes: records * VALUE_LEN, ..Done::default() }),
        Some(error) => Err(anyhow!("a record was not acknowledged: {error}")),
    }
}

/// Consumes for this long, from the beginning again whenever the end is reached.
pub fn consume(address: &str, topic: &str, run: Duration) -> Result<Done> {
    let settings = [("group.id", "bench"), ("enable.auto.commit", "false")];
    let consumer: BaseConsumer = config(address, &settings).create()?;
    let (_, end) = consumer.fetch_watermarks(topic, 0, LIMIT)?;
    let from_the_beginning = || -> Result<()> {
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(topic, 0, Offset::Beginning)?;
        Ok(consumer.assign(&partitions)?)
    };
    from_the_beginning()?;
    let (begin, mut done, mut records) = (Instant::now(), Done::default(), 0u32);
    while records % 1024 != 0 || begin.elapsed() < run {
        let message = consumer.poll(LIMIT).context("no record in time")??;
        done.bytes += message.payload_len();
        records = records.wrapping_add(1);
        if message.offset() + 1 == end {
            from_the_beginning()?;
        }
    }
    Ok(done)
}
