//! Chains of read-process-write jobs: the members of each stage take records from one topic and write each to the next,
//! in transactions. What the first topic holds must be in the last one once, each key in its order, whatever dies.
//!
//! Members are processes of any client, so that they can be killed in the middle of anything: see [`job`] for their
//! arguments and what they print. That becomes a history for `ottla_history::transactions`.

pub mod job;
mod judge;
pub mod play;
mod program;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use ottla_history::transactions::{Checker, Isolation, Operation, Report};
use ottla_history::{Id, Partition};
use rdkafka::consumer::Consumer;
use rustix::process::{Pid, Signal, kill_process};

use self::job::{Group, Job, topic};
pub use self::program::Program;
use crate::last_read::{reader, whole};
use crate::librdkafka::{LIMIT, Record, Sender};
use crate::wait::until;

/// The client that fills the first topic. Members are counted from the next number on.
const SOURCE: u32 = 0;

/// The shape of a chain.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The number of stages.
    pub stages: u32,
    /// The number of members of each.
    pub members: u32,
    /// The number of partitions of each topic.
    pub partitions: i32,
    /// The number of records in the first topic.
    pub records: u32,
    /// How the members of a stage share its partitions.
    pub group: Group,
    /// Whether members are static: their successors take over their partitions.
    pub is_static: bool,
}

/// A running chain.
pub struct Chain {
    plan: Plan,
    bootstrap: String,
    program: Program,
    members: BTreeMap<(u32, u32), Running>,
    clients: u32,
    printed: Arc<Mutex<Printed>>,
    source: Option<JoinHandle<Result<usize>>>,
    restarts: usize,
}

/// What the members have printed, in order.
#[derive(Default)]
struct Printed {
    operations: Vec<Operation>,
    /// Each with the time in milliseconds since 1970, and whose it is.
    lines: Vec<String>,
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
    /// Topics that do not hold each record once and in order.
    pub wrong: Vec<String>,
    /// How many members ended by themselves and were replaced.
    pub restarts: usize,
}

impl Chain {
    /// Starts the members on topics that exist, and fills the first topic at this pace; members run this program.
    ///
    /// # Errors
    /// When a process does not start.
    pub fn start(plan: Plan, bootstrap: String, program: Program, pace: Duration) -> Result<Chain> {
        let (sender, records, partitions) =
            (Sender::new(&bootstrap, &[("enable.idempotence", "true")])?, plan.records, plan.partitions);
        let source = Some(std::thread::spawn(move || {
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
        }));
        let (members, printed) = (BTreeMap::new(), Arc::default());
        let mut chain = Chain { plan, bootstrap, program, members, clients: SOURCE, printed, source, restarts: 0 };
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
        let (bootstrap, client, Plan { partitions, group, .. }) = (self.bootstrap.clone(), self.clients, self.plan);
        let instance = self.plan.is_static.then(|| format!("{stage}-{member}"));
        let job = Job { bootstrap, stage, member, client, partitions, group, instance };
        let mut command = self.program.command(&job);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().with_context(|| format!("{command:?}"))?;
        let lines = BufReader::new(process.stdout.take().context("its output is a pipe")?).lines();
        let (printed, protocol) = (self.printed.clone(), self.program.protocol());
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let mut printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
                printed.lines.push(format!("{} {}-{} client {}: {line}", now.as_millis(), stage, member, job.client));
                printed.operations.extend(job.operation(&line, protocol));
            }
        });
        self.members.insert((stage, member), Running { process, reader: Some(reader) });
        Ok(())
    }

    /// What the members have printed until now, line by line.
    pub fn lines(&self) -> Vec<String> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    /// Waits until every record has come out, with members in place; then ends them, reads everything and judges. Once.
    ///
    /// # Errors
    /// When nothing comes any more, or something can't be read.
    pub fn finish(&mut self) -> Result<Shown> {
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
        let source = self.source.take().context("a chain ends once")?;
        let sent = source.join().map_err(|_| anyhow::anyhow!("the source has panicked"))??;
        ensure!(sent == self.plan.records as usize, "{sent} records were acknowledged");
        let operations = std::mem::take(&mut self.printed.lock().unwrap_or_else(PoisonError::into_inner).operations);
        let mut checker = Checker::default();
        for sequence in 0..self.plan.records {
            let (id, partition) =
                (Id { producer: SOURCE, sequence }, Partition(sequence % self.plan.partitions as u32));
            checker.observe(Operation::Sent { id });
            checker.observe(Operation::Acknowledged { id, partition, offset: None });
        }
        operations.into_iter().for_each(|operation| checker.observe(operation));
        let mut wrong = Vec::new();
        for stage in 0..=self.plan.stages {
            wrong.extend(judge::read_log(&self.bootstrap, stage, &self.plan, &mut checker)?);
        }
        for stage in 0..self.plan.stages {
            judge::read_group(&self.bootstrap, stage, self.plan.partitions, &mut checker)?;
        }
        Ok(Shown { report: checker.report(), wrong, restarts: self.restarts })
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
