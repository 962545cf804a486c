//! Plays seeds: `ottla-sim --seed N` with its trace, `--seeds COUNT` from `--from` on, or new ones for so many
//! `--minutes`.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Parser;
use ottla_sim::{Half, Tally};

// A third of a run's time goes into allocations otherwise.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Brokers, operators and faults in one thread; a seed plays the whole story again")]
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
    /// Play new seeds for so long instead, both halves together.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    minutes: Option<u64>,
    /// Only this half.
    #[arg(long, value_enum)]
    half: Option<Half>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let halves = options.half.map_or(Half::ALL.to_vec(), |half| vec![half]);
    let mut good = true;
    for half in &halves {
        good &= match options.seed {
            Some(seed) => tell(*half, seed)?,
            None => play(*half, &options, halves.len() as u32)?,
        };
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(half: Half, seed: u64) -> Result<bool> {
    let outcome = half.play(seed)?;
    println!("{}seed {seed}: {}", outcome.trace, outcome.verdict());
    Ok(outcome.is_good())
}

fn play(half: Half, options: &Options, halves: u32) -> Result<bool> {
    let began = Instant::now();
    let (first, count) = match options.minutes {
        None => (options.from, options.seeds),
        Some(_) => (SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() * 1000, u64::MAX),
    };
    let patience = options.minutes.map_or(Duration::MAX, |minutes| Duration::from_secs(60 * minutes) / halves);
    let mut tally = Tally::of(half);
    for seed in (first..).take_while(|seed| seed - first < count && began.elapsed() < patience) {
        tally.play(seed)?;
    }
    println!("{tally}");
    Ok(tally.is_good())
}
