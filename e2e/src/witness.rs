//! Clients that report to the history checker all that they see: producers, consumers that read everything, a group.
//! Most are on librdkafka.
//!
//! - [`java`]: one JVM with Kafka's own
//! - [`pause`]: how long a producer waited for an acknowledgement, and when
//!
//! A record that failed counts as unknown: it may have been written. Nothing here times out by itself for five minutes.

use anyhow::{Context, Result, anyhow, ensure};
use ottla_history::{Checker, Id, Operation, Outcome, Partition, Report};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::librdkafka::{LIMIT, config};
use crate::need::{Need, met};
use crate::wait::until;

mod java;
mod pause;

use java::Java;
use pause::{Pause, Pauses};

/// A careful application's settings: nothing lost, nothing twice, in order.
const CAREFUL: [(&str, &str); 6] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("linger.ms", "2"),
    ("message.timeout.ms", "300000"),
    // A minute by default, and a machine without power does not even refuse.
    ("socket.timeout.ms", "10000"),
    // An outage is to be waited for, not to be hoarded.
    ("queue.buffering.max.messages", "2000"),
];
/// The number of the one group, for the checker.
const GROUP: u32 = 0;
const GROUP_NAME: &str = "witnesses";
const COMMIT_EVERY: Duration = Duration::from_millis(200);
/// Bytes of a record's value.
const VALUE_LEN: usize = 200;

type History = Arc<Mutex<Checker>>;

/// How much there is to see.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Producers on librdkafka, each with its own connections and producer id.
    pub producers: u32,
    /// Between two records of a producer, in whole milliseconds.
    pub pace: Duration,
    /// Members of the consumer group.
    pub members: u32,
    /// A producer and a consumer in Java too. Left out, loudly, where there is no Java.
    pub java: bool,
}

impl Load {
    /// Leaves the machine to others: for tests that share it with a whole cluster.
    pub const GENTLE: Load = Load { producers: 1, pace: Duration::from_millis(10), members: 2, java: false };
}

/// Clients at work on one topic.
pub struct Witnesses {
    bootstrap: String,
    topic: String,
    partitions: u32,
    history: History,
    stop: Arc<AtomicBool>,
    /// By producer.
    told: Vec<Arc<Told>>,
    producers: Vec<Running>,
    java: Vec<Java>,
    readers: Vec<JoinHandle<Result<()>>>,
}

/// A listener where clients log in.
pub struct Door {
    /// Its address.
    pub bootstrap: String,
    /// A file of Java's properties that a client is let in with.
    pub login: PathBuf,
}

/// A producer and the thread that feeds it.
type Running = (Arc<ThreadedProducer<Listener>>, JoinHandle<Result<()>>);

/// What a producer was answered.
struct Told {
    history: History,
    acknowledged: AtomicU64,
    /// Clients in Java that have done their work for the first time.
    served: AtomicU64,
    given_up: Mutex<Vec<String>>,
    pauses: Mutex<Pauses>,
}

impl Told {
    /// What the producer with this number was answered, before its first record.
    fn nothing_yet(history: &History, producer: usize) -> Arc<Told> {
        let pauses = Mutex::new(Pauses::of(producer));
        let (acknowledged, served) = <(AtomicU64, AtomicU64)>::default();
        Arc::new(Told { history: history.clone(), acknowledged, served, given_up: Mutex::default(), pauses })
    }

    fn acknowledged(&self, id: Id, partition: Partition, offset: i64) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        lock(&self.pauses).end();
        // A retry that turned out to be a duplicate gets no offset.
        let outcome = Outcome::Acknowledged { partition, offset: Some(offset).filter(|offset| *offset >= 0) };
        lock(&self.history).observe(Operation::Produced { id, outcome });
    }

    fn given_up(&self, id: Id, why: String) {
        lock(&self.given_up).push(why);
        lock(&self.history).observe(Operation::Produced { id, outcome: Outcome::Unknown });
    }
}

/// Hears what librdkafka says to a producer.
struct Listener {
    told: Arc<Told>,
    /// Where it says what it does, if somebody wants to know.
    log: Option<File>,
}

impl ClientContext for Listener {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        let Some(mut file) = self.log.as_ref() else { return };
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = format!("{:.6} {facility}: {message}\n", since_1970.as_secs_f64());
        // Who reads along misses a line.
        let _ = file.write_all(line.as_bytes());
    }
}

impl ProducerContext for Listener {
    type DeliveryOpaque = Box<Id>;

    fn delivery(&self, result: &DeliveryResult<'_>, id: Box<Id>) {
        match result {
            Ok(message) => self.told.acknowledged(*id, partition(message.partition()), message.offset()),
            Err((error, _)) => self.told.given_up(*id, error.to_string()),
        }
    }
}

