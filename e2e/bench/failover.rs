//! Fail-over as a client sees it: from the last acknowledgement before to the first after, on the partitions that the broker led.
//!
//! Three brokers of each maker, one after the other; a topic of three replicas, min.insync.replicas 2; one producer, one record a millisecond
//! to the partitions in turn. A run's number is the longest time that one of the affected partitions went without an acknowledgement.

use anyhow::{Context, Result, anyhow};
use ottla_e2e::librdkafka::config;
use ottla_e2e::target::Maker;
use ottla_e2e::trio::{BROKERS, Trio};
use ottla_e2e::wait::until;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const TOPIC: &str = "failover";
const PARTITIONS: usize = 12;
const PACE: Duration = Duration::from_millis(1);
/// Longer than Kafka needs by far.
const LIMIT: Duration = Duration::from_secs(120);
/// librdkafka's own, but for these. Whatever brokers do, a request to a frozen one is given up after socket.timeout.ms, and one that was
/// refused is sent again after retry.backoff.ms: their defaults, a minute and 100 ms, would be all that is measured.
const SETTINGS: [(&str, &str); 5] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("linger.ms", "0"),
    ("socket.timeout.ms", "1000"),
    ("retry.backoff.ms", "10"),
];

/// What happens to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Freeze,
    Drain,
}

const FAULTS: [Fault; 3] = [Fault::Kill, Fault::Freeze, Fault::Drain];

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

/// What was measured, by fault.
#[derive(Default)]
struct Measured {
    pauses: BTreeMap<Fault, Vec<Duration>>,
    given_up: usize,
}

/// Measures each maker, and prints the table.
pub fn run(makers: &[Maker], runs: usize, ottla: &Path) -> Result<()> {
    let mut measured = Vec::new();
    for maker in makers {
        let of_maker = measure(*maker, runs, ottla)?;
        println!("{maker:?}: {} records were given up", of_maker.given_up);
        measured.push((*maker, of_maker));
    }
    print!("{}", Table { runs, measured });
    Ok(())
}

fn measure(maker: Maker, runs: usize, ottla: &Path) -> Result<Measured> {
    let mut trio = Trio::start(maker, ottla)?;
    trio.create_topic(TOPIC, PARTITIONS as i32, &[])?;
    let fresh = Partition { last: Instant::now(), longest: Duration::ZERO, count: 0 };
    let context = Acknowledgements { partitions: Mutex::new(vec![fresh; PARTITIONS]), given_up: Mutex::default() };
    let producer: ThreadedProducer<Acknowledgements> =
        config(&trio.bootstrap(), &SETTINGS).create_with_context(context)?;
    let stop = AtomicBool::new(false);
    let pauses = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(&producer, &stop));
        let pauses = suffer(&mut trio, producer.context(), runs);
        stop.store(true, Ordering::Relaxed);
        sending.join().map_err(|_| anyhow!("the sending thread panicked"))??;
        pauses
    })?;
    producer.flush(LIMIT)?;
    let given_up = lock(&producer.context().given_up).len();
    Ok(Measured { pauses, given_up })
}

/// Sends to all partitions in turn until it is told to stop.
fn send(producer: &ThreadedProducer<Acknowledgements>, stop: &AtomicBool) -> Result<()> {
    for partition in (0..PARTITIONS as i32).cycle() {
        while !stop.load(Ordering::Relaxed) {
            let record = BaseRecord::<(), str>::to(TOPIC).partition(partition).payload("a record of a few bytes");
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

/// Each fault as often as asked for, and how long the affected partitions paused.
fn suffer(trio: &mut Trio, seen: &Acknowledgements, runs: usize) -> Result<BTreeMap<Fault, Vec<Duration>>> {
    let mut pauses: BTreeMap<Fault, Vec<Duration>> = BTreeMap::new();
    for (run, fault) in (0..runs).flat_map(|run| FAULTS.map(|fault| (run, fault))) {
        trio.wait_until_whole(TOPIC)?;
        all_acknowledged(seen, 20)?;
        let partitions = trio.partitions(TOPIC)?;
        let led_by = |id: u16| {
            let led = (0..).zip(&partitions).filter(move |(_, one)| one.leader_id == i32::from(id));
            led.map(|(number, _)| number).collect::<Vec<usize>>()
        };
        let victim = (0..BROKERS).max_by_key(|id| led_by(*id).len()).context("there are brokers")?;
        let affected = led_by(victim);
        lock(&seen.partitions).iter_mut().for_each(|partition| partition.longest = Duration::ZERO);
        let begin = Instant::now();
        match fault {
            Fault::Kill => trio.end_broker(victim, Signal::KILL)?,
            Fault::Freeze => trio.freeze(victim)?,
            Fault::Drain => trio.end_broker(victim, Signal::TERM)?,
        }
        until(LIMIT, "others to lead", || {
            let partitions = trio.partitions(TOPIC).unwrap_or_default();
            let by_another = |number: &usize| {
                partitions.get(*number).is_some_and(|one| one.leader_id >= 0 && one.leader_id != i32::from(victim))
            };
            Ok(affected.iter().all(by_another).then_some(()))
        })?;
        let led = begin.elapsed();
        all_acknowledged(seen, 5)?;
        let pause = {
            let partitions = lock(&seen.partitions);
            affected.iter().filter_map(|number| Some(partitions.get(*number)?.longest)).max()
        };
        let pause = pause.context("the broker led something")?;
        eprintln!(
            "{:?}, run {run}, {fault:?}: {} ms on {} partitions; led by others after {} ms",
            trio.maker(),
            pause.as_millis(),
            affected.len(),
            led.as_millis()
        );
        pauses.entry(fault).or_default().push(pause);
        trio.heal()?;
    }
    Ok(pauses)
}

/// Waits until each partition had so many more records acknowledged.
fn all_acknowledged(seen: &Acknowledgements, count: usize) -> Result<()> {
    lock(&seen.partitions).iter_mut().for_each(|partition| partition.count = 0);
    until(LIMIT, "acknowledgements on every partition", || {
        let enough = lock(&seen.partitions).iter().all(|partition| partition.count >= count);
        Ok(enough.then_some(()))
    })
}

struct Table {
    runs: usize,
    measured: Vec<(Maker, Measured)>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| fault, {} runs | brokers | p50 ms | max ms |", self.runs)?;
        writeln!(f, "|---|---|--:|--:|")?;
        for fault in FAULTS {
            for (maker, measured) in &self.measured {
                let mut pauses = measured.pauses.get(&fault).cloned().unwrap_or_default();
                pauses.sort();
                let at = |index: usize| pauses.get(index).map_or(f64::NAN, |pause| pause.as_secs_f64() * 1e3);
                let (median, max) = (at(pauses.len() / 2), at(pauses.len().saturating_sub(1)));
                writeln!(f, "| {} | {maker:?} | {median:.0} | {max:.0} |", fault.name())?;
            }
        }
        Ok(())
    }
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill −9",
            Fault::Freeze => "SIGSTOP",
            Fault::Drain => "SIGTERM (drain)",
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
