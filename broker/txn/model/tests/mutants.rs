//! Each mutant is caught by the rule that is to catch it: a rule that no state needs would be a rule too many, or a
//! model that does not see.

use std::collections::BTreeSet;

use ottla_txn_model::Protocol;
use ottla_txn_model::mutant::Mutant;
use stateright::{Checker, HasDiscoveries, Model};

#[test]
fn every_mutant_is_caught() {
    let mut escaped = Vec::new();
    for (mutant, bounds, rule) in Mutant::all() {
        let most_states = bounds.most_states;
        let model = Protocol { bounds, mutant: Some(mutant) };
        let stop = HasDiscoveries::AnyOf(BTreeSet::from([rule]));
        let checker = model.checker().threads(2).target_state_count(most_states).finish_when(stop).spawn_bfs().join();
        println!("{mutant:?}: {} states", checker.unique_state_count());
        match checker.discovery(rule) {
            Some(path) => println!("  {rule}: {:?}", path.into_actions()),
            None => escaped.push(mutant),
        }
    }
    assert_eq!(escaped, [], "the model does not see what is wrong with these");
}
