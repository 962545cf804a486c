//! Seeds: some that were always played, some that are new each time, and that a seed tells the same story twice.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long new seeds are played.
const NEW_SEEDS: Duration = Duration::from_secs(60);

fn play(seed: u64) {
    let outcome = ottla_sim::run(seed).expect("a temporary folder");
    assert!(
        outcome.is_good(),
        "seed {seed}: {}\nagain, with its trace: cargo run -p ottla-sim -- --seed {seed}",
        outcome.verdict()
    );
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in [1, 2, 3] {
        let once = ottla_sim::run(seed).expect("a temporary folder");
        let again = ottla_sim::run(seed).expect("a temporary folder");
        let parted = once.trace.lines().zip(again.trace.lines()).find(|(one, other)| one != other);
        assert_eq!(parted, None, "seed {seed}");
        assert_eq!(once.trace.len(), again.trace.len());
        assert_eq!(once.verdict(), again.verdict());
    }
}

#[test]
fn nothing_is_lost_in_seeds_that_were_always_played() {
    (1..=20).for_each(play);
}

/// A broker that had led went back to an older epoch with the copy on its disk, and threw away what was acknowledged.
#[test]
fn who_has_acted_in_an_epoch_never_follows_in_an_older_one() {
    play(1033);
}

#[test]
fn nothing_is_lost_in_new_seeds() {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    let first = since_1970.as_nanos() as u64 % 1_000_000_000;
    let began = Instant::now();
    let mut seed = first;
    while began.elapsed() < NEW_SEEDS {
        play(seed);
        seed += 1;
    }
    println!("new seeds: {first} to {seed}");
}
