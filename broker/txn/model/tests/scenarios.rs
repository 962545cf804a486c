//! Every scenario is looked at as a whole, and shows what it claims.

use std::time::Instant;

use ottla_txn_model::check::{CheckResult, check};
use ottla_txn_model::scenario::{self, Bounds, CALM};

#[test]
fn every_scenario_keeps_every_rule() {
    let mut bad = Vec::new();
    for bounds in scenario::all() {
        let (name, began) = (bounds.name, Instant::now());
        let found = check(bounds);
        let CheckResult { states, generated, depth, is_cut_off, broken, unseen } = &found;
        println!(
            "{name:32} {states:>7} states, {generated:>7} generated, depth {depth:>2}, {}, {:.1} s",
            if *is_cut_off { "CUT OFF" } else { "exhaustive" },
            began.elapsed().as_secs_f64(),
        );
        for (rule, actions) in broken {
            println!("  BROKEN: {rule}");
            actions.iter().for_each(|action| println!("    {action:?}"));
        }
        unseen.iter().for_each(|missing| println!("  NEVER SEEN: {missing}"));
        if !found.is_good() {
            bad.push(name);
        }
    }
    assert!(bad.is_empty(), "these do not show what they claim: {bad:?}");
}

#[test]
fn a_search_that_is_cut_off_proves_nothing() {
    let cut_off = check(Bounds { most_states: 100, witnesses: &[], ..CALM });
    assert!(cut_off.is_cut_off && !cut_off.is_good(), "{cut_off:?}");
}
