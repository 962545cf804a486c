//! The story of a chain: brokers and members are killed or frozen, one after the other, until the source is empty.
//!
//! `OTTLA_CHAIN_RECORDS`, `OTTLA_CHAIN_STAGES` and `OTTLA_CHAIN_MEMBERS` make a chain longer, `OTTLA_CHAIN_PACE` says
//! how many milliseconds lie between two records, `OTTLA_CHAOS_SEED` makes its choices again.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::job::{Group, topic};
use super::{Chain, Plan, Program};
use crate::choices::{Choices, number, seed};
use crate::librdkafka::LIMIT;
use crate::wait::until;

const STAGES: u64 = 3;
const MEMBERS: u64 = 2;
const PARTITIONS: u32 = 4;
const RECORDS: u64 = 3_000;
/// Milliseconds between two records of the source.
const PACE: u64 = 5;
/// How long a process stands still: longer than a session, so that others take over what it had.
const FROZEN: Duration = Duration::from_secs(8);

/// Settings of brokers for sessions of the consumer protocol that end within [`FROZEN`]; members of the
/// classic one say it themselves.
pub const SESSIONS: &[(&str, &str)] = &[
    ("group.consumer.min.session.timeout.ms", "6000"),
    ("group.consumer.session.timeout.ms", "6000"),
    ("group.consumer.min.heartbeat.interval.ms", "500"),
    ("group.consumer.heartbeat.interval.ms", "1000"),
];

/// The brokers that a chain works on, with three replicas of everything.
pub trait Brokers {
    /// Their ids are below it.
    const COUNT: u16;

    /// Makes a topic and waits for it.
    ///
    /// # Errors
    /// When it can't be made.
    fn create_topic(&mut self, name: &str, partitions: u32) -> Result<()>;

    /// What clients connect to.
    ///
    /// # Errors
    /// When that is not known.
    fn bootstrap(&self) -> Result<String>;

    /// Kills a broker with SIGKILL, and starts it again.
    ///
    /// # Errors
    /// When it does not start.
    fn kill(&mut self, broker: u16) -> Result<()>;

    /// Stops a broker's process, does this, and lets it continue.
    ///
    /// # Errors
    /// When it takes no signals.
    fn freeze(&mut self, broker: u16, meanwhile: fn() -> Result<()>) -> Result<()>;

    /// Waits until all replicas of the topics that were made are in sync.
    ///
    /// # Errors
    /// When that takes too long.
    fn wait_until_whole(&self) -> Result<()>;

    /// Copies what they have written to their logs into this folder.
    ///
    /// # Errors
    /// When that can't be read or written.
    fn save_logs(&self, to: &Path) -> Result<()>;
}

/// Runs a chain whose members run this program; meanwhile kills or freezes a broker or a member, and again, until the
/// source is empty. Prints what happened.
///
/// # Errors
/// When a record is lost, comes twice or out of order, or anything else that transactions forbid.
pub fn play<B: Brokers>(name: &str, brokers: &mut B, program: Program, group: Group, is_static: bool) -> Result<()> {
    let seed = seed();
    let mut choices = Choices::new(seed);
    let given = |variable, default| u32::try_from(number(variable).unwrap_or(default));
    let (stages, members) = (given("OTTLA_CHAIN_STAGES", STAGES)?, given("OTTLA_CHAIN_MEMBERS", MEMBERS)?);
    let records = given("OTTLA_CHAIN_RECORDS", RECORDS)?;
    (0..=stages).try_for_each(|stage| brokers.create_topic(&topic(stage), PARTITIONS))?;
    let pace = Duration::from_millis(number("OTTLA_CHAIN_PACE").unwrap_or(PACE));
    let plan = Plan { stages, members, partitions: i32::try_from(PARTITIONS)?, records, group, is_static };
    let mut chain = Chain::start(plan, brokers.bootstrap()?, program, pace)?;
    let played = suffer(&mut chain, brokers, &mut choices, pace * records).and_then(|faults| {
        let shown = chain.finish()?;
        // Not eprintln: the test harness would swallow it.
        let told = format!("OTTLA_CHAOS_SEED={seed}: {faults}, {} more replaced; {}", shown.restarts, shown.report);
        let _ = writeln!(std::io::stderr(), "{name}: {told}");
        ensure!(shown.report.is_good() && shown.wrong.is_empty(), "{}; {told}", shown.wrong.join("; "));
        Ok(())
    });
    played.map_err(|error| {
        let logs = std::env::temp_dir().join(format!("ottla-chain-{seed}"));
        let saved = std::fs::create_dir_all(&logs).map_err(anyhow::Error::from).and_then(|()| {
            std::fs::write(logs.join("members.log"), chain.lines().join("\n"))?;
            brokers.save_logs(&logs)
        });
        let saved = saved.map_or_else(|error| error.to_string(), |()| format!("logs are in {}", logs.display()));
        error.context(format!("OTTLA_CHAOS_SEED={seed}; {saved}"))
    })
}

/// Does harm for so long, as the source needs; what it did.
fn suffer<B: Brokers>(chain: &mut Chain, brokers: &mut B, choices: &mut Choices, long: Duration) -> Result<String> {
    let began = Instant::now();
    let mut counts = [0; 4];
    while began.elapsed() < long {
        chain.tend()?;
        let (stage, member) = choices.of(&chain.places());
        let broker = choices.below(u64::from(B::COUNT)) as u16;
        let harm = choices.below(counts.len() as u64) as usize;
        match harm {
            0 => brokers.kill(broker)?,
            1 => brokers.freeze(broker, stand_still)?,
            2 => chain.replace(stage, member)?,
            _ => {
                chain.signal(stage, member, Signal::STOP)?;
                stand_still()?;
                chain.signal(stage, member, Signal::CONT)?;
            }
        }
        brokers.wait_until_whole()?;
        counts[harm] += 1;
    }
    let [killed, frozen, replaced, stopped] = counts;
    Ok(format!("{killed} brokers and {replaced} members killed, {frozen} and {stopped} frozen"))
}

fn stand_still() -> Result<()> {
    let since = Instant::now();
    until(LIMIT, "others to take over", || Ok((since.elapsed() > FROZEN).then_some(())))
}
