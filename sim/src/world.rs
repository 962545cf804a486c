//! What happens next: each step the seed picks somebody, who does one thing.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ottla_broker::replica::fetching::round::{self, Meaning};
use ottla_broker::replica::partition::Partition;
use ottla_broker::replica::partition::leadership::Surroundings;
use ottla_broker::replica::partition::reading::{ReadFrom, Reader};
use ottla_config::BrokerSettings;
use ottla_crds::assignment::{Assignment, BrokerId, Incarnation, Live, LiveBroker, RecoveryReport};
use ottla_history::{Checker, Operation, Report};
use ottla_wire::m01_fetch::{EpochEndOffset, FetchPartition, PartitionData};
use ottla_wire::{ErrorCode, Records};
use tokio::time::Instant;

use crate::client::{self, PARTITION, Producer};
use crate::control::{Api, Operator};
use crate::network::Flight;
use crate::node::{MAX_LAG, Node};
use crate::random::Random;

/// Steps with faults.
const STEPS: usize = 6_000;
/// Steps in which it must converge when there are none any more.
const HEALING: usize = 30_000;
/// How long a client or a follower waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of a run.
pub struct Outcome {
    /// What happened, a line each.
    pub trace: String,
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
    let dir = tempfile::tempdir()?;
    let clock = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    clock.block_on(async {
        let mut world = World::new(seed, dir.path())?;
        let played = world.play().await;
        let verdict = played.map(|()| world.checker.report());
        Ok(Outcome { trace: world.trace, verdict })
    })
}

/// Everything.
pub(crate) struct World {
    pub random: Random,
    pub faulty: bool,
    pub api: Api,
    pub operators: Vec<Operator>,
    pub nodes: Vec<Node>,
    flights: Vec<Flight>,
    producers: Vec<Producer>,
    consumed: i64,
    checker: Checker,
    began: Instant,
    trace: String,
}

impl World {
    fn new(seed: u64, dir: &std::path::Path) -> Result<World> {
        let mut random = Random::new(seed);
        let brokers = 3 + random.below(3);
        let there = LiveBroker { incarnation: Incarnation(1), draining: false };
        let live: Live = (0..brokers as i32).map(|id| (BrokerId(id), there)).collect();
        let replicas = (0..3).map(BrokerId).collect();
        let entry = Assignment::create(0, replicas, &live).context("everybody is there")?;
        let nodes = (0..brokers).map(|number| Node::new(dir, number, &entry)).collect::<Result<_>>()?;
        let mut checker = Checker::default();
        checker.observe(Operation::Seeked { reader: 0, partition: PARTITION, offset: 0 });
        Ok(World {
            random,
            faulty: true,
            api: Api::new(entry),
            operators: (0..2).map(|_| Operator { live: live.clone() }).collect(),
            nodes,
            flights: Vec::new(),
            producers: (1..=3).map(Producer::new).collect(),
            consumed: 0,
            checker,
            began: Instant::now(),
            trace: String::new(),
        })
    }

    async fn play(&mut self) -> Result<()> {
        for _ in 0..STEPS {
            self.step().await?;
        }
        self.heal();
        for _ in 0..HEALING {
            self.step().await?;
            if self.has_converged() {
                let leader = self.leader().context("it has converged")?;
                let end = client::read_whole(&leader, &mut self.checker);
                self.note(format!("converged at {end}"));
                return Ok(());
            }
        }
        let entry = self.api.entry();
        anyhow::bail!("it does not converge: {entry:?}");
    }

    async fn step(&mut self) -> Result<()> {
        tokio::time::advance(Duration::from_millis(self.random.below(20) as u64)).await;
        let at = self.random.below(self.nodes.len());
        match self.random.below(100) {
            0..25 => self.deliver()?,
            25..55 => self.run_node(at)?,
            55..65 => self.produce()?,
            65..75 => self.look_for_acknowledgements(),
            75..80 => self.consume(at),
            80..86 => self.look_at(at),
            86..92 => self.operate(),
            92..97 => self.upkeep(at)?,
            _ if self.faulty && self.random.happens(350) => self.fault()?,
            _ => {}
        }
        Ok(())
    }

