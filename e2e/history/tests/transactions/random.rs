//! A random good history is good; broken in each way that it can be, it is not. So are histories of faulty brokers.
//!
//! `SEED=…` plays one again.

use std::ops::Range;

use ottla_history::transactions::Allowed::{IntermediateRead, MixedCycle, Moved, WriteCycle};
use ottla_history::transactions::Kind::{
    AbortedRead, CircularFlow, Duplicated, OffsetMismatch, OwnWriteSeen, Torn, Unseen,
};

use super::model::{Fault, Random, history};
use super::mutations::ALL;
use super::words::judged;

const ROUNDS: u64 = 100;

fn seeds() -> Range<u64> {
    let fresh = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64 | 1);
    let given = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number above 0"));
    let (first, rounds) = given.map_or_else(|| (fresh(), ROUNDS), |seed: u64| (seed, 1));
    first..first + rounds
}

#[test]
fn a_good_history_broken_in_any_way_is_found() {
    let seeds = seeds();
    let (mut found, mut allowed) = ([0; ALL.len()], [0; 4]);
    for seed in seeds.clone() {
        println!("SEED={seed}");
        let mut random = Random::new(seed);
        let good = history(&mut random, None);
        let report = judged(&good);
        assert!(report.is_good() && report.delayed_kinds().is_empty(), "SEED={seed}: {report}");
        for (count, kind) in allowed.iter_mut().zip([IntermediateRead, WriteCycle, MixedCycle, Moved]) {
            *count += report.allowed(kind);
        }
        for (count, (kind, mutation)) in found.iter_mut().zip(ALL) {
            let mut broken = good.clone();
            if mutation(&mut broken, &mut random) {
                let report = judged(&broken);
                let is_found = report.count(kind) + report.delayed(kind) > 0;
                assert!(is_found, "SEED={seed}: {kind:?} was not found: {report}");
                *count += 1;
            }
        }
    }
    println!("broken: {found:?}, allowed: {allowed:?}");
    if seeds.end - seeds.start == ROUNDS {
        assert!(found.iter().all(|count| *count > ROUNDS / 10), "too few were broken: {found:?} of {ROUNDS}");
        assert!(allowed.iter().all(|count| *count > 0), "what is allowed did not happen: {allowed:?}");
    }
}

#[test]
fn a_faulty_broker_is_found() {
    let faults = [
        (Fault::NoLastStableOffset, AbortedRead),
        (Fault::NoLastStableOffset, CircularFlow),
        (Fault::NoLastStableOffset, OwnWriteSeen),
        (Fault::LostMarker, Unseen),
        (Fault::LostMarker, Torn),
        (Fault::OffsetsOfAborted, OffsetMismatch),
        (Fault::UnstableOffset, OffsetMismatch),
        (Fault::NoIdempotence, Duplicated),
    ];
    let seeds = seeds();
    let mut found = faults.map(|fault| (fault, 0));
    for seed in seeds.clone() {
        println!("SEED={seed}");
        for ((fault, kind), count) in &mut found {
            let report = judged(&history(&mut Random::new(seed), Some(*fault)));
            *count += u64::from(report.count(*kind) + report.delayed(*kind) > 0);
        }
    }
    println!("histories that show it: {found:?}");
    if seeds.end - seeds.start == ROUNDS {
        assert!(found.iter().all(|(_, count)| *count > 0), "of {ROUNDS} histories none shows it: {found:?}");
    }
}
