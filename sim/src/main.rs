//! Plays seeds: `ottla-sim --seed N` with its trace, or `--seeds COUNT` new ones.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

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
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if let Some(seed) = options.seed {
        let outcome = ottla_sim::run(seed)?;
        println!("{}seed {seed}: {}", outcome.trace, outcome.verdict());
        return Ok(if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut bad = 0;
    for seed in options.from..options.from + options.seeds {
        let outcome = ottla_sim::run(seed)?;
        if !outcome.is_good() {
            bad += 1;
            println!("seed {seed}: {}", outcome.verdict());
        }
    }
    println!("{} seeds from {} on, {bad} of them bad", options.seeds, options.from);
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
