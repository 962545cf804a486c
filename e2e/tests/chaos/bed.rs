//! What all stories share: three brokers, the load on them, choices by a seed, and the judgement.

use anyhow::{Result, ensure};
use ottla_e2e::choices::{number, seed};
use ottla_e2e::need::met;
use ottla_e2e::target::{Maker, needs, ottla_program};
use ottla_e2e::trio::{BROKERS, Setting, Trio};
use ottla_e2e::wait::until;
use ottla_e2e::witness::{Load, Testimony, Witnesses};
use ottla_wire::m03_metadata::MetadataResponsePartition;
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub const TOPIC: &str = "history";
pub const PARTITIONS: u32 = 12;
const LOAD: Load = Load { producers: 2, pace: Duration::from_millis(2), members: 2, java: true };
pub const LIMIT: Duration = Duration::from_secs(240);
/// How long a story makes trouble by default.
const SECONDS: u64 = 10;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub struct Chaos {
    pub trio: Trio,
    pub witnesses: Witnesses,
    random: u64,
    length: Duration,
    until: Instant,
    rounds: usize,
    faults: BTreeMap<&'static str, usize>,
}

/// Plays a story and judges it.
pub fn play(name: &str, story: impl FnOnce(&mut Chaos) -> Result<()>) -> Result<()> {
    play_and_tell(name, story).map(drop)
}

/// The same on brokers with these settings.
pub fn play_with(settings: &[Setting], name: &str, story: impl FnOnce(&mut Chaos) -> Result<()>) -> Result<()> {
    play_with_and_tell(settings, name, story).map(drop)
}

/// The same; hands over what the clients saw.
pub fn play_and_tell(name: &str, story: impl FnOnce(&mut Chaos) -> Result<()>) -> Result<Option<Testimony>> {
    play_with_and_tell(&[], name, story)
}

/// Its holder is the only test with three brokers.
pub fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn play_with_and_tell(
    settings: &[Setting],
    name: &str,
    story: impl FnOnce(&mut Chaos) -> Result<()>,
) -> Result<Option<Testimony>> {
    if !met(&needs()) {
        return Ok(None);
    }
    let _alone = alone();
    let seed = seed();
    let maker = Maker::under_test();
    let trio = Trio::start_with(maker, &ottla_program()?, settings)?;
    // Segments that are sealed soon: there is more that can go wrong.
    trio.create_topic(TOPIC, PARTITIONS as i32, &[("segment.ms", "2000")])?;
    let logs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos").join(name.replace(' ', "-"));
    let failed = |trio: &Trio, error: anyhow::Error| match trio.save_logs(&logs) {
        Ok(()) => error.context(format!("OTTLA_CHAOS_SEED={seed}; logs are in {}", logs.display())),
        Err(_) => error,
    };
    let witnesses = Witnesses::begin(&trio.bootstrap(), TOPIC, PARTITIONS, LOAD);
    let witnesses = witnesses.map_err(|error| failed(&trio, error))?;
    let length = Duration::from_secs(number("OTTLA_CHAOS_SECONDS").unwrap_or(SECONDS));
    let until = Instant::now() + length;
    // An xorshift must not be zero.
    let mut chaos = Chaos { trio, witnesses, random: seed.max(1), length, until, rounds: 0, faults: BTreeMap::new() };
    let played = chaos.acknowledged_more(100).and_then(|()| story(&mut chaos)).and_then(|()| {
        chaos.trio.heal()?;
        chaos.trio.wait_until_whole(TOPIC)
    });
    let Chaos { trio, witnesses, faults, .. } = chaos;
    let told = played.and_then(|()| witnesses.finish());
    let judged = told.and_then(|told| {
        let errors: BTreeSet<String> = told.given_up.iter().cloned().collect();
        let given_up = if errors.is_empty() { String::new() } else { format!("failed: {errors:?}; ") };
        tell(&format!("{faults:?}; longest pause {}; {given_up}{}", told.longest_pause, told.report), name, seed);
        ensure!(told.report.is_good(), "{}", told.report);
        Ok(Some(told))
    });
    judged.map_err(|error| failed(&trio, error))
}

fn tell(what: &str, name: &str, seed: u64) {
    // Not eprintln: the test harness would swallow it.
    let _ = writeln!(std::io::stderr(), "chaos, {name}: OTTLA_CHAOS_SEED={seed}: {what}");
}

impl Chaos {
    /// Whether there is time for another round; there always is for one.
    pub fn goes_on(&mut self) -> bool {
        self.rounds += 1;
        self.rounds == 1 || Instant::now() < self.until
    }

    /// How long the story makes trouble.
    pub fn seconds(&self) -> Duration {
        self.length
    }

    /// Ends a broker's process with SIGKILL.
    pub fn kill(&mut self, id: u16) -> Result<()> {
        self.count("kill -9");
        self.trio.end_broker(id, Signal::KILL)
    }

    /// Kills API and operator and starts them again.
    pub fn restart_control(&mut self) -> Result<()> {
        self.count("API and operator killed");
        self.trio.kill_control()?;
        self.trio.start_control()
    }

    /// The partitions that a broker leads.
    pub fn led_by(&self, id: u16) -> Result<Vec<usize>> {
        let partitions = self.trio.partitions(TOPIC)?;
        ensure!(partitions.len() == PARTITIONS as usize, "the topic's partitions: {partitions:?}");
        let led = |one: &MetadataResponsePartition| one.leader_id == i32::from(id);
        Ok((0..).zip(&partitions).filter(|(_, one)| led(one)).map(|(number, _)| number).collect())
    }

    /// Waits until others lead everything.
    pub fn wait_until_it_leads_nothing(&self, id: u16) -> Result<()> {
        until(LIMIT, "others to lead", || {
            let partitions = self.trio.partitions(TOPIC).unwrap_or_default();
            let by_others = |one: &MetadataResponsePartition| one.leader_id >= 0 && one.leader_id != i32::from(id);
            Ok((!partitions.is_empty() && partitions.iter().all(by_others)).then_some(()))
        })
    }

    /// Waits until a broker leads the partitions of which it is the preferred replica.
    pub fn wait_until_it_leads_what_it_is_preferred_for(&self, id: u16) -> Result<()> {
        let id = i32::from(id);
        until(LIMIT, "the preferred replica to lead", || {
            let partitions = self.trio.partitions(TOPIC).unwrap_or_default();
            let mut preferred = partitions.iter().filter(|one| one.replica_nodes.first() == Some(&id)).peekable();
            Ok((preferred.peek().is_some() && preferred.all(|one| one.leader_id == id)).then_some(()))
        })
    }

    /// Counts a fault, for the report.
    pub fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % n
    }

    /// Any broker.
    pub fn any_broker(&mut self) -> u16 {
        self.below(u64::from(BROKERS)) as u16
    }

    /// The leader of any partition.
    pub fn leader(&mut self) -> Result<u16> {
        let partition = self.below(u64::from(PARTITIONS)) as usize;
        // None answers while all come back, and one that just came back may not know the topic yet.
        until(LIMIT, "a leader", || Ok(self.trio.leader(TOPIC, partition).unwrap_or_default()))
    }

    /// Waits until so many more records were acknowledged.
    pub fn acknowledged_more(&self, records: u64) -> Result<()> {
        let enough = self.witnesses.acknowledged() + records;
        until(LIMIT, "more acknowledgements", || Ok((self.witnesses.acknowledged() >= enough).then_some(())))
    }
}
