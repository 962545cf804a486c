//! One member of one stage of a chain, with librdkafka: `ottla_e2e::chain::job` documents its arguments and what it
//! prints.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ottla_e2e::chain::job::{Group, Job, topic};
use ottla_e2e::librdkafka::{LIMIT, config};
use ottla_history::Id;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// The most records of a transaction.
const MOST: usize = 50;
/// How long a transaction waits for more of them.
const PATIENCE: Duration = Duration::from_millis(20);

/// After so long without an end a call will have none: librdkafka 2.12 waits for ever for a group's coordinator whose
/// broker has left the metadata, whatever the time-out (its issues 5456 and 5511).
const STUCK: Duration = Duration::from_secs(30);

/// Prints the partitions that come to the member.
struct Assigned;

impl ClientContext for Assigned {}

impl ConsumerContext for Assigned {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            for partition in partitions.elements() {
                report(&format!("assigned {}", partition.partition()));
            }
        }
    }
}

struct Member {
    job: Job,
    consumer: BaseConsumer<Assigned>,
    producer: ThreadedProducer<DefaultProducerContext>,
    sequence: u32,
}

fn main() -> Result<()> {
    let job = Job::from_arguments(std::env::args().skip(1))?;
    let ends = Arc::new(AtomicBool::new(false));
    let told = ends.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::Relaxed);
    });
    let mut member = Member::start(job)?;
    let moves = Arc::new(AtomicU64::new(0));
    let seen = moves.clone();
    std::thread::spawn(move || watch(&seen));
    while !ends.load(Ordering::Relaxed) {
        member.transform()?;
        moves.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Ends the process when it is stuck.
fn watch(moves: &AtomicU64) {
    let mut before = None;
    loop {
        let now = moves.load(Ordering::Relaxed);
        if before.replace(now) == Some(now) {
            std::process::exit(1);
        }
        std::thread::sleep(STUCK);
    }
}

impl Member {
    fn start(job: Job) -> Result<Member> {
        let sharing = match job.group {
            Group::Eager => ("partition.assignment.strategy", "range"),
            Group::Cooperative => ("partition.assignment.strategy", "cooperative-sticky"),
            Group::Consumer => ("group.protocol", "consumer"),
        };
        let mut consuming = config(&job.bootstrap, &[sharing]);
        if let Some(instance) = &job.instance {
            consuming.set("group.instance.id", instance);
        }
        consuming.set("group.id", format!("stage-{}", job.stage)).set("isolation.level", "read_committed");
        consuming.set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
        consuming.set("fetch.wait.max.ms", "50");
        // With the consumer protocol the coordinator says what a session is.
        if job.group != Group::Consumer {
            consuming.set("session.timeout.ms", "6000");
        }
        let mut producing = config(&job.bootstrap, &[("linger.ms", "0"), ("transaction.timeout.ms", "20000")]);
        producing.set("transactional.id", format!("stage-{}-{}", job.stage, job.member));
        let producer: ThreadedProducer<_> = producing.create()?;
        producer.init_transactions(LIMIT)?;
        let consumer: BaseConsumer<Assigned> = consuming.create_with_context(Assigned)?;
        consumer.subscribe(&[&topic(job.stage)])?;
        Ok(Member { job, consumer, producer, sequence: 0 })
    }

    /// One transaction, if there is something to take.
    fn transform(&mut self) -> Result<()> {
        let consumer = &self.consumer;
        let (began, mut taken) = (Instant::now(), Vec::new());
        while taken.len() < MOST && (taken.is_empty() || began.elapsed() < PATIENCE) {
            match consumer.poll(Duration::from_millis(20)) {
                None => break,
                Some(message) => taken.push(message?),
            }
        }
        if taken.is_empty() {
            return Ok(());
        }
        let mut offsets = TopicPartitionList::new();
        for message in &taken {
            let value = std::str::from_utf8(message.payload().context("records have values")?)?;
            report(&format!("polled {} {} {value}", message.partition(), message.offset()));
        }
        report("begun");
        self.producer.begin_transaction()?;
        for message in &taken {
            let id = Id { producer: self.job.client, sequence: self.sequence };
            self.sequence += 1;
            self.send(id, message)?;
        }
        let mut partitions: Vec<i32> = taken.iter().map(Message::partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        for partition in partitions {
            let of_partition = || taken.iter().filter(|message| message.partition() == partition).map(Message::offset);
            let (first, last) = (of_partition().min().unwrap_or(0), of_partition().max().unwrap_or(0));
            report(&format!("offsets {partition} {first} {}", last + 1));
            offsets.add_partition_offset(&topic(self.job.stage), partition, Offset::Offset(last + 1))?;
        }
        let group = consumer.group_metadata().context("a member has metadata")?;
        self.producer.send_offsets_to_transaction(&offsets, &group, LIMIT)?;
        if let Err(error) = self.producer.commit_transaction(LIMIT) {
            // Whether it is committed is not known here, unless it can be aborted.
            if self.producer.abort_transaction(LIMIT).is_ok() {
                report("ended aborted");
            }
            bail!("commit: {error}");
        }
        report("ended committed");
        Ok(())
    }

    fn send(&self, id: Id, taken: &BorrowedMessage<'_>) -> Result<()> {
        report(&format!("sent {}", id.sequence));
        let (topic, payload) = (topic(self.job.stage + 1), id.payload(40));
        let record = BaseRecord::to(&topic).key(taken.key().context("records have keys")?).payload(&payload);
        // All records of a partition are written to one partition, so each key keeps its order.
        let record = record.partition((taken.partition() + 1) % self.job.partitions);
        self.producer.send(record).map_err(|(error, _)| error.into())
    }
}

/// One write for a line, so that a member that is killed leaves whole lines.
fn report(line: &str) {
    let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
}
