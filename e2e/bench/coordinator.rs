//! What a killed coordinator of transactions costs a client: from the last transaction that was committed before to the
//! first after.
//!
//! Three brokers of each maker, one after the other; one producer that commits a transaction of one record after the
//! other, to a partition that another broker leads than the coordinator's.

use anyhow::{Context, Result, anyhow, bail, ensure};
use ottla_e2e::java::{jvm, source};
use ottla_e2e::librdkafka::config;
use ottla_e2e::raw::Connection;
use ottla_e2e::target::Maker;
use ottla_e2e::trio::Trio;
use ottla_e2e::wait::until;
use ottla_wire::m10_find_coordinator::FindCoordinatorRequest;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{LIMIT, Library, PARTITIONS};
use crate::failover::{median_and_max, moment};

const TOPIC: &str = "transactional";
const ID: &str = "bench";
const STATE: &str = "__transaction_state";
/// `FindCoordinatorRequest.CoordinatorType.TRANSACTION`.
const TRANSACTIONAL_ID: i8 = 1;

/// Of both clients. As for fail-overs of partitions: see `client::librdkafka`.
const SETTINGS: [(&str, &str); 4] =
    [("transactional.id", ID), ("transaction.timeout.ms", "60000"), ("linger.ms", "0"), ("retry.backoff.ms", "10")];
/// After so long a request to a frozen broker has failed.
const TIMEOUT: &str = "1000";

/// A producer at work.
struct Committer {
    seen: Arc<Seen>,
    /// A JVM's.
    process: Option<(Child, ChildStdin)>,
    working: JoinHandle<Result<()>>,
}

/// What a producer has done, and is to do.
struct Seen {
    /// Where librdkafka's writes to.
    partition: AtomicI32,
    stop: AtomicBool,
    commits: Mutex<Commits>,
}

struct Commits {
    last: Instant,
    longest: Duration,
    /// Since somebody asked last.
    count: usize,
}

/// Measures each maker, and prints the table.
pub fn run(makers: &[Maker], library: Library, runs: usize, ottla: &Path) -> Result<()> {
    println!("| a killed coordinator, {runs} times, {library:?} | p50 ms | max ms |\n|---|--:|--:|");
    for maker in makers {
        let pauses: Vec<f64> =
            measure(*maker, library, runs, ottla)?.iter().map(|pause| pause.as_secs_f64() * 1e3).collect();
        let (p50, max) = median_and_max(&pauses);
        println!("| {maker:?} | {p50:.0} | {max:.0} |");
    }
    Ok(())
}

fn measure(maker: Maker, library: Library, runs: usize, ottla: &Path) -> Result<Vec<Duration>> {
    let mut trio = Trio::start(maker, ottla)?;
    trio.create_topic(TOPIC, PARTITIONS as i32, &[])?;
    let mut committer = Committer::start(library, &trio.bootstrap())?;
    let mut pauses = Vec::new();
    for run in 0..runs {
        committer.seen.wait_for(20)?;
        trio.wait_until_whole(TOPIC)?;
        trio.wait_until_whole(STATE)?;
        let victim = coordinator(&trio)?;
        let partitions = trio.partitions(TOPIC)?;
        let elsewhere = partitions.iter().position(|one| one.leader_id >= 0 && one.leader_id != i32::from(victim));
        committer.write_to(i32::try_from(elsewhere.context("another broker leads something")?)?)?;
        committer.seen.wait_for(20)?;
        std::thread::sleep(moment(run));
        committer.seen.forget_pauses();
        trio.end_broker(victim, Signal::KILL)?;
        committer.seen.wait_for(5)?;
        let pause = committer.seen.commits().longest;
        eprintln!("{maker:?}, run {run}: {} ms", pause.as_millis());
        pauses.push(pause);
        trio.heal()?;
    }
    committer.finish()?;
    Ok(pauses)
}

/// The broker that coordinates the producer's transactions.
fn coordinator(trio: &Trio) -> Result<u16> {
    let keys = vec![ID.into()];
    let request = FindCoordinatorRequest { key_type: TRANSACTIONAL_ID, coordinator_keys: keys, ..Default::default() };
    until(LIMIT, "the coordinator", || {
        let answer = Connection::open(trio.address(0))?.ask(4, &request)?.context("an answer")?;
        let found = answer.coordinators.first().filter(|found| found.error_code.is_none());
        Ok(found.and_then(|found| u16::try_from(found.node_id).ok()))
    })
}

