//! Transactions of one transactional id over two partitions, model-checked: every interleaving of two producers, their
//! coordinators, the partitions' leaders and faults within bounds.
//!
//! What decides is the product's own code: [`ottla_txn::Shard`] for the coordinators, [`ottla_log::Producers`] for the
//! partitions. What is modelled is the world around them: the log of the coordinators and who leads it, the logs of the
//! partitions, producers that repeat themselves, and requests and markers that are delayed, repeated or lost.
//!
//! - [`state`]: what the world is
//! - [`action`]: what may happen next
//! - `producer`, `coordinator`, `partition`: what it does
//! - [`rules`]: what must always hold, by name; [`property`]: what it means, and what must be seen to happen
//! - [`mutant`]: one rule broken; the check must notice
//! - [`scenario`]: bounds, small enough to look at everything
//! - [`check`]: looks, and says what was wrong
//! - `clock`: time stands still, but for jumps
//!
//! `cargo test -p ottla-txn-model -- --nocapture` shows how much there was to see.
//!
//! # What is played
//!
//! Both protocols, alone and one after the other: with AddPartitionsToTxn, and that of KIP-890, whose ends bump the
//! epoch. A producer that was replaced and does not know it. A coordinator that was replaced and does not know it: what
//! it appends is never committed, but it sends its markers and answers from what it remembers. Appends of coordinators
//! that fail, take long, or are of unknown fate when the coordinator changes. Leaders of partitions that change, and
//! with them what was not committed. Transactions that are open for too long, and epochs that end.
//!
//! # What is left out
//!
//! Before V2 the transactions of a producer share its epoch, and what comes late is taken for part of the next one. No
//! broker can know better (KAFKA-17754, KAFKA-14402; KIP-890 is the remedy). So this, and nothing more, does not happen
//! to a producer of that protocol here; [`Mutant::NothingIsLeftOut`] shows what comes of it:
//!
//! - a request to add partitions or to end a transaction reaches a coordinator that is past that transaction;
//! - a coordinator answers about a record of a transaction that has ended: it has begun the next one, or it was
//!   replaced and does not know of the end. A record that no coordinator knows is refused, also those of old clients;
//! - a verified record goes into the next transaction, because that is open in its partition already;
//! - a marker meets the next transaction, and no newer coordinator has written one there in between.
//!
//! Not played: several transactional ids (they share nothing but appends), offsets of groups (a partition like any
//! other), expiry of ids and of producers, a deleted topic, a leader that leads again and remembers its verifications.
//! How brokers find each other, and for how long they try, is not modelled: whatever a time-out would allow may happen
//! at any moment.

#![warn(unreachable_pub)]

pub mod action;
pub mod check;
mod clock;
mod coordinator;
pub mod mutant;
mod partition;
mod producer;
pub mod property;
pub mod rules;
pub mod scenario;
pub mod state;

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

    fn properties(&self) -> Vec<Property<Protocol>> {
        property::all()
    }
}

impl Protocol {
    /// Fewer states to look at: what can have no consequence any more is forgotten.
    fn forget_what_cannot_matter(&self, state: &mut State) {
        if state.used.repeats == self.bounds.repeats {
            state.sent.clear();
            state.sent_markers.clear();
        }
    }
}
