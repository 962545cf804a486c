//! What happens next: each step the seed picks somebody, who does one thing.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ottla_broker::env::simulated as env;
use ottla_broker::replica::partition::Partition;
use ottla_broker::replica::partition::leadership::Surroundings;
use ottla_crds::assignment::{Assignment, BrokerId, Incarnation, Live, LiveBroker};
use ottla_history::{Checker, Operation, Report};
use tokio::time::Instant;
use uuid::Uuid;

use crate::client::{self, Producer};
use crate::control::{Api, Operator};
use crate::disk::{Installed, Trouble};
use crate::fault::{Counts, Fault};
use crate::network::Flight;
use crate::node::{MAX_LAG, Node};
use crate::random::Random;

/// Partitions of the one topic.
const PARTITIONS: usize = 2;
/// Steps with faults.
const STEPS: usize = 8_000;
/// Steps in which it must converge when there are none any more.
const HEALING: usize = 60_000;
/// What the wall clock shows at the beginning, in milliseconds since 1970.
const BEGINNING_MS: i64 = 1_700_000_000_000;

/// What became of a run.
pub struct Outcome {
    /// What happened, a line each.
    pub trace: String,
    /// How many things happened.
    pub steps: u64,
    /// How often each fault was played.
    pub counts: Counts,
    /// The history's judgement, or why there is none.
    pub verdict: Result<Report>,
}

impl Outcome {
    /// Whether nothing was lost and it has converged.
    pub fn is_good(&self) -> bool {
        self.verdict.as_ref().is_ok_and(Report::is_good)
    }

    /// The judgement in words.
    pub fn verdict(&self) -> String {
        match &self.verdict {
            Ok(report) => report.to_string(),
            Err(error) => format!("{error:#}"),
        }
    }
}

/// Plays one seed. Blocks; panics outside of the simulation's own mistakes are bugs of what is simulated.
///
/// # Errors
/// When the machine has no temporary folder to give.
pub fn run(seed: u64) -> Result<Outcome> {
    // In memory where that is possible: thousands of seeds sync thousands of files.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let clock = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let mut ids = Random::new(!seed);
    env::draw_ids(Some(Box::new(move || Uuid::from_u64_pair(ids.next(), ids.next()))));
    let outcome = clock.block_on(async {
        let mut world = World::new(seed, dir.path())?;
        let _disks = Installed::new(world.nodes.iter().map(|node| node.disk.clone()).collect());
        world.begin()?;
        let played = world.play().await;
        world.nodes.clear(); // closes files before their disks are gone
        let World { trace, steps, counts, checker, .. } = world;
        Ok(Outcome { trace, steps, counts, verdict: played.map(|()| checker.report()) })
    });
    env::draw_ids(None);
    env::set_wall_clock(None);
    outcome
}

/// Everything.
pub(crate) struct World {
    pub random: Random,
    pub faulty: bool,
    pub api: Api,
    /// The least that `min.insync.replicas` ever is: as many copies does an acknowledged record have.
    pub lowest_min_in_sync: usize,
    pub operators: Vec<Operator>,
    pub nodes: Vec<Node>,
    pub flights: Vec<Flight>,
    pub producers: Vec<Producer>,
    /// Connections that producers have made.
    pub connections: u64,
    /// By partition.
    consumed: [i64; PARTITIONS],
    pub checker: Checker,
    pub counts: Counts,
    steps: u64,
    /// Where the disks are.
    folder: String,
    began: Instant,
    trace: String,
}