impl Committer {
    fn start(library: Library, bootstrap: &str) -> Result<Committer> {
        let commits = Mutex::new(Commits { last: Instant::now(), longest: Duration::ZERO, count: 0 });
        let seen = Arc::new(Seen { partition: AtomicI32::new(0), stop: AtomicBool::new(false), commits });
        let (telling, bootstrap) = (seen.clone(), bootstrap.to_owned());
        if library == Library::Librdkafka {
            let working = std::thread::spawn(move || commit(&bootstrap, &telling));
            return Ok(Committer { seen, process: None, working });
        }
        let mut command = jvm("128m");
        let settings = SETTINGS.iter().map(|(name, value)| format!("{name}={value}"));
        command.arg(source("Commits.java")).args([&bootstrap, TOPIC]).args(settings);
        command.arg(format!("request.timeout.ms={TIMEOUT}"));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = process.stdin.take().context("stdin is piped")?;
        let stdout = BufReader::new(process.stdout.take().context("stdout is piped")?);
        let working = std::thread::spawn(move || {
            for line in stdout.lines() {
                ensure!(line? == "committed", "it says nothing else");
                telling.committed();
            }
            Ok(())
        });
        Ok(Committer { seen, process: Some((process, stdin)), working })
    }

    /// Writes to this partition from now on.
    fn write_to(&mut self, partition: i32) -> Result<()> {
        self.seen.partition.store(partition, Ordering::Relaxed);
        match &mut self.process {
            Some((_, stdin)) => Ok(writeln!(stdin, "{partition}")?),
            None => Ok(()),
        }
    }

    fn finish(self) -> Result<()> {
        self.seen.stop.store(true, Ordering::Relaxed);
        let process = self.process.map(|(process, _stdin)| process);
        self.working.join().map_err(|_| anyhow!("the producer has panicked"))??;
        let status = process.map(|mut process| process.wait()).transpose()?;
        ensure!(status.is_none_or(|status| status.success()), "the Java producer ended with {status:?}");
        Ok(())
    }
}

/// Commits one transaction after the other, with librdkafka, until it is to stop.
fn commit(bootstrap: &str, seen: &Seen) -> Result<()> {
    let mut settings = config(bootstrap, &SETTINGS);
    settings.set("socket.timeout.ms", TIMEOUT);
    let producer: ThreadedProducer<DefaultProducerContext> = settings.create()?;
    producer.init_transactions(LIMIT)?;
    while !seen.stop.load(Ordering::Relaxed) {
        producer.begin_transaction()?;
        let partition = seen.partition.load(Ordering::Relaxed);
        let record = BaseRecord::<(), [u8]>::to(TOPIC).partition(partition).payload(b"x");
        producer.send(record).map_err(|(error, _)| error)?;
        if insist(|| producer.commit_transaction(LIMIT))? {
            seen.committed();
        } else {
            insist(|| producer.abort_transaction(LIMIT))?;
        }
    }
    Ok(())
}

/// Does it, again after errors that pass; false if the transaction must be aborted.
fn insist(act: impl Fn() -> Result<(), KafkaError>) -> Result<bool> {
    loop {
        match act() {
            Ok(()) => return Ok(true),
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => return Ok(false),
            Err(error) => bail!("the producer can't continue: {error}"),
        }
    }
}

impl Seen {
    fn commits(&self) -> MutexGuard<'_, Commits> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn committed(&self) {
        let mut commits = self.commits();
        commits.longest = commits.last.elapsed().max(commits.longest);
        commits.last = Instant::now();
        commits.count += 1;
    }

    fn forget_pauses(&self) {
        let mut commits = self.commits();
        (commits.longest, commits.last) = (Duration::ZERO, Instant::now());
    }

    /// Waits for so many commits from now on.
    fn wait_for(&self, count: usize) -> Result<()> {
        self.commits().count = 0;
        until(LIMIT, "transactions to be committed", || Ok((self.commits().count >= count).then_some(())))
    }
}
