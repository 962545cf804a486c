//! librdkafka: commits, aborts, offsets in transactions, fencing, time-outs, and where read_committed ends.

use anyhow::{Context, Result, bail, ensure};
use ottla_e2e::librdkafka::{LIMIT, config, create_topic};
use ottla_e2e::need::met;
use ottla_e2e::raw::Connection;
use ottla_e2e::target::{Target, needs};
use ottla_e2e::wait::until;
use ottla_wire::m02_list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// ListOffsets' isolation levels.
const READ_UNCOMMITTED: i8 = 0;
const READ_COMMITTED: i8 = 1;

/// A producer with this transactional id, which has fenced those before it.
struct Transactional(ThreadedProducer<DefaultProducerContext>);

impl Transactional {
    fn start(id: &str, settings: &[(&str, &str)]) -> Result<Transactional> {
        let mut config = config(&Target::shared().bootstrap(), settings);
        let producer: ThreadedProducer<_> = config.set("transactional.id", id).set("linger.ms", "0").create()?;
        producer.init_transactions(LIMIT)?;
        Ok(Transactional(producer))
    }

    fn begin(&self) -> Result<()> {
        Ok(self.0.begin_transaction()?)
    }

    fn send(&self, topic: &str, partition: i32, value: &str) -> Result<()> {
        send(&self.0, topic, partition, value)
    }

    /// Waits until the broker has everything that was sent.
    fn flush(&self) -> Result<()> {
        Ok(self.0.flush(LIMIT)?)
    }

    fn commit(&self) -> Result<()> {
        Ok(self.0.commit_transaction(LIMIT)?)
    }

    fn abort(&self) -> Result<()> {
        Ok(self.0.abort_transaction(LIMIT)?)
    }
}

fn send(producer: &ThreadedProducer<DefaultProducerContext>, topic: &str, partition: i32, value: &str) -> Result<()> {
    let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(value);
    producer.send(record).map_err(|(error, _)| error.into())
}

/// Sends one record without a transaction.
fn send_plainly(topic: &str, partition: i32, value: &str) -> Result<()> {
    let producer: ThreadedProducer<_> = config(&Target::shared().bootstrap(), &[]).create()?;
    send(&producer, topic, partition, value)?;
    Ok(producer.flush(LIMIT)?)
}

/// The end of a partition: the last stable offset with read_committed, else the high watermark.
fn end(topic: &str, partition: i32, isolation_level: i8) -> Result<i64> {
    let latest = ListOffsetsPartition { partition_index: partition, timestamp: -1, ..Default::default() };
    let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![latest] }];
    let request = ListOffsetsRequest { replica_id: -1, isolation_level, topics, ..Default::default() };
    let answer = Connection::open(Target::shared().bootstrap())?.ask(7, &request)?.context("an answer")?;
    let found = &answer.topics[0].partitions[0];
    ensure!(found.error_code.is_none(), "ListOffsets of {topic}: {found:?}");
    Ok(found.offset)
}

