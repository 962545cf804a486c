//! Chains of read-process-write jobs whose members and brokers are killed and frozen: each record comes out once, and
//! in order. `OTTLA_CHAIN_RECORDS` makes a chain longer, `OTTLA_CHAOS_SEED` makes its choices again.

use anyhow::{Result, ensure};
use ottla_e2e::chain::{Chain, Plan, topic};
use ottla_e2e::librdkafka::LIMIT;
use ottla_e2e::need::met;
use ottla_e2e::target::{Maker, needs, ottla_program};
use ottla_e2e::trio::{BROKERS, Setting, Trio};
use ottla_e2e::wait::until;
use rustix::process::Signal;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const STAGES: u32 = 3;
const MEMBERS: u32 = 2;
const PARTITIONS: i32 = 4;
const RECORDS: u64 = 3_000;
/// How long a member stands still: longer than its session, so that another takes its partitions over.
const FROZEN: Duration = Duration::from_secs(8);

/// What members of the consumer protocol obey; those of the classic one say it themselves.
const SESSIONS: &[Setting] = &[
    ("group.consumer.min.session.timeout.ms", "6000"),
    ("group.consumer.session.timeout.ms", "6000"),
    ("group.consumer.min.heartbeat.interval.ms", "500"),
    ("group.consumer.heartbeat.interval.ms", "1000"),
];

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn a_chain_of_classic_groups_passes_each_record_on_once() -> Result<()> {
    play("classic groups", &[("partition.assignment.strategy", "range")], false)
}

#[test]
fn a_chain_of_cooperative_groups_passes_each_record_on_once() -> Result<()> {
    play("cooperative groups", &[("partition.assignment.strategy", "cooperative-sticky")], false)
}

#[test]
fn a_chain_of_static_members_passes_each_record_on_once() -> Result<()> {
    play("static members", &[("partition.assignment.strategy", "range")], true)
}

#[test]
fn a_chain_of_consumer_groups_passes_each_record_on_once() -> Result<()> {
    play("consumer groups", &[("group.protocol", "consumer")], false)
}

#[test]
fn a_chain_of_static_consumers_passes_each_record_on_once() -> Result<()> {
    play("static consumers", &[("group.protocol", "consumer")], true)
}

/// Runs a chain; meanwhile kills a broker, a member, freezes a member, and again, until the source is empty.
fn play(name: &str, settings: &[(&str, &str)], is_static: bool) -> Result<()> {
    if !met(&needs()) {
        return Ok(());
    }
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = number("OTTLA_CHAOS_SEED").unwrap_or_else(any);
    let mut random = seed.max(1);
    let mut trio = Trio::start_with(Maker::under_test(), &ottla_program()?, SESSIONS)?;
    for stage in 0..=STAGES {
        trio.create_topic(&topic(stage), PARTITIONS, &[])?;
    }
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let records = u32::try_from(number("OTTLA_CHAIN_RECORDS").unwrap_or(RECORDS))?;
    let plan = Plan { stages: STAGES, members: MEMBERS, partitions: PARTITIONS, records, settings, is_static };
    let program = Path::new(env!("CARGO_BIN_EXE_chain-member"));
    let mut chain = Chain::start(plan, trio.bootstrap(), program, Duration::from_millis(5))?;

    let began = Instant::now();
    let (mut brokers, mut members, mut frozen) = (0, 0, 0);
    // As long as the source needs at its pace.
    while began.elapsed() < Duration::from_millis(5) * records {
        chain.tend()?;
        let places = chain.places();
        let (stage, member) = places[below(&mut random, places.len() as u64) as usize];
        match below(&mut random, 3) {
            0 => {
                let victim = below(&mut random, u64::from(BROKERS)) as u16;
                trio.end_broker(victim, Signal::KILL)?;
                brokers += 1;
                trio.start_broker(victim)?;
                for stage in 0..=STAGES {
                    trio.wait_until_whole(&topic(stage))?;
                }
            }
            1 => {
                chain.replace(stage, member)?;
                members += 1;
            }
            _ => {
                chain.signal(stage, member, Signal::STOP)?;
                frozen += 1;
                let since = Instant::now();
                until(LIMIT, "a session to end", || Ok((since.elapsed() > FROZEN).then_some(())))?;
                chain.signal(stage, member, Signal::CONT)?;
            }
        }
    }
    let faults = format!("{brokers} brokers and {members} members killed, {frozen} members frozen");
    let shown = chain.finish()?;
    // Not eprintln: the test harness would swallow it.
    let told = format!("OTTLA_CHAOS_SEED={seed}: {faults}, {} more replaced; {}", shown.restarts, shown.report);
    let _ = writeln!(std::io::stderr(), "chain, {name}: {told}");
    ensure!(shown.report.is_good(), "{told}");
    Ok(())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn any() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64)
}

/// A number below `n`, by an xorshift.
fn below(random: &mut u64, n: u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random % n
}
