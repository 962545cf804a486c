//! Plays seeds: `ottla-sim --seed N` with its trace, `--seeds COUNT` from `--from` on, or new ones for so many
//! `--minutes`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Parser;
use ottla_sim::{Half, Tally};

// A third of a run's time goes into allocations otherwise.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// CPU time that a seed may use; most use a second or two.
const MOST: Duration = Duration::from_secs(300);
/// The time between two looks at that.
const LOOK: Duration = Duration::from_secs(10);

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
    let playing = Arc::new(seed.into());
    watch(half, Arc::downgrade(&playing));
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
    let playing = Arc::new(AtomicU64::new(first));
    watch(half, Arc::downgrade(&playing));
    for seed in (first..).take_while(|seed| seed - first < count && began.elapsed() < patience) {
        playing.store(seed, SeqCst);
        tally.play(seed)?;
    }
    println!("{tally}");
    Ok(tally.is_good())
}

/// Names a seed that does not end, and ends the program. Time passes only while all tasks wait: with one that never
/// does, as in seed 622000598, it stands still.
fn watch(half: Half, playing: Weak<AtomicU64>) {
    thread::spawn(move || {
        let mut began = None;
        while let Some(seed) = playing.upgrade().map(|playing| playing.load(SeqCst)) {
            let now = used();
            let (same, since) = *began.get_or_insert((seed, now));
            if seed != same {
                began = Some((seed, now));
            } else if now.saturating_sub(since) > MOST {
                println!("seed {seed} of {} does not end: a task never waits, so no time passes", half.name());
                std::process::exit(1);
            }
            thread::sleep(LOOK);
        }
    });
}

/// The CPU time that the main thread, which plays, has used; 0 where the kernel does not say it.
fn used() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}