/// What came of it.
pub struct Testimony {
    /// The checker's judgement.
    pub report: Report,
    /// The longest time that a producer spent without an acknowledgement.
    pub longest_pause: Pause,
    /// Errors that an application would have seen: records that failed.
    pub given_up: Vec<String>,
}

fn longest_pause(told: &[Arc<Told>]) -> Pause {
    let pauses = told.iter().map(|told| lock(&told.pauses).longest());
    pauses.max_by_key(|pause| pause.length).unwrap_or_else(|| Pauses::of(0).longest())
}

impl Witnesses {
    /// Begins to produce to and to consume from a topic that is there.
    pub fn begin(bootstrap: &str, topic: &str, partitions: u32, load: Load) -> Result<Witnesses> {
        let (history, stop) = (History::default(), Arc::new(AtomicBool::new(false)));
        let (mut producers, mut told) = (Vec::new(), Vec::new());
        for number in 0..load.producers {
            let heard = Told::nothing_yet(&history, told.len());
            told.push(heard.clone());
            let mut config = config(bootstrap, &CAREFUL);
            let log = client_log()?;
            if log.is_some() {
                config.set("debug", "eos,msg").set_log_level(RDKafkaLogLevel::Debug);
            }
            let producer: Arc<ThreadedProducer<Listener>> =
                Arc::new(config.create_with_context(Listener { told: heard, log })?);
            let thread = std::thread::spawn({
                let (producer, stop, topic) = (producer.clone(), stop.clone(), topic.to_owned());
                move || produce(&producer, number, &topic, partitions, load.pace, &stop)
            });
            producers.push((producer, thread));
        }
        let mut readers = vec![std::thread::spawn({
            let consumer = assigned(bootstrap, topic, (0..partitions).map(|number| (number, 0)))?;
            let (history, stop) = (history.clone(), stop.clone());
            move || {
                let result = read(&consumer, partitions, &history, &stop);
                close(consumer);
                result
            }
        })];
        for reader in 1..=load.members {
            let member = Member { history: history.clone(), assignments: AtomicU64::new(0) };
            let settings =
                [("group.id", GROUP_NAME), ("auto.offset.reset", "earliest"), ("enable.auto.commit", "false")];
            let mut config = config(bootstrap, &settings);
            config.set("session.timeout.ms", "10000").set("heartbeat.interval.ms", "500");
            let consumer: BaseConsumer<Member> = config.create_with_context(member)?;
            consumer.subscribe(&[topic])?;
            let stop = stop.clone();
            readers.push(std::thread::spawn(move || {
                let result = read_as_member(&consumer, reader, &stop);
                close(consumer);
                result
            }));
        }
        let mut java = Vec::new();
        if load.java && met(&[Need::Java]) {
            let numbers = (load.producers, load.members + 1);
            let heard = Told::nothing_yet(&history, told.len());
            told.push(heard.clone());
            java.push(Java::start((bootstrap, None), topic, partitions, load.pace, numbers, heard)?);
        }
        let (bootstrap, topic) = (bootstrap.to_owned(), topic.to_owned());
        Witnesses { bootstrap, topic, partitions, history, stop, told, producers, java, readers }.at_work()
    }

    /// The same with clients in Java alone: a producer and a consumer at each of these doors. The last read is at
    /// `bootstrap`, where nobody has to log in.
    pub fn begin_at(
        bootstrap: &str,
        topic: &str,
        partitions: u32,
        pace: Duration,
        doors: &[Door],
    ) -> Result<Witnesses> {
        let (history, stop) = (History::default(), Arc::new(AtomicBool::new(false)));
        let (mut told, mut java) = (Vec::new(), Vec::new());
        for (number, door) in (0..).zip(doors) {
            let heard = Told::nothing_yet(&history, told.len());
            told.push(heard.clone());
            let at = (&*door.bootstrap, Some(&*door.login));
            java.push(Java::start(at, topic, partitions, pace, (number, number), heard)?);
        }
        let (bootstrap, topic, producers, readers) = (bootstrap.to_owned(), topic.to_owned(), Vec::new(), Vec::new());
        Witnesses { bootstrap, topic, partitions, history, stop, told, producers, java, readers }.at_work()
    }

    /// Waits until all have begun.
    fn at_work(self) -> Result<Witnesses> {
        self.go_on()?;
        // A JVM takes its time to start.
        self.told.iter().for_each(|told| lock(&told.pauses).begin_again());
        Ok(self)
    }

    /// From now on new clients begin at these addresses: the brokers at the first ones have left.
    pub fn begin_again_at(&mut self, bootstrap: &str) {
        bootstrap.clone_into(&mut self.bootstrap);
    }

    /// Closes all clients in Java one JVM after the other, and waits until others are served in their place, which log
    /// in with what their files have now.
    pub fn connect_again(&self) -> Result<()> {
        self.java.iter().try_for_each(Java::connect_again)
    }

