//! Looks at every scenario, tells how much there was to see, and fails when a rule does not hold or a witness is
//! missing. `ottla-model NAME...` looks at some.

use std::process::ExitCode;
use std::time::Instant;

use ottla_model::{Protocol, property, scenario};
use stateright::{Checker, Model};

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let mut good = true;
    for bounds in scenario::all() {
        if !names.is_empty() && !names.iter().any(|name| name == bounds.name) {
            continue;
        }
        let (name, changes, most_states, witnesses) =
            (bounds.name, bounds.changes, bounds.most_states, bounds.witnesses);
        let began = Instant::now();
        let model = Protocol { bounds, mutant: None };
        let checker = model.checker().threads(2).target_state_count(most_states).spawn_bfs().join();
        let cut = if checker.state_count() < most_states { "exhaustive" } else { "CUT OFF" };
        println!(
            "{name:20} {:>9} states, {:>9} generated, depth {:>2}, {cut} within {changes} changes of the entry, {:.0} s",
            checker.unique_state_count(),
            checker.state_count(),
            checker.max_depth(),
            began.elapsed().as_secs_f64(),
        );
        let found = checker.discoveries();
        for (property, path) in &found {
            if property::is_rule(property) {
                good = false;
                println!("  BROKEN: {property}");
                path.clone().into_actions().iter().for_each(|action| println!("    {action:?}"));
            }
        }
        for missing in witnesses.iter().filter(|witness| !found.contains_key(*witness)) {
            good = false;
            println!("  NEVER SEEN: {missing}");
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
