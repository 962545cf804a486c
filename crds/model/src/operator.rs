//! What operators do. Each writes by compare-and-swap, so a write that rests on an older entry changes nothing: here it
//! does not happen. What it believes of brokers and of the topic may be old.

use std::slice;
use std::sync::Arc;

use ottla_rules::assignment::{Assignment, BrokerId, Live, RecoveryOrder};
use ottla_rules::plan::election::{elect, obey};

use crate::Protocol;
use crate::mutant::{self, Mutant};
use crate::state::{Operator, Order, Record, State};

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
        let before = match self.mutant {
            Some(Mutant::RecoveryWithoutAllReports) => mutant::with_reports_of_the_missing(&state.entry, &live),
            Some(Mutant::RecoveryWithoutWhoIsTakenForDead) => mutant::with_reports_of_the_living(&state.entry, &live),
            _ => (*state.entry).clone(),
        };
        let early =
            self.is(Mutant::EarlyCompletion).then(|| mutant::complete_with_any_target(&before, &live)).flatten();
        let mut next = match early.or_else(|| elect(slice::from_ref(&before), &live, min_in_sync).pop()) {
            Some(next) => next,
            None => return self.obey(state, suspect, &live),
        };
        next = self.kept(state, next);
        if self.is(Mutant::ShrinkWithoutLeader) && next.leader.is_none() {
            mutant::drop_who_is_gone(&mut next, &live, min_in_sync);
        }
        state.used.suspicions += usize::from(suspect.is_some());
        self.change(state, next, false);
        Some(())
    }

    /// The change as it is written: a mutant keeps the epoch of a leader that stays.
    fn kept(&self, state: &State, mut next: Assignment) -> Assignment {
        if self.is(Mutant::EpochKept) && next.leader == state.entry.leader {
            next.leader_epoch = state.entry.leader_epoch;
        }
        next
    }

    /// An operator finds an order in the topic's spec.
    fn obey(&self, state: &mut State, suspect: Option<BrokerId>, live: &Live) -> Option<()> {
        let Order { mut order, stands } = state.order?;
        if self.is(Mutant::OrderForAnyEpoch) {
            order.leader_epoch = state.entry.leader_epoch;
        }
        let next = obey(slice::from_ref(&state.entry), &[order], live).pop()?;
        state.used.suspicions += usize::from(suspect.is_some());
        state.seen.obeyed_out_of_time = !stands;
        self.change(state, next, true);
        state.obeyed = true;
        Some(())
    }

    /// The administrator knows that the partition has no leader, and its leader epoch.
    pub(crate) fn order(&self, state: &mut State, broker: BrokerId) -> Option<()> {
        let Assignment { partition, leader_epoch, .. } = *state.entry;
        if state.entry.leader.is_some() {
            return None;
        }
        let order = RecoveryOrder { partition, leader_epoch, broker };
        state.order = Some(Order { order, stands: true });
        state.used.orders += 1;
        Some(())
    }

    /// An operator changes the entry. What that means for records and orders is noted.
    fn change(&self, state: &mut State, next: Assignment, ordered: bool) {
        if state.entry.leader.is_some() {
            state.last_isr = state.entry.isr.clone();
        }
        self.note_recovery(state, &next, ordered);
        if next.leader.is_some() {
            state.last_isr.clear();
            state.order.iter_mut().for_each(|order| order.stands = false);
        }
        state.entry = Arc::new(next);
    }

    pub(crate) fn reassign(&self, state: &mut State) -> Option<()> {
        let [here, there] = [[0, 1], [1, 2]].map(|ids| ids.map(BrokerId));
        let target = if state.entry.target() == there { here } else { there };
        state.entry = Arc::new(state.entry.start_reassignment(&target).ok()?);
        state.used.reassignments += 1;
        Some(())
    }

    pub(crate) fn cancel(&self, state: &mut State, operator: usize) -> Option<()> {
        let Operator { live, min_in_sync } = state.operators[operator].clone();
        let next = self.kept(state, state.entry.cancel_reassignment(&live, min_in_sync).ok()?);
        self.change(state, next, false);
        state.seen.cancelled = true;
        Some(())
    }

    /// A recovery elects whom no ISR vouched for. What it lacks is lost from here on: nothing that a replica that
    /// reported, or a member of the ISR when somebody last led, still has; unless that was ordered.
    fn note_recovery(&self, state: &mut State, next: &Assignment, ordered: bool) {
        let [chosen] = next.isr.as_slice() else { return };
        // The chosen one may have crashed since it reported: then its entry is void, and so is this election.
        if next.leader == state.entry.leader || state.entry.isr.contains(chosen) || !state.is_valid(chosen) {
            return;
        }
        let entry = &state.entry;
        let still_has = |broker: BrokerId| common(&state.broker(broker).log, &state.acknowledged);
        let reported = entry.reports.iter().map(|report| report.broker);
        let most = reported.chain(state.last_isr.iter().map(|member| member.broker)).map(still_has).max();
        let kept = still_has(chosen.broker);
        state.recovered_in = Some(next.leader_epoch);
        let gave_up = most.is_some_and(|most| kept < most);
        state.seen.gave_up |= gave_up && !ordered;
        state.seen.gave_up_by_order |= gave_up && ordered;
        state.acknowledged.truncate(kept);
    }
}

/// How many records two logs have in common from the start.
pub(crate) fn common(one: &[Record], other: &[Record]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}
