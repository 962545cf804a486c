//! One producer to one topic, and when each of its partitions' records were acknowledged: what a fail-over is seen by.
//!
//! A record a millisecond, to the partitions in turn.

mod librdkafka;
mod program;

use anyhow::{Context, Result};
use ottla_e2e::java::{jvm, source};
use ottla_e2e::need::cache;
use ottla_e2e::wait::until;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The partitions of the topic.
pub const PARTITIONS: usize = 12;
const PACE: Duration = Duration::from_millis(1);
/// Longer than Kafka needs by far.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Whose client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    Librdkafka,
    /// Kafka's own.
    Java,
    FranzGo,
}

/// Its defaults, but for what is the same for librdkafka. It looks for late requests all the time, where librdkafka
/// does once a second.
const JAVA: [&str; 6] = [
    "acks=all",
    "enable.idempotence=true",
    "linger.ms=0",
    "request.timeout.ms=1000",
    "retry.backoff.ms=10",
    "max.block.ms=120000",
];

/// A producer at work.
pub struct Client {
    seen: Arc<Seen>,
    producer: Producer,
}

enum Producer {
    Librdkafka(librdkafka::Sending),
    Program(program::Sending),
}

/// When each partition's records were acknowledged.
struct Seen {
    partitions: Mutex<Vec<Partition>>,
    given_up: Mutex<Vec<String>>,
}

#[derive(Clone, Copy)]
struct Partition {
    last: Instant,
    longest: Duration,
    /// Since somebody asked last.
    count: usize,
}

impl Seen {
    fn acknowledged(&self, partition: usize) {
        if let Some(partition) = lock(&self.partitions).get_mut(partition) {
            partition.longest = partition.last.elapsed().max(partition.longest);
            partition.last = Instant::now();
            partition.count += 1;
        }
    }

    fn given_up(&self, why: String) {
        lock(&self.given_up).push(why);
    }
}

impl Client {
    /// Begins to send.
    pub fn start(library: Library, bootstrap: &str, topic: &str) -> Result<Client> {
        let fresh = Partition { last: Instant::now(), longest: Duration::ZERO, count: 0 };
        let seen = Arc::new(Seen { partitions: Mutex::new(vec![fresh; PARTITIONS]), given_up: Mutex::default() });
        let producer = match library {
            Library::Librdkafka => Producer::Librdkafka(librdkafka::Sending::start(bootstrap, topic, seen.clone())?),
            Library::Java => {
                let mut command = jvm("128m");
                command.arg(source("Producer.java")).args(arguments(bootstrap, topic)).args(JAVA);
                Producer::Program(program::Sending::start(command, seen.clone())?)
            }
            Library::FranzGo => {
                let mut command = Command::new(ottla_e2e::franz::build(&cache().join("go"))?);
                command.arg("steady").args(arguments(bootstrap, topic));
                Producer::Program(program::Sending::start(command, seen.clone())?)
            }
        };
        Ok(Client { seen, producer })
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

    /// Stops and waits for every acknowledgement; how many records failed.
    pub fn finish(self) -> Result<usize> {
        match self.producer {
            Producer::Librdkafka(sending) => sending.finish()?,
            Producer::Program(sending) => sending.finish()?,
        }
        Ok(lock(&self.seen.given_up).len())
    }

    fn partitions(&self) -> MutexGuard<'_, Vec<Partition>> {
        lock(&self.seen.partitions)
    }
}

/// The first arguments of the programs.
fn arguments(bootstrap: &str, topic: &str) -> [String; 4] {
    [bootstrap.to_owned(), topic.to_owned(), PARTITIONS.to_string(), PACE.as_millis().to_string()]
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
