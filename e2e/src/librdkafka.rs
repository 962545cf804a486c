//! Producing and consuming with librdkafka, the client that most languages share.

use anyhow::{Context, Result, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wait::until;

/// Long enough for a loaded machine and a broker that is being restarted.
pub const LIMIT: Duration = Duration::from_secs(300);

/// What a record carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Null is not empty.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Vec<u8>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Names may repeat, values may be null.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A record and where it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The record.
    pub record: Record,
}

/// A client configuration with these settings on top.
pub fn config(bootstrap: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    // A broker that comes back is found again at once.
    config.set("reconnect.backoff.max.ms", "500");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

/// Creates a topic and waits until it has leaders.
pub fn create_topic(bootstrap: &str, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
    create_topics(bootstrap, &[topic], partitions, settings)?;
    let admin: AdminClient<_> = config(bootstrap, &[]).create()?;
    until(LIMIT, "leaders of all partitions", || {
        let metadata = admin.inner().fetch_metadata(Some(topic), LIMIT)?;
        let led = metadata.topics()[0].partitions().iter().filter(|partition| partition.leader() >= 0).count();
        Ok((led == partitions as usize).then_some(()))
    })
}

/// Creates topics of the same kind by one request.
pub fn create_topics<S: AsRef<str>>(
    bootstrap: &str,
    topics: &[S],
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<()> {
    let admin: AdminClient<_> = config(bootstrap, &[]).create()?;
    let of_name = |name| {
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        settings.iter().fold(new, |new, (name, value)| new.set(name, value))
    };
    let new: Vec<NewTopic<'_>> = topics.iter().map(|topic| of_name(topic.as_ref())).collect();
    let options = AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT));
    for result in block_on(admin.create_topics(&new, &options))? {
        result.map_err(|(topic, error)| anyhow::anyhow!("{topic}: {error}"))?;
    }
    Ok(())
}

/// rdkafka's admin calls are futures, which its own thread completes: waiting for one needs no runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

/// Counts what the broker acknowledged.
#[derive(Default)]
struct Deliveries {
    acknowledged: AtomicUsize,
    failures: Mutex<Vec<KafkaError>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => drop(self.acknowledged.fetch_add(1, Ordering::Relaxed)),
            Err((error, _)) => lock(&self.failures).push(error.clone()),
        }
    }
}

/// A producer that keeps count.
pub struct Sender(ThreadedProducer<Deliveries>);

impl Sender {
    /// A producer with these settings.
    pub fn new(bootstrap: &str, settings: &[(&str, &str)]) -> Result<Sender> {
        Ok(Sender(config(bootstrap, settings).create_with_context(Deliveries::default())?))
    }

    /// Queues a record; waits while the queue is full.
    pub fn send(&self, topic: &str, partition: Option<i32>, record: &Record) -> Result<()> {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: value.as_ref() });
        }
        let mut queued = BaseRecord::to(topic).payload(&record.value).timestamp(record.timestamp).headers(headers);
        queued.key = record.key.as_deref();
        queued.partition = partition;
        let mut next = Some(queued);
        until(LIMIT, "room in the producer's queue", || match self.0.send(next.take().context("not sent yet")?) {
            Ok(()) => Ok(Some(())),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                next = Some(again);
                Ok(None)
            }
            Err((error, _)) => bail!("{error}"),
        })
    }

    /// How many records were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.0.context().acknowledged.load(Ordering::Relaxed)
    }

    /// Waits for every acknowledgement; a record that failed is an error.
    pub fn finish(self) -> Result<usize> {
        self.0.flush(LIMIT)?;
        let failures = lock(&self.0.context().failures);
        if let Some(error) = failures.first() {
            bail!("{} records were not acknowledged, the first: {error}", failures.len());
        }
        Ok(self.acknowledged())
    }
}

/// What is known of a member: how many partitions it holds, what it has read, its last complaint.
#[derive(Default)]
struct Progress {
    share: AtomicUsize,
    found: Mutex<Vec<Found>>,
    complaint: Mutex<String>,
}

impl ClientContext for Progress {}

impl ConsumerContext for Progress {
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.share.store(consumer.assignment().map_or(0, |held| held.count()), Ordering::Relaxed);
    }
}

