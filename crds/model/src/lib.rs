//! The coordination of one partition, model-checked: every interleaving of operators, brokers and faults within bounds.
//!
//! What decides is the product's own code: [`ottla_rules::assignment`] (elections, the ISR's changes, the high
//! watermark, reassignment, recovery) and [`ottla_rules::plan`]. What is modelled is the world around it: brokers'
//! logs, fetches on their way, ISR writes that land late or never, brokers that restart with or without their content,
//! views that lag behind, operators that are wrong about who is there.
//!
//! - [`state`]: what the world is
//! - [`action`]: what may happen next
//! - [`operator`], [`broker`], [`disturb`]: what it does
//! - [`property`]: what must always hold, and what must be seen to happen at least once
//! - [`mutant`]: one rule broken; the check must notice
//! - [`scenario`]: bounds, small enough to look at everything
//! - [`check`]: looks, and says what was wrong
//!
//! Played, too: recoveries without a valid member and those that an administrator orders, logs that can't be read,
//! drains, a `min.insync.replicas` that is changed, and reassignments of which who leaves loses its log and comes back.
//!
//! Left out: several partitions (entries share no state), the text of the patches (`crds/client/tests/change.rs`),
//! time: whatever a time-out would allow may happen at any moment.

#![warn(unreachable_pub)]

pub mod action;
mod broker;
pub mod check;
mod disturb;
pub mod mutant;
mod operator;
pub mod property;
pub mod scenario;
pub mod state;

use ottla_rules::assignment::PartitionEpoch;
use stateright::{Model, Property};

use action::Action;
use mutant::Mutant;
use scenario::Bounds;
use state::{Observations, State};

/// The protocol within bounds, or with one rule broken.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// How much may happen.
    pub bounds: Bounds,
    /// Which rule does not hold; `None`: all hold.
    pub mutant: Option<Mutant>,
}

impl Protocol {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.bounds)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = State { seen: Observations::default(), ..before.clone() };
        self.take(&mut state, action)?;
        self.forget_what_cannot_matter(&mut state);
        (state != *before).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.entry.partition_epoch <= PartitionEpoch(self.bounds.changes)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        property::all()
    }
}
