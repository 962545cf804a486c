//! What happens next: each step the seed picks somebody, who does one thing.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ottla_broker::env::simulated as env;
use ottla_broker::replica::partition::Partition;
use ottla_history::{Id, Partition as Numbered, Report, transactions};
use ottla_rules::assignment::{Assignment, BrokerId, Incarnation, LeaderEpoch, Live, LiveBroker};
use uuid::Uuid;

use crate::acts::Flight;
use crate::client::{self, BEGINNING_MS, Consumer, Producer};
use crate::clients::{Deleter, Group};
use crate::control::{Api, Operator};
use crate::disk::{Installed, Trouble};
use crate::errand::Errand;
use crate::fault::{Counts, Fault};
use crate::groups::Members;
use crate::judges::Judges;
use crate::late::{Seen, Written};
use crate::ledger::Ledger;
use crate::loyal::Loyal;
use crate::network::Network;
use crate::node::Node;
use crate::overtaking::Overtaking;
use crate::random::Random;
use crate::topics::{self, GROUPS, JOBS, MOST_ENTRIES, OFFSETS, PARTITIONS, STATE, Taste, Told};

/// Steps with faults.
const STEPS: usize = 8_000;
/// How often, in a thousand times that there may be one, there is a fault.
const FAULTS: usize = 500;
/// After so many steps the copies of a partition are compared.
const COMPARED_EACH: u64 = 100;
/// Steps in which it must converge when there are none any more.
const HEALING: usize = 60_000;
/// Every so many seeds have transactions: they take longer, and the others play as if there were none.
const TRANSACTIONS_IN: u64 = 4;
/// In every second of those, from this one on, who makes transactions is a job, and no record is deleted: all that
/// jobs have read is judged.
const JOBS_IN: u64 = 8;
const JOBS_FROM: u64 = 4;
/// In as many as have transactions, two seeds after those, groups have members.
const MEMBERS_IN: u64 = 4;
/// In every so many seeds, from the first one on, every record is flushed before it is acknowledged.
const FLUSHES_IN: u64 = 8;
/// In as many, four seeds after those, brokers forget producers soon, for the time in milliseconds below.
const EXPIRES_IN: u64 = 8;
const PRODUCER_EXPIRATION_MS: u32 = 4_000;
/// In as many, two seeds after the first, brokers lose sight of the producers' topic, and a client stays with the
/// coordinator of its group.
const UNSEEN_IN: u64 = 8;
const UNSEEN_FROM: u64 = 3;
/// Numbers of consumers with read_committed.
const COMMITTED_READERS: u32 = 900;

/// What became of a run.
pub struct Outcome {
    /// What happened, a line each.
    pub trace: String,
    /// How many things happened.
    pub steps: u64,
    /// How often each fault was played.
    pub counts: Counts,
    /// How the transactions ended, and what consumers saw of them; all zero without any.
    pub transactions: transactions::Counts,
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
    let mut ids = Random::new(!seed);
    env::draw_ids(Some(Box::new(move || Uuid::from_u64_pair(ids.next(), ids.next()))));
    let outcome = World::new(seed, dir.path()).and_then(|mut world| {
        let _disks = Installed::new(world.nodes.iter().map(|node| node.disk.clone()).collect());
        ottla_client::simulated::connect_by(Some(Box::new(world.network.connector())));
        env::copy_at_most([usize::MAX, 0, 0][world.random.below(3)]);
        world.begin()?;
        let played = world.play();
        world.nodes.clear(); // closes files before their disks are gone
        let World { trace, steps, counts, transactions, checker, .. } = world;
        let verdict = played.map(|()| checker.records.report());
        Ok(Outcome { trace, steps, counts, transactions, verdict })
    });
    env::draw_ids(None);
    ottla_client::simulated::connect_by(None);
    env::copy_at_most(usize::MAX);
    env::set_wall_clock(None);
    outcome
}