impl World {
    fn new(seed: u64, dir: &std::path::Path) -> Result<World> {
        let mut random = Random::new(seed);
        let brokers = 3 + random.below(3);
        let factor = 3 + random.below(brokers - 2);
        let lowest_min_in_sync = if random.happens(200) { 1 } else { 2 };
        // The entries' incarnations are those that the brokers draw when they begin.
        let there = LiveBroker { incarnation: Incarnation(1), draining: false };
        let live: Live = (0..brokers as i32).map(|id| (BrokerId(id), there)).collect();
        let replicas = |first: usize| (0..factor).map(|n| BrokerId(((first + n) % brokers) as i32)).collect();
        let entry = |partition| Assignment::create(partition as i32, replicas(partition), &live);
        let entries: Vec<Assignment> = (0..PARTITIONS).map(entry).collect::<Option<_>>().context("all are there")?;
        let nodes = (0..brokers).map(|number| Node::new(dir, number, &entries)).collect::<Result<_>>()?;
        let mut checker = Checker::default();
        for partition in 0..PARTITIONS as u32 {
            let partition = ottla_history::Partition(partition);
            checker.observe(Operation::Seeked { reader: 0, partition, offset: 0 });
        }
        // One of them has sent nearly as many records as can be counted.
        let first = [0, 0, i32::MAX - 20, 0];
        let producer = |(number, first)| Producer::new(number as u32, number % PARTITIONS, first);
        Ok(World {
            random,
            faulty: true,
            api: Api::new(entries, lowest_min_in_sync),
            lowest_min_in_sync,
            operators: Vec::new(),
            nodes,
            flights: Vec::new(),
            producers: first.into_iter().enumerate().map(producer).collect(),
            connections: 0,
            consumed: [0; PARTITIONS],
            checker,
            counts: Counts::new(),
            steps: 0,
            folder: dir.display().to_string(),
            began: Instant::now(),
            trace: String::new(),
        })
    }

    /// The brokers come, and the topic is placed.
    fn begin(&mut self) -> Result<()> {
        let min_in_sync = self.api.min_in_sync;
        for node in &mut self.nodes {
            node.join()?;
        }
        let there = |node: &Node| (node.id, LiveBroker { incarnation: node.incarnation, draining: false });
        let live: Live = self.nodes.iter().map(there).collect();
        let place = |entry: Assignment| Assignment::create(entry.partition, entry.replicas, &live);
        let entries: Vec<Assignment> =
            self.api.entries().into_iter().map(place).collect::<Option<_>>().context("all are there")?;
        self.api = Api::new(entries.clone(), min_in_sync);
        self.operators = (0..2)
            .map(|_| Operator { live: live.clone(), seen: entries.clone(), min_in_sync, paused: false })
            .collect();
        for at in 0..self.nodes.len() {
            self.set_clock(at);
            let around = self.surroundings();
            ensure!(self.nodes[at].start(Some(&entries), min_in_sync, &around)?, "a broker does not start");
            self.nodes[at].keep();
        }
        Ok(())
    }

    async fn play(&mut self) -> Result<()> {
        for _ in 0..STEPS {
            self.step().await?;
        }
        self.heal();
        for _ in 0..HEALING {
            self.step().await?;
            if (0..PARTITIONS).all(|partition| self.has_converged(partition)) {
                for partition in 0..PARTITIONS {
                    let leader = self.leader(partition).context("it has converged")?;
                    let end = client::read_whole(&leader, &mut self.checker);
                    self.note(format!("partition {partition} converged at {end}"));
                }
                return Ok(());
            }
        }
        anyhow::bail!("it does not converge: {:?}", self.api.entries());
    }

    async fn step(&mut self) -> Result<()> {
        self.steps += 1;
        tokio::time::advance(Duration::from_millis(self.random.below(20) as u64)).await;
        let at = self.random.below(self.nodes.len());
        let partition = self.random.below(PARTITIONS);
        self.set_clock(at);
        match self.random.below(100) {
            0..30 => self.deliver()?,
            30..57 => self.run_node(at, partition)?,
            57..69 => self.produce(),
            69..75 => (0..PARTITIONS).for_each(|partition| self.look_for_acknowledgements(at, partition)),
            75..79 => self.consume(at, partition),
            79..84 => self.look_at(at),
            84..91 => self.operate(partition),
            91..96 => self.upkeep(at)?,
            _ if self.faulty && self.random.happens(500) => self.fault()?,
            _ => {}
        }
        for at in 0..self.nodes.len() {
            self.look_after(at)?;
        }
        Ok(())
    }

    /// What becomes of a machine and a process whose disk has failed.
    fn look_after(&mut self, at: usize) -> Result<()> {
        let node = &mut self.nodes[at];
        let refused = node.disk.take_refused();
        if node.disk.trouble() == Trouble::DiesAfter(0) {
            if node.process.is_none() {
                *self.counts.entry(Fault::CrashDuringRecovery).or_default() += 1;
            }
            return self.cut_power(at);
        }
        if node.process.is_some() && node.is_offline() {
            self.nodes[at].kill();
            self.happened(Fault::SyncFails, format!("{at} ends: its disk has failed"));
        } else if refused {
            self.happened(Fault::NoSpace, format!("the disk of {at} has refused something"));
        }
        Ok(())
    }