    /// Something arrives.
    fn deliver(&mut self) -> Result<()> {
        if self.flights.is_empty() {
            return Ok(());
        }
        let flight = self.flights.swap_remove(self.random.below(self.flights.len()));
        if self.faulty && self.random.happens(50) {
            self.note(format!("lost: {}", told(&flight)));
            return Ok(());
        }
        if self.faulty && self.random.happens(50) {
            self.flights.push(flight.clone());
        }
        match flight {
            Flight::Fetch { from, life, incarnation, to, wanted, asked } => {
                let cut = self.nodes[from].cut_off.contains(&to);
                let reader = Reader::Follower { broker: self.nodes[from].id, incarnation: Incarnation(incarnation) };
                let Some(partition) = self.nodes[to].partition().filter(|_| !cut) else { return Ok(()) };
                let data = Box::new(serve(partition, &wanted, reader));
                self.flights.push(Flight::Answer { from: to, to: from, life, asked, data });
            }
            Flight::Answer { from, to, life, asked, data } => {
                let node = &mut self.nodes[to];
                if node.life != life || node.cut_off.contains(&from) {
                    return Ok(());
                }
                let Some(partition) = node.partition().cloned() else { return Ok(()) };
                if let Some(process) = &mut node.process {
                    process.waiting_since = None;
                }
                let before = partition.last_epoch_and_end().1;
                match round::meaning(*data) {
                    Meaning::Copy(copied) => partition.append_from_leader(&asked, &copied)?,
                    Meaning::Cut { epoch, end_offset } => {
                        // An answer that comes twice finds nothing to cut any more.
                        let _ = partition.cut_to_end_of(&asked, epoch, end_offset);
                        node.was_cut();
                    }
                    Meaning::StartAnew { log_start } => {
                        partition.start_anew(&asked, log_start)?;
                        node.was_cut();
                    }
                    Meaning::Rest(_) => {}
                }
                let after = partition.last_epoch_and_end().1;
                if after != before {
                    self.note(format!("{to} follows {from}: {before} → {after}"));
                }
            }
            Flight::IsrWrite { from, next } => {
                if self.api.away {
                    self.flights.push(Flight::IsrWrite { from, next });
                } else {
                    self.write(format!("isr by {from}"), *next);
                }
            }
        }
        Ok(())
    }

    /// A broker looks around and does what is due.
    fn run_node(&mut self, at: usize) -> Result<()> {
        let surroundings = self.surroundings();
        let away = self.api.away;
        let node = &mut self.nodes[at];
        let Some(process) = &node.process else {
            if !self.faulty || self.random.happens(50) {
                let shown = (!away).then(|| self.api.entry());
                node.start(shown, &surroundings)?;
                self.note(format!("start {at}"));
            }
            return Ok(());
        };
        if node.frozen {
            return Ok(());
        }
        if !away {
            let shown = self.api.shown(&process.seen, &mut self.random).clone();
            node.see(&shown, &surroundings)?;
        }
        let Some(partition) = node.partition().cloned() else { return Ok(()) };
        self.keep_in_sync(at, &partition);
        self.fetch(at);
        self.report(at);
        Ok(())
    }

    /// A leader asks for changes of the ISR, again and again until it knows what became of them.
    fn keep_in_sync(&mut self, at: usize, partition: &Partition) {
        let Some(process) = &mut self.nodes[at].process else { return };
        let now = Instant::now();
        let asked = process.asked.take().filter(|(next, _)| partition.is_undecided(next));
        let due = match asked {
            Some((next, when)) if now - when < PATIENCE => {
                process.asked = Some((next, when));
                return;
            }
            Some((next, _)) => Some(next),
            None => partition.propose_isr().map(|change| change.next),
        };
        let Some(next) = due else { return };
        process.asked = Some((next.clone(), now));
        self.note(format!("{at} asks for {}", short(&next)));
        self.flights.push(Flight::IsrWrite { from: at, next: Box::new(next) });
    }