/// Everything.
pub(crate) struct World {
    pub random: Random,
    pub faulty: bool,
    /// Since the world began.
    pub now: Duration,
    pub api: Api,
    /// The least that `min.insync.replicas` ever is: as many copies does an acknowledged record have.
    pub lowest_min_in_sync: usize,
    /// The settings that brokers see, by how far `min.insync.replicas` is above its least.
    told: [Told; 2],
    /// Somebody deletes records.
    pub taste_deletes: bool,
    /// Every record is on the devices of all in-sync replicas before it is acknowledged (`flush.messages` 1).
    pub taste_flushes: bool,
    /// Brokers forget producers after this time. Their clocks are right then.
    pub producer_expiration: Option<Duration>,
    /// When what brokers forget producers of was written.
    written: Written,
    pub operators: Vec<Operator>,
    pub nodes: Vec<Node>,
    /// How far ahead a clock has ever been, in milliseconds.
    pub most_skew_ms: i64,
    pub network: Network,
    pub flights: Vec<Flight>,
    pub producers: Vec<Producer>,
    pub consumers: Vec<Consumer>,
    pub deleter: Deleter,
    pub group: Group,
    /// There in seeds in which brokers lose sight of the producers' topic.
    pub loyal: Option<Loyal>,
    pub errand: Option<Errand>,
    pub overtaking: Option<Overtaking>,
    pub members: Option<Members>,
    pub ledger: Option<Ledger>,
    pub checker: Judges,
    /// How far consumers have got in each partition.
    pub shown: [i64; PARTITIONS],
    pub counts: Counts,
    /// Counted when all is over.
    transactions: transactions::Counts,
    steps: u64,
    /// Where the disks are.
    folder: String,
    trace: String,
}

impl World {
    fn new(seed: u64, dir: &std::path::Path) -> Result<World> {
        let mut random = Random::new(seed);
        let brokers = 3 + random.below(3);
        let factor = 3 + random.below(brokers - 2);
        let lowest_min_in_sync = if random.happens(200) { 1 } else { 2 };
        let mut taste = Taste {
            retention_bytes: random.happens(250).then_some(4_000),
            flush_messages: random.happens(250).then_some(1 + random.below(3) as u32),
            producer_expiration_ms: (seed % EXPIRES_IN == 5).then_some(PRODUCER_EXPIRATION_MS),
        };
        if seed % FLUSHES_IN == 1 {
            taste.flush_messages = Some(1);
        }
        let has_jobs = seed % JOBS_IN == JOBS_FROM;
        let taste_deletes = random.happens(500) && !has_jobs;
        if has_jobs {
            taste.retention_bytes = None;
        }
        // The entries' incarnations are those that the brokers draw when they begin.
        let there = LiveBroker { incarnation: Incarnation(1), draining: false };
        let live: Live = (0..brokers as i32).map(|id| (BrokerId(id), there)).collect();
        let replicas = |first: usize| (0..factor).map(|n| BrokerId(((first + n) % brokers) as i32)).collect();
        let entry = |entry: usize| Assignment::create(topics::place(entry).1, replicas(entry), &live);
        let ledger = seed.is_multiple_of(TRANSACTIONS_IN).then(|| Ledger::new(has_jobs));
        let count = if ledger.is_some() { MOST_ENTRIES } else { STATE };
        let entries: Vec<Assignment> = (0..count).map(entry).collect::<Option<_>>().context("all are there")?;
        let nodes = (0..brokers).map(|number| Node::new(dir, number)).collect::<Result<_>>()?;
        let mut checker = Judges::new(has_jobs);
        // One of them has sent nearly as many records as can be counted, and one does not count.
        let first = [Some(0), Some(0), Some(i32::MAX - 20), Some(0), None, None];
        let is_even = random.happens(700);
        let producer = |(number, first)| Producer::new(number as u32, number % PARTITIONS, first, is_even);
        let mut consumers: Vec<Consumer> = (0..PARTITIONS).map(|n| Consumer::new(n as u32, n, None)).collect();
        consumers.extend((0..PARTITIONS).map(|n| Consumer::new((PARTITIONS + n) as u32, n, Some("rack 1".into()))));
        // Jobs are such consumers themselves.
        if ledger.is_some() && !has_jobs {
            consumers.extend((0..PARTITIONS).map(|n| {
                let number = COMMITTED_READERS + n as u32;
                Consumer { is_committed: true, ..Consumer::new(number, n, None) }
            }));
        }
        consumers.iter_mut().for_each(|consumer| consumer.seek(0, &mut checker));
        Ok(World {
            random,
            faulty: true,
            now: Duration::ZERO,
            api: Api::new(entries, lowest_min_in_sync),
            lowest_min_in_sync,
            told: [0, 1].map(|more| Told::new(lowest_min_in_sync + more, taste)),
            taste_deletes,
            taste_flushes: taste.flush_messages == Some(1),
            producer_expiration: taste.producer_expiration_ms.map(|ms| Duration::from_millis(ms.into())),
            written: Written::default(),
            operators: Vec::new(),
            nodes,
            most_skew_ms: 0,
            network: Network::default(),
            flights: Vec::new(),
            producers: first.into_iter().enumerate().map(producer).collect(),
            consumers,
            deleter: Deleter::default(),
            group: Group::default(),
            errand: None,
            overtaking: None,
            loyal: (seed % UNSEEN_IN == UNSEEN_FROM).then(|| Loyal::new(brokers)),
            members: (seed % MEMBERS_IN == 2).then(Members::new),
            ledger,
            checker,
            shown: [0; PARTITIONS],
            counts: Counts::new(),
            transactions: transactions::Counts::default(),
            steps: 0,
            folder: dir.display().to_string(),
            trace: String::new(),
        })
    }

