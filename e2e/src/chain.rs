//! Chains of read-process-write jobs: the members of each stage take records from one topic and write each to the next,
//! in transactions. What the first topic holds must be in the last one once, each key in its order, whatever dies.
//!
//! Members are processes, so that they can be killed in the middle of anything; `chain/main.rs` is one. Each prints
//! what it sees, which becomes a history for `ottla_history::transactions`:
//!
//! | line | before or after |
//! |---|---|
//! | `assigned PARTITION` | after the group has given it the partition |
//! | `polled PARTITION OFFSET VALUE` | after the poll |
//! | `begun` | before the transaction |
//! | `sent SEQUENCE` | before the record is sent |
//! | `offsets PARTITION FROM TO` | before the offset TO is sent with the transaction |
//! | `ended committed`, `ended aborted` | after the answer; without it the transaction is in doubt |

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use ottla_history::transactions::{Checker, Given, Isolation, Operation, Outcome, Protocol, Report};
use ottla_history::{Id, Partition};
use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;
use rustix::process::{Pid, Signal, kill_process};

use crate::last_read::{self, reader, whole};
use crate::librdkafka::{LIMIT, Record, Sender};
use crate::wait::until;

/// The client that fills the first topic. Members are counted from the next number on.
const SOURCE: u32 = 0;

/// The topic before a stage; the one after the last stage is the output.
pub fn topic(stage: u32) -> String {
    format!("chain-{stage}")
}

/// What a member is started with.
#[derive(Clone, Debug)]
pub struct Job {
    /// Where the brokers are.
    pub bootstrap: String,
    /// Which stage it works for, from 0.
    pub stage: u32,
    /// Which member of the stage it is. Its successor has the same number, and so the same transactional id.
    pub member: u32,
    /// Its number among all clients of the chain, which its records carry.
    pub client: u32,
    /// The number of partitions of each topic.
    pub partitions: i32,
    /// Settings of its consumer.
    pub settings: Vec<(String, String)>,
}

impl Job {
    fn arguments(&self) -> Vec<String> {
        let numbers = [self.stage.to_string(), self.member.to_string(), self.client.to_string()];
        let settings = self.settings.iter().map(|(name, value)| format!("{name}={value}"));
        let first = std::iter::once(self.bootstrap.clone()).chain(numbers);
        first.chain(std::iter::once(self.partitions.to_string())).chain(settings).collect()
    }

    /// The job that a process was started with.
    ///
    /// # Errors
    /// When these are not the arguments of a member.
    pub fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Job> {
        let mut next = || arguments.next().context("BOOTSTRAP STAGE MEMBER CLIENT PARTITIONS [SETTING=VALUE ...]");
        let (bootstrap, stage, member) = (next()?, next()?.parse()?, next()?.parse()?);
        let (client, partitions) = (next()?.parse()?, next()?.parse()?);
        let setting = |text: String| {
            let (name, value) = text.split_once('=').context("a setting is NAME=VALUE")?;
            Ok((name.to_owned(), value.to_owned()))
        };
        let settings = arguments.map(setting).collect::<Result<_>>()?;
        Ok(Job { bootstrap, stage, member, client, partitions, settings })
    }
}

/// The shape of a chain.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The number of stages.
    pub stages: u32,
    /// The number of members of each.
    pub members: u32,
    /// The number of partitions of each topic.
    pub partitions: i32,
    /// The number of records in the first topic.
    pub records: u32,
    /// Settings of the members' consumers.
    pub settings: Vec<(String, String)>,
    /// Whether members are static: their successors take over their partitions.
    pub is_static: bool,
}

/// A running chain.
pub struct Chain {
    plan: Plan,
    bootstrap: String,
    program: PathBuf,
    members: BTreeMap<(u32, u32), Running>,
    clients: u32,
    told: Arc<Mutex<Vec<Operation>>>,
    source: JoinHandle<Result<usize>>,
    restarts: usize,
}

struct Running {
    process: Child,
    reader: Option<JoinHandle<()>>,
}

/// What a chain has shown.
#[derive(Debug)]
pub struct Shown {
    /// The checker's judgement.
    pub report: Report,
    /// How many members ended by themselves and were replaced.
    pub restarts: usize,
}