    /// A follower asks its leader, if it is not waiting for an answer.
    fn fetch(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let Some(partition) = node.partition().cloned() else { return };
        let (Some((leader, epoch)), Some(process)) = (partition.follows(), &mut node.process) else { return };
        let now = Instant::now();
        if process.waiting_since.is_some_and(|since| now - since < PATIENCE) {
            return;
        }
        let Some(asked) = partition.next_fetch(epoch) else { return };
        process.waiting_since = Some(now);
        let me = ottla_broker::image::Me { id: node.id, incarnation: node.incarnation };
        let key = (partition.topic_id, partition.number);
        let request = round::request(me, &[round::Asked { key, next: asked }], &BrokerSettings::default());
        let incarnation = request.replica_state.replica_epoch;
        let wanted = request.topics.into_iter().flat_map(|topic| topic.partitions);
        let (life, to) = (node.life, leader.0 as usize);
        let fetches = wanted.map(|wanted| Flight::Fetch { from: at, life, incarnation, to, wanted, asked });
        self.flights.extend(fetches);
    }

    /// A broker that can't lead says what it still has, while nobody leads.
    fn report(&mut self, at: usize) {
        let node = &self.nodes[at];
        let (Some(process), Some(partition)) = (&node.process, node.partition()) else { return };
        let seen = process.seen.clone();
        if !seen.asks_for_report(node.id, node.incarnation) {
            return;
        }
        let (last_epoch, log_end) = partition.last_epoch_and_end();
        let report = RecoveryReport { broker: node.id, incarnation: node.incarnation, last_epoch, log_end };
        if self.api.report(&seen, report) {
            self.note(format!("{at} reports {last_epoch}/{log_end}"));
        }
    }

    /// A producer sends its record to a broker that believes that it leads.
    fn produce(&mut self) -> Result<()> {
        let leaders: Vec<usize> = (0..self.nodes.len()).filter(|at| self.leads(*at)).collect();
        let Some(&at) = self.random.pick(&leaders) else { return Ok(()) };
        let producer = self.random.below(self.producers.len());
        let producer = &mut self.producers[producer];
        if !self.faulty && !producer.is_waiting() {
            return Ok(()); // it is time to come to an end
        }
        if producer.sent.as_ref().is_some_and(|(.., when)| Instant::now() - *when < PATIENCE) {
            return Ok(());
        }
        let Some(partition) = self.nodes[at].partition() else { return Ok(()) };
        let line = match partition.append_from_client(producer.batch(), true) {
            Ok(appended) => {
                let line = format!("at {at}: {} in epoch {}", appended.base_offset, appended.leader_epoch);
                producer.sent = Some((at, self.nodes[at].life, appended, Instant::now()));
                line
            }
            Err(error) => format!("refused by {at}: {error}"),
        };
        let line = format!("{:?} {line}", producer.id);
        self.note(line);
        Ok(())
    }

    /// Producers hear what became of their records.
    fn look_for_acknowledgements(&mut self) {
        for producer in &mut self.producers {
            let Some((at, life, appended, _)) = &producer.sent else { continue };
            let node = &self.nodes[*at];
            if node.frozen {
                continue;
            }
            let known = node.partition().filter(|_| node.life == *life).map(|p| p.is_committed(appended));
            match known {
                Some(Ok(true)) => {
                    let offset = appended.base_offset;
                    let _ = writeln!(self.trace, "{:?} acknowledged at {offset}", producer.id);
                    producer.acknowledged(offset, &mut self.checker);
                }
                Some(Ok(false)) => {}
                Some(Err(_)) | None => producer.sent = None,
            }
        }
    }

    fn consume(&mut self, at: usize) {
        if !self.leads(at) {
            return;
        }
        let Some(partition) = self.nodes[at].partition() else { return };
        let read = client::consume(partition, &mut self.consumed, &mut self.checker);
        if read > 0 {
            self.note(format!("consumed from {at} up to {}", self.consumed));
        }
    }

    /// An operator looks at a broker.
    fn look_at(&mut self, at: usize) {
        let operator = self.random.below(self.operators.len());
        let (id, truth) = (self.nodes[at].id, self.nodes[at].truth());
        let live = &mut self.operators[operator].live;
        match truth {
            Some(truth) => _ = live.insert(id, truth),
            None => _ = live.remove(&id),
        }
    }

    /// An operator does what is due.
    fn operate(&mut self) {
        let operator = self.random.below(self.operators.len());
        if self.api.away {
            return;
        }
        if let Some(next) = self.operators[operator].step(self.api.entry()) {
            self.write(format!("operator {operator}"), next);
        }
    }