    /// Records acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.told.iter().map(|told| told.acknowledged.load(Ordering::Relaxed)).sum()
    }

    /// The longest time so far that a producer spent without an acknowledgement.
    pub fn longest_pause(&self) -> Pause {
        longest_pause(&self.told)
    }

    /// Waits until every producer had a few more records acknowledged.
    pub fn go_on(&self) -> Result<()> {
        const MORE: u64 = 30;
        let count = |told: &Arc<Told>| told.acknowledged.load(Ordering::Relaxed);
        let enough: Vec<u64> = self.told.iter().map(|told| count(told) + MORE).collect();
        let go_on = || self.told.iter().zip(&enough).all(|(told, enough)| count(told) >= *enough);
        until(LIMIT, "every producer to continue", || Ok(go_on().then_some(()))).with_context(|| {
            let now: Vec<u64> = self.told.iter().map(count).collect();
            format!("acknowledged by producer, Java's last: {now:?}, to be {enough:?}")
        })
    }

    /// Stops producing, waits for every acknowledgement, reads every partition from start to end, and judges. All
    /// brokers must run.
    pub fn finish(self) -> Result<Testimony> {
        self.stop.store(true, Ordering::Relaxed);
        for (producer, thread) in self.producers {
            joined(thread)?;
            producer.flush(LIMIT).context("not every record was acknowledged after all was well again")?;
            if let Some((code, why)) = producer.client().fatal_error() {
                return Err(anyhow!("a producer has failed for good: {code}: {why}"));
            }
        }
        self.java.into_iter().try_for_each(Java::stop)?;
        for reader in self.readers {
            joined(reader)?;
        }
        read_logs(&self.bootstrap, &self.topic, self.partitions, &self.history)?;
        read_commits(&self.bootstrap, &self.topic, self.partitions, &self.history)?;
        let checker = std::mem::take(&mut *lock(&self.history));
        let longest_pause = longest_pause(&self.told);
        let given_up = self.told.iter().flat_map(|told| std::mem::take(&mut *lock(&told.given_up))).collect();
        Ok(Testimony { report: checker.report(), longest_pause, given_up })
    }
}

/// `OTTLA_CLIENT_LOG` names a file with every batch, retry and change of epoch.
fn client_log() -> Result<Option<File>> {
    let Some(path) = std::env::var_os("OTTLA_CLIENT_LOG") else { return Ok(None) };
    Ok(Some(File::options().create(true).append(true).open(path)?))
}

/// Sends records to all partitions in turn until it is stopped.
fn produce(
    producer: &ThreadedProducer<Listener>,
    number: u32,
    topic: &str,
    partitions: u32,
    pace: Duration,
    stop: &AtomicBool,
) -> Result<()> {
    for sequence in 0.. {
        let id = Id { producer: number, sequence };
        let (key, value) = (id.to_string(), id.payload(VALUE_LEN));
        let partition = i32::try_from(sequence % partitions)?;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let record = BaseRecord::with_opaque_to(topic, Box::new(id)).partition(partition).key(&key).payload(&value);
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => std::thread::sleep(pace),
                Err((error, _)) => return Err(error.into()),
            }
        }
        std::thread::sleep(pace);
    }
    Ok(())
}

/// A consumer of these partitions from these offsets on.
fn assigned(bootstrap: &str, topic: &str, from: impl Iterator<Item = (u32, i64)>) -> Result<BaseConsumer> {
    let settings = [("group.id", "alone"), ("enable.auto.commit", "false"), ("auto.offset.reset", "earliest")];
    let consumer: BaseConsumer = config(bootstrap, &settings).set("check.crcs", "true").create()?;
    let mut partitions = TopicPartitionList::new();
    for (number, offset) in from {
        partitions.add_partition_offset(topic, i32::try_from(number)?, Offset::Offset(offset))?;
    }
    consumer.assign(&partitions)?;
    Ok(consumer)
}

/// Reads everything as it comes, as reader 0.
fn read(consumer: &BaseConsumer, partitions: u32, history: &History, stop: &AtomicBool) -> Result<()> {
    for number in 0..partitions {
        lock(history).observe(Operation::Seeked { reader: 0, partition: Partition(number), offset: 0 });
    }
    while !stop.load(Ordering::Relaxed) {
        // Disconnections heal by themselves: what matters is what arrives.
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
            let (offset, id) = (message.offset(), Id::read(message.payload().unwrap_or_default()));
            let partition = partition(message.partition());
            lock(history).observe(Operation::Read { reader: 0, partition, offset, id });
        }
    }
    Ok(())
}

/// Of the group.
struct Member {
    history: History,
    /// Counts assignments: after each of them a partition continues where the group has committed.
    assignments: AtomicU64,
}