/// Waits until every transaction in a topic is decided: a transaction ends a little before its markers are written.
fn until_decided(topic: &str, partitions: i32) -> Result<()> {
    until(LIMIT, &format!("the end of all transactions in {topic}"), || {
        for partition in 0..partitions {
            if end(topic, partition, READ_COMMITTED)? != end(topic, partition, READ_UNCOMMITTED)? {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

/// The values in each partition from start to end, as this isolation level shows them now.
fn read(topic: &str, partitions: i32, isolation_level: &str) -> Result<Vec<Vec<String>>> {
    let settings = [("group.id", "nobody"), ("enable.auto.commit", "false"), ("enable.partition.eof", "true")];
    let consumer: BaseConsumer =
        config(&Target::shared().bootstrap(), &settings).set("isolation.level", isolation_level).create()?;
    let mut whole = TopicPartitionList::new();
    for partition in 0..partitions {
        whole.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&whole)?;
    let mut found = vec![Vec::new(); partitions as usize];
    let mut ended = HashSet::new();
    until(LIMIT, &format!("the end of {topic}"), || {
        while let Some(polled) = consumer.poll(Duration::from_millis(100)) {
            match polled {
                Ok(message) => found[message.partition() as usize].push(value(&message)?),
                Err(KafkaError::PartitionEOF(partition)) => drop(ended.insert(partition)),
                Err(error) => bail!("{topic}: {error}"),
            }
        }
        Ok((ended.len() == partitions as usize).then_some(()))
    })?;
    Ok(found)
}

fn value(message: &impl Message) -> Result<String> {
    Ok(String::from_utf8(message.payload().context("records have values")?.to_vec())?)
}

#[test]
fn a_reader_of_committed_records_sees_them_in_order_and_nothing_else() -> Result<()> {
    if !met(&needs()) {
        return Ok(());
    }
    let topic = "committed-and-aborted";
    create_topic(&Target::shared().bootstrap(), topic, 2, &[])?;
    let producers = [Transactional::start("interleaved-0", &[])?, Transactional::start("interleaved-1", &[])?];
    let (mut committed, mut all) = (vec![Vec::new(); 2], vec![Vec::new(); 2]);
    for round in 0..20 {
        // Both transactions are open in both partitions at once, and each of their four combinations of ends happens.
        producers[0].begin()?;
        producers[1].begin()?;
        let commits = [round % 4 < 2, round % 2 == 0];
        for step in 0..3 {
            for (who, producer) in producers.iter().enumerate() {
                for partition in 0..2 {
                    let value = format!("round {round} step {step} of {who}");
                    producer.send(topic, partition, &value)?;
                    if commits[who] {
                        committed[partition as usize].push(value.clone());
                    }
                    all[partition as usize].push(value);
                }
                producer.flush()?;
            }
        }
        for (producer, commits) in producers.iter().zip(commits) {
            if commits { producer.commit()? } else { producer.abort()? }
        }
    }
    until_decided(topic, 2)?;
    let seen = read(topic, 2, "read_committed")?;
    ensure!(seen == committed, "read_committed gave {seen:?}");
    let seen = read(topic, 2, "read_uncommitted")?;
    ensure!(seen == all, "read_uncommitted gave {seen:?}");
    Ok(())
}

#[test]
fn an_open_transaction_hides_what_follows_it() -> Result<()> {
    if !met(&needs()) {
        return Ok(());
    }
    let topic = "open";
    create_topic(&Target::shared().bootstrap(), topic, 1, &[])?;
    let producer = Transactional::start("open", &[])?;
    let ends = || Ok::<_, anyhow::Error>((end(topic, 0, READ_COMMITTED)?, end(topic, 0, READ_UNCOMMITTED)?));
    send_plainly(topic, 0, "before")?;
    producer.begin()?;
    producer.send(topic, 0, "inside")?;
    producer.flush()?;
    send_plainly(topic, 0, "after")?;
    ensure!(ends()? == (1, 3), "while it is open: {:?}", ends()?);
    ensure!(read(topic, 1, "read_committed")? == [["before"]]);
    ensure!(read(topic, 1, "read_uncommitted")? == [["before", "inside", "after"]]);
    producer.commit()?;
    until_decided(topic, 1)?;
    // The marker has an offset too.
    ensure!(ends()? == (4, 4), "after the end: {:?}", ends()?);
    ensure!(read(topic, 1, "read_committed")? == [["before", "inside", "after"]]);

    producer.begin()?;
    producer.send(topic, 0, "aborted")?;
    producer.flush()?;
    ensure!(ends()? == (4, 5), "while the second is open: {:?}", ends()?);
    producer.abort()?;
    until_decided(topic, 1)?;
    ensure!(ends()? == (6, 6), "after the abort: {:?}", ends()?);
    ensure!(read(topic, 1, "read_committed")? == [["before", "inside", "after"]]);
    Ok(())
}

/// Takes records, writes each to the output, and commits how far it has read in the same transaction; aborts often.
#[test]
fn offsets_and_output_of_a_transaction_are_committed_together() -> Result<()> {
    const COUNT: usize = 100;
    if !met(&needs()) {
        return Ok(());
    }
    let bootstrap = Target::shared().bootstrap();
    let (input, output) = ("transform-input", "transform-output");
    create_topic(&bootstrap, input, 2, &[])?;
    create_topic(&bootstrap, output, 2, &[])?;
    let source: ThreadedProducer<_> = config(&bootstrap, &[]).create()?;
    for number in 0..COUNT {
        send(&source, input, (number % 2) as i32, &format!("record {number}"))?;
    }
    source.flush(LIMIT)?;

    let consumer: BaseConsumer = config(&bootstrap, &[("group.id", "transform"), ("auto.offset.reset", "earliest")])
        .set("enable.auto.commit", "false")
        .create()?;
    consumer.subscribe(&[input])?;
    let producer = Transactional::start("transform", &[])?;
    let (mut taken, mut aborted) = (0, 0);
    for round in 0.. {
        if taken == COUNT {
            break;
        }
        let mut batch = Vec::new();
        until(LIMIT, "records to transform", || {
            while batch.len() < 7 {
                match consumer.poll(Duration::from_millis(100)).transpose()? {
                    Some(message) => batch.push((message.partition(), message.offset(), value(&message)?)),
                    None => break,
                }
            }
            Ok((!batch.is_empty()).then_some(()))
        })?;
        let (mut first, mut next) = (BTreeMap::new(), TopicPartitionList::new());
        producer.begin()?;
        for (partition, offset, value) in &batch {
            producer.send(output, *partition, value)?;
            first.entry(*partition).or_insert(*offset);
        }
        for partition in first.keys() {
            let last = batch.iter().rev().find(|(of, ..)| of == partition).context("it is in the batch")?;
            next.add_partition_offset(input, *partition, Offset::Offset(last.1 + 1))?;
        }
        let member = consumer.group_metadata().context("the consumer is in a group")?;
        producer.0.send_offsets_to_transaction(&next, &member, LIMIT)?;
        if round % 3 == 1 {
            producer.abort()?;
            aborted += 1;
            for (partition, offset) in first {
                consumer.seek(input, partition, Offset::Offset(offset), LIMIT)?;
            }
        } else {
            producer.commit()?;
            taken += batch.len();
        }
    }
    ensure!(aborted > 2, "only {aborted} transactions were aborted");
    until_decided(output, 2)?;
    let written = read(output, 2, "read_committed")?;
    let expected = read(input, 2, "read_committed")?;
    ensure!(written == expected, "the output is {written:?}");

    // The offsets are pending until their markers are written; this waits for them (KIP-447).
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range(input, 0, 1);
    let committed = consumer.committed_offsets(asked, LIMIT)?;
    for partition in committed.elements() {
        ensure!(partition.offset() == Offset::Offset(COUNT as i64 / 2), "committed: {committed:?}");
    }
    Ok(())
}

#[test]
fn a_second_instance_fences_the_first() -> Result<()> {
    if !met(&needs()) {
        return Ok(());
    }
    let topic = "fenced";
    create_topic(&Target::shared().bootstrap(), topic, 1, &[])?;
    let first = Transactional::start("fenced", &[])?;
    first.begin()?;
    first.send(topic, 0, "of the first, before")?;
    first.flush()?;
    let second = Transactional::start("fenced", &[])?;
    // To start the second has aborted the first one's transaction.
    until_decided(topic, 1)?;
    let error = match first.0.commit_transaction(LIMIT) {
        Err(KafkaError::Transaction(error)) => error,
        other => bail!("the first commits after the second began: {other:?}"),
    };
    ensure!(error.is_fatal() && error.code() == RDKafkaErrorCode::Fenced, "the first: {error:?}");
    second.begin()?;
    second.send(topic, 0, "of the second")?;
    second.commit()?;
    until_decided(topic, 1)?;
    ensure!(read(topic, 1, "read_committed")? == [["of the second"]]);
    ensure!(read(topic, 1, "read_uncommitted")? == [["of the first, before", "of the second"]]);
    Ok(())
}

#[test]
fn a_transaction_that_is_open_too_long_is_aborted() -> Result<()> {
    if !met(&needs()) {
        return Ok(());
    }
    let topic = "too-long";
    create_topic(&Target::shared().bootstrap(), topic, 1, &[])?;
    let producer = Transactional::start("too-long", &[("transaction.timeout.ms", "2000")])?;
    producer.begin()?;
    producer.send(topic, 0, "too late")?;
    producer.flush()?;
    ensure!(end(topic, 0, READ_COMMITTED)? == 0, "the transaction was over at once");
    until_decided(topic, 1)?;
    ensure!(end(topic, 0, READ_COMMITTED)? == 2, "not a record and a marker");
    let commit = producer.0.commit_transaction(LIMIT);
    ensure!(commit.is_err(), "a transaction was committed after its abort");
    ensure!(read(topic, 1, "read_committed")? == [[""; 0]]);
    drop(producer);

    let next = Transactional::start("too-long", &[])?;
    next.begin()?;
    next.send(topic, 0, "in time")?;
    next.commit()?;
    until_decided(topic, 1)?;
    ensure!(read(topic, 1, "read_committed")? == [["in time"]]);
    Ok(())
}