    fn upkeep(&mut self, at: usize) -> Result<()> {
        if self.nodes[at].frozen {
            return Ok(());
        }
        if self.random.happens(500) {
            self.nodes[at].flush();
        } else {
            self.nodes[at].keep();
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, who: String, next: Assignment) {
        let line = format!("{who}: {}", short(&next));
        let landed = self.api.write(next);
        self.note(format!("{line}{}", if landed { "" } else { " (stale)" }));
    }

    pub(crate) fn note(&mut self, line: String) {
        let at = Instant::now() - self.began;
        let _ = writeln!(self.trace, "{:>7} {line}", at.as_millis());
    }

    fn leads(&self, at: usize) -> bool {
        self.nodes[at].partition().is_some_and(|partition| partition.leader_epoch().is_some())
    }

    fn surroundings(&self) -> Surroundings {
        let dead = self.nodes.iter().filter(|node| node.truth().is_none()).map(|node| node.id).collect();
        let draining = self.nodes.iter().filter(|node| node.draining).map(|node| node.id).collect();
        Surroundings { dead, draining, max_lag: MAX_LAG }
    }

    fn leader(&self) -> Option<Arc<Partition>> {
        let leader = self.api.entry().leader?;
        self.nodes[leader.0 as usize].partition().cloned()
    }

    /// Everybody has everything, and nobody waits.
    fn has_converged(&self) -> bool {
        let entry = self.api.entry();
        let Some(leader) = self.leader().filter(|leader| leader.leader_epoch() == Some(entry.leader_epoch)) else {
            return false;
        };
        let end = leader.log_end.get();
        let has_all = |id: &BrokerId| {
            let node = &self.nodes[id.0 as usize];
            let in_sync = entry.isr.iter().any(|m| m.broker == *id && m.incarnation == node.incarnation);
            in_sync && node.partition().is_some_and(|partition| partition.log_end.get() == end)
        };
        !entry.is_reassigning()
            && entry.replicas.iter().all(has_all)
            && leader.high_watermark.get() == end
            && self.producers.iter().all(|producer| !producer.is_waiting())
    }
}

/// A leader's answer to a fetch, as the broker's handler gives it.
fn serve(
    partition: &ottla_broker::replica::partition::Partition,
    wanted: &FetchPartition,
    reader: Reader,
) -> PartitionData {
    let from = ReadFrom {
        offset: wanted.fetch_offset,
        current_leader_epoch: wanted.current_leader_epoch,
        last_fetched_epoch: wanted.last_fetched_epoch,
    };
    let answer = PartitionData { partition_index: wanted.partition, ..PartitionData::default() };
    match partition.read(&from, 4 << 10, true, reader) {
        Ok(read) => PartitionData {
            high_watermark: read.high_watermark,
            last_stable_offset: read.last_stable,
            log_start_offset: read.log_start,
            diverging_epoch: read
                .diverging
                .map_or(answer.diverging_epoch.clone(), |(epoch, end_offset)| EpochEndOffset { epoch, end_offset }),
            records: Some(Records(read.chunk.into_iter().collect())),
            ..answer
        },
        Err(error) => PartitionData {
            error_code: ErrorCode::from(&error),
            high_watermark: -1,
            log_start_offset: error.log_start().unwrap_or(-1),
            records: Some(Records::default()),
            ..answer
        },
    }
}

fn told(flight: &Flight) -> String {
    match flight {
        Flight::Fetch { from, to, .. } => format!("a fetch of {from} to {to}"),
        Flight::Answer { from, to, .. } => format!("an answer of {from} to {to}"),
        Flight::IsrWrite { from, next } => format!("a write of {from}: {}", short(next)),
    }
}

/// An assignment in a few characters.
fn short(entry: &Assignment) -> String {
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    let isr: Vec<String> = entry.isr.iter().map(|m| format!("{}#{}", m.broker, m.incarnation.0)).collect();
    let leader = entry.leader.map_or("nobody".to_owned(), |leader| leader.to_string());
    let Assignment { leader_epoch, partition_epoch, replicas, .. } = entry;
    format!("{leader} leads [{}] isr {} at {leader_epoch}/{partition_epoch}", ids(replicas), isr.join(" "))
}