    /// The brokers come, and the topics are placed.
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
        let told = self.told();
        for at in 0..self.nodes.len() {
            self.set_clock(at);
            let around = self.around();
            ensure!(self.nodes[at].start(Some(&entries), &told, &around, self.now)?, "a broker does not start");
            self.nodes[at].keep(self.now);
        }
        Ok(())
    }

    fn play(&mut self) -> Result<()> {
        for _ in 0..STEPS {
            self.step()?;
        }
        self.heal();
        for _ in 0..HEALING {
            self.step()?;
            if self.unfinished().next().is_none() {
                return self.judge();
            }
        }
        bail!("after all faults had ended, these did not: {}", self.unfinished().collect::<Vec<_>>().join("; "));
    }

    /// Reads everything, when all is well.
    fn judge(&mut self) -> Result<()> {
        self.producers.iter_mut().for_each(|producer| producer.end(&mut self.checker.records));
        for partition in 0..PARTITIONS {
            let leader = self.leader(partition).context("it has converged")?;
            let is_late = |offset, id: Id| {
                let made = self.producers.get(id.producer as usize).and_then(|one| one.repeated(id.sequence));
                let (written, expiration) = (&self.written, self.producer_expiration);
                made.zip(expiration).is_some_and(|(made, after)| written.is_late(partition, offset, made, after))
            };
            let (start, end) = client::read_whole(&leader, &mut self.checker, self.ledger.is_some(), is_late);
            self.note(format!("partition {partition} converged at {start}–{end}"));
            if start > 0 {
                *self.counts.entry(Fault::LogStart).or_default() += 1;
            }
            let deleted = self.deleter.acknowledged[partition];
            ensure!(start >= deleted, "partition {partition} begins at {start}, and was deleted up to {deleted}");
        }
        (0..self.api.count()).try_for_each(|entry| self.compare_copies(entry))?;
        let compactions: u64 = self.nodes.iter().map(Node::compactions).sum();
        if compactions > 0 {
            *self.counts.entry(Fault::Compacted).or_default() += compactions;
        }
        if self.ledger.is_some() {
            for (group, partition) in self.groups_of_jobs() {
                let offset = self.group.at_end[group][partition].context("it was asked for when all was healed")?;
                let (group, partition) = (group as u32, Numbered(partition as u32));
                let read = transactions::Operation::GroupRead { group, partition, offset };
                self.checker.transactions.observe(read);
            }
            let report = std::mem::take(&mut self.checker.transactions).report();
            self.note(format!("{report}"));
            self.transactions = report.counts;
            // Jobs leave no request behind that may come in a later transaction.
            let is_good = report.is_good() && (!self.has_jobs() || report.delayed_kinds().is_empty());
            ensure!(is_good, "{report}");
        }
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        self.steps += 1;
        self.now += Duration::from_millis(1 + self.random.below(19) as u64);
        let at = self.random.below(self.nodes.len());
        let entry = self.random.below(self.api.count());
        self.set_clock(at);
        match self.random.below(100) {
            0..30 => {
                self.deliver();
                self.hear()?;
            }
            30..62 => self.run_node(at, entry)?,
            62..76 => self.act()?,
            76..80 => self.land(),
            80..85 => self.look_at(at),
            85..92 => self.operate(entry),
            92..96 => self.upkeep(at),
            _ if self.faulty && self.random.happens(self.faults()) => self.fault()?,
            _ => {}
        }
        for at in 0..self.nodes.len() {
            self.see_written(at);
            self.look_after(at)?;
        }
        if self.steps.is_multiple_of(COMPARED_EACH) {
            let entry = self.random.below(self.api.count());
            self.compare_copies(entry)?;
        }
        self.see_deserted();
        self.run_errand();
        self.run_overtaking();
        Ok(())
    }

    /// Takes note of what a broker has written just now, where that matters.
    fn see_written(&mut self, at: usize) {
        if self.producer_expiration.is_none() {
            return;
        }
        for number in 0..PARTITIONS {
            let partition = self.nodes[at].partition(number);
            let seen = partition
                .map(|partition| Seen { leads: partition.leader_epoch().is_some(), end: partition.log_end.get() });
            self.written.look(at, number, seen, self.now);
        }
    }

    /// See [`FAULTS`]. A transaction and a rebalance take many steps, and few would end otherwise; a job needs both.
    fn faults(&self) -> usize {
        match (&self.ledger, &self.members) {
            (Some(ledger), _) if ledger.has_jobs => FAULTS / 10,
            // Who is deserted knows it after seconds, if nothing else happens to it.
            (None, None) if self.loyal.is_some() => FAULTS * 3 / 10,
            (None, None) => FAULTS,
            (Some(_), _) | (_, Some(_)) => FAULTS * 3 / 10,
        }
    }

    /// What becomes of a machine and a process whose disk has failed.
    fn look_after(&mut self, at: usize) -> Result<()> {
        let node = &mut self.nodes[at];
        if node.is_up() {
            node.ran = self.now;
        }
        let refused = node.disk.take_refused();
        if node.disk.trouble() == Trouble::DiesAfter(0) {
            if !node.is_up() {
                *self.counts.entry(Fault::CrashDuringRecovery).or_default() += 1;
            }
            return self.cut_power(at);
        }
        let has_cut = std::mem::take(&mut node.has_cut);
        if has_cut && self.faulty && self.may_lose_content(at) && self.random.happens(300) {
            return self.cut_power(at);
        }
        let node = &mut self.nodes[at];
        if node.gives_up() {
            let lost = self.nodes[at].lose_unwritten(&mut self.random)?;
            self.happened(Fault::SyncFails, format!("{at} ends: its disk has failed, {lost} files have lost pages"));
        } else if refused {
            self.happened(Fault::NoSpace, format!("the disk of {at} has refused something"));
        }
        Ok(())
    }

    /// All operators believe that a broker is dead, and see this entry as it is.
    pub(crate) fn believed_dead(&mut self, broker: BrokerId, entry: usize) {
        for operator in &mut self.operators {
            operator.live.remove(&broker);
            operator.seen[entry].clone_from(self.api.entry(entry));
        }
    }

    /// One that was cut off from another reaches it again.
    pub(crate) fn let_reach(&mut self, from: usize, to: usize) {
        self.nodes[from].cut_off.retain(|other| *other != to);
    }

    /// What is done from now on happens at this broker, and by its clock.
    pub(crate) fn set_clock(&self, at: usize) {
        let passed = self.now.as_millis() as i64;
        env::set_wall_clock(Some(BEGINNING_MS + passed + self.nodes[at].skew_ms));
    }

    fn upkeep(&mut self, at: usize) {
        if self.nodes[at].frozen {
            return;
        }
        let api_is_there = !self.api.away && !self.nodes[at].cut_off_from_api;
        self.nodes[at].renew(api_is_there, self.now);
        self.nodes[at].keep(self.now);
    }

    /// The settings that brokers see now.
    pub(crate) fn told(&self) -> Told {
        self.told[self.api.min_in_sync - self.lowest_min_in_sync].clone()
    }

    pub(crate) fn note(&mut self, line: String) {
        // A trace is the same wherever it is played.
        let line = line.replace(&self.folder, "");
        let _ = writeln!(self.trace, "{:>7} {line}", self.now.as_millis());
    }

    /// Notes and counts a fault.
    pub(crate) fn happened(&mut self, fault: Fault, line: String) {
        *self.counts.entry(fault).or_default() += 1;
        self.note(line);
    }

    /// The epoch in which a broker believes that it leads.
    pub(crate) fn leader_epoch(&self, at: usize, entry: usize) -> Option<LeaderEpoch> {
        self.nodes[at].partition(entry)?.leader_epoch()
    }

    pub(crate) fn leads_something(&self, at: usize) -> bool {
        (0..self.api.count()).any(|entry| self.leader_epoch(at, entry).is_some())
    }

    fn leader(&self, entry: usize) -> Option<Arc<Partition>> {
        let leader = self.api.entry(entry).leader?;
        self.nodes[leader.0 as usize].partition(entry)
    }

    fn has_jobs(&self) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| ledger.has_jobs)
    }

    /// The groups that there are.
    pub(crate) fn groups(&self) -> &'static [usize] {
        match (&self.members, self.has_jobs()) {
            (Some(_), _) => &[0, 1, 2],
            (None, true) => &[0, JOBS, JOBS + 1],
            (None, false) => &[0],
        }
    }

    /// The groups whose members are jobs, each with each partition.
    fn groups_of_jobs(&self) -> Vec<(usize, usize)> {
        let groups = self.groups().iter().filter(|group| **group >= JOBS);
        groups.flat_map(|group| (0..PARTITIONS).map(|partition| (*group, partition))).collect()
    }

    /// Whether all is healed, and no transaction is open.
    pub(crate) fn is_at_rest(&self) -> bool {
        let is_done = || self.ledger.as_ref().is_none_or(Ledger::is_done);
        !self.faulty && is_done() && (0..PARTITIONS).all(|partition| self.open_in(partition).is_none())
    }

    /// Everybody has everything, nobody waits, and the group knows where it is.
    /// What has to end yet before the seed can be judged, each in words.
    fn unfinished(&self) -> impl Iterator<Item = String> {
        let is_unread = |group: &usize| self.group.at_end[*group].iter().all(Option::is_none);
        let unread = self.groups().iter().filter(move |group| **group < JOBS && is_unread(group));
        let jobs = self.groups_of_jobs().into_iter();
        let unsettled = jobs.filter(|(group, partition)| self.group.at_end[*group][*partition].is_none());
        let waiting = self.producers.iter().filter(|producer| producer.is_waiting() && producer.is_idempotent());
        let apart = (0..self.api.count()).filter(|entry| !self.has_converged(*entry));
        let at_work = self.ledger.iter().filter(|ledger| !ledger.is_done());
        let open = (0..PARTITIONS).filter(|_| self.ledger.is_some()).filter_map(|partition| self.open_in(partition));
        (unread.map(|group| format!("group {group} has not read its offsets")))
            .chain(unsettled.map(|(group, partition)| format!("{} has no stable offset of {partition}", GROUPS[group])))
            .chain(waiting.map(|_| "an idempotent producer waits".to_owned()))
            .chain(apart.map(|entry| format!("{} has not converged", short(entry, self.api.entry(entry)))))
            .chain(at_work.map(|_| "a producer is in a transaction".to_owned()))
            .chain(open)
    }

    /// Which transactions are open in a partition, also those of producers that are gone.
    fn open_in(&self, partition: usize) -> Option<String> {
        let Some(leader) = self.leader(partition) else { return Some(format!("{partition} has no leader")) };
        let (stable, committed) = (leader.last_stable.get(), leader.high_watermark.get());
        if stable == committed {
            return None;
        }
        let producers = leader.active_producers().unwrap_or_default();
        let open: Vec<_> = producers.iter().filter(|producer| producer.transaction_start.is_some()).collect();
        Some(format!("{partition} is stable up to {stable} of {committed}, with these transactions open: {open:?}"))
    }

    fn has_converged(&self, number: usize) -> bool {
        let entry = self.api.entry(number);
        let leader = self.leader(number).filter(|leader| leader.leader_epoch() == Some(entry.leader_epoch));
        let Some(leader) = leader else { return false };
        let end = leader.log_end.get();
        let has_all = |id: &BrokerId| {
            let node = &self.nodes[id.0 as usize];
            let in_sync = entry.isr.iter().any(|m| m.broker == *id && m.incarnation == node.incarnation);
            let has_it = |copy: Arc<Partition>| copy.log_end.get() == end && copy.high_watermark.get() == end;
            in_sync && node.partition(number).is_some_and(has_it)
        };
        !entry.is_reassigning() && entry.replicas.iter().all(has_all) && leader.high_watermark.get() == end
    }
}

/// An assignment in a few characters.
pub(crate) fn short(number: usize, entry: &Assignment) -> String {
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    let isr: Vec<String> = entry.isr.iter().map(|m| format!("{}#{}", m.broker, m.incarnation.0 % 1000)).collect();
    let leader = entry.leader.map_or("nobody".to_owned(), |leader| leader.to_string());
    let Assignment { leader_epoch, partition_epoch, replicas, log_start, .. } = entry;
    let number = match number {
        OFFSETS => "offsets".to_owned(),
        STATE => "transactions".to_owned(),
        partition => partition.to_string(),
    };
    let begins = log_start.map_or(String::new(), |offset| format!(" and begins at {offset}"));
    let (replicas, isr) = (ids(replicas), isr.join(" "));
    format!("{number}: {leader} leads [{replicas}] isr {isr} at {leader_epoch}/{partition_epoch}{begins}")
}