/// A member of a consumer group, polling in a thread of its own until it must leave.
pub struct Member {
    consumer: Arc<BaseConsumer<Progress>>,
    leave: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Member {
    /// Joins; starts at the beginning where the group has no offset.
    pub fn join(bootstrap: &str, group: &str, topic: &str, settings: &[(&str, &str)]) -> Result<Member> {
        let mut config = config(bootstrap, &[("group.id", group), ("auto.offset.reset", "earliest")]);
        // With the consumer protocol the coordinator says when to send heartbeats, and what a session is.
        if !settings.contains(&("group.protocol", "consumer")) {
            config.set("heartbeat.interval.ms", "300").set("session.timeout.ms", "30000");
        }
        for (name, value) in settings {
            config.set(*name, *value);
        }
        let consumer: Arc<BaseConsumer<Progress>> = Arc::new(config.create_with_context(Progress::default())?);
        consumer.subscribe(&[topic])?;
        let leave = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (consumer, leave) = (consumer.clone(), leave.clone());
            move || poll(&consumer, &leave)
        });
        Ok(Member { consumer, leave, thread })
    }

    /// How many partitions it holds.
    pub fn share(&self) -> usize {
        self.consumer.context().share.load(Ordering::Relaxed)
    }

    /// How many records it has read.
    pub fn read(&self) -> usize {
        lock(&self.consumer.context().found).len()
    }

    fn complaint(&self) -> String {
        lock(&self.consumer.context().complaint).clone()
    }

    /// Commits what it has read, leaves the group and hands over its records.
    pub fn leave(self) -> Result<Vec<Found>> {
        self.leave.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the polling thread panicked"))?;
        let found = std::mem::take(&mut *lock(&self.consumer.context().found));
        let (done, committed) = mpsc::channel();
        // Closing a consumer waits for its group, now and then for long. Nobody has to wait with it.
        std::thread::spawn(move || drop(done.send(self.consumer.commit_consumer_state(CommitMode::Sync))));
        match committed.recv_timeout(LIMIT).context("the last commit is not answered")? {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(found),
            Err(error) => bail!("commit: {error}"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn poll(consumer: &BaseConsumer<Progress>, leave: &AtomicBool) {
    while !leave.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(50)) {
            None => {}
            Some(Ok(message)) => lock(&consumer.context().found).push(copy(&message)),
            // Disconnections heal by themselves: what matters is what arrives.
            Some(Err(error)) => *lock(&consumer.context().complaint) = error.to_string(),
        }
    }
}

fn copy(message: &impl Message) -> Found {
    let headers = message.headers().map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    Found {
        partition: message.partition(),
        offset: message.offset(),
        record: Record {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().unwrap_or_default().to_vec(),
            timestamp: message.timestamp().to_millis().unwrap_or(-1),
            headers: headers.unwrap_or_default(),
        },
    }
}

/// Waits until the members hold these numbers of partitions.
pub fn settle(members: &[Member], shares: &[usize]) -> Result<()> {
    until(LIMIT, &format!("shares of {shares:?}"), || {
        let mut held: Vec<usize> = members.iter().map(Member::share).collect();
        held.sort_unstable();
        Ok((held == shares).then_some(()))
    })
}

/// Waits until the members together have read this many records, those that came twice counted once.
pub fn read_together(members: &[Member], count: usize) -> Result<()> {
    let place = |found: &Found| (found.partition, found.offset);
    let places = |member: &Member| lock(&member.consumer.context().found).iter().map(place).collect::<Vec<_>>();
    let enough = || {
        let all = members.iter().map(Member::read).sum::<usize>() >= count;
        Ok((all && members.iter().flat_map(places).collect::<HashSet<_>>().len() >= count).then_some(()))
    };
    until(LIMIT, &format!("{count} records"), enough).with_context(|| {
        let state = members.iter().map(|member| (member.share(), member.read(), member.complaint()));
        format!("partitions held, records read, last complaint: {:?}", state.collect::<Vec<_>>())
    })
}

/// All members leave; their records in order of partition and offset.
pub fn leave_all(members: Vec<Member>) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    for member in members {
        all.extend(member.leave()?);
    }
    all.sort_by_key(|found| (found.partition, found.offset));
    Ok(all)
}
