//! Produce and InitProducerId.

use crate::offsets::coordinated;
use crate::{TIME, batch, play, text, topic};
use anyhow::Result;
use bytes::Bytes;
use ottla_batch::{Batch, BatchBuilder, Codec, Compression, NewRecord};
use ottla_e2e::answers::{Conversation, LIMIT};
use ottla_e2e::wait::until;
use ottla_wire::m00_produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::m22_init_producer_id::InitProducerIdRequest;
use ottla_wire::{Records, Uuid};

pub fn produce(name: &str, partition: i32, records: Option<Bytes>) -> ProduceRequest {
    ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 60_000,
        topic_data: vec![TopicProduceData {
            name: text(name),
            topic_id: Uuid::nil(),
            partition_data: vec![PartitionProduceData { index: partition, records: records.map(Records::from) }],
        }],
    }
}

fn bytes(batch: &Batch) -> Option<Bytes> {
    Some(batch.bytes().clone())
}

/// The batch with another header around the same records.
pub fn altered(batch: &Batch, alter: impl Fn(&mut ottla_batch::BatchHeader)) -> Option<Bytes> {
    let mut header = *batch.header();
    alter(&mut header);
    bytes(&Batch::seal(header, &batch.body()))
}

#[test]
fn batches_are_appended_or_refused() -> Result<()> {
    play("produce", |broker| {
        let id = topic(broker, "produce", 1, &[])?;
        // Makes the offsets topic.
        coordinated(broker, &["produce"])?;
        for version in 3..=12 {
            broker.ask("a batch", version, produce("produce", 0, bytes(&batch(2))))?;
        }
        let mut by_id = produce("", 0, bytes(&batch(2)));
        by_id.topic_data[0].topic_id = id;
        broker.ask("by topic id", 13, by_id.clone())?;
        by_id.topic_data[0].topic_id = Uuid::from_u128(7);
        broker.ask("an unknown topic id", 13, by_id)?;
        broker.ask("an unknown topic", 12, produce("produce.unknown", 0, bytes(&batch(1))))?;
        broker.ask("an unknown partition", 12, produce("produce", 9, bytes(&batch(1))))?;
        broker.ask("a negative partition", 12, produce("produce", -1, bytes(&batch(1))))?;
        broker.ask("acks of one", 12, ProduceRequest { acks: 1, ..produce("produce", 0, bytes(&batch(1))) })?;
        broker.ask("acks of two", 12, ProduceRequest { acks: 2, ..produce("produce", 0, bytes(&batch(1))) })?;

        broker.ask_on(0, "no records", 12, produce("produce", 0, Some(Bytes::new())))?;
        // Null records are left out: Kafka 4.3 never answers them.
        let two = [batch(1).bytes().as_ref(), batch(1).bytes()].concat();
        broker.ask_on(0, "two batches", 12, produce("produce", 0, Some(two.into())))?;
        let mut corrupt = batch(2).bytes().to_vec();
        *corrupt.last_mut().expect("a batch has bytes") ^= 1;
        broker.ask_on(0, "a wrong checksum", 12, produce("produce", 0, Some(corrupt.into())))?;
        let cut = batch(2).bytes().slice(..70);
        broker.ask_on(0, "half a batch", 12, produce("produce", 0, Some(cut)))?;
        let mut old = batch(2).bytes().to_vec();
        old[16] = 1;
        broker.ask_on(0, "magic one", 12, produce("produce", 0, Some(old.into())))?;
        let mut unknown = batch(2).bytes().to_vec();
        unknown[16] = 3;
        broker.ask_on(0, "magic three", 12, produce("produce", 0, Some(unknown.into())))?;

        for (title, records) in [
            ("a control batch", altered(&batch(1), |header| header.attributes |= 32)),
            ("log append time", altered(&batch(1), |header| header.attributes |= 8)),
            ("an unknown codec", altered(&batch(1), |header| header.attributes |= 5)),
            ("more records than counted", altered(&batch(3), |header| header.records_count = 2)),
            ("fewer records than counted", altered(&batch(3), |header| header.records_count = 4)),
            ("none counted", altered(&batch(3), |header| header.records_count = 0)),
            ("a wrong last offset", altered(&batch(3), |header| header.last_offset_delta = 7)),
            ("a transaction's batch", altered(&batch(1), |header| header.attributes |= 16)),
            ("a wrong base offset", altered(&batch(2), |header| header.base_offset = 55)),
            ("a wrong greatest timestamp", altered(&batch(2), |header| header.max_timestamp = TIME * 9)),
        ] {
            broker.ask_on(0, title, 12, produce("produce", 0, records))?;
        }
        broker.ask("where the log ends now", 12, produce("produce", 0, bytes(&batch(1))))?;
        broker.ask("to the offsets topic", 12, produce("__consumer_offsets", 0, bytes(&batch(1))))?;
        broker.send_on(0, 12, &ProduceRequest { acks: 0, ..produce("produce", 0, bytes(&batch(1))) })?;
        broker.ask("the answer after acks of none is the next one's", 12, produce("produce", 0, bytes(&batch(1))))?;
        broker.send_on(0, 12, &ProduceRequest { acks: 0, ..produce("produce.unknown", 0, bytes(&batch(1))) })?;
        broker.receive_on::<ProduceRequest>(0, "acks of none to an unknown topic", 12)?;
        Ok(())
    })
}

