//! What operators do. Each writes by compare-and-swap, so a write that rests on an older entry changes nothing: here it does
//! not happen. What it believes of brokers and of the topic may be old.

use std::slice;
use std::sync::Arc;

use ottla_crds::assignment::{Assignment, BrokerId};
use ottla_crds::plan::election::elect;

use crate::Protocol;
use crate::mutant::{self, Mutant};
use crate::state::{Record, State};

impl Protocol {
    pub(crate) fn see(&self, state: &mut State, operator: usize, id: BrokerId) -> Option<()> {
        let truth = state.truth(id);
        state.operators[operator].live.insert(id, truth);
        Some(())
    }

    pub(crate) fn see_topic(&self, state: &mut State, operator: usize) -> Option<()> {
        state.operators[operator].min_in_sync = state.min_in_sync;
        Some(())
    }

    pub(crate) fn step(&self, state: &mut State, operator: usize, suspect: Option<BrokerId>) -> Option<()> {
        let operator = &state.operators[operator];
        let min_in_sync = if self.is(Mutant::NoFloor) { 1 } else { operator.min_in_sync };
        let mut live = operator.live.clone();
        suspect.iter().for_each(|suspect| _ = live.remove(suspect));
        let before = if self.is(Mutant::RecoveryWithoutAllReports) {
            mutant::with_reports_of_the_missing(&state.entry, &live)
        } else {
            (*state.entry).clone()
        };
        let early =
            self.is(Mutant::EarlyCompletion).then(|| mutant::complete_with_any_target(&before, &live)).flatten();
        let next = match early {
            Some(next) => next,
            None => elect(slice::from_ref(&before), &live, min_in_sync).pop()?,
        };
        state.used.suspicions += usize::from(suspect.is_some());
        self.note_recovery(state, &next);
        state.entry = Arc::new(next);
        Some(())
    }

    pub(crate) fn reassign(&self, state: &mut State) -> Option<()> {
        state.entry = Arc::new(state.entry.start_reassignment(&[BrokerId(1), BrokerId(2)]).ok()?);
        state.used.reassignments += 1;
        Some(())
    }

    pub(crate) fn cancel(&self, state: &mut State, operator: usize) -> Option<()> {
        let operator = &state.operators[operator];
        state.entry = Arc::new(state.entry.cancel_reassignment(&operator.live, operator.min_in_sync).ok()?);
        state.seen.cancelled = true;
        Some(())
    }

    /// A recovery elects whom no ISR vouched for. What it lacks is lost from here on: nothing that a replica that reported, or a
    /// member of the last ISR, still has.
    fn note_recovery(&self, state: &mut State, next: &Assignment) {
        let [chosen] = next.isr.as_slice() else { return };
        // The chosen one may have crashed since it reported: then its entry is void, and so is this election.
        if next.leader == state.entry.leader || state.entry.isr.contains(chosen) || !state.is_valid(chosen) {
            return;
        }
        let entry = &state.entry;
        let still_has = |broker: BrokerId| common(&state.broker(broker).log, &state.acknowledged);
        let reported = entry.reports.iter().map(|report| report.broker);
        let most = reported.chain(entry.isr.iter().map(|member| member.broker)).map(still_has).max();
        let kept = still_has(chosen.broker);
        state.recovered_in = Some(next.leader_epoch);
        state.seen.gave_up |= most.is_some_and(|most| kept < most);
        state.acknowledged.truncate(kept);
    }
}

/// How many records two logs have in common from the start.
pub(crate) fn common(one: &[Record], other: &[Record]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}
