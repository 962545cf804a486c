//! Checks every scenario, prints the number of states, and fails when a rule does not hold, a witness is missing, or
//! a search was cut off. `ottla-model NAME...` checks some.

use std::process::ExitCode;
use std::time::Instant;

use ottla_model::check::{CheckResult, check};
use ottla_model::scenario;

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let mut good = true;
    for bounds in scenario::all() {
        if !names.is_empty() && !names.iter().any(|name| name == bounds.name) {
            continue;
        }
        let (name, changes) = (bounds.name, bounds.changes);
        let began = Instant::now();
        let found = check(bounds);
        good &= found.is_good();
        let CheckResult { states, generated, depth, is_cut_off, broken, unseen, .. } = &found;
        println!(
            "{name:28} {states:>9} states, {generated:>9} generated, depth {depth:>2}, {} within {changes} changes of the entry, {:.0} s",
            if *is_cut_off { "CUT OFF" } else { "exhaustive" },
            began.elapsed().as_secs_f64(),
        );
        for (property, actions) in broken {
            println!("  BROKEN: {property}");
            actions.iter().for_each(|action| println!("    {action:?}"));
        }
        unseen.iter().for_each(|missing| println!("  NEVER SEEN: {missing}"));
        if *is_cut_off {
            println!("  the search must not be cut off: raise most_states, or lower a bound");
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
