//! One scenario looked at: how much there was to see, and what was wrong.

use stateright::{Checker, Model};

use crate::Protocol;
use crate::action::Action;
use crate::property;
use crate::scenario::Bounds;

/// What the states of a scenario showed.
#[derive(Debug)]
pub struct CheckResult {
    /// Distinct states.
    pub states: usize,
    /// States that were generated, the same ones again included.
    pub generated: usize,
    /// Actions on the longest path.
    pub depth: usize,
    /// Whether the search was ended by [`Bounds::most_states`], and so proves nothing.
    pub is_cut_off: bool,
    /// Rules that do not hold, each with the actions that show it.
    pub broken: Vec<(&'static str, Vec<Action>)>,
    /// Witnesses of the scenario that no state showed.
    pub unseen: Vec<&'static str>,
}

impl CheckResult {
    /// Whether the scenario showed what it claims.
    pub fn is_good(&self) -> bool {
        self.broken.is_empty() && self.unseen.is_empty() && !self.is_cut_off
    }
}

/// Looks at the states of a scenario.
pub fn check(bounds: Bounds) -> CheckResult {
    let (most_states, witnesses) = (bounds.most_states, bounds.witnesses);
    let model = Protocol { bounds, mutant: None };
    let checker = model.checker().threads(2).target_state_count(most_states).spawn_bfs().join();
    let discoveries = checker.discoveries();
    let unseen = witnesses.iter().filter(|witness| !discoveries.contains_key(*witness)).copied().collect();
    let broken = discoveries.into_iter().filter(|(property, _)| property::is_rule(property));
    CheckResult {
        states: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        is_cut_off: checker.state_count() >= most_states,
        broken: broken.map(|(property, path)| (property, path.into_actions())).collect(),
        unseen,
    }
}