impl ClientContext for Member {}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.assignments.fetch_add(1, Ordering::Relaxed);
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        for element in offsets.elements() {
            let Offset::Offset(offset) = element.offset() else { continue };
            let partition = partition(element.partition());
            let operation = match result.as_ref().map_err(Clone::clone).and(element.error()) {
                Ok(()) => Operation::Committed { group: GROUP, partition, offset },
                // Refused, or not answered in time.
                Err(_) => Operation::CommitInDoubt { group: GROUP, partition, offset },
            };
            lock(&self.history).observe(operation);
        }
    }
}

/// Reads what the group gives it, commits what it has read.
fn read_as_member(consumer: &BaseConsumer<Member>, reader: u32, stop: &AtomicBool) -> Result<()> {
    let member = consumer.context();
    let mut assigned: HashMap<Partition, u64> = HashMap::new();
    let mut committed = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
            let (partition, offset) = (partition(message.partition()), message.offset());
            let assignment = member.assignments.load(Ordering::Relaxed);
            let mut history = lock(&member.history);
            if assigned.insert(partition, assignment) != Some(assignment) {
                history.observe(Operation::Seeked { reader, partition, offset });
            }
            let id = Id::read(message.payload().unwrap_or_default());
            history.observe(Operation::Read { reader, partition, offset, id });
        }
        if committed.elapsed() > COMMIT_EVERY {
            committed = Instant::now();
            // Without anything new there is no offset to commit, which is an error to librdkafka.
            let _ = consumer.commit_consumer_state(CommitMode::Async);
        }
    }
    Ok(())
}

/// Closing a consumer waits for its group, now and then for long. Nobody has to wait with it.
fn close<C: Send + 'static>(consumer: C) {
    std::thread::spawn(move || drop(consumer));
}

/// The last read, from start to end.
fn read_logs(bootstrap: &str, topic: &str, partitions: u32, history: &History) -> Result<()> {
    let mut ends = Vec::new();
    for number in 0..partitions {
        let known = lock(history).known_end(Partition(number));
        // A leader that was just elected does not know yet how far all others are. A client that asks for nothing else
        // never looks again who leads: another one does.
        let ask = || {
            let asking: BaseConsumer = config(bootstrap, &[]).create()?;
            Ok(asking.fetch_watermarks(topic, i32::try_from(number)?, LIMIT).ok())
        };
        let (start, end) = until(LIMIT, "the ends of a log", ask)?;
        lock(history).observe(Operation::EndRead { partition: Partition(number), offset: end, known });
        ends.push((number, start, end));
    }
    let consumer = assigned(bootstrap, topic, ends.iter().map(|&(number, start, _)| (number, start)))?;
    let mut left: HashMap<Partition, (i64, i64)> =
        ends.into_iter().map(|(number, start, end)| (Partition(number), (start, end))).collect();
    for (&partition, &(start, end)) in &left {
        lock(history).observe(Operation::LogRead { partition, start, end });
    }
    left.retain(|_, (start, end)| start < end);
    let mut last = Instant::now();
    while !left.is_empty() {
        ensure!(last.elapsed() < LIMIT, "the last read got stuck before {left:?}");
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        last = Instant::now();
        let (partition, offset) = (partition(message.partition()), message.offset());
        let id = Id::read(message.payload().unwrap_or_default());
        lock(history).observe(Operation::Logged { partition, offset, id });
        if left.get(&partition).is_some_and(|&(_, end)| offset + 1 >= end) {
            left.remove(&partition);
        }
    }
    Ok(())
}

/// The group's offsets, at the end.
fn read_commits(bootstrap: &str, topic: &str, partitions: u32, history: &History) -> Result<()> {
    let asking: BaseConsumer = config(bootstrap, &[("group.id", GROUP_NAME)]).create()?;
    let mut asked = TopicPartitionList::new();
    for number in 0..partitions {
        asked.add_partition(topic, i32::try_from(number)?);
    }
    let known: Vec<_> = (0..partitions).map(|number| lock(history).known_commit(GROUP, Partition(number))).collect();
    // librdkafka fails at once when the group's coordinator is still coming up.
    let answer = until(LIMIT, "the group's offsets", || Ok(asking.committed_offsets(asked.clone(), LIMIT).ok()))?;
    for (number, known) in (0..).zip(known) {
        let found = answer.find_partition(topic, i32::try_from(number)?).context("an answer for each partition")?;
        let offset = found.offset().to_raw().filter(|offset| *offset >= 0);
        lock(history).observe(Operation::CommitRead { group: GROUP, partition: Partition(number), offset, known });
    }
    Ok(())
}

fn partition(number: i32) -> Partition {
    Partition(u32::try_from(number).unwrap_or(u32::MAX))
}

/// What a thread came to.
fn joined(thread: JoinHandle<Result<()>>) -> Result<()> {
    thread.join().map_err(|_| anyhow!("a client's thread panicked"))?
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