impl Chain {
    /// Starts the members on topics that exist, and fills the first topic at this pace; `program` is the member's.
    ///
    /// # Errors
    /// When a process does not start.
    pub fn start(plan: Plan, bootstrap: String, program: &Path, pace: Duration) -> Result<Chain> {
        let (sender, records, partitions) =
            (Sender::new(&bootstrap, &[("enable.idempotence", "true")])?, plan.records, plan.partitions);
        let source = std::thread::spawn(move || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            let timestamp = i64::try_from(now.as_millis())?;
            for sequence in 0..records {
                let partition = i32::try_from(sequence)? % partitions;
                let (key, value) = (sequence.to_string(), Id { producer: SOURCE, sequence }.payload(40));
                let record = Record { key: Some(key.into_bytes()), value, timestamp, headers: Vec::new() };
                sender.send(&topic(0), Some(partition), &record)?;
                std::thread::sleep(pace);
            }
            sender.finish()
        });
        let (members, program) = (BTreeMap::new(), program.to_owned());
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut chain = Chain { plan, bootstrap, program, members, clients: SOURCE, told, source, restarts: 0 };
        for (stage, member) in chain.places() {
            chain.employ(stage, member)?;
        }
        Ok(chain)
    }

    /// Every member's stage and number.
    pub fn places(&self) -> Vec<(u32, u32)> {
        let of_stage = |stage| (0..self.plan.members).map(move |member| (stage, member));
        (0..self.plan.stages).flat_map(of_stage).collect()
    }

    /// How many members ended by themselves and were replaced.
    pub fn restarts(&self) -> usize {
        self.restarts
    }

    /// Kills a member with SIGKILL and starts another in its place.
    ///
    /// # Errors
    /// When no process can be started.
    pub fn replace(&mut self, stage: u32, member: u32) -> Result<()> {
        self.employ(stage, member)
    }

    /// Sends a member a signal: STOP and CONT.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, stage: u32, member: u32, signal: Signal) -> Result<()> {
        let running = self.members.get(&(stage, member)).context("there is no such member")?;
        let pid = Pid::from_raw(i32::try_from(running.process.id())?).context("a process has an id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Starts others in place of members that have ended by themselves, for whatever reason.
    ///
    /// # Errors
    /// When no process can be started.
    pub fn tend(&mut self) -> Result<()> {
        for (stage, member) in self.places() {
            let running = self.members.get_mut(&(stage, member)).context("there is no such member")?;
            if running.process.try_wait()?.is_some() {
                self.restarts += 1;
                self.employ(stage, member)?;
            }
        }
        Ok(())
    }

    fn employ(&mut self, stage: u32, member: u32) -> Result<()> {
        if let Some(before) = self.members.remove(&(stage, member)) {
            before.kill()?;
        }
        self.clients += 1;
        let mut settings = self.plan.settings.clone();
        if self.plan.is_static {
            settings.push(("group.instance.id".to_owned(), format!("{stage}-{member}")));
        }
        let (bootstrap, client, partitions) = (self.bootstrap.clone(), self.clients, self.plan.partitions);
        let job = Job { bootstrap, stage, member, client, partitions, settings };
        let mut command = Command::new(&self.program);
        command.args(job.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().with_context(|| self.program.display().to_string())?;
        let lines = BufReader::new(process.stdout.take().context("its output is a pipe")?).lines();
        let told = self.told.clone();
        let reader = std::thread::spawn(move || {
            for operation in lines.map_while(Result::ok).filter_map(|line| operation(&job, &line)) {
                told.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
            }
        });
        self.members.insert((stage, member), Running { process, reader: Some(reader) });
        Ok(())
    }

    /// Waits until every record has come out, with members in place; then ends them, reads everything and judges.
    ///
    /// # Errors
    /// When something is lost, duplicated or out of order, or nothing comes any more.
    pub fn finish(mut self) -> Result<Shown> {
        let output = topic(self.plan.stages);
        let consumer = reader(&self.bootstrap, Isolation::ReadCommitted, "nobody")?;
        let everything = whole(&output, self.plan.partitions)?;
        consumer.assign(&everything)?;
        let mut came = 0;
        until(8 * LIMIT, "every record to come out", || {
            self.tend()?;
            while let Some(polled) = consumer.poll(Duration::from_millis(50)) {
                came += u32::from(polled.is_ok());
            }
            Ok((came >= self.plan.records).then_some(()))
        })?;
        drop(consumer);
        for (_, mut running) in std::mem::take(&mut self.members) {
            // Its input ends, and so does it.
            drop(running.process.stdin.take());
            let ended = until(LIMIT, "a member to end", || Ok(running.process.try_wait()?));
            if ended.is_err() {
                running.process.kill()?;
            }
            running.kill()?;
        }
        let sent = self.source.join().map_err(|_| anyhow::anyhow!("the source has panicked"))??;
        ensure!(sent == self.plan.records as usize, "{sent} records were acknowledged");
        let operations = std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
        let mut checker = Checker::default();
        for sequence in 0..self.plan.records {
            let (id, partition) =
                (Id { producer: SOURCE, sequence }, Partition(sequence % self.plan.partitions as u32));
            checker.observe(Operation::Sent { id });
            checker.observe(Operation::Acknowledged { id, partition, offset: None });
        }
        operations.into_iter().for_each(|operation| checker.observe(operation));
        for stage in 0..=self.plan.stages {
            read_log(&self.bootstrap, stage, &self.plan, &mut checker)?;
        }
        for stage in 0..self.plan.stages {
            read_group(&self.bootstrap, stage, self.plan.partitions, &mut checker)?;
        }
        Ok(Shown { report: checker.report(), restarts: self.restarts })
    }
}

impl Running {
    fn kill(mut self) -> Result<()> {
        self.end();
        let reader = self.reader.take().context("it has one reader")?;
        reader.join().map_err(|_| anyhow::anyhow!("a reader has panicked"))
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// A partition's number in the history.
fn place(stage: u32, partition: i32, partitions: i32) -> Partition {
    Partition(stage * partitions.unsigned_abs() + partition.unsigned_abs())
}

/// What a line of a member says.
fn operation(job: &Job, line: &str) -> Option<Operation> {
    let client = job.client;
    let mut words = line.splitn(4, ' ');
    let input = |partition: &str| Some(place(job.stage, partition.parse().ok()?, job.partitions));
    Some(match (words.next()?, words.next(), words.next(), words.next()) {
        ("assigned", Some(partition), None, None) => Operation::Assigned { client, partition: input(partition)? },
        ("polled", Some(partition), Some(offset), Some(value)) => {
            let given =
                Given { partition: input(partition)?, offset: offset.parse().ok()?, id: Id::read(value.as_bytes()) };
            Operation::Polled { client, records: vec![given] }
        }
        // librdkafka has no other.
        ("begun", None, ..) => Operation::Begun { client, protocol: Protocol::V1 },
        ("sent", Some(sequence), ..) => {
            Operation::Sent { id: Id { producer: client, sequence: sequence.parse().ok()? } }
        }
        ("offsets", Some(partition), Some(from), Some(to)) => Operation::OffsetsSent {
            client,
            group: job.stage,
            partition: input(partition)?,
            taken: from.parse().ok()?..to.parse().ok()?,
        },
        ("ended", Some("committed"), ..) => Operation::Ended { client, outcome: Outcome::Committed },
        ("ended", Some("aborted"), ..) => Operation::Ended { client, outcome: Outcome::Aborted },
        _ => return None,
    })
}

/// Reads a topic from start to end once every transaction in it has ended, and sees each record of the source once
/// and in order.
fn read_log(bootstrap: &str, stage: u32, plan: &Plan, checker: &mut Checker) -> Result<()> {
    let topic = topic(stage);
    let place = |partition| place(stage, partition, plan.partitions);
    let mut origins = Vec::new();
    last_read::read(bootstrap, (&topic, plan.partitions), Isolation::ReadCommitted, checker, place, |message| {
        let origin: u32 = std::str::from_utf8(message.key().context("records have keys")?)?.parse()?;
        origins.push((message.partition(), origin));
        Ok(())
    })?;
    for partition in 0..plan.partitions {
        let order: Vec<u32> = origins.iter().filter(|(of, _)| *of == partition).map(|(_, origin)| *origin).collect();
        let wrong = order.windows(2).find(|two| two[0] >= two[1]);
        ensure!(wrong.is_none(), "{topic}-{partition} is out of order: {wrong:?}");
    }
    let mut once: Vec<u32> = origins.into_iter().map(|(_, origin)| origin).collect();
    once.sort_unstable();
    let expected: Vec<u32> = (0..plan.records).collect();
    ensure!(once == expected, "{topic} does not hold each record once: {} of {}", once.len(), expected.len());
    Ok(())
}

fn read_group(bootstrap: &str, stage: u32, partitions: i32, checker: &mut Checker) -> Result<()> {
    let consumer = reader(bootstrap, Isolation::ReadCommitted, &format!("stage-{stage}"))?;
    let committed = consumer.committed_offsets(whole(&topic(stage), partitions)?, LIMIT)?;
    for found in committed.elements() {
        let offset = if let Offset::Offset(offset) = found.offset() { Some(offset) } else { None };
        let partition = place(stage, found.partition(), partitions);
        checker.observe(Operation::GroupRead { group: stage, partition, offset });
    }
    Ok(())
}