#[test]
fn topic_settings_are_obeyed() -> Result<()> {
    play("produce-settings", |broker| {
        topic(broker, "small", 1, &[("max.message.bytes", "200")])?;
        broker.ask("a batch that fits", 12, produce("small", 0, bytes(&batch(5))))?;
        broker.ask("a batch that is too large", 12, produce("small", 0, bytes(&batch(9))))?;
        topic(broker, "keyed", 1, &[("cleanup.policy", "compact")])?;
        let keyless = |codec| {
            let mut builder = BatchBuilder::new(codec);
            for value in ["a", "b"] {
                builder.push(NewRecord { timestamp: TIME, value: Some(value.as_bytes()), ..Default::default() });
            }
            builder.build()
        };
        for version in [7, 8, 12] {
            broker.ask("no keys in a compacted topic", version, produce("keyed", 0, bytes(&keyless(Codec::None))))?;
        }
        broker.ask("keys in a compacted topic", 12, produce("keyed", 0, bytes(&batch(1))))?;
        topic(broker, "punctual", 1, &[("message.timestamp.before.max.ms", "1000")])?;
        let late = broker.quietly(12, produce("punctual", 0, bytes(&batch(2))))?;
        let partition = &late.responses[0].partition_responses[0];
        broker.note("too old", &format!("{:?} {:?}", partition.error_code, partition.record_errors.len()));
        topic(broker, "stamped", 1, &[("message.timestamp.type", "LogAppendTime")])?;
        let stamped = broker.quietly(12, produce("stamped", 0, bytes(&batch(2))))?;
        let partition = &stamped.responses[0].partition_responses[0];
        broker.note(
            "stamped by the broker",
            &format!("{:?} {}", partition.error_code, partition.log_append_time_ms > TIME),
        );
        for wanted in ["uncompressed", "gzip", "snappy", "lz4", "zstd", "producer"] {
            let name = format!("codec.{wanted}");
            topic(broker, &name, 1, &[("compression.type", wanted)])?;
            for sent in [Codec::None, Codec::Gzip { level: 1 }, Codec::Snappy, Codec::Lz4, Codec::Zstd { level: 3 }] {
                broker.quietly(12, produce(&name, 0, bytes(&keyless(sent))))?;
            }
            let stored = stored_codecs(broker, &name)?;
            broker.note(&format!("plain, gzip, snappy, lz4, zstd in a topic of {wanted}"), &format!("{stored:?}"));
        }
        broker.ask(
            "zstd in a version that has none",
            6,
            produce("codec.producer", 0, bytes(&keyless(Codec::Zstd { level: 3 }))),
        )?;
        Ok(())
    })
}

fn stored_codecs(broker: &mut Conversation<'_>, name: &str) -> Result<Vec<Option<Compression>>> {
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let answer = broker.quietly(
        12,
        FetchRequest {
            max_wait_ms: 1000,
            min_bytes: 1,
            topics: vec![FetchTopic { topic: text(name), partitions: vec![partition], ..Default::default() }],
            ..Default::default()
        },
    )?;
    let records = answer.responses[0].partitions[0].records.clone().unwrap_or_default();
    let batches = ottla_batch::Batches::new(records.as_bytes().cloned().unwrap_or_default());
    batches.map(|batch| Ok(batch.map_err(|error| anyhow::anyhow!("{error:?}"))?.header().compression().ok())).collect()
}

#[test]
fn producers_keep_their_sequence() -> Result<()> {
    play("idempotence", |broker| {
        topic(broker, "sequence", 1, &[])?;
        let ask = |transactional_id: Option<&str>| InitProducerIdRequest {
            transactional_id: transactional_id.map(text),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        until(LIMIT, "producer ids", || Ok(broker.quietly(5, ask(None))?.error_code.is_none().then_some(())))?;
        let id = broker.ask("an id", 5, ask(None))?.producer_id;
        broker.ask("another id", 0, ask(None))?;
        broker.ask("an empty transactional id", 5, ask(Some("")))?;
        broker.ask("an id and no epoch", 5, InitProducerIdRequest { producer_id: 3, ..ask(None) })?;
        let mut send = |title: &str, epoch: i16, sequence: i32, count: usize| -> Result<()> {
            let records = altered(&batch(count), |header| {
                header.producer_id = id;
                header.producer_epoch = epoch;
                header.base_sequence = sequence;
            });
            broker.ask_on(0, title, 12, produce("sequence", 0, records)).map(drop)
        };
        send("the first batch", 0, 0, 3)?;
        send("it again", 0, 0, 3)?;
        send("the second", 0, 3, 2)?;
        send("the first again", 0, 0, 3)?;
        send("part of the first again", 0, 1, 2)?;
        send("a gap", 0, 9, 1)?;
        send("the third", 0, 5, 1)?;
        send("a sequence below none", 0, -1, 1)?;
        send("a new epoch that begins in the middle", 1, 4, 1)?;
        send("a new epoch", 1, 0, 1)?;
        send("the old epoch", 0, 6, 1)?;
        send("an epoch below none", -1, 0, 1)?;
        for sequence in 1..=5 {
            send("more", 1, sequence, 1)?;
        }
        send("forgotten after five", 1, 0, 1)?;
        send("remembered among five", 1, 1, 1)?;
        let unknown = |sequence| {
            altered(&batch(1), |header| {
                header.producer_id = 1 << 40;
                header.producer_epoch = 0;
                header.base_sequence = sequence;
            })
        };
        broker.ask("an unknown producer may begin anywhere", 12, produce("sequence", 0, unknown(i32::MAX)))?;
        broker.ask("and after the greatest comes zero", 12, produce("sequence", 0, unknown(0)))?;
        Ok(())
    })
}
