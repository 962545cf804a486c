//! librdkafka, the leanest of the stock clients, with the same settings for both brokers.

use anyhow::{Context, Result, anyhow, bail};
use ottla_e2e::librdkafka::{LIMIT, config};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::OnceLock;
use std::time::Duration;

use crate::VALUE_LEN;

/// Remembers the first record that was given up.
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

/// Produces this many bytes of values and waits for every acknowledgement.
pub fn produce(address: &str, topic: &str, acks: i16, batch_len: usize, bytes: usize) -> Result<()> {
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
    for _ in 0..bytes.div_ceil(VALUE_LEN) {
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
        None => Ok(()),
        Some(error) => Err(anyhow!("a record was not acknowledged: {error}")),
    }
}

/// Consumes this many bytes of values from the beginning.
pub fn consume(address: &str, topic: &str, bytes: usize) -> Result<()> {
    let settings = [("group.id", "bench"), ("enable.auto.commit", "false")];
    let consumer: BaseConsumer = config(address, &settings).create()?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&partitions)?;
    let mut consumed = 0;
    while consumed < bytes {
        let message = consumer.poll(LIMIT).context("no record in time")??;
        consumed += message.payload_len();
    }
    Ok(())
}
