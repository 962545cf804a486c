//! One producer to one topic, and when each of its partitions' records were acknowledged: what a fail-over is seen by.
//!
//! A record a millisecond, to the partitions in turn.

use anyhow::{Context, Result, anyhow};
use ottla_e2e::librdkafka::config;
use ottla_e2e::wait::until;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The partitions of the topic.
pub const PARTITIONS: usize = 12;
const PACE: Duration = Duration::from_millis(1);
/// Longer than Kafka needs by far.
pub const LIMIT: Duration = Duration::from_secs(120);
/// librdkafka's own, but for these. Whatever brokers do, a request to a frozen one is given up after socket.timeout.ms, and one that was
/// refused is sent again after retry.backoff.ms: their defaults, a minute and 100 ms, would be all that is measured.
const SETTINGS: [(&str, &str); 5] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("linger.ms", "0"),
    ("socket.timeout.ms", "1000"),
    ("retry.backoff.ms", "10"),
];

/// A producer at work.
pub struct Client {
    producer: Arc<ThreadedProducer<Acknowledgements>>,
    stop: Arc<AtomicBool>,
    sending: JoinHandle<Result<()>>,
}

/// When each partition's records were acknowledged.
struct Acknowledgements {
    partitions: Mutex<Vec<Partition>>,
    given_up: Mutex<Vec<KafkaError>>,
}

#[derive(Clone, Copy)]
struct Partition {
    last: Instant,
    longest: Duration,
    /// Since somebody asked last.
    count: usize,
}

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let message = match result {
            Ok(message) => message,
            Err((error, _)) => return lock(&self.given_up).push(error.clone()),
        };
        let number = usize::try_from(message.partition()).unwrap_or_default();
        if let Some(partition) = lock(&self.partitions).get_mut(number) {
            partition.longest = partition.last.elapsed().max(partition.longest);
            partition.last = Instant::now();
            partition.count += 1;
        }
    }
}

impl Client {
    /// Begins to send.
    pub fn start(bootstrap: &str, topic: &str) -> Result<Client> {
        let fresh = Partition { last: Instant::now(), longest: Duration::ZERO, count: 0 };
        let context = Acknowledgements { partitions: Mutex::new(vec![fresh; PARTITIONS]), given_up: Mutex::default() };
        let producer: Arc<ThreadedProducer<Acknowledgements>> =
            Arc::new(config(bootstrap, &SETTINGS).create_with_context(context)?);
        let stop = Arc::new(AtomicBool::new(false));
        let sending = std::thread::spawn({
            let (producer, stop, topic) = (producer.clone(), stop.clone(), topic.to_owned());
            move || send(&producer, &topic, &stop)
        });
        Ok(Client { producer, stop, sending })
    }

    /// Waits until each partition had so many more records acknowledged.
    pub fn all_acknowledged(&self, count: usize) -> Result<()> {
        self.partitions().iter_mut().for_each(|partition| partition.count = 0);
        until(LIMIT, "acknowledgements on every partition", || {
            let enough = self.partitions().iter().all(|partition| partition.count >= count);
            Ok(enough.then_some(()))
        })
    }

    /// Pauses count from now on.
    pub fn forget_pauses(&self) {
        self.partitions().iter_mut().for_each(|partition| partition.longest = Duration::ZERO);
    }

    /// The longest time that one of these partitions went without an acknowledgement.
    pub fn longest_pause(&self, of: &[usize]) -> Result<Duration> {
        let partitions = self.partitions();
        let pauses = of.iter().filter_map(|number| Some(partitions.get(*number)?.longest));
        pauses.max().context("the broker led something")
    }

    /// Stops and waits for every acknowledgement; how many records were given up.
    pub fn finish(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.sending.join().map_err(|_| anyhow!("the sending thread panicked"))??;
        self.producer.flush(LIMIT)?;
        Ok(lock(&self.producer.context().given_up).len())
    }

    fn partitions(&self) -> MutexGuard<'_, Vec<Partition>> {
        lock(&self.producer.context().partitions)
    }
}

/// Sends to all partitions in turn until it is told to stop.
fn send(producer: &ThreadedProducer<Acknowledgements>, topic: &str, stop: &AtomicBool) -> Result<()> {
    for partition in (0..PARTITIONS as i32).cycle() {
        while !stop.load(Ordering::Relaxed) {
            let record = BaseRecord::<(), str>::to(topic).partition(partition).payload("a record of a few bytes");
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => std::thread::sleep(PACE),
                Err((error, _)) => return Err(error.into()),
            }
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(PACE);
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
