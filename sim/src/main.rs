//! Plays seeds: `ottla-sim --seed N` with its trace, `--seeds COUNT` from `--from` on, or new ones for so many `--minutes`.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Parser;
use ottla_sim::Tally;

#[derive(Parser)]
#[command(about = "Brokers, operators and faults in one thread; a seed tells the whole story again")]
struct Options {
    /// Play this seed and print what happens.
    #[arg(long)]
    seed: Option<u64>,
    /// Play so many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Play new seeds for so long instead.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    minutes: Option<u64>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if let Some(seed) = options.seed {
        let outcome = ottla_sim::run(seed)?;
        println!("{}seed {seed}: {}", outcome.trace, outcome.verdict());
        return Ok(if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let began = Instant::now();
    let (first, count) = match options.minutes {
        None => (options.from, options.seeds),
        Some(_) => (SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() * 1000, u64::MAX),
    };
    let patience = options.minutes.map_or(Duration::MAX, |minutes| Duration::from_secs(60 * minutes));
    let mut tally = Tally::default();
    for seed in (first..).take_while(|seed| seed - first < count && began.elapsed() < patience) {
        tally.add(seed, &ottla_sim::run(seed)?);
    }
    println!("{tally}");
    Ok(if tally.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