    /// What is done from now on happens at this broker, and by its clock.
    pub(crate) fn set_clock(&self, at: usize) {
        let passed = (Instant::now() - self.began).as_millis() as i64;
        env::set_wall_clock(Some(BEGINNING_MS + passed + self.nodes[at].skew_ms));
    }

    fn consume(&mut self, at: usize, partition: usize) {
        if self.leader_epoch(at, partition).is_none() {
            return;
        }
        let Some(led) = self.nodes[at].partition(partition) else { return };
        let position = &mut self.consumed[partition];
        let read = client::consume(led, position, &mut self.checker);
        if read > 0 {
            self.note(format!("consumed from {at}, partition {partition}, up to {}", self.consumed[partition]));
        }
    }

    fn upkeep(&mut self, at: usize) -> Result<()> {
        if self.nodes[at].frozen || (self.nodes[at].slow && self.random.happens(800)) {
            return Ok(());
        }
        let api_is_there = !self.api.away && !self.nodes[at].cut_off_from_api;
        self.nodes[at].renew(api_is_there);
        if self.random.happens(500) {
            self.nodes[at].flush();
        } else {
            self.nodes[at].keep();
        }
        Ok(())
    }

    pub(crate) fn note(&mut self, line: String) {
        let at = Instant::now() - self.began;
        // A trace is the same wherever it is played.
        let line = line.replace(&self.folder, "");
        let _ = writeln!(self.trace, "{:>7} {line}", at.as_millis());
    }

    /// Notes and counts a fault.
    pub(crate) fn happened(&mut self, fault: Fault, line: String) {
        *self.counts.entry(fault).or_default() += 1;
        self.note(line);
    }

    pub(crate) fn partitions(&self) -> usize {
        PARTITIONS
    }

    /// The epoch in which a broker believes that it leads.
    pub(crate) fn leader_epoch(&self, at: usize, partition: usize) -> Option<i32> {
        self.nodes[at].partition(partition)?.leader_epoch()
    }

    pub(crate) fn leads_something(&self, at: usize) -> bool {
        (0..PARTITIONS).any(|partition| self.leader_epoch(at, partition).is_some())
    }

    pub(crate) fn surroundings(&self) -> Surroundings {
        let dead = self.nodes.iter().filter(|node| node.truth().is_none()).map(|node| node.id).collect();
        let draining = self.nodes.iter().filter(|node| node.draining).map(|node| node.id).collect();
        Surroundings { dead, draining, max_lag: MAX_LAG }
    }

    fn leader(&self, partition: usize) -> Option<Arc<Partition>> {
        let leader = self.api.entry(partition).leader?;
        self.nodes[leader.0 as usize].partition(partition).cloned()
    }

    /// Everybody has everything, and nobody waits.
    fn has_converged(&self, partition: usize) -> bool {
        let entry = self.api.entry(partition);
        let leader = self.leader(partition).filter(|leader| leader.leader_epoch() == Some(entry.leader_epoch));
        let Some(leader) = leader else { return false };
        let end = leader.log_end.get();
        let has_all = |id: &BrokerId| {
            let node = &self.nodes[id.0 as usize];
            let in_sync = entry.isr.iter().any(|m| m.broker == *id && m.incarnation == node.incarnation);
            in_sync && node.partition(partition).is_some_and(|partition| partition.log_end.get() == end)
        };
        !entry.is_reassigning()
            && entry.replicas.iter().all(has_all)
            && leader.high_watermark.get() == end
            && self.producers.iter().all(|producer| !producer.is_waiting())
    }
}

/// An assignment in a few characters.
pub(crate) fn short(entry: &Assignment) -> String {
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    let isr: Vec<String> = entry.isr.iter().map(|m| format!("{}#{}", m.broker, m.incarnation.0 % 1000)).collect();
    let leader = entry.leader.map_or("nobody".to_owned(), |leader| leader.to_string());
    let Assignment { partition, leader_epoch, partition_epoch, replicas, .. } = entry;
    format!("{partition}: {leader} leads [{}] isr {} at {leader_epoch}/{partition_epoch}", ids(replicas), isr.join(" "))
}
