//! What must always hold, and what must be seen to happen.

use ottla_rules::assignment::{BrokerId, LeaderEpoch, PartitionEpoch};
use stateright::{Expectation, Property};

use crate::Protocol;
use crate::state::State;

/// Every property. A scenario names the witnesses that must be seen in it; the others may or may not happen.
pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always("the leader has every acknowledged record", |_, state: &State| {
            let Some(leader) = state.entry.leader.map(|leader| state.broker(leader)) else { return true };
            let leads = leader.leadership.is_some() && leader.view.leader_epoch == state.entry.leader_epoch;
            !leads || leader.log.starts_with(&state.acknowledged)
        }),
        Property::always("every electable member has every acknowledged record", |_, state: &State| {
            let mut electable = state.entry.isr.iter().filter(|member| state.is_valid(member));
            electable.all(|member| state.broker(member.broker).log.starts_with(&state.acknowledged))
        }),
        Property::always("no two leaders acknowledge different records", |_, state: &State| !state.seen.conflict),
        Property::always("an epoch has one leader", |_, state: &State| {
            let mut epochs: Vec<LeaderEpoch> =
                leaders(state).map(|leader| state.broker(leader).view.leader_epoch).collect();
            epochs.sort_unstable();
            epochs.windows(2).all(|pair| pair[0] != pair[1])
        }),
        Property::always("an electable member is left while fewer than min.insync have crashed", |_, state: &State| {
            let survivable = state.entry.floor(state.least_min_in_sync) - 1;
            let left = || state.entry.isr.iter().any(|member| state.is_valid(member));
            state.used.crashes + state.used.damages > survivable || state.obeyed || left()
        }),
        Property::always("nobody recovers unasked while fewer than min.insync have crashed", |_, state: &State| {
            let survivable = state.entry.floor(state.least_min_in_sync) - 1;
            state.used.crashes + state.used.damages > survivable || state.obeyed || state.recovered_in.is_none()
        }),
        Property::always("a recovery without an order loses nothing that still exists", |_, state: &State| {
            !state.seen.gave_up
        }),
        Property::always("an order is obeyed on the occasion that it was given for, or never", |_, state: &State| {
            !state.seen.obeyed_out_of_time
        }),
        Property::sometimes("a record is acknowledged", |_, state: &State| !state.acknowledged.is_empty()),
        Property::sometimes("a record is acknowledged after a crash and an election", |_, state: &State| {
            state.used.crashes > 0 && state.acknowledged.iter().any(|record| record.epoch > LeaderEpoch::FIRST)
        }),
        Property::sometimes("a crashed broker joins the ISR again", |_, state: &State| {
            state.entry.isr.iter().any(|member| member.incarnation.0 > 1)
        }),
        Property::sometimes("a crashed broker leads again with all that was acknowledged", |_, state: &State| {
            !state.acknowledged.is_empty() && leaders(state).any(|leader| state.broker(leader).incarnation.0 > 1)
        }),
        Property::sometimes("a record is acknowledged while a change of the ISR is in doubt", |_, state: &State| {
            state.seen.acknowledged_in_doubt
        }),
        Property::sometimes(
            "a record is acknowledged by a leader that was restarted in its epoch",
            |_, state: &State| state.seen.acknowledged_after_restart,
        ),
        Property::sometimes(
            "a record is acknowledged under the changed min.insync",
            |model: &Protocol, state: &State| {
                let changed =
                    |broker: BrokerId| Some(state.broker(broker).min_in_sync) == model.bounds.changed_min_in_sync;
                state.entry.partition_epoch > PartitionEpoch::FIRST
                    && !state.acknowledged.is_empty()
                    && leaders(state).any(|leader| changed(leader) && leads_with_high_watermark(state, leader))
            },
        ),
        Property::sometimes("two brokers believe that they lead", |_, state: &State| leaders(state).count() > 1),
        Property::sometimes("a follower truncates what its leader does not have", |_, state: &State| {
            state.seen.truncated
        }),
        Property::sometimes("a recovery elects a leader", |_, state: &State| state.recovered_in.is_some()),
        Property::sometimes("an order elects a leader", |_, state: &State| state.obeyed),
        Property::sometimes("an order loses an acknowledged record", |_, state: &State| state.seen.gave_up_by_order),
        Property::sometimes("a record is acknowledged after an order", |_, state: &State| {
            let began = state.recovered_in.filter(|_| state.obeyed);
            began.is_some_and(|epoch| state.acknowledged.iter().any(|record| record.epoch >= epoch))
        }),
        Property::sometimes("a record is acknowledged after a leader has disowned its log", |_, state: &State| {
            let only_damage = state.used.damages > 0 && state.used.crashes + state.used.suspicions == 0;
            only_damage && state.acknowledged.iter().any(|record| record.epoch > LeaderEpoch(1))
        }),
        Property::sometimes("a log that can not be read is copied again", |_, state: &State| state.seen.copied_anew),
        Property::sometimes("a reassignment is done", |_, state: &State| {
            state.entry.replicas == [BrokerId(1), BrokerId(2)] && !state.entry.is_reassigning()
        }),
        Property::sometimes("a replica that leaves loses its log", |_, state: &State| state.seen.left),
        Property::sometimes("a replica that left comes back and is in sync", |_, state: &State| {
            state.entry.isr.iter().any(|member| state.broker(member.broker).has_left)
        }),
        Property::sometimes("a reassignment is cancelled", |_, state: &State| state.seen.cancelled),
        Property::sometimes("a draining leader has handed over", |_, state: &State| {
            let handed_over = |id: &BrokerId| state.broker(*id).draining && state.entry.leader != Some(*id);
            state.entry.leader.is_some()
                && state.entry.leader_epoch > LeaderEpoch::FIRST
                && state.ids().any(|id| handed_over(&id))
        }),
    ]
}

/// Whether a property of this name must hold always.
pub fn is_rule(name: &str) -> bool {
    all().iter().any(|property| property.name == name && property.expectation == Expectation::Always)
}

fn leaders(state: &State) -> impl Iterator<Item = BrokerId> {
    state.ids().filter(|id| state.broker(*id).leadership.is_some())
}

fn leads_with_high_watermark(state: &State, leader: BrokerId) -> bool {
    state.broker(leader).leadership.as_ref().is_some_and(|leadership| leadership.high_watermark > 0)
}
