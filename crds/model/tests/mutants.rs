//! Each mutant is caught: a rule that no state needs would be a rule too many, or a model that does not see.

use ottla_model::mutant::Mutant;
use ottla_model::{Protocol, property};
use stateright::{Checker, HasDiscoveries, Model};

#[test]
fn every_mutant_is_caught() {
    let mut escaped = Vec::new();
    for (mutant, bounds) in Mutant::all() {
        let model = Protocol { bounds, mutant: Some(mutant) };
        let stop = HasDiscoveries::AnyFailures;
        let checker = model.checker().threads(2).target_state_count(5_000_000).finish_when(stop).spawn_bfs().join();
        let broken: Vec<_> = checker.discoveries().into_iter().filter(|(name, _)| property::is_rule(name)).collect();
        println!("{mutant:?}: {} states", checker.unique_state_count());
        for (name, path) in &broken {
            println!("  {name}: {:?}", path.clone().into_actions());
        }
        if broken.is_empty() {
            escaped.push(mutant);
        }
    }
    assert_eq!(escaped, [], "the model does not see what is wrong with these");
}
